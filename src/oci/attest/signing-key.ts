/**
 * Keys for signatures: ECDSA on P-256 with SHA-256, as cosign's. Private keys come as cosign writes them, encrypted by a
 * password (scrypt and NaCl's secretbox over PKCS#8, as go-securesystemslib's `encrypted` has it), or as PKCS#8 in PEM.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  scrypt,
  sign,
  verify,
} from 'node:crypto';
import { promisify } from 'node:util';
import { z } from 'zod';
import { BerthError } from '../../core/errors.ts';

export interface PublicKey {
  /** PEM of the kind `PUBLIC KEY` (SubjectPublicKeyInfo), as cosign.pub. */
  readonly pem: string;
  /** @param signature in DER */
  verify(bytes: Uint8Array, signature: Uint8Array): boolean;
}

export interface SigningKey {
  readonly publicKey: PublicKey;
  /** @returns the signature in DER */
  sign(bytes: Uint8Array): Uint8Array;
}

const base64 = z.base64().transform((text) => Buffer.from(text, 'base64'));
const boxSchema = z.looseObject({
  kdf: z.looseObject({
    name: z.literal('scrypt'),
    params: z.looseObject({ N: z.number(), r: z.literal(8), p: z.literal(1) }),
    salt: base64,
  }),
  cipher: z.looseObject({ name: z.literal('nacl/secretbox'), nonce: base64 }),
  ciphertext: base64,
});
/** Those that cosign has used; a file must not choose how much work it makes. */
const knownCosts = [2 ** 15, 2 ** 16, 2 ** 17];
const cost = 2 ** 16;
const keyBytes = 32;
const scryptAsync = promisify(scrypt) as (
  password: string,
  salt: Uint8Array,
  length: number,
  options: { N: number; r: number; p: number; maxmem: number },
) => Promise<Buffer>;

/**
 * @param pem `ENCRYPTED SIGSTORE PRIVATE KEY`, `ENCRYPTED COSIGN PRIVATE KEY`, `PRIVATE KEY` or `EC PRIVATE KEY`
 * @param password for an encrypted key
 * @throws BerthError KEY_INVALID; nothing of the key is told
 */
export async function readSigningKey(pem: string, password?: string): Promise<SigningKey> {
  const block = /-----BEGIN ([A-Z0-9 ]+)-----([\s\S]*?)-----END \1-----/.exec(pem);
  if (!block) throw invalid('The key is not in PEM');
  const [, kind = '', body = ''] = block;
  if (/^ENCRYPTED (SIGSTORE|COSIGN) PRIVATE KEY$/.test(kind)) {
    if (password === undefined) throw invalid('The key is encrypted, and no password is set for it');
    return signingKeyOf(await decrypt(Buffer.from(body, 'base64'), password));
  }
  if (kind !== 'PRIVATE KEY' && kind !== 'EC PRIVATE KEY')
    throw invalid(`A key of the kind \`${kind}\` is not for signing`);
  return signingKeyOf(open(() => createPrivateKey(block[0])));
}

/** @throws BerthError KEY_INVALID */
export function readPublicKey(pem: string): PublicKey {
  if (/PRIVATE KEY-----/.test(pem)) throw invalid('A private key was given where a public one is asked for');
  return publicKeyOf(open(() => createPublicKey(pem)));
}

/** @returns a new pair in PEM, as `cosign generate-key-pair` writes cosign.key and cosign.pub */
export async function generateSigningKey(
  password: string,
): Promise<{ readonly privateKey: string; readonly publicKey: string }> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { xsalsa20poly1305 } = await import('@noble/ciphers/salsa.js');
  const salt = randomBytes(32);
  const nonce = randomBytes(24);
  const key = await scryptAsync(password, salt, keyBytes, scryptOptions(cost));
  const ciphertext = xsalsa20poly1305(key, nonce).encrypt(privateKey.export({ type: 'pkcs8', format: 'der' }));
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  const box = {
    kdf: { name: 'scrypt', params: { N: cost, r: 8, p: 1 }, salt: text(salt) },
    cipher: { name: 'nacl/secretbox', nonce: text(nonce) },
    ciphertext: text(ciphertext),
  };
  const body = text(Buffer.from(JSON.stringify(box)))
    .replace(/.{64}/g, '$&\n')
    .trimEnd();
  const kind = 'ENCRYPTED SIGSTORE PRIVATE KEY';
  return {
    privateKey: `-----BEGIN ${kind}-----\n${body}\n-----END ${kind}-----\n`,
    publicKey: signingKeyOf(privateKey).publicKey.pem,
  };
}

async function decrypt(bytes: Buffer, password: string): Promise<KeyObject> {
  const box = boxSchema.safeParse(open(() => JSON.parse(bytes.toString('utf8')) as unknown));
  if (!box.success || !knownCosts.includes(box.data.kdf.params.N))
    throw invalid('The key is not encrypted as cosign does');
  const { kdf, cipher, ciphertext } = box.data;
  const key = await scryptAsync(password, kdf.salt, keyBytes, scryptOptions(kdf.params.N));
  const { xsalsa20poly1305 } = await import('@noble/ciphers/salsa.js');
  let der: Uint8Array;
  try {
    der = xsalsa20poly1305(key, cipher.nonce).decrypt(ciphertext);
  } catch {
    throw invalid('The password of the key is wrong, or the key is damaged');
  }
  return open(() => createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' }));
}

function scryptOptions(N: number) {
  return { N, r: 8, p: 1, maxmem: 256 * N * 8 };
}

function signingKeyOf(key: KeyObject): SigningKey {
  checkCurve(key);
  return {
    publicKey: publicKeyOf(createPublicKey(key)),
    sign: (bytes) => sign('sha256', bytes, key),
  };
}

function publicKeyOf(key: KeyObject): PublicKey {
  checkCurve(key);
  return {
    pem: key.export({ type: 'spki', format: 'pem' }).toString(),
    verify: (bytes, signature) => verify('sha256', bytes, key, signature),
  };
}

function checkCurve(key: KeyObject): void {
  if (key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return;
  throw invalid('The key is not one of ECDSA on the curve P-256');
}

/** What OpenSSL or JSON say may quote the key, so it is not kept as a cause. */
function open<T>(read: () => T): T {
  try {
    return read();
  } catch {
    throw invalid('The key cannot be read');
  }
}

function invalid(message: string): BerthError {
  return new BerthError('KEY_INVALID', `${message}.`);
}
