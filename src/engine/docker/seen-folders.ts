/**
 * Which folders of this host a Docker server can mount. A server on a socket of this host may still live in another mount
 * namespace, in a virtual machine or behind a forwarded socket; so it is asked for what only this host has.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { BerthError } from '../../core/errors.ts';
import { dockerError, statusOf } from './docker-errors.ts';

export interface SeenFolders {
  readonly visible: boolean;
  readonly reason: string;
}

/**
 * Asks for a container that is never started: the server refuses to make one with a mount whose source it does not see.
 * @param image any image that the server has
 * @param path what is asked for
 * @throws BerthError ENGINE_UNAVAILABLE where it does not see Berth's own folder either: then the agent can't be reached
 */
export async function askWhatIsSeen(
  docker: Docker,
  image: string,
  { stateDirectory, socketPath }: { readonly stateDirectory: string; readonly socketPath: string },
  path: string,
): Promise<SeenFolders> {
  const marker = join(stateDirectory, `marker-${randomBytes(8).toString('hex')}`);
  await mkdir(stateDirectory, { recursive: true });
  await writeFile(marker, '');
  try {
    if (!(await canMount(docker, image, marker))) {
      throw new BerthError('ENGINE_UNAVAILABLE', `The Docker server on ${socketPath} does not see ${stateDirectory}.`, {
        hint: 'Use a server that runs on this host, or share that folder with it.',
      });
    }
    return (await canMount(docker, image, path))
      ? { visible: true, reason: 'the Docker server sees the store' }
      : { visible: false, reason: `the Docker server on ${socketPath} does not see the store` };
  } finally {
    await rm(marker, { force: true });
  }
}

async function canMount(docker: Docker, image: string, source: string): Promise<boolean> {
  try {
    const container = await docker.createContainer({
      Image: image,
      Cmd: ['/berth/bin/agent'],
      HostConfig: {
        NetworkMode: 'none',
        Mounts: [{ Type: 'bind', Source: source, Target: '/probe', ReadOnly: true }],
      },
    });
    await container.remove({ force: true });
    return true;
  } catch (error) {
    if (statusOf(error) === 400) return false;
    throw dockerError(error, 'ENGINE_UNAVAILABLE', 'The Docker server could not be asked which folders it sees');
  }
}
