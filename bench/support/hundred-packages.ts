/** Packages of Debian for benches that ask how something grows with their number. */
/** What most people ask for. */
export const tenPackages = ['python3', 'nodejs', 'git', 'ripgrep', 'gcc', 'jq', 'sqlite3', 'curl', 'vim', 'tmux'];

/** The same and more, of which none keeps another out. */
export const hundredPackages = [
  ...tenPackages,
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
if (hundredPackages.length !== 100) throw new Error(`There are ${hundredPackages.length} packages.`);
