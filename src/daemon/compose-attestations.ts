/** The wiring of what is said of images: the store's facts, the key's password, and where it is kept. */
import { createAttestStep } from '../environment/attest-step.ts';
import type { ImagesOptions } from '../environment/create-images.ts';
import type { Nix } from '../nix/nix.ts';
import { layoutTarget, registryTarget } from '../oci/attest/attachment-target.ts';
import { parseReference } from '../oci/remote/reference.ts';
import { composeRegistryClient } from './compose-registry-client.ts';
import { signingPassword, type Settings } from './settings.ts';

export function composeAttestations(settings: Settings, nix: Nix): Pick<ImagesOptions, 'attest' | 'beside'> {
  return {
    attest: createAttestStep({
      store: nix.store,
      pathInfo: (hashPart) => nix.pathInfo(hashPart),
      password: () => signingPassword(settings),
    }),
    beside(target, name) {
      if (target.kind === 'registry')
        return registryTarget(composeRegistryClient(settings), parseReference(target.reference));
      return target.kind === 'oci' ? layoutTarget(target.path, name) : undefined;
    },
  };
}
