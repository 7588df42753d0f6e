/** `berth run DIR -- true`, warm, as a whole process, against the OCI runtime's own `run` of `true`. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { createBerthHome, berthProgram } from './support/berth-home.ts';
import { inTurns, series, timeProcess, writeResult } from './support/measure.ts';

const runs = 50;
const storeRoot = process.env['BERTH_STORE_ROOT'];
const berth = createBerthHome(storeRoot);
const bundle = mkdtempSync('/tmp/berth-bench-bundle-');
try {
  const project = berth.project('bench', '{ pkgs, ... }: { packages = [ pkgs.python3 pkgs.git ]; }\n');
  const { name } = berth.up(project);
  for (const folder of ['bin', 'proc', 'sys', 'dev']) mkdirSync(join(bundle, 'rootfs', folder), { recursive: true });
  cpSync('/bin/busybox', join(bundle, 'rootfs/bin/busybox'));
  symlinkSync('busybox', join(bundle, 'rootfs/bin/true'));
  execFileSync('runc', ['spec'], { cwd: bundle });
  const spec = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as {
    process: { args: string[]; terminal: boolean };
  };
  spec.process = { ...spec.process, args: ['/bin/true'], terminal: false };
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));

  let count = 0;
  const samples = await inTurns(
    runs,
    {
      berthRun: () => timeProcess(berthProgram, ['run', project, '--', 'true'], berth.env),
      runtimeRun: () => timeProcess('runc', ['run', '--bundle', bundle, `berth-bench-${process.pid}-${(count += 1)}`]),
      berthExec: () => timeProcess(berthProgram, ['exec', name, '--', 'true'], berth.env),
      node: () => timeProcess(process.execPath, ['-e', '0']),
    },
    { pauseMs: 250 },
  );
  const all = {
    berthRun: series(
      'whole process: berth run DIR -- true, warm, a container of its own',
      'ms',
      samples['berthRun'] ?? [],
    ),
    runtimeRun: series(
      'whole process: runc run of busybox true, nothing else mounted',
      'ms',
      samples['runtimeRun'] ?? [],
    ),
    berthExec: series('whole process: berth exec NAME -- true', 'ms', samples['berthExec'] ?? []),
    node: series('whole process: node -e 0', 'ms', samples['node'] ?? []),
  };
  const above = Math.round((all.berthRun.median - all.runtimeRun.median) * 10) / 10;
  writeResult({
    bench: 'run',
    question: "How far is `berth run` above the OCI runtime's own `run`?",
    series: all,
    figures: { aboveRuntimeMs: above, execMs: all.berthExec.median },
    notes: ['A pause of 250 ms before each: both sides remove their container behind themselves.'],
    bounds: [{ what: "berth run above the runtime's own run", bound: 'at most 60 ms', met: above <= 60 }],
  });
} finally {
  berth.close();
  rmSync(bundle, { recursive: true });
}
