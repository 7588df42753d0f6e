/**
 * The catalogue of errors: every failure that a user can meet has a code here, says whose fault it is and what to do
 * next. `docs/errors.md` is generated from it and kept equal by a test; a code is never used again for another meaning.
 */

/** Who has to act: the user (input), Berth's own machine (system), or something on the network (upstream). */
export type Fault = 'user' | 'system' | 'upstream';

interface CatalogueEntry {
  readonly fault: Fault;
  /** Whether the same call can succeed later with nothing changed by the user. */
  readonly retryable: boolean;
  /** The process exit code of a command that fails with it. */
  readonly exitCode: number;
  /** What it means, for docs/errors.md. */
  readonly meaning: string;
  /** What to do next; an error may replace it by a more exact one. */
  readonly hint: string;
}

const user = { fault: 'user', retryable: false } as const;
const system = { fault: 'system', retryable: false } as const;
const upstream = { fault: 'upstream', retryable: true } as const;

/** Every error code, in the order of the flow. */
export const catalogue = {
  // Sources
  MIRROR_UNREACHABLE: {
    ...upstream,
    exitCode: 69,
    meaning: 'A mirror, binary cache or registry did not answer.',
    hint: 'Check the network and the mirror in `berth doctor`; what is in the store already keeps working.',
  },
  // Berths and engines
  BERTH_UNKNOWN: { ...user, exitCode: 66, meaning: 'There is no berth of that name or id.', hint: 'See `berth ps`.' },
  NAME_TAKEN: {
    ...user,
    exitCode: 73,
    meaning: 'Another project has a berth of that name.',
    hint: 'Choose another with --name, or remove that one with `berth rm`.',
  },
  NAME_INVALID: {
    ...user,
    exitCode: 2,
    meaning: 'A name may hold lower-case letters, digits, `-`, `_` and `.`, and begins with a letter or digit.',
    hint: 'Choose another with --name.',
  },
  MODE_UNSUPPORTED: {
    ...user,
    exitCode: 69,
    meaning: 'This Berth does not have the mode or engine that was asked for.',
    hint: 'Use --mode shell with --engine embedded or docker.',
  },
  ENGINE_UNAVAILABLE: {
    ...system,
    exitCode: 69,
    meaning: 'No engine can run containers here.',
    hint: 'Run `berth doctor`: it says what each engine lacks.',
  },
  // Command line and daemon
  USAGE: { ...user, exitCode: 2, meaning: 'The command line is not valid.', hint: 'See `berth --help`.' },
  SETTING_INVALID: {
    ...user,
    exitCode: 2,
    meaning: 'A setting has a value that is not allowed.',
    hint: 'See docs/settings.md for the values it takes.',
  },
  DAEMON_UNREACHABLE: {
    ...system,
    retryable: true,
    exitCode: 70,
    meaning: 'The daemon did not answer on its socket.',
    hint: 'Run `berth doctor`; the daemon writes its log to $BERTH_HOME/log/daemon.log.',
  },
  STATE_TOO_NEW: {
    ...user,
    exitCode: 78,
    meaning: "Berth's state was written by a later version.",
    hint: 'Use that version, or another $BERTH_HOME.',
  },
  INTERNAL: {
    ...system,
    exitCode: 70,
    meaning: 'A fault in Berth itself.',
    hint: 'Run the command again with --verbose and report what it prints.',
  },
  CANCELLED: { ...user, exitCode: 130, meaning: 'The work was cancelled.', hint: 'Run the command again.' },
  TOOL_MISSING: {
    ...system,
    exitCode: 69,
    meaning: 'A program that Berth needs is not installed.',
    hint: 'Run `scripts/setup`, or `berth doctor` to see what is missing.',
  },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof catalogue;

/** A place in a file of the user's, 1-based. */
export interface SourceLocation {
  readonly file: string;
  readonly line: number;
  readonly column?: number;
}

/** The form in which an error leaves the process: `--json`, the API, build records. */
export interface ErrorReport {
  readonly code: ErrorCode;
  readonly fault: Fault;
  readonly message: string;
  readonly hint: string;
  readonly retryable: boolean;
  readonly location?: SourceLocation;
  /** Facts for programs, for example `{ nearest: ["ripgrep"] }`. Never a secret. */
  readonly details?: Readonly<Record<string, unknown>>;
}

interface ErrorOptions {
  readonly hint?: string;
  readonly location?: SourceLocation;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** An error of the catalogue. Everything that Berth throws on purpose is one of these. */
export class BerthError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;
  readonly location: SourceLocation | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  /**
   * @param code a code of the catalogue
   * @param message what happened, one sentence, with names and values; no secret
   * @param options hint, place in the user's file, facts for programs, and the cause
   */
  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'BerthError';
    this.code = code;
    this.hint = options.hint ?? catalogue[code].hint;
    this.location = options.location;
    this.details = options.details;
  }

  get fault(): Fault {
    return catalogue[this.code].fault;
  }

  get retryable(): boolean {
    return catalogue[this.code].retryable;
  }

  get exitCode(): number {
    return catalogue[this.code].exitCode;
  }

  /** @returns the form that leaves the process; the cause and the stack stay inside */
  report(): ErrorReport {
    return {
      code: this.code,
      fault: this.fault,
      message: this.message,
      hint: this.hint,
      retryable: this.retryable,
      ...(this.location ? { location: this.location } : {}),
      ...(this.details ? { details: this.details } : {}),
    };
  }

  /** @returns the error that a report describes, on the client's side of a socket */
  static fromReport(report: ErrorReport): BerthError {
    return new BerthError(report.code, report.message, {
      hint: report.hint,
      ...(report.location ? { location: report.location } : {}),
      ...(report.details ? { details: report.details } : {}),
    });
  }
}

/** @returns `error` itself when it is of the catalogue, else an INTERNAL error that keeps it as the cause */
export function asBerthError(error: unknown): BerthError {
  if (error instanceof BerthError) return error;
  if (error instanceof Error && error.name === 'AbortError') {
    return new BerthError('CANCELLED', 'The work was cancelled.', { cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new BerthError('INTERNAL', `Unexpected: ${message}`, { cause: error });
}
