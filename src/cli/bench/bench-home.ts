/** A home of its own for one measurement: nothing of the caller's is used or touched, and nothing stays. */
import { mkdtempSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, type Client } from '../../client/client.ts';
import { connect } from '../../client/connect.ts';
import { exec } from '../../core/exec.ts';
import { readSettings } from '../../daemon/settings.ts';
import type { Environment } from '../context.ts';

export interface BenchHome {
  readonly client: Client;
  /** The project folder. */
  readonly project: string;
  writeConfig(text: string): Promise<void>;
  /** Bytes on the disk, as `du` counts them: blocks, a file with several names once, mounts not. */
  diskTaken(): Promise<DiskTaken>;
  close(): Promise<void>;
}

export interface DiskTaken {
  /** The store with its database. */
  readonly storeBytes: number;
  /** Blobs of images. */
  readonly blobBytes: number;
  /** The rest of the home: what the engine has unpacked, records, indexes of sources. */
  readonly otherBytes: number;
}

export interface BenchHomeOptions {
  readonly env: Environment;
  readonly engine: string;
  /** A store that is there already; default: an empty one in the home. */
  readonly storeRoot?: string;
  readonly mirrors: { readonly main: string; readonly security: string };
}

const leaveMs = 20_000;

export async function createBenchHome(options: BenchHomeOptions): Promise<BenchHome> {
  // A short path, since unix sockets lie in it.
  const home = mkdtempSync(join(tmpdir(), 'berth-modes-'));
  const passed = ['PATH', 'LANG', 'TMPDIR', 'BERTH_DOCKER_SOCKET', 'BERTH_OCI_RUNTIME', 'BERTH_DEBIAN_KEYRING'];
  const env = {
    ...Object.fromEntries(passed.flatMap((name) => (options.env[name] ? [[name, options.env[name]]] : []))),
    HOME: home,
    BERTH_HOME: home,
    BERTH_SOURCE: 'debian',
    BERTH_DEBIAN_SUITE: 'bookworm',
    BERTH_DEBIAN_MIRROR: options.mirrors.main,
    BERTH_DEBIAN_SECURITY_MIRROR: options.mirrors.security,
    // What the cache keeps may be older than a Release file allows.
    BERTH_DEBIAN_CHECK_VALID_UNTIL: 'false',
    BERTH_ENGINE: options.engine,
    ...(options.storeRoot === undefined ? {} : { BERTH_STORE_ROOT: options.storeRoot }),
  };
  const project = join(home, 'project');
  await mkdir(project);
  const client = createClient(connect({ settings: readSettings({ env }), env }));
  await client.daemon();
  return {
    client,
    project,
    writeConfig: (text) => writeFile(join(project, 'config.nix'), text),
    async diskTaken() {
      const [all, store, blobs] = await Promise.all(['', 'store', 'blobs'].map((name) => diskUsage(join(home, name))));
      const [total, storeBytes, blobBytes] = [all ?? 0, store ?? 0, blobs ?? 0];
      return { storeBytes, blobBytes, otherBytes: total - storeBytes - blobBytes };
    },
    async close() {
      const { pid } = await client.daemon();
      for (const { id } of await client.list()) await client.remove(id);
      await client.stopDaemon();
      for (const end = Date.now() + leaveMs; isAlive(pid) && Date.now() < end;) await sleep(50);
      if (isAlive(pid)) process.kill(pid, 'SIGKILL');
      // The store's folders are read-only.
      await exec('chmod', ['-R', 'u+w', home]);
      await rm(home, { recursive: true, force: true });
    },
  };
}

async function diskUsage(folder: string): Promise<number> {
  // It ends with 1 where a file went away meanwhile, and has counted the others.
  const { stdout } = await exec('du', ['-skx', folder]);
  return Number(/^\d+/.exec(stdout)?.[0] ?? 0) * 1024;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
