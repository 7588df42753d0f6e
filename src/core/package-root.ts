/** Where this package lies: the folder with bin/, native/ and scripts/. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Found by its package.json, since bundles and sources lie at different depths. */
export const packageRoot = find(dirname(fileURLToPath(import.meta.url)));

function find(folder: string): string {
  return existsSync(join(folder, 'package.json')) || folder === '/' ? folder : find(dirname(folder));
}
