/**
 * A berth's root folder out of an image: overlayfs over the image's layers with a folder of the berth's own on top. It is
 * mounted in a mount namespace that only the runtime and the container are in, so nothing on the host is to be unmounted,
 * whatever ends first, and a daemon that starts anew finds nothing to take over.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { BerthError } from '../../../core/errors.ts';
import { isErrno } from '../../../core/files.ts';

/** As many as Docker stacks, and as fit the page of options that mount(2) takes. */
export const maxLayers = 128;
const pageSize = 4096;

/** Makes the berth's own folders, with what every berth has whatever its image. */
export function makeOverlayFolders(berth: string): void {
  const old = process.umask(0);
  try {
    for (const name of ['rootfs', 'work', 'upper', 'upper/etc', 'upper/work']) {
      mkdirSync(join(berth, name), { recursive: true, mode: 0o755 });
    }
    writeFileSync(join(berth, 'upper/etc/hosts'), '127.0.0.1\tlocalhost\n::1\tlocalhost\n', {
      mode: 0o644,
      flag: 'wx',
    });
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
  } finally {
    process.umask(old);
  }
}

export interface Overlay {
  readonly layerDirectory: string;
  /** Names in that folder, from the bottom up. */
  readonly layers: readonly string[];
  readonly berth: string;
  readonly asRoot: boolean;
}

/** Mounts (folder of the layers, options, place) and becomes the rest of the arguments. $0 is busybox. */
const mountScript = 'cd "$1" && "$0" mount -t overlay -o "$2" overlay "$3" && cd / && shift 3 && exec "$@"';

/**
 * @param busybox the static busybox, which mounts
 * @returns the command, run in a mount namespace of its own in which the berth's root folder is mounted
 */
export function inOverlay(overlay: Overlay, command: readonly string[], busybox: string): string[] {
  // An ordinary user may mount only in a user namespace of its own, as its root.
  const unshare = [busybox, 'unshare', '--mount', ...(overlay.asRoot ? [] : ['--user', '--map-root-user'])];
  const { layerDirectory, berth } = overlay;
  return [
    ...unshare,
    busybox,
    'sh',
    '-c',
    mountScript,
    busybox,
    layerDirectory,
    optionsOf(overlay),
    join(berth, 'rootfs'),
    ...command,
  ];
}

function optionsOf({ layerDirectory, layers, berth, asRoot }: Overlay): string {
  const lower = layers.map((name) => `${name}/fs`).reverse();
  const own = (name: string) => relative(layerDirectory, join(berth, name));
  const options = [
    `lowerdir=${lower.join(':')}`,
    `upperdir=${own('upper')}`,
    `workdir=${own('work')}`,
    ...(asRoot ? [] : ['userxattr']),
  ].join(',');
  if (Buffer.byteLength(options) < pageSize) return options;
  throw new BerthError('LAUNCH_FAILED', `${layers.length} layers cannot be mounted: their names are too long.`);
}

/**
 * @returns whether the process has the berth's overlay as its root. In the container's own mount namespace, where nobody
 * may mount anything: a process with the same number later has another.
 */
export function hasOverlayRoot(pid: number, layerDirectory: string, berth: string): boolean {
  const upper = `upperdir=${relative(layerDirectory, join(berth, 'upper'))},`;
  try {
    return readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
      .split('\n')
      .some((line) => line.split(' ')[4] === '/' && line.includes(' - overlay ') && `${line},`.includes(upper));
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH', 'EACCES', 'EINVAL')) return false;
    throw error;
  }
}
