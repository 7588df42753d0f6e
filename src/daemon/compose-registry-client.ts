/** The client of other registries, with the credentials that Docker keeps. */
import { version } from '../core/version.ts';
import { createRegistryClient, type RegistryClient } from '../oci/remote/client.ts';
import { dockerCredentials } from '../oci/remote/credentials.ts';
import { dockerConfigFolder, type Settings } from './settings.ts';

export function composeRegistryClient(settings: Settings): RegistryClient {
  return createRegistryClient({
    credentials: dockerCredentials({ folder: dockerConfigFolder(settings) }),
    insecure: settings['registries.insecure'],
    userAgent: `berth/${version}`,
  });
}
