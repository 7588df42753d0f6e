/** The payload of a cosign signature: Red Hat's "simple signing" (containers-signature(5), "JSON data format"). */
import { z } from 'zod';
import type { Digest } from '../../core/digest.ts';

export const simpleSigningType = 'application/vnd.dev.cosign.simplesigning.v1+json';
const type = 'cosign container image signature';

const payloadSchema = z.looseObject({
  critical: z.looseObject({
    image: z.looseObject({ 'docker-manifest-digest': z.string() }),
    type: z.literal(type),
  }),
});

/** @param name the image's name without a tag; cosign ignores it, and people read it */
export function simpleSigningPayload(name: string, image: Digest): Uint8Array {
  const critical = { identity: { 'docker-reference': name }, image: { 'docker-manifest-digest': image }, type };
  return Buffer.from(JSON.stringify({ critical, optional: null }));
}

/** @returns whether the payload says that it is about the image */
export function payloadMatches(payload: Uint8Array, image: Digest): boolean {
  try {
    const { critical } = payloadSchema.parse(JSON.parse(Buffer.from(payload).toString('utf8')));
    return critical.image['docker-manifest-digest'] === image;
  } catch {
    return false;
  }
}
