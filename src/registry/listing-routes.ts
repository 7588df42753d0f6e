/** What there is: tags of a repository, repositories, and manifests that refer to another. */
import { mediaTypes } from '../oci/media-types.ts';
import { checkAccess } from './access.ts';
import type { Call, RegistryContext } from './context.ts';
import { checkDigest } from './reference.ts';
import { Refusal } from './refusal.ts';

const defaultPage = 1000;
const maxPage = 10_000;

export function handleTags(context: RegistryContext, call: Call, repository: string): Response {
  onlyRead(call);
  checkAccess(call.access, repository, 'pull');
  const { limit, last } = pageOf(call.url);
  // One more than is shown tells whether there is a next page.
  const found = context.manifests.tags(context.storedName(repository), { limit: limit + 1, last });
  if (!found) throw new Refusal('NAME_UNKNOWN', `There is no repository ${repository}.`);
  const tags = found.slice(0, limit);
  return Response.json(
    { name: repository, tags },
    { headers: nextPage(`/v2/${repository}/tags/list`, limit, tags, found.length) },
  );
}

export function handleCatalog(context: RegistryContext, call: Call): Response {
  onlyRead(call);
  const { limit, last } = pageOf(call.url);
  const repositories: string[] = [];
  let from = last;
  // Those that the caller may not see are left out, page by page.
  for (;;) {
    const found = context.manifests.repositories({ limit: limit + 1, last: from });
    repositories.push(...found.filter((repository) => call.access.rights(repository).pull));
    from = found.at(-1) ?? '';
    if (found.length <= limit || repositories.length > limit) break;
  }
  const shown = repositories.slice(0, limit);
  return Response.json(
    { repositories: shown },
    { headers: nextPage('/v2/_catalog', limit, shown, repositories.length) },
  );
}

export function handleReferrers(context: RegistryContext, call: Call, repository: string, text: string): Response {
  onlyRead(call);
  checkAccess(call.access, repository, 'pull');
  const subject = checkDigest(text);
  const artifactType = call.url.searchParams.get('artifactType');
  const manifests = context.manifests.referrers(
    context.storedName(repository),
    subject,
    artifactType === null || artifactType === '' ? undefined : artifactType,
  );
  return Response.json(
    { schemaVersion: 2, mediaType: mediaTypes.index, manifests },
    {
      headers: {
        'Content-Type': mediaTypes.index,
        ...(artifactType ? { 'OCI-Filters-Applied': 'artifactType' } : {}),
      },
    },
  );
}

function onlyRead({ request }: Call): void {
  if (request.method === 'GET' || request.method === 'HEAD') return;
  throw new Refusal('UNSUPPORTED', `A list takes no ${request.method}.`, { status: 405 });
}

function pageOf(url: URL): { limit: number; last: string } {
  const text = url.searchParams.get('n');
  const last = url.searchParams.get('last') ?? '';
  if (text === null || text === '') return { limit: defaultPage, last };
  if (!/^\d+$/.test(text)) throw new Refusal('UNSUPPORTED', `The parameter \`n\` is ${text}, which is no number.`);
  return { limit: Math.min(Number(text), maxPage), last };
}

function nextPage(path: string, limit: number, shown: readonly string[], found: number): Record<string, string> {
  const last = shown.at(-1);
  if (found <= limit || last === undefined) return {};
  return { Link: `<${path}?n=${limit}&last=${encodeURIComponent(last)}>; rel="next"` };
}
