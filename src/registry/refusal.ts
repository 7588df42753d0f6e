/** Answers of the registry that are errors: the distribution specification's codes, their statuses, and their body. */
import { BerthError, type ErrorCode } from '../core/errors.ts';

/** Codes of the distribution specification, "Error Codes", with the status that each has by default. */
const statusOf = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 400,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  UNSUPPORTED: 400,
  TOOMANYREQUESTS: 429,
  // Of Docker's registry; the specification leaves such failures to the status.
  UNAVAILABLE: 503,
  UNKNOWN: 500,
} as const;

export type RefusalCode = keyof typeof statusOf;

interface RefusalOptions {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly detail?: unknown;
  readonly cause?: unknown;
}

/** A request that is answered by an error of the protocol. It is thrown within the registry and never leaves it. */
export class Refusal extends Error {
  readonly code: RefusalCode;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly detail: unknown;

  constructor(code: RefusalCode, message: string, options: RefusalOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'Refusal';
    this.code = code;
    this.status = options.status ?? statusOf[code];
    this.headers = options.headers ?? {};
    this.detail = options.detail;
  }

  /** @returns the answer; engines show its message to their users */
  response(): Response {
    const error = { code: this.code, message: this.message, ...(this.detail ? { detail: this.detail } : {}) };
    return Response.json({ errors: [error] }, { status: this.status, headers: this.headers });
  }
}

/** @returns the refusal that an error of the catalogue comes to */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (!(error instanceof BerthError)) {
    return new Refusal('UNKNOWN', 'The registry failed at this request; its log tells more.', { cause: error });
  }
  const { details, message, hint } = error;
  const [code, status] = kindOf(error);
  const retryAfter = typeof details?.['retryAfterSeconds'] === 'number' ? details['retryAfterSeconds'] : undefined;
  // An engine shows the message and nothing else, so the hint is a part of it.
  return new Refusal(code, status < 500 || code === 'DENIED' ? `${message} ${hint}` : message, {
    status,
    detail: details,
    cause: error,
    ...(retryAfter === undefined ? {} : { headers: { 'Retry-After': String(Math.ceil(retryAfter)) } }),
  });
}

/** Codes of the catalogue that have an answer of their own. 499 is Nginx's status for a client that has gone. */
const special: Partial<Record<ErrorCode, readonly [RefusalCode, number]>> = {
  BLOB_CORRUPT: ['DIGEST_INVALID', 400],
  BLOB_MISSING: ['BLOB_UNKNOWN', 404],
  BLOBS_FULL: ['DENIED', 507],
  UNAUTHORIZED: ['UNAUTHORIZED', 401],
  CANCELLED: ['UNKNOWN', 499],
};

function kindOf({ code, fault, retryable }: BerthError): readonly [RefusalCode, number] {
  const own = special[code];
  if (own) return own;
  if (retryable) return ['UNAVAILABLE', 503];
  return fault === 'user' ? ['MANIFEST_UNKNOWN', 404] : ['UNKNOWN', fault === 'upstream' ? 502 : 500];
}
