/** How an environment gets into a container, and why: `shell` where the store can be mounted, else `image`. */
import { BerthError } from '../core/errors.ts';
import type { Engine } from '../engine/engine.ts';

/** The modes that a berth can have. */
export type Mode = 'shell' | 'image';

export interface ChosenMode {
  readonly mode: Mode;
  /** In one sentence for people. */
  readonly reason: string;
}

export interface ModeQuestion {
  /** The flag, else the setting. */
  readonly wanted: Mode | 'registry' | 'auto';
  readonly withNix: boolean;
  readonly engine: Pick<Engine, 'name' | 'sees'>;
  /** A path of the environment on the host, in the folder that would be mounted. */
  readonly storePath: string;
}

/**
 * @throws BerthError MODE_UNSUPPORTED for a mode that there is not, or that can't have what else is asked for
 */
export async function chooseMode({ wanted, withNix, engine, storePath }: ModeQuestion): Promise<ChosenMode> {
  if (wanted === 'registry') throw new BerthError('MODE_UNSUPPORTED', 'Mode registry is not there yet.');
  if (wanted === 'image' && withNix) {
    throw new BerthError('MODE_UNSUPPORTED', 'Nix within a container works on the shared store: it needs mode shell.', {
      hint: 'Leave out --nix or --mode image.',
    });
  }
  if (wanted !== 'auto') return { mode: wanted, reason: 'asked for' };
  if (withNix) return { mode: 'shell', reason: 'Nix within the container needs the store' };
  if (!engine.sees) return { mode: 'shell', reason: `engine ${engine.name} mounts the store` };
  const { visible, reason } = await engine.sees(storePath);
  return visible ? { mode: 'shell', reason: `${reason}, so the store is mounted` } : { mode: 'image', reason };
}
