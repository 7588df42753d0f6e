/** Media types of the OCI image specification 1.1, and Docker's names for the same things, which pulls still meet. */

export const mediaTypes = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  empty: 'application/vnd.oci.empty.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  layerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  layerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const;

/** How a layer's tar is packed. */
export type Compression = 'none' | 'gzip' | 'zstd';

/** @returns the media type of a layer that is packed so */
export function layerMediaType(compression: Compression): string {
  switch (compression) {
    case 'none':
      return mediaTypes.layer;
    case 'gzip':
      return mediaTypes.layerGzip;
    case 'zstd':
      return mediaTypes.layerZstd;
  }
}

/** @returns how a layer of the media type is packed, or undefined for what is no layer that Berth knows */
export function compressionOf(mediaType: string): Compression | undefined {
  switch (mediaType) {
    case mediaTypes.layer:
      return 'none';
    case mediaTypes.layerGzip:
    case mediaTypes.dockerLayerGzip:
      return 'gzip';
    case mediaTypes.layerZstd:
      return 'zstd';
    default:
      return undefined;
  }
}
