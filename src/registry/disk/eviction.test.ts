import { describe, expect, test } from 'vitest';
import type { BlobDigest } from '../../oci/blobs/blob-store.ts';
import { cooled, heatHalfLifeMs } from '../heat.ts';
import { cheapestToLose, createShares } from './eviction.ts';

const blob = (name: string) => `sha256:${name}` as BlobDigest;
const sizes: Record<string, number> = {
  'sha256:base': 1000,
  'sha256:big': 500,
  'sha256:small': 10,
  'sha256:other': 10,
};
const sizeOf = (digest: BlobDigest) => sizes[digest] ?? 0;
const image = (
  name: string,
  blobs: string[],
  more: { heat?: number; costMs?: number | null; usedAt?: number } = {},
) => ({
  name,
  blobs: blobs.map(blob),
  heat: 1,
  costMs: 10_000,
  usedAt: 0,
  ...more,
});
const first = (images: ReturnType<typeof image>[]) => cheapestToLose(images, createShares(images, sizeOf))?.name;

describe('the image to lose first', () => {
  test('is the one that frees most, where use and cost are equal', () => {
    expect(first([image('small', ['base', 'small']), image('big', ['base', 'big'])])).toBe('big');
  });

  test('is the one that is used least, where the rest is equal', () => {
    expect(first([image('hot', ['small'], { heat: 5 }), image('cold', ['other'], { heat: 0.1 })])).toBe('cold');
  });

  test('is the one that is built again soonest, where the rest is equal', () => {
    expect(first([image('slow', ['small'], { costMs: 600_000 }), image('quick', ['other'])])).toBe('quick');
    expect(first([image('pushed', ['small'], { costMs: null }), image('built', ['other'], { costMs: 600_000 })])).toBe(
      'built',
    );
  });

  test('is one that frees something, before one whose blobs all others need too', () => {
    expect(first([image('a', ['base'], { heat: 0.001 }), image('b', ['base', 'small'], { heat: 9 })])).toBe('b');
    // Two that share all with each other would otherwise stay for ever.
    expect(first([image('a', ['base'], { heat: 0.001 }), image('b', ['base'])])).toBe('a');
  });

  test('is none where there is none', () => {
    expect(first([])).toBeUndefined();
  });
});

test('shares are counted anew when an image goes', () => {
  const [a, b] = [image('a', ['base', 'small']), image('b', ['base', 'big'])];
  const shares = createShares([a, b], sizeOf);
  expect(shares.sizes(a)).toEqual({ bytes: 1010, sharedBytes: 1000, uniqueBytes: 10 });
  shares.remove(b);
  expect(shares.sizes(a)).toEqual({ bytes: 1010, sharedBytes: 0, uniqueBytes: 1010 });
});

test('heat halves with each half-life', () => {
  expect(cooled(8, 3 * heatHalfLifeMs)).toBeCloseTo(1);
  expect(cooled(8, -5)).toBe(8);
});
