/**
 * Works out what configs mean that only list packages of one suite, without an evaluator. What it needs it learns once for
 * each index and each version of the Nix code, by an evaluation of samples; it is used only if it then gives for the samples
 * exactly what Nix gave. Kept as a file, so that a restart of the daemon learns nothing anew.
 */
import { isDeepStrictEqual } from 'node:util';
import { join } from 'node:path';
import { z } from 'zod';
import { digestOfJson, type Digest } from '../../../core/digest.ts';
import { readTextIfThere, writeFileAtomically } from '../../../core/files.ts';
import { SingleFlight } from '../../../core/single-flight.ts';
import { createDerivationReader } from '../../../nix/derivation/read-derivation.ts';
import type { Nix } from '../../../nix/nix.ts';
import type { PreparedSource } from '../../../nix/prepared-source.ts';
import { isStorePath, physicalPath } from '../../../nix/store.ts';
import { composeEnvironment, type ComposedEnvironment, type PlainMeaning } from './compose.ts';
import { openIndexFiles, type IndexFiles } from './index-files.ts';
import { createPackageDerivations, type PackageDerivations } from './package-derivations.ts';
import { debianTemplateSchema, learnTemplate, type DebianTemplate } from './template.ts';

/** Raised when templates change their form. */
const templateFormat = 1;

export interface DebianPlainOptions {
  readonly nix: Pick<Nix, 'store' | 'evaluateTogether' | 'codeDigest'>;
  /** Where templates are kept. */
  readonly folder: string;
}

export interface DebianPlainRequest {
  readonly source: PreparedSource;
  readonly system: string;
  readonly allowUnfree: boolean;
}

/** One index, ready to be asked. */
export interface OpenedIndex {
  /** @returns undefined when the evaluator must say what the config means */
  compose(meaning: PlainMeaning): ComposedEnvironment | undefined;
  readonly packages: PackageDerivations;
}

export interface DebianPlain {
  /**
   * @returns undefined where the derivations that the Nix code makes are not those that Berth would make
   * @throws BerthError when the samples can't be evaluated
   */
  open(request: DebianPlainRequest, signal?: AbortSignal): Promise<OpenedIndex | undefined>;
}

const sourceSchema = z.looseObject({
  index: z.custom<string>((value) => typeof value === 'string' && isStorePath(value)),
  mirrors: z.record(z.string(), z.array(z.string())),
  allowUnfree: z.boolean().optional(),
});

const fileSchema = z.union([
  z.strictObject({ template: debianTemplateSchema }),
  /** Why there is none. */
  z.strictObject({ refused: z.string() }),
]);

/** How many indexes are kept open: their names take 1.6 MB, what is known of packages as much again. */
const openKept = 4;

