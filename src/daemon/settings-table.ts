/**
 * The table of all settings: name, variable, values, default, meaning. docs/settings.md is generated from it. Reading
 * is settings.ts's work.
 */
// The small edition: the command reads settings too, and the whole library would add 30 ms to its start.
import * as z from 'zod/mini';

export interface SettingDefinition<Schema extends z.ZodMiniType = z.ZodMiniType> {
  readonly variable: `BERTH_${string}`;
  /** Takes JSON of the settings file as well as the text of a variable or flag. */
  readonly schema: Schema;
  /** The values it takes and their unit, in words. */
  readonly values: string;
  readonly default: z.output<Schema>;
  /** What the default is, in words, where it depends on the host. */
  readonly defaultText?: string;
  readonly meaning: string;
  /** Found before the settings file is, so that only a variable can set it. */
  readonly variableOnly?: true;
  /** Never printed. */
  readonly secret?: true;
}

function setting<Schema extends z.ZodMiniType>(definition: SettingDefinition<Schema>): SettingDefinition<Schema> {
  return definition;
}

const text = z.string().check(z.minLength(1));
const optionalText = before((value) => (value === '' ? null : value), z.nullable(z.string()));
const list = before(
  (value) => (typeof value === 'string' ? value.split(/[\s,]+/).filter((word) => word !== '') : value),
  z.array(z.string()),
);
const flag = before((value) => flagWords[String(value)] ?? value, z.boolean());
const number = before(fromText(numberFrom), z.number().check(z.positive()));
const whole = before(fromText(numberFrom), z.int().check(z.nonnegative()));
const bytes = before(fromText(parseBytes), z.int().check(z.positive()));
const milliseconds = before(fromText(parseMilliseconds), z.int().check(z.nonnegative()));

/** Checks what the function makes of the value. */
function before<Schema extends z.ZodMiniType>(change: (value: unknown) => unknown, schema: Schema) {
  return z.pipe(z.transform(change), schema);
}

function fromText(parse: (value: string) => unknown): (value: unknown) => unknown {
  return (value) => (typeof value === 'string' ? parse(value) : value);
}

const flagWords: Readonly<Record<string, boolean>> = {
  true: true,
  '1': true,
  yes: true,
  false: false,
  '0': false,
  no: false,
};

/** `none` in a variable and null in the file both mean that there is no limit. */
function orNone<Schema extends z.ZodMiniType>(schema: Schema) {
  return before((value) => (value === 'none' ? null : value), z.nullable(schema));
}

function numberFrom(value: string): number | string {
  return /^\d+(\.\d+)?$/.test(value.trim()) ? Number(value) : value;
}

const byteUnits: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** @returns the number of bytes that `512M`, `2GiB` or `1048576` says, or the text itself where it says none */
export function parseBytes(value: string): number | string {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(value.trim());
  if (!match) return value;
  return Math.round(Number(match[1]) * (byteUnits[(match[2] ?? '').toLowerCase()] ?? 1));
}

const timeUnits: Readonly<Record<string, number>> = { '': 1, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** @returns the milliseconds that `30s`, `5m`, `1h` or `1500` says, or the text itself where it says none */
export function parseMilliseconds(value: string): number | string {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|)$/i.exec(value.trim());
  if (!match) return value;
  return Math.round(Number(match[1]) * (timeUnits[(match[2] ?? '').toLowerCase()] ?? 1));
}

const timeValues = 'milliseconds, or a number with s, m or h';
const byteValues = 'bytes, or a number with K, M or G';

