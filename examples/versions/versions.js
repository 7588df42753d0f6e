// Asks each of the versions for its own.
const { execSync } = require('node:child_process');

for (const program of ['node', 'node@20', 'python3@3.13']) {
  console.log(program, execSync(`${program} --version`, { encoding: 'utf8' }).trim());
}
