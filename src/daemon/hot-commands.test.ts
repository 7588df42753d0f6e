import { describe, expect, it } from 'vitest';
import { parseHotCommand } from './hot-commands.ts';

const parse = (line: string) => parseHotCommand(line.split(' '), '/home/ada');

describe('parseHotCommand', () => {
  it.each([
    ['run . -- node --version', { verb: 'run', path: '/home/ada', argv: ['node', '--version'] }],
    ['run -- true', { verb: 'run', path: '/home/ada', argv: ['true'] }],
    ['run /p -- sh -c -- x', { verb: 'run', path: '/p', argv: ['sh', '-c', '--', 'x'] }],
    ['shell', { verb: 'run', path: '/home/ada', argv: [] }],
    ['shell ../eve', { verb: 'run', path: '/home/eve', argv: [] }],
    ['exec web -- ls -l', { verb: 'exec', name: 'web', argv: ['ls', '-l'] }],
    ['exec web ls -l', { verb: 'exec', name: 'web', argv: ['ls', '-l'] }],
    ['env', { verb: 'env', path: '/home/ada', json: false }],
    ['env --json p', { verb: 'env', path: '/home/ada/p', json: true }],
    ['up --json', { verb: 'up', path: '/home/ada', json: true }],
    ['up --name x p', { verb: 'up', path: '/home/ada/p', name: 'x', json: false }],
    ['ps', { verb: 'ps', json: false, quiet: false }],
    ['ps -q', { verb: 'ps', json: false, quiet: true }],
  ])('knows `%s`', (line, command) => expect(parse(line)).toEqual(command));

  it.each([
    'run .',
    'run --json . -- true',
    'run a b -- true',
    'run . --',
    'shell --nix',
    'shell . -- ls',
    'exec',
    'exec web',
    'exec web --',
    'exec -w /tmp web -- ls',
    'exec web ls -- x',
    'env --nonsense',
    'up --name',
    'up --name --json',
    'up --name x --name y',
    'up --name=x',
    'exec web ls --json',
    'up a b',
    'ps --verbose',
    'ps web',
    'stop web',
    '--help',
  ])('leaves `%s` to the Node command', (line) => expect(parse(line)).toBeUndefined());
});
