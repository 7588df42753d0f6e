/** What is said of an image that `berth build` makes: its SBOM, where it comes from, and a signature, kept beside it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { digestOf } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import { isErrno, readTextIfThere } from '../core/files.ts';
import type { PathInfo } from '../nix/path-info.ts';
import { physicalPath, storeDirectory, type Store, type StorePath } from '../nix/store.ts';
import { attach } from '../oci/attest/attach.ts';
import type { AttachmentTarget } from '../oci/attest/attachment-target.ts';
import { type ProvenanceSource, provenanceOf } from '../oci/attest/provenance.ts';
import { type PackageFacts, sbomOf } from '../oci/attest/sbom.ts';
import { signAttestations, signImage } from '../oci/attest/sign.ts';
import { readSigningKey, type SigningKey } from '../oci/attest/signing-key.ts';
import type { Predicate } from '../oci/attest/statement.ts';
import type { Descriptor } from '../oci/model.ts';
import { licensesOf } from '../sources/debian/copyright.ts';
import { debianPackagesOf } from '../sources/debian/package-records.ts';
import type { LockedSource } from '../sources/source.ts';
import type { Prepared } from './prepare.ts';

export interface Attestations {
  readonly sbom?: boolean;
  readonly provenance?: boolean;
  /** The file of a private key. */
  readonly sign?: string;
}

/** An image of one platform, and what it was made of. */
export interface Attestable {
  readonly image: { readonly manifest: { readonly descriptor: Descriptor } };
  /** `linux/amd64` */
  readonly platform: string;
  readonly name: string;
  readonly prepared: Prepared;
  readonly sources: Readonly<Record<string, LockedSource>>;
}

export type Attached = 'sbom' | 'provenance' | 'signature';

export interface AttestStepOptions {
  readonly store: Store;
  readonly pathInfo: (hashPart: string) => Promise<PathInfo | undefined>;
  /** Of an encrypted key; asked for when one is read. */
  readonly password: () => string | undefined;
}

export interface AttestStep {
  /**
   * @returns the key of a file
   * @throws BerthError KEY_INVALID
   */
  key(file: string): Promise<SigningKey>;
  /** Puts what is wanted beside the image. @param root the manifest, or the index of several platforms */
  run(
    wanted: Attestations,
    key: SigningKey | undefined,
    target: AttachmentTarget,
    root: Descriptor,
    images: readonly Attestable[],
    signal?: AbortSignal,
  ): Promise<Attached[]>;
}

export function createAttestStep(options: AttestStepOptions): AttestStep {
  const predicatesOf = async (wanted: Attestations, one: Attestable): Promise<Predicate[]> => [
    ...(wanted.sbom ? [await sbom(one)] : []),
    ...(wanted.provenance ? [await provenance(one)] : []),
  ];

  async function sbom({ name, prepared, sources }: Attestable): Promise<Predicate> {
    const { environment } = prepared;
    const facts = new Map<string, DebianFacts>();
    const pathOf = new Map<string, StorePath>();
    for (const path of environment.closure.paths) {
      const found = await debianFacts(path, Object.values(sources), options.store);
      if (!found) continue;
      facts.set(storeNameOf(path), found);
      pathOf.set(found.name, path);
    }
    const closure = await Promise.all(
      environment.closure.paths.map(async (path) => {
        const info = await options.pathInfo(path.slice(storeDirectory.length + 1).slice(0, 32));
        const narSha256 = info && Buffer.from(info.narHash).toString('hex');
        // Debian's packages do not refer to each other in the store; what they depend on is what Debian says.
        const needs = (facts.get(storeNameOf(path))?.needs ?? []).flatMap(
          (group) => group.map((name) => pathOf.get(name)).find((there) => there !== undefined) ?? [],
        );
        return { path, references: [...(info?.references ?? []), ...needs], ...(narSha256 ? { narSha256 } : {}) };
      }),
    );
    return sbomOf({
      name,
      environmentDigest: environment.digest,
      root: environment.storePath,
      closure,
      packageOf: (storeName) => facts.get(storeName),
    });
  }

  async function provenance({ platform, prepared, sources }: Attestable): Promise<Predicate> {
    const lock = await readTextIfThere(prepared.config.lockFile);
    return provenanceOf({
      configDigest: prepared.configDigest,
      environmentDigest: prepared.environment.digest,
      platform,
      ...(lock === undefined ? {} : { lockDigest: digestOf(lock) }),
      sources: Object.entries(sources).map(([name, source]) => provenanceSource(name, source)),
    });
  }

  return {
    async key(file) {
      let text: string;
      try {
        text = await readFile(file, 'utf8');
      } catch (error) {
        if (!isErrno(error, 'ENOENT', 'EACCES', 'EISDIR', 'ENOTDIR')) throw error;
        throw new BerthError('KEY_INVALID', `The key ${file} cannot be read.`, { cause: error });
      }
      return readSigningKey(text, options.password());
    },
    async run(wanted, key, target, root, images, signal) {
      for (const one of images) {
        const subject = one.image.manifest.descriptor;
        const predicates = await predicatesOf(wanted, one);
        await attach(target, subject, predicates, signal);
        if (!key) continue;
        await signAttestations(target, subject, predicates, key, signal);
        if (subject.digest !== root.digest) await signImage(target, subject, key, signal);
      }
      if (key) await signImage(target, root, key, signal);
      return [
        ...(wanted.sbom ? (['sbom'] as const) : []),
        ...(wanted.provenance ? (['provenance'] as const) : []),
        ...(key ? (['signature'] as const) : []),
      ];
    },
  };
}

