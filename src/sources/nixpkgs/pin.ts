/** What a lock says about a tree of Nix files. */
import { z } from 'zod';
import { BerthError } from '../../core/errors.ts';
import { isStorePath, type StorePath } from '../../nix/store.ts';
import type { LockedSource } from '../source.ts';

const treePinSchema = z.strictObject({
  /** Where the tree comes from: an address of a tarball, or a folder of this machine. */
  url: z.string(),
  /** The revision, where upstream tells one. */
  rev: z.string().optional(),
  /** The hash of the unpacked tree's NAR: `sha256-…`. */
  narHash: z.string().regex(/^sha256-[A-Za-z0-9+/]{43}=$/),
  /** Where the tree is in every store; follows from narHash. */
  path: z.custom<StorePath>((value) => typeof value === 'string' && isStorePath(value)),
  /** Overlays, by their paths within the project. Added to a lock by hand. */
  overlays: z.array(z.string()).optional(),
  /** nixpkgs' own configuration, for example `{ "allowUnfreePackages": ["…"] }`. Added to a lock by hand. */
  config: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string())])).optional(),
});

export type TreePin = z.infer<typeof treePinSchema>;

/** @throws BerthError LOCK_INVALID */
export function treePinOf(locked: LockedSource): TreePin {
  const parsed = treePinSchema.safeParse(locked.pin);
  if (parsed.success) return parsed.data;
  throw new BerthError('LOCK_INVALID', `The lock's pin of ${locked.label} is damaged.`, { cause: parsed.error });
}
