/** Run by rootless.test.ts as an ordinary user: launches a berth, runs commands in it, prints what happened as JSON. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { execInBerth } from '../../src/engine/agent/agent-client.ts';
import { createEmbeddedEngine } from '../../src/engine/embedded/embedded-engine.ts';
import { silent } from '../../src/core/events.ts';
import { imageForTests, layerOfTree } from '../../src/engine/image-for-tests.ts';
import type { BerthSpec } from '../../src/engine/engine.ts';

const [directory = '', nativeDirectory = '', network = 'none'] = process.argv.slice(2);

async function textOf(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return text;
}

const engine = createEmbeddedEngine({
  stateDirectory: join(directory, 'state'),
  busybox: '/usr/bin/busybox',
  nativeDirectory,
});
const availability = await engine.available();
if (!availability.available) {
  console.log(JSON.stringify({ availability }));
} else {
  const runDirectory = join(directory, 'run');
  const work = join(directory, 'work');
  for (const path of [runDirectory, work]) mkdirSync(path);
  symlinkSync('/berth/fhs', join(runDirectory, 'fhs'));
  writeFileSync(join(runDirectory, 'environment'), 'GREETING=hello\0');
  const spec: BerthSpec = {
    id: 'aaaaaaaaaaaa',
    name: 'rootless',
    runDirectory,
    hostname: 'rootless',
    mounts: [{ source: work, target: '/work', readOnly: false }],
    limits: { memoryBytes: null, cpus: null, pids: null },
    ports: [],
    network: network === 'host' ? 'host' : 'none',
    command: null,
    image: null,
    labels: {},
  };
  const run = async (script: string, tty = false) => {
    const execution = await execInBerth(join(runDirectory, 'agent.sock'), {
      argv: ['sh', '-c', script],
      ...(tty ? { tty: { columns: 81, rows: 25 } } : {}),
    });
    execution.stdin.end();
    const [stdout, exit] = await Promise.all([textOf(execution.stdout), execution.exit]);
    return { stdout, exit };
  };
  /** What a user without rights sees of two layers, with one's whiteouts, after a restart too. */
  async function runFromImage(): Promise<string> {
    const base = await layerOfTree({
      'etc/motd': { content: 'image' },
      'opt/a': { content: '' },
      'srv/b': { content: '' },
    });
    const top = await layerOfTree({ 'opt/.wh.a': { content: '' }, 'srv/.wh..wh..opq': { content: '' } }, 'gzip');
    const image = imageForTests([base, top]);
    await engine.loadImage(image, { emit: silent });
    const fromImage = { ...spec, id: 'bbbbbbbbbbbb', image: image.manifest.descriptor.digest };
    await engine.launch(fromImage);
    try {
      const first = await run('cat /etc/motd; ls /opt /srv; id -u; echo kept > /etc/mine');
      await engine.stop(fromImage.id, 1000);
      await engine.start(fromImage);
      return first.stdout + (await run('cat /etc/mine')).stdout;
    } finally {
      await engine.remove(fromImage.id);
      await engine.removeImage(fromImage.image);
    }
  }

  await engine.launch(spec);
  try {
    const first = await run(
      'echo $GREETING; id -u; touch /work/made; mkdir -p /root/shut/in; touch /root/shut/in/x; chmod 0 /root/shut/in /root/shut',
    );
    const terminal = await run('stty size', true);
    const interfaces = await run('ls /sys/class/net');
    await engine.stop(spec.id, 1000);
    const stopped = await engine.inspect(spec.id);
    await engine.start(spec);
    const again = await run('ls -d /root/shut');
    const limits = await engine.setLimits(spec.id, { memoryBytes: 1, cpus: null, pids: null }).then(
      () => 'set',
      (error: unknown) => (error as { code: string }).code,
    );
    await engine.remove(spec.id);
    const fromImage = await runFromImage();
    const gone = await engine.inspect(spec.id);
    console.log(JSON.stringify({ availability, first, terminal, interfaces, stopped, again, limits, fromImage, gone }));
  } finally {
    await engine.remove(spec.id);
  }
}
