/** Nix as Debian's later suites have it, taken through Berth's own source debian and run on this host. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createStoreDatabase } from '../../src/nix/closure.ts';
import type { NixPrograms } from '../../src/nix/nix-process.ts';
import { physicalPath, physicalStoreDirectory } from '../../src/nix/store.ts';
import { debianNix, debianStore, debianView } from './debian-root.ts';

/**
 * The packages are not installed: their loader is called with their libraries, where the store has them.
 * @returns the programs of the suite's Nix
 */
export async function nixOfSuite(suite: string): Promise<NixPrograms> {
  const { view } = await debianView(suite, ['nix-bin']);
  const database = createStoreDatabase(debianNix);
  const closure = await database.closureOf([view]);
  database.close();
  const folders = closure.paths.map((path) => physicalPath(debianStore, path));
  const libraries = folders
    .flatMap((folder) =>
      ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu', 'usr/lib/nix', 'usr/lib'].map((name) => join(folder, name)),
    )
    .filter((folder) => existsSync(folder) && readdirSync(folder).some((name) => name.includes('.so')));
  const find = (name: string) => folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
  const loader =
    find('usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2') ?? find('lib/x86_64-linux-gnu/ld-linux-x86-64.so.2');
  const program = find('usr/bin/nix');
  if (loader === undefined || program === undefined) throw new Error(`nix-bin of ${suite} has no program.`);
  return {
    command: (name) => [loader, '--argv0', name, '--library-path', libraries.join(':'), program],
    needs: [physicalStoreDirectory(debianStore)],
  };
}
