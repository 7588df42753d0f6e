/** Who holds a lease: a process, told apart from a later one of the same number. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';

const ownerSchema = z.object({
  /** Of this start of the machine. */
  boot: z.string(),
  pid: z.int(),
  /** When the process started, in the kernel's ticks since boot. */
  started: z.string(),
  /** Several builders of one process, as tests have them. */
  nonce: z.string(),
});
type Owner = z.infer<typeof ownerSchema>;

/** @returns a new owner in this process */
export function newOwner(): string {
  const owner: Owner = {
    boot: bootId(),
    pid: process.pid,
    started: startOf(process.pid) ?? '',
    nonce: randomBytes(6).toString('hex'),
  };
  return JSON.stringify(owner);
}

/** @returns whether the owner's process is known to have ended; false where that can't be told from here */
export function hasEnded(owner: string): boolean {
  const parsed = ownerSchema.safeParse(parseJson(owner));
  if (!parsed.success) return true;
  const { boot, pid, started } = parsed.data;
  return boot !== bootId() || startOf(pid) !== started;
}

let boot: string | undefined;

function bootId(): string {
  return (boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
}

/** Field 22 of proc(5)'s stat, counted from after the name, which may hold anything; a zombie (field 3) has ended. */
function startOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
