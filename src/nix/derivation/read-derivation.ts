/** Reads derivations that are in the store. */
import { readFileSync } from 'node:fs';
import { physicalPath, type Store } from '../store.ts';
import { parseAterm, writeAterm, type Derivation } from './aterm.ts';
import { sha256Hex } from './store-hash.ts';

export interface DerivationReader {
  /** @throws BerthError INTERNAL when it can't be read as one */
  read(drvPath: string): Derivation;
  /** @returns what stands for the derivation in the hash of one that uses it; see derivation.ts */
  modulo(drvPath: string): string;
}

/** @returns a reader that reads each derivation once */
export function createDerivationReader(store: Store): DerivationReader {
  const derivations = new Map<string, Derivation>();
  const modulos = new Map<string, string>();

  function read(drvPath: string): Derivation {
    const derivation = derivations.get(drvPath) ?? parseAterm(readFileSync(physicalPath(store, drvPath), 'utf8'));
    derivations.set(drvPath, derivation);
    return derivation;
  }

  function modulo(drvPath: string): string {
    const value = modulos.get(drvPath) ?? moduloOf(read(drvPath));
    modulos.set(drvPath, value);
    return value;
  }

  function moduloOf(derivation: Derivation): string {
    const [output] = derivation.outputs;
    if (output && output.hash !== '') return sha256Hex(`fixed:out:${output.algorithm}:${output.hash}:${output.path}`);
    const outputsOf = new Map<string, Set<string>>();
    for (const [path, outputs] of derivation.inputDrvs) {
      outputsOf.set(modulo(path), new Set([...(outputsOf.get(modulo(path)) ?? []), ...outputs]));
    }
    const inputDrvs = [...outputsOf]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([path, outputs]) => [path, [...outputs].sort()] as const);
    return sha256Hex(writeAterm({ ...derivation, inputDrvs }));
  }

  return { read, modulo };
}
