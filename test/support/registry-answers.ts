/** Whether a registry of packages can be reached, asked of its ordinary client; tests that need it are skipped by name. */
import { exec } from '../../src/core/exec.ts';

const questions = {
  npm: ['npm', 'view', 'semver@7.6.3', 'version'],
  pypi: ['pip', 'index', 'versions', 'idna'],
  crates: ['cargo', 'info', 'cfg-if'],
  go: ['go', 'list', '-m', 'golang.org/x/text@v0.14.0'],
} as const;

/** @returns true, or why not in a few words */
export async function registryAnswers(registry: keyof typeof questions): Promise<true | string> {
  const [program, ...args] = questions[registry];
  try {
    const { code } = await exec(program, args, { timeoutMs: 30_000, cwd: '/' });
    return code === 0 ? true : `the registry of ${registry} cannot be reached`;
  } catch {
    return `${program} is not installed`;
  }
}
