/**
 * Says what a failed evaluation means: Nix's stderr -> an error of the catalogue with the place in the user's file. The
 * wording is that of Nix 2.8 to 2.34; test/nix/evaluation-errors.test.ts has each of them from a real evaluation.
 */
import { z } from 'zod';
import { BerthError, type ErrorCode, type SourceLocation } from '../core/errors.ts';
import { nearestNames } from '../core/nearest.ts';
import { downloadError } from './build-errors.ts';
import { withoutColours } from './internal-json.ts';

/** Thrown by Berth's own Nix code: nix/errors.nix. */
const ownErrorSchema = z.looseObject({
  code: z.string(),
  position: z.object({ file: z.string(), line: z.number(), column: z.number() }).nullish(),
  key: z.string().nullish(),
  what: z.string().optional(),
  valid: z.array(z.string()).optional(),
  expected: z.string().optional(),
  actual: z.string().optional(),
  name: z.string().optional(),
  source: z.string().optional(),
  from: z.object({ url: z.string(), rev: z.string() }).optional(),
  feature: z.string().optional(),
  url: z.string().optional(),
  fetcher: z.string().optional(),
  packages: z.array(z.object({ kind: z.string(), name: z.string(), wanted: z.string() })).optional(),
  component: z.string().optional(),
  dependency: z.string().optional(),
  other: z.string().optional(),
});

export interface FailedEvaluation {
  readonly stderr: string;
  /** The text of the config's file, to find the line of a name that Nix gives no place for. */
  readonly configText: string;
  /** The config's file and folder: only places there are told to the user. */
  readonly configFile: string;
  readonly directory: string;
}

/** @returns the catalogue's error */
export function evaluationError(failure: FailedEvaluation): BerthError {
  const text = withoutColours(failure.stderr);
  const own = ownError(text);
  if (own) return fromOwnError(own, failure);

  const location = locationIn(text, failure);
  const placed = (name: string) => location ?? lineOf(name, failure);
  const at = location ? { location } : {};
  const details = { details: { trace: publicText(text, failure).slice(-4000) } };
  const make = (code: ErrorCode, message: string, facts: Record<string, unknown> = {}) =>
    new BerthError(code, message, {
      ...at,
      ...(typeof facts['name'] === 'string' ? placeOption(placed(facts['name'])) : {}),
      details: { ...details.details, ...facts },
    });

  if (/error: stack overflow|max-call-depth exceeded|call-depth.*exceeded/.test(text)) {
    return make('EVALUATION_LIMIT', 'The evaluation called functions too deeply: one calls itself without end.', {
      limit: 'depth',
    });
  }
  if (
    /out of memory|Out of Memory|cannot allocate memory|std::bad_alloc|GC Warning: Failed to expand heap/i.test(text)
  ) {
    return make('EVALUATION_LIMIT', 'The evaluation needed more memory than it may use.', { limit: 'memory' });
  }
  if (text.includes('infinite recursion encountered')) {
    return make('INFINITE_RECURSION', 'A value in the config is defined by itself (infinite recursion).');
  }
  const syntax = /error: syntax error, ([^\n]*)/.exec(text) ?? /error: (undefined variable '[^']*')/.exec(text);
  if (syntax?.[1]?.startsWith('undefined variable')) {
    const name = /'([^']*)'/.exec(syntax[1])?.[1] ?? '';
    // Within `with pkgs;` an unknown package is an undefined variable.
    return make('UNKNOWN_PACKAGE', `There is no \`${name}\`, neither as a package nor as a name in the config.`, {
      name,
    });
  }
  if (syntax) return make('CONFIG_SYNTAX', `The config is not valid Nix: ${plain(syntax[1] ?? '')}.`);
  const parse =
    /error: ((?:path has a trailing slash|invalid[^\n]*(?:literal|integer|float)|dynamic attributes not allowed|duplicate formal|attribute '[^']+'(?: at [^\n]*)? already defined)[^\n]*)/.exec(
      text,
    );
  if (parse)
    return make('CONFIG_SYNTAX', `The config is not valid Nix: ${plain(publicText(parse[1] ?? '', failure))}.`);

  const checked = checkMetaError(text, make);
  if (checked) return checked;

  const attribute = /error: attribute '([^']+)' missing/.exec(text);
  if (attribute?.[1]) {
    const name = attribute[1];
    return make('UNKNOWN_PACKAGE', `There is no package \`${name}\`.`, { name });
  }
  if (/(?:import-from-derivation|allow-import-from-derivation)/.test(text)) {
    const name = /cannot build '([^']+)' during evaluation/.exec(text)?.[1];
    return make(
      'IMPORT_FROM_DERIVATION',
      `The config needs ${name ? `the output of ${name.replace(/^.*\/[0-9a-z]{32}-/, '').replace(/\^.*$|!.*$/, '')}` : 'a built file'} while it is evaluated.`,
    );
  }
  const forbidden =
    /access to (?:absolute )?(?:path|URI) '([^']+)' is forbidden/.exec(text) ??
    /error: (?:opening|reading|getting status of)[^\n]*'(\/[^']+)': (?:Permission denied|No such file)/.exec(text);
  if (forbidden?.[1]) {
    const path = forbidden[1];
    if (path.startsWith(`${failure.directory}/`)) {
      return make('CONFIG_EVALUATION', `The config reads ${path}, which is not there.`, { path });
    }
    return make('PATH_FORBIDDEN', `The config may not read ${publicText(path, failure)}.`, { path });
  }
  const gone = /path '(\/[^']+)' does not exist/.exec(text) ?? /error: (?:opening file|file) '(\/[^']+)'/.exec(text);
  if (gone?.[1]) {
    const path = gone[1];
    return path.startsWith(`${failure.directory}/`)
      ? make('CONFIG_EVALUATION', `The config reads ${path}, which is not there.`, { path })
      : make('PATH_FORBIDDEN', `The config may not read ${publicText(path, failure)}.`, { path });
  }
  if (/file '[^']+' was not found in the Nix search path/.test(text)) {
    const name = /file '([^']+)' was not found/.exec(text)?.[1] ?? '';
    return make('PATH_FORBIDDEN', `\`<${name}>\` is not known: a config has only \`<nixpkgs>\`.`);
  }
  const download = downloadError(text);
  if (download) return download;
  if (/No space left on device|database or disk is full/.test(text)) {
    return make('DISK_FULL', 'The disk is full: the store could not be written.');
  }
  return make('CONFIG_EVALUATION', `The evaluation failed: ${plain(publicText(mainMessage(text), failure))}.`);
}

