// Bundles the command and the daemon into dist/. Needs no network; takes well under two seconds.
//   node scripts/build.mjs            builds
//   node scripts/build.mjs --if-stale builds only when a source is newer than the bundle (bin/berth in a checkout)
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import esbuild from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');

// These are loaded from node_modules: libsql is native, dockerode has optional native parts, what makes SBOMs is
// CommonJS with optional parts that are absent, and x509's CommonJS has no named exports once it is bundled.
const external = [
  'libsql',
  'dockerode',
  'cpu-features',
  '@cyclonedx/cyclonedx-library',
  'packageurl-js',
  '@peculiar/x509',
];

/** All of src/ that can end up in a bundle, in one order. */
async function sources() {
  const entries = await readdir(join(root, 'src'), { recursive: true });
  const files = entries
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .map((name) => `src/${name}`);
  return [...files, 'package-lock.json', 'scripts/build.mjs'].sort();
}

async function sourceDigest(files) {
  const hash = createHash('sha256');
  for (const file of files)
    hash
      .update(file)
      .update('\0')
      .update(await readFile(join(root, file)));
  return hash.digest('hex').slice(0, 16);
}

async function isFresh(files) {
  try {
    const built = (await stat(join(dist, '.built'))).mtimeMs;
    const times = await Promise.all(files.map(async (file) => (await stat(join(root, file))).mtimeMs));
    return times.every((time) => time < built);
  } catch {
    return false;
  }
}

const files = await sources();
if (process.argv.includes('--if-stale') && (await isFresh(files))) process.exit(0);

const build = await sourceDigest(files);
const common = {
  absWorkingDir: root,
  outdir: dist,
  write: false,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  minifySyntax: true,
  minifyWhitespace: true,
  keepNames: true,
  sourcemap: 'linked',
  sourcesContent: false,
  external,
  define: { BERTH_BUILD: JSON.stringify(build) },
  // CommonJS dependencies within the bundle call require for Node's own modules.
  banner: {
    js: "import { createRequire as berthCreateRequire } from 'node:module'; const require = berthCreateRequire(import.meta.url);",
  },
  logLevel: 'warning',
};

// The command loads these parts of the daemon only for `serve` and `doctor`. They are left to the daemon's own bundle:
// in one bundle with it, what both use would bring the daemon's whole libraries into each start of the command.
const loadedLate = ['daemon', 'doctor', 'signals'];
const fromDaemonBundle = {
  name: 'from-daemon-bundle',
  setup(build) {
    build.onResolve({ filter: new RegExp(`/daemon/(${loadedLate.join('|')})\\.ts$`) }, ({ path, kind }) =>
      kind === 'dynamic-import'
        ? { path: `../daemon/${path.slice(path.lastIndexOf('/') + 1, -'.ts'.length)}.js`, external: true }
        : undefined,
    );
  },
};

const bundles = await Promise.all([
  esbuild.build({
    ...common,
    entryPoints: { 'cli/main': 'src/cli/main.ts' },
    chunkNames: 'cli/[name]-[hash]',
    plugins: [fromDaemonBundle],
  }),
  esbuild.build({
    ...common,
    entryPoints: {
      'daemon/main': 'src/daemon/main.ts',
      ...Object.fromEntries(loadedLate.map((name) => [`daemon/${name}`, `src/daemon/${name}.ts`])),
    },
    chunkNames: 'daemon/[name]-[hash]',
  }),
]);

// Written file by file with renames, entries last, so that a command started meanwhile finds a whole program. Chunks have
// their content in their name: old ones are kept for an hour, for daemons that run.
const outputs = bundles.flatMap((bundle) => bundle.outputFiles);
const isEntry = (path) => !/-[A-Z0-9]{8}\.js(\.map)?$/.test(path);
for (const file of outputs.toSorted((a, b) => isEntry(a.path) - isEntry(b.path))) {
  await mkdir(dirname(file.path), { recursive: true });
  const temporary = `${file.path}.${process.pid}.tmp`;
  await writeFile(temporary, file.contents);
  await rename(temporary, file.path);
}
const current = new Set(outputs.map((file) => file.path));
const anHourAgo = Date.now() - 3_600_000;
for (const folder of ['cli', 'daemon']) {
  for (const name of await readdir(join(dist, folder))) {
    const path = join(dist, folder, name);
    if (!current.has(path) && (await stat(path)).mtimeMs < anHourAgo) await rm(path, { force: true });
  }
}
// Read by berth-hot, which tells the daemon what build it belongs to.
await writeFile(join(dist, '.built'), build);
