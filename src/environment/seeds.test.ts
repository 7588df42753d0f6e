import { expect, test } from 'vitest';
import { rank, seedRootOf } from './seeds.ts';
import type { Usage } from './storage-records.ts';

function used(file: string, usedAt: number, ...packages: string[]): Usage {
  return {
    file,
    environmentKey: `${file}#${packages.join()}`,
    packages: packages.map((name) => ({ name, version: '1:2~3', source: 'debian' })),
    sources: {},
    usedAt,
  };
}

test('rank puts first what the most projects use and what weighs most, and knows what is seeded', () => {
  const usage = [used('/a', 1, 'git', 'gcc'), used('/a', 5, 'git'), used('/b', 9, 'git', 'jq'), used('/c', 2, 'jq')];
  const sizes = new Map([
    ['gcc-1_2-3', 1000],
    ['git-1_2-3', 100],
    ['jq-1_2-3', 10],
  ]);
  expect(rank(usage, sizes, new Set(['jq@1:2~3']))).toEqual([
    expect.objectContaining({ name: 'gcc', projects: 1, environments: 1, bytes: 1000, seeded: false }),
    expect.objectContaining({
      name: 'git',
      projects: 2,
      environments: 3,
      bytes: 100,
      usedAt: new Date(9).toISOString(),
    }),
    expect.objectContaining({ name: 'jq', projects: 2, environments: 2, bytes: 10, seeded: true }),
  ]);
});

test('the root of a seed has a name that a file can have, whatever the seed is called', () => {
  expect(seedRootOf('/home/ada/my project/config.nix')).toMatch(/^seed-[0-9a-f]{16}$/);
  expect(seedRootOf('a')).not.toBe(seedRootOf('b'));
});
