/** Repositories that are lists of packages: `python3/git/ripgrep`, in any order, with meta-packages anywhere. */
import { decodeSegment, encodeSegment, escapeWhole } from './segment.ts';

/** What a repository's name asks for. */
export interface ImageName {
  /** Sorted, each once: `git`, `nodejs@18`. */
  readonly packages: readonly string[];
  /** Nix's name of the system, where the name chooses one. */
  readonly system: 'aarch64-linux' | undefined;
}

/** Built images are stored below it, so that no push meets them. */
export const builtPrefix = 'packages/';

/** What people need who work in an image by hand. */
export const shellPackages = ['bash', 'coreutils', 'findutils', 'less'] as const;

/** Parts that are no packages. A package of that name is had by an escape: `0__73lim`. */
const metaPackages = new Set(['shell', 'arm64', 'slim']);

/**
 * `shell` adds shellPackages, `arm64` chooses the platform, `slim` changes nothing: images hold what is asked for only.
 * @throws BerthError IMAGE_NAME_INVALID
 */
export function parseImageName(repository: string): ImageName {
  const text = repository.startsWith(builtPrefix) ? repository.slice(builtPrefix.length) : repository;
  const packages = new Set<string>();
  let system: ImageName['system'];
  for (const part of text.split('/')) {
    if (part === 'shell') for (const name of shellPackages) packages.add(name);
    else if (part === 'arm64') system = 'aarch64-linux';
    else if (part !== 'slim') packages.add(decodeSegment(part));
  }
  return { packages: [...packages].sort(), system };
}

/** @returns the one repository under which all spellings of the set are stored */
export function storedRepository({ packages, system }: ImageName): string {
  const parts = packages.map((name) => (metaPackages.has(name) ? escapeWhole(name) : encodeSegment(name)));
  const all = system === undefined ? parts : ['arm64', ...parts];
  return builtPrefix + (all.length === 0 ? 'slim' : all.join('/'));
}
