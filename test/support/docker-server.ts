/** A Docker server of the test's own: private folders and socket, no network set-up, ended by its process number. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';

export type DockerServer =
  | { readonly socketPath: string; stop(): Promise<void> }
  /** Why there is none, for the name of a skipped test. */
  | { readonly unavailable: string };

const startTimeoutMs = 60_000;

/** Starts dockerd, where it is installed and this user may. */
export async function startDockerServer(): Promise<DockerServer> {
  if (process.getuid?.() !== 0) return { unavailable: 'a Docker server can be started by root only' };
  if (!['/usr/sbin/dockerd', '/usr/bin/dockerd', '/usr/local/bin/dockerd'].some(existsSync)) {
    return { unavailable: 'dockerd is not installed' };
  }
  // A short path: a unix socket's has at most 107 bytes, and containerd's lies deep.
  const directory = mkdtempSync(join(tmpdir(), 'dkr-'));
  const socketPath = join(directory, 'd.sock');
  const args = [
    ...['--data-root', join(directory, 'data'), '--exec-root', join(directory, 'exec')],
    ...['--pidfile', join(directory, 'pid'), '--host', `unix://${socketPath}`],
    ...['--bridge', 'none', '--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false'],
    ...['--storage-driver', 'overlay2', '--log-level', 'warn', '--group', '0'],
  ];
  const child = spawn('dockerd', args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let said = '';
  const hear = (chunk: Buffer) => {
    said = (said + chunk.toString('utf8')).slice(-4000);
  };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  let ended = false;
  const exited = new Promise<void>((resolve) => {
    const end = () => {
      ended = true;
      resolve();
    };
    child.once('error', end);
    child.once('exit', end);
  });
  const hasEnded = () => ended;
  const stop = async () => {
    if (!hasEnded()) child.kill('SIGTERM');
    await exited;
    unmountBelow(directory);
    rmSync(directory, { recursive: true, force: true });
  };
  const docker = new Docker({ socketPath });
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    const answers = await docker.ping().then(
      () => true,
      () => false,
    );
    if (answers) return { socketPath, stop };
    if (hasEnded() || performance.now() > deadline) {
      await stop();
      return { unavailable: `dockerd does not start: ${said.trim().split('\n').at(-1) ?? ''}` };
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** dockerd leaves mounts of network namespaces and of its own folders. */
function unmountBelow(directory: string): void {
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .flatMap((line) => line.split(' ')[1] ?? [])
    .filter((path) => path.startsWith(`${directory}/`));
  for (const path of mounts.reverse()) spawnSync('umount', ['-l', path], { stdio: 'ignore' });
}
