/** The OCI runtime configuration of a berth: config.json of its bundle (opencontainers/runtime-spec 1.0). */
import { capabilities } from '../capabilities.ts';
import type { BerthSpec, Mount } from '../engine.ts';

interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

export interface OciConfigOptions {
  readonly spec: BerthSpec;
  readonly rootDirectory: string;
  /** The host's folder that becomes /berth. */
  readonly sharedDirectory: string;
  /** The berth's /etc/resolv.conf; absent where it has no way out. */
  readonly resolvConf?: string;
  /** Where the runtime is to make or join the control group; absent: it manages none. */
  readonly cgroupsPath?: string;
  /** The ids that become root's in the container, for a daemon that is not root. */
  readonly userNamespace?: { readonly uid: number; readonly gid: number };
}

/** Files of /proc and /sys that Docker hides, and those that it makes read-only. */
const maskedPaths = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];
const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** @returns the configuration, ready for JSON */
export function ociConfig(options: OciConfigOptions): object {
  const { spec, userNamespace } = options;
  const ownNetwork = spec.network !== 'host';
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      // The agent installs the filter of system calls: see native/seccomp/compile.mjs for why not the runtime.
      args: ['/berth/bin/agent', '--seccomp'],
      env: ['PATH=/usr/bin:/bin:/berth/fhs/usr/bin'],
      cwd: '/',
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: true,
    },
    root: { path: options.rootDirectory, readonly: false },
    hostname: spec.hostname,
    mounts: [...systemMounts(ownNetwork, userNamespace !== undefined), ...berthMounts(options)],
    annotations: spec.labels,
    linux: {
      namespaces: [
        ...['pid', 'mount', 'ipc', 'uts', 'cgroup'].map((type) => ({ type })),
        ...(ownNetwork ? [{ type: 'network' }] : []),
        ...(userNamespace ? [{ type: 'user' }] : []),
      ],
      ...(userNamespace
        ? {
            uidMappings: [{ containerID: 0, hostID: userNamespace.uid, size: 1 }],
            gidMappings: [{ containerID: 0, hostID: userNamespace.gid, size: 1 }],
          }
        : {}),
      ...(options.cgroupsPath === undefined
        ? {}
        : { cgroupsPath: options.cgroupsPath, resources: { devices: [{ allow: false, access: 'rwm' }] } }),
      maskedPaths,
      readonlyPaths,
    },
  };
}

function systemMounts(ownNetwork: boolean, inUserNamespace: boolean): OciMount[] {
  const mount = (destination: string, type: string, options: string[]): OciMount => ({
    destination,
    type,
    source: type,
    options,
  });
  return [
    mount('/proc', 'proc', ['nosuid', 'noexec', 'nodev']),
    mount('/dev', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    mount('/dev/pts', 'devpts', [
      ...['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
      // A user namespace with one id has no group 5.
      ...(inUserNamespace ? [] : ['gid=5']),
    ]),
    mount('/dev/shm', 'tmpfs', ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k']),
    mount('/dev/mqueue', 'mqueue', ['nosuid', 'noexec', 'nodev']),
    // A user namespace may mount sysfs only together with a network namespace of its own.
    inUserNamespace && !ownNetwork
      ? { destination: '/sys', type: 'bind', source: '/sys', options: ['rbind', 'nosuid', 'noexec', 'nodev', 'ro'] }
      : mount('/sys', 'sysfs', ['nosuid', 'noexec', 'nodev', 'ro']),
  ];
}

function berthMounts({ spec, sharedDirectory, resolvConf, userNamespace }: OciConfigOptions): OciMount[] {
  const bind = (source: string, destination: string, readOnly: boolean): OciMount => ({
    destination,
    type: 'bind',
    source,
    // Read-only without submounts: a recursive bind would leave those writable on kernels before 5.12.
    options: [...(readOnly ? ['bind', 'ro'] : ['rbind', 'rw']), 'nosuid', 'nodev'],
  });
  return [
    bind(sharedDirectory, '/berth', true),
    bind(spec.runDirectory, '/run/berth', false),
    ...(resolvConf === undefined ? [] : [bind(resolvConf, '/etc/resolv.conf', false)]),
    ...spec.mounts.map((mount) =>
      mount.overlay
        ? overlay(mount.source, mount.overlay, mount.target, userNamespace !== undefined)
        : bind(mount.source, mount.target, mount.readOnly),
    ),
  ];
}

function overlay(
  lower: string,
  { upper, work }: NonNullable<Mount['overlay']>,
  destination: string,
  inUserNamespace: boolean,
): OciMount {
  const options = [`lowerdir=${lower}`, `upperdir=${upper}`, `workdir=${work}`];
  // A user namespace may not set trusted attributes.
  return {
    destination,
    type: 'overlay',
    source: 'overlay',
    options: [...options, ...(inUserNamespace ? ['userxattr'] : [])],
  };
}
