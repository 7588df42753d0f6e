/** The part of the SQLite adapter that sees images as wholes: what belongs to one, how it is used, what goes with it. */
import type Database from 'libsql';
import { z } from 'zod';
import { type BlobDigest, blobDigestSchema } from '../../oci/blobs/blob-store.ts';
import type { ImageRecord, ManifestStore } from '../manifest-store.ts';
import { cooled } from '../heat.ts';

const manifestRow = z.object({
  digest: blobDigestSchema,
  media_type: z.string(),
  subject: blobDigestSchema.nullable(),
  created_at: z.int(),
  used_at: z.int(),
  heat: z.number(),
  cost_ms: z.number().nullable(),
  pinned: z.int(),
});
type ManifestRow = z.infer<typeof manifestRow>;
const pairRow = z.object({ manifest: blobDigestSchema, other: blobDigestSchema });
const nameRow = z.object({ repository: z.string(), tag: z.string().nullable(), digest: blobDigestSchema });
const digestRow = z.object({ digest: blobDigestSchema });

type ImageStore = Pick<ManifestStore, 'images' | 'findImage' | 'pinImage' | 'touchImage' | 'forgetImage'>;

/** All manifests with what leads from one to another. */
interface Graph {
  readonly manifests: ReadonlyMap<BlobDigest, ManifestRow>;
  /** Manifests of an index, and those that refer to a manifest. */
  readonly below: ReadonlyMap<BlobDigest, readonly BlobDigest[]>;
  readonly above: ReadonlyMap<BlobDigest, readonly BlobDigest[]>;
  readonly blobs: ReadonlyMap<BlobDigest, readonly BlobDigest[]>;
  readonly names: ReadonlyMap<BlobDigest, readonly { repository: string; tag: string | null }[]>;
}

