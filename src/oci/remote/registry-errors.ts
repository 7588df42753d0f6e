/** Makes errors of the catalogue from what a registry answered, with its own words and without secrets. */
import { z } from 'zod';
import { BerthError, type ErrorCode } from '../../core/errors.ts';
import { isTemporary } from './retry.ts';

const bodySchema = z.looseObject({
  errors: z.array(z.looseObject({ code: z.string().optional(), message: z.string().nullish() })).optional(),
  // Token servers and proxies say it so.
  details: z.string().optional(),
  message: z.string().optional(),
});

const maxBodyBytes = 64 * 1024;
const maxWords = 500;

/**
 * @param what completes "REGISTRY refused …": `to take the blob sha256:…`
 * @returns the error that stands for an answer that is no success; the answer's body is read or thrown away
 */
export async function errorOfAnswer(response: Response, registry: string, what: string): Promise<BerthError> {
  const words = await wordsOf(response);
  const said = words === '' ? '' : ` It says: ${words}`;
  return new BerthError(codeOf(response.status), `${registry} refused ${what} (HTTP ${response.status}).${said}`, {
    details: { registry, status: response.status },
  });
}

function codeOf(status: number): ErrorCode {
  if (status === 401 || status === 403) return 'REGISTRY_DENIED';
  if (status === 404) return 'IMAGE_NOT_FOUND';
  return isTemporary(status) ? 'REGISTRY_UNREACHABLE' : 'REGISTRY_REFUSED';
}

/** The protocol's list of errors (distribution specification, "Error Codes"), or the first line of another text. */
async function wordsOf(response: Response): Promise<string> {
  const text = await readSome(response);
  const parsed = bodySchema.safeParse(jsonOf(text));
  const words = parsed.success
    ? (parsed.data.errors ?? []).map(({ code, message }) => [code, message].filter(Boolean).join(': ')).join('; ') ||
      (parsed.data.details ?? parsed.data.message ?? '')
    : /^\s*</.test(text)
      ? ''
      : (text.trim().split('\n')[0] ?? '');
  // eslint-disable-next-line no-control-regex -- a registry's words must not steer the terminal
  return withoutSecrets(words.replace(/[\u0000-\u001f\u007f]+/g, ' ')).slice(0, maxWords);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function readSome(response: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const piece of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      pieces.push(piece);
      size += piece.length;
      if (size > maxBodyBytes) break;
    }
  } catch {
    // The status is what counts; a body that breaks off only lacks words.
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** @returns the text without tokens, passwords of URLs and signed parameters */
export function withoutSecrets(text: string): string {
  return text
    .replace(/\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi, '$1 …')
    .replace(/(https?:\/\/)[^\s/@]+@/gi, '$1…@')
    .replace(/([?&](?:[\w-]*(?:token|signature|secret|password|credential|key)[\w-]*|sig|_state)=)[^&\s"']+/gi, '$1…');
}

/** @returns the error for a registry that could not be spoken with */
export function unreachable(registry: string, what: string, cause: unknown): BerthError {
  return new BerthError('REGISTRY_UNREACHABLE', `${registry} could not be asked ${what}: ${reasonOf(cause)}.`, {
    cause,
    details: { registry },
  });
}

/** fetch hides the reason in its error's cause. */
function reasonOf(error: unknown): string {
  let deepest = error;
  while (deepest instanceof Error && deepest.cause !== undefined) deepest = deepest.cause;
  const message = deepest instanceof Error ? deepest.message || errorCodeOf(deepest) || deepest.name : String(deepest);
  return withoutSecrets(message);
}

/** @returns Node's code of the error or of a cause of it: `ECONNREFUSED`, `UND_ERR_SOCKET` */
export function errorCodeOf(error: unknown): string | undefined {
  for (let inner: unknown = error; inner instanceof Error; inner = inner.cause) {
    if ('code' in inner && typeof inner.code === 'string') return inner.code;
  }
  return undefined;
}
