/** Signatures and attestations, checked by programs that Berth has no part in: cosign, where it is installed, and openssl. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf } from '../../src/core/digest.ts';
import { findOnPath } from '../../src/daemon/settings.ts';
import { attach } from '../../src/oci/attest/attach.ts';
import { layoutTarget, registryTarget } from '../../src/oci/attest/attachment-target.ts';
import { provenanceOf } from '../../src/oci/attest/provenance.ts';
import { sbomOf } from '../../src/oci/attest/sbom.ts';
import { cosignTag, signAttestations, signImage, verifyImage } from '../../src/oci/attest/sign.ts';
import { generateSigningKey, readPublicKey, readSigningKey } from '../../src/oci/attest/signing-key.ts';
import { imageOf } from '../../src/oci/image.ts';
import { createRegistryClient } from '../../src/oci/remote/client.ts';
import { pushImage } from '../../src/oci/remote/push.ts';
import { parseReference } from '../../src/oci/remote/reference.ts';
import { writeOciLayout } from '../../src/oci/targets/oci-layout.ts';
import { type DockerRegistry, noDockerRegistry, startDockerRegistry } from '../support/docker-registry.ts';

const noCosign = findOnPath('cosign') === undefined ? 'cosign is not installed' : undefined;
const password = 'a password';
const image = imageOf([], { architecture: 'amd64', env: { A: 'b' } });
const subject = image.manifest.descriptor;
let folder: string;
let registry: DockerRegistry;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-attest-'));
  const pair = await generateSigningKey(password);
  writeFileSync(join(folder, 'berth.key'), pair.privateKey);
  writeFileSync(join(folder, 'berth.pub'), pair.publicKey);
  if (noDockerRegistry === undefined) registry = await startDockerRegistry();
});
afterAll(async () => {
  if (noDockerRegistry === undefined) await registry.stop();
  rmSync(folder, { recursive: true, force: true });
});

const file = (name: string) => join(folder, name);
const ownKey = async () => readSigningKey(readFileSync(file('berth.key'), 'utf8'), password);
const predicates = async () => {
  const root = `/nix/store/${'a'.repeat(32)}-environment`;
  return [
    await sbomOf({
      name: 'demo',
      environmentDigest: digestOf('environment'),
      root,
      closure: [{ path: root, references: [] }],
    }),
    provenanceOf({
      configDigest: digestOf('config'),
      environmentDigest: digestOf('environment'),
      platform: 'linux/amd64',
      sources: [{ name: 'pkgs', uri: 'debian:bookworm', digest: { sha256: 'ab'.repeat(32) } }],
    }),
  ];
};

/** Pushes the image to a repository, signed and with attestations. */
async function signed(name: string) {
  const reference = parseReference(`${registry.host}/${name}:1`);
  const client = createRegistryClient();
  await pushImage(client, image, reference);
  const target = registryTarget(client, reference);
  await attach(target, subject, await predicates());
  await signImage(target, subject, await ownKey());
  await signAttestations(target, subject, await predicates(), await ownKey());
  return { target, text: `${registry.host}/${name}:1` };
}

function cosign(args: readonly string[], env: Record<string, string> = {}): string {
  const environment = { PATH: process.env.PATH ?? '', HOME: folder, COSIGN_PASSWORD: password, ...env };
  return execFileSync('cosign', args, { encoding: 'utf8', stdio: 'pipe', env: environment });
}
const unlogged = ['--insecure-ignore-tlog=true', '--allow-insecure-registry', '--allow-http-registry'];

