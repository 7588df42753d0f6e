/**
 * What a trace belongs to: everything that an evaluation depends on and that is not read from the config's own files.
 * Two evaluations of one subject can differ only by what their traces say.
 */
import { digestOfJson, type Digest } from '../core/digest.ts';
import type { LockedPackage } from '../config/lock.ts';
import type { LockedSource } from '../sources/source.ts';

export interface Subject {
  /** Absolute path of the config. */
  readonly file: string;
  /** The locked sources by name: the lock's part of the key. */
  readonly sources: Readonly<Record<string, LockedSource>>;
  /** Packages of versions that the config names, as they are locked; absent where there are none. */
  readonly packages?: Readonly<Record<string, LockedPackage>>;
  readonly withNix: boolean;
  /** Berth's own Nix code and the settings that an evaluation depends on. */
  readonly evaluator: EvaluatorIdentity;
}

export interface EvaluatorIdentity {
  /** Digest of Berth's nix/ folder. */
  readonly code: Digest;
  /** `x86_64-linux` */
  readonly system: string;
  readonly allowUnfree: boolean;
  readonly allowImportFromDerivation: boolean;
}

/** @returns the key under which the subject's traces are kept */
export function subjectKey(subject: Subject): Digest {
  return digestOfJson(subject);
}

/** @returns what differs between two subjects of one config, in words; empty when nothing does */
export function subjectDifference(before: Subject, after: Subject): { kind: string; name: string; reason: string }[] {
  const differences: { kind: string; name: string; reason: string }[] = [];
  const names = new Set([...Object.keys(before.sources), ...Object.keys(after.sources)]);
  for (const name of [...names].sort()) {
    const was = before.sources[name];
    const is = after.sources[name];
    if (JSON.stringify(was) === JSON.stringify(is)) continue;
    const reason = `berth.lock: source ${name} was ${was?.label ?? 'not locked'}, is ${is?.label ?? 'not locked'}`;
    differences.push({ kind: 'source', name, reason });
  }
  const keys = new Set([...Object.keys(before.packages ?? {}), ...Object.keys(after.packages ?? {})]);
  for (const key of [...keys].sort()) {
    const [was, is] = [before.packages?.[key], after.packages?.[key]];
    if (JSON.stringify(was) === JSON.stringify(is)) continue;
    const [from, to] = [was, is].map((it) => (it ? `${it.version} (${it.origin})` : 'not locked'));
    differences.push({ kind: 'package', name: key, reason: `berth.lock: ${key} was ${from}, is ${to}` });
  }
  if (before.withNix !== after.withNix) {
    differences.push({
      kind: 'option',
      name: 'nix',
      reason: `--nix was ${onOff(before.withNix)}, is ${onOff(after.withNix)}`,
    });
  }
  if (before.evaluator.code !== after.evaluator.code) {
    differences.push({ kind: 'berth', name: 'nix/', reason: "Berth's own Nix code is another version" });
  }
  for (const setting of ['system', 'allowUnfree', 'allowImportFromDerivation'] as const) {
    if (before.evaluator[setting] === after.evaluator[setting]) continue;
    differences.push({
      kind: 'setting',
      name: setting,
      reason: `setting ${setting} was ${String(before.evaluator[setting])}, is ${String(after.evaluator[setting])}`,
    });
  }
  return differences;
}

function onOff(value: boolean): string {
  return value ? 'on' : 'off';
}
