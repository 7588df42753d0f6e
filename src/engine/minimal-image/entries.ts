/**
 * What the minimal image holds, as data: busybox, the agent, and the folders and links by which an environment's FHS
 * view shows as /usr, /bin and /lib. Nothing in it depends on the host but the two programs.
 */

import { shellFiles } from './shell-files.ts';

/** A file, folder or link of the image. Paths are absolute, in the order in which they can be made. */
export type ImageEntry =
  | { readonly type: 'directory'; readonly path: string; readonly mode: number }
  | { readonly type: 'file'; readonly path: string; readonly mode: number; readonly content: Uint8Array }
  | { readonly type: 'link'; readonly path: string; readonly target: string };

export interface ImagePrograms {
  /** A static busybox. */
  readonly busybox: Uint8Array;
  readonly agent: Uint8Array;
  /** The filter of system calls that the agent installs, as the kernel takes it. */
  readonly seccompFilter: Uint8Array;
  /** The applets that this busybox has. */
  readonly applets: readonly string[];
}

const directory = (path: string, mode = 0o755): ImageEntry => ({ type: 'directory', path, mode });
const link = (path: string, target: string): ImageEntry => ({ type: 'link', path, target });
const file = (path: string, text: string, mode = 0o644): ImageEntry => ({
  type: 'file',
  path,
  mode,
  content: Buffer.from(text),
});

/**
 * The part that is the same in all berths and is mounted read-only: the programs, and the FHS folder for environments
 * that bring none.
 */
export function sharedEntries(programs: ImagePrograms): ImageEntry[] {
  return [
    directory('/berth'),
    directory('/berth/bin'),
    { type: 'file', path: '/berth/bin/busybox', mode: 0o755, content: programs.busybox },
    { type: 'file', path: '/berth/bin/agent', mode: 0o755, content: programs.agent },
    link('/berth/bin/sh', 'busybox'),
    // The agent by another name: what a berth's own commands ask for.
    link('/berth/bin/berth', 'agent'),
    directory('/berth/etc'),
    { type: 'file', path: '/berth/etc/seccomp.bpf', mode: 0o644, content: programs.seccompFilter },
    ...Object.entries(shellFiles).map(([name, text]) => file(`/berth/etc/${name}`, text)),
    directory('/berth/fhs'),
    // Where no view has them; the agent links them into /etc, as it does a view's.
    directory('/berth/fhs/etc'),
    file(
      '/berth/fhs/etc/passwd',
      'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n',
    ),
    file('/berth/fhs/etc/group', 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n'),
    file('/berth/fhs/etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n'),
    file('/berth/fhs/etc/profile', '# The environment is set by Berth.\n'),
    file('/berth/fhs/etc/shells', '/bin/sh\n/bin/bash\n'),
    directory('/berth/fhs/usr'),
    directory('/berth/fhs/usr/bin'),
    ...[...programs.applets].sort().map((applet) => link(`/berth/fhs/usr/bin/${applet}`, '/berth/bin/busybox')),
    link('/berth/fhs/usr/bin/berth', '/berth/bin/berth'),
    link('/berth/fhs/usr/sbin', 'bin'),
    directory('/berth/fhs/usr/lib'),
    link('/berth/fhs/bin', 'usr/bin'),
    link('/berth/fhs/sbin', 'usr/bin'),
    link('/berth/fhs/lib', 'usr/lib'),
    link('/berth/fhs/lib64', 'usr/lib'),
  ];
}

/** The part that each berth has of its own and may write. */
export function skeletonEntries(): ImageEntry[] {
  return [
    directory('/dev'),
    directory('/etc'),
    // Start-up files of shells that a user starts, as Debian's shells and nixpkgs' name them.
    directory('/etc/fish'),
    directory('/etc/fish/conf.d'),
    directory('/etc/zsh'),
    link('/etc/bash.bashrc', '/berth/etc/bash.bashrc'),
    link('/etc/bashrc', '/berth/etc/bash.bashrc'),
    link('/etc/fish/conf.d/berth.fish', '/berth/etc/berth.fish'),
    link('/etc/zsh/zshrc', '/berth/etc/zshrc'),
    link('/etc/zshrc', '/berth/etc/zshrc'),
    file('/etc/hosts', '127.0.0.1\tlocalhost\n::1\tlocalhost\n'),
    directory('/home'),
    directory('/nix'),
    directory('/nix/store'),
    directory('/proc'),
    directory('/root', 0o700),
    directory('/run'),
    directory('/run/berth'),
    directory('/sys'),
    directory('/tmp', 0o1777),
    directory('/var'),
    directory('/var/cache'),
    directory('/var/lib'),
    directory('/var/log'),
    directory('/var/tmp', 0o1777),
    link('/var/run', '/run'),
    directory('/work'),
    ...['bin', 'lib', 'lib64', 'sbin', 'usr'].map((name) => link(`/${name}`, `/run/berth/fhs/${name}`)),
  ];
}
