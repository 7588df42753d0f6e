/** Makes an image's config from what the environment says: variables, command, working folder, labels. */
import type { Digest } from '../core/digest.ts';
import type { ImageConfig } from './model.ts';

export interface ImageSettings {
  /** OCI's name of the architecture: `amd64`, `arm64`. */
  readonly architecture: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly workingDirectory?: string;
  /** `uid[:gid]` or a name in the image's own files. */
  readonly user?: string;
  /** TCP ports that the command listens on. */
  readonly ports?: readonly number[];
  readonly labels?: Readonly<Record<string, string>>;
}

/** Keys of the labels that say where an image comes from. */
export const labels = {
  configDigest: 'berth.config-digest',
  closureDigest: 'berth.closure-digest',
  sourceRevision: 'org.opencontainers.image.revision',
} as const;

/** The moment in every image: the Nix store's own, one second after the epoch, so that no clock is in a digest. */
export const imageCreated = '1970-01-01T00:00:01Z';

/**
 * @param diffIds of the layers, from the bottom up
 * @returns the config: variables sorted by name, nothing in it that depends on when or where it was made
 */
export function imageConfigOf(settings: ImageSettings, diffIds: readonly Digest[]): ImageConfig {
  const env = Object.entries(settings.env ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const ports = [...new Set(settings.ports)].sort((a, b) => a - b);
  return {
    created: imageCreated,
    architecture: settings.architecture,
    os: 'linux',
    config: {
      ...(env.length > 0 ? { Env: env.map(([name, value]) => `${name}=${value}`) } : {}),
      ...(settings.entrypoint ? { Entrypoint: [...settings.entrypoint] } : {}),
      ...(settings.command ? { Cmd: [...settings.command] } : {}),
      ...(settings.workingDirectory === undefined ? {} : { WorkingDir: settings.workingDirectory }),
      ...(settings.user === undefined ? {} : { User: settings.user }),
      ...(ports.length > 0 ? { ExposedPorts: Object.fromEntries(ports.map((port) => [`${port}/tcp`, {}])) } : {}),
      ...(settings.labels ? { Labels: { ...settings.labels } } : {}),
    },
    rootfs: { type: 'layers', diff_ids: [...diffIds] },
    history: diffIds.map(() => ({ created: imageCreated, created_by: 'berth' })),
  };
}
