import { aptMirrors, withSecurity, type DebianMirrors } from '../sources/debian/mirrors.ts';
import type { Settings } from './settings.ts';

/** @returns the mirrors that the settings name, else the host's own */
export async function debianMirrors(settings: Settings): Promise<DebianMirrors> {
  const found = await aptMirrors();
  const main = settings['debian.mirror'] === null ? found.main : [settings['debian.mirror']];
  if (settings['debian.securityMirror'] !== null) return { main, security: [settings['debian.securityMirror']] };
  return settings['debian.mirror'] === null ? found : withSecurity({ main, security: [] });
}
