/** A layer as the rest of Berth sees it: what points at it, and a way to its bytes. */
import type { Digest } from '../../core/digest.ts';
import type { Descriptor } from '../model.ts';

/**
 * What the tar, frame and header bytes of a layer depend on besides its content. A change of the tar writer, the
 * canonical metadata, the frame size, a level or the version of a compressor must raise it, since layers that were
 * cached under the old number have other digests.
 */
export const layerWriterVersion = 1;

export interface Layer {
  readonly descriptor: Descriptor;
  /** Digest of the tar before it is packed. */
  readonly diffId: Digest;
  /** Bytes of the tar before it is packed; null where it is not known, as of a layer that lies packed in a registry. */
  readonly tarSize: number | null;
  /**
   * Set where the layer holds nothing but store paths of a store of this host: whoever unpacks it can take them from
   * there. They have the modes, owners and times that the tar gives them.
   */
  readonly fromStore?: { readonly physicalStore: string; readonly paths: readonly string[] };
  /**
   * The layer's blob. It need not lie anywhere: it may be written anew from the store as it is read.
   * @throws BerthError LAYER_UNREADABLE
   */
  open(signal?: AbortSignal): AsyncIterable<Uint8Array>;
}

/** What is remembered of a layer that was written once. */
export interface LayerRecord {
  readonly descriptor: Descriptor;
  readonly diffId: Digest;
  readonly tarSize: number;
}
