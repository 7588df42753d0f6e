/** `berth build` with an SBOM, provenance and a signature, through the command, into a registry and a layout. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatLock } from '../../src/config/lock.ts';
import type { Digest } from '../../src/core/digest.ts';
import { findOnPath } from '../../src/daemon/settings.ts';
import type { BuildImageResult } from '../../src/environment/images.ts';
import { type AttachmentTarget, layoutTarget, registryTarget } from '../../src/oci/attest/attachment-target.ts';
import { verifyImage } from '../../src/oci/attest/sign.ts';
import { generateSigningKey, readPublicKey } from '../../src/oci/attest/signing-key.ts';
import { manifestSchema, parseDocument } from '../../src/oci/model.ts';
import { createRegistryClient } from '../../src/oci/remote/client.ts';
import { parseReference } from '../../src/oci/remote/reference.ts';
import { buildIfStale, type CliHome, createCliHome } from '../cli/cli-home.ts';
import { debianLock, debianStore } from '../support/debian-root.ts';
import { type DockerRegistry, noDockerRegistry, startDockerRegistry } from '../support/docker-registry.ts';

const password = 'of the test';
const noCosign = findOnPath('cosign') === undefined ? 'cosign is not installed' : undefined;
let home: CliHome;
let registry: DockerRegistry | undefined;
let project: string;
let publicKey: string;

beforeAll(async () => {
  buildIfStale();
  home = createCliHome();
  registry = noDockerRegistry === undefined ? await startDockerRegistry() : undefined;
  project = join(home.home, 'web');
  mkdirSync(project);
  writeFileSync(join(project, 'config.nix'), '{ pkgs, ... }: { packages = [ pkgs.jq ]; }\n');
  writeFileSync(join(project, 'berth.lock'), formatLock({ sources: { pkgs: await debianLock('bookworm') } }));
  const pair = await generateSigningKey(password);
  publicKey = pair.publicKey;
  writeFileSync(join(home.home, 'cosign.key'), pair.privateKey);
  writeFileSync(join(home.home, 'cosign.pub'), pair.publicKey);
});
afterAll(async () => {
  await home.close();
  await registry?.stop();
});

const berth = (args: readonly string[], env: Record<string, string> = {}) =>
  home.berth(args, {
    cwd: project,
    env: {
      BERTH_SOURCE: 'debian',
      BERTH_DEBIAN_SUITE: 'bookworm',
      BERTH_STORE_ROOT: debianStore.root,
      BERTH_SIGNING_PASSWORD: password,
      ...env,
    },
  });
const all = ['--sbom', '--provenance', '--sign', '../cosign.key', '--json'];

interface Bom {
  readonly components: {
    readonly name: string;
    readonly purl: string;
    readonly licenses?: unknown[];
    readonly hashes?: unknown[];
  }[];
  readonly dependencies: { readonly ref: string; readonly dependsOn?: string[] }[];
}

/** @returns the one document of the image's artifact of a kind */
async function attached<T>(target: AttachmentTarget, image: Digest, kind: string): Promise<T> {
  const found = await target.referrers(image, kind);
  expect(found).toHaveLength(1);
  const { bytes } = await target.manifest(found[0]!.digest);
  const [layer] = parseDocument(manifestSchema, bytes, 'the artifact').layers;
  return JSON.parse(Buffer.from(await target.read(layer!)).toString()) as T;
}

async function check(target: AttachmentTarget, result: BuildImageResult): Promise<void> {
  const image = result.imageDigest;
  expect(result.written[0]?.attached).toEqual(['sbom', 'provenance', 'signature']);
  const { components, dependencies } = await attached<Bom>(target, image, 'application/vnd.cyclonedx+json');
  expect(components).toHaveLength(result.closure.paths);
  expect(components.find(({ name }) => name === 'jq')).toMatchObject({
    purl: expect.stringMatching(/^pkg:deb\/debian\/jq@1\.6-2\.1.*arch=amd64&distro=bookworm$/) as string,
    licenses: expect.arrayContaining([{ license: { id: 'MIT' } }]) as unknown[],
  });
  expect(components.filter(({ purl }) => purl.startsWith('pkg:deb/')).length).toBeGreaterThan(result.closure.paths / 2);
  const jq = dependencies.find(({ ref }) => ref.includes('-jq-1.6-'));
  expect(jq?.dependsOn?.some((ref) => ref.includes('-libjq1-'))).toBe(true);
  const statement = await attached<{ subject: { digest: { sha256: string } }[]; predicate: unknown }>(
    target,
    image,
    'application/vnd.in-toto+json',
  );
  expect(statement.subject[0]?.digest.sha256).toBe(image.slice('sha256:'.length));
  expect(JSON.stringify(statement.predicate)).toContain(result.configDigest.slice('sha256:'.length));
  expect(JSON.stringify(statement.predicate)).toContain('debian:bookworm');
  const verified = await verifyImage(target, image, readPublicKey(publicKey));
  expect(verified.attestations.map(({ predicateType }) => predicateType)).toEqual([
    'https://cyclonedx.org/bom',
    'https://slsa.dev/provenance/v1',
  ]);
}

describe.skipIf(noDockerRegistry)(`into docker-registry (${noDockerRegistry ?? 'there'})`, () => {
  test('puts them beside the image, once', async () => {
    const reference = `${registry?.host ?? ''}/team/web:1`;
    const target = registryTarget(createRegistryClient(), parseReference(reference));
    for (const round of ['first', 'second']) {
      const { code, stdout, stderr } = await berth(['build', '--to', `registry:${reference}`, ...all]);
      expect([round, code, stderr.includes(password)], stderr).toEqual([round, 0, false]);
      await check(target, JSON.parse(stdout) as BuildImageResult);
    }
  });

  test.skipIf(noCosign)(`where cosign verifies it (${noCosign ?? 'there'})`, async () => {
    const reference = `${registry?.host ?? ''}/team/cosign:1`;
    const { code, stderr } = await berth(['build', '--to', `registry:${reference}`, ...all]);
    expect(code, stderr).toBe(0);
    const verify = ['verify', '--insecure-ignore-tlog=true', '--allow-http-registry', '--allow-insecure-registry'];
    execFileSync('cosign', [...verify, '--key', join(home.home, 'cosign.pub'), reference], { stdio: 'pipe' });
  });
});

test('into a layout puts them beside the image', async () => {
  const { code, stdout, stderr } = await berth(['build', '--to', 'oci:layout', ...all]);
  expect(code, stderr).toBe(0);
  await check(layoutTarget(join(project, 'layout'), 'web'), JSON.parse(stdout) as BuildImageResult);
});

test.each([
  ['a place that keeps none', ['--to', 'oci-archive:web.tar', '--sbom'], {}, 'REQUEST_INVALID'],
  ['no place at all', ['--provenance'], {}, 'REQUEST_INVALID'],
  ['a key that is not there', ['--to', 'oci:other', '--sign', 'absent.key'], {}, 'KEY_INVALID'],
  [
    'a wrong password',
    ['--to', 'oci:other', '--sign', '../cosign.key'],
    { BERTH_SIGNING_PASSWORD: 'wrong one' },
    'KEY_INVALID',
  ],
])('%s is refused before anything is written', async (_, args, env, expected) => {
  const { code, stdout } = await berth(['build', ...args, '--json'], env);
  expect(code).not.toBe(0);
  const { error } = JSON.parse(stdout) as { error: { code: string } };
  expect(error.code).toBe(expected);
  expect(() => execFileSync('ls', [join(project, 'other')], { stdio: 'pipe' })).toThrow();
});
