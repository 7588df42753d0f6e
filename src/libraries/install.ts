/**
 * Makes one library tree: the packages that the lock names are downloaded and checked, the manager's own install runs in a
 * sandbox with them, install scripts run with no network, and the result is frozen as a store path.
 */
import { setMaxListeners } from 'node:events';
import { copyFile, link, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { BerthError } from '../core/errors.ts';
import type { Emit } from '../core/events.ts';
import type { StorePath } from '../nix/store.ts';
import type { InstallCommand, LibraryInput, LibraryManager, LibraryPackage, LibraryPlan } from './library.ts';
import type { CertificateAuthority } from './proxy/certificate-authority.ts';
import type { DownloadCache } from './proxy/download-cache.ts';
import { createProxy } from './proxy/proxy.ts';
import { runInSandbox, type RunResult, type SandboxOptions } from './sandbox.ts';

export interface InstallOptions {
  readonly sandbox: Omit<SandboxOptions, 'workFolder' | 'workTarget' | 'folders'>;
  readonly authority: () => Promise<CertificateAuthority>;
  readonly downloads: DownloadCache;
  /** Where installs work; emptied after each. */
  readonly temporaryFolder: string;
  /** Copies a folder into the store. */
  readonly freeze: (folder: string, name: string, signal?: AbortSignal) => Promise<StorePath>;
  /** Milliseconds that one command may take. */
  readonly timeoutMs: number;
}

export interface InstallContext {
  readonly emit: Emit;
  readonly signal?: AbortSignal;
}

/** How many packages are downloaded at the same time, ahead of what the manager asks for. */
const parallelDownloads = 16;
/** Where the sandbox finds the proxy's certificate. */
const certificatePath = '/berth/own/proxy.pem';
export const certificateFolder = dirname(certificatePath);
/** Where it finds packages that the manager takes as files. */
export const downloadsPath = '/berth/downloads';

export interface Installed {
  readonly storePath: StorePath;
  readonly packages: readonly LibraryPackage[];
}

/**
 * @param target the lock's folder in a berth
 * @returns the tree's store path, and what is in it
 * @throws BerthError LIBRARY_INSTALL_FAILED, LIBRARY_INSTALL_TIMEOUT, HASH_MISMATCH, REGISTRY_UNREACHABLE, REGISTRY_DENIED,
 *   LIBRARY_DOWNLOAD_FAILED, DISK_FULL, CANCELLED
 */
export async function install(
  manager: LibraryManager,
  plan: LibraryPlan,
  target: string,
  options: InstallOptions,
  context: InstallContext,
): Promise<Installed> {
  await mkdir(options.temporaryFolder, { recursive: true });
  const folder = await mkdtemp(join(options.temporaryFolder, `${manager.name}-`));
  const [work, own, downloads] = [join(folder, 'work'), join(folder, 'own'), join(folder, 'downloads')];
  try {
    for (const each of [work, own, downloads]) await mkdir(each);
    await writeInputs(work, plan.inputs);
    const { certificate } = await options.authority();
    await writeFile(join(own, 'proxy.pem'), certificate);
    const sandbox: SandboxOptions = {
      ...options.sandbox,
      workFolder: work,
      workTarget: target,
      folders: {
        [dirname(certificatePath)]: { source: own, readOnly: true },
        [downloadsPath]: { source: downloads, readOnly: true },
      },
    };
    const whole = await located(manager, plan, sandbox, options, context);
    await writeInputs(work, whole.inputs);
    await withDownloads(whole, downloads, options, context, async (signal, network) => {
      for (const command of plan.fetch) await run(manager, command, sandbox, options, { ...context, signal }, network);
    });
    for (const command of plan.build) await run(manager, command, sandbox, options, context);
    const tree = join(folder, 'tree');
    for (const output of plan.outputs) {
      await mkdir(dirname(join(tree, output)), { recursive: true });
      await rename(join(work, output), join(tree, output));
    }
    const storePath = await options.freeze(tree, `${manager.name}-libraries`, context.signal);
    return { storePath, packages: whole.packages };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Asks for what only the interpreter or an index knows. */
async function located(
  manager: LibraryManager,
  plan: LibraryPlan,
  sandbox: SandboxOptions,
  options: InstallOptions,
  context: InstallContext,
): Promise<LibraryPlan> {
  const found = await plan.locate?.({
    page: async (url) => {
      const { status, body } = await options.downloads.metadata(url, context.signal);
      if (status === 200) return body;
      const { host } = new URL(url);
      const code = status === 401 || status === 403 ? 'REGISTRY_DENIED' : 'LIBRARY_DOWNLOAD_FAILED';
      throw new BerthError(code, `${host} answered ${status} to a question about its index.`, { details: { url } });
    },
    run: async (command) => (await run(manager, command, sandbox, options, context)).stdout,
  });
  if (!found) return plan;
  return {
    ...plan,
    inputs: found.inputs,
    artifacts: [...plan.artifacts, ...found.artifacts],
    packages: [...plan.packages, ...found.packages],
  };
}

async function writeInputs(work: string, inputs: readonly LibraryInput[]): Promise<void> {
  for (const { path, content } of inputs) {
    const normal = posix.normalize(path);
    if (normal.startsWith('..') || posix.isAbsolute(normal)) {
      throw new BerthError('LIBRARY_LOCK_INVALID', `The lock file names \`${path}\`, outside of its folder.`);
    }
    await mkdir(dirname(join(work, normal)), { recursive: true });
    await writeFile(join(work, normal), content);
  }
}

type Network = ReturnType<typeof createProxy>;

/** Downloads ahead while the manager works; what it asks for meanwhile joins the downloads under way. */
async function withDownloads(
  plan: LibraryPlan,
  folder: string,
  options: InstallOptions,
  { emit, signal }: InstallContext,
  work: (signal: AbortSignal, network: Network) => Promise<void>,
): Promise<void> {
  // Not AbortSignal.any: Node 20 may collect a signal that it made while somebody still listens.
  const ending = new AbortController();
  const end = () => ending.abort();
  signal?.addEventListener('abort', end, { once: true });
  if (signal?.aborted) end();
  const all = ending.signal;
  // All downloads listen to it.
  setMaxListeners(0, all);
  let done = 0;
  let bytes = 0;
  const total = plan.artifacts.length;
  const count = (label: string, size: number): void => {
    done += 1;
    bytes += size;
    emit({ type: 'progress', phase: 'libraries', unit: 'packages', done, total, label });
  };
  const proxy = createProxy({
    authority: await options.authority(),
    cache: options.downloads,
    artifacts: plan.artifacts,
    pages: plan.pages,
  });
  const waiting = [...plan.artifacts];
  let fault: unknown;
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined && !all.aborted; next = waiting.shift()) {
      const { file, size } = await options.downloads.artifact(next, all);
      if (next.saveAs !== undefined) await linkOrCopy(file, join(folder, next.saveAs));
      count(next.label, size);
    }
  };
  // The first fault ends the install: without the package it would only fail later, with less to say.
  const downloads = Promise.all(Array.from({ length: parallelDownloads }, worker)).catch((error: unknown) => {
    fault ??= error;
    ending.abort();
  });
  try {
    // Where packages are taken as files, they must be there first.
    if (plan.artifacts.some(({ saveAs }) => saveAs !== undefined)) await downloads;
    if (fault === undefined) await work(all, proxy);
    await downloads;
  } catch (error) {
    throw fault ?? proxy.failure ?? error;
  } finally {
    end();
    signal?.removeEventListener('abort', end);
    proxy.close();
    await downloads;
  }
  if (fault !== undefined) throw fault as Error;
  emit({ type: 'progress', phase: 'libraries', unit: 'bytes', done: bytes, total: bytes });
}

async function run(
  manager: LibraryManager,
  command: InstallCommand,
  sandbox: SandboxOptions,
  options: InstallOptions,
  { emit, signal }: InstallContext,
  network?: Network,
): Promise<RunResult> {
  const result = await runInSandbox(command, sandbox, {
    ...(network ? { network: (listening) => network.serve(listening) } : {}),
    variables: (port) => (port === undefined ? {} : proxyVariables(port)),
    onLine: (line) => emit({ type: 'log', phase: 'libraries', line }),
    timeoutMs: options.timeoutMs,
    ...(signal ? { signal } : {}),
  });
  if (result.code === 0) return result;
  const when = network ? '' : ' while building without a network';
  throw new BerthError(
    'LIBRARY_INSTALL_FAILED',
    `\`${command.argv.join(' ')}\` failed${when} with status ${result.code ?? 'unknown'}.`,
    { details: { manager: manager.name, log: result.tail.join('\n') } },
  );
}

async function linkOrCopy(file: string, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true });
  await link(file, target).catch(() => copyFile(file, target));
}

/** Each client has its own name for the authority that it trusts. */
export function proxyVariables(port: number): Record<string, string> {
  const proxy = `http://127.0.0.1:${port}`;
  const variables: Record<string, string> = {};
  for (const name of [
    'HTTP_PROXY',
    'HTTPS_PROXY',
    'http_proxy',
    'https_proxy',
    'npm_config_proxy',
    'npm_config_https_proxy',
  ]) {
    variables[name] = proxy;
  }
  for (const name of [
    'SSL_CERT_FILE',
    'NODE_EXTRA_CA_CERTS',
    'npm_config_cafile',
    'PIP_CERT',
    'REQUESTS_CA_BUNDLE',
    'CARGO_HTTP_CAINFO',
    'CURL_CA_BUNDLE',
  ]) {
    variables[name] = certificatePath;
  }
  return variables;
}
