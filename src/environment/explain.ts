/** Says why each stage of a config hits or misses, without doing any of them. */
import type { Digest } from '../core/digest.ts';
import { checkTrace } from '../nix/observe.ts';
import type { Observation } from '../nix/read-trace.ts';
import type { BuildStep } from './build-step.ts';
import type { EnvironmentRecords, TraceRecord } from './records.ts';
import { subjectDifference, type Subject } from './subject.ts';

export type StageName = 'trace' | 'derivation' | 'closure' | 'image';

export interface StageExplanation {
  readonly stage: StageName;
  /** `unknown`: decided only by doing the stage before it. */
  readonly verdict: 'hit' | 'miss' | 'unknown';
  /** One sentence for people; names the file, variable, directory or source that changed. */
  readonly reason: string;
  /** What changed, for programs. */
  readonly changed?: { readonly kind: string; readonly name: string };
}

export interface Explanation {
  readonly configFile: string;
  readonly configDigest: Digest;
  readonly environmentDigest: Digest | null;
  readonly stages: readonly StageExplanation[];
}

/**
 * @param subject of the config as it is now
 * @param variables that an evaluation would be given now
 */
export function explainStages(
  subject: Subject,
  variables: Readonly<Record<string, string>>,
  records: EnvironmentRecords,
  builds: BuildStep,
): { stages: StageExplanation[]; environmentDigest: Digest | null } {
  const traces = records.traces(subject);
  const hit = traces.find((record) => checkTrace(record.trace, variables).same);
  if (!hit) {
    const later = (stage: StageName): StageExplanation => ({
      stage,
      verdict: 'unknown',
      reason: 'decided when the config is evaluated',
    });
    return {
      stages: [
        missedTrace(subject, variables, traces[0] ?? records.newestTraceOf(subject.file)),
        later('derivation'),
        later('closure'),
        later('image'),
      ],
      environmentDigest: null,
    };
  }
  const environment = builds.known(hit.evaluated);
  return {
    stages: [
      {
        stage: 'trace',
        verdict: 'hit',
        reason:
          hit.how === 'parsed'
            ? `nothing has changed of the config, which only lists packages: it was parsed, not evaluated`
            : `nothing has changed of the ${counted(hit.trace)} that the last evaluation read`,
      },
      environment
        ? { stage: 'derivation', verdict: 'hit', reason: `${hit.evaluated.drvPath} is built` }
        : {
            stage: 'derivation',
            verdict: 'miss',
            reason: `${hit.evaluated.drvPath} is not built, or its output was collected`,
            changed: { kind: 'derivation', name: hit.evaluated.drvPath },
          },
      environment
        ? { stage: 'closure', verdict: 'hit', reason: `${environment.closure.paths.length} paths are in the store` }
        : { stage: 'closure', verdict: 'unknown', reason: 'decided when the environment is built' },
      { stage: 'image', verdict: 'unknown', reason: 'mode shell needs no image' },
    ],
    environmentDigest: environment?.digest ?? null,
  };
}

function missedTrace(
  subject: Subject,
  variables: Readonly<Record<string, string>>,
  newest: TraceRecord | undefined,
): StageExplanation {
  if (!newest)
    return { stage: 'trace', verdict: 'miss', reason: `${subject.file} was never evaluated successfully here` };
  const difference = subjectDifference(newest.subject, subject)[0];
  if (difference) {
    const { kind, name, reason } = difference;
    return { stage: 'trace', verdict: 'miss', reason, changed: { kind, name } };
  }
  const check = checkTrace(newest.trace, variables);
  if (check.same) return { stage: 'trace', verdict: 'miss', reason: 'the last evaluation was of another subject' };
  return {
    stage: 'trace',
    verdict: 'miss',
    reason: sentence(check.changed, check.now),
    changed: {
      kind: check.changed.kind,
      name: check.changed.kind === 'variable' ? check.changed.name : check.changed.path,
    },
  };
}

/** @returns what changed, in words */
function sentence(was: Observation, now: Observation): string {
  if (was.kind === 'variable') {
    return `variable ${was.name} was ${quoted(was.value)}, is ${now.kind === 'variable' ? quoted(now.value) : 'changed'}`;
  }
  if (now.kind === 'absent') return `${was.path} is gone`;
  switch (was.kind) {
    case 'absent':
      return `${was.path} was not there and now is`;
    case 'file':
      return `${was.path} has another content`;
    case 'listing':
      return `directory ${was.path} has other entries`;
    case 'link':
      return `link ${was.path} pointed to ${was.target}${now.kind === 'link' ? `, points to ${now.target}` : ''}`;
    case 'exists':
      return `${was.path} was a ${was.type}${now.kind === 'exists' ? `, is a ${now.type}` : ''}`;
  }
}

function quoted(value: string | null): string {
  return value === null ? 'not set' : JSON.stringify(value);
}

function counted(trace: readonly Observation[]): string {
  const names: Readonly<Record<Observation['kind'], string>> = {
    file: 'files',
    absent: 'absent files',
    listing: 'directories',
    link: 'links',
    exists: 'looked-up paths',
    variable: 'variables',
  };
  const counts = new Map<string, number>();
  for (const { kind } of trace) counts.set(names[kind], (counts.get(names[kind]) ?? 0) + 1);
  return [...counts].map(([name, count]) => `${count} ${name}`).join(', ') || 'nothing';
}
