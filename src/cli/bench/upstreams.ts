import { BerthError } from '../../core/errors.ts';
import { debianMirrors } from '../../daemon/debian-mirrors.ts';
import type { Settings } from '../../daemon/settings.ts';

/**
 * @returns the first mirrors that the daemon would ask
 * @throws BerthError MIRROR_UNREACHABLE where there are none
 */
export async function upstreamMirrors(settings: Settings): Promise<{ main: string; security: string }> {
  const {
    main: [main],
    security: [security],
  } = await debianMirrors(settings);
  if (main === undefined || security === undefined) {
    throw new BerthError('MIRROR_UNREACHABLE', 'No mirror of Debian is known for the configs of the comparison.', {
      hint: 'Set BERTH_DEBIAN_MIRROR and BERTH_DEBIAN_SECURITY_MIRROR.',
    });
  }
  return { main, security };
}
