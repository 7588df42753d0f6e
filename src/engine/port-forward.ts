/**
 * Published ports. A port of the host's loopback interface is bridged through the agent to the same interface inside the
 * container, so it needs no privileges, no bridge and no firewall rules, and is the same with every engine.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { BerthError } from '../core/errors.ts';
import { isErrno } from '../core/files.ts';
import { connectToPort } from './agent/agent-client.ts';
import { agentSocket } from './run-directory.ts';

export interface PortForwards {
  /**
   * Listens for all of a berth's ports, or for none.
   * @throws BerthError PORT_TAKEN
   */
  open(berth: {
    readonly id: string;
    readonly runDirectory: string;
    readonly ports: readonly { readonly host: number; readonly container: number }[];
  }): Promise<void>;
  /** Stops listening and ends the connections. */
  close(id: string): Promise<void>;
}

interface Forward {
  readonly server: Server;
  readonly connections: Set<Socket>;
}

export function createPortForwards(): PortForwards {
  const forwards = new Map<string, Forward[]>();

  async function close(id: string): Promise<void> {
    const open = forwards.get(id) ?? [];
    forwards.delete(id);
    await Promise.all(
      open.map(async ({ server, connections }) => {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        for (const socket of connections) socket.destroy();
        await closed;
      }),
    );
  }

  return {
    async open({ id, runDirectory, ports }) {
      await close(id);
      const opened: Forward[] = [];
      forwards.set(id, opened);
      try {
        for (const { host, container } of ports) opened.push(await listen(runDirectory, host, container));
      } catch (error) {
        await close(id);
        throw error;
      }
    },
    close,
  };
}

async function listen(runDirectory: string, hostPort: number, containerPort: number): Promise<Forward> {
  const connections = new Set<Socket>();
  // Half-open: a client that has sent all it has still waits for the answer.
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    connections.add(client);
    client.on('close', () => connections.delete(client));
    client.on('error', () => client.destroy());
    bridge(client, runDirectory, containerPort).catch(() => client.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        isErrno(error, 'EADDRINUSE', 'EACCES')
          ? new BerthError('PORT_TAKEN', `Port ${hostPort} of this machine cannot be published.`, { cause: error })
          : error,
      ),
    );
    server.listen(hostPort, '127.0.0.1', () => resolve());
  });
  return { server, connections };
}

async function bridge(client: Socket, runDirectory: string, containerPort: number): Promise<void> {
  const inside = await connectToPort(agentSocket(runDirectory), containerPort);
  inside.on('error', () => client.destroy());
  inside.on('close', () => client.destroySoon());
  client.on('close', () => inside.destroySoon());
  client.pipe(inside);
  inside.pipe(client);
}
