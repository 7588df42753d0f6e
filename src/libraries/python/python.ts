/**
 * Python: a virtual environment beside the lock, by `pip install --require-hashes`. uv.lock and poetry.lock are read as the
 * environment's interpreter reads their markers, and give pip the same packages that their own managers would install.
 */
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { readTextIfThere } from '../../core/files.ts';
import { shell, type LibraryInput, type LibraryManager, type LibraryPlan } from '../library.ts';
import { environmentMaker, lockReader } from './lock-reader.ts';
import { chooseFiles, parsePythonLock, type ChosenFile } from './python-lock.ts';

const folder = '.venv';
const wheelsFile = '.berth-wheels.txt';
const sourcesFile = '.berth-sources.txt';
const builtFile = '.berth-built.txt';
const completeFile = '.berth-complete.txt';
const pipSettings = {
  PIP_NO_INPUT: '1',
  PIP_NO_INDEX: '1',
  PIP_NO_CACHE_DIR: '1',
  PIP_DISABLE_PIP_VERSION_CHECK: '1',
  PIP_ROOT_USER_ACTION: 'ignore',
  PIP_FIND_LINKS: '/berth/downloads',
};

export const python: LibraryManager = {
  name: 'python',
  lockFiles: ['uv.lock', 'poetry.lock', 'requirements.txt'],
  programs: [
    { name: 'python3', packages: 'python3' },
    { name: 'pip', packages: 'python3-pip (Debian) or python3Packages.pip' },
  ],
  version: 1,
  keepHint:
    'add NAME to the project and lock it again (uv add NAME, poetry add NAME, or pip-compile --generate-hashes)',
  async plan(context) {
    const lock = basename(context.lockFile);
    const inputs: LibraryInput[] = [{ path: lock, content: await readFile(context.lockFile) }];
    // poetry.lock does not say what the project itself asks for.
    const project = lock === 'poetry.lock' ? await readTextIfThere(join(context.folder, 'pyproject.toml')) : undefined;
    if (project !== undefined) inputs.push({ path: 'pyproject.toml', content: Buffer.from(project) });
    const environment = `${context.target}/${folder}`;
    return {
      inputs,
      artifacts: [],
      pages: {},
      fetch: [
        { argv: ['python3', '-c', environmentMaker, environment] },
        shell(installWheels(environment), pipSettings),
      ],
      build: [shell(buildSources(environment), pipSettings), shell(finish(environment), pipSettings)],
      outputs: [folder],
      place: {
        mounts: [{ folder, target: environment }],
        variables: { VIRTUAL_ENV: environment },
        path: [`${environment}/bin`],
      },
      packages: [],
      async locate(tools) {
        const output = await tools.run({ argv: ['python3', '-c', lockReader, `${context.target}/${lock}`] });
        const read = parsePythonLock(output);
        const chosen = await chooseFiles(read, tools);
        const wheels = chosen.filter(({ isWheel }) => isWheel);
        const sources = chosen.filter(({ isWheel }) => !isWheel);
        return {
          artifacts: chosen.map(({ artifact }) => artifact),
          inputs: [
            lines(wheelsFile, wheels.map(requirementOf)),
            lines(sourcesFile, sources.map(requirementOf)),
            lines(
              builtFile,
              sources.map(({ name, version }) => `${name}==${version}`),
            ),
            lines(completeFile, read.complete ? [lock] : []),
          ],
          packages: chosen.map(({ name, version }) => ({ name, version, purl: `pkg:pypi/${name}@${version}` })),
        };
      },
    } satisfies LibraryPlan;
  },
};

function lines(path: string, all: readonly string[]): LibraryInput {
  return { path, content: Buffer.from(all.map((line) => `${line}\n`).join('')) };
}

function requirementOf({ name, version, artifact: { integrity } }: ChosenFile): string {
  return `${name}==${version} --hash=${integrity.algorithm}:${Buffer.from(integrity.digest).toString('hex')}`;
}

/** The lock names all dependencies, so none is looked for. */
function installWheels(environment: string): string {
  return `[ ! -s ${wheelsFile} ] ||
  ${environment}/bin/pip install --no-compile --no-deps --require-hashes -r ${wheelsFile}`;
}

/**
 * Packages without a wheel for this platform are built against the environment's compiler and headers. What builds them
 * (setuptools, …) is the lock's or the environment's own, since there is no network to get another from.
 */
function buildSources(environment: string): string {
  return `[ -s ${sourcesFile} ] || exit 0
own=$(python3 -c 'import sys; print(":".join(path for path in sys.path if path.endswith("-packages")))')
PYTHONPATH="$own" ${environment}/bin/pip wheel --no-deps --no-build-isolation --require-hashes -w /tmp/wheels -r ${sourcesFile} &&
  ${environment}/bin/pip install --no-compile --no-deps --find-links /tmp/wheels -r ${builtFile}`;
}

/**
 * Bytecode is by content and without a check: in the store all files have the same time, by which Python would take it for
 * stale. What does not compile (templates, code for other versions) is left as it is.
 */
function finish(environment: string): string {
  const compile = `${environment}/bin/python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash ${environment}/lib`;
  return `if [ -s ${completeFile} ]; then ${environment}/bin/pip check || exit 1; fi
${compile} >/dev/null || true`;
}
