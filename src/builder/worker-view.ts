/** What a worker sees of the machine, for both isolations: the same folders at the same paths. */
import { lstatSync, readlinkSync, statSync } from 'node:fs';
import type { NixProcess } from '../nix/nix-process.ts';

export interface ViewMount {
  readonly path: string;
  readonly source: string;
  readonly readOnly: boolean;
}

export interface WorkerView {
  /** Links of the root folder: path to target. */
  readonly links: Readonly<Record<string, string>>;
  /** Outer ones before those within them. */
  readonly mounts: readonly ViewMount[];
}

/**
 * What Nix needs as root: to make the sandboxes of builds (mounts, namespaces, identities) and to write files of any owner.
 * SETFCAP: the kernel wants it from whoever maps root into a user namespace.
 */
export const workerCapabilities = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_NET_ADMIN',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_ADMIN',
  'CAP_SYS_CHROOT',
] as const;

/** Programs and libraries; and what name look-ups and certificates need. Not the rest of /etc, no home, no /var, no /run. */
const systemFolders = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];
const systemFiles = [
  ...['/etc/resolv.conf', '/etc/hosts', '/etc/nsswitch.conf', '/etc/services', '/etc/protocols', '/etc/host.conf'],
  ...['/etc/ld.so.cache', '/etc/ssl/certs', '/etc/pki/tls', '/etc/pki/ca-trust', '/etc/localtime', '/etc/alternatives'],
];

/**
 * @param temporary the worker's own folder for what builds need while they run, which becomes /tmp
 * @param cacheUrls binary caches that the task may ask; those in folders are shown
 */
export function workerView(nix: NixProcess, temporary: string, cacheUrls: readonly string[]): WorkerView {
  const links: Record<string, string> = {};
  const mounts: ViewMount[] = [];
  const show = (path: string, readOnly = true, source = path) => {
    if (isThere(source)) mounts.push({ path, source, readOnly });
  };
  for (const path of systemFolders) {
    const status = lstatSync(path, { throwIfNoEntry: false });
    if (status?.isSymbolicLink()) links[path] = readlinkSync(path);
    else if (status) show(path);
  }
  for (const path of systemFiles) show(path);
  show('/tmp', false, temporary);
  // Programs that lie elsewhere, as a Nix in the host's own store does.
  for (const path of nix.programs.needs) show(path);
  const certificates = nix.environment('client')['SSL_CERT_FILE'];
  if (certificates !== undefined && !certificates.startsWith('/etc/ssl/certs/')) show(certificates);
  for (const folder of foldersOf([...nix.settings.substituters, ...cacheUrls])) show(folder);
  if (nix.store.kind === 'system' || nix.hostStorePath() !== undefined) show('/nix', nix.store.kind !== 'system');
  if (nix.store.kind === 'managed') show(nix.store.root, false);
  // Nix's configuration, and its caches of what substituters have.
  show(nix.home, false);
  const shell = nix.settings.sandboxShell;
  if (shell !== undefined && !systemFolders.some((folder) => shell.startsWith(`${folder}/`))) show(shell);
  return { links, mounts: outerFirst(mounts) };
}

function foldersOf(urls: readonly string[]): string[] {
  return urls.flatMap((url) => (url.startsWith('file:///') ? [new URL(url).pathname] : []));
}

/** A folder that is mounted after one within it would hide that. */
function outerFirst(mounts: readonly ViewMount[]): ViewMount[] {
  return [...mounts].sort((a, b) => a.path.split('/').length - b.path.split('/').length);
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** @returns whether a mount's source is a folder */
export function isFolder(source: string): boolean {
  return statSync(source).isDirectory();
}
