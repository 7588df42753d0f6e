/** Run by user.test.ts as an ordinary user: evaluates a config, builds it, and tells what came of it as JSON. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createNix } from '../../src/nix/nix.ts';
import { physicalPath } from '../../src/nix/store.ts';

async function main(nixFolder: string, tree: string, kind: string): Promise<void> {
  const home = process.env['HOME'] ?? '';
  const nix = createNix({
    store: kind === 'system' ? { kind, root: '/' } : { kind: 'managed', root: join(home, 'store') },
    nixFolder,
    home: join(home, 'nix'),
    settings: { substituters: [], trustedPublicKeys: [] },
    environment: {
      PATH: process.env['PATH'] ?? '',
      ...(process.env['NIX_CONF_DIR'] === undefined ? {} : { NIX_CONF_DIR: process.env['NIX_CONF_DIR'] }),
    },
  });
  const path = await nix.addToStore(tree, 'source');
  const directory = join(home, 'project');
  mkdirSync(directory);
  const file = join(directory, 'config.nix');
  writeFileSync(file, '{ pkgs, ... }: { packages = [ pkgs.hello ]; shellHook = import ./hook.nix; }');
  writeFileSync(join(directory, 'hook.nix'), '"hook"', { mode: 0o600 });
  const evaluation = await nix.evaluate({
    config: { file, directory, shape: 'nix' },
    sources: { pkgs: { kind: 'nixpkgs', nix: { path }, storePaths: [path] } },
    defaultSource: 'pkgs',
  });
  if (!evaluation.ok) throw evaluation.error;
  const { paths, built } = await nix.realise([evaluation.result.drvPath]);
  const closure = await nix.closureOf(paths);
  await nix.roots.add('kept', closure.paths[0] ?? '/nix/store/none');
  const variables = readFileSync(join(physicalPath(nix.store, paths[0] ?? ''), 'variables'), 'utf8');
  const collected = await nix.collectGarbage({ dryRun: true });
  await nix.close();
  console.log(
    JSON.stringify({
      uid: process.getuid?.(),
      paths,
      built,
      trace: evaluation.trace.length,
      unstable: evaluation.unstable,
      closure: closure.paths.length,
      hasHello: variables.includes('-hello-2.12/bin'),
      collectable: collected.paths.length,
    }),
  );
}

const [, , nixFolder = '', tree = '', kind = 'managed'] = process.argv;
main(nixFolder, tree, kind).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
