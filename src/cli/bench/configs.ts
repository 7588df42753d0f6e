/** The configs that the three modes are compared on: real packages of Debian, from small ones to a compiler's. */

export interface BenchConfig {
  readonly name: string;
  readonly packages: readonly string[];
  /** What one added package is. */
  readonly added: string;
}

export const benchConfigs: readonly BenchConfig[] = [
  { name: 'search', packages: ['ripgrep', 'jq'], added: 'tree' },
  { name: 'git', packages: ['git', 'less'], added: 'patch' },
  { name: 'python', packages: ['python3', 'python3-yaml', 'python3-requests'], added: 'sqlite3' },
  { name: 'node', packages: ['nodejs', 'jq'], added: 'curl' },
  { name: 'database', packages: ['sqlite3', 'redis', 'bc'], added: 'jq' },
  { name: 'network', packages: ['curl', 'wget', 'openssl'], added: 'socat' },
  { name: 'archives', packages: ['zip', 'unzip', 'zstd', 'xz-utils'], added: 'file' },
  { name: 'lua', packages: ['lua5.4', 'make'], added: 'less' },
  { name: 'editor', packages: ['vim', 'tmux'], added: 'tree' },
  { name: 'compiler', packages: ['gcc', 'make', 'pkg-config'], added: 'strace' },
];

/** @returns the text of a config.nix that lists the packages in this order */
export function configText(packages: readonly string[]): string {
  return `{ pkgs, ... }: { packages = with pkgs; [ ${packages.map((name) => (/^[\w-]+$/.test(name) ? name : `pkgs."${name}"`)).join(' ')} ]; }\n`;
}

/** @returns the same packages in another order; for two or more, each `turn` from 1 to `length - 1` gives a new one */
export function reordered(packages: readonly string[], turn: number): string[] {
  const by = ((turn - 1) % Math.max(1, packages.length - 1)) + 1;
  return [...packages.slice(by), ...packages.slice(0, by)];
}
