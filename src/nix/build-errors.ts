/** Says what a failed build means, from what Nix printed. The wording is that of Nix 2.8 to 2.34. */
import { BerthError } from '../core/errors.ts';
import { nameOfDerivation, type NixLog } from './internal-json.ts';

export interface BuildFailure {
  readonly log: Pick<NixLog, 'errors' | 'buildLogs'>;
  readonly exitCode: number | null;
  /** Where the whole log was written. */
  readonly logFile?: string;
}

const linesShown = 25;

/** @returns the catalogue's error for a failed realisation */
export function buildError(failure: BuildFailure): BerthError {
  const { errors, buildLogs } = failure.log;
  const text = errors.join('\n');
  const everything = [text, ...[...buildLogs.values()].map((lines) => lines.join('\n'))].join('\n');
  const derivation = failedDerivation(text);
  const details = { ...(derivation ? { derivation } : {}), ...(failure.logFile ? { logFile: failure.logFile } : {}) };

  if (/No space left on device|database or disk is full|Disk quota exceeded/.test(everything)) {
    return new BerthError('DISK_FULL', 'The disk is full: the store could not be written.', { details });
  }

  const mismatch =
    /hash mismatch in fixed-output derivation '([^']+)'[\s\S]*?(?:specified|wanted):\s*(\S+)[\s\S]*?got:\s*(\S+)/.exec(
      text,
    );
  if (mismatch) {
    const [, path = '', wanted = '', got = ''] = mismatch;
    return new BerthError(
      'HASH_MISMATCH',
      `${nameOfDerivation(path)} has the hash ${got}, where ${wanted} was wanted.`,
      { details: { ...details, derivation: path, wanted, got } },
    );
  }

  // A path from a binary cache: its archive is not the one that was described.
  const imported = /hash mismatch importing path '([^']+)';?\s*(?:specified|wanted):\s*(\S+)\s*got:\s*(\S+)/.exec(text);
  if (imported) {
    const [, path = '', wanted = '', got = ''] = imported;
    return new BerthError('HASH_MISMATCH', `${path} has the hash ${got}, where ${wanted} was wanted.`, {
      hint: 'The binary cache or archive is damaged: have it written again.',
      details: { ...details, path, wanted, got },
    });
  }

  const unsigned = /'([^']+)'[^\n]*(?:lacks a signature|lacks a valid signature|not signed by any of the keys)/.exec(
    text,
  );
  if (unsigned) {
    const [, path = ''] = unsigned;
    return new BerthError('UNSIGNED_PATH', `No trusted key has signed ${path}.`, { details: { ...details, path } });
  }

  const download = downloadError(everything, details);
  if (download) return download;

  const lines = (derivation && buildLogs.get(derivation)) ?? [...buildLogs.values()].at(-1) ?? [];
  if (derivation || buildLogs.size > 0) {
    const reason = /failed with exit code (\d+)/.exec(text)?.[1];
    const timedOut = /timed out after (\d+) seconds|after (\d+) seconds of silence/.exec(text);
    const why = timedOut
      ? `was ended ${timedOut[0].startsWith('timed') ? timedOut[0].replace('timed out ', '') : timedOut[0]}`
      : reason
        ? `failed with exit code ${reason}`
        : 'failed';
    return new BerthError(
      'BUILD_FAILED',
      `The build of ${nameOfDerivation(derivation ?? '') || 'a derivation'} ${why}.`,
      {
        details: { ...details, log: lines.slice(-linesShown) },
      },
    );
  }
  const last = errors.filter((line) => line.includes('error:')).at(-1) ?? errors.at(-1) ?? 'it printed nothing';
  return new BerthError('INTERNAL', `Nix failed: ${last.replace(/^error: /, '').split('\n')[0] ?? ''}`, {
    details: { ...details, stderr: text.slice(-4000) },
  });
}

/** @returns the error of a download that failed, or undefined when it was no download */
export function downloadError(text: string, details: Readonly<Record<string, unknown>> = {}): BerthError | undefined {
  const failed = /unable to download '([^']+)':\s*([^\n]*)/.exec(text);
  if (!failed) return undefined;
  const [, url = '', why = ''] = failed;
  const host = hostOf(url);
  if (/HTTP error (404|410)|(?:does not exist|doesn't exist) in binary cache/.test(why)) {
    return new BerthError('DOWNLOAD_GONE', `${host} does not have ${withoutSecrets(url)}.`, {
      details: { ...details, url: withoutSecrets(url) },
    });
  }
  return new BerthError('MIRROR_UNREACHABLE', `${host} could not be reached: ${why.replace(/\.?$/, '.')}`, {
    details: { ...details, url: withoutSecrets(url) },
  });
}

// The innermost failure comes first: those that depend on it are told after it.
function failedDerivation(text: string): string | undefined {
  const match =
    /builder for '([^']+\.drv)' failed/.exec(text) ??
    /Cannot build '([^']+\.drv)'/.exec(text) ??
    /build of '([^']+\.drv)[^']*' (?:failed|timed out)/.exec(text) ??
    /building of '([^']+\.drv)[^']*' timed out/.exec(text) ??
    /(?:'|build of ')([^']+\.drv)[^']*'/.exec(text);
  return match?.[1];
}

function hostOf(url: string): string {
  try {
    const { protocol, host } = new URL(url);
    return host === '' ? `${protocol}//` : host;
  } catch {
    return url;
  }
}

function withoutSecrets(url: string): string {
  return url.replace(/\/\/[^/@]*@/, '//').replace(/\?.*$/, '');
}
