import { BerthError } from '../../core/errors.ts';
import type { Settings } from '../../daemon/settings.ts';
import { aptMirrors, withSecurity } from '../../sources/debian/mirrors.ts';

/**
 * @returns the mirrors that the settings name, else the host's own
 * @throws BerthError MIRROR_UNREACHABLE where there are none
 */
export async function upstreamMirrors(settings: Settings): Promise<{ main: string; security: string }> {
  const named = settings['debian.mirror'];
  const namedSecurity = settings['debian.securityMirror'];
  const known = named
    ? withSecurity({ main: [named], security: namedSecurity ? [namedSecurity] : [] })
    : await aptMirrors();
  const [main] = known.main;
  const [security] = known.security;
  if (main === undefined || security === undefined) {
    throw new BerthError('MIRROR_UNREACHABLE', 'No mirror of Debian is known for the configs of the comparison.', {
      hint: 'Set BERTH_DEBIAN_MIRROR and BERTH_DEBIAN_SECURITY_MIRROR.',
    });
  }
  return { main, security };
}