/** Every setting, by its name in the settings file. */
export const settingsTable = {
  home: setting({
    variable: 'BERTH_HOME',
    schema: text,
    values: 'an absolute folder',
    default: '',
    defaultText: '`~/.local/share/berth`; for root `/var/lib/berth`',
    meaning: 'Holds all of Berth: the store, the records, the log.',
    variableOnly: true,
  }),
  socketDirectory: setting({
    variable: 'BERTH_SOCKET_DIRECTORY',
    schema: text,
    values: 'an absolute folder, at most 90 bytes long',
    default: '',
    defaultText: '`run` in `BERTH_HOME` where that is set; else `berth` in `XDG_RUNTIME_DIR`; for root `/run/berth`',
    meaning: "Holds the daemon's sockets. Only its owner can enter it.",
    variableOnly: true,
  }),
  store: setting({
    variable: 'BERTH_STORE',
    schema: z.enum(['managed', 'system']),
    values: '`managed` or `system`',
    default: 'managed',
    meaning: "Which Nix store to use: Berth's own under its home, or the host's `/nix`.",
  }),
  'store.root': setting({
    variable: 'BERTH_STORE_ROOT',
    schema: optionalText,
    values: 'an absolute folder',
    default: null,
    defaultText: '`store` in `BERTH_HOME`',
    meaning: 'Where the managed store lies. Several homes of one user may share a store.',
  }),
  source: setting({
    variable: 'BERTH_SOURCE',
    schema: z.enum(['nixpkgs', 'debian']),
    values: '`nixpkgs` or `debian`',
    default: 'nixpkgs',
    meaning: 'What `pkgs` means in a config that has no lock yet. A lock keeps what it says.',
  }),
  'debian.suite': setting({
    variable: 'BERTH_DEBIAN_SUITE',
    schema: optionalText,
    values: '`bookworm`, `trixie` or `sid`',
    default: null,
    defaultText: "the host's suite on Debian, else `trixie`",
    meaning: 'The suite that a new lock takes Debian packages from.',
  }),
  'debian.mirror': setting({
    variable: 'BERTH_DEBIAN_MIRROR',
    schema: optionalText,
    values: 'a URL',
    default: null,
    defaultText: "the first mirror of the host's apt",
    meaning: 'The Debian archive to read.',
  }),
  'debian.securityMirror': setting({
    variable: 'BERTH_DEBIAN_SECURITY_MIRROR',
    schema: optionalText,
    values: 'a URL',
    default: null,
    defaultText: "the security mirror of the host's apt, where it has one",
    meaning: "The archive of Debian's security updates.",
  }),
  'debian.keyring': setting({
    variable: 'BERTH_DEBIAN_KEYRING',
    schema: optionalText,
    values: 'a file',
    default: null,
    defaultText: '`/usr/share/keyrings/debian-archive-keyring.gpg`',
    meaning: "The keys that the archive's Release files must be signed with.",
  }),
  'debian.checkValidUntil': setting({
    variable: 'BERTH_DEBIAN_CHECK_VALID_UNTIL',
    schema: before((value) => (value === '' ? null : value), z.nullable(flag)),
    values: '`true` or `false`',
    default: null,
    defaultText: "as the host's apt does",
    meaning: 'Whether to refuse a Release file whose Valid-Until has passed.',
  }),
  'nixpkgs.url': setting({
    variable: 'BERTH_NIXPKGS_URL',
    schema: optionalText,
    values: 'the URL of a tarball or a git repository',
    default: null,
    defaultText: 'the newest stable release of nixpkgs',
    meaning: 'Where a new lock takes nixpkgs from.',
  }),
  'versions.index': setting({
    variable: 'BERTH_VERSIONS_INDEX',
    schema: optionalText,
    values: 'an absolute path, or an http address',
    default: null,
    defaultText: 'none',
    meaning: 'Which revisions of nixpkgs have which versions of packages: a data file, see docs/versions.md.',
  }),
  'nixpkgs.rev': setting({
    variable: 'BERTH_NIXPKGS_REV',
    schema: optionalText,
    values: 'a revision',
    default: null,
    defaultText: 'the current one',
    meaning: 'Which revision of nixpkgs a new lock takes.',
  }),
  substituters: setting({
    variable: 'BERTH_SUBSTITUTERS',
    schema: list,
    values: 'URLs of binary caches, by blanks or commas apart',
    default: [],
    defaultText: "none; nixpkgs' own cache is used where nixpkgs is a source",
    meaning: 'Binary caches to download from instead of building.',
  }),
  trustedPublicKeys: setting({
    variable: 'BERTH_TRUSTED_PUBLIC_KEYS',
    schema: list,
    values: '`NAME:KEY`, by blanks or commas apart',
    default: [],
    defaultText: 'none',
    meaning: 'Keys that paths of the binary caches must be signed with.',
  }),
  netrcFile: setting({
    variable: 'BERTH_NETRC_FILE',
    schema: optionalText,
    values: 'a file',
    default: null,
    defaultText: 'none',
    meaning: "Holds the users and passwords of binary caches and registries that ask for them (curl's netrc format).",
  }),
  allowUnfree: setting({
    variable: 'BERTH_ALLOW_UNFREE',
    schema: flag,
    values: '`true` or `false`',
    default: false,
    meaning: 'Whether packages with an unfree licence may be used.',
  }),
  'evaluation.timeoutMs': setting({
    variable: 'BERTH_EVALUATION_TIMEOUT_MS',
    schema: milliseconds,
    values: timeValues,
    default: 60_000,
    meaning: 'How long the evaluation of a config may take.',
  }),
  'evaluation.memoryBytes': setting({
    variable: 'BERTH_EVALUATION_MEMORY_BYTES',
    schema: bytes,
    values: byteValues,
    default: 4 * 2 ** 30,
    meaning: 'How much memory the evaluation of a config may take.',
  }),
  'evaluation.maxOutputBytes': setting({
    variable: 'BERTH_EVALUATION_MAX_OUTPUT_BYTES',
    schema: bytes,
    values: byteValues,
    default: 16 * 2 ** 20,
    meaning: 'How much an evaluation may print.',
  }),
  'evaluation.allowImportFromDerivation': setting({
    variable: 'BERTH_EVALUATION_ALLOW_IMPORT_FROM_DERIVATION',
    schema: flag,
    values: '`true` or `false`',
    default: false,
    meaning: 'Whether an evaluation may build, to read what it has built.',
  }),
  'evaluation.passEnv': setting({
    variable: 'BERTH_EVALUATION_PASS_ENV',
    schema: list,
    values: 'names of variables, by blanks or commas apart',
    default: [],
    defaultText: 'none',
    meaning: 'Variables of the caller that a config may read by `builtins.getEnv`.',
  }),
  'build.maxJobs': setting({
    variable: 'BERTH_BUILD_MAX_JOBS',
    schema: whole,
    values: 'a number; 0 only downloads',
    default: 2,
    meaning: 'How many derivations are built at the same time.',
  }),
  'build.cores': setting({
    variable: 'BERTH_BUILD_CORES',
    schema: whole,
    values: 'a number; 0 means all',
    default: 0,
    meaning: 'How many cores one build may use.',
  }),
  'build.timeoutMs': setting({
    variable: 'BERTH_BUILD_TIMEOUT_MS',
    schema: milliseconds,
    values: timeValues,
    default: 3_600_000,
    meaning: 'How long all builds and downloads of one environment may take. Longer is BUILD_TIMEOUT.',
  }),
  'builder.workers': setting({
    variable: 'BERTH_BUILDER_WORKERS',
    schema: before(
      (value) => (value === '' ? null : value),
      z.nullable(before(fromText(numberFrom), z.int().check(z.positive()))),
    ),
    values: 'a number',
    default: null,
    defaultText: 'as many as the machine has cores',
    meaning: 'How many builders there are: so many environments are built at the same time.',
  }),
  'builder.isolation': setting({
    variable: 'BERTH_BUILDER_ISOLATION',
    schema: z.enum(['process', 'container']),
    values: '`process` or `container`',
    default: 'process',
    meaning: 'What a builder is: a sandboxed process, or a container of the OCI runtime (`oci.runtime`; needs root).',
  }),
  reload: setting({
    variable: 'BERTH_RELOAD',
    schema: z.enum(['notify', 'auto', 'off']),
    values: '`notify`, `auto` or `off`',
    default: 'notify',
    meaning:
      'What an open shell in a berth does at its next prompt when the berth has another environment: tell, take it, or nothing. A config (`env.BERTH_RELOAD`) and a user in the shell may set the same variable.',
  }),
  'generations.keep': setting({
    variable: 'BERTH_GENERATIONS_KEEP',
    schema: before(fromText(numberFrom), z.int().check(z.minimum(1))),
    values: 'a whole number from 1',
    default: 10,
    meaning:
      'How many environments of a berth are kept for `berth rollback`, with their packages. Those that it had since it was started are kept besides, since its processes may use them.',
  }),
  'gc.keepDays': setting({
    variable: 'BERTH_GC_KEEP_DAYS',
    schema: whole,
    values: 'days',
    default: 14,
    meaning: 'How long `berth gc` keeps an environment, a trace or a log that nothing uses.',
  }),
  mode: setting({
    variable: 'BERTH_MODE',
    schema: z.enum(['auto', 'shell', 'image', 'registry']),
    values: '`auto`, `shell`, `image` or `registry`',
    default: 'auto',
    meaning:
      'How an environment gets into its container. `auto`: `shell` where the store can be mounted, else `image`.',
  }),
  'image.compression': setting({
    variable: 'BERTH_IMAGE_COMPRESSION',
    schema: z.enum(['gzip', 'zstd', 'none']),
    values: '`gzip`, `zstd` or `none`',
    default: 'gzip',
    meaning:
      'How the layers of images are packed that leave this host. Those for an engine of this host are not packed.',
  }),
  engine: setting({
    variable: 'BERTH_ENGINE',
    schema: z.enum(['auto', 'embedded', 'docker', 'kubernetes']),
    values: '`auto`, `embedded`, `docker` or `kubernetes`',
    default: 'auto',
    meaning: 'What runs containers. `auto` takes the first that works here, in this order.',
  }),
  'docker.socket': setting({
    variable: 'BERTH_DOCKER_SOCKET',
    schema: optionalText,
    values: 'the path of a unix socket',
    default: null,
    defaultText: '`/var/run/docker.sock`',
    meaning: "Where the Docker Engine's API answers.",
  }),
  'docker.config': setting({
    variable: 'BERTH_DOCKER_CONFIG',
    schema: optionalText,
    values: 'a folder',
    default: null,
    defaultText: '`DOCKER_CONFIG`, else `~/.docker`',
    meaning: 'Holds the `config.json` that tells credentials of registries, as `docker login` writes it.',
  }),
  'registries.insecure': setting({
    variable: 'BERTH_REGISTRIES_INSECURE',
    schema: list,
    values: '`HOST[:PORT]`, by blanks or commas apart',
    default: [],
    defaultText: 'none but those on loopback',
    meaning: 'Registries that may be spoken to by plain HTTP.',
  }),
  'signing.password': setting({
    variable: 'BERTH_SIGNING_PASSWORD',
    schema: before((value) => (value === '' ? null : value), z.nullable(z.string())),
    values: 'text',
    default: null,
    defaultText: '`COSIGN_PASSWORD`, else none',
    meaning: 'The password of the key that images are signed with.',
    secret: true,
  }),
  'oci.runtime': setting({
    variable: 'BERTH_OCI_RUNTIME',
    schema: optionalText,
    values: 'the name or path of an OCI runtime',
    default: null,
    defaultText: '`runc` or `crun`, whichever works here',
    meaning: 'The runtime of the embedded engine.',
  }),
  'limits.memory': setting({
    variable: 'BERTH_LIMITS_MEMORY',
    schema: orNone(bytes),
    values: `${byteValues}; \`none\``,
    default: 4 * 2 ** 30,
    meaning: 'How much memory a berth may use.',
  }),
  'limits.cpus': setting({
    variable: 'BERTH_LIMITS_CPUS',
    schema: orNone(number),
    values: 'CPUs, fractions allowed; `none`',
    default: null,
    defaultText: '`none`',
    meaning: 'How many CPUs a berth may use.',
  }),
  'limits.pids': setting({
    variable: 'BERTH_LIMITS_PIDS',
    schema: orNone(whole),
    values: 'a number of processes and threads; `none`',
    default: 4096,
    meaning: 'How many processes and threads a berth may have.',
  }),
  network: setting({
    variable: 'BERTH_NETWORK',
    schema: z.enum(['auto', 'none', 'host', 'bridge']),
    values: '`auto`, `none`, `host` or `bridge`',
    default: 'auto',
    meaning:
      "A berth's network. `auto`: a bridge of its own with a way out; with the embedded engine that needs `slirp4netns`, else it is `none`.",
  }),
  isolation: setting({
    variable: 'BERTH_ISOLATION',
    schema: z.enum(['whole', 'closure']),
    values: '`whole` or `closure`',
    default: 'whole',
    meaning: "What a berth sees of the store: the whole, or the paths of its environment's closure only.",
  }),
  'pool.min': setting({
    variable: 'BERTH_POOL_MIN',
    schema: whole,
    values: 'a number',
    default: 0,
    meaning:
      'Started containers that wait for an environment from the start of the daemon on. With 0 they wait once berths were asked for.',
  }),
  'pool.max': setting({
    variable: 'BERTH_POOL_MAX',
    schema: whole,
    values: 'a number; 0 means that none wait',
    default: 16,
    meaning: 'How many may wait, of each network and isolation.',
  }),
  'pool.targetHitRate': setting({
    variable: 'BERTH_POOL_TARGET_HIT_RATE',
    schema: before(fromText(numberFrom), z.number().check(z.minimum(0), z.maximum(1))),
    values: 'a share from 0 to 1',
    default: 0.95,
    meaning: 'How many of the berths that are asked for should find one waiting; the number that wait follows from it.',
  }),
  'pool.idleMs': setting({
    variable: 'BERTH_POOL_IDLE_MS',
    schema: milliseconds,
    values: timeValues,
    default: 5 * 60_000,
    meaning: 'After how long without a berth being asked for only `pool.min` wait.',
  }),
  idleTimeoutMs: setting({
    variable: 'BERTH_IDLE_TIMEOUT_MS',
    schema: milliseconds,
    values: `${timeValues}; 0 means never`,
    default: 15 * 60_000,
    meaning: 'After how long without work a daemon leaves that a command has started.',
  }),
  listen: setting({
    variable: 'BERTH_LISTEN',
    schema: optionalText,
    values: '`HOST:PORT`',
    default: null,
    defaultText: 'none',
    meaning: 'A TCP address on which the daemon answers too. It needs `token`, `tls.*` or, on loopback, `noAuth`.',
  }),
  token: setting({
    variable: 'BERTH_TOKEN',
    schema: before((value) => (value === '' ? null : value), z.nullable(z.string().check(z.minLength(16)))),
    values: 'at least 16 characters',
    default: null,
    defaultText: 'none',
    meaning: 'What TCP clients must send as `Authorization: Bearer TOKEN`.',
    secret: true,
  }),
  noAuth: setting({
    variable: 'BERTH_NO_AUTH',
    schema: flag,
    values: '`true` or `false`',
    default: false,
    meaning: 'Lets every local user in over TCP. Allowed on loopback only.',
  }),
  'tls.certificate': setting({
    variable: 'BERTH_TLS_CERTIFICATE',
    schema: optionalText,
    values: 'a PEM file',
    default: null,
    defaultText: 'none',
    meaning: 'The certificate of the TCP listener.',
  }),
  'tls.key': setting({
    variable: 'BERTH_TLS_KEY',
    schema: optionalText,
    values: 'a PEM file',
    default: null,
    defaultText: 'none',
    meaning: 'The private key of the TCP listener.',
  }),
  'tls.clientAuthority': setting({
    variable: 'BERTH_TLS_CLIENT_AUTHORITY',
    schema: optionalText,
    values: 'a PEM file',
    default: null,
    defaultText: 'none',
    meaning: 'Certificates that TCP clients must be signed by. With it, a token is not needed.',
  }),
  'libraries.timeoutMs': setting({
    variable: 'BERTH_LIBRARIES_TIMEOUT_MS',
    schema: milliseconds,
    values: timeValues,
    default: 30 * 60_000,
    meaning: 'How long one command of an install of libraries may take.',
  }),
  'libraries.npmrcFile': setting({
    variable: 'BERTH_LIBRARIES_NPMRC_FILE',
    schema: optionalText,
    values: 'a file',
    default: null,
    defaultText: '`.npmrc` in the home folder of the user',
    meaning: "npm's settings with the tokens of private registries. Only the daemon reads them.",
  }),
  'nixCache.compression': setting({
    variable: 'BERTH_NIX_CACHE_COMPRESSION',
    schema: z.enum(['zstd', 'none']),
    values: '`zstd` or `none`',
    default: 'zstd',
    meaning: 'How the binary cache at `/nix-cache` packs what it sends.',
  }),
  'nixCache.secretKeyFile': setting({
    variable: 'BERTH_NIX_CACHE_SECRET_KEY_FILE',
    schema: optionalText,
    values: 'a file',
    default: null,
    defaultText: '`$BERTH_HOME/nix/cache-key.sec`, made when first needed',
    meaning: 'The key that the binary cache signs with. Its public part is at `/nix-cache/public-key`.',
  }),
  'nixCache.upload': setting({
    variable: 'BERTH_NIX_CACHE_UPLOAD',
    schema: flag,
    values: '`true` or `false`',
    default: false,
    meaning:
      'Whether those who may call the daemon may also put paths into its store, by `nix copy --to`. What they put there is trusted.',
  }),
  'registry.storage': setting({
    variable: 'BERTH_REGISTRY_STORAGE',
    schema: z.enum(['disk', 's3']),
    values: '`disk` or `s3`',
    default: 'disk',
    meaning: 'Where the blobs of images are kept: `blobs` in `BERTH_HOME`, or a bucket of an S3-compatible store.',
  }),
  'registry.maxBytes': setting({
    variable: 'BERTH_REGISTRY_MAX_BYTES',
    schema: orNone(bytes),
    values: `${byteValues}; or \`none\``,
    default: null,
    defaultText: 'none',
    meaning: 'Most that blobs of images and uploads may take. Past it, images that are cheapest to lose are evicted.',
  }),
  'registry.waitMs': setting({
    variable: 'BERTH_REGISTRY_WAIT_MS',
    schema: milliseconds,
    values: timeValues,
    default: 60_000,
    meaning: 'How long a pull waits for an image that is being built, before it is told to come again.',
  }),
  'registry.s3.bucket': setting({
    variable: 'BERTH_REGISTRY_S3_BUCKET',
    schema: optionalText,
    values: "a bucket's name",
    default: null,
    defaultText: 'none',
    meaning: 'The bucket for blobs.',
  }),
  'registry.s3.endpoint': setting({
    variable: 'BERTH_REGISTRY_S3_ENDPOINT',
    schema: optionalText,
    values: 'a URL',
    default: null,
    defaultText: 'that of AWS for the region',
    meaning: 'Where the S3-compatible store answers.',
  }),
  'registry.s3.region': setting({
    variable: 'BERTH_REGISTRY_S3_REGION',
    schema: text,
    values: 'a region',
    default: 'us-east-1',
    meaning: 'The region of the bucket.',
  }),
  'registry.s3.accessKeyId': setting({
    variable: 'BERTH_REGISTRY_S3_ACCESS_KEY_ID',
    schema: optionalText,
    values: 'text',
    default: null,
    defaultText: 'none',
    meaning: 'The access key for the bucket.',
    secret: true,
  }),
  'registry.s3.secretAccessKey': setting({
    variable: 'BERTH_REGISTRY_S3_SECRET_ACCESS_KEY',
    schema: optionalText,
    values: 'text',
    default: null,
    defaultText: 'none',
    meaning: 'The secret key for the bucket.',
    secret: true,
  }),
  'registry.redirect': setting({
    variable: 'BERTH_REGISTRY_REDIRECT',
    schema: flag,
    values: '`true` or `false`',
    default: false,
    meaning: 'Sends pulls of blobs on to the S3-compatible store by URLs that are signed for 15 minutes.',
  }),
  logLevel: setting({
    variable: 'BERTH_LOG_LEVEL',
    schema: z.enum(['error', 'warning', 'info', 'debug']),
    values: '`error`, `warning`, `info` or `debug`',
    default: 'info',
    meaning: "What the daemon's log holds.",
  }),
  'log.maxBytes': setting({
    variable: 'BERTH_LOG_MAX_BYTES',
    schema: bytes,
    values: byteValues,
    default: 8 * 2 ** 20,
    meaning: "Size at which the daemon's log is put aside and a new one begun; one old log is kept.",
  }),
};

