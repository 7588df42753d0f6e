/** Results in words, as both the command and the hot path print them. */
import { formatAge, formatBytes, formatDuration, formatTable } from '../core/format.ts';
import { describeDifference } from '../environment/generation-difference.ts';
import type { BerthHistory, BerthSummary, RollbackResult, SwitchReport, UpResult } from '../environment/service.ts';

/** @returns what `berth up` tells people */
export function renderUp(result: UpResult): string {
  const { closure, timingsMs } = result;
  const environment = result.cache.environment === 'hit' ? 'environment from the cache' : 'environment made anew';
  const mode = result.mode === 'shell' ? '' : `, mode ${result.mode}: ${result.modeReason}`;
  return [
    `${result.name} is ready (${result.id}, ${result.engine}${mode}) after ${formatDuration(timingsMs.total)}: ` +
      `${environment}, ${closure.paths} store paths, ${formatBytes(closure.bytes)}`,
    ...(result.switched ? [`  ${renderSwitch(result.switched)}`] : []),
    ...result.libraries.map(
      ({ manager, packages, folders, keepHint }) =>
        `  ${manager}: ${packages} packages in ${folders.join(', ')}; to keep more: ${keepHint}`,
    ),
    `  berth exec ${result.name} -- COMMAND`,
  ].join('\n');
}

/** @returns the table of `berth ps` */
export function renderBerths(berths: readonly BerthSummary[], now: number): string {
  const rows = berths.map((berth) => [
    berth.name,
    berth.state === 'stopped' && berth.exitCode !== null ? `stopped (${berth.exitCode})` : berth.state,
    berth.engine,
    berth.environmentDigest.slice('sha256:'.length, 'sha256:'.length + 12),
    berth.ports.map((port) => `${port.host}->${port.container}`).join(',') || '-',
    `${formatAge(now - Date.parse(berth.createdAt))} ago`,
    berth.directory,
  ]);
  return formatTable(['NAME', 'STATE', 'ENGINE', 'ENVIRONMENT', 'PORTS', 'CREATED', 'DIRECTORY'], rows);
}

/** @returns a line about a berth that was given another environment */
export function renderSwitch({ name, from, to, difference, replaced }: SwitchReport): string {
  if (from === to) return `${name} has it already`;
  const what = difference ? ` (${describeDifference(difference)})` : '';
  const how = replaced ? ', in a new container: what ran in the old one has ended' : '';
  return `${name} is switched: generation ${from} → ${to}${what}${how}`;
}

/** @returns what `berth rollback` tells people */
export function renderRollback(result: RollbackResult): string {
  const { name, from, to, of } = result;
  if (from === to) return `${name} has the environment of generation ${of} already`;
  return `${renderSwitch(result)}, that of generation ${of}; its config is as it was, and \`berth up\` goes forward again`;
}

/** @returns the table of `berth history` */
export function renderHistory(history: BerthHistory, now: number): string {
  const rows = history.generations.map((generation) => [
    `${generation.current ? '*' : ' '} ${generation.number}`,
    `${formatAge(now - Date.parse(generation.at))} ago`,
    generation.of === null ? generation.origin : `${generation.origin} to ${generation.of}`,
    generation.environmentDigest.slice('sha256:'.length, 'sha256:'.length + 12),
    generation.difference ? describeDifference(generation.difference) : `${generation.packages.length} packages`,
  ]);
  const table = formatTable(['GENERATION', 'SINCE', 'BY', 'ENVIRONMENT', 'DIFFERENCE'], rows);
  if (history.config !== 'differs') return table;
  return `${table}\n${history.name} has another environment than its config says; \`berth up\` gives it that one.`;
}
