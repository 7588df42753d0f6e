/** Evaluation time against the number of packages: 1, 10, 100, on the source debian. */
import { createBerthHome } from './support/berth-home.ts';
import { series, writeResult, type Series } from './support/measure.ts';

const ten = ['python3', 'nodejs', 'git', 'ripgrep', 'gcc', 'jq', 'sqlite3', 'curl', 'vim', 'tmux'];
const hundred = [
  ...ten,
  ...['bash', 'coreutils', 'findutils', 'grep', 'sed', 'gawk', 'make', 'perl', 'ruby', 'golang-go', 'redis', 'g++'],
  ...['ffmpeg', 'imagemagick', 'wget', 'rsync', 'zip', 'unzip', 'xz-utils', 'zstd', 'bzip2', 'file', 'less', 'nano'],
  ...['htop', 'strace', 'gdb', 'valgrind', 'cmake', 'ninja-build', 'pkg-config', 'autoconf', 'automake', 'libtool'],
  ...['bison', 'flex', 'clang', 'lld', 'rustc', 'cargo', 'ghc', 'ocaml', 'erlang-base', 'elixir', 'lua5.4', 'php-cli'],
  ...['python3-pip', 'python3-venv', 'python3-numpy', 'python3-requests', 'python3-yaml', 'python3-flask'],
  ...['postgresql-client', 'mariadb-client', 'memcached', 'nginx-light', 'apache2-utils', 'openssl', 'gnupg', 'socat'],
  ...['netcat-openbsd', 'dnsutils', 'iproute2', 'iputils-ping', 'tcpdump', 'nmap', 'openssh-client', 'screen', 'fzf'],
  ...['bat', 'fd-find', 'tree', 'ncdu', 'parallel', 'pandoc', 'graphviz', 'gnuplot-nox', 'shellcheck', 'aspell', 'bc'],
  ...['dc', 'time', 'patch', 'diffutils', 'cpio', 'whois', 'moreutils', 'pv', 'lsof', 'psmisc', 'rlwrap'],
].slice(0, 100);
if (hundred.length !== 100) throw new Error(`There are ${hundred.length} packages.`);

const runs = 15;
const storeRoot = process.env['BERTH_STORE_ROOT'];
const berth = createBerthHome(storeRoot);
try {
  const all: Record<string, Series> = {};
  for (const packages of [ten.slice(0, 1), ten, hundred]) {
    const list = packages.map((name) => `pkgs."${name}"`).join(' ');
    const config = (edit: number) => `# ${edit}\n{ pkgs, ... }: { packages = [ ${list} ]; }\n`;
    const project = berth.project(`p${packages.length}`, config(-1));
    const { closure } = berth.environment(project).environment;
    const samples: number[] = [];
    for (let edit = 0; edit < runs; edit += 1) {
      berth.project(`p${packages.length}`, config(edit));
      samples.push(berth.environment(project).timingsMs.evaluate);
    }
    all[`packages${packages.length}`] = series(
      `evaluation of ${packages.length} packages, ${closure.paths.length} store paths, after an edit that means nothing`,
      'ms',
      samples,
    );
  }
  const figures = Object.fromEntries(Object.entries(all).map(([name, { median }]) => [`${name}Ms`, median]));
  writeResult({
    bench: 'evaluation',
    question: 'How does the time of an evaluation grow with the number of packages?',
    series: all,
    figures,
    bounds: [
      {
        what: 'evaluation of ten packages, sandboxed and traced',
        bound: 'under 500 ms',
        met: (all['packages10']?.median ?? Infinity) < 500,
      },
    ],
  });
} finally {
  berth.close();
}
