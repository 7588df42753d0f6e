/** Names, tags and digests as they stand in a path of the distribution specification 1.1. */
import { type BlobDigest, blobDigestSchema } from '../oci/blobs/blob-store.ts';
import { Refusal } from './refusal.ts';

const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const namePattern = new RegExp(`^${component}(?:/${component})*$`);
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
/** Of whatever algorithm: what has this form is no tag. */
const digestPattern = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+$/;
/** Docker's limit; a registry's host is counted by some clients, so that names near it fail there. */
const maxNameLength = 255;

/** A tag or a digest. */
export type Reference = { readonly tag: string } | { readonly digest: BlobDigest };

/** @returns whether it is the name of a repository */
export function isRepositoryName(name: string): boolean {
  return name.length <= maxNameLength && namePattern.test(name);
}

/** @throws Refusal NAME_INVALID */
export function checkRepository(name: string): string {
  if (isRepositoryName(name)) return name;
  throw new Refusal(
    'NAME_INVALID',
    `The name \`${name}\` is not allowed: it takes lower-case letters, digits, \`.\`, \`_\` and \`-\` between \`/\`.`,
  );
}

/** @throws Refusal DIGEST_INVALID for what is no digest in sha256 */
export function checkDigest(text: string): BlobDigest {
  const { success, data } = blobDigestSchema.safeParse(text);
  if (success) return data;
  throw new Refusal('DIGEST_INVALID', `\`${text}\` is no digest in sha256 or sha512.`);
}

/** @throws Refusal DIGEST_INVALID, or MANIFEST_INVALID for what is no tag either */
export function parseReference(text: string): Reference {
  if (digestPattern.test(text)) return { digest: checkDigest(text) };
  if (tagPattern.test(text)) return { tag: text };
  throw new Refusal('MANIFEST_INVALID', `\`${text}\` is neither a tag nor a digest.`);
}

export type Target =
  | { readonly kind: 'base' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'manifest' | 'blob' | 'referrers'; readonly repository: string; readonly reference: string }
  | { readonly kind: 'tags' | 'uploads'; readonly repository: string }
  | { readonly kind: 'upload'; readonly repository: string; readonly id: string };

/** What follows a repository's name, which may have slashes: matched from the end. */
const tails: readonly [RegExp, (repository: string, last: string) => Target][] = [
  [/^(.+)\/manifests\/([^/]+)$/, (repository, reference) => ({ kind: 'manifest', repository, reference })],
  [/^(.+)\/blobs\/uploads\/?$/, (repository) => ({ kind: 'uploads', repository })],
  [/^(.+)\/blobs\/uploads\/([^/]+)$/, (repository, id) => ({ kind: 'upload', repository, id })],
  [/^(.+)\/blobs\/([^/]+)$/, (repository, reference) => ({ kind: 'blob', repository, reference })],
  [/^(.+)\/referrers\/([^/]+)$/, (repository, reference) => ({ kind: 'referrers', repository, reference })],
  [/^(.+)\/tags\/list$/, (repository) => ({ kind: 'tags', repository })],
];

/**
 * @param path of the URL, from `/v2` on
 * @returns what it names, or undefined when it is no path of the specification
 */
export function parsePath(path: string): Target | undefined {
  if (path === '/v2' || path === '/v2/') return { kind: 'base' };
  if (path === '/v2/_catalog') return { kind: 'catalog' };
  const rest = /^\/v2\/(.+)$/.exec(path)?.[1];
  if (rest === undefined) return undefined;
  const decoded = decodedPath(rest);
  for (const [pattern, target] of tails) {
    const match = pattern.exec(decoded);
    if (match) return target(match[1] ?? '', match[2] ?? '');
  }
  return undefined;
}

function decodedPath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
