/** Just enough of ELF to say for which machine a program is and whether it needs a dynamic loader. */

const machines: Readonly<Record<number, string>> = { 0x3e: 'x64', 0xb7: 'arm64' };
const PT_INTERP = 3;

/**
 * @param bytes a 64-bit little-endian program
 * @returns the machine by Node's name for it and whether the program is static, or undefined for any other file
 */
export function readElf(bytes: Buffer): { machine: string; isStatic: boolean } | undefined {
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) return undefined;
  const machine = machines[bytes.readUInt16LE(0x12)];
  if (machine === undefined) return undefined;
  const offset = Number(bytes.readBigUInt64LE(0x20));
  const size = bytes.readUInt16LE(0x36);
  const count = bytes.readUInt16LE(0x38);
  for (let index = 0; index < count; index += 1) {
    const at = offset + index * size;
    if (at + 4 > bytes.length) return undefined;
    if (bytes.readUInt32LE(at) === PT_INTERP) return { machine, isStatic: false };
  }
  return { machine, isStatic: true };
}
