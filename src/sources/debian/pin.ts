/** What berth.lock keeps of a Debian suite. */
import { z } from 'zod';
import type { StorePath } from '../../nix/store.ts';
import { isStorePath } from '../../nix/store.ts';

import { indexFormat } from './package-index.ts';

const storePath = z.custom<StorePath>((value) => typeof value === 'string' && isStorePath(value), 'no store path');
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const addedPath = z.strictObject({ path: storePath, narHash: z.string() });

export const architectureSchema = z.enum(['amd64', 'arm64']);

/** The fields of `LockedSource.pin` for the kind `debian`. */
export const debianPinSchema = z.strictObject({
  /** Of the index; see package-index.ts. A lock of another format can't be read by this Berth's Nix code. */
  format: z.literal(indexFormat),
  suite: z.string(),
  architecture: architectureSchema,
  /** The suite itself first, then its updates and security fixes where the archive has them. */
  pockets: z
    .array(
      z.strictObject({
        archive: z.enum(['main', 'security']),
        suite: z.string(),
        /** The Release file's date, ISO 8601. */
        date: z.iso.datetime(),
        /** SHA-256 of the signed text of InRelease. */
        release: sha256,
        lists: z.array(z.strictObject({ component: z.string(), path: z.string(), sha256 })),
      }),
    )
    .min(1),
  /** The index made of the lists; see package-index.ts. */
  index: addedPath,
  /** The suite's own busybox, which unpacks its packages. */
  bootstrap: addedPath,
});

export type DebianPin = z.infer<typeof debianPinSchema>;
export type DebianPocket = DebianPin['pockets'][number];
export type DebianArchitecture = DebianPin['architecture'];
