/** What an engine remembers of the images that it was given: a small file each, named by the manifest's digest. */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Digest } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import { isErrno, writeFileAtomically } from '../core/files.ts';
import type { Image } from '../oci/image.ts';
import { digestSchema, type ImageConfig, imageConfigSchema, parseDocument } from '../oci/model.ts';

export interface ImageRecord {
  readonly digest: Digest;
  readonly config: ImageConfig;
}

export interface ImageRecords {
  find(digest: Digest): ImageRecord | undefined;
  all(): ImageRecord[];
  /** Written so that a crash leaves the record whole or not there. */
  save(record: ImageRecord): Promise<void>;
  delete(digest: Digest): void;
}

const recordSchema = z.object({ digest: digestSchema, config: imageConfigSchema });

/** @param directory made when the first record is written */
export function imageRecords(directory: string): ImageRecords {
  const fileOf = (digest: Digest) => join(directory, `${digest.slice('sha256:'.length)}.json`);
  const find = (digest: Digest) => {
    try {
      return recordSchema.parse(JSON.parse(readFileSync(fileOf(digest), 'utf8')));
    } catch (error) {
      // What cannot be read counts as absent: the image is brought in again.
      if (isErrno(error, 'ENOENT') || error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
      throw error;
    }
  };
  return {
    find,
    all() {
      mkdirSync(directory, { recursive: true });
      return readdirSync(directory)
        .filter((name) => /^[0-9a-f]{64}\.json$/.test(name))
        .sort()
        .flatMap((name) => find(`sha256:${name.slice(0, 64)}`) ?? []);
    },
    save: (record) => writeFileAtomically(fileOf(record.digest), JSON.stringify(record)),
    delete: (digest) => rmSync(fileOf(digest), { force: true }),
  };
}

/** @throws BerthError IMAGE_INVALID where the image's documents are not of their form, or do not fit its layers */
export function recordOf(image: Image): ImageRecord {
  const { digest } = image.manifest.descriptor;
  const config = parseDocument(imageConfigSchema, image.config.bytes, `the configuration of ${digest}`);
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== image.layers.length || image.layers.some((layer, at) => layer.diffId !== diffIds[at])) {
    throw new BerthError('IMAGE_INVALID', `The configuration of ${digest} names other layers than its manifest.`);
  }
  return { digest, config };
}

/** @throws BerthError IMAGE_MISSING */
export function imageMissing(digest: Digest): BerthError {
  return new BerthError('IMAGE_MISSING', `The engine does not hold the image ${digest}.`);
}
