import type { Command } from 'commander';
import type { PoolStatus } from '../../engine/engine.ts';
import { formatBytes, formatTable } from '../../core/format.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';

export function poolCommand(context: CommandContext): Command {
  return newCommand('pool', 'Tell how many started containers wait for an environment, and what they take.', [
    'berth pool',
    "berth pool --json | jq '.pools[] | {engine, waiting, memoryBytes}'",
  ]).action((options: CommonOptions) =>
    runCommand(context, options, async (run) => {
      const pools = await run.client.pool(run.call);
      run.result({ pools }, () => renderPools(pools));
    }),
  );
}

function renderPools(pools: readonly PoolStatus[]): string {
  if (pools.length === 0) return 'There is no pool: the setting pool.max is 0.';
  const rows = pools.map((pool) => [
    pool.engine,
    String(pool.waiting),
    String(pool.target),
    String(pool.starting),
    pool.memoryBytes === null ? '-' : formatBytes(pool.memoryBytes),
    String(pool.hits),
    String(pool.misses),
    pool.available ? pool.reason : `creates and starts instead: ${pool.reason}`,
  ]);
  return formatTable(['ENGINE', 'WAITING', 'TARGET', 'STARTING', 'MEMORY', 'HITS', 'MISSES', 'HOW'], rows);
}