const debianPin = z.looseObject({ suite: z.string(), index: z.looseObject({ path: z.string() }) });
/** Indexes by their path: content-addressed, so that one never changes. The last few are enough. */
const indexes = new Map<string, ReturnType<typeof debianPackagesOf>>();

interface DebianFacts extends PackageFacts {
  readonly needs: readonly (readonly string[])[];
}

/** `NAME-VERSION` of `/nix/store/HASH-NAME-VERSION`. */
function storeNameOf(path: StorePath): string {
  return path.slice(storeDirectory.length + 34);
}

async function debianFacts(
  path: StorePath,
  sources: readonly LockedSource[],
  store: Store,
): Promise<DebianFacts | undefined> {
  for (const { kind, pin } of sources) {
    const read = kind === 'debian' ? debianPin.safeParse(pin) : undefined;
    if (!read?.success) continue;
    const folder = physicalPath(store, read.data.index.path);
    const packageOf = indexes.get(folder) ?? debianPackagesOf(folder);
    if (indexes.size > 4) indexes.clear();
    indexes.set(folder, packageOf);
    const found = packageOf(storeNameOf(path));
    if (!found) continue;
    const { name, version, needs, ...debian } = found;
    const copyright = await readFile(join(physicalPath(store, path), 'usr/share/doc', name, 'copyright'), 'utf8').catch(
      // A package may have none of its own, or a link to another package's.
      () => '',
    );
    return { name, version, debian: { ...debian, suite: read.data.suite }, licenses: licensesOf(copyright), needs };
  }
  return undefined;
}

const pinFields = z.looseObject({
  url: z.string().optional(),
  rev: z.string().optional(),
  narHash: z.string().optional(),
  suite: z.string().optional(),
  index: z.looseObject({ narHash: z.string() }).optional(),
  pockets: z.array(z.looseObject({ suite: z.string(), release: z.string() })).optional(),
});

/** A folder of this machine's is not told: only its hash says what it held. */
function provenanceSource(name: string, { kind, label, pin }: LockedSource): ProvenanceSource {
  const { url, rev, narHash, suite, index, pockets } = pinFields.parse(pin);
  const address = url !== undefined && /^https?:/.test(url) ? withoutUser(url) : undefined;
  return {
    name,
    uri: suite === undefined ? (address ?? `${kind}:${encodeURIComponent(label)}`) : `debian:${suite}`,
    digest: {
      ...(rev === undefined ? {} : { gitCommit: rev }),
      ...((narHash ?? index?.narHash) ? { narHash: narHash ?? index?.narHash ?? '' } : {}),
      ...Object.fromEntries((pockets ?? []).map((pocket) => [`release-${pocket.suite}`, pocket.release])),
    },
  };
}

function withoutUser(text: string): string {
  const url = new URL(text);
  url.username = '';
  url.password = '';
  return url.href;
}
