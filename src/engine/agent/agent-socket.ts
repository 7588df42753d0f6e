/** Connecting to an agent's socket, which lies in a folder that the berth itself can write. */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { BerthError } from '../../core/errors.ts';

/** Opens the path without opening what it names (open(2)); Node has no constant for it. */
const O_PATH = 0o10000000;

/**
 * Connects to the agent. A symbolic link in the socket's place is not followed: processes in the berth can put one
 * there, and it must not lead Berth to another socket of the host. Going through the descriptor makes what was checked
 * what is connected to, and lifts the 107 bytes limit of socket paths.
 * @throws BerthError AGENT_UNREACHABLE
 */
export async function connectToAgent(socketPath: string): Promise<Socket> {
  try {
    // Synchronous: three trips through the thread pool take longer than all else of a command's start.
    const place = openSync(socketPath, O_PATH | constants.O_NOFOLLOW);
    try {
      if (!fstatSync(place).isSocket()) throw unreachable(socketPath, 'it is not a socket');
      return await connected(`/proc/self/fd/${place}`);
    } finally {
      closeSync(place);
    }
  } catch (error) {
    if (error instanceof BerthError) throw error;
    throw unreachable(socketPath, error instanceof Error ? error.message : String(error), error);
  }
}

async function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

function unreachable(socketPath: string, why: string, cause?: unknown): BerthError {
  return new BerthError('AGENT_UNREACHABLE', `The berth's agent cannot be reached on ${socketPath}: ${why}.`, {
    cause,
  });
}
