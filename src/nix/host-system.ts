/** Which system packages are built for here. */

/** @returns Nix's name of this machine: `x86_64-linux` */
export function hostSystem(): string {
  const cpu = { x64: 'x86_64', arm64: 'aarch64', ia32: 'i686', arm: 'armv7l' }[process.arch as string] ?? process.arch;
  return `${cpu}-${process.platform}`;
}
