/**
 * Credentials of registries as Docker keeps them: `config.json` with `auths`, `credsStore` and `credHelpers`, the latter
 * two programs `docker-credential-NAME` (github.com/docker/docker-credential-helpers, "Credential helper protocol").
 */
import { join } from 'node:path';
import { z } from 'zod';
import { BerthError } from '../../core/errors.ts';
import { exec } from '../../core/exec.ts';
import { readTextIfThere } from '../../core/files.ts';

export type Credential =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** Handed to the registry's token server for one that lives shortly. */
  | { readonly kind: 'identity'; readonly token: string }
  /** Sent to the registry as it is. */
  | { readonly kind: 'bearer'; readonly token: string };

/** @returns what to log in with at a registry (`HOST[:PORT]`), or undefined to be anonymous */
export type Credentials = (registry: string, signal?: AbortSignal) => Promise<Credential | undefined>;

export const anonymous: Credentials = () => Promise.resolve(undefined);

export interface DockerCredentialsOptions {
  /** The folder of `config.json`: `~/.docker`. */
  readonly folder: string;
  /** Environment of credential helpers, with the PATH to find them; default: this process's. */
  readonly environment?: Readonly<Record<string, string>>;
}

const entrySchema = z.looseObject({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
});
const configSchema = z.looseObject({
  auths: z.record(z.string(), entrySchema).nullish(),
  credsStore: z.string().optional(),
  credHelpers: z.record(z.string(), z.string()).nullish(),
});
const helperReplySchema = z.looseObject({ Username: z.string(), Secret: z.string() });

/** Docker Hub's name in config.json and for helpers. */
const dockerHubKey = 'https://index.docker.io/v1/';
const helperTimeoutMs = 30_000;

/**
 * Reads Docker's configuration at each question, so that a `docker login` counts at once.
 * @throws BerthError CREDENTIALS_UNREADABLE when the file is damaged or a helper fails
 */
export function dockerCredentials(options: DockerCredentialsOptions): Credentials {
  const file = join(options.folder, 'config.json');
  return async (registry, signal) => {
    const text = await readTextIfThere(file);
    if (text === undefined) return undefined;
    const config = parse(configSchema, text, `${file} is not of the form that Docker writes`);
    const helper = config.credHelpers?.[registry] ?? config.credHelpers?.[serverOf(registry)] ?? config.credsStore;
    const stored = helper ? await askHelper(helper, serverOf(registry), options.environment, signal) : undefined;
    return stored ?? fromEntry(entryOf(config.auths ?? {}, registry), registry);
  };
}

function serverOf(registry: string): string {
  return registry === 'docker.io' ? dockerHubKey : registry;
}

/** Keys are hosts; older Dockers wrote whole URLs. */
function entryOf(auths: Readonly<Record<string, z.infer<typeof entrySchema>>>, registry: string) {
  const hostOf = (key: string) => key.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  const wanted = hostOf(serverOf(registry));
  const same = Object.keys(auths).find((key) => hostOf(key) === wanted);
  return auths[serverOf(registry)] ?? (same === undefined ? undefined : auths[same]);
}

function fromEntry(entry: z.infer<typeof entrySchema> | undefined, registry: string): Credential | undefined {
  if (!entry) return undefined;
  if (entry.registrytoken) return { kind: 'bearer', token: entry.registrytoken };
  if (entry.identitytoken) return { kind: 'identity', token: entry.identitytoken };
  if (entry.auth) {
    const text = Buffer.from(entry.auth, 'base64').toString('utf8').replace(/\0+$/, '');
    const colon = text.indexOf(':');
    if (colon < 0) throw unreadable(`The entry \`auth\` of ${registry} in Docker's config.json has no colon`);
    return { kind: 'password', username: text.slice(0, colon), password: text.slice(colon + 1) };
  }
  if (entry.username === undefined || entry.password === undefined) return undefined;
  return { kind: 'password', username: entry.username, password: entry.password };
}

async function askHelper(
  name: string,
  server: string,
  environment: Readonly<Record<string, string>> | undefined,
  signal: AbortSignal | undefined,
): Promise<Credential | undefined> {
  const program = `docker-credential-${name}`;
  if (!/^[\w.-]+$/.test(name)) throw unreadable(`\`${name}\` is no name of a credential helper`);
  const result = await exec(program, ['get'], {
    input: server,
    timeoutMs: helperTimeoutMs,
    ...(environment ? { env: environment } : {}),
    ...(signal ? { signal } : {}),
  }).catch((error: unknown) => {
    if (error instanceof BerthError && error.code === 'TOOL_MISSING') {
      throw unreadable(`Docker's config.json names \`${program}\`, which is not installed`, error);
    }
    throw error;
  });
  if (result.code !== 0) {
    // The protocol's way to say that there is none.
    if (/credentials not found|no credentials server URL|no credentials username/i.test(result.stdout))
      return undefined;
    const said = (result.stdout || result.stderr).trim().split('\n')[0] ?? '';
    throw unreadable(`\`${program} get\` failed for ${server}: ${result.ended ?? said}`);
  }
  const reply = parse(helperReplySchema, result.stdout, `\`${program} get\` did not answer as a credential helper`);
  if (reply.Username === '<token>') return { kind: 'identity', token: reply.Secret };
  return { kind: 'password', username: reply.Username, password: reply.Secret };
}

/** What was read may hold secrets, so no part of it is told, nor kept as a cause. */
function parse<T>(schema: z.ZodType<T>, text: string, failure: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw unreadable(failure);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw unreadable(`${failure}: \`${parsed.error.issues[0]?.path.join('.') ?? ''}\``);
  return parsed.data;
}

function unreadable(message: string, cause?: unknown): BerthError {
  return new BerthError('CREDENTIALS_UNREADABLE', `${message}.`, { cause });
}
