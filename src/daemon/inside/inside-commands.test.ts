import { expect, test } from 'vitest';
import { BerthError } from '../../core/errors.ts';
import { answerInside, createRateLimit, parseInsideCommand } from './inside-commands.ts';

test('knows the plain forms', () => {
  expect(parseInsideCommand(['add', 'ripgrep', 'debian.git', 'nodejs@18', 'libstdc++6'])).toEqual({
    verb: 'add',
    names: ['ripgrep', 'debian.git', 'nodejs@18', 'libstdc++6'],
  });
  expect(parseInsideCommand(['history', '--json'])).toEqual({ verb: 'history', json: true });
  expect(parseInsideCommand(['rollback', '--to', '12'])).toEqual({ verb: 'rollback', to: 12 });
  expect(parseInsideCommand(['rollback'])).toEqual({ verb: 'rollback', to: undefined });
});

test.each([
  [[]],
  [['up']],
  [['rm', 'web']],
  [['add']],
  [['add', '--to', '/etc']],
  [['add', '../x']],
  [['add', 'a b']],
  [['add', 'x"; builtins.readFile /etc/shadow; "']],
  [['add', 'x'.repeat(200)]],
  [['add', ...Array.from({ length: 65 }, () => 'x')]],
  [['history', 'other-berth']],
  [['rollback', '--to', '0']],
  [['rollback', '--to', '1e3']],
])('refuses %j', (argv) => {
  expect(() => parseInsideCommand(argv)).toThrow(expect.objectContaining({ code: 'USAGE' }) as Error);
});

test('takes a burst, and then one every two seconds', () => {
  let now = 0;
  const limit = createRateLimit(() => now);
  for (let count = 0; count < 20; count += 1) limit.take();
  expect(() => limit.take()).toThrow(expect.objectContaining({ code: 'RATE_LIMITED' }) as Error);
  now += 2000;
  limit.take();
  expect(() => limit.take()).toThrow();
});

test('tells an error as the command does, with the project where the berth has it, and exits so', async () => {
  const said: string[] = [];
  const fail = () =>
    Promise.reject(new BerthError('CONFIG_SYNTAX', '/home/ada/p/config.nix is not valid.', { hint: 'Mend it.' }));
  const code = await answerInside(
    { editFromInside: fail, history: fail, rollback: fail },
    { id: '1', directory: '/home/ada/p' },
    {
      argv: ['add', 'jq'],
      signal: new AbortController().signal,
      stdout: () => undefined,
      stderr: (text) => said.push(text),
    },
    createRateLimit(),
    () => undefined,
  );
  expect(code).toBe(65);
  expect(said.join('')).toBe('error[CONFIG_SYNTAX]: /work/config.nix is not valid.\nhint: Mend it.\n');
});
