/** All commands: name, one line about each, and how to load it. Only the one that is asked for is loaded. */
import type { Command } from 'commander';
import type { CommandContext } from './context.ts';

export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<(context: CommandContext) => Command>;
}

export const commands: readonly CommandEntry[] = [
  {
    name: 'up',
    summary: 'Make the environment of a config ready, and a berth with it',
    load: async () => (await import('./commands/up.ts')).upCommand,
  },
  {
    name: 'shell',
    summary: 'Open a shell in the environment of a config',
    load: async () => (await import('./commands/shell.ts')).shellCommand,
  },
  {
    name: 'run',
    summary: 'Run one command in the environment of a config',
    load: async () => (await import('./commands/run.ts')).runCommandCommand,
  },
  {
    name: 'exec',
    summary: 'Run a command in a berth',
    load: async () => (await import('./commands/exec.ts')).execCommand,
  },
  {
    name: 'env',
    summary: 'Print the variables of the environment of a config',
    load: async () => (await import('./commands/env.ts')).envCommand,
  },
  {
    name: 'build',
    summary: 'Make an image of the environment of a config',
    load: async () => (await import('./commands/build.ts')).buildCommand,
  },
  { name: 'ps', summary: 'List berths', load: async () => (await import('./commands/ps.ts')).psCommand },
  {
    name: 'logs',
    summary: "Print the output of a berth's command",
    load: async () => (await import('./commands/logs.ts')).logsCommand,
  },
  { name: 'stop', summary: 'Stop berths', load: async () => (await import('./commands/stop.ts')).stopCommand },
  {
    name: 'start',
    summary: 'Start stopped berths',
    load: async () => (await import('./commands/start.ts')).startCommand,
  },
  { name: 'rm', summary: 'Remove berths', load: async () => (await import('./commands/rm.ts')).rmCommand },
  {
    name: 'explain',
    summary: 'Tell why each stage hits or misses, and what changed',
    load: async () => (await import('./commands/explain.ts')).explainCommand,
  },
  {
    name: 'lock',
    summary: "Lock a config's sources to a revision",
    load: async () => (await import('./commands/lock.ts')).lockCommand,
  },
  {
    name: 'search',
    summary: 'Find packages',
    load: async () => (await import('./commands/search.ts')).searchCommand,
  },
  {
    name: 'add',
    summary: 'Write packages into a config, and give them to its berths',
    load: async () => (await import('./commands/add.ts')).addCommand,
  },
  {
    name: 'remove',
    summary: 'Take packages out of a config, and from its berths',
    load: async () => (await import('./commands/remove.ts')).removeCommand,
  },
  {
    name: 'history',
    summary: 'List the environments that a berth had',
    load: async () => (await import('./commands/history.ts')).historyCommand,
  },
  {
    name: 'rollback',
    summary: 'Give a berth an earlier environment again',
    load: async () => (await import('./commands/rollback.ts')).rollbackCommand,
  },
  {
    name: 'builds',
    summary: 'Tell what is built and was built, and cancel builds',
    load: async () => (await import('./commands/builds.ts')).buildsCommand,
  },
  {
    name: 'seed',
    summary: 'Have packages in the store before they are needed',
    load: async () => (await import('./commands/seed.ts')).seedCommand,
  },
  {
    name: 'gc',
    summary: 'Drop what nothing needs',
    load: async () => (await import('./commands/gc.ts')).gcCommand,
  },
  {
    name: 'du',
    summary: 'Tell what environments, seeds and images take of the disk',
    load: async () => (await import('./commands/du.ts')).duCommand,
  },
  {
    name: 'pool',
    summary: 'Tell how many started containers wait for an environment',
    load: async () => (await import('./commands/pool.ts')).poolCommand,
  },
  {
    name: 'images',
    summary: 'See and keep the images that the registry has',
    load: async () => (await import('./commands/images.ts')).imagesCommand,
  },
  {
    name: 'serve',
    summary: 'Run the daemon in the foreground',
    load: async () => (await import('./commands/serve.ts')).serveCommand,
  },
  {
    name: 'doctor',
    summary: 'Tell what is there and what is missing',
    load: async () => (await import('./commands/doctor.ts')).doctorCommand,
  },
  {
    name: 'demo',
    summary: 'Make three example projects ready and show how long each step takes',
    load: async () => (await import('./commands/demo.ts')).demoCommand,
  },
  {
    name: 'bench',
    summary: 'Measure the modes against each other on this machine',
    load: async () => (await import('./commands/bench.ts')).benchCommand,
  },
  {
    name: 'completion',
    summary: 'Print a completion script for a shell',
    load: async () => (await import('./commands/completion.ts')).completionCommand,
  },
  {
    name: 'version',
    summary: 'Print the version',
    load: async () => (await import('./commands/version.ts')).versionCommand,
  },
];
