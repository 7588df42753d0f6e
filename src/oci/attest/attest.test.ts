import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../core/digest.ts';
import { imageOf } from '../image.ts';
import { createRegistryClient } from '../remote/client.ts';
import { type FakeRegistry, startFakeRegistry } from '../remote/fake-registry.ts';
import { pushImage } from '../remote/push.ts';
import { parseReference } from '../remote/reference.ts';
import { writeOciLayout } from '../targets/oci-layout.ts';
import { attach } from './attach.ts';
import { type AttachmentTarget, layoutTarget, registryTarget } from './attachment-target.ts';
import { openEnvelope, signEnvelope } from './dsse.ts';
import { provenanceOf } from './provenance.ts';
import { nameAndVersion, sbomOf, type SbomInput } from './sbom.ts';
import { cosignTag, signAttestations, signImage, verifyImage } from './sign.ts';
import { generateSigningKey, readPublicKey, readSigningKey } from './signing-key.ts';
import { predicateTypes } from './statement.ts';

const pathOf = (name: string) => `/nix/store/${'a'.repeat(32)}-${name}`;
const input: SbomInput = {
  name: 'demo',
  environmentDigest: digestOf('environment'),
  root: pathOf('environment'),
  closure: [
    { path: pathOf('environment'), references: [pathOf('jq-1.6-2.1'), pathOf('hello-2.12')] },
    {
      path: pathOf('jq-1.6-2.1'),
      narSha256: 'ab'.repeat(32),
      references: [pathOf('libc6-2.36'), pathOf('jq-1.6-2.1')],
    },
    { path: pathOf('hello-2.12'), narSha256: 'cd'.repeat(32), references: [] },
    { path: pathOf('libc6-2.36'), references: [] },
  ],
  packageOf: (name) =>
    name === 'jq-1.6-2.1'
      ? {
          name: 'jq',
          version: '1.6-2.1',
          debian: { architecture: 'amd64', source: 'jq', suite: 'bookworm', sha256: 'ef'.repeat(32) },
          licenses: ['MIT', 'Expat and others'],
        }
      : undefined,
};

interface Bom {
  readonly bomFormat: string;
  readonly specVersion: string;
  readonly serialNumber: string;
  readonly metadata: { readonly component: { 'bom-ref': string }; readonly timestamp?: string };
  readonly components: {
    'bom-ref': string;
    name: string;
    version?: string;
    purl: string;
    licenses?: unknown;
    hashes?: { content: string }[];
  }[];
  readonly dependencies: { ref: string; dependsOn?: string[] }[];
}