describe.skipIf(noDockerRegistry)(`in docker-registry (${noDockerRegistry ?? 'there'})`, () => {
  test("a signature is openssl's idea of one, over a payload that names the image", async () => {
    const { target } = await signed('openssl');
    const manifest = await target.tagged(cosignTag(subject.digest, 'sig'));
    const { layers } = JSON.parse(Buffer.from(manifest!.bytes).toString()) as {
      layers: { digest: typeof subject.digest; size: number; mediaType: string; annotations: Record<string, string> }[];
    };
    const [layer] = layers;
    const payload = await target.read(layer!);
    expect(Buffer.from(payload).toString()).toContain(`"docker-manifest-digest":"${subject.digest}"`);
    writeFileSync(file('payload'), payload);
    writeFileSync(
      file('signature'),
      Buffer.from(layer?.annotations['dev.cosignproject.cosign/signature'] ?? '', 'base64'),
    );
    const verify = ['dgst', '-sha256', '-verify', file('berth.pub'), '-signature', file('signature'), file('payload')];
    expect(execFileSync('openssl', verify, { encoding: 'utf8' })).toContain('Verified OK');
  });

  describe.skipIf(noCosign)(`cosign (${noCosign ?? 'there'})`, () => {
    test('verifies an image that Berth signed, by the tag and by the list of referrers', async () => {
      const { text } = await signed('by-berth');
      const seen = cosign(['verify', '--key', file('berth.pub'), ...unlogged, text]);
      expect(seen).toContain(subject.digest);
      const newer = ['verify', '--experimental-oci11', '--key', file('berth.pub'), ...unlogged, text];
      expect(cosign(newer, { COSIGN_EXPERIMENTAL: '1' })).toContain(subject.digest);
    });

    test('verifies attestations that Berth signed', async () => {
      const { text } = await signed('attested');
      for (const type of ['cyclonedx', 'slsaprovenance1']) {
        const seen = cosign(['verify-attestation', '--type', type, '--key', file('berth.pub'), ...unlogged, text]);
        const { payload } = JSON.parse(seen.trim().split('\n')[0] ?? '') as { payload: string };
        expect(Buffer.from(payload, 'base64').toString()).toContain(subject.digest.slice('sha256:'.length));
      }
    });

    test('refuses another key, and so does Berth', async () => {
      const { target, text } = await signed('other-key');
      cosign(['generate-key-pair', '--output-key-prefix', file('other')]);
      expect(() => cosign(['verify', '--key', file('other.pub'), ...unlogged, text])).toThrow();
      const other = readPublicKey(readFileSync(file('other.pub'), 'utf8'));
      await expect(verifyImage(target, subject.digest, other)).rejects.toMatchObject({ code: 'SIGNATURE_INVALID' });
    });

    test("signs by Berth's key what Berth signed by cosign's, and each verifies both", async () => {
      const { target, text } = await signed('both');
      cosign(['generate-key-pair', '--output-key-prefix', file('theirs')]);
      const theirs = await readSigningKey(readFileSync(file('theirs.key'), 'utf8'), password);
      const pinned = `${text.replace(/:1$/, '')}@${subject.digest}`;
      const sign = ['sign', '--yes', '--tlog-upload=false', '--allow-insecure-registry', '--allow-http-registry'];
      cosign([...sign, '--key', file('theirs.key'), pinned]);
      expect(await verifyImage(target, subject.digest, theirs.publicKey)).toMatchObject({ signatures: 1 });
      writeFileSync(file('predicate.json'), '{"a":1}');
      const attest = ['attest', '--yes', '--tlog-upload=false', '--allow-insecure-registry', '--allow-http-registry'];
      cosign([
        ...attest,
        '--type',
        'https://example.com/p',
        '--predicate',
        file('predicate.json'),
        '--key',
        file('theirs.key'),
        pinned,
      ]);
      const seen = await verifyImage(target, subject.digest, theirs.publicKey);
      expect(seen.attestations.map(({ predicateType }) => predicateType)).toEqual(['https://example.com/p']);
      // By the key that Berth generated, cosign signs too.
      const again = parseReference(`${registry.host}/by-cosign:1`);
      await pushImage(createRegistryClient(), image, again);
      cosign([...sign, '--key', file('berth.key'), `${registry.host}/by-cosign@${subject.digest}`]);
      const elsewhere = registryTarget(createRegistryClient(), again);
      expect(await verifyImage(elsewhere, subject.digest, (await ownKey()).publicKey)).toMatchObject({ signatures: 1 });
      expect(cosign(['verify', '--key', file('berth.pub'), ...unlogged, text])).toContain(subject.digest);
    });

    test('verifies an image in a layout', async () => {
      const layout = file('layout');
      await writeOciLayout(layout, image, { tag: 'app' });
      const target = layoutTarget(layout, 'example.com/app');
      await signImage(target, subject, await ownKey());
      await signAttestations(target, subject, await predicates(), await ownKey());
      const local = ['--local-image', '--insecure-ignore-tlog=true', '--key', file('berth.pub'), layout];
      expect(cosign(['verify', ...local])).toContain(subject.digest);
      expect(cosign(['verify-attestation', '--type', 'cyclonedx', ...local])).toContain('payload');
    });
  });
});
