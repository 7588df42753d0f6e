/** Writes a request as berth-hot does (native/src/hot.c). */
import { hotVersion, type HotRequest } from './protocol.ts';

/** @returns the payload of a request's frame */
export function encodeHotRequest(request: HotRequest): Buffer {
  const { build, cwd, args, terminals, columns, rows, env } = request;
  const header = Buffer.alloc(10);
  header.writeUInt8(hotVersion, 0);
  header.writeUInt8(Number(terminals.stdin) | (Number(terminals.stdout) << 1) | (Number(terminals.stderr) << 2), 1);
  header.writeUInt16LE(columns, 2);
  header.writeUInt16LE(rows, 4);
  header.writeUInt16LE(args.length, 6);
  header.writeUInt16LE(Object.keys(env).length, 8);
  const texts = [build, cwd, ...args, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)];
  return Buffer.concat([header, Buffer.from(texts.map((text) => `${text}\0`).join(''), 'utf8')]);
}
