/** Starts test/registry/serve.ts as a process of its own. It is bundled once, so that a start takes a moment only. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import esbuild from 'esbuild';

const root = resolve(import.meta.dirname, '../..');
// Below the checkout: what is not bundled is found from there.
const bundle = join(root, 'node_modules/.cache/berth-registry-test', `serve-${process.pid}.mjs`);
let bundled: Promise<unknown> | undefined;

export interface RegistryProcess {
  readonly url: string;
  readonly child: ChildProcess;
  /** By SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
}

export async function startRegistry(
  folder: string,
  options: { readonly maxBytes?: number; readonly token?: string } = {},
): Promise<RegistryProcess> {
  mkdirSync(join(bundle, '..'), { recursive: true });
  await (bundled ??= esbuild.build({
    entryPoints: [join(root, 'test/registry/serve.ts')],
    outfile: bundle,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    external: ['libsql'],
    logLevel: 'error',
    banner: { js: "import { createRequire as r } from 'node:module'; const require = r(import.meta.url);" },
  }));
  const child = spawn(
    process.execPath,
    [bundle, folder, '0', options.maxBytes === undefined ? '' : String(options.maxBytes), options.token ?? ''],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit');
  for await (const line of createInterface({ input: child.stdout })) {
    const port = /^port (\d+)$/.exec(line)?.[1];
    if (port === undefined) continue;
    return {
      url: `http://127.0.0.1:${port}`,
      child,
      async kill() {
        child.kill('SIGKILL');
        await exited;
      },
    };
  }
  throw new Error('The registry did not start.');
}
