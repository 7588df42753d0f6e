/** Pushes a built image by the registry client, and tells what moved as `berth build` tells it. */
import type { Moved } from '../environment/create-images.ts';
import type { WrittenImage } from '../environment/images.ts';
import type { WorkContext } from '../environment/service.ts';
import type { Image, MultiPlatformImage } from '../oci/image.ts';
import type { RegistryClient } from '../oci/remote/client.ts';
import { pushImage } from '../oci/remote/push.ts';
import { parseReference } from '../oci/remote/reference.ts';

/** @throws BerthError what pushImage throws */
export async function pushTo(
  client: RegistryClient,
  image: Image | MultiPlatformImage,
  reference: string,
  { emit, signal }: WorkContext,
): Promise<Moved & Pick<WrittenImage, 'reference'>> {
  const pushed = await pushImage(client, image, parseReference(reference), { emit, ...(signal ? { signal } : {}) });
  return {
    reference: pushed.reference,
    movedBytes: pushed.movedBytes,
    movedLayers: pushed.movedBlobs,
    keptLayers: pushed.keptBlobs + pushed.mountedBlobs,
    how: pushed.mountedBlobs > 0 ? `pushed, ${pushed.mountedBlobs} of them taken from another repository` : 'pushed',
  };
}
