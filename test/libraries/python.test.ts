/** Locks of Python's managers, and packages that are built from their sources, in real berths. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { linksOf } from '../../src/libraries/python/python-lock.ts';
import { exec } from '../../src/core/exec.ts';
import { createFlow, runIn, type Flow } from '../support/flow.ts';
import { registryAnswers } from '../support/registry-answers.ts';

const reachable = await registryAnswers('pypi');
let flow: Flow;
beforeAll(async () => {
  flow = await createFlow();
});
afterAll(() => flow.close());

const idna = '82fee1fc78add43492d3a1898bfa6d8a904cc97d8427f683ed8e798d07761aa0';
const markupsafe = 'b91c037585eba9095565a3556f611e3cbfaa42ca1e865f7b8015fe5c7336d5a5';
const markupsafeSource = 'd283d37a890ba4c1ae73ffadf8046435c76e7bc2247bbb63c00bd1a709c6544b';

async function up(files: Readonly<Record<string, string>>, packages = 'python3 python3-pip') {
  const lock = Object.keys(files)[0] ?? '';
  const config = `{ pkgs, ... }: { packages = with pkgs; [ ${packages} ]; libraries.python = ./${lock}; }`;
  const path = await flow.project({ 'config.nix': config });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  await flow.service.up({ path, network: 'none' }, flow.context(path));
  const berth = (await flow.service.list()).find((one) => one.directory === path);
  if (!berth) throw new Error('The berth is not there.');
  const run = (...argv: string[]) => runIn(berth.agentSocket, argv);
  return { path, run };
}

const installed = async (run: (...argv: string[]) => Promise<{ stdout: string }>) =>
  (await run('pip', 'list', '--format', 'freeze')).stdout
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('pip='));

describe.skipIf(reachable !== true)(`Python (${reachable === true ? 'the index answers' : reachable})`, () => {
  /** Where the index has a file: locks of uv say it. */
  async function urlOf(name: string, hash: string): Promise<{ index: string; url: string }> {
    const program = 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)';
    const index = (await exec('python3', ['-c', program], { cwd: '/' })).stdout.trim();
    const page = `${index}/${name}/`;
    const link = linksOf(await (await fetch(page)).text(), page).find((one) => one.hash === `sha256:${hash}`);
    return { index, url: link?.url ?? '' };
  }

  it('installs from uv.lock what holds for this interpreter', async () => {
    const one = await urlOf('idna', idna);
    const other = await urlOf('markupsafe', markupsafe);
    const source = `{ registry = "${one.index}" }`;
    const lock = `version = 1
requires-python = ">=3.9"

[[package]]
name = "app"
version = "1.0.0"
source = { virtual = "." }
dependencies = [
    { name = "away", marker = "sys_platform == 'win32'" },
    { name = "old", marker = "python_full_version < '3.10'" },
    { name = "idna", extra = ["more"] },
]

[[package]]
name = "away"
version = "1.0"
source = ${source}
wheels = [{ url = "https://files.example/away-1.0-py3-none-any.whl", hash = "sha256:${'a'.repeat(64)}" }]

[[package]]
name = "old"
version = "1.0"
source = ${source}
wheels = [{ url = "https://files.example/old-1.0-py3-none-any.whl", hash = "sha256:${'b'.repeat(64)}" }]

[[package]]
name = "idna"
version = "3.7"
source = ${source}
wheels = [{ url = "${one.url}", hash = "sha256:${idna}" }]

[package.optional-dependencies]
more = [{ name = "markupsafe", marker = "implementation_name == 'cpython'" }]

[[package]]
name = "markupsafe"
version = "2.1.5"
source = ${source}
wheels = [
    { url = "https://files.example/MarkupSafe-2.1.5-cp311-cp311-win_amd64.whl", hash = "sha256:${'c'.repeat(64)}" },
    { url = "${other.url}", hash = "sha256:${markupsafe}" },
]
`;
    const { run } = await up({ 'uv.lock': lock });
    expect(await installed(run)).toEqual(['idna==3.7', 'MarkupSafe==2.1.5']);
  });

  it('installs from poetry.lock what the project asks for and what that needs', async () => {
    const lock = `[[package]]
name = "idna"
version = "3.7"
optional = false
python-versions = ">=3.5"
groups = ["main"]
files = [
    {file = "idna-3.7-py3-none-any.whl", hash = "sha256:${idna}"},
]

[package.dependencies]
away = {version = "*", markers = "sys_platform == \\"win32\\""}
markupsafe = ">=2"

[[package]]
name = "away"
version = "1.0"
optional = false
python-versions = "*"
files = []

[[package]]
name = "MarkupSafe"
version = "2.1.5"
optional = false
python-versions = ">=3.7"
files = [
    {file = "MarkupSafe-2.1.5-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", hash = "sha256:${markupsafe}"},
    {file = "MarkupSafe-2.1.5.tar.gz", hash = "sha256:${markupsafeSource}"},
]

[[package]]
name = "documentation"
version = "1.0"
optional = true
python-versions = "*"
files = []

[metadata]
lock-version = "2.1"
python-versions = "^3.9"
`;
    const project = `[tool.poetry.dependencies]\npython = "^3.9"\nidna = "3.7"\ndocumentation = {version = "*", optional = true}\n`;
    const { run } = await up({ 'poetry.lock': lock, 'pyproject.toml': project });
    expect(await installed(run)).toEqual(['idna==3.7', 'MarkupSafe==2.1.5']);
  });

  it("builds a package from its source by the environment's compiler and headers", async () => {
    const lock = `markupsafe==2.1.5 --hash=sha256:${markupsafeSource}\n`;
    const { run } = await up({ 'requirements.txt': lock }, 'python3 python3-pip python3-dev gcc');
    const { stdout } = await run('python', '-c', 'import markupsafe._speedups as it; print(it.__file__)');
    expect(stdout).toMatch(/^\/work\/\.venv\/.*\.so\n$/);
  });

  it('says when no index has a file of that hash', async () => {
    const lock = `markupsafe==2.1.5 --hash=sha256:${markupsafeSource}\n`;
    const failing = up({ 'requirements.txt': `${lock}idna==3.7 --hash=sha256:${'0'.repeat(64)}\n` });
    await expect(failing).rejects.toMatchObject({ code: 'LIBRARY_DOWNLOAD_FAILED' });
  });

  it('has bytecode that is not written anew', async () => {
    const { run } = await up({ 'requirements.txt': `idna==3.7 --hash=sha256:${idna}\n` });
    const program =
      'import importlib.util, idna; from pathlib import Path; print(int.from_bytes(Path(idna.__cached__).read_bytes()[4:8], "little"))';
    // Flags of PEP 552: by its hash, which is not checked.
    expect((await run('python', '-c', program)).stdout).toBe('1\n');
    expect((await run('sh', '-c', 'head -n 1 $(command -v pip)')).stdout).toBe('#!/work/.venv/bin/python3\n');
  });
});

it.each([
  ['no hash', 'idna==3.7\n', 'LIBRARY_LOCK_UNHASHED'],
  ['no version', `idna>=3 --hash=sha256:${idna}\n`, 'LIBRARY_LOCK_INVALID'],
  ['a repository', 'git+https://example.org/a.git\n', 'LIBRARY_LOCK_INVALID'],
  ['a folder', '-e .\n', 'LIBRARY_UNSUPPORTED'],
])('refuses a line with %s', async (_name, text, code) => {
  await expect(up({ 'requirements.txt': text })).rejects.toMatchObject({ code });
});

it('refuses a lock for another Python', async () => {
  await expect(up({ 'uv.lock': 'version = 1\nrequires-python = ">=3.14"\n' })).rejects.toMatchObject({
    code: 'LIBRARY_PLATFORM',
  });
});
