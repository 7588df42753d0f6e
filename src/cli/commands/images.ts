import type { Command } from 'commander';
import { formatAge, formatBytes, formatTable } from '../../core/format.ts';
import type { ImageSummary } from '../../daemon/api/kept-images.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';

export function imagesCommand(context: CommandContext): Command {
  const command = newCommand('images', 'See and keep the images that the registry has.', [
    'berth images ls',
    'berth images pin python3/git:latest',
  ]);
  command.addCommand(listCommand(context), { isDefault: true });
  command.addCommand(pinCommand(context, true));
  command.addCommand(pinCommand(context, false));
  return command.addCommand(removeCommand(context));
}

function listCommand(context: CommandContext): Command {
  return newCommand('ls', 'List images: what each takes, how much of it is its own, and when it was last used.', [
    'berth images ls',
    "berth images ls --json | jq '.images[] | {names, uniqueBytes}'",
  ]).action((options: CommonOptions) =>
    runCommand(context, options, async (run) => {
      const usage = await run.client.listImages(run.call);
      run.result(usage, () => {
        const { bytes, looseBytes, maxBytes } = usage;
        const limit = maxBytes === null ? '' : ` of at most ${formatBytes(maxBytes)}`;
        const total = `Blobs take ${formatBytes(bytes)}${limit}; no image needs ${formatBytes(looseBytes)} of it.`;
        return usage.images.length === 0
          ? `There are no images. ${total}`
          : `${formatTable(['IMAGE', 'TOTAL', 'SHARED', 'OWN', 'USED', ''], usage.images.map(imageRow))}\n\n${total}`;
      });
    }),
  );
}

/** @returns the cells of a table's row */
export function imageRow(image: ImageSummary): string[] {
  return [
    image.names.join(' ') || image.digest,
    formatBytes(image.bytes),
    formatBytes(image.sharedBytes),
    formatBytes(image.uniqueBytes),
    `${formatAge(Date.now() - Date.parse(image.usedAt))} ago`,
    image.pinned ? 'pinned' : '',
  ];
}

const whatAnImageIs = 'REPOSITORY:TAG, a digest, or the beginning of one';

function pinCommand(context: CommandContext, pinned: boolean): Command {
  const name = pinned ? 'pin' : 'unpin';
  const purpose = pinned ? 'Keep an image, however full the disk is.' : 'Let an image go when the disk is full.';
  return newCommand(name, purpose, [`berth images ${name} python3/git:latest`])
    .argument('<image...>', whatAnImageIs)
    .action((images: readonly string[], options: CommonOptions) =>
      runCommand(context, options, async (run) => {
        const digests: string[] = [];
        for (const image of images) digests.push((await run.client.pinImage(image, pinned, run.call)).digest);
        run.result({ digests, pinned }, () => '');
      }),
    );
}

function removeCommand(context: CommandContext): Command {
  return newCommand('rm', 'Remove images under all their names, also pinned ones.', [
    'berth images rm python3/git:latest',
  ])
    .argument('<image...>', whatAnImageIs)
    .action((images: readonly string[], options: CommonOptions) =>
      runCommand(context, options, async (run) => {
        const removed = [];
        for (const image of images) removed.push(await run.client.removeImage(image, run.call));
        const freed = removed.reduce((sum, { freedBytes }) => sum + freedBytes, 0);
        run.result({ removed, freedBytes: freed }, () => `Freed ${formatBytes(freed)}.`);
      }),
    );
}