export function createDebianPlain(options: DebianPlainOptions): DebianPlain {
  const { nix } = options;
  const opened = new Map<Digest, OpenedIndex | undefined>();
  const flights = new SingleFlight<Digest, OpenedIndex | undefined>();

  async function openAnew(key: Digest, request: DebianPlainRequest, signal: AbortSignal) {
    const parsed = sourceSchema.parse(request.source.nix);
    const allowUnfree = request.allowUnfree || (parsed.allowUnfree ?? false);
    const index = openIndexFiles(physicalPath(nix.store, parsed.index));
    const using = (template: DebianTemplate): OpenedIndex => {
      const packages = createPackageDerivations(index, template, parsed.mirrors);
      return { packages, compose: (meaning) => composeEnvironment(meaning, packages, template, allowUnfree) };
    };
    const file = join(options.folder, `${key.slice('sha256:'.length)}.json`);
    const kept = await keptIn(file);
    if (kept) return 'template' in kept ? using(kept.template) : undefined;

    const samples = samplesOf(index);
    if (!samples) return undefined;
    const { evaluated, rules } = await nix.evaluateTogether(
      { ...request, configs: samples.map(configOf), rules: true, write: true },
      signal,
    );
    const drvPathOf = (label: Sample['label']) =>
      evaluated[samples.findIndex((sample) => sample.label === label)]?.drvPath;
    const [plain, translated] = [drvPathOf('plain'), drvPathOf('translated')];
    if (!rules || plain === undefined) return undefined;
    const refuse = (why: string) => writeFileAtomically(file, JSON.stringify({ refused: why }));
    let template: DebianTemplate;
    try {
      template = learnTemplate(
        rules,
        {
          plain: { drvPath: plain, package: samples[0]?.meaning.packages[0] ?? '' },
          translated: translated === undefined ? undefined : { drvPath: translated },
        },
        createDerivationReader(nix.store),
      );
    } catch (error) {
      await refuse(error instanceof Error ? error.message : String(error));
      return undefined;
    }
    const found = using(template);
    const wrong = samples.find(
      ({ meaning }, at) => !isDeepStrictEqual(found.compose(meaning)?.evaluated, evaluated[at]),
    );
    if (wrong) {
      await refuse(`the sample ${wrong.label} means something else to Nix`);
      return undefined;
    }
    await writeFileAtomically(file, JSON.stringify({ template }));
    return found;
  }

  return {
    async open(request, signal) {
      const { source, system, allowUnfree } = request;
      const key = digestOfJson({ templateFormat, code: nix.codeDigest(), source: source.nix, system, allowUnfree });
      if (opened.has(key)) return opened.get(key);
      const { value } = await flights.run(key, (flight) => openAnew(key, request, flight), signal);
      opened.set(key, value);
      if (opened.size > openKept) opened.delete(opened.keys().next().value ?? key);
      return value;
    },
  };
}

/** @returns what the file keeps; undefined when it is not there or of another form, so that it is made anew */
async function keptIn(file: string): Promise<z.infer<typeof fileSchema> | undefined> {
  const text = await readTextIfThere(file);
  if (text === undefined) return undefined;
  try {
    return fileSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

interface Sample {
  readonly label: 'plain' | 'translated' | 'checked';
  readonly meaning: PlainMeaning;
}

const nothing = { env: {}, shellHook: '', command: null, ports: [] };

/**
 * The configs that are evaluated to learn from (the first two) and to check what was learned: with nixpkgs' names and all that
 * a config can say, and with packages whose files lie in other archives.
 */
function samplesOf(index: IndexFiles): Sample[] | undefined {
  const [first] = ['grep', 'hostname', 'bash', 'base-files'].filter((name) => index.has(name));
  if (first === undefined) return undefined;
  const [locale] = ['locales', 'locales-all'].filter((name) => index.has(name));
  const known = ['git', 'python3', 'xz-utils', 'libssl-dev', 'g++', first].filter((name) => index.has(name));
  return [
    { label: 'plain', meaning: { ...nothing, packages: [first] } },
    ...(locale === undefined ? [] : [{ label: 'translated', meaning: { ...nothing, packages: [locale] } } as const]),
    {
      label: 'checked',
      meaning: {
        packages: known.reverse(),
        env: { ZERO: '', A: 'a "quoted" $text\n\tand \\ more' },
        shellHook: 'echo "$A"\n',
        command: ['sh', '-c', 'echo "ü" \\ \n'],
        ports: [80, 8080],
      },
    },
  ];
}

/** @returns the text of a config of that meaning */
export function configOf({ meaning }: { readonly meaning: PlainMeaning }): string {
  const { packages, env, shellHook, command, ports } = meaning;
  const lines = [
    `packages = [ ${packages.map((name) => `pkgs.${nixString(name)}`).join(' ')} ];`,
    `env = { ${Object.entries(env)
      .map(([name, value]) => `${name} = ${nixString(value)};`)
      .join(' ')} };`,
    `shellHook = ${nixString(shellHook)};`,
    ...(command === null ? [] : [`command = [ ${command.map(nixString).join(' ')} ];`]),
    `ports = [ ${ports.join(' ')} ];`,
  ];
  return `{ pkgs, ... }:\n{\n  ${lines.join('\n  ')}\n}\n`;
}

/** @returns the text as a Nix string that means just it */
function nixString(text: string): string {
  return `"${text.replace(/[\\"$]/g, '\\$&')}"`;
}
