/** in-toto statements (github.com/in-toto/attestation, Statement v1): a claim of some type about an image. */
import { z } from 'zod';
import { canonicalJson, type Digest } from '../../core/digest.ts';

export const statementPayloadType = 'application/vnd.in-toto+json';

export const statementSchema = z.looseObject({
  _type: z.string(),
  subject: z.array(z.looseObject({ name: z.string().optional(), digest: z.record(z.string(), z.string()) })),
  predicateType: z.string(),
  predicate: z.unknown(),
});

export interface Predicate {
  readonly type: string;
  readonly content: unknown;
}

export const predicateTypes = {
  cycloneDx: 'https://cyclonedx.org/bom',
  provenance: 'https://slsa.dev/provenance/v1',
} as const;

/** @returns the statement's bytes, the same for the same claim about the same image */
export function statementOf(
  subject: { readonly name: string; readonly digest: Digest },
  predicate: Predicate,
): Uint8Array {
  return Buffer.from(
    canonicalJson({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ name: subject.name, digest: { sha256: subject.digest.slice('sha256:'.length) } }],
      predicateType: predicate.type,
      predicate: predicate.content,
    }),
  );
}