describe('an SBOM', () => {
  test('names packages, hashes, licences and what depends on what', async () => {
    const { content, type } = await sbomOf(input);
    const bom = content as Bom;
    expect(type).toBe(predicateTypes.cycloneDx);
    expect([bom.bomFormat, bom.specVersion]).toEqual(['CycloneDX', '1.6']);
    expect(bom.metadata.timestamp).toBeUndefined();
    const jq = bom.components.find(({ name }) => name === 'jq');
    expect(jq).toMatchObject({ version: '1.6-2.1', purl: 'pkg:deb/debian/jq@1.6-2.1?arch=amd64&distro=bookworm' });
    expect(jq?.hashes?.[0]?.content).toBe('ef'.repeat(32));
    expect(jq?.licenses).toEqual([{ license: { name: 'Expat and others' } }, { license: { id: 'MIT' } }]);
    expect(JSON.stringify(jq)).toContain(`{"name":"nix:store_path","value":"${pathOf('jq-1.6-2.1')}"}`);
    const hello = bom.components.find(({ name }) => name === 'hello');
    expect(hello?.purl).toBe('pkg:nix/hello@2.12?drv=hello-2.12');
    const dependencies = Object.fromEntries(bom.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
    expect(dependencies[input.environmentDigest]).toEqual([pathOf('environment')]);
    expect(dependencies[pathOf('environment')]).toEqual([pathOf('hello-2.12'), pathOf('jq-1.6-2.1')]);
    expect(dependencies[pathOf('jq-1.6-2.1')]).toEqual([pathOf('libc6-2.36')]);
  });

  test('has the same bytes for the same closure in any order', async () => {
    const shuffled = {
      ...input,
      closure: [...input.closure].reverse().map((entry) => ({ ...entry, references: [...entry.references].reverse() })),
    };
    expect(JSON.stringify(await sbomOf(shuffled))).toBe(JSON.stringify(await sbomOf(input)));
  });

  test('parses names as Nix does', () => {
    expect(nameAndVersion('python3.11-venv-3.11.2')).toEqual({ name: 'python3.11-venv', version: '3.11.2' });
    expect(nameAndVersion('environment')).toEqual({ name: 'environment', version: '' });
  });
});

test('provenance says what went in, and the same each time', () => {
  const of = (sources: { name: string; uri: string; digest: Record<string, string> }[]) =>
    provenanceOf({
      configDigest: digestOf('config'),
      environmentDigest: digestOf('environment'),
      lockDigest: digestOf('lock'),
      platform: 'linux/amd64',
      sources,
    });
  const one = { name: 'pkgs', uri: 'debian:bookworm', digest: { sha256: '00' } };
  const two = { name: 'at', uri: 'git+https://example.com/x@1', digest: { gitCommit: '1' } };
  expect(of([one, two])).toEqual(of([two, one]));
  expect(of([one]).content).toMatchObject({
    buildDefinition: {
      externalParameters: { config: { sha256: digestOf('config').slice(7) } },
      resolvedDependencies: [{ name: 'berth.lock' }, { uri: 'debian:bookworm' }],
    },
    runDetails: { builder: { id: 'urn:berth:builder' } },
  });
});

/** Without a password, since to derive a key from one takes a third of a second. */
async function newKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return readSigningKey(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
}

describe('keys', () => {
  test('are written as cosign writes them and read again with their password', async () => {
    const pair = await generateSigningKey('pass word');
    expect(pair.privateKey).toMatch(/^-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n/);
    const key = await readSigningKey(pair.privateKey, 'pass word');
    expect(key.publicKey.pem).toBe(pair.publicKey);
    expect(readPublicKey(pair.publicKey).verify(Buffer.from('a'), key.sign(Buffer.from('a')))).toBe(true);
    expect(readPublicKey(pair.publicKey).verify(Buffer.from('b'), key.sign(Buffer.from('a')))).toBe(false);
  });

  test('of cosign itself are read', async () => {
    // Made by cosign 2.4.3 with the password `berth`.
    const key = await readSigningKey(
      readFileSync(join(import.meta.dirname, 'cosign-key-for-tests.pem'), 'utf8'),
      'berth',
    );
    expect(key.publicKey.pem).toBe(readFileSync(join(import.meta.dirname, 'cosign-key-for-tests.pub'), 'utf8'));
  });

  test('in plain PKCS#8 and SEC1 are read', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    for (const type of ['pkcs8', 'sec1'] as const) {
      const key = await readSigningKey(privateKey.export({ type, format: 'pem' }).toString());
      expect(key.publicKey.verify(Buffer.from('a'), key.sign(Buffer.from('a')))).toBe(true);
    }
  });

  test('that are wrong are refused without a word of what is in them', async () => {
    const pair = await generateSigningKey('right');
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const pem = (key: typeof rsa.privateKey) => key.export({ type: 'pkcs8', format: 'pem' }).toString();
    const damaged = pair.privateKey.replace(/\n(.{10})/, '\nAAAAAAAAAA');
    for (const [text, password] of [
      [pair.privateKey, 'wrong'],
      [pair.privateKey, undefined],
      [damaged, 'right'],
      [pem(rsa.privateKey), undefined],
      [pem(p384.privateKey), undefined],
      ['hello', undefined],
      [pair.publicKey, undefined],
    ] as const) {
      const failure = await readSigningKey(text, password).catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: 'KEY_INVALID' });
      expect((failure as Error).cause).toBeUndefined();
    }
    expect(() => readPublicKey(pem(p384.privateKey))).toThrow(/private key was given/);
  });
});

test('an envelope opens for its key only, and for the type that was signed only', async () => {
  const [one, two] = await Promise.all([newKey(), newKey()]);
  const envelope = signEnvelope('text/plain', Buffer.from('hello'), one);
  expect(Buffer.from(openEnvelope(envelope, one.publicKey)!).toString()).toBe('hello');
  expect(openEnvelope(envelope, two.publicKey)).toBeUndefined();
  expect(openEnvelope({ ...envelope, payloadType: 'text/html' }, one.publicKey)).toBeUndefined();
  expect(
    openEnvelope({ ...envelope, payload: Buffer.from('other').toString('base64') }, one.publicKey),
  ).toBeUndefined();
});

