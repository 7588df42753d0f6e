/**
 * Certificates for the hosts that the proxy answers for. The authority is made anew for each start of the daemon, its key
 * is kept in memory only, and only install sandboxes trust it.
 */
import { createSecureContext, type SecureContext } from 'node:tls';

export interface CertificateAuthority {
  /** In PEM: what a sandbox trusts. */
  readonly certificate: string;
  /** @returns what a TLS server needs to answer as that host */
  contextFor(host: string): Promise<SecureContext>;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const validMs = 30 * 24 * 60 * 60 * 1000;

export async function createCertificateAuthority(): Promise<CertificateAuthority> {
  // Loaded only where libraries are installed.
  const x509 = await import('@peculiar/x509');
  const generateKeys = () => crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const period = () => ({ notBefore: new Date(Date.now() - 60 * 60 * 1000), notAfter: new Date(Date.now() + validMs) });
  const keys = await generateKeys();
  const issuer = 'CN=Berth library proxy';
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    ...period(),
    serialNumber: serialNumber(),
    name: issuer,
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  // One key for all hosts: it never leaves this process.
  const hostKeys = await generateKeys();
  const hostKey = pem('PRIVATE KEY', await crypto.subtle.exportKey('pkcs8', hostKeys.privateKey));
  const contexts = new Map<string, Promise<SecureContext>>();

  async function make(host: string): Promise<SecureContext> {
    const certificate = await x509.X509CertificateGenerator.create({
      ...period(),
      serialNumber: serialNumber(),
      subject: 'CN=Berth library proxy host',
      issuer,
      publicKey: hostKeys.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: host }]),
        await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return createSecureContext({ key: hostKey, cert: certificate.toString('pem') });
  }

  return {
    certificate: authority.toString('pem'),
    contextFor(host) {
      const known = contexts.get(host) ?? make(host);
      contexts.set(host, known);
      return known;
    },
  };
}

function serialNumber(): string {
  return `01${Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString('hex')}`;
}

function pem(label: string, der: ArrayBuffer): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
