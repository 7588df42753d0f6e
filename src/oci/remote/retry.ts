/** When to ask a registry again, and how long to wait before. */

/** How often something is tried in all. */
export const maxAttempts = 5;
const firstDelayMs = 250;
const maxDelayMs = 10_000;
/** A registry that asks for more patience than this counts as not there. */
const maxRetryAfterMs = 60_000;

const temporaryStatuses = new Set([408, 425, 429, 500, 502, 503, 504]);

/** @returns whether the same request can succeed a moment later */
export function isTemporary(status: number): boolean {
  return temporaryStatuses.has(status);
}

/**
 * @param attempt 1 for the first that failed
 * @param retryAfter the answer's header: seconds, or a date
 * @returns milliseconds to wait: what the registry asked for, else doubling with half of it by chance, so that many
 *   clients do not come back at once
 */
export function delayBefore(attempt: number, retryAfter: string | null, now: number = Date.now()): number {
  const asked = retryAfter === null ? undefined : millisecondsOf(retryAfter, now);
  if (asked !== undefined) return Math.min(asked, maxRetryAfterMs);
  const delay = Math.min(maxDelayMs, firstDelayMs * 2 ** (attempt - 1));
  return delay / 2 + (Math.random() * delay) / 2;
}

function millisecondsOf(header: string, now: number): number | undefined {
  if (/^\d+$/.test(header.trim())) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
