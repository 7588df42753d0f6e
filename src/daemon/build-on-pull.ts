/**
 * Builds what is pulled and not there. Whoever pulls waits as long as clients usually do; past that the pull is told to
 * come again, while the build goes on.
 */
import { asBerthError, BerthError } from '../core/errors.ts';
import type { Emit } from '../core/events.ts';
import { abortable } from '../core/single-flight.ts';
import type { NamedImage } from '../environment/named-image.ts';
import type { OnMissing } from '../registry/context.ts';
import { builtPrefix, parseImageName, storedRepository } from '../registry/names/image-name.ts';
import type { Registry } from '../registry/registry.ts';

export interface BuildOnPullOptions {
  readonly image: NamedImage;
  readonly putImage: Registry['putImage'];
  /** Whether a repository holds anything. */
  readonly exists: (repository: string) => boolean;
  /** Nix's name of the system that images are built for. */
  readonly system: string;
  /** Milliseconds that a pull waits. */
  readonly waitMs: number;
  readonly emit: Emit;
  /** Told when a build begins; what it returns is called when it has ended. */
  readonly beginWork: () => () => void;
}

export interface BuildOnPull {
  readonly onMissing: OnMissing;
  /** Where a spelling is stored: what was pushed under the very name goes before what is built. */
  readonly storedName: (repository: string) => string;
  /** Ends what is being built. */
  close(): Promise<void>;
}

type Stored = NonNullable<Awaited<ReturnType<OnMissing>>>;

/** When a client should come again; most never do by themselves, so this is for people and scripts. */
const retryAfterSeconds = 10;
/** Longer than that. */
const failureKeptMs = 15_000;

export function createBuildOnPull(options: BuildOnPullOptions): BuildOnPull {
  const flights = new Map<string, Promise<Stored>>();
  const closing = new AbortController();

  function flight(packages: readonly string[], repository: string, tag: string, tenant: string): Promise<Stored> {
    const key = `${repository}:${tag}`;
    const running = flights.get(key);
    if (running) return running;
    const end = options.beginWork();
    const start = performance.now();
    const work = async (): Promise<Stored> => {
      const { signal } = closing;
      const image = await options.image(packages, tag, { emit: options.emit, signal, tenant });
      const costMs = Math.round(performance.now() - start);
      const { digest } = await options.putImage(repository, tag, image, { costMs, signal });
      return { repository, digest };
    };
    const started = work().finally(end);
    started.then(
      () => flights.delete(key),
      // Who was told to come again is told then why it failed.
      () => setTimeout(() => flights.delete(key), failureKeptMs).unref(),
    );
    flights.set(key, started);
    return started;
  }

  return {
    async onMissing(name, reference, { signal, tenant }) {
      // Digests of what is not there can't be built, and what is pushed is not a list of packages.
      if (!('tag' in reference) || options.exists(name)) return undefined;
      const { packages, system } = parseImageName(name);
      const repository = storedRepository({ packages, system });
      if (system !== undefined && system !== options.system) {
        throw new BerthError('IMAGE_NAME_INVALID', `Images by name are built for ${options.system} here.`, {
          hint: 'Build one for another platform from a config: `berth build --platform linux/arm64`.',
        });
      }
      const patience = AbortSignal.timeout(options.waitMs);
      try {
        const made = flight(packages, repository, reference.tag, tenant);
        return await abortable(made, AbortSignal.any([signal, patience]));
      } catch (error) {
        if (!patience.aborted || error !== patience.reason) throw asBerthError(error);
        throw new BerthError('IMAGE_NOT_READY', `The image of ${packages.join(', ')} is still being built.`, {
          details: { retryAfterSeconds },
        });
      }
    },
    storedName(name) {
      if (name.startsWith(builtPrefix) || options.exists(name)) return name;
      try {
        const stored = storedRepository(parseImageName(name));
        return options.exists(stored) ? stored : name;
      } catch {
        // It is no list of packages, so it is its own name.
        return name;
      }
    },
    async close() {
      closing.abort(new BerthError('CANCELLED', 'The daemon ends.'));
      await Promise.allSettled(flights.values());
    },
  };
}