/** @param inTransaction runs what it is given as one write */
export function sqliteImages(
  database: Database.Database,
  inTransaction: <T>(work: () => T) => T,
  now: () => number,
): ImageStore & { flush(): void } {
  const selectManifests = database.prepare(
    'SELECT digest, media_type, subject, created_at, used_at, heat, cost_ms, pinned FROM manifests',
  );
  const selectBlobs = database.prepare('SELECT manifest, blob AS other FROM manifest_blobs');
  const selectChildren = database.prepare('SELECT manifest, child AS other FROM manifest_children');
  const selectNames = database.prepare(
    `SELECT m.repository, t.tag, m.digest FROM repository_manifests m
     LEFT JOIN tags t ON t.repository = m.repository AND t.digest = m.digest ORDER BY m.repository, t.tag`,
  );
  const selectByTag = database.prepare('SELECT digest FROM tags WHERE repository = ? AND tag = ?');
  const selectByDigest = database.prepare('SELECT digest FROM manifests WHERE digest = ?');
  const selectByPrefix = database.prepare("SELECT digest FROM manifests WHERE digest LIKE ? || '%' LIMIT 2");
  const pin = database.prepare('UPDATE manifests SET pinned = ? WHERE digest = ?');
  const selectHeat = database.prepare('SELECT heat, used_at FROM manifests WHERE digest = ?');
  const setHeat = database.prepare('UPDATE manifests SET heat = ?, used_at = ? WHERE digest = ?');
  const deletes = [
    'DELETE FROM tags WHERE digest = ?',
    'DELETE FROM repository_manifests WHERE digest = ?',
    'DELETE FROM manifest_blobs WHERE manifest = ?',
    'DELETE FROM manifest_children WHERE manifest = ?',
    'DELETE FROM manifests WHERE digest = ?',
  ].map((text) => database.prepare(text));
  const isReferenced = database.prepare('SELECT 1 FROM manifest_blobs WHERE blob = ? LIMIT 1');
  const selectBelow = database.prepare(
    `SELECT c.child AS digest FROM manifest_children c JOIN manifests m ON m.digest = c.child WHERE c.manifest = ?1
     UNION SELECT digest FROM manifests WHERE subject = ?1`,
  );
  const selectAbove = database.prepare(
    `SELECT manifest AS digest FROM manifest_children WHERE child = ?1
     UNION SELECT s.digest FROM manifests m JOIN manifests s ON s.digest = m.subject WHERE m.digest = ?1`,
  );
  const selectBlobsOf = database.prepare('SELECT blob AS digest FROM manifest_blobs WHERE manifest = ?');
  const selectPinned = database.prepare('SELECT 1 FROM manifests WHERE digest = ? AND pinned = 1');
  const isTagged = database.prepare('SELECT 1 FROM tags WHERE digest = ? LIMIT 1');
  const digestsOf = (rows: unknown[]) => rows.map(digestOfRow);
  const belowOf = (digest: BlobDigest) => digestsOf(selectBelow.all(digest));
  const aboveOf = (digest: BlobDigest) => digestsOf(selectAbove.all(digest));
  // Kept in memory between flushes: a pull must not wait for the disk.
  const uses = new Map<BlobDigest, number[]>();

  const flush = (): void => {
    if (uses.size === 0) return;
    inTransaction(() => {
      for (const [digest, times] of uses) {
        const row: unknown = selectHeat.get(digest);
        if (row === undefined) continue;
        let { heat, used_at: usedAt } = z.object({ heat: z.number(), used_at: z.int() }).parse(row);
        for (const time of times) {
          heat = cooled(heat, time - usedAt) + 1;
          usedAt = time;
        }
        setHeat.run(heat, usedAt, digest);
      }
    });
    uses.clear();
  };

  const readGraph = (): Graph => {
    flush();
    const manifests = new Map(selectManifests.all().map((row) => [digestOfRow(row), manifestRow.parse(row)]));
    const below = new Map<BlobDigest, BlobDigest[]>();
    const above = new Map<BlobDigest, BlobDigest[]>();
    const link = (parent: BlobDigest, child: BlobDigest) => {
      if (!manifests.has(parent) || !manifests.has(child)) return;
      push(below, parent, child);
      push(above, child, parent);
    };
    for (const row of selectChildren.all()) {
      const { manifest, other } = pairRow.parse(row);
      link(manifest, other);
    }
    for (const { digest, subject } of manifests.values()) if (subject !== null) link(subject, digest);
    const blobs = new Map<BlobDigest, BlobDigest[]>();
    for (const row of selectBlobs.all()) {
      const { manifest, other } = pairRow.parse(row);
      push(blobs, manifest, other);
    }
    const names = new Map<BlobDigest, { repository: string; tag: string | null }[]>();
    for (const row of selectNames.all()) {
      const { digest, repository, tag } = nameRow.parse(row);
      push(names, digest, { repository, tag });
    }
    return { manifests, below, above, blobs, names };
  };

  return {
    flush,
    images() {
      const graph = readGraph();
      return [...graph.manifests.values()]
        .filter(({ digest }) => isRoot(graph, digest))
        .map((row) => imageOf(graph, row, now()));
    },
    findImage(reference) {
      const one = (row: unknown) => (row === undefined ? undefined : digestRow.parse(row).digest);
      const [, digest] = /(?:^|@)(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.exec(reference) ?? [];
      if (digest !== undefined) return one(selectByDigest.get(digest));
      const [, repository, tag] = /^(.+?)(?::([^:/]+))?$/.exec(reference) ?? [];
      const tagged = one(selectByTag.get(repository ?? '', tag ?? 'latest'));
      if (tagged) return tagged;
      const hex = /^(?:sha256:)?([0-9a-f]{6,64})$/.exec(reference)?.[1];
      if (hex === undefined) return undefined;
      const found = selectByPrefix.all(`sha256:${hex}`);
      return found.length === 1 ? one(found[0]) : undefined;
    },
    pinImage: (digest, pinned) => pin.run(pinned ? 1 : 0, digest).changes > 0,
    touchImage: (digest) => push(uses, digest, now()),
    forgetImage(root, { unlessPinned = false } = {}) {
      return inTransaction(() => {
        const members = walk(root, belowOf);
        const isPinned = (digest: BlobDigest) => selectPinned.get(digest) !== undefined;
        if (unlessPinned && [...members].some(isPinned)) return [];
        const isNeeded = (digest: BlobDigest) =>
          digest !== root &&
          (isPinned(digest) || isTagged.get(digest) !== undefined || aboveOf(digest).some((it) => !members.has(it)));
        // What is needed needs in turn what is below it.
        for (let kept = [...members].find(isNeeded); kept !== undefined; kept = [...members].find(isNeeded)) {
          members.delete(kept);
        }
        const blobs = new Set([...members].flatMap((member) => digestsOf(selectBlobsOf.all(member))));
        for (const member of members) for (const statement of deletes) statement.run(member);
        return [...blobs].filter((blob) => isReferenced.get(blob) === undefined);
      });
    },
  };
}

function digestOfRow(row: unknown): BlobDigest {
  return digestRow.parse(row).digest;
}

function push<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}

/** An image is what has a name of its own, or belongs to nothing else. */
function isRoot({ above, names }: Graph, digest: BlobDigest): boolean {
  return (above.get(digest) ?? []).length === 0 || (names.get(digest) ?? []).some(({ tag }) => tag !== null);
}

/** @returns the manifest and all below it: platforms of an index, and what refers to any of them */
function walk(root: BlobDigest, belowOf: (digest: BlobDigest) => readonly BlobDigest[]): Set<BlobDigest> {
  const members = new Set<BlobDigest>();
  const pending = [root];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (members.has(next)) continue;
    members.add(next);
    pending.push(...belowOf(next));
  }
  return members;
}

function imageOf(graph: Graph, row: ManifestRow, now: number): ImageRecord {
  const members = [...walk(row.digest, (digest) => graph.below.get(digest) ?? [])];
  const rows = members.flatMap((member) => graph.manifests.get(member) ?? []);
  return {
    digest: row.digest,
    names: graph.names.get(row.digest) ?? [],
    mediaType: row.media_type,
    manifests: members,
    blobs: [...new Set(members.flatMap((member) => graph.blobs.get(member) ?? []))],
    createdAt: row.created_at,
    usedAt: Math.max(...rows.map((it) => it.used_at)),
    heat: Math.max(...rows.map((it) => cooled(it.heat, now - it.used_at))),
    costMs: row.cost_ms,
    // What is pinned below keeps the whole: a pin must not depend on which of its names was given.
    pinned: rows.some((it) => it.pinned === 1),
  };
}
