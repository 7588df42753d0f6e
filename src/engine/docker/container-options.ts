/** What a berth is to a Docker server. */
import type Docker from 'dockerode';
import type { BerthSpec, Limits, Mount } from '../engine.ts';
import { capabilities } from '../capabilities.ts';

const cpuPeriodMicroseconds = 100_000;

/** Labels by which Berth knows its containers again. */
export const label = { id: 'berth.id', instance: 'berth.instance', runDirectory: 'berth.run-directory' } as const;

export function containerName(id: string): string {
  return `berth-${id}`;
}

/** The server has no word for taking a memory limit away; this is more than any machine has. */
const noMemoryLimit = Number.MAX_SAFE_INTEGER;

/**
 * The server's words for limits.
 * @param isNew of a container that is to be made: there 0 is no limit, and later it is no change
 */
export function resourcesOf(limits: Limits, isNew: boolean) {
  return {
    Memory: limits.memoryBytes ?? (isNew ? 0 : noMemoryLimit),
    // Must be told together with Memory; the server's default would forbid raising Memory later.
    MemorySwap: -1,
    CpuPeriod: cpuPeriodMicroseconds,
    CpuQuota: limits.cpus === null ? -1 : Math.round(limits.cpus * cpuPeriodMicroseconds),
    PidsLimit: limits.pids ?? -1,
  };
}

/**
 * @param image name of the image, the minimal one or the berth's own
 * @param sharedDirectory the host's folder that becomes /berth: the image has the same, but there it could be written
 * @param instance which Berth the container belongs to
 */
export function containerOptions(
  spec: BerthSpec,
  image: string,
  sharedDirectory: string,
  instance: string,
): Docker.ContainerCreateOptions {
  const bind = (Source: string, Target: string, ReadOnly: boolean): Docker.MountSettings => ({
    ...{ Type: 'bind', Source, Target, ReadOnly },
  });
  // A volume of the container's own, which goes with it: the server mounts it, wherever it runs.
  const overlay = (mount: Mount, { upper, work }: NonNullable<Mount['overlay']>): Docker.MountSettings => ({
    ...{ Type: 'volume', Source: '', Target: mount.target, ReadOnly: false },
    VolumeOptions: {
      NoCopy: true,
      Labels: {},
      DriverConfig: {
        Name: 'local',
        Options: {
          ...{ type: 'overlay', device: 'overlay' },
          o: `lowerdir=${mount.source},upperdir=${upper},workdir=${work}`,
        },
      },
    },
  });
  return {
    name: containerName(spec.id),
    Image: image,
    // The agent, whatever the image says that it wants to run, and as root: it becomes other users when asked to.
    ...{ Entrypoint: ['/berth/bin/agent'], Cmd: [], User: '0:0', Healthcheck: { Test: ['NONE'] } },
    Hostname: spec.hostname,
    // The server makes it where the image does not have it; the agent itself begins in /.
    WorkingDir: spec.image === null ? '/' : '/work',
    Labels: {
      ...spec.labels,
      [label.id]: spec.id,
      [label.instance]: instance,
      [label.runDirectory]: spec.runDirectory,
    },
    StopSignal: 'SIGTERM',
    HostConfig: {
      ...resourcesOf(spec.limits, true),
      NetworkMode: spec.network,
      Mounts: [
        bind(sharedDirectory, '/berth', true),
        bind(spec.runDirectory, '/run/berth', false),
        ...spec.mounts.map((mount) =>
          mount.overlay ? overlay(mount, mount.overlay) : bind(mount.source, mount.target, mount.readOnly),
        ),
      ],
      CapDrop: ['ALL'],
      CapAdd: capabilities.map((name) => name.slice('CAP_'.length)),
      SecurityOpt: ['no-new-privileges'],
      RestartPolicy: { Name: 'no' },
      // The agent keeps the log; what it says itself is for a failed start only.
      LogConfig: { Type: 'json-file', Config: { 'max-size': '1m' } },
    },
  };
}
