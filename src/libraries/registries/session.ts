/**
 * A client of a registry at work: a sandbox with the client's own environment, an empty folder, and a network in which Berth
 * answers for every host with what that host says. Nothing of the host machine is in it.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BerthError } from '../../core/errors.ts';
import type { Emit } from '../../core/events.ts';
import type { StorePath } from '../../nix/store.ts';
import { proxyVariables, certificateFolder } from '../install.ts';
import type { InstallCommand } from '../library.ts';
import type { CertificateAuthority } from '../proxy/certificate-authority.ts';
import type { DownloadCache } from '../proxy/download-cache.ts';
import { createProxy } from '../proxy/proxy.ts';
import { runInSandbox, type RunResult, type SandboxOptions } from '../sandbox.ts';

export interface SessionOptions {
  readonly sandbox: Omit<SandboxOptions, 'workFolder' | 'workTarget' | 'folders'>;
  readonly authority: () => Promise<CertificateAuthority>;
  readonly downloads: DownloadCache;
  readonly temporaryFolder: string;
  /** Copies a folder into the store. */
  readonly freeze: (folder: string, name: string, signal?: AbortSignal) => Promise<StorePath>;
  readonly timeoutMs: number;
  readonly emit: Emit;
  readonly signal?: AbortSignal;
}

export interface RegistrySession {
  /** Runs a command in the session's folder. What it says is in the result, also where it fails. */
  run(command: InstallCommand, options?: { readonly network?: boolean }): Promise<RunResult>;
  write(path: string, text: string): Promise<void>;
  read(path: string): Promise<string>;
  /** @returns the store path of one of its folders, and its hash's name for the lock */
  freeze(path: string, name: string): Promise<StorePath>;
}

/** Does work in a session, and removes it. */
export async function inSession<T>(
  options: SessionOptions,
  work: (session: RegistrySession) => Promise<T>,
): Promise<T> {
  await mkdir(options.temporaryFolder, { recursive: true });
  const folder = await mkdtemp(join(options.temporaryFolder, 'registry-'));
  const [inside, own] = [join(folder, 'work'), join(folder, 'own')];
  try {
    for (const each of [inside, own]) await mkdir(each);
    const authority = await options.authority();
    await writeFile(join(own, 'proxy.pem'), authority.certificate);
    const sandbox: SandboxOptions = {
      ...options.sandbox,
      workFolder: inside,
      workTarget: '/work',
      folders: { [certificateFolder]: { source: own, readOnly: true } },
    };
    const cancelled = options.signal ? { signal: options.signal } : {};
    return await work({
      async run(command, { network = false } = {}) {
        const proxy = network
          ? createProxy({ authority, cache: options.downloads, artifacts: [], pages: {}, forward })
          : undefined;
        try {
          const result = await runInSandbox(command, sandbox, {
            ...(proxy ? { network: (listening) => proxy.serve(listening) } : {}),
            variables: (port) => (port === undefined ? {} : proxyVariables(port)),
            onLine: (line) => options.emit({ type: 'log', phase: 'lock', line }),
            timeoutMs: options.timeoutMs,
            ...cancelled,
          });
          if (result.code !== 0 && proxy?.failure?.code === 'REGISTRY_UNREACHABLE') throw proxy.failure;
          return result;
        } finally {
          proxy?.close();
        }
      },
      async write(path, text) {
        await mkdir(dirname(join(inside, path)), { recursive: true });
        await writeFile(join(inside, path), text);
      },
      read: (path) => readFile(join(inside, path), 'utf8'),
      freeze: (path, name) => options.freeze(join(inside, path), name, options.signal),
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Asks a registry itself. The client checks what it gets by the registry's own integrity data. */
async function forward(url: string, accept: string | undefined, signal: AbortSignal): Promise<Response> {
  try {
    return await fetch(url, { signal, headers: { 'accept-encoding': 'identity', ...(accept ? { accept } : {}) } });
  } catch (error) {
    const { host } = new URL(url);
    throw new BerthError('REGISTRY_UNREACHABLE', `${host} cannot be reached.`, { cause: error });
  }
}

/** @returns the error for a client that failed and gave no better reason */
export function clientFailed(what: string, { code, tail }: RunResult): BerthError {
  const last = tail.findLast((line) => /error|ERR!/i.test(line)) ?? tail.at(-1) ?? '';
  return new BerthError('LIBRARY_INSTALL_FAILED', `${what} failed with status ${code ?? 'unknown'}: ${last.trim()}`, {
    details: { log: tail.join('\n') },
  });
}
