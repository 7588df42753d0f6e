/**
 * Closures of real Debian packages, worked out from the package lists that apt has on this host: what the layer rules
 * are compared on. A path is a package, its size the Installed-Size, its references what it depends on.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ClosureGraph, ClosurePath } from '../../src/oci/layers/closure-graph.ts';
import { parseParagraphs } from '../../src/sources/debian/control.ts';
import { parseDependencies } from '../../src/sources/debian/dependency.ts';

/** A set of packages that depend on each other; indices are into `paths`. */
export interface PackageGraph {
  /** What it was read from, for the record. */
  readonly origin: string;
  readonly paths: ReadonlyMap<string, ClosurePath>;
}

const listsFolder = '/var/lib/apt/lists';
const fields = new Set(['package', 'version', 'installed-size', 'depends', 'pre-depends', 'provides']);

/** Reads the largest package list of the Debian archive's `main` that `apt-get update` left on this host. */
export function readPackageGraph(suite = 'bookworm'): PackageGraph {
  const pattern = new RegExp(`_dists_${suite}_main_binary-amd64_Packages(\\.\\w+)?$`);
  const list = readdirSync(listsFolder).find((name) => pattern.test(name));
  if (list === undefined) throw new Error(`apt has no package list of ${suite} here: run apt-get update`);
  // apt-helper unpacks whatever apt has packed its lists with.
  const text = execFileSync('/usr/lib/apt/apt-helper', ['cat-file', join(listsFolder, list)], {
    maxBuffer: 256 * 1024 * 1024,
    encoding: 'utf8',
  });
  const packages = new Map<string, { version: string; size: number; depends: string[][] }>();
  const providers = new Map<string, string[]>();
  for (const paragraph of parseParagraphs(text, fields)) {
    const name = paragraph.get('package') ?? '';
    if (packages.has(name)) continue;
    const groups = ['pre-depends', 'depends'].flatMap((field) => parseDependencies(paragraph.get(field)));
    packages.set(name, {
      version: paragraph.get('version') ?? '0',
      size: Math.max(1, Number(paragraph.get('installed-size') ?? 1)) * 1024,
      depends: groups.map((group) => group.map((alternative) => alternative.name)),
    });
    for (const provided of parseDependencies(paragraph.get('provides')).flat()) {
      providers.set(provided.name, [...(providers.get(provided.name) ?? []), name]);
    }
  }
  const storePath = (name: string) => fakeStorePath(name, packages.get(name)?.version ?? '0');
  const paths = new Map<string, ClosurePath>();
  for (const [name, found] of packages) {
    const references = found.depends
      .map((group) => {
        for (const alternative of group) {
          if (packages.has(alternative)) return alternative;
          const provider = providers.get(alternative)?.sort()[0];
          if (provider !== undefined) return provider;
        }
        return undefined;
      })
      .filter((target) => target !== undefined && target !== name);
    paths.set(name, {
      path: storePath(name),
      narSize: found.size,
      references: [...new Set(references as string[])].map(storePath),
    });
  }
  return { origin: `Debian ${suite} main amd64, ${packages.size} packages`, paths };
}

/** A path of the store's form for a package; its hash part only has to be the same each time. */
function fakeStorePath(name: string, version: string): string {
  let hash = 0n;
  for (const byte of Buffer.from(`${name}=${version}`)) hash = (hash * 1099511628211n + BigInt(byte)) % (1n << 160n);
  const alphabet = '0123456789abcdfghijklmnpqrsvwxyz';
  let text = '';
  for (let digit = 0; digit < 32; digit += 1) {
    text += alphabet[Number(hash & 31n)] ?? '0';
    hash >>= 5n;
  }
  return `/nix/store/${text}-${name}-${version.replace(/^\d+:/, '').replace(/[^0-9a-zA-Z+\-._?=]/g, '.')}`;
}

/** @returns the closure of some packages of the graph; names that the graph lacks are an error */
export function closureOf(graph: PackageGraph, names: readonly string[]): ClosureGraph {
  const byPath = new Map([...graph.paths.values()].map((path) => [path.path, path]));
  return closureIn(byPath, rootsOf(graph, names));
}

function rootsOf(graph: PackageGraph, names: readonly string[]): string[] {
  return names.map((name) => {
    const found = graph.paths.get(name);
    if (!found) throw new Error(`no package ${name}`);
    return found.path;
  });
}

function closureIn(byPath: ReadonlyMap<string, ClosurePath>, roots: readonly string[]): ClosureGraph {
  const seen = new Map<string, ClosurePath>();
  const queue = [...roots];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    const found = byPath.get(path);
    if (!found || seen.has(path)) continue;
    seen.set(path, found);
    queue.push(...found.references);
  }
  return { roots, paths: [...seen.values()] };
}

