/** Libraries of JavaScript by npm itself, from the real registry, in real berths. */
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createFlow, runIn, type Flow } from '../support/flow.ts';
import { repository } from '../support/nixpkgs-fixture.ts';
import { registryAnswers } from '../support/registry-answers.ts';

const reachable = await registryAnswers('npm');
let flow: Flow;
beforeAll(async () => {
  flow = await createFlow();
});
afterAll(() => flow.close());

async function exampleProject(name: string, files: Readonly<Record<string, string>> = {}): Promise<string> {
  const project = await flow.project({});
  cpSync(join(repository, 'examples', name), project, { recursive: true });
  for (const [file, text] of Object.entries(files)) writeFileSync(join(project, file), text);
  return project;
}

const config = (packages: string, libraries: string) =>
  `{ pkgs, ... }: { packages = with pkgs; [ ${packages} ]; libraries = ${libraries}; }`;
const npmConfig = config('nodejs npm', '{ npm = ./package-lock.json; }');

async function up(path: string) {
  await flow.service.up({ path }, flow.context('up'));
  const berths = await flow.service.list();
  const berth = berths.find((one) => one.directory === path);
  if (!berth) throw new Error('The berth is not there.');
  return berth;
}

const phaseOf = (path: string) =>
  flow.events.filter(
    (event) => event.subject === path && event.type === 'phase.finished' && event.phase === 'libraries',
  );

describe.skipIf(reachable !== true)(`npm (${reachable === true ? 'the registry answers' : reachable})`, () => {
  it('has the libraries in place with no install step', async () => {
    const path = await exampleProject('npm', { 'config.nix': npmConfig });
    const { agentSocket } = await up(path);
    expect(await runIn(agentSocket, ['npm', 'test'])).toMatchObject({ code: 0 });
    const ran = await runIn(agentSocket, ['sh', '-c', 'semver 1.2.3 && npx --no-install semver 2.0.0 && npm ls']);
    expect(ran.stdout).toMatch(/^1\.2\.3\n2\.0\.0\n/);
    expect(ran.stdout).toContain('kleur@4.1.5');
    // Nothing of it is in the project's folder on the host but the place that it is shown at.
    expect(existsSync(join(path, 'node_modules/semver'))).toBe(false);
  });

  it('takes what is installed by hand on top, for this berth only', async () => {
    const path = await exampleProject('npm', { 'config.nix': npmConfig });
    const { agentSocket } = await up(path);
    const script =
      'cd /work && rm -r node_modules/kleur && mkdir node_modules/own && echo "module.exports = 1" > node_modules/own/index.js';
    expect(await runIn(agentSocket, ['sh', '-c', script])).toMatchObject({ code: 0, stderr: '' });
    expect((await runIn(agentSocket, ['node', '-p', 'require("own")'])).stdout).toBe('1\n');
    const other = await up(await exampleProject('npm', { 'config.nix': npmConfig }));
    expect((await runIn(other.agentSocket, ['ls', '/work/node_modules'])).stdout).toBe('kleur\nsemver\n');
  });

  it('installs nothing again for the same lock, and what changed for another', async () => {
    const path = await exampleProject('npm', { 'config.nix': npmConfig });
    await flow.service.up({ path }, flow.context(path));
    expect(phaseOf(path)).toMatchObject([{ cache: 'hit' }]);
    const lock = JSON.parse(readFileSync(join(path, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { dependencies?: Record<string, string> }>;
    };
    const manifest = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as { dependencies: object };
    delete lock.packages['node_modules/kleur'];
    delete lock.packages['']?.dependencies?.['kleur'];
    writeFileSync(join(path, 'package-lock.json'), JSON.stringify(lock));
    writeFileSync(join(path, 'package.json'), JSON.stringify({ ...manifest, dependencies: { semver: '7.6.3' } }));
    const { agentSocket } = await up(path);
    expect((await runIn(agentSocket, ['ls', '/work/node_modules'])).stdout).toBe('semver\n');
  });

  it('refuses a package that is not what the lock says', async () => {
    const path = await exampleProject('npm', { 'config.nix': npmConfig });
    const file = join(path, 'package-lock.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace(/"sha512-o\+NO/, '"sha512-p+NO'));
    await expect(up(path)).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
  });
});

it('names the program that the environment lacks, and how to have it', async () => {
  const path = await exampleProject('npm', { 'config.nix': config('jq', '"auto"') });
  await expect(up(path)).rejects.toMatchObject({ code: 'LIBRARY_PROGRAM_MISSING' });
});
