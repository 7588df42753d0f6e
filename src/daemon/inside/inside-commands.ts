/**
 * What a command in a berth may ask: to change its own project's packages, and to look at and go back in its own history.
 * The berth is untrusted: only plain forms are known, names are of the letters that packages have, and questions are
 * counted.
 */
import { readFileSync, realpathSync } from 'node:fs';
import { sep } from 'node:path';
import { asBerthError, BerthError } from '../../core/errors.ts';
import type { Emit, PublishedEvent } from '../../core/events.ts';
import { renderError } from '../../core/render-error.ts';
import { createStyle } from '../../core/style.ts';
import type { Question } from '../../engine/agent/host-channel.ts';
import type { BerthService, BerthSummary } from '../../environment/service.ts';
import { renderHistory, renderRollback, renderSwitch } from '../render.ts';

export type InsideCommand =
  | { readonly verb: 'add' | 'remove'; readonly names: readonly string[] }
  | { readonly verb: 'history'; readonly json: boolean }
  | { readonly verb: 'rollback'; readonly to: number | undefined };

/** Names of packages, of a source other than the project's own, and of a version: `jq`, `debian.git`, `nodejs@18`. */
const packageName = /^[A-Za-z0-9_][A-Za-z0-9_.+@:~-]{0,127}$/;
const maxNames = 64;

/** @throws BerthError USAGE */
export function parseInsideCommand(argv: readonly string[]): InsideCommand {
  const [verb, ...rest] = argv;
  const usage = (what: string) => new BerthError('USAGE', what, { hint: 'See `berth --help`.' });
  switch (verb) {
    case 'add':
    case 'remove': {
      if (rest.length === 0) throw usage(`Name the packages to ${verb}.`);
      if (rest.length > maxNames) throw usage(`At most ${maxNames} packages at a time.`);
      const wrong = rest.find((name) => !packageName.test(name));
      if (wrong !== undefined) throw usage(`${JSON.stringify(wrong.slice(0, 128))} is no name of a package.`);
      return { verb, names: rest };
    }
    case 'history':
      if (rest.length === 0) return { verb, json: false };
      if (rest.length === 1 && rest[0] === '--json') return { verb, json: true };
      throw usage('`berth history` takes `--json` only.');
    case 'rollback': {
      if (rest.length === 0) return { verb, to: undefined };
      if (rest.length === 2 && rest[0] === '--to' && /^[1-9]\d{0,8}$/.test(rest[1] ?? '')) {
        return { verb, to: Number(rest[1]) };
      }
      throw usage('`berth rollback` takes `--to` and the number of a generation.');
    }
    case undefined:
    default:
      throw usage(`There is no command ${JSON.stringify((verb ?? '').slice(0, 64))} in a berth.`);
  }
}

/** So many questions at once, and one more each this many milliseconds. */
const burst = 20;
const refillMs = 2000;

export interface RateLimit {
  /** @throws BerthError RATE_LIMITED */
  take(): void;
}

export function createRateLimit(now: () => number = Date.now): RateLimit {
  let left = burst;
  let at = now();
  return {
    take() {
      const time = now();
      left = Math.min(burst, left + (time - at) / refillMs);
      at = time;
      if (left < 1) throw new BerthError('RATE_LIMITED', 'This berth asks too often.');
      left -= 1;
    },
  };
}

type Service = Pick<BerthService, 'editFromInside' | 'history' | 'rollback'>;

/** @returns the exit code of the command that asked */
export async function answerInside(
  service: Service,
  berth: Pick<BerthSummary, 'id' | 'directory'>,
  question: Question,
  limit: RateLimit,
  emit: Emit,
): Promise<number> {
  // The project lies at another place inside.
  const inWords = (text: string) => text.replaceAll(berth.directory, '/work');
  try {
    limit.take();
    const command = parseInsideCommand(question.argv);
    const context = { emit, signal: question.signal };
    const out = (text: string) => question.stdout(`${inWords(text)}\n`);
    switch (command.verb) {
      case 'add':
      case 'remove': {
        const { verb, names } = command;
        const { file, names: edited, switched } = await service.editFromInside(berth.id, verb, names, context);
        const done = verb === 'add' ? 'added' : 'removed';
        if (edited.length > 0) out(`${file}: ${done} ${edited.join(', ')}`);
        else out(verb === 'add' ? `${file} has them already.` : `${file} has none of them.`);
        for (const report of switched) out(renderSwitch(report));
        return 0;
      }
      case 'history': {
        const history = await service.history(berth.id);
        out(command.json ? JSON.stringify(history) : renderHistory(history, Date.now()));
        return 0;
      }
      case 'rollback': {
        const to = command.to === undefined ? {} : { to: command.to };
        out(renderRollback(await service.rollback(berth.id, to, context)));
        return 0;
      }
    }
  } catch (error) {
    const known = asBerthError(error);
    emit({ type: 'failed', error: known.report() });
    const style = createStyle(false);
    const readFile = (path: string) => readWithin(berth.directory, path);
    question.stderr(inWords(renderError(known, { style, readFile, verbose: false })));
    return known.exitCode;
  }
}

/** Of long work tells the phase, so that who waits knows for what. */
export function tellPhases(question: Pick<Question, 'stderr'>): (event: PublishedEvent) => void {
  const words: Partial<Record<string, string>> = { lock: 'Locking sources', evaluate: 'Evaluating', build: 'Building' };
  let timer: NodeJS.Timeout | undefined;
  return (event) => {
    if (event.type === 'warning') question.stderr(`warning: ${event.message}\n`);
    if (event.type !== 'phase.started' && event.type !== 'phase.finished') return;
    clearTimeout(timer);
    const word = words[event.phase];
    if (event.type === 'phase.started' && word !== undefined) {
      timer = setTimeout(() => question.stderr(`${word}…\n`), 1000);
      timer.unref();
    }
  };
}

/** The line of a config that an error shows must be one that the berth can read anyway. */
function readWithin(directory: string, path: string): string | undefined {
  try {
    const real = realpathSync(path);
    return real.startsWith(`${realpathSync(directory)}${sep}`) ? readFileSync(real, 'utf8') : undefined;
  } catch {
    return undefined;
  }
}