describe.each(['registry', 'registry without a list of referrers', 'layout'])('in a %s', (kind) => {
  let registry: FakeRegistry;
  let folder: string;
  let target: AttachmentTarget;
  const image = imageOf([], { architecture: 'amd64', env: { A: 'b' } });
  const subject = image.manifest.descriptor;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'berth-attest-'));
    registry = await startFakeRegistry();
    registry.hasReferrersApi = kind === 'registry';
    if (kind === 'layout') {
      await writeOciLayout(folder, image, { tag: 'app' });
      target = layoutTarget(folder, 'example.com/app');
    } else {
      const reference = parseReference(`${registry.host}/app:1`);
      const client = createRegistryClient();
      await pushImage(client, image, reference);
      target = registryTarget(client, reference);
    }
  });
  afterEach(async () => {
    rmSync(folder, { recursive: true });
    await registry.close();
  });
  const layersAt = async (tag: string) => {
    const found = await target.tagged(tag);
    return found ? (JSON.parse(Buffer.from(found.bytes).toString()) as { layers: unknown[] }).layers.length : 0;
  };

  test('SBOM and provenance are found as what refers to the image', async () => {
    const provenance = provenanceOf({
      configDigest: digestOf('c'),
      environmentDigest: digestOf('e'),
      platform: 'linux/amd64',
      sources: [],
    });
    const predicates = [await sbomOf(input), provenance];
    const first = await attach(target, subject, predicates);
    const second = await attach(target, subject, predicates);
    expect(second.map(({ manifest }) => manifest.descriptor)).toEqual(first.map(({ manifest }) => manifest.descriptor));
    const found = await target.referrers(subject.digest);
    expect(found.map(({ artifactType }) => artifactType).sort()).toEqual([
      'application/vnd.cyclonedx+json',
      'application/vnd.in-toto+json',
    ]);
    const [sbom] = await target.referrers(subject.digest, 'application/vnd.cyclonedx+json');
    const manifest = JSON.parse(Buffer.from((await target.manifest(sbom!.digest)).bytes).toString()) as {
      layers: [typeof subject];
    };
    const bom = JSON.parse(Buffer.from(await target.read(manifest.layers[0])).toString()) as Bom;
    expect(bom.components).toHaveLength(4);
  });

  test('an image is signed once by a key, by several keys, and verified by each', async () => {
    const [one, two, other] = await Promise.all([newKey(), newKey(), newKey()]);
    await expect(verifyImage(target, subject.digest, one.publicKey)).rejects.toThrow(/is not signed/);
    for (const key of [one, two, one]) await signImage(target, subject, key);
    expect(await layersAt(cosignTag(subject.digest, 'sig'))).toBe(2);
    for (const key of [one, two]) {
      expect(await verifyImage(target, subject.digest, key.publicKey)).toEqual({ signatures: 1, attestations: [] });
    }
    await expect(verifyImage(target, subject.digest, other.publicKey)).rejects.toMatchObject({
      code: 'SIGNATURE_INVALID',
      message: expect.stringContaining('not by the given key') as string,
    });
  });

  test("a signature of another image, put under this one's tag, is none", async () => {
    const key = await newKey();
    const other = imageOf([], { architecture: 'arm64' }).manifest.descriptor;
    await signImage(target, other, key);
    const stolen = await target.tagged(cosignTag(other.digest, 'sig'));
    const { layers } = JSON.parse(Buffer.from(stolen!.bytes).toString()) as { layers: (typeof subject)[] };
    const documents = await Promise.all(
      layers.map(async (descriptor) => ({ bytes: await target.read(descriptor), descriptor })),
    );
    const { artifactOf } = await import('../artifact.ts');
    await target.put(artifactOf({ artifactType: 'x', subject, documents, tag: cosignTag(subject.digest, 'sig') }));
    await expect(verifyImage(target, subject.digest, key.publicKey)).rejects.toMatchObject({
      code: 'SIGNATURE_INVALID',
    });
  });

  test('attestations are signed once, and told when the image is verified', async () => {
    const key = await newKey();
    const predicate = { type: 'https://example.com/p', content: { a: 1 } };
    await signImage(target, subject, key);
    await signAttestations(target, subject, [predicate], key);
    await signAttestations(target, subject, [predicate, { ...predicate, content: { a: 2 } }], key);
    expect(await layersAt(cosignTag(subject.digest, 'att'))).toBe(2);
    const { attestations } = await verifyImage(target, subject.digest, key.publicKey);
    expect(attestations.map(({ predicate: content }) => content)).toEqual([{ a: 1 }, { a: 2 }]);
  });
});
