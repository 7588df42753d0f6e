/**
 * What Nix names a derivation and its output, worked out as Nix does, without it: see "Derivations" and "Store path" of
 * Nix's manual, and hashDerivationModulo in its src/libstore/derivations.cc. Derivations of one output `out` only, which
 * is either fixed by a flat SHA-256 or named by the derivation's inputs.
 */
import { type StorePath } from '../store.ts';
import { writeAterm, type Derivation } from './aterm.ts';
import { sha256Hex, storePathOfHash, textPath } from './store-hash.ts';

/** A derivation whose paths are known. */
export interface NamedDerivation {
  readonly drvPath: StorePath;
  readonly outPath: StorePath;
  /** What stands for it in the hash of a derivation that uses it: equal for all that give the same output. */
  readonly modulo: string;
  /** What is in the .drv file. */
  readonly text: string;
  /** What the .drv file refers to: sorted. */
  readonly references: readonly string[];
}

/** What a derivation consists of before it has a name. */
export interface DerivationParts extends Pick<Derivation, 'platform' | 'builder' | 'args'> {
  readonly name: string;
  /** Without `out`. */
  readonly env: Readonly<Record<string, string>>;
  readonly inputs: readonly Pick<NamedDerivation, 'drvPath' | 'modulo'>[];
  readonly inputSrcs: readonly string[];
}

/** @returns the derivation named by its inputs */
export function nameDerivation(parts: DerivationParts): NamedDerivation {
  const { name } = parts;
  const inputs = [...new Map(parts.inputs.map((input) => [input.drvPath, input] as const)).values()];
  const byPath = inputs.map(({ drvPath }) => [drvPath, out] as const).sort(byFirst);
  // Inputs that give the same output stand there once.
  const byModulo = [...new Set(inputs.map(({ modulo }) => modulo))].sort().map((modulo) => [modulo, out] as const);
  const inputSrcs = [...new Set(parts.inputSrcs)].sort();
  const textOf = (path: string, inputDrvs: Derivation['inputDrvs']) =>
    writeAterm({
      ...parts,
      outputs: [{ name: 'out', path, algorithm: '', hash: '' }],
      inputDrvs,
      inputSrcs,
      env: sortedEnv(parts.env, path),
    });
  const outPath = storePathOfHash('output:out', sha256Hex(textOf('', byModulo)), name);
  const modulo = sha256Hex(textOf(outPath, byModulo));
  return written(name, outPath, modulo, textOf(outPath, byPath), [...inputSrcs, ...byPath.map(([path]) => path)]);
}

/** @returns the derivation whose output is a file of that hash (SHA-256, base 16); it has no inputs */
export function nameFixedDerivation(
  parts: Omit<DerivationParts, 'inputs' | 'inputSrcs'> & { readonly hash: string },
): NamedDerivation {
  const { name, hash } = parts;
  const outPath = storePathOfHash('output:out', sha256Hex(`fixed:out:sha256:${hash}:`), name);
  const text = writeAterm({
    ...parts,
    outputs: [{ name: 'out', path: outPath, algorithm: 'sha256', hash }],
    inputDrvs: [],
    inputSrcs: [],
    env: sortedEnv(parts.env, outPath),
  });
  return written(name, outPath, sha256Hex(`fixed:out:sha256:${hash}:${outPath}`), text, []);
}

const out = ['out'] as const;

function byFirst(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : 1;
}

function sortedEnv(env: Readonly<Record<string, string>>, path: string): (readonly [string, string])[] {
  return Object.entries({ ...env, out: path }).sort(byFirst);
}

function written(
  name: string,
  outPath: StorePath,
  modulo: string,
  text: string,
  references: readonly string[],
): NamedDerivation {
  const sorted = [...references].sort();
  return { drvPath: textPath(`${name}.drv`, text, sorted), outPath, modulo, text, references: sorted };
}
