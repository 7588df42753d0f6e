/** Signed envelopes (DSSE, github.com/secure-systems-lab/dsse): a payload, its type, and signatures over both. */
import { z } from 'zod';
import type { PublicKey, SigningKey } from './signing-key.ts';

export const envelopeSchema = z.looseObject({
  payloadType: z.string(),
  payload: z.base64(),
  signatures: z.array(z.looseObject({ keyid: z.string().optional(), sig: z.base64() })).min(1),
});
export type Envelope = z.infer<typeof envelopeSchema>;

/** @returns the envelope of the payload, signed by the key */
export function signEnvelope(payloadType: string, payload: Uint8Array, key: SigningKey): Envelope {
  const sig = Buffer.from(key.sign(preAuthentication(payloadType, payload))).toString('base64');
  return { payloadType, payload: Buffer.from(payload).toString('base64'), signatures: [{ keyid: '', sig }] };
}

/** @returns the payload when one of the signatures is the key's, else undefined */
export function openEnvelope(envelope: Envelope, key: PublicKey): Uint8Array | undefined {
  const payload = Buffer.from(envelope.payload, 'base64');
  const signed = preAuthentication(envelope.payloadType, payload);
  const isGood = envelope.signatures.some(({ sig }) => key.verify(signed, Buffer.from(sig, 'base64')));
  return isGood ? payload : undefined;
}

/** PAE of the DSSE protocol: with lengths, so that no two pairs of type and payload give the same bytes. */
function preAuthentication(payloadType: string, payload: Uint8Array): Buffer {
  const header = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `;
  return Buffer.concat([Buffer.from(header), payload]);
}
