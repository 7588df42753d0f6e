/** References of images, read once into their parts, as Docker reads them (distribution/reference, "familiar names"). */
import type { Digest } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';

export interface ImageReference {
  /** `HOST[:PORT]`; `docker.io` where the text names none. */
  readonly registry: string;
  /** The whole path below the registry: `library/debian`. */
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

const dockerHub = 'docker.io';
const hostPattern =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?$/;
const repositoryPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^\w[\w.-]{0,127}$/;
const digestPattern = /^sha256:[0-9a-f]{64}$/;
const maxRepositoryLength = 255;

/**
 * @param text `[HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]`; without tag and digest it means the tag `latest`
 * @throws BerthError REFERENCE_INVALID
 */
export function parseReference(text: string): ImageReference {
  const refuse = (why: string) =>
    new BerthError('REFERENCE_INVALID', `\`${text}\` is no reference of an image: ${why}.`);
  const [beforeDigest = '', digest, ...more] = text.split('@');
  if (more.length > 0) throw refuse('it has more than one `@`');
  if (digest !== undefined && !digestPattern.test(digest)) throw refuse('what follows `@` is no sha256 digest');
  const { registry, rest } = splitRegistry(beforeDigest);
  if (!hostPattern.test(registry)) throw refuse(`\`${registry}\` is no host`);
  const colon = rest.indexOf(':');
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  if (tag !== undefined && !tagPattern.test(tag)) throw refuse(`\`${tag}\` is no tag`);
  const repository = registry === dockerHub && !path.includes('/') ? `library/${path}` : path;
  if (!repositoryPattern.test(repository)) {
    throw refuse(
      path === path.toLowerCase() ? `\`${path}\` is no name of a repository` : 'a repository has no upper-case letters',
    );
  }
  if (repository.length > maxRepositoryLength) throw refuse(`its repository is longer than ${maxRepositoryLength}`);
  return {
    registry,
    repository,
    ...(tag === undefined && digest === undefined ? { tag: 'latest' } : {}),
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest: digest as Digest }),
  };
}

/** The first part is a host only if it cannot be a user of Docker Hub's. */
function splitRegistry(text: string): { registry: string; rest: string } {
  const slash = text.indexOf('/');
  const first = text.slice(0, Math.max(0, slash));
  const isHost = /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  if (slash < 0 || !isHost) return { registry: dockerHub, rest: text };
  return { registry: first === 'index.docker.io' ? dockerHub : first, rest: text.slice(slash + 1) };
}

/** @returns the whole text of a reference, with its registry */
export function formatReference(reference: ImageReference): string {
  const { registry, repository, tag, digest } = reference;
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** @returns what names the manifest in the registry's paths: the digest where there is one, else the tag */
export function manifestNameOf(reference: ImageReference): string {
  return reference.digest ?? reference.tag ?? 'latest';
}

/** @returns the host that answers for a registry: Docker Hub's has another name than its references */
export function apiHostOf(registry: string): string {
  return registry === dockerHub ? 'registry-1.docker.io' : registry;
}

/** @returns whether the registry is on this machine, where Docker allows plain HTTP */
export function isLoopback(registry: string): boolean {
  const host = registry.replace(/:\d+$/, '');
  return host === 'localhost' || host.endsWith('.localhost') || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}
