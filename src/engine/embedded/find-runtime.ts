/** Finds an OCI runtime that works on this machine, by running a container with it, and remembers the answer. */
import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { BerthError } from '../../core/errors.ts';
import { exec } from '../../core/exec.ts';
import { isErrno, writeFileAtomically } from '../../core/files.ts';
import { type Runtime, runtimeCandidates } from './runtime.ts';

export interface FoundRuntime {
  readonly runtime: Runtime;
  readonly version: string;
}

export interface FindRuntimeOptions {
  /** Names or paths, in order. */
  readonly candidates: readonly string[];
  /** The file in which the answer is kept. */
  readonly memory: string;
  /** Runs a container; rejects with a BerthError when the runtime cannot. */
  readonly tryOut: (runtime: Runtime) => Promise<void>;
}

const memorySchema = z.object({ key: z.string(), program: z.string(), version: z.string() });

/** @throws BerthError ENGINE_UNAVAILABLE, with what each candidate said */
export async function findRuntime(options: FindRuntimeOptions): Promise<FoundRuntime> {
  const candidates = runtimeCandidates(options.candidates);
  const key = keyOf(candidates);
  const known = await readMemory(options.memory);
  if (known?.key === key) {
    const runtime = candidates.find(({ program }) => program === known.program);
    if (runtime) return { runtime, version: known.version };
  }
  const failures: string[] = [];
  for (const runtime of candidates) {
    try {
      const version = await versionOf(runtime);
      await options.tryOut(runtime);
      await writeFileAtomically(options.memory, JSON.stringify({ key, program: runtime.program, version }));
      return { runtime, version };
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      failures.push(`${runtime.program}: ${error.message}`);
    }
  }
  throw new BerthError('ENGINE_UNAVAILABLE', `No OCI runtime works here. ${failures.join(' ')}`);
}

async function versionOf(runtime: Runtime): Promise<string> {
  const { stdout } = await exec(runtime.program, ['--version'], { timeoutMs: 10_000 });
  return /\bversion (\S+)/.exec(stdout)?.[1] ?? 'of unknown version';
}

async function readMemory(path: string): Promise<z.infer<typeof memorySchema> | undefined> {
  try {
    return memorySchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    if (isErrno(error, 'ENOENT') || error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

/** Changes with the kernel, the user, and each candidate's file: then it is tried again. */
function keyOf(candidates: readonly Runtime[]): string {
  const files = candidates.map(({ program }) => {
    const path = program.includes('/') ? program : findOnPath(program);
    if (path === undefined) return `${program}:missing`;
    const { size, mtimeMs } = statSync(path);
    return `${path}:${size}:${mtimeMs}`;
  });
  return [release(), process.getuid?.(), ...files].join('\n');
}

/** Where distributions and administrators put runtimes. One that is elsewhere is found all the same, but not watched. */
const usualDirectories = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

function findOnPath(name: string): string | undefined {
  return usualDirectories.map((directory) => join(directory, name)).find(isFile);
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return false;
    throw error;
  }
}
