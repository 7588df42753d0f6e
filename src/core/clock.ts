/** Time, injectable. */

/** Measures elapsed time in milliseconds, with one decimal. */
export function stopwatch(now: () => number = () => performance.now()): () => number {
  const start = now();
  return () => Math.round((now() - start) * 10) / 10;
}

/** Resolves after `ms` milliseconds; rejects when the signal aborts first. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
