// Compiles seccomp rules to the kernel's classic BPF. Berth's agent installs the result itself: the OCI runtimes compile
// the same profile anew at each start, which costs them about 16 ms; installing a ready program costs well under one.

const LOAD = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP = 0x05; // BPF_JMP | BPF_JA
const IF_EQUAL = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_GREATER = 0x25; // BPF_JGT
const IF_AT_LEAST = 0x35; // BPF_JGE
const AND = 0x54; // BPF_ALU | BPF_AND | BPF_K
const RETURN = 0x06; // BPF_RET | BPF_K

const ALLOW = 0x7fff0000;
const KILL_PROCESS = 0x80000000;
const errno = (number) => 0x00050000 | number;
const EPERM = 1;
const ENOSYS = 38;

// Offsets in struct seccomp_data.
const NUMBER = 0;
const ARCHITECTURE = 4;
const low = (index) => 16 + 8 * index;
const high = (index) => 20 + 8 * index;

const instruction = (code, k, ifTrue = 0, ifFalse = 0) => ({ code, ifTrue, ifFalse, k });

/**
 * @param architectures [{ audit, numbers: Map name -> number, highest, firstForeign? }]: AUDIT_ARCH_… value; numbers of
 *   the system calls; the highest number that the profile's authors knew, above which the answer is ENOSYS, so that a C
 *   library falls back instead of failing; first number of another ABI under the same architecture (x32)
 * @param rules [{ names, action, args?, errnoRet? }] as in the OCI runtime specification
 */
export function compile(architectures, rules) {
  const sections = architectures.map((architecture) => compileArchitecture(architecture, rules));
  const program = [instruction(LOAD, ARCHITECTURE)];
  architectures.forEach(({ audit }, index) => {
    const before = sections.slice(0, index).reduce((sum, section) => sum + section.length, 0);
    const headersLeft = (architectures.length - index - 1) * 2 + 1;
    program.push(instruction(IF_EQUAL, audit, 0, 1), instruction(JUMP, headersLeft + before));
  });
  program.push(instruction(RETURN, KILL_PROCESS));
  return [...program, ...sections.flat()];
}

function compileArchitecture({ numbers, highest, firstForeign }, rules) {
  const always = new Set();
  const conditional = new Map();
  for (const rule of rules) {
    for (const name of rule.names) {
      const number = numbers.get(name);
      if (number === undefined) continue;
      if (rule.action === 'SCMP_ACT_ALLOW' && !rule.args?.length) always.add(number);
      else conditional.set(number, [...(conditional.get(number) ?? []), rule]);
    }
  }
  const program = [instruction(LOAD, NUMBER)];
  if (firstForeign !== undefined) {
    program.push(instruction(IF_AT_LEAST, firstForeign, 0, 1), instruction(RETURN, errno(ENOSYS)));
  }
  for (const [number, own] of [...conditional].sort(([a], [b]) => a - b)) {
    if (always.has(number)) continue;
    const block = [...own.flatMap(compileRule), instruction(RETURN, errno(EPERM))];
    // A jump of its own, since a conditional one reaches 255 instructions only.
    program.push(instruction(IF_EQUAL, number, 1, 0), instruction(JUMP, block.length), ...block);
  }
  for (const [first, last] of rangesOf(always)) {
    program.push(instruction(IF_GREATER, last, 2, 0), instruction(IF_AT_LEAST, first, 0, 1));
    program.push(instruction(RETURN, ALLOW));
  }
  program.push(instruction(IF_GREATER, highest, 0, 1), instruction(RETURN, errno(ENOSYS)));
  program.push(instruction(RETURN, errno(EPERM)));
  return program;
}

/** The rule's answer when all its comparisons hold; else falls through. */
function compileRule({ action, args = [], errnoRet }) {
  const answer = action === 'SCMP_ACT_ALLOW' ? ALLOW : errno(errnoRet ?? EPERM);
  let code = [instruction(RETURN, answer)];
  for (const argument of [...args].reverse()) code = compare(argument, code);
  return code;
}

/** Puts a comparison before `rest`; where it fails, all of `rest` is skipped. */
function compare({ index, value, valueTwo = 0, op }, rest) {
  if (value > 0xffffffff || valueTwo > 0xffffffff) throw new RangeError(`no 64-bit value: ${value}`);
  const highIsZero = [instruction(LOAD, high(index)), instruction(IF_EQUAL, 0, 0, rest.length + 2)];
  switch (op) {
    case 'SCMP_CMP_EQ':
      return [...highIsZero, instruction(LOAD, low(index)), instruction(IF_EQUAL, value, 0, rest.length), ...rest];
    case 'SCMP_CMP_LT':
      return [...highIsZero, instruction(LOAD, low(index)), instruction(IF_AT_LEAST, value, rest.length, 0), ...rest];
    case 'SCMP_CMP_MASKED_EQ':
      return [
        ...[instruction(LOAD, low(index)), instruction(AND, value)],
        ...[instruction(IF_EQUAL, valueTwo, 0, rest.length), ...rest],
      ];
    default:
      throw new RangeError(`no code for the comparison ${op}`);
  }
}

function rangesOf(numbers) {
  const ranges = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges;
}

/** @returns struct sock_filter[] */
export function encode(program) {
  if (program.length > 4096) throw new RangeError('the kernel takes 4096 instructions at most');
  const bytes = Buffer.alloc(program.length * 8);
  program.forEach(({ code, ifTrue, ifFalse, k }, index) => {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(ifTrue, index * 8 + 2);
    bytes.writeUInt8(ifFalse, index * 8 + 3);
    bytes.writeUInt32LE(k >>> 0, index * 8 + 4);
  });
  return bytes;
}
