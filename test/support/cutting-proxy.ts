/** A TCP proxy on loopback that cuts a connection in the middle when it is told to. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface CuttingProxy {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** Connections cut so far. */
  readonly cuts: number;
  /** Cuts the next connection over which that many bytes went the given way. */
  cutAfter(bytes: number, way: 'up' | 'down'): void;
  close(): Promise<void>;
}

/** @param target `HOST:PORT` */
export async function startCuttingProxy(target: string): Promise<CuttingProxy> {
  const [host = '', port = ''] = target.split(':');
  const sockets = new Set<Socket>();
  let cut: { readonly bytes: number; readonly way: 'up' | 'down' } | undefined;
  let cuts = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(port), host);
    const pass = (from: Socket, to: Socket, way: 'up' | 'down') => {
      let passed = 0;
      sockets.add(from);
      from.on('error', () => undefined);
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.on('data', (piece: Buffer) => {
        passed += piece.length;
        if (cut?.way === way && passed >= cut.bytes) {
          cut = undefined;
          cuts += 1;
          client.resetAndDestroy();
          upstream.destroy();
          return;
        }
        if (!to.write(piece)) {
          from.pause();
          to.once('drain', () => from.resume());
        }
      });
    };
    pass(client, upstream, 'up');
    pass(upstream, client, 'down');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    get cuts() {
      return cuts;
    },
    cutAfter(bytes, way) {
      cut = { bytes, way };
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
