/** The contract of libraries, for each manager whose registry can be reached. */
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { libraryContract, type ContractHarness, type ContractSubject } from '../../src/libraries/library-contract.ts';
import { createFlow, runIn, type Flow } from '../support/flow.ts';
import { repository } from '../support/nixpkgs-fixture.ts';
import { registryAnswers } from '../support/registry-answers.ts';

interface Subject extends ContractSubject {
  readonly registry: Parameters<typeof registryAnswers>[0];
  readonly packages: string;
}

const flipped = (hash: string) => (hash.startsWith('a') ? 'b' : 'a') + hash.slice(1);

const subjects: readonly Subject[] = [
  {
    manager: 'npm',
    registry: 'npm',
    lockFile: 'package-lock.json',
    packages: 'nodejs npm',
    packagesWithout: 'jq',
    test: ['npm', 'test'],
    onTop:
      'mkdir /work/node_modules/own && echo "module.exports = 1" > /work/node_modules/own/index.js && rm -r /work/node_modules/kleur && node -p "require(\'own\')"',
    printed: '1\n',
    look: 'node -p "require(\'own\')"',
    wrongHash: (lock) => lock.replace(/(sha512-)(\w)/, (_all, name: string, first: string) => name + flipped(first)),
    withoutHash: (lock) => lock.replace(/"integrity": "[^"]+",/, ''),
  },
  {
    manager: 'python',
    registry: 'pypi',
    lockFile: 'requirements.txt',
    packages: 'python3 python3-pip',
    packagesWithout: 'jq',
    test: ['python', '-m', 'unittest'],
    onTop:
      'mkdir -p /tmp/own/own && cd /tmp/own && echo "it = 1" > own/__init__.py && python -m zipfile -c /tmp/own.zip own && python -c "import sysconfig, zipfile; zipfile.ZipFile(\'/tmp/own.zip\').extractall(sysconfig.get_path(\'purelib\'))" && pip uninstall -q -y idna && cd / && python -c "import own; print(own.it)"',
    printed: '1\n',
    look: 'cd / && python -c "import own; print(own.it)"',
    wrongHash: (lock) => lock.replace(/(sha256:)(\w)/, (_all, name: string, first: string) => name + flipped(first)),
    withoutHash: (lock) => lock.replace(/ --hash=\S+/, ''),
  },
  {
    manager: 'cargo',
    registry: 'crates',
    lockFile: 'Cargo.lock',
    packages: 'cargo rustc gcc',
    packagesWithout: 'jq',
    test: ['cargo', 'test', '--offline'],
    onTop: 'rm -r $CARGO_HOME/crates/ryu-* && echo own > $CARGO_HOME/own && cat $CARGO_HOME/own',
    printed: 'own\n',
    look: 'cat $CARGO_HOME/own',
    wrongHash: (lock) =>
      lock.replace(/(checksum = ")(\w)/, (_all, name: string, first: string) => name + flipped(first)),
    withoutHash: (lock) => lock.replace(/^checksum = .*\n/m, ''),
  },
  {
    manager: 'go',
    registry: 'go',
    lockFile: 'go.sum',
    packages: 'golang-go',
    packagesWithout: 'jq',
    test: ['go', 'test', './...'],
    onTop: 'rm -r $GOMODCACHE/golang.org && echo own > $GOMODCACHE/own && cat $GOMODCACHE/own',
    printed: 'own\n',
    look: 'cat $GOMODCACHE/own',
    wrongHash: (lock) => lock.replace(/(h1:)(\w)/, (_all, name: string, first: string) => name + flipped(first)),
    withoutHash: (lock) => lock.replace(/ h1:.*$/m, ''),
  },
];

let flow: Flow;
beforeAll(async () => {
  flow = await createFlow();
});
afterAll(() => flow.close());

for (const subject of subjects) {
  const reachable = await registryAnswers(subject.registry);
  const config = (packages: string | undefined, libraries: string) =>
    `{ pkgs, ... }: { packages = with pkgs; [ ${packages ?? subject.packages} ]; libraries = ${libraries}; ` +
    `env.CGO_ENABLED = "0"; env.GOFLAGS = "-buildvcs=false"; }`;
  const harness: ContractHarness = {
    config,
    async project(files = {}) {
      const project = await flow.project({});
      cpSync(join(repository, 'examples', subject.manager), project, { recursive: true });
      const usual = config(undefined, `{ ${subject.manager} = ./${subject.lockFile}; }`);
      for (const [name, text] of Object.entries({ 'config.nix': usual, ...files })) {
        writeFileSync(join(project, name), text);
      }
      return project;
    },
    read: (project, file) => readFileSync(join(project, file), 'utf8'),
    async up(path) {
      await flow.service.up({ path, network: 'none' }, flow.context(path));
      const event = flow.events.findLast(
        (one) => one.subject === path && one.type === 'phase.finished' && one.phase === 'libraries',
      );
      return { cache: event?.type === 'phase.finished' ? event.cache : undefined };
    },
    async run(project, argv) {
      const berths = await flow.service.list();
      const berth = berths.find((one) => one.directory === project);
      if (!berth) throw new Error('The berth is not there.');
      return runIn(berth.agentSocket, argv);
    },
    downloads: () => filesBelow(join(flow.home, 'downloads')),
  };
  describe.skipIf(reachable !== true)(reachable === true ? 'the registry answers' : reachable, () =>
    libraryContract(subject, harness),
  );
}

function filesBelow(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length;
}
