/** How library trees come into a container: each under a writable layer of the berth's own. */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Mount } from '../engine/engine.ts';
import { physicalPath, type Store, type StorePath } from '../nix/store.ts';

/** A tree, and how it shows in a berth. */
export interface PlacedTree {
  readonly storePath: StorePath;
  readonly place: {
    readonly mounts: readonly { readonly folder: string; readonly target: string }[];
    readonly variables: Readonly<Record<string, string>>;
    readonly path: readonly string[];
  };
}

/**
 * @param berthDirectory the berth's own folder; what its user installs on top is kept there
 * @returns the mounts, in the order of the trees
 */
export function libraryMounts(store: Store, trees: readonly PlacedTree[], berthDirectory: string): Mount[] {
  return trees.flatMap(({ storePath, place }) =>
    place.mounts.map(({ folder, target }) => {
      const layer = join(berthDirectory, 'layers', target.replaceAll('/', '-').slice(1));
      return {
        source: join(physicalPath(store, storePath), folder),
        target,
        readOnly: false,
        overlay: { upper: join(layer, 'upper'), work: join(layer, 'work') },
      };
    }),
  );
}

/** Makes the folders that hold what is changed on top of the mounts. */
export function makeWritableLayers(mounts: readonly Mount[]): void {
  for (const { overlay } of mounts) {
    if (!overlay) continue;
    mkdirSync(overlay.upper, { recursive: true });
    mkdirSync(overlay.work, { recursive: true });
  }
}

/** @returns the targets of layers that hold something */
export function changedLayers(mounts: readonly Mount[]): string[] {
  return mounts.flatMap(({ overlay, target }) =>
    overlay && existsSync(overlay.upper) && readdirSync(overlay.upper).length > 0 ? [target] : [],
  );
}

/** @returns the variables by which the languages find their trees */
export function libraryVariables(
  trees: readonly PlacedTree[],
  environment: Readonly<Record<string, string>>,
): Record<string, string> {
  const path = trees.flatMap(({ place }) => place.path);
  return {
    ...Object.fromEntries(trees.flatMap(({ place }) => Object.entries(place.variables))),
    ...(path.length === 0 ? {} : { PATH: [...path, environment['PATH'] ?? ''].join(':') }),
  };
}

/** @returns where an image, which has the trees as layers, links to their folders: path in the image to path in the store */
export function libraryLinks(trees: readonly PlacedTree[]): Record<string, string> {
  return Object.fromEntries(
    trees.flatMap(({ storePath, place }) =>
      place.mounts.map(({ folder, target }) => [target, `${storePath}/${folder}`]),
    ),
  );
}
