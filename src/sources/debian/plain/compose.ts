/**
 * The environment of a config that only lists packages of one Debian suite, worked out without the evaluator: the same
 * derivations that nix/evaluate.nix, nix/environment.nix and nix/debian make. Anything out of the ordinary (a package that is
 * not there, is not free, lacks a dependency, conflicts with another) is left to them, which say what is wrong with it.
 */
import { nameDerivation, type NamedDerivation } from '../../../nix/derivation/derivation.ts';
import type { EvaluatedConfig } from '../../../nix/evaluated-config.ts';
import { closureOfPackages } from './closure.ts';
import type { PackageDerivation, PackageDerivations } from './package-derivations.ts';
import type { DebianTemplate } from './template.ts';

/** What a config says that only lists packages. */
export interface PlainMeaning {
  /** Names as in `pkgs.NAME`, in any order. */
  readonly packages: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly shellHook: string;
  readonly command: readonly string[] | null;
  readonly ports: readonly number[];
}

export interface ComposedEnvironment {
  readonly evaluated: EvaluatedConfig;
  readonly environment: NamedDerivation;
  readonly view: NamedDerivation;
  readonly members: readonly PackageDerivation[];
}

/** @returns undefined when the evaluator must say what the config means */
export function composeEnvironment(
  meaning: PlainMeaning,
  packages: PackageDerivations,
  template: DebianTemplate,
  allowUnfree: boolean,
): ComposedEnvironment | undefined {
  const { rules } = template;
  const listed = meaning.packages.map((name) => ({ name, members: membersOf(name, packages, template) }));
  // A package that is listed twice is told twice: rare enough to be left to the evaluator.
  if (listed.length === 0 || new Set(meaning.packages).size !== listed.length) return undefined;
  const explicit = new Set<string>();
  for (const { members } of listed) {
    if (members.length === 0) return undefined;
    for (const member of members) explicit.add(member);
  }
  const wished = [...rules.base, ...[...explicit].flatMap((name) => ownValue(rules.companions, name) ?? [])];
  const members = closureOfPackages([...explicit, ...wished], {
    get: (name) => packages.get(name),
    scriptsOnly: new Set(rules.scriptsOnly),
    allowUnfree,
  });
  if (!members) return undefined;
  const view = viewOf(members, explicit, template);
  const environment = environmentOf(meaning, view, template);
  const told = listed
    .map(({ name, members: [main = name] }) => ({ name, version: packages.get(main).version }))
    .sort((a, b) => (`${a.name}-${a.version}` < `${b.name}-${b.version}` ? -1 : 1));
  return {
    evaluated: {
      drvPath: environment.drvPath,
      packages: told.map((it) => ({ ...it, source: 'debian' })),
      shellHook: meaning.shellHook,
      command: meaning.command === null ? null : [...meaning.command],
      ports: [...meaning.ports],
      libraries: {},
    },
    environment,
    view,
    members,
  };
}

/** @returns the Debian packages that a name of `pkgs` stands for; none when it is no package */
function membersOf(name: string, packages: PackageDerivations, { rules }: DebianTemplate): readonly string[] {
  const other = ownValue(rules.names, name);
  if (other !== undefined) return other ?? [];
  return packages.has(name) ? [name] : [];
}

function ownValue<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

/** See nix/debian/view.nix. */
function viewOf(
  members: readonly PackageDerivation[],
  explicit: ReadonlySet<string>,
  template: DebianTemplate,
): NamedDerivation {
  const names = new Set(members.map(({ name }) => name));
  const made = Object.entries(template.made)
    .filter(([member]) => names.has(member))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const lines = [
    ...members.map(({ outPath, name }) => `${outPath} ${name} ${explicit.has(name) ? '1' : '0'}\n`),
    ...made.map(([member, { outPath }]) => `${outPath} ~${member} 0\n`),
  ];
  const translated = template.rules.locales.some((name) => names.has(name));
  return nameDerivation({
    ...template.view,
    name: 'fhs',
    env: {
      ...template.view.env,
      members: lines.join(''),
      omitted: translated ? template.omitted.translated : template.omitted.plain,
    },
    inputs: [...template.viewInputs, ...members, ...made.map(([, input]) => input)],
  });
}

/** See nix/environment.nix. */
function environmentOf(meaning: PlainMeaning, view: NamedDerivation, template: DebianTemplate): NamedDerivation {
  const variables = Object.keys(meaning.env).sort();
  const env: Record<string, string> = {
    ...template.environment.env,
    berthFhs: view.outPath,
    berthVariables: variables.join(' '),
  };
  for (const [index, name] of variables.entries()) env[`berthVariable${index}`] = meaning.env[name] ?? '';
  if (meaning.shellHook !== '') env['shellHook'] = meaning.shellHook;
  if (meaning.command !== null) env['berthCommand'] = JSON.stringify(meaning.command);
  return nameDerivation({ ...template.environment, name: 'environment', env, inputs: [view] });
}
