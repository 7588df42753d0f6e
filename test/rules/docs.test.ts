/** The generated pages say what the code does: `npm run docs` writes them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import prettier from 'prettier';
import { describe, expect, it } from 'vitest';
import { errorCodes, generatedPages } from '../../src/cli/docs/pages.ts';
import { version } from '../../src/core/version.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');

describe('generated pages', async () => {
  const pages = Object.entries(await generatedPages());
  it.each(pages)('%s is equal to what the code says', async (path, text) => {
    const options = { ...(await prettier.resolveConfig(join(root, path))), filepath: path };
    const wanted = path.endsWith('.md') ? await prettier.format(text, options) : text;
    expect(read(path) === wanted, `${path} is out of date: run \`npm run docs\` and commit it.`).toBe(true);
  });
});

it('docs/errors.md has exactly the codes of the catalogue', () => {
  const documented = [...read('docs/errors.md').matchAll(/^\| `([A-Z_]+)`/gm)].map((match) => match[1]);
  expect(documented).toEqual(errorCodes());
});

it('the version is that of package.json', () => {
  expect((JSON.parse(read('package.json')) as { version: string }).version).toBe(version);
});
