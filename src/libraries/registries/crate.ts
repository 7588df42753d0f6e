/**
 * Crates: cargo downloads the crate and, by its own Cargo.lock, those that it needs, each checked against the index's
 * checksum; then it builds them without a network, since build scripts run.
 */
import { parseCargoLock } from '../cargo/cargo-lock.ts';
import { formatIntegrity } from '../integrity.ts';
import { noVersion } from './no-version.ts';
import type { PackageRegistry } from './registry.ts';
import { clientFailed } from './session.ts';

const env = {
  CARGO_HOME: '/work/cargo',
  CARGO_NET_GIT_FETCH_WITH_CLI: 'false',
  CARGO_TERM_PROGRESS_WHEN: 'never',
  CARGO_REGISTRIES_CRATES_IO_PROTOCOL: 'sparse',
  CARGO_TARGET_DIR: '/work/target',
};

export const crateRegistry: PackageRegistry = {
  kind: 'crate',
  // Debian's stable suites have a newer cargo for browsers, which reads today's index.
  tools: [
    ['cargo-web', 'rustc-web', 'gcc', 'libc6-dev', 'ca-certificates'],
    ['cargo', 'gcc'],
  ],
  async resolve(name, wanted, session) {
    await session.write('Cargo.toml', manifest(name, requirement(wanted)));
    await session.write('src/lib.rs', '');
    const found = await session.run({ argv: ['cargo', 'fetch'], env }, { network: true });
    const said = found.tail.join('\n');
    if (found.code !== 0) {
      const versions = /candidate versions found which didn't match: ([^\n]*)/.exec(said)?.[1];
      if (versions !== undefined) {
        throw noVersion('crates', name, wanted, versions.replace(/, \.\.\.$/, '').split(/,\s*/));
      }
      if (/no matching package/.test(said)) throw noVersion('crates', name, wanted, []);
      throw clientFailed(`cargo fetch ${name}`, found);
    }
    const crate = parseCargoLock(await session.read('Cargo.lock'), 'Cargo.lock').find((one) => one.name === name);
    if (!crate) throw noVersion('crates', name, wanted, []);
    const { version, integrity } = crate;
    // The sources lie in a folder that is named after the registry.
    const unpacked = await session.run({
      argv: ['/bin/sh', '-c', `mv cargo/registry/src/*/${name}-${version} crate && rm -f Cargo.toml Cargo.lock`],
    });
    if (unpacked.code !== 0) throw clientFailed(`unpacking ${name}`, unpacked);
    const manifestPath = ['--manifest-path', 'crate/Cargo.toml'];
    const needed = await session.run({ argv: ['cargo', 'fetch', '--locked', ...manifestPath], env }, { network: true });
    if (needed.code !== 0) throw clientFailed(`cargo fetch --locked of ${name}`, needed);
    // rustc looks for its libraries beside where it really is, which in a view is one package alone.
    const inUsr = await session.run({ argv: ['/bin/sh', '-c', 'test -d /usr/lib/rustlib'] });
    const sysroot = inUsr.code === 0 ? '--sysroot=/usr ' : '';
    const built = await session.run({
      argv: ['cargo', 'install', '--offline', '--locked', '--no-track', '--root', 'out', '--path', 'crate'],
      env: { ...env, RUSTFLAGS: `${sysroot}--remap-path-prefix=/work=/build` },
    });
    if (built.code !== 0) throw clientFailed(`cargo install ${name} ${version}`, built);
    const store = await session.freeze('out', `${name}-${version}`);
    return { version, origin: 'crates', pin: { path: store, checksum: formatIntegrity(integrity) } };
  },
};

/** `13.0.0` is exact and `13` the beginning of one; ranges are cargo's. */
function requirement(wanted: string): string {
  const text = wanted.trim();
  if (text === 'latest') return '*';
  if (/^\d+\.\d+\.\d+/.test(text)) return `=${text}`;
  return /^\d+(?:\.\d+)?$/.test(text) ? `${text}.*` : text.split(/\s+(?=[<>=~^])/).join(', ');
}

function manifest(name: string, version: string): string {
  return [
    '[package]\nname = "berth"\nversion = "0.0.0"\nedition = "2018"\n',
    `[dependencies]\n${JSON.stringify(name)} = { version = ${JSON.stringify(version)}, default-features = false }\n`,
  ].join('\n');
}
