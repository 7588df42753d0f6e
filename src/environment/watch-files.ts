/**
 * Tells when something at some paths may have changed: files that are saved in place or by a rename over them, files that
 * go, and files that were not there and appear. Folders are watched, not files: a rename gives a file another inode, and
 * what is absent has none. Whether anything really changed the caller finds out by content.
 */
import { existsSync, statSync, watch, type FSWatcher } from 'node:fs';
import { dirname } from 'node:path';

export interface FileWatch {
  /** Watches these from now on, in place of the earlier ones. */
  set(paths: Iterable<string>): void;
  close(): void;
}

/** An editor writes in several steps; this long nothing must have happened. */
const quietMs = 30;
/** A file that is written without end is looked at this often all the same. */
const longestMs = 500;

/** @param changed called once after each burst of changes, and not before the first `set` */
export function watchFiles(changed: () => void): FileWatch {
  let watchers = new Map<string, FSWatcher>();
  let timer: NodeJS.Timeout | undefined;
  let since: number | undefined;

  const note = () => {
    const now = Date.now();
    since ??= now;
    clearTimeout(timer);
    timer = setTimeout(
      () => {
        since = undefined;
        changed();
      },
      Math.max(0, Math.min(quietMs, since + longestMs - now)),
    );
  };

  function open(folder: string): FSWatcher | undefined {
    try {
      const watcher = watch(folder, note);
      // A folder that is removed: what is there then is watched at the next `set`.
      watcher.on('error', note);
      return watcher;
    } catch {
      // Gone since it was looked for, or the system's limit of watches is reached; the others still tell.
      return undefined;
    }
  }

  return {
    set(paths) {
      const folders = new Set<string>();
      for (const path of paths) for (const folder of foldersOf(path)) folders.add(folder);
      const before = watchers;
      watchers = new Map();
      for (const folder of folders) {
        // Opened anew each time: the folder of that name may be another one now.
        const watcher = open(folder);
        if (watcher) watchers.set(folder, watcher);
      }
      for (const watcher of before.values()) watcher.close();
    },
    close() {
      clearTimeout(timer);
      for (const watcher of watchers.values()) watcher.close();
      watchers.clear();
    },
  };
}

/** The folder that a path is in, or the nearest one that is there, and itself where it is a folder. */
function foldersOf(path: string): string[] {
  const folders = statSync(path, { throwIfNoEntry: false })?.isDirectory() ? [path] : [];
  let above = dirname(path);
  while (!existsSync(above) && above !== dirname(above)) above = dirname(above);
  return [...folders, above];
}
