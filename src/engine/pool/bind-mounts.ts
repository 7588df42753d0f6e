/** The part of giving a waiting container a berth's things that engines share: mounts, host name, links in /etc. */
import { readFileSync, readlinkSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { BerthError } from '../../core/errors.ts';
import { isErrno } from '../../core/files.ts';
import type { Availability, BerthSpec, Mount } from '../engine.ts';
import type { MountHelper } from './mount-helper.ts';

/** @returns whether folders can be attached to containers that run, and why not */
export async function bindingAvailability(helper: MountHelper): Promise<Availability> {
  if (process.getuid?.() !== 0) return { available: false, reason: 'only root can attach folders to what runs' };
  try {
    await helper.probe();
    return { available: true, reason: `Linux ${release()}, as root` };
  } catch (error) {
    if (!(error instanceof BerthError)) throw error;
    return { available: false, reason: error.message };
  }
}

/**
 * @param pid the container's first process, on the host
 * @param shown the FHS view whose /etc the container shows already
 * @throws BerthError LAUNCH_FAILED, POOL_UNAVAILABLE
 */
export async function bindMounts(
  helper: MountHelper,
  pid: number,
  spec: BerthSpec,
  waiting: Pick<BerthSpec, 'mounts'>,
  shown = '/berth/fhs',
): Promise<void> {
  const view = viewOf(spec.runDirectory);
  await helper.bind({
    pid,
    hostname: spec.hostname,
    mounts: spec.mounts.filter((mount) => !waiting.mounts.some((there) => isSameMount(mount, there))),
    links: view !== shown,
  });
}

/** @returns where the container's FHS link leads: see materialise/generation.ts */
export function viewOf(runDirectory: string): string {
  const link = readlinkSync(join(runDirectory, 'fhs'));
  return link.startsWith('/') ? link : readlinkSync(join(runDirectory, link));
}

export function isSameMount(one: Mount, other: Mount): boolean {
  return (
    one.source === other.source &&
    one.target === other.target &&
    one.readOnly === other.readOnly &&
    one.only === undefined &&
    other.only === undefined
  );
}

/** @returns when a process was started, which with its number names it for ever; undefined when it is gone */
export function startTimeOf(pid: number): string | undefined {
  try {
    // The second field is the program's name in parentheses, and may hold anything; the start time is the 22nd.
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[19];
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return undefined;
    throw error;
  }
}
