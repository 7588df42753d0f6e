/** Pushes of blobs: in one request or two, in chunks, resumed, cancelled, or mounted from another repository. */
import type { BlobDigest } from '../oci/blobs/blob-store.ts';
import { checkAccess } from './access.ts';
import type { Call, RegistryContext } from './context.ts';
import { checkDigest, checkRepository } from './reference.ts';
import { Refusal } from './refusal.ts';
import { bodyOf } from './request-body.ts';

/** POST /v2/NAME/blobs/uploads/ */
export async function handleNewUpload(context: RegistryContext, call: Call, name: string): Promise<Response> {
  const { request, url } = call;
  if (request.method !== 'POST') {
    throw new Refusal('UNSUPPORTED', `Uploads begin with POST, not ${request.method}.`, { status: 405 });
  }
  checkAccess(call.access, name, 'push');
  const repository = context.storedName(name);
  const mount = url.searchParams.get('mount');
  if (mount !== null && mounted(context, call, repository, checkDigest(mount)))
    return created(name, checkDigest(mount));
  checkSize(context, request);
  const digest = url.searchParams.get('digest');
  const wanted = digest === null ? undefined : checkDigest(digest);
  const id = await context.uploads.start(repository);
  if (wanted === undefined) return accepted(name, id, 0);
  try {
    await context.uploads.append(repository, id, bodyOf(request, context.idleMs), () => undefined);
  } catch (error) {
    // Its address was never told, so that nobody could resume it.
    await context.uploads.cancel(repository, id).catch(() => undefined);
    throw error;
  }
  await context.uploads.finish(repository, id, wanted);
  return created(name, wanted);
}

/** GET, PATCH, PUT and DELETE /v2/NAME/blobs/uploads/ID */
export async function handleUpload(context: RegistryContext, call: Call, name: string, id: string): Promise<Response> {
  const { request, url } = call;
  checkAccess(call.access, name, 'push');
  const { uploads, idleMs } = context;
  const repository = context.storedName(name);
  const append = async (): Promise<number> => {
    checkSize(context, request);
    return uploads.append(repository, id, bodyOf(request, idleMs), (size) => checkOffset(request, name, id, size));
  };
  switch (request.method) {
    case 'GET':
      return accepted(name, id, await uploads.size(repository, id), 204);
    case 'PATCH':
      return accepted(name, id, await append());
    case 'PUT': {
      const text = url.searchParams.get('digest');
      if (text === null) throw new Refusal('DIGEST_INVALID', 'An upload ends with PUT and the parameter `digest`.');
      const digest = checkDigest(text);
      await append();
      await uploads.finish(repository, id, digest);
      return created(name, digest);
    }
    case 'DELETE':
      await uploads.cancel(repository, id);
      return new Response(null, { status: 204 });
    default:
      throw new Refusal('UNSUPPORTED', `An upload takes no ${request.method}.`, { status: 405 });
  }
}

/** Gives the repository a blob that another one has, if the caller may read it there. */
function mounted(
  { manifests, leases }: RegistryContext,
  { access, url }: Call,
  repository: string,
  digest: BlobDigest,
) {
  const from = url.searchParams.get('from');
  const sources = from === null ? manifests.repositoriesOf(digest) : [checkRepository(from)];
  const source = sources.find((it) => access.rights(it).pull && manifests.blob(it, digest) !== undefined);
  if (source === undefined) return false;
  leases.hold(digest, repository);
  manifests.addBlob(repository, digest);
  return true;
}

/** What can't fit is refused before it is sent. */
function checkSize({ blobs }: RegistryContext, request: Request): void {
  const length = Number(request.headers.get('content-length') ?? 0);
  if (blobs.maxBytes === null || length <= blobs.maxBytes) return;
  throw new Refusal('SIZE_INVALID', `The limit for all images here is ${blobs.maxBytes} bytes.`, { status: 413 });
}

/** A chunk says where it belongs; one without a range goes to the end. */
function checkOffset(request: Request, name: string, id: string, size: number): void {
  const header = request.headers.get('content-range');
  if (header === null) return;
  const match = /^(?:bytes )?(\d+)-(\d+)(?:\/.*)?$/.exec(header.trim());
  const length = request.headers.get('content-length');
  const [start, end] = [Number(match?.[1]), Number(match?.[2])];
  if (match && start === size && (length === null || end - start + 1 === Number(length))) return;
  throw new Refusal('BLOB_UPLOAD_INVALID', `The chunk ${header} does not begin at ${size}, where the last one ended.`, {
    status: 416,
    headers: progress(name, id, size),
  });
}

function accepted(name: string, id: string, size: number, status = 202): Response {
  return new Response(null, { status, headers: progress(name, id, size) });
}

function progress(name: string, id: string, size: number): Record<string, string> {
  return {
    Location: `/v2/${name}/blobs/uploads/${id}`,
    // The last byte that is there; the specification has no way to say that there is none.
    Range: `0-${Math.max(0, size - 1)}`,
    'Docker-Upload-UUID': id,
  };
}

function created(name: string, digest: BlobDigest): Response {
  return new Response(null, {
    status: 201,
    headers: { Location: `/v2/${name}/blobs/${digest}`, 'Docker-Content-Digest': digest },
  });
}
