import { type Command, InvalidArgumentError, Option } from 'commander';
import { formatBytes, formatDuration } from '../../core/format.ts';
import type { BuildImageResult } from '../../environment/images.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions, type Run } from '../context.ts';
import { environmentRequest } from '../up-options.ts';

interface BuildOptions extends CommonOptions {
  readonly to: readonly string[];
  readonly platform?: readonly string[];
  readonly compression?: BuildImageResult['compression'];
  readonly tag?: string;
  readonly sbom?: boolean;
  readonly provenance?: boolean;
  readonly sign?: string;
}

export function buildCommand(context: CommandContext): Command {
  return newCommand('build', 'Make an image of the environment of a config, and bring it where it is wanted.', [
    'berth build --to docker --tag web:1',
    'berth build ~/project --to oci-archive:web.tar --platform linux/amd64,linux/arm64',
    'berth build --to registry:example.com/team/web:1 --sbom --provenance --sign cosign.key',
    'berth build --json | jq -r .imageDigest',
  ])
    .argument('[path]', 'a folder with a config, or the config itself')
    .option(
      '--to <target>',
      'docker, embedded, oci-archive:FILE, docker-archive:FILE, oci:FOLDER or registry:REFERENCE; may be repeated',
      (target: string, before: readonly string[]) => [...before, target],
      [],
    )
    .option('--platform <platforms>', 'linux/amd64, linux/arm64, or both with a comma between', platforms)
    .addOption(new Option('--compression <kind>', 'how layers are packed').choices(['gzip', 'zstd', 'none']))
    .option('--tag <name>', 'NAME:TAG in engines and files; default: the name of the folder')
    .option('--sbom', 'keep a CycloneDX SBOM beside the image, in a registry or an oci: folder')
    .option('--provenance', 'keep SLSA provenance beside the image')
    .option('--sign <key>', "sign the image as cosign does, by a private key's file; password: BERTH_SIGNING_PASSWORD")
    .action((path: string | undefined, options: BuildOptions) =>
      runCommand(context, options, async (run) => {
        const result = await run.client.buildImage(
          {
            ...environmentRequest(run.path(path), {}, run.settings, context.env),
            to: options.to.map((target) => absolute(target, run)),
            ...(options.platform ? { platforms: options.platform } : {}),
            ...(options.compression ? { compression: options.compression } : {}),
            ...(options.tag === undefined ? {} : { tag: options.tag }),
            ...(options.sbom ? { sbom: true } : {}),
            ...(options.provenance ? { provenance: true } : {}),
            ...(options.sign === undefined ? {} : { sign: run.path(options.sign) }),
          },
          run.call,
        );
        run.result(result, () => renderBuild(result));
      }),
    );
}

/** Files are meant from the folder that the command runs in, which the daemon does not know. */
function absolute(target: string, run: Run): string {
  const [, kind, path] = /^(oci-archive|docker-archive|oci):(.+)$/.exec(target) ?? [];
  return kind !== undefined && path !== undefined ? `${kind}:${run.path(path)}` : target;
}

function platforms(text: string): string[] {
  const list = text.split(',').filter((platform) => platform !== '');
  if (list.length > 0) return list;
  throw new InvalidArgumentError('It takes platforms, for example linux/amd64.');
}

function renderBuild({ imageDigest, platforms, cache, written, timingsMs }: BuildImageResult): string {
  const made = cache.image === 'hit' ? 'image from the cache' : 'image made anew';
  const sizes = platforms.map(({ platform, layers, bytes }) => `${platform}: ${layers} layers, ${formatBytes(bytes)}`);
  return [
    `${imageDigest} after ${formatDuration(timingsMs.total)}: ${made}; ${sizes.join('; ')}`,
    ...written.map(({ target, reference, movedBytes, movedLayers, keptLayers, how, attached = [] }) => {
      const name = reference === null || target.endsWith(reference) ? '' : ` as ${reference}`;
      const kept = keptLayers > 0 ? `, ${keptLayers} were there` : '';
      const beside = attached.length > 0 ? `; with ${attached.join(', ')}` : '';
      return `  ${target}${name}: ${how}, ${movedLayers} layers of ${formatBytes(movedBytes)}${kept}${beside}`;
    }),
  ].join('\n');
}