/** Developer packages, most popular first; the order is a judgement, the law of popularity is Zipf's. */
export const popularPackages: readonly string[] =
  `git python3 curl nodejs gcc make jq vim wget python3-pip g++ npm openssh-client unzip postgresql-client golang-go
  ripgrep build-essential cmake python3-venv zip tmux htop sqlite3 rsync default-jdk less gdb redis-tools python3-numpy
  ffmpeg imagemagick ruby php-cli cargo rustc docker.io strace tree nano pkg-config clang fd-find fzf zsh python3-dev
  libssl-dev maven bat gnupg python3-requests php-fpm nginx mariadb-client python3-pandas libpq-dev ca-certificates
  postgresql redis-server lua5.4 python3-scipy perl graphviz autoconf libtool valgrind clang-format protobuf-compiler
  python3-matplotlib shellcheck neovim emacs-nox pandoc ninja-build meson bison flex llvm lldb gradle ansible yarnpkg
  texlive-latex-base r-base octave ghc cabal-install erlang-base elixir ocaml opam julia scala clojure leiningen
  racket sbcl guile-3.0 nasm yasm mono-devel dotnet-host php-mysql php-xml composer rails bundler ruby-dev
  sbt default-mysql-server memcached mosquitto-clients apache2 haproxy squid socat netcat-openbsd nmap tcpdump iperf3
  dnsutils whois iproute2 net-tools lsof sysstat iotop parallel silversearcher-ag exuberant-ctags universal-ctags
  subversion mercurial git-lfs tig direnv entr inotify-tools watchman httpie aria2 rclone borgbackup restic
  python3-pytest python3-django python3-flask python3-sqlalchemy python3-psycopg2 python3-yaml python3-jinja2 ipython3
  jupyter-notebook python3-sklearn python3-opencv black mypy pylint flake8 poppler-utils tesseract-ocr ghostscript
  inkscape gnuplot-nox sox libxml2-utils xmlstarlet moreutils bc file patch diffutils xz-utils zstd p7zip-full brotli
  gettext asciidoctor doxygen cppcheck ccache distcc gfortran libopenblas-dev libopenmpi-dev libboost-dev libeigen3-dev
  libgtk-3-dev qtbase5-dev libsdl2-dev chromium firefox-esr xvfb openjdk-17-jre-headless ant kotlin groovy swi-prolog
  gnat fpc nim rakudo hugo jekyll vim-nox minicom qemu-utils lcov`.split(/\s+/);

export interface CorpusOptions {
  readonly seed: number;
  readonly configs: number;
  /** How many of the popular packages take part. */
  readonly packages: number;
  /** Picks a config: least and most. */
  readonly picks: readonly [number, number];
  /** Zipf's exponent. */
  readonly exponent: number;
}

export const defaultCorpus: Omit<CorpusOptions, 'seed'> = { configs: 300, packages: 150, picks: [3, 8], exponent: 1 };

/** @returns the packages of seeded random configs: each draws its number of picks, then packages by Zipf's law */
export function drawConfigs(names: readonly string[], options: CorpusOptions): string[][] {
  const random = mulberry32(options.seed);
  const weights = names.map((_, rank) => 1 / (rank + 1) ** options.exponent);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const draw = () => {
    let rest = random() * total;
    for (const [index, weight] of weights.entries()) {
      rest -= weight;
      if (rest < 0) return names[index] ?? '';
    }
    return names.at(-1) ?? '';
  };
  return Array.from({ length: options.configs }, () => {
    const [least, most] = options.picks;
    const count = least + Math.floor(random() * (most - least + 1));
    const picks = new Set<string>();
    while (picks.size < count) picks.add(draw());
    return [...picks];
  });
}

/** A small seeded generator (Tommy Ettinger's mulberry32), so that a corpus is the same everywhere. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** @returns the closures of a whole corpus, and the names that took part */
export function drawCorpus(graph: PackageGraph, options: CorpusOptions): { closures: ClosureGraph[]; names: string[] } {
  const names = popularPackages.filter((name) => graph.paths.has(name)).slice(0, options.packages);
  const byPath = new Map([...graph.paths.values()].map((path) => [path.path, path]));
  const closures = drawConfigs(names, options).map((picks) => closureIn(byPath, rootsOf(graph, picks)));
  return { closures, names };
}

/** @returns a function that tells which package a path of the graph is */
export function packageOf(graph: PackageGraph): (path: string) => string {
  const names = new Map([...graph.paths].map(([name, { path }]) => [path, name]));
  return (path) => names.get(path) ?? path;
}
