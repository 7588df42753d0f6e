/** Where an image comes from, as SLSA's provenance v1 (slsa.dev/spec/v1.0/provenance). */
import type { Digest } from '../../core/digest.ts';
import { version } from '../../core/version.ts';
import { type Predicate, predicateTypes } from './statement.ts';

export interface ProvenanceInput {
  /** Of the config and all that its evaluation read. */
  readonly configDigest: Digest;
  readonly environmentDigest: Digest;
  /** `linux/amd64` */
  readonly platform: string;
  /** Of berth.lock; absent where there is none. */
  readonly lockDigest?: Digest;
  /** The locked sources, by their names in the config. */
  readonly sources: readonly ProvenanceSource[];
  /** Who built it: a URI. Default: Berth itself on some machine. */
  readonly builderId?: string;
}

export interface ProvenanceSource {
  readonly name: string;
  /** Where it is from: `git+https://…@REV`, `debian:bookworm`. */
  readonly uri: string;
  /** Digests by algorithm: `{ gitCommit: "…" }`, `{ sha256: "…" }`. */
  readonly digest: Readonly<Record<string, string>>;
}

export const buildType = 'urn:berth:image:v1';
export const defaultBuilderId = 'urn:berth:builder';

/** @returns the predicate; it holds no time and no host, so that the same build says the same */
export function provenanceOf(input: ProvenanceInput): Predicate {
  const hexOf = (digest: Digest) => digest.slice('sha256:'.length);
  return {
    type: predicateTypes.provenance,
    content: {
      buildDefinition: {
        buildType,
        externalParameters: { config: { sha256: hexOf(input.configDigest) }, platform: input.platform },
        internalParameters: { environment: { sha256: hexOf(input.environmentDigest) } },
        resolvedDependencies: [
          ...(input.lockDigest ? [{ name: 'berth.lock', digest: { sha256: hexOf(input.lockDigest) } }] : []),
          ...[...input.sources]
            .sort((a, b) => (a.name < b.name ? -1 : 1))
            .map(({ name, uri, digest }) => ({ name, uri, digest })),
        ],
      },
      runDetails: { builder: { id: input.builderId ?? defaultBuilderId, version: { berth: version } } },
    },
  };
}
