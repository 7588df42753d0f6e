/** The committed native programs: what their sources give, byte for byte; and what the filter of system calls allows. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, test } from 'vitest';

const native = join(import.meta.dirname, '../../native');

/** Bytes depend on the compiler; this is the one that the committed programs were built with. */
const compilerVersion = '12.2.0';

describe('native programs', () => {
  for (const arch of ['x86_64', 'aarch64']) {
    it(`are what their sources give for ${arch}`, ({ skip }) => {
      const compiler = `${arch}-linux-gnu-gcc`;
      const version = spawnSync(compiler, ['-dumpfullversion'], { encoding: 'utf8' });
      skip(version.status !== 0, `${compiler} is not installed`);
      skip(
        version.stdout.trim() !== compilerVersion,
        `${compiler} is ${version.stdout.trim()}, not ${compilerVersion}`,
      );
      const out = mkdtempSync(join(tmpdir(), 'berth-native-'));
      try {
        execFileSync(join(native, 'build'), ['--out', out, arch], { stdio: 'pipe' });
        const built = readdirSync(join(out, `${arch}-linux`)).sort();
        expect(built).toContain('agent');
        for (const name of built) {
          const [ours, committed] = [out, join(native, 'bin')].map((base) =>
            readFileSync(join(base, `${arch}-linux`, name)),
          );
          expect(ours?.equals(committed ?? Buffer.alloc(0)), `${name}: run native/build ${arch}`).toBe(true);
          expect(committed?.length).toBeLessThan(64 * 1024);
        }
      } finally {
        rmSync(out, { recursive: true, force: true });
      }
    });
  }
});

const x86_64 = {
  arch: 0xc000003e,
  file: 'x86_64-linux',
  calls: {
    read: 0,
    socket: 41,
    clone: 56,
    mount: 165,
    bpf: 321,
    clone3: 435,
    personality: 135,
    ptrace: 101,
    unshare: 272,
    fchmodat2: 452,
    keyctl: 250,
    chroot: 161,
  },
};
const i386 = {
  ...x86_64,
  arch: 0x40000003,
  calls: {
    read: 3,
    socket: 359,
    clone: 120,
    mount: 21,
    bpf: 357,
    clone3: 435,
    personality: 136,
    ptrace: 26,
    unshare: 310,
    fchmodat2: 452,
    keyctl: 288,
    chroot: 61,
  },
};
const aarch64 = {
  arch: 0xc00000b7,
  file: 'aarch64-linux',
  calls: {
    read: 63,
    socket: 198,
    clone: 220,
    mount: 40,
    bpf: 280,
    clone3: 435,
    personality: 92,
    ptrace: 117,
    unshare: 97,
    fchmodat2: 452,
    keyctl: 219,
    chroot: 51,
  },
};

const allow = 0x7fff0000;
const kill = 0x80000000;
const errno = (number: number) => 0x00050000 | number;
const EPERM = errno(1);
const ENOSYS = errno(38);

describe('the filter of system calls', () => {
  describe.each([
    ['x86_64', x86_64],
    ['i386', i386],
    ['aarch64', aarch64],
  ])('on %s', (_name, { arch, file, calls }) => {
    const program = readFileSync(join(native, 'bin', file, 'seccomp.bpf'));
    const answer = (call: number, ...args: bigint[]) => runFilter(program, arch, call, args);

    test('allows what programs need', () => {
      for (const call of [calls.read, calls.ptrace, calls.fchmodat2, calls.chroot]) expect(answer(call)).toBe(allow);
    });
    test('refuses what only administrators need', () => {
      for (const call of [calls.mount, calls.bpf, calls.unshare, calls.keyctl]) expect(answer(call)).toBe(EPERM);
    });
    test('says that calls which are newer than it do not exist', () => {
      for (const call of [600, 5000]) expect(answer(call)).toBe(ENOSYS);
    });
    test('allows processes and threads, but no new namespaces', () => {
      expect(answer(calls.clone, 0x01200011n)).toBe(allow);
      expect(answer(calls.clone, 0x10000000n)).toBe(EPERM); // CLONE_NEWUSER
      expect(answer(calls.clone, 0x00020000n)).toBe(EPERM); // CLONE_NEWNS
      expect(answer(calls.clone3)).toBe(ENOSYS);
    });
    test('allows the usual families of sockets only', () => {
      for (const family of [1n, 2n, 10n, 16n]) expect(answer(calls.socket, family)).toBe(allow);
      expect(answer(calls.socket, 38n)).toBe(EPERM); // AF_ALG
      expect(answer(calls.socket, 40n)).toBe(EPERM); // AF_VSOCK
      expect(answer(calls.socket, 0x1_0000_0001n)).toBe(EPERM);
    });
    test('allows the harmless personalities only', () => {
      expect(answer(calls.personality, 0n)).toBe(allow);
      expect(answer(calls.personality, 0xffffffffn)).toBe(allow);
      expect(answer(calls.personality, 0x0040000n)).toBe(EPERM); // ADDR_NO_RANDOMIZE
    });
  });

  test('knows no other machine, and no second interface of the same', () => {
    const program = readFileSync(join(native, 'bin/x86_64-linux/seccomp.bpf'));
    expect(runFilter(program, aarch64.arch, 63, [])).toBe(kill);
    expect(runFilter(program, x86_64.arch, 0x40000000, [])).toBe(ENOSYS);
  });
});

/** Runs classic BPF as the kernel does (Documentation/networking/filter.rst), for the instructions that filters use. */
function runFilter(program: Buffer, arch: number, call: number, args: readonly bigint[]): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call, 0);
  data.writeUInt32LE(arch, 4);
  args.forEach((value, index) => data.writeBigUInt64LE(value, 16 + 8 * index));
  let accumulator = 0;
  for (let at = 0; at * 8 < program.length; at += 1) {
    const code = program.readUInt16LE(at * 8);
    const [ifTrue, ifFalse] = [program.readUInt8(at * 8 + 2), program.readUInt8(at * 8 + 3)];
    const k = program.readUInt32LE(at * 8 + 4);
    const jump = (condition: boolean) => {
      at += condition ? ifTrue : ifFalse;
    };
    switch (code) {
      case 0x20:
        accumulator = data.readUInt32LE(k);
        break;
      case 0x54:
        accumulator = (accumulator & k) >>> 0;
        break;
      case 0x05:
        at += k;
        break;
      case 0x15:
        jump(accumulator === k);
        break;
      case 0x25:
        jump(accumulator > k);
        break;
      case 0x35:
        jump(accumulator >= k);
        break;
      case 0x06:
        return k;
      default:
        throw new TypeError(`instruction ${code.toString(16)} at ${at}`);
    }
  }
  throw new TypeError('the filter ends without an answer');
}
