/** Says why each stage of a config hits or misses. */
import type { Digest } from '../core/digest.ts';

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
