/** What a Docker server says when something fails, in Berth's words. No type of dockerode leaves this folder. */
import { z } from 'zod';
import { BerthError, type ErrorCode } from '../../core/errors.ts';

const apiErrorSchema = z.object({
  statusCode: z.number(),
  json: z.object({ message: z.string() }).optional().catch(undefined),
  message: z.string().optional(),
});
const connectionErrorSchema = z.object({ code: z.enum(['ENOENT', 'ECONNREFUSED', 'EACCES', 'ECONNRESET', 'EPIPE']) });

/** @returns the HTTP status of an answer that the server gave, or undefined for any other failure */
export function statusOf(error: unknown): number | undefined {
  return apiErrorSchema.safeParse(error).data?.statusCode;
}

/**
 * @param code for a failure that the server reports
 * @param what the work that failed, as the beginning of a sentence
 */
export function dockerError(error: unknown, code: ErrorCode, what: string): unknown {
  if (error instanceof BerthError) return error;
  const answer = apiErrorSchema.safeParse(error).data;
  if (answer) {
    const said = (answer.json?.message ?? answer.message ?? `status ${answer.statusCode}`).trim();
    return new BerthError(code, `${what}: ${said}`, { cause: error, details: { status: answer.statusCode } });
  }
  const connection = connectionErrorSchema.safeParse(error).data;
  if (connection) {
    return new BerthError('ENGINE_UNAVAILABLE', `${what}: no Docker server answers (${connection.code}).`, {
      cause: error,
    });
  }
  return error;
}
