/** The minimal image on a Docker server, imported once under its digest. */
import { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { BerthError } from '../../core/errors.ts';
import { type TarEntry, tarStream } from '../../oci/tar/tar-stream.ts';
import type { ImageEntry } from '../minimal-image/entries.ts';
import type { MinimalImage } from '../minimal-image/minimal-image.ts';
import { dockerError, statusOf } from './docker-errors.ts';

/** @returns the image's name on the server */
export function imageName(image: MinimalImage): string {
  return `berth-minimal:${image.digest.slice('sha256:'.length, 'sha256:'.length + 16)}`;
}

/** Imports the image where the server does not have it. */
export async function importMinimalImage(docker: Docker, image: MinimalImage): Promise<void> {
  const name = imageName(image);
  try {
    await docker.getImage(name).inspect();
    return;
  } catch (error) {
    if (statusOf(error) !== 404) throw dockerError(error, 'LAUNCH_FAILED', `The image ${name} cannot be inspected`);
  }
  const [repo = '', tag = ''] = name.split(':');
  const archive = Readable.from(tarStream([...image.skeleton, ...image.shared].map(tarEntry)));
  try {
    const answer = await docker.importImage(archive, { repo, tag });
    // The server reports a failure in the stream, after it has answered 200.
    let said = '';
    for await (const chunk of answer) said += String(chunk);
    if (/"error(Detail)?":/.test(said)) {
      throw new BerthError('LAUNCH_FAILED', `The Docker server did not import ${name}: ${said.trim()}`);
    }
  } catch (error) {
    throw dockerError(error, 'LAUNCH_FAILED', `The image ${name} cannot be imported`);
  }
}

function tarEntry(entry: ImageEntry): TarEntry {
  const path = Buffer.from(entry.path.slice(1));
  switch (entry.type) {
    case 'directory':
      return { type: 'directory', path, mode: entry.mode };
    case 'link':
      return { type: 'symlink', path, target: Buffer.from(entry.target) };
    case 'file':
      return { type: 'file', path, mode: entry.mode, size: entry.content.length, content: entry.content };
  }
}
