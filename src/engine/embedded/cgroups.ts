/**
 * Control groups of berths, for all three layouts: version 1, version 2, and hybrid (version 1 controllers beside an
 * almost empty version 2 tree). Berth makes the groups itself, because one of the runtimes refuses the hybrid layout and
 * because changing limits then takes one write instead of a runtime's start.
 */
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { sleep } from '../../core/clock.ts';
import { BerthError } from '../../core/errors.ts';
import { isErrno } from '../../core/files.ts';
import type { Limits } from '../engine.ts';

const cpuPeriodMicroseconds = 100_000;
const controllers = ['memory', 'cpu', 'pids'] as const;
type Controller = (typeof controllers)[number];

export interface Cgroups {
  /** Which layout it is, for `available()`: "cgroup v2". null: no limits can be set here. */
  readonly layout: string | null;
  /** Makes the berth's groups with its limits. */
  create(id: string, limits: Limits): void;
  /** @throws BerthError LIMIT_REFUSED when the kernel refuses a value, for example memory below what is in use */
  setLimits(id: string, limits: Limits): void;
  /** Files into which a process writes itself to join the groups. */
  joinFiles(id: string): string[];
  /** Path inside each hierarchy, as OCI runtimes take it. */
  pathOf(id: string): string;
  /** Removes the berth's groups, once their last process is gone. */
  remove(id: string): Promise<void>;
}

export interface CgroupsOptions {
  /** Default /sys/fs/cgroup. */
  readonly root?: string;
  /** Below what group berths' groups are made. Default `berth`. */
  readonly parent?: string;
}

/** Finds out which layout the machine has and whether groups can be made in it. */
export function findCgroups(options: CgroupsOptions = {}): Cgroups {
  const root = options.root ?? '/sys/fs/cgroup';
  const parent = options.parent ?? 'berth';
  try {
    if (existsSync(join(root, 'cgroup.controllers'))) return unified(root, parent);
    if (controllers.every((name) => existsSync(join(root, name, 'cgroup.procs')))) return separate(root, parent);
  } catch (error) {
    if (!isErrno(error, 'EACCES', 'EPERM', 'EROFS', 'ENOENT', 'EBUSY')) throw error;
  }
  return none(parent);
}

function none(parent: string): Cgroups {
  return {
    layout: null,
    create: () => undefined,
    setLimits: () => {
      throw new BerthError('LIMIT_REFUSED', 'Limits cannot be set here: this user may not make control groups.');
    },
    joinFiles: () => [],
    pathOf: (id) => `/${parent}/${id}`,
    remove: () => Promise.resolve(),
  };
}

function unified(root: string, parent: string): Cgroups {
  const base = join(root, parent);
  mkdirSync(base, { recursive: true });
  accessSync(base, constants.W_OK);
  for (const directory of [root, base]) {
    writeFileSync(join(directory, 'cgroup.subtree_control'), controllers.map((name) => `+${name}`).join(' '));
  }
  const setLimits = (id: string, limits: Limits) => {
    const group = join(base, id);
    set(group, 'memory.max', limits.memoryBytes ?? 'max', limits);
    set(group, 'pids.max', limits.pids ?? 'max', limits);
    const quota = limits.cpus === null ? 'max' : Math.round(limits.cpus * cpuPeriodMicroseconds);
    set(group, 'cpu.max', `${quota} ${cpuPeriodMicroseconds}`, limits);
  };
  return {
    layout: 'cgroup v2',
    create(id, limits) {
      mkdirSync(join(base, id), { recursive: true });
      setLimits(id, limits);
    },
    setLimits,
    joinFiles: (id) => [join(base, id, 'cgroup.procs')],
    pathOf: (id) => `/${parent}/${id}`,
    remove: (id) => removeGroup(join(base, id)),
  };
}

function separate(root: string, parent: string): Cgroups {
  const group = (controller: Controller, id: string) => join(root, controller, parent, id);
  for (const controller of controllers) {
    const base = join(root, controller, parent);
    mkdirSync(base, { recursive: true });
    // It may be there already, and be root's.
    accessSync(base, constants.W_OK);
  }
  const setLimits = (id: string, limits: Limits) => {
    set(group('memory', id), 'memory.limit_in_bytes', limits.memoryBytes ?? -1, limits);
    set(group('pids', id), 'pids.max', limits.pids ?? 'max', limits);
    set(group('cpu', id), 'cpu.cfs_period_us', cpuPeriodMicroseconds, limits);
    const quota = limits.cpus === null ? -1 : Math.round(limits.cpus * cpuPeriodMicroseconds);
    set(group('cpu', id), 'cpu.cfs_quota_us', quota, limits);
  };
  return {
    layout: existsSync(join(root, 'unified')) ? 'hybrid cgroups' : 'cgroup v1',
    create(id, limits) {
      for (const controller of controllers) mkdirSync(group(controller, id), { recursive: true });
      setLimits(id, limits);
    },
    setLimits,
    joinFiles: (id) => controllers.map((controller) => join(group(controller, id), 'cgroup.procs')),
    pathOf: (id) => `/${parent}/${id}`,
    async remove(id) {
      // runc makes groups in all hierarchies, not only in the three that Berth uses.
      for (const hierarchy of readdirSync(root)) await removeGroup(join(root, hierarchy, parent, id));
    },
  };
}

function set(group: string, name: string, value: string | number, limits: Limits): void {
  const path = join(group, name);
  try {
    // A group that is new has no limits, so an absent limit costs no write then.
    if (readFileSync(path, 'utf8').trim() !== String(value)) writeFileSync(path, String(value));
  } catch (error) {
    throw new BerthError('LIMIT_REFUSED', `The kernel refused ${name} = ${value} for ${group}.`, {
      cause: error,
      details: { limits },
    });
  }
}

async function removeGroup(path: string): Promise<void> {
  // The last process may still be on its way out after it was reaped.
  for (let attempt = 0; ; attempt += 1) {
    try {
      rmdirSync(path);
      return;
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) return;
      if (!isErrno(error, 'EBUSY') || attempt >= 500) throw error;
      await sleep(2);
    }
  }
}