type OwnError = z.infer<typeof ownErrorSchema>;

/** @returns what Berth's own Nix code has thrown, or undefined when the failure is another */
export function ownError(text: string): OwnError | undefined {
  const begin = text.indexOf('berth-error:{');
  if (begin === -1) return undefined;
  const line = text.slice(begin + 'berth-error:'.length).split('\n')[0] ?? '';
  // Nix may put a quote or full stop after it.
  const json = line.slice(0, line.lastIndexOf('}') + 1);
  try {
    const parsed = ownErrorSchema.safeParse(JSON.parse(json));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

function fromOwnError(own: OwnError, failure: FailedEvaluation): BerthError {
  const position = own.position ?? undefined;
  const location =
    position && inProject(position.file, failure)
      ? { location: { file: position.file, line: position.line, column: position.column } }
      : {};
  switch (own.code) {
    case 'UNKNOWN_KEY': {
      const key = own.key ?? '';
      const nearest = nearestNames(key, own.valid ?? []);
      const what = own.what === 'argument' ? 'asks for the argument' : 'has the key';
      return new BerthError('UNKNOWN_KEY', `The config ${what} \`${key}\`, which Berth does not know.`, {
        ...location,
        hint: nearest[0]
          ? `Did you mean \`${nearest[0]}\`?`
          : `Known are ${(own.valid ?? []).map((name) => `\`${name}\``).join(', ')}.`,
        details: { key, nearest, valid: own.valid ?? [] },
      });
    }
    case 'CONFIG_TYPE': {
      const subject = own.key == null ? 'The config' : `\`${own.key}\``;
      return new BerthError(
        'CONFIG_TYPE',
        `${subject} must be ${own.expected ?? 'something else'}; it is ${own.actual ?? 'not'}.`,
        { ...location, details: { key: own.key ?? null, expected: own.expected, actual: own.actual } },
      );
    }
    case 'UNKNOWN_PACKAGE':
      return new BerthError('UNKNOWN_PACKAGE', `There is no package \`${own.name ?? ''}\`.`, {
        ...location,
        details: { name: own.name ?? '' },
      });
    case 'SOURCE_NEEDED':
      return new BerthError(
        'SOURCE_NEEDED',
        `The config asks for the source \`${own.source ?? ''}\`, which is not locked.`,
        {
          ...location,
          details: { source: own.source ?? '', ...(own.from ? { from: own.from } : {}) },
        },
      );
    case 'PACKAGES_NEEDED':
      return new BerthError('PACKAGES_NEEDED', 'The config asks for versions of packages that are not locked.', {
        ...location,
        details: { packages: own.packages ?? [] },
      });
    case 'VERSION_NOT_BESIDE': {
      const { name = '', other = '', source = '' } = own;
      return new BerthError(
        'VERSION_NOT_BESIDE',
        `${name} of ${source} can't live beside another suite's: ${other} is of use only in /usr, which there is one of.`,
        { ...placeOption(lineOf(name, failure)), details: { name, member: other, source } },
      );
    }
    case 'NOT_YET':
      return new BerthError(
        'NOT_YET',
        `The config uses ${own.feature ?? 'something'} which this version does not have yet.`,
        {
          ...location,
        },
      );
    case 'FETCH_UNPINNED': {
      const git = own.fetcher === 'fetchGit';
      const lacks = git ? 'a rev' : own.fetcher === 'fetchTree' ? 'a narHash' : 'a sha256';
      return new BerthError('PATH_FORBIDDEN', `The config fetches ${own.url ?? 'something'} without ${lacks}.`, {
        ...placeOption(lineOf(own.url ?? '', failure)),
        hint: `Give \`${own.fetcher ?? 'the fetch'}\` ${lacks}, so that it is always the same.`,
        details: { url: own.url ?? '' },
      });
    }
    case 'FLAKE_UNLOCKED':
      return new BerthError('CONFIG_EVALUATION', `The flake's input \`${own.name ?? ''}\` is not in flake.lock.`, {
        hint: 'Run `nix flake lock` and keep flake.lock beside flake.nix.',
        details: { input: own.name ?? '' },
      });
    case 'UNFREE_PACKAGE': {
      const { name = '', component = '' } = own;
      return new BerthError('UNFREE_PACKAGE', `The package ${name} is in ${component}, which is not free software.`, {
        ...placeOption(lineOf(name, failure)),
        details: { name },
      });
    }
    case 'BROKEN_PACKAGE': {
      const { name = '', dependency = '' } = own;
      return new BerthError(
        'BROKEN_PACKAGE',
        `The package ${name} needs ${dependency}, which the source does not have.`,
        {
          ...placeOption(lineOf(name, failure)),
          details: { name, dependency },
        },
      );
    }
    case 'PACKAGES_CONFLICT': {
      const { name: first = '', other: second = '' } = own;
      return new BerthError('BROKEN_PACKAGE', `The packages ${first} and ${second} conflict: only one can be there.`, {
        ...placeOption(lineOf(second, failure) ?? lineOf(first, failure)),
        hint: 'Leave one of them out.',
        details: { name: first, conflict: second },
      });
    }
    default:
      return new BerthError('CONFIG_EVALUATION', `The evaluation failed: ${own.code}.`, location);
  }
}

/**
 * nixpkgs' check-meta.nix: `error: Package ‘foo-1.0’ in FILE has an unfree license (‘unfree’), refusing to evaluate.`, later
 * `error: Refusing to evaluate package 'foo-1.0' in FILE because it has an unfree license (‘unfree’)`.
 */
function checkMetaError(
  text: string,
  make: (code: ErrorCode, message: string, facts?: Record<string, unknown>) => BerthError,
): BerthError | undefined {
  const refused =
    /Package [‘'"]([^’'"]+)[’'"] in .*? (has [^\n]*?|is [^\n]*?|contains [^\n]*?)(?:, refusing to evaluate|\n|$)/.exec(
      text,
    ) ??
    /Refusing to evaluate package [‘'"]([^’'"]+)[’'"] in .*? because it (has [^\n]*|is [^\n]*|contains [^\n]*)/i.exec(
      text,
    );
  if (!refused) return undefined;
  const [, name = '', why = ''] = refused;
  const unfree = /unfree|blocklisted|license/.test(why);
  return make(unfree ? 'UNFREE_PACKAGE' : 'BROKEN_PACKAGE', `The package ${name} ${plain(why)}.`, { name });
}

// The last `error:` is the cause in every version; before it stands what Nix was doing.
function mainMessage(text: string): string {
  const at = text.lastIndexOf('error:');
  const message = at === -1 ? text.trim() : text.slice(at + 'error:'.length);
  return message.trim().split('\n')[0]?.trim() ?? '';
}

function plain(message: string): string {
  return message.replace(/\.$/, '').trim();
}

function inProject(file: string, failure: FailedEvaluation): boolean {
  return file === failure.configFile || file.startsWith(`${failure.directory}/`);
}

/**
 * The place nearest to the cause that is in the user's folder. Nix 2.8 prints the cause first and then what it was doing,
 * from the inside out; later versions print it from the outside in and the cause last, as a second, indented `error:`.
 */
function locationIn(text: string, failure: FailedEvaluation): SourceLocation | undefined {
  const places: SourceLocation[] = [];
  for (const match of text.matchAll(/^\s+at (\/[^\n:]+):(\d+)(?::(\d+))?/gm)) {
    const [, file = '', line = '', column] = match;
    if (!inProject(file, failure)) continue;
    places.push({ file, line: Number(line), ...(column === undefined ? {} : { column: Number(column) }) });
  }
  return /^ +error:/m.test(text) ? places.at(-1) : places[0];
}

function placeOption(location: SourceLocation | undefined): { location?: SourceLocation } {
  return location ? { location } : {};
}

/** The first line of the config with the name of a package (a version after it is ignored), outside comments. */
function lineOf(name: string, failure: FailedEvaluation): SourceLocation | undefined {
  const word = name.replace(/-\d.*$/, '');
  if (word === '') return undefined;
  const pattern = new RegExp(`(?<![\\w'-])${word.replace(/[.*+?^$()[\]{}|\\]/g, '\\$&')}(?![\\w'-])`);
  const lines = failure.configText.split('\n');
  for (const [index, line] of lines.entries()) {
    const column = line.replace(/#.*$/, '').search(pattern);
    if (column !== -1) return { file: failure.configFile, line: index + 1, column: column + 1 };
  }
  return undefined;
}

// Paths of the sandbox mean nothing to the user.
function publicText(text: string, failure: FailedEvaluation): string {
  return text.replace(/\/run\/berth\/(?:nix|in|out)[^\s:'"’»]*/g, (path) =>
    inProject(path, failure) ? path : '(in Berth)',
  );
}
