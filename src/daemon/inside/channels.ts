/** Keeps a connection to the agent of each running berth, over which the commands in it ask: see inside-commands.ts. */
import { randomBytes } from 'node:crypto';
import { asBerthError, BerthError } from '../../core/errors.ts';
import type { EventBus } from '../../core/events.ts';
import { takeQuestions, type HostChannel } from '../../engine/agent/host-channel.ts';
import type { BerthService } from '../../environment/service.ts';
import type { Activity } from '../activity.ts';
import { answerInside, createRateLimit, tellPhases, type RateLimit } from './inside-commands.ts';

export interface ChannelsOptions {
  readonly service: Pick<BerthService, 'editFromInside' | 'get' | 'history' | 'list' | 'rollback'>;
  readonly bus: EventBus;
  readonly activity: Activity;
  readonly onError: (error: BerthError) => void;
}

/** Not beside the start of a berth's command; one that is quicker than this never gets a channel. */
const openAfterMs = 150;
/** After a connection ended while its berth goes on. */
const againAfterMs = 1000;

/** Opens channels to the berths that run, and to each that starts. @returns a function that ends them */
export function createChannels({ service, bus, activity, onError }: ChannelsOptions): { close(): void } {
  const channels = new Map<string, HostChannel | 'opening'>();
  const timers = new Set<NodeJS.Timeout>();
  const limits = new Map<string, RateLimit>();
  let closed = false;
  const isClosed = () => closed;

  const later = (id: string, ms: number) => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      void open(id).catch((error: unknown) => onError(asBerthError(error)));
    }, ms);
    timer.unref();
    timers.add(timer);
  };

  async function open(id: string): Promise<void> {
    if (closed || channels.has(id)) return;
    channels.set(id, 'opening');
    let channel: HostChannel | undefined;
    try {
      const berth = await service.get(id);
      if (berth.state !== 'running') return;
      const limit = limits.get(id) ?? createRateLimit();
      limits.set(id, limit);
      channel = await takeQuestions(berth.agentSocket, async (question) => {
        const subject = `inside:${randomBytes(6).toString('hex')}`;
        const end = activity.begin();
        const tell = tellPhases(question);
        const unsubscribe = bus.subscribe((event) => event.subject === subject && tell(event));
        try {
          return await answerInside(service, berth, question, limit, bus.emitter(subject));
        } finally {
          unsubscribe();
          end();
        }
      });
      channels.set(id, channel);
      // Closed meanwhile: nobody else ends this one.
      if (isClosed()) channel.close();
      await channel.closed;
      later(id, againAfterMs);
    } catch (error) {
      // One that has ended by now needs none.
      limits.delete(id);
      if (!(error instanceof BerthError) || !['BERTH_UNKNOWN', 'AGENT_UNREACHABLE'].includes(error.code)) throw error;
    } finally {
      channels.delete(id);
    }
  }

  const unsubscribe = bus.subscribe((event) => {
    if (event.type === 'berth.state' && event.state === 'running') later(event.id, openAfterMs);
  });
  void service
    .list()
    .then((berths) => {
      for (const { id, state } of berths) if (state === 'running') later(id, 0);
    })
    .catch((error: unknown) => onError(asBerthError(error)));
  return {
    close() {
      closed = true;
      unsubscribe();
      for (const timer of timers) clearTimeout(timer);
      for (const channel of channels.values()) if (channel !== 'opening') channel.close();
    },
  };
}
