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
  SOURCE_UNKNOWN: {
    ...user,
    exitCode: 65,
    meaning: 'A config or the lock names a source that there is none of.',
    hint: 'Sources are `pkgs`, `debian` and `nixpkgs`.',
  },
  CONFIG_CHANGING: {
    ...user,
    exitCode: 75,
    meaning: 'The config, or a file that it reads, kept changing while it was evaluated.',
    hint: 'Run the command again when the files are still.',
  },
  MIRROR_UNREACHABLE: {
    ...upstream,
    exitCode: 69,
    meaning: 'A mirror, binary cache or registry did not answer.',
    hint: 'Check the network and the mirror in `berth doctor`; what is in the store already keeps working.',
  },
  SIGNATURE_INVALID: {
    ...upstream,
    retryable: false,
    exitCode: 76,
    meaning: 'What a mirror, cache or registry sent is not signed by a key that is trusted.',
    hint: 'Check where it comes from and the keyring or trusted keys; do not use what was sent.',
  },
  RELEASE_EXPIRED: {
    ...upstream,
    exitCode: 76,
    meaning: "The mirror's Release file is past the date until which it is valid, so the mirror is out of date.",
    hint: 'Choose another mirror, or set BERTH_DEBIAN_CHECK_VALID_UNTIL=false.',
  },
  SUITE_UNKNOWN: {
    ...user,
    exitCode: 65,
    meaning: 'The Debian mirror has no such suite.',
    hint: 'Use a suite that the mirror has: bookworm, trixie or sid.',
  },
  HASH_MISMATCH: {
    ...upstream,
    retryable: false,
    exitCode: 76,
    meaning: 'What was downloaded is not what the lock or the signed index says.',
    hint: 'Run `berth lock --update` to take what upstream has now.',
  },
  LOCK_INVALID: {
    ...user,
    exitCode: 65,
    meaning: 'berth.lock is not valid.',
    hint: 'Restore it from version control, or remove it and run `berth lock`.',
  },
  DISK_FULL: {
    ...system,
    retryable: true,
    exitCode: 74,
    meaning: 'No space is left on a disk that Berth writes to; nothing half-made was kept.',
    hint: 'Free some space, for example with `berth gc`, and run the command again.',
  },
  // Config and lock
  CONFIG_NOT_FOUND: {
    ...user,
    exitCode: 66,
    meaning: 'There is no config.nix, shell.nix, replit.nix or flake.nix where one was looked for.',
    hint: 'Write a config.nix (docs/config.md has examples) or name the file.',
  },
  CONFIG_SYNTAX: {
    ...user,
    exitCode: 65,
    meaning: 'The config, or a file that it imports, is not valid Nix.',
    hint: 'Correct the line; a missing `;` or bracket is often just above it.',
  },
  UNKNOWN_PACKAGE: {
    ...user,
    exitCode: 65,
    meaning: 'The config names a package that the source does not have.',
    hint: 'Look for its name with `berth search NAME`.',
  },
  VERSION_UNKNOWN: {
    ...user,
    exitCode: 65,
    meaning: 'No source has the package in a version that fits what was asked for.',
    hint: 'Ask for one of the versions that the message names.',
  },
  VERSION_INVALID: {
    ...user,
    exitCode: 65,
    meaning: 'What was asked for is neither a version nor a range of versions.',
    hint: 'Write a version (`18.20.4`), the beginning of one (`18`), or a range (`^18.2`, `>=18 <20`).',
  },
  VERSION_NOT_BESIDE: {
    ...user,
    exitCode: 65,
    meaning: 'The package can only be a part of /usr, and the version asked for is of another suite than /usr is.',
    hint: 'Take the version that the default source has, or lock the default source to the other suite.',
  },
  UNKNOWN_KEY: {
    ...user,
    exitCode: 65,
    meaning: 'The config has a key, or asks for an argument, that Berth does not know.',
    hint: 'docs/config.md lists what a config may hold.',
  },
  CONFIG_TYPE: {
    ...user,
    exitCode: 65,
    meaning: 'A value in the config has the wrong type.',
    hint: 'docs/config.md says what each key takes.',
  },
  CONFIG_EVALUATION: {
    ...user,
    exitCode: 65,
    meaning: 'The evaluation of the config failed, or the config itself threw an error.',
    hint: 'Run the command with --verbose to see where Nix was.',
  },
  INFINITE_RECURSION: {
    ...user,
    exitCode: 65,
    meaning: 'A value in the config is defined by itself.',
    hint: 'Look for a name that is used in its own definition; `rec { }` and overlays are the usual places.',
  },
  EVALUATION_LIMIT: {
    ...user,
    exitCode: 65,
    meaning: 'The evaluation went over a limit: time, memory, depth or size of the result.',
    hint: 'Look for an endless loop; the limits are the settings evaluation-time, evaluation-memory and evaluation-output.',
  },
  IMPORT_FROM_DERIVATION: {
    ...user,
    exitCode: 65,
    meaning: 'The config reads the output of a derivation while it is evaluated, which is off by default.',
    hint: 'Read a file of the project instead, or set allow-import-from-derivation if you trust the config.',
  },
  PATH_FORBIDDEN: {
    ...user,
    exitCode: 65,
    meaning: 'The config reads a path outside its own folder, or fetches something that it does not pin by a hash.',
    hint: 'Move the file into the folder of the config; give a fetched file its sha256.',
  },
  NOT_YET: {
    ...user,
    exitCode: 69,
    meaning: 'The config uses something that this version of Berth does not have yet.',
    hint: 'Write it in another way for now; the message names what it is.',
  },
  CONFIG_NOT_EDITABLE: {
    ...user,
    exitCode: 65,
    meaning: 'The list of packages in the config is not plain enough to be edited by a program.',
    hint: 'Edit the list by hand.',
  },
  SOURCE_NEEDED: {
    ...user,
    exitCode: 65,
    meaning: 'The config asks for a source that is not locked.',
    hint: 'Run `berth lock`.',
  },
  PACKAGES_NEEDED: {
    ...user,
    exitCode: 65,
    meaning: 'The config asks for versions of packages that are not locked.',
    hint: 'Run `berth lock`.',
  },
  // Building
  UNFREE_PACKAGE: {
    ...user,
    exitCode: 65,
    meaning: 'A package has an unfree licence, and unfree packages are not allowed.',
    hint: 'Set allow-unfree (BERTH_ALLOW_UNFREE=1) if you may use it.',
  },
  BROKEN_PACKAGE: {
    ...user,
    exitCode: 65,
    meaning: 'The source marks a package as broken, insecure, or not for this system.',
    hint: 'Choose another package or another revision of the source.',
  },
  BUILD_FAILED: {
    ...user,
    exitCode: 65,
    meaning: 'A derivation could not be built.',
    hint: 'The last lines of its log are with the error; the whole log is in the file that the message names.',
  },
  // Libraries of programming languages
  LIBRARY_MANAGER_UNKNOWN: {
    ...user,
    exitCode: 65,
    meaning: "The config's `libraries` names a package manager that Berth does not know.",
    hint: 'Use npm, python, cargo or go.',
  },
  LIBRARY_LOCK_INVALID: {
    ...user,
    exitCode: 65,
    meaning: "A package manager's lock file is missing, damaged, or of a form that Berth does not read.",
    hint: 'Make the lock file anew with the package manager itself.',
  },
  LIBRARY_LOCK_UNHASHED: {
    ...user,
    exitCode: 65,
    meaning: 'A lock file names a package without its hash, so that what is downloaded could not be checked.',
    hint: 'Make the lock file anew with a package manager that writes hashes.',
  },
  LIBRARY_PLATFORM: {
    ...user,
    exitCode: 65,
    meaning: 'A lock file asks for a package that does not exist for this platform or this version of the language.',
    hint: 'Make the lock file for the platform and the version that the environment has.',
  },
  LIBRARY_UNSUPPORTED: {
    ...user,
    exitCode: 65,
    meaning: 'A lock file asks for a package from a place that has no hash, such as a git repository.',
    hint: 'Take the package from a registry, or install it by hand in the container.',
  },
  LIBRARY_PROGRAM_MISSING: {
    ...user,
    exitCode: 65,
    meaning: 'The environment lacks the package manager or the interpreter that a lock file is for.',
    hint: "Add it to the config's packages.",
  },
  LIBRARY_INSTALL_FAILED: {
    ...user,
    exitCode: 65,
    meaning: "The package manager's install, or an install script of a package, failed.",
    hint: 'The log says why. Install scripts have no network and no secrets; compilers and headers come from the config.',
  },
  LIBRARY_INSTALL_TIMEOUT: {
    ...user,
    exitCode: 65,
    meaning: 'An install took more time than it may.',
    hint: 'Raise the setting libraries.timeoutMs if that much time is meant.',
  },
  LIBRARY_DOWNLOAD_FAILED: {
    ...upstream,
    retryable: false,
    exitCode: 76,
    meaning: 'A registry does not have a package that a lock file names.',
    hint: 'Make the lock file anew: the package may have been withdrawn.',
  },
  BUILD_TIMEOUT: {
    ...user,
    exitCode: 65,
    meaning: 'A build took longer than it may.',
    hint: 'Set build.timeoutMs (BERTH_BUILD_TIMEOUT_MS) higher, or see with `berth builds logs` what it waits for.',
  },
  BUILD_THROTTLED: {
    ...user,
    retryable: true,
    exitCode: 75,
    meaning: 'The same thing has failed several times in a row and is not tried again at once.',
    hint: 'Change the config, wait, or use --retry.',
  },
  BUILD_UNKNOWN: {
    ...user,
    exitCode: 66,
    meaning: 'There is no build of that id; old ones are forgotten.',
    hint: 'See `berth builds list`.',
  },
  WORKER_DIED: {
    ...system,
    retryable: true,
    exitCode: 70,
    meaning: 'A builder was killed in the middle of its work, and so were those that tried it again.',
    hint: 'See whether the machine runs out of memory; `berth doctor` tells what builders need.',
  },
  UNSIGNED_PATH: {
    ...upstream,
    retryable: false,
    exitCode: 65,
    meaning: 'A binary cache offers a path that no trusted key has signed.',
    hint: "Add the cache's public key to trusted-public-keys if you trust it.",
  },
  DOWNLOAD_GONE: {
    ...upstream,
    retryable: false,
    exitCode: 69,
    meaning: 'The mirror no longer has a file that the lock names.',
    hint: 'Run `berth lock --update` to use what the mirror has now.',
  },
  // Seeds
  SEED_UNKNOWN: {
    ...user,
    exitCode: 66,
    meaning: 'There is no seed of that name.',
    hint: 'See `berth seed list`.',
  },
  SEED_ARCHIVE_INVALID: {
    ...user,
    exitCode: 65,
    meaning: 'A file or cache does not hold seeds as Berth writes them, or is damaged.',
    hint: 'Write it again with `berth seed export` or `berth seed push`.',
  },
  // Images
  IMAGE_INVALID: {
    ...user,
    exitCode: 65,
    meaning: 'An image, or what one is to be made of, is not of the form that the OCI specification asks for.',
    hint: 'Check where the image comes from; the message names the part that is wrong.',
  },
  IMAGE_MISSING: {
    ...system,
    exitCode: 70,
    meaning: 'The engine does not hold the image that a container is to be made from.',
    hint: 'Run `berth up` again, which brings the image in.',
  },
  LAYER_UNREADABLE: {
    ...system,
    exitCode: 74,
    meaning: 'A store path could not be put into an image layer: it is not there, cannot be read or has changed.',
    hint: 'Run `berth doctor --fix`, which checks the store and fetches what is damaged.',
  },
  // Registries
  REFERENCE_INVALID: {
    ...user,
    exitCode: 2,
    meaning: 'What should name an image in a registry does not.',
    hint: 'Write it as HOST/REPOSITORY:TAG or HOST/REPOSITORY@sha256:DIGEST.',
  },
  REGISTRY_UNREACHABLE: {
    ...upstream,
    exitCode: 69,
    meaning: 'A registry did not answer, broke off, or said that it cannot serve now, and did so again and again.',
    hint: "Check the network and the registry's name, and run the command again; what has been moved stays moved.",
  },
  REGISTRY_DENIED: {
    ...user,
    exitCode: 77,
    meaning: 'A registry wants credentials, or those that it got do not allow what was asked for.',
    hint: 'Log in with `docker login HOST`; some registries also deny what does not exist.',
  },
  REGISTRY_REFUSED: {
    ...upstream,
    retryable: false,
    exitCode: 76,
    meaning: 'A registry refused a request for a reason of its own, or did not follow the protocol.',
    hint: "The message holds the registry's own words.",
  },
  IMAGE_NOT_FOUND: {
    ...user,
    exitCode: 66,
    meaning: 'The registry has no such repository, tag, image or platform.',
    hint: 'Check the reference and the platform.',
  },
  CREDENTIALS_UNREADABLE: {
    ...user,
    exitCode: 77,
    meaning: "Docker's config.json, or a credential helper that it names, cannot be read.",
    hint: 'Run `docker login HOST` anew, or correct config.json in the folder of the setting docker.config.',
  },
  KEY_INVALID: {
    ...user,
    exitCode: 65,
    meaning: 'A key for signatures cannot be read: another format, another algorithm, or the wrong password.',
    hint: 'Keys are ECDSA P-256: cosign.key with its password in BERTH_SIGNING_PASSWORD, or PKCS#8 in PEM.',
  },
  BLOB_MISSING: {
    ...system,
    exitCode: 66,
    meaning: 'A blob of an image is not in the store of blobs.',
    hint: 'Build or push the image again.',
  },
  BLOB_CORRUPT: {
    ...upstream,
    exitCode: 76,
    meaning: 'The bytes that came for a blob do not have its digest.',
    hint: 'Send it again; check what lies between, such as a proxy.',
  },
  BLOB_STORE_UNREACHABLE: {
    ...upstream,
    exitCode: 69,
    meaning: 'The S3-compatible store that holds the blobs of images did not do what it was asked for.',
    hint: 'Check the settings registry.s3.*, the bucket, and whether the store answers.',
  },
  BLOBS_FULL: {
    ...system,
    retryable: true,
    exitCode: 75,
    meaning: 'The limit on the disk for images is reached, and all that is there is pinned or in use.',
    hint: 'Raise BERTH_REGISTRY_MAX_BYTES, or see `berth images ls` and unpin or remove some.',
  },
  IMAGE_NAME_INVALID: {
    ...user,
    exitCode: 65,
    meaning: 'The name or tag of an image that is to be built when it is pulled means no packages.',
    hint: 'Names are lists of packages such as `python3/git`; docs/registry.md says how others are written.',
  },
  IMAGE_NOT_READY: {
    ...system,
    retryable: true,
    exitCode: 75,
    meaning: 'An image that is built because it was pulled is not ready yet. The build goes on.',
    hint: 'Pull it again; `berth builds` tells how far it is.',
  },
  IMAGE_UNKNOWN: {
    ...user,
    exitCode: 66,
    meaning: 'There is no image of that name or digest.',
    hint: 'See `berth images ls`.',
  },
  // Berths and engines
  BERTH_UNKNOWN: { ...user, exitCode: 66, meaning: 'There is no berth of that name or id.', hint: 'See `berth ps`.' },
  CONFIG_OUTSIDE: {
    ...user,
    exitCode: 65,
    meaning: "A command in a berth asked for a change of a config that lies outside the berth's project.",
    hint: 'Run the command on the host.',
  },
  RATE_LIMITED: {
    ...user,
    retryable: true,
    exitCode: 75,
    meaning: 'Commands in a berth ask the daemon for more than it takes from one berth.',
    hint: 'Wait some seconds, and run the command again.',
  },
  GENERATION_UNKNOWN: {
    ...user,
    exitCode: 66,
    meaning: 'A berth has no generation of that number, or none before the one it has.',
    hint: 'See `berth history NAME`.',
  },
  GENERATION_GONE: {
    ...user,
    exitCode: 69,
    meaning: "An earlier environment's packages were collected, and cannot be had again.",
    hint: 'Write what it had into the config, and run `berth up`.',
  },
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
    hint: 'Use --mode shell or image, with --engine embedded or docker.',
  },
  ENGINE_UNAVAILABLE: {
    ...system,
    exitCode: 69,
    meaning: 'No engine can run containers here.',
    hint: 'Run `berth doctor`: it says what each engine lacks.',
  },
  LAUNCH_FAILED: {
    ...system,
    exitCode: 70,
    meaning: 'The engine did not start the container.',
    hint: 'Run `berth doctor`; the message holds what the runtime said.',
  },
  POOL_UNAVAILABLE: {
    ...system,
    exitCode: 70,
    meaning: 'Containers cannot wait for an environment here, so each is created and started when it is asked for.',
    hint: 'It needs root and Linux 5.12 or later, with the containers on this machine. `berth pool` says what it found.',
  },
  LIMIT_REFUSED: {
    ...user,
    exitCode: 2,
    meaning: 'A limit of memory, CPU or processes cannot be set.',
    hint: 'See `berth doctor` for which limits this machine allows; a limit cannot be below what is in use.',
  },
  AGENT_UNREACHABLE: {
    ...system,
    retryable: true,
    exitCode: 70,
    meaning: 'The agent in a berth does not answer: the berth has stopped or is stopping.',
    hint: 'See `berth ps`, and start the berth again with `berth start NAME`.',
  },
  COMMAND_NOT_STARTED: {
    ...user,
    exitCode: 126,
    meaning: 'A command could not be started in a berth.',
    hint: "See the message; where it is the berth's limit of processes, stop some or raise the limit.",
  },
  PORT_CLOSED: {
    ...user,
    retryable: true,
    exitCode: 69,
    meaning: 'Nothing listens on a port of the berth.',
    hint: 'See `berth logs NAME`: the program that should listen may still be starting, or have ended.',
  },
  PORT_TAKEN: {
    ...user,
    exitCode: 69,
    meaning: 'A port of the host that a berth should publish is in use.',
    hint: 'Choose another host port, or stop the program that uses it.',
  },
  // Command line and daemon
  USAGE: { ...user, exitCode: 2, meaning: 'The command line is not valid.', hint: 'See `berth --help`.' },
  SETTING_INVALID: {
    ...user,
    exitCode: 2,
    meaning: 'A setting has a value that is not allowed.',
    hint: 'See docs/settings.md for the values it takes.',
  },
  REQUEST_INVALID: {
    ...user,
    exitCode: 2,
    meaning: 'A request to the API is not valid: a field is missing, unknown or of the wrong type.',
    hint: 'See docs/openapi.json for the fields it takes.',
  },
  UNAUTHORIZED: {
    ...user,
    exitCode: 77,
    meaning: 'A request over TCP came without the right token, or from a web page of another origin.',
    hint: 'Send `Authorization: Bearer TOKEN` with the token that the daemon was started with.',
  },
  LISTEN_REFUSED: {
    ...user,
    exitCode: 2,
    meaning: 'The daemon does not listen on TCP without a way to tell who calls.',
    hint: 'Set a token (BERTH_TOKEN) or client certificates, or use --no-auth on a loopback address.',
  },
  ADDRESS_IN_USE: {
    ...system,
    exitCode: 69,
    meaning: 'Another program listens on the address that the daemon was told to.',
    hint: 'Choose another with --listen, or end that program.',
  },
  DAEMON_RUNNING: {
    ...user,
    exitCode: 75,
    meaning: 'Another daemon already has this $BERTH_HOME.',
    hint: 'Use it, or end it before starting another; `berth doctor` tells its process id.',
  },
  DAEMON_RESTARTING: {
    ...system,
    retryable: true,
    exitCode: 75,
    meaning: 'The daemon is about to leave, because it is told to or because its version or settings are outdated.',
    hint: 'Run the command again.',
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
  static fromReport(report: ErrorReport, cause?: unknown): BerthError {
    return new BerthError(report.code, report.message, {
      hint: report.hint,
      ...(cause === undefined ? {} : { cause }),
      ...(report.location ? { location: report.location } : {}),
      ...(report.details ? { details: report.details } : {}),
    });
  }
}

/** @returns `error` itself when it is of the catalogue, else an INTERNAL error that keeps it as the cause */
export function asBerthError(error: unknown): BerthError {
  if (error instanceof BerthError) return error;
  // Of another bundle of Berth's in this process, which has a class of its own: `berth serve`.
  if (error instanceof Error && error.name === 'BerthError' && 'report' in error) {
    return BerthError.fromReport((error as BerthError).report(), error);
  }
  if (error instanceof Error && error.name === 'AbortError') {
    return new BerthError('CANCELLED', 'The work was cancelled.', { cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new BerthError('INTERNAL', `Unexpected: ${message}`, { cause: error });
}
