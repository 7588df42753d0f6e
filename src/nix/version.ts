/** Which Nix it is. Differences between versions are decided by this, in src/nix only. */
import { BerthError } from '../core/errors.ts';
import type { NixProcess } from './nix-process.ts';

export interface NixVersion {
  readonly major: number;
  readonly minor: number;
  /** As Nix says it: `2.26.3`. */
  readonly text: string;
}

/** The oldest version that Berth is tested with: the one of Debian 12. */
export const oldestNix = { major: 2, minor: 8 } as const;

/**
 * @throws BerthError TOOL_MISSING when Nix is not installed or too old
 */
export async function detectVersion(nix: NixProcess): Promise<NixVersion> {
  const output = await nix.require('nix-store', ['--version']);
  const version = parseVersion(output);
  if (!version) throw new BerthError('TOOL_MISSING', `\`nix-store --version\` printed no version: ${output.trim()}`);
  if (!isAtLeast(version, oldestNix.major, oldestNix.minor)) {
    throw new BerthError('TOOL_MISSING', `Nix ${version.text} is too old: Berth needs 2.8 or later.`);
  }
  return version;
}

/** @returns the version in a text such as `nix-store (Nix) 2.34.8`, or undefined */
export function parseVersion(output: string): NixVersion | undefined {
  const match = /\) (\d+)\.(\d+)([^\s]*)/.exec(output);
  if (!match) return undefined;
  const [, major = '', minor = '', rest = ''] = match;
  return { major: Number(major), minor: Number(minor), text: `${major}.${minor}${rest}` };
}

/** @returns whether the version is that one or a later one */
export function isAtLeast(version: NixVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}
