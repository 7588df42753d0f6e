// Makes native/bin/<arch>-linux/seccomp.bpf, the filter that the agent installs, from Docker's default profile. That is a
// template whose rules depend on capabilities and architecture; Berth's containers have one set, so it is resolved here.
//   go mod download -json github.com/moby/profiles/seccomp@v0.3.0     (Apache License 2.0; prints the folder)
//   node native/seccomp/generate.mjs FOLDER/default.json
// Needs linux-libc-dev, for the numbers of the system calls.
import { readFileSync, writeFileSync } from 'node:fs';
import { compile, encode } from './compile.mjs';

const profile = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const capabilities = new Set(['CAP_SYS_CHROOT']);

// Newer than Debian 12's headers; from number 424 on they are the same on all architectures.
const newer = [
  ...['cachestat', 'fchmodat2', 'map_shadow_stack', 'futex_wake', 'futex_wait', 'futex_requeue', 'statmount'],
  ...['listmount', 'lsm_get_self_attr', 'lsm_set_self_attr', 'lsm_list_modules', 'mseal', 'setxattrat', 'getxattrat'],
  ...['listxattrat', 'removexattrat', 'open_tree_attr', 'file_getattr', 'file_setattr'],
].map((name, index) => [name, 451 + index]);

function numbersIn(header) {
  const numbers = new Map();
  const text = readFileSync(header, 'utf8');
  for (const [, name, number] of text.matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)$/gm)) {
    numbers.set(name, Number(number));
  }
  // The generic header's calls with one number and a name by word size: __NR_newfstatat is __NR3264_fstatat.
  for (const [, name, other] of text.matchAll(/^#define __NR_(\w+) __NR3264_(\w+)$/gm)) {
    numbers.set(name, numbers.get(other));
  }
  for (const [name, number] of newer) numbers.set(name, number);
  return numbers;
}

const highest = newer.at(-1)[1];
const x86 = '/usr/include/x86_64-linux-gnu/asm';
const programs = {
  x86_64: {
    names: new Set(['amd64', 'x86']),
    architectures: [
      { audit: 0xc000003e, numbers: numbersIn(`${x86}/unistd_64.h`), highest, firstForeign: 0x40000000 },
      { audit: 0x40000003, numbers: numbersIn(`${x86}/unistd_32.h`), highest },
    ],
  },
  aarch64: {
    names: new Set(['arm64']),
    architectures: [{ audit: 0xc00000b7, numbers: numbersIn('/usr/include/asm-generic/unistd.h'), highest }],
  },
};

for (const [arch, { names, architectures }] of Object.entries(programs)) {
  const applies = ({ includes = {}, excludes = {} }) =>
    (includes.caps ?? []).every((name) => capabilities.has(name)) &&
    (includes.arches === undefined || includes.arches.some((name) => names.has(name))) &&
    !(excludes.caps ?? []).some((name) => capabilities.has(name)) &&
    !(excludes.arches ?? []).some((name) => names.has(name));
  const program = compile(architectures, profile.syscalls.filter(applies));
  const path = new URL(`../bin/${arch}-linux/seccomp.bpf`, import.meta.url);
  writeFileSync(path, encode(program));
  console.log(`${path.pathname}: ${program.length} instructions`);
}
