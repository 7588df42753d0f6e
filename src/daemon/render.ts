/** Results in words, as both the command and the hot path print them. */
import { formatAge, formatBytes, formatDuration, formatTable } from '../core/format.ts';
import type { BerthSummary, UpResult } from '../environment/service.ts';

/** @returns what `berth up` tells people */
export function renderUp(result: UpResult): string {
  const { closure, timingsMs } = result;
  const environment = result.cache.environment === 'hit' ? 'environment from the cache' : 'environment made anew';
  return [
    `${result.name} is ready (${result.id}, ${result.engine}) after ${formatDuration(timingsMs.total)}: ` +
      `${environment}, ${closure.paths} store paths, ${formatBytes(closure.bytes)}`,
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
