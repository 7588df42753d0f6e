/** A folder served over HTTP on loopback, as a mirror or binary cache is; it counts what is asked for. */
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';

export interface HttpFolder {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** Paths of the requests that were answered, in order. */
  readonly requests: string[];
  close(): Promise<void>;
}

export async function serveFolder(folder: string): Promise<HttpFolder> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname);
    const file = join(folder, normalize(path));
    const status = statSync(file, { throwIfNoEntry: false });
    if (!status?.isFile()) {
      response.writeHead(404).end();
      return;
    }
    requests.push(path);
    response.writeHead(200, { 'content-length': status.size });
    if (request.method === 'HEAD') response.end();
    else createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
