/**
 * Speaks to nix-daemon in the worker protocol, for the one thing that no command of all versions does: bringing many
 * derivations into the store at once. All requests are sent before the first answer is read, so that a thousand cost
 * one round trip. The protocol is that of Nix 2.4 and later (version 1.25): worker-protocol.hh and daemon.cc of Nix.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { BerthError } from '../core/errors.ts';
import type { NamedDerivation } from './derivation/derivation.ts';

const clientMagic = 0x6e697863;
const daemonMagic = 0x6478696f;
const protocol = 0x119;
const addToStore = 7;

const messages = {
  next: 0x6f6c6d67,
  last: 0x616c7473,
  error: 0x63787470,
  startActivity: 0x53545254,
  stopActivity: 0x53544f50,
  result: 0x52534c54,
} as const;

/**
 * Writes derivations and registers them with what they refer to.
 * @param socket nix-daemon's
 * @param derivations each after those that it refers to; one that is there already is left as it is
 * @throws BerthError INTERNAL when the daemon refuses one, DISK_FULL, CANCELLED
 */
export async function addDerivations(
  socket: string,
  derivations: readonly NamedDerivation[],
  signal?: AbortSignal,
): Promise<void> {
  if (derivations.length === 0) return;
  signal?.throwIfAborted();
  const connection = connect(socket);
  const cancel = () => connection.destroy(new BerthError('CANCELLED', 'Writing derivations was cancelled.'));
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    await once(connection, 'connect');
    const read = reader(connection);
    connection.write(Buffer.concat([number(clientMagic)]));
    if ((await read.number()) !== daemonMagic) throw refused('it is no nix-daemon');
    const version = await read.number();
    if (version >> 8 !== 1 || version < protocol) throw refused(`it speaks version ${version} of the protocol`);
    // Its version; no CPU affinity; no reserved space.
    connection.write(Buffer.concat([number(protocol), number(0), number(0)]));
    await skipMessages(read);
    connection.write(Buffer.concat(derivations.flatMap(addRequest)));
    for (const { drvPath } of derivations) {
      await skipMessages(read);
      const path = await skipPathInfo(read);
      if (path !== drvPath) throw refused(`it wrote ${path} where ${drvPath} was meant`);
    }
  } catch (error) {
    if (error instanceof BerthError) throw error;
    throw refused(error instanceof Error ? error.message : String(error), error);
  } finally {
    signal?.removeEventListener('abort', cancel);
    connection.destroy();
  }
}

function refused(why: string, cause?: unknown): BerthError {
  return /No space left|quota exceeded/i.test(why)
    ? new BerthError('DISK_FULL', 'There is no space left on the disk of the store.', { cause })
    : new BerthError('INTERNAL', `The Nix daemon did not take derivations: ${why}.`, { cause });
}

function addRequest({ drvPath, text, references }: NamedDerivation): Buffer[] {
  const name = drvPath.slice('/nix/store/'.length + 33);
  const bytes = Buffer.from(text);
  return [
    number(addToStore),
    string(name),
    string('text:sha256'),
    number(references.length),
    ...references.map(string),
    // No repair; then the text in one frame, and the frame that ends it.
    number(0),
    number(bytes.length),
    bytes,
    number(0),
  ];
}

function number(value: number): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return buffer;
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([number(bytes.length), bytes, Buffer.alloc(padding(bytes.length))]);
}

function padding(length: number): number {
  return (8 - (length % 8)) % 8;
}

interface Reader {
  number(): Promise<number>;
  string(): Promise<string>;
}

function reader(connection: Socket): Reader {
  const iterator = connection[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let buffered = Buffer.alloc(0);
  const take = async (length: number): Promise<Buffer> => {
    while (buffered.length < length) {
      const next = await iterator.next();
      if (next.done) throw refused('it closed the connection');
      buffered = Buffer.concat([buffered, next.value]);
    }
    const taken = buffered.subarray(0, length);
    buffered = buffered.subarray(length);
    return taken;
  };
  const readNumber = async () => Number((await take(8)).readBigUInt64LE());
  return {
    number: readNumber,
    async string() {
      const length = await readNumber();
      const bytes = await take(length + padding(length));
      return bytes.toString('utf8', 0, length);
    },
  };
}

/** Reads what the daemon says of its work, up to its end. */
async function skipMessages(read: Reader): Promise<void> {
  for (;;) {
    const kind = await read.number();
    switch (kind) {
      case messages.last:
        return;
      case messages.error: {
        const what = await read.string();
        await read.number();
        throw refused(what.trim());
      }
      case messages.next:
        await read.string();
        break;
      case messages.startActivity:
        for (let field = 0; field < 3; field += 1) await read.number();
        await read.string();
        await skipFields(read);
        await read.number();
        break;
      case messages.stopActivity:
        await read.number();
        break;
      case messages.result:
        await read.number();
        await read.number();
        await skipFields(read);
        break;
      default:
        throw refused(`it said ${kind}, which is no message that Berth knows`);
    }
  }
}

async function skipFields(read: Reader): Promise<void> {
  for (let left = await read.number(); left > 0; left -= 1) {
    if ((await read.number()) === 0) await read.number();
    else await read.string();
  }
}

/** @returns the path of what was added */
async function skipPathInfo(read: Reader): Promise<string> {
  const path = await read.string();
  await read.string(); // deriver
  await read.string(); // hash
  for (let left = await read.number(); left > 0; left -= 1) await read.string(); // references
  for (let field = 0; field < 3; field += 1) await read.number(); // time, size, ultimate
  for (let left = await read.number(); left > 0; left -= 1) await read.string(); // signatures
  await read.string(); // content address
  return path;
}
