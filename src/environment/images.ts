/** What Berth does with images, as a port: the daemon's API exposes it. */
import type { Digest } from '../core/digest.ts';
import type { Compression } from '../oci/media-types.ts';
import type { CacheReport, EnvironmentRequest, StageTimings, WorkContext } from './service.ts';

export interface BuildImageRequest extends EnvironmentRequest {
  /** Where it goes: see materialise/image-target.ts. None: the layers and the record stay with Berth. */
  readonly to?: readonly string[];
  /** `linux/amd64`, `linux/arm64`; default: this machine's. Several make an index. */
  readonly platforms?: readonly string[];
  /** Default: none where all targets are engines of this host, else the setting. */
  readonly compression?: Compression;
  /** `NAME:TAG` for engines and files. */
  readonly tag?: string;
  /** Whether to keep an SBOM beside the image: in registries and layout folders. */
  readonly sbom?: boolean;
  /** The same for where it comes from. */
  readonly provenance?: boolean;
  /** The file of the private key to sign it with, absolute. */
  readonly sign?: string;
}

export interface BuiltPlatform {
  readonly platform: string;
  readonly imageDigest: Digest;
  readonly environmentDigest: Digest;
  readonly closure: { readonly paths: number; readonly bytes: number };
  readonly cache: CacheReport;
  readonly layers: number;
  /** Bytes of all its layers, as they are packed. */
  readonly bytes: number;
}

/** One target, and what was moved to it. */
export interface WrittenImage {
  readonly target: string;
  /** The name that it has there. */
  readonly reference: string | null;
  readonly movedBytes: number;
  readonly movedLayers: number;
  /** Layers that were there already. */
  readonly keptLayers: number;
  /** In words: `pulled from 127.0.0.1`, `written`. */
  readonly how: string;
  /** What was put beside it. */
  readonly attached?: readonly ('sbom' | 'provenance' | 'signature')[];
}

/** What `berth build --json` prints. */
export interface BuildImageResult {
  /** Of the manifest; of the index where there are several platforms. */
  readonly imageDigest: Digest;
  readonly configDigest: Digest;
  readonly environmentDigest: Digest;
  readonly closure: { readonly paths: number; readonly bytes: number };
  /** A miss where one of the platforms missed. */
  readonly cache: CacheReport;
  readonly compression: Compression;
  readonly platforms: readonly BuiltPlatform[];
  readonly written: readonly WrittenImage[];
  readonly timingsMs: Omit<StageTimings, 'libraries' | 'start'> & { readonly ship: number };
}

export interface ImageService {
  /** Makes the image of a config's environment and brings it where it is wanted. */
  build(request: BuildImageRequest, context: WorkContext): Promise<BuildImageResult>;
}
