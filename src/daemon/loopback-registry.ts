/**
 * Offers images to engines of this host: a listener on a free port of loopback, there while an image is offered. Docker
 * takes registries on 127.0.0.0/8 without TLS.
 */
import type { Image } from '../oci/image.ts';
import { createImageServer } from '../oci/targets/image-server.ts';
import { type Listener, listenOnLoopback } from './listen.ts';

export interface LoopbackRegistry {
  /** Starts to offer an image. @returns how it is pulled, until `done` */
  serve(image: Image): Promise<{ readonly reference: string; done(): Promise<void> }>;
  close(): Promise<void>;
}

/** How long the listener stays after the last image, so that a build for several engines needs one only. */
const lingerMs = 2000;

export function createLoopbackRegistry(): LoopbackRegistry {
  const server = createImageServer();
  let listening: Promise<Listener> | undefined;
  let leaving: NodeJS.Timeout | undefined;

  const close = async () => {
    clearTimeout(leaving);
    const listener = listening;
    listening = undefined;
    await (await listener)?.close(0);
  };

  return {
    async serve(image) {
      clearTimeout(leaving);
      listening ??= listenOnLoopback((request) => server.fetch(request));
      const { address } = await listening;
      const offer = server.offer(image);
      return {
        reference: `${address.replace('http://', '')}/${offer.repository}@${image.manifest.descriptor.digest}`,
        done() {
          offer.done();
          if (server.offered === 0) leaving = setTimeout(() => void close(), lingerMs).unref();
          return Promise.resolve();
        },
      };
    },
    close,
  };
}
