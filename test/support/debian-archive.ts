/** A small Debian archive of the test's own: suites with packages, signed by a key of the test's own. */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { z } from 'zod';
import { debianView, evaluateDebian, runInDebianRoot } from './debian-root.ts';
import { testHome } from './test-home.ts';

export interface ArchiveSuite {
  readonly suite: string;
  /** RFC 2822, as in a Release file. */
  readonly date: string;
  readonly validUntil?: string;
  /** Component to the paragraphs of its Packages file, each without Filename, Size and SHA256. */
  readonly components: Readonly<Record<string, readonly string[]>>;
}

export interface DebianArchive {
  /** What a server would serve: holds dists/ and pool/. */
  readonly folder: string;
  readonly keyring: string;
  /** Writes and signs suites; those of the same name are replaced. */
  publish(suites: readonly ArchiveSuite[]): Promise<void>;
}

const shardEntrySchema = z.object({ version: z.string(), sha256: z.string(), size: z.number() });

/** @param root a temporary folder */
export async function makeDebianArchive(root: string): Promise<DebianArchive> {
  const folder = join(root, 'archive');
  // The one package that is real: Berth takes its busybox.
  const entry = shardEntrySchema.parse(
    await evaluateDebian('bookworm', 'pkgs.debian.archive.members.busybox-static.entry'),
  );
  const busybox = `Package: busybox-static\nVersion: ${entry.version}\nArchitecture: amd64`;
  await mkdir(join(folder, 'pool'), { recursive: true });
  await copyFile(join(testHome, 'debian/downloads', entry.sha256), join(folder, 'pool/busybox-static.deb'));
  const gpg = await debianView('bookworm', ['gpg', 'gpg-agent']);
  const sign = async (files: readonly string[]) => {
    const script = `
      export GNUPGHOME=/tmp/gnupg; mkdir -p /work/key; cp -r /work/key $GNUPGHOME; chmod 700 $GNUPGHOME
      if ! gpg --list-secret-keys test > /dev/null 2>&1; then
        gpg --batch --quiet --passphrase '' --quick-generate-key test@localhost ed25519 sign 0
        gpg --batch --quiet --export > /work/keyring.gpg
      fi
      for file in ${files.join(' ')}; do
        gpg --batch --quiet --yes --clearsign --output "/work/$file/InRelease" "/work/$file/Release"
      done
      gpgconf --kill gpg-agent; rm -f $GNUPGHOME/S.*; cp -r $GNUPGHOME/. /work/key`;
    const result = await runInDebianRoot(gpg, script, { mounts: { [root]: '/work' } });
    if (result.code !== 0) throw new Error(`gpg failed: ${result.stderr}`);
  };
  return {
    folder,
    keyring: join(root, 'keyring.gpg'),
    publish: async (suites) => {
      for (const suite of suites) {
        const main = [...(suite.components['main'] ?? []), busybox];
        await writeSuite(folder, { ...suite, components: { ...suite.components, main } }, entry);
      }
      await sign(suites.map((suite) => `archive/dists/${suite.suite}`));
    },
  };
}

async function writeSuite(
  folder: string,
  { suite, date, validUntil, components }: ArchiveSuite,
  busybox: { readonly sha256: string; readonly size: number },
): Promise<void> {
  const lines: string[] = [];
  for (const [component, paragraphs] of Object.entries(components)) {
    const text = paragraphs
      .map((paragraph) => {
        const isReal = paragraph.startsWith('Package: busybox-static\n');
        const name = /^Package: (.*)$/m.exec(paragraph)?.[1] ?? '';
        const sha256 = isReal ? busybox.sha256 : createHash('sha256').update(paragraph).digest('hex');
        return `${paragraph}\nFilename: pool/${name}.deb\nSize: ${isReal ? busybox.size : 1}\nSHA256: ${sha256}\n`;
      })
      .join('\n');
    const bytes = gzipSync(text);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const path = `${component}/binary-amd64/Packages.gz`;
    lines.push(` ${sha256} ${bytes.length} ${path}`);
    for (const name of [path, `${dirname(path)}/by-hash/SHA256/${sha256}`]) {
      const file = join(folder, 'dists', suite, name);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, bytes);
    }
  }
  const until = validUntil === undefined ? '' : `Valid-Until: ${validUntil}\n`;
  await writeFile(
    join(folder, 'dists', suite, 'Release'),
    `Suite: ${suite}\nCodename: ${suite}\nDate: ${date}\n${until}Acquire-By-Hash: yes\n` +
      `Components: ${Object.keys(components).join(' ')}\nSHA256:\n${lines.join('\n')}\n`,
  );
}

/** Changes a file as someone on the way might. */
export async function tamper(file: string, change: (text: string) => string): Promise<void> {
  await writeFile(file, change(await readFile(file, 'latin1')), 'latin1');
}
