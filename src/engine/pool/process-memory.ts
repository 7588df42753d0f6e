/** Memory of a container, as the kernel counts it for the control group of its first process. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '../../core/files.ts';

/**
 * @param pid the container's first process, on the host
 * @param root of the control groups; default /sys/fs/cgroup
 * @returns bytes that its control group takes, or null where there is none of its own
 */
export function containerMemory(pid: number, root = '/sys/fs/cgroup'): number | null {
  for (const line of groupsOf(pid)) {
    // hierarchy-ID:controllers:path, cgroups(7); version 2 names no controllers.
    const [, controllers = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path === '' || path === '/') continue;
    const file = controllers.split(',').includes('memory')
      ? join(root, 'memory', path, 'memory.usage_in_bytes')
      : controllers === ''
        ? join(root, path, 'memory.current')
        : undefined;
    const text = file === undefined ? undefined : read(file);
    if (text !== undefined) return Number.parseInt(text, 10);
  }
  return null;
}

/** @returns lines of /proc/PID/cgroup; none where there is no such process */
export function groupsOf(pid: number): string[] {
  return read(`/proc/${pid}/cgroup`)?.split('\n') ?? [];
}

/** @returns bytes of memory that only this process has, or 0 when it is gone */
export function ownMemory(pid: number): number {
  const text = read(`/proc/${pid}/smaps_rollup`) ?? '';
  return [...text.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm)].reduce(
    (sum, [, kilobytes]) => sum + Number(kilobytes) * 1024,
    0,
  );
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH', 'EACCES', 'ENODEV')) return undefined;
    throw error;
  }
}
