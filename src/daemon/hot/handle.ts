/**
 * Answers berth-hot: hits only. Whatever would have to be evaluated, built or locked, every error, and every client that
 * differs from this daemon is left to the Node command, which shows progress and words errors. So nothing here needs to
 * be done well twice.
 */
import { randomBytes } from 'node:crypto';
import { stopwatch } from '../../core/clock.ts';
import { BerthError } from '../../core/errors.ts';
import type { Emit, EventBus } from '../../core/events.ts';
import { exportLines } from '../../core/format.ts';
import { renderError } from '../../core/render-error.ts';
import { createStyle, wantsColours } from '../../core/style.ts';
import { build } from '../../core/version.ts';
import { isSendable, type RunRequest } from '../../engine/agent/protocol.ts';
import type { BerthService, EnvironmentRequest, ReadyService } from '../../environment/service.ts';
import type { Activity } from '../activity.ts';
import { parseHotCommand, type HotCommand } from '../hot-commands.ts';
import { renderBerths, renderUp } from '../render.ts';
import { passedVariables, readSettings, settingsDigest, type Settings } from '../settings.ts';
import type { HotAttachment, HotRequest } from './protocol.ts';
import type { HotAnswer, HotHandle } from './server.ts';

export interface HotHandlerOptions {
  readonly service: Pick<BerthService, 'get' | 'list' | 'remove'>;
  readonly ready: ReadyService;
  readonly activity: Activity;
  readonly bus: EventBus;
  /** Of the settings that the daemon was started with. */
  readonly settingsDigest: string;
  /** Whether the daemon is about to leave. */
  readonly stopping: () => boolean;
}

const fallBack: HotAnswer = { kind: 'fallBack' };

export function createHotHandler(options: HotHandlerOptions): HotHandle {
  const { service, ready, activity, bus } = options;

  /** @returns what the command's answer is, or undefined for the Node command */
  async function answer(
    command: HotCommand,
    request: HotRequest,
    settings: Settings,
    context: { readonly emit: Emit; readonly signal: AbortSignal },
  ): Promise<HotAnswer | undefined> {
    switch (command.verb) {
      case 'ps': {
        const berths = await service.list();
        if (command.json) return output(JSON.stringify({ berths }));
        return output(command.quiet ? berths.map(({ name }) => name).join('\n') : renderBerths(berths, Date.now()));
      }
      case 'env': {
        const result = ready.environment(environmentRequest(command.path, request, settings), context);
        if (!result) return undefined;
        return output(command.json ? JSON.stringify(result) : exportLines(result.environment.variables));
      }
      case 'up': {
        const named = command.name === undefined ? {} : { name: command.name };
        const up = { ...environmentRequest(command.path, request, settings), ...named };
        const result = await ready.up(up, context);
        return result && output(command.json ? JSON.stringify(result) : renderUp(result));
      }
      case 'exec': {
        const berth = await service.get(command.name);
        const run = runRequest(command.argv, request);
        if (berth.state !== 'running' || !isSendable(run)) return undefined;
        return { kind: 'attach', attachment: attachment(berth.agentSocket, run, request) };
      }
      case 'run': {
        const run = runRequest(command.argv, request);
        if (!isSendable(run)) return undefined;
        const berth = await ready.run(environmentRequest(command.path, request, settings), context);
        if (!berth) return undefined;
        return {
          kind: 'attach',
          attachment: attachment(berth.agentSocket, run, request),
          release: () => service.remove(berth.id),
        };
      }
    }
  }

  return async (request, signal) => {
    const command = parseHotCommand(request.args, request.cwd);
    if (!command || options.stopping() || request.build !== build) return fallBack;
    const settings = sameSettings(request, options.settingsDigest);
    if (!settings) return fallBack;

    const end = activity.begin();
    const elapsed = stopwatch();
    const emit = bus.emitter(`hot.${command.verb}:${randomBytes(6).toString('hex')}`);
    let result: HotAnswer | undefined;
    try {
      result = await answer(command, request, settings, { emit, signal });
    } catch (error) {
      // What went wrong is found again, and told, by the Node command.
      if (!(error instanceof BerthError)) throw error;
    } finally {
      if (result) emit({ type: 'request.finished', operation: `hot.${command.verb}`, status: 200, ms: elapsed() });
      if (result?.kind !== 'attach' || !result.release) end();
    }
    if (result?.kind !== 'attach' || !result.release) return result ?? fallBack;
    const { release } = result;
    return {
      ...result,
      // The daemon has work for as long as the command runs.
      release: () => release().finally(end),
    };
  };
}

/** As the command prints a result. */
function output(text: string): HotAnswer {
  return { kind: 'output', output: { stdout: text === '' ? '' : `${text}\n`, exitCode: 0 } };
}

function environmentRequest(path: string, request: HotRequest, settings: Settings): EnvironmentRequest {
  const passEnv = passedVariables(settings['evaluation.passEnv'], request.env);
  return { path, ...(Object.keys(passEnv).length > 0 ? { passEnv } : {}) };
}

/** @returns the client's settings, when they are the daemon's and it sent all that they ask for */
function sameSettings(request: HotRequest, digest: string): Settings | undefined {
  try {
    const settings = readSettings({ env: request.env });
    // berth-hot sends the variables that this variable names, and reads no settings file.
    const isUnsent = settings['evaluation.passEnv'].length > 0 && !request.env['BERTH_EVALUATION_PASS_ENV'];
    return settingsDigest(settings) === digest && !isUnsent ? settings : undefined;
  } catch (error) {
    if (error instanceof BerthError) return undefined;
    throw error;
  }
}

function runRequest(argv: readonly string[], { terminals, columns, rows, env }: HotRequest): RunRequest {
  const terminal = terminals.stdin && terminals.stdout;
  return {
    argv,
    hook: true,
    ...(terminal
      ? { tty: { columns: columns || 80, rows: rows || 24 }, variables: { TERM: env['TERM'] || 'dumb' } }
      : {}),
  };
}

function attachment(agentSocket: string, run: RunRequest, request: HotRequest): HotAttachment {
  const lost = new BerthError('AGENT_UNREACHABLE', 'The berth ended before the command did.');
  const style = createStyle(wantsColours(request.terminals.stderr, request.env));
  const text = renderError(lost, { style, readFile: () => undefined, verbose: false });
  return { agentSocket, request: run, lost: { text, exitCode: lost.exitCode } };
}
