import type { Command } from 'commander';
import type { UserUsage } from '../../environment/storage.ts';
import { imageRow } from './images.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';
import { formatAge, formatBytes, formatTable } from '../../core/format.ts';

export function duCommand(context: CommandContext): Command {
  return newCommand('du', 'Tell what environments, seeds, sources and images take of the disk.', [
    'berth du',
    "berth du --json | jq '.environments[] | {name, uniqueBytes}'",
  ]).action((options: CommonOptions) =>
    runCommand(context, options, async (run) => {
      const images = await run.client.listImages(run.call);
      const usage = { ...(await run.client.diskUsage(run.call)), images };
      run.result(usage, () => {
        const sizes = ({ bytes, sharedBytes, uniqueBytes }: UserUsage) => [
          formatBytes(bytes),
          formatBytes(sharedBytes),
          formatBytes(uniqueBytes),
        ];
        const now = Date.now();
        const rows = [
          ...usage.environments.map((it) => [
            'environment',
            ...sizes(it),
            `${formatAge(now - Date.parse(it.usedAt))} ago`,
            [it.name, ...it.berths.map((berth) => `(${berth})`)].join(' '),
          ]),
          ...usage.seeds.map((it) => ['seed', ...sizes(it), '', it.name]),
          ...usage.sources.map((it) => ['source', ...sizes(it), '', it.name]),
          ...images.images.map((image) => {
            const [names = '', ...cells] = imageRow(image);
            return ['image', ...cells.slice(0, 4), names];
          }),
        ];
        const { store } = usage;
        const total = `The store has ${store.paths} paths of ${formatBytes(store.bytes)}; ${formatBytes(store.bytes - store.neededBytes)} of it nothing above needs. Blobs of images take ${formatBytes(images.bytes)}.`;
        return rows.length === 0
          ? total
          : `${formatTable(['KIND', 'TOTAL', 'SHARED', 'OWN', 'USED', 'NAME'], rows)}\n\n${total}`;
      });
    }),
  );
}
