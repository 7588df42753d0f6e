import { expect, test } from 'vitest';
import { nearestPackageNames, parseSearchFile, searchEntries } from './package-search.ts';

const entries = parseSearchFile(
  'vim\t9\tVi IMproved\nvim-tiny\t9\tVi IMproved, small\nneovim\t1\theavily refactored vim fork\n' +
    'libvim1\t1\tlibrary\nripgrep\t13\tRecursively searches for a regex, like vim users do\n',
);
const names = (query: string, limit = 10) => searchEntries(entries, query, limit).map((entry) => entry.name);

test('the name itself comes first, then beginnings, then parts, then descriptions', () => {
  expect(names('vim')).toEqual(['vim', 'vim-tiny', 'neovim', 'libvim1', 'ripgrep']);
  expect(names('VIM', 2)).toEqual(['vim', 'vim-tiny']);
});

test('all words must occur', () => {
  expect(names('vim small')).toEqual(['vim-tiny']);
  expect(names('vim absent')).toEqual([]);
  expect(names('  ')).toEqual([]);
});

test('names a user may have meant', () => {
  expect(
    nearestPackageNames(
      'ripgrpe',
      entries.map((entry) => entry.name),
    )[0],
  ).toBe('ripgrep');
});
