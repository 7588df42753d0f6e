/**
 * What all derivations of one index have in common: builders, arguments and scripts. It is taken from derivations that Nix
 * made of sample configs, so that the Nix code stays the one place that says them.
 */
import { z } from 'zod';
import { BerthError } from '../../../core/errors.ts';
import type { Derivation } from '../../../nix/derivation/aterm.ts';
import type { DerivationReader } from '../../../nix/derivation/read-derivation.ts';
import { debianRulesSchema, type DebianRules } from '../../../nix/evaluate-together.ts';
import { isStorePath, storePathOf, type StorePath } from '../../../nix/store.ts';

const storePath = z.custom<StorePath>((value) => typeof value === 'string' && isStorePath(value), 'no store path');
const input = z.strictObject({ drvPath: storePath, outPath: storePath, modulo: z.string() });
const body = z.strictObject({
  platform: z.string(),
  builder: z.string(),
  args: z.array(z.string()),
  env: z.record(z.string(), z.string()),
  inputSrcs: z.array(storePath),
});

export const debianTemplateSchema = z.strictObject({
  rules: debianRulesSchema,
  fetch: body,
  unpack: body,
  view: body,
  /** The variable `omitted` of a view without and with a package of `rules.locales`. */
  omitted: z.strictObject({ plain: z.string(), translated: z.string() }),
  /** Derivations that every view uses, whatever its members. */
  viewInputs: z.array(input),
  /** What is made from members of the view, by the member's name. */
  made: z.record(z.string(), input),
  environment: body,
});

export type DebianTemplate = z.infer<typeof debianTemplateSchema>;
type Body = z.infer<typeof body>;

/** The environments of two samples. */
export interface Samples {
  /** Of a config that lists this package and nothing else. */
  readonly plain: { readonly drvPath: string; readonly package: string };
  /** The same of a package of `rules.locales`; undefined where the suite has none. */
  readonly translated: { readonly drvPath: string } | undefined;
}

/** @throws BerthError INTERNAL when the derivations are not of the form that is expected */
export function learnTemplate(rules: DebianRules, samples: Samples, reader: DerivationReader): DebianTemplate {
  const environment = reader.read(samples.plain.drvPath);
  const [viewPath] = environment.inputDrvs[0] ?? [];
  if (viewPath === undefined || environment.inputDrvs.length !== 1) throw unlike('an environment has one input');
  const view = reader.read(viewPath);
  const inputs = new Map(view.inputDrvs.map(([drvPath]) => [outPathOf(reader.read(drvPath)), drvPath] as const));
  const inputOf = (path: string | undefined) => {
    const drvPath = path === undefined ? undefined : inputs.get(path);
    if (path === undefined || drvPath === undefined) throw unlike(`a view has ${String(path)} among its inputs`);
    return input.parse({ drvPath, outPath: path, modulo: reader.modulo(drvPath) });
  };

  const lines = valueOf(view, 'members')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' '));
  const sampled = inputOf(lines.find(([, name]) => name === samples.plain.package)?.[0]);
  const unpack = reader.read(sampled.drvPath);
  const [fetchPath] = unpack.inputDrvs[0] ?? [];
  if (fetchPath === undefined || unpack.inputDrvs.length !== 1) throw unlike('a package has one input');

  const used = [view.builder, ...view.args].flatMap((text) => text.split(/[:\s]|(?=\/nix\/store\/)/)).map(storePathOf);
  const viewInputs = [...new Set(used)].filter((path) => path !== undefined && inputs.has(path)).map(inputOf);
  const translated = samples.translated && reader.read(reader.read(samples.translated.drvPath).inputDrvs[0]?.[0] ?? '');
  return {
    rules,
    fetch: bodyOf(reader.read(fetchPath), ['name', 'url', 'outputHash']),
    unpack: bodyOf(unpack, ['name', 'package', 'deb']),
    view: bodyOf(view, ['members', 'omitted']),
    omitted: {
      plain: valueOf(view, 'omitted'),
      translated: valueOf(translated ?? view, 'omitted'),
    },
    viewInputs,
    made: Object.fromEntries(
      lines.flatMap(([path, name]) => (name?.startsWith('~') ? [[name.slice(1), inputOf(path)] as const] : [])),
    ),
    environment: bodyOf(environment, ['berthFhs', 'berthVariables']),
  };
}

/** @returns what is the same for all derivations of the kind: without `out` and the variables that differ */
function bodyOf(derivation: Derivation, differing: readonly string[]): Body {
  const { platform, builder, args, inputSrcs } = derivation;
  for (const name of differing) valueOf(derivation, name);
  const env = derivation.env.filter(([name]) => name !== 'out' && !differing.includes(name));
  return body.parse({ platform, builder, args, inputSrcs, env: Object.fromEntries(env) });
}

function outPathOf({ outputs }: Derivation): string {
  const [output] = outputs;
  if (!output || outputs.length > 1) throw unlike('a derivation has one output');
  return output.path;
}

function valueOf({ env }: Derivation, name: string): string {
  const value = env.find(([candidate]) => candidate === name)?.[1];
  if (value === undefined) throw unlike(`a derivation has the variable ${name}`);
  return value;
}

function unlike(expected: string): BerthError {
  return new BerthError('INTERNAL', `The Nix code makes other derivations than Berth knows: not so that ${expected}.`);
}
