import { describe, expect, test } from 'vitest';
import { checkName, nameFor } from './berth-name.ts';

describe('nameFor', () => {
  const free = () => undefined;

  test('takes the name of the folder, in the letters that a name may have', () => {
    expect(nameFor('/home/me/My Project!', free)).toBe('my-project-');
    expect(checkName(nameFor('/home/me/_x', free))).toBe('x');
    expect(nameFor('/', free)).toBe('berth');
  });

  test('keeps the name for the project that has it, and tells another one apart', () => {
    const takenBy = () => '/a/app';
    expect(nameFor('/a/app', takenBy)).toBe('app');
    expect(nameFor('/b/app', takenBy)).toMatch(/^app-[0-9a-f]{4}$/);
  });
});

test('a name with capitals or a slash is refused', () => {
  for (const name of ['App', 'a/b', '', '-a', 'a'.repeat(64)]) {
    expect(() => checkName(name)).toThrow(/is not a name for a berth/);
  }
});
