// Writes the pages of docs/ that are generated from the code: npm run docs
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import esbuild from 'esbuild';
import prettier from 'prettier';

const root = fileURLToPath(new URL('..', import.meta.url));
const bundle = join(root, `dist/docs.${process.pid}.mjs`);
try {
  await esbuild.build({
    absWorkingDir: root,
    entryPoints: ['src/cli/docs/pages.ts'],
    outfile: bundle,
    bundle: true,
    format: 'esm',
    platform: 'node',
    packages: 'external',
    logLevel: 'warning',
  });
  const { generatedPages } = await import(pathToFileURL(bundle).href);
  for (const [path, text] of Object.entries(await generatedPages())) {
    const file = join(root, path);
    await mkdir(dirname(file), { recursive: true });
    const options = { ...(await prettier.resolveConfig(file)), filepath: file };
    await writeFile(file, path.endsWith('.md') ? await prettier.format(text, options) : text);
    console.log(path);
  }
} finally {
  await rm(bundle, { force: true });
}