export type SettingName = keyof typeof settingsTable;

/** All settings, resolved. */
export type Settings = { readonly [Name in SettingName]: z.output<(typeof settingsTable)[Name]['schema']> };

/** @returns docs/settings.md */
export function settingsPage(): string {
  const rows = Object.entries<SettingDefinition>(settingsTable).map(([name, entry]) => {
    const fallback = entry.defaultText ?? `\`${String(entry.default)}\``;
    const where = entry.variableOnly ? ' Not in the file.' : '';
    return `| \`${name}\` | \`${entry.variable}\` | ${entry.values} | ${fallback} | ${entry.meaning}${where} |`;
  });
  return [
    '# Settings',
    '',
    '<!-- Generated by `npm run docs` from src/daemon/settings-table.ts. -->',
    '',
    "A command's flag wins over the `BERTH_…` variable, the variable over the settings file, the file over the default.",
    '',
    'The settings file is `settings.json` in `$BERTH_HOME`, else in `$XDG_CONFIG_HOME/berth` (`~/.config/berth`); for',
    'root, else `/etc/berth/settings.json`. The first that is there is read. It is a JSON object; a dot in a name may be',
    'written as nesting: `{"limits": {"memory": "2G"}}`. Unknown names are errors.',
    '',
    'A daemon that a command has started follows changed settings by itself: the next command notices and has it',
    'restarted once it has no work. A daemon started by `berth serve` keeps the settings it was started with.',
    '',
    '| name | variable | values | default | meaning |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
