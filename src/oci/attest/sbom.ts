/**
 * What is in an image, as a CycloneDX 1.6 document made by OWASP's library, which is loaded when it is first needed. The
 * same closure gives the same bytes: no time, and a serial number made from the environment's digest.
 */
import type { Digest } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { version as berthVersion } from '../../core/version.ts';
import { type Predicate, predicateTypes } from './statement.ts';

/** A package that a store path holds. */
export interface PackageFacts {
  readonly name: string;
  readonly version: string;
  /** For Debian's: what is in its purl besides, and the SHA-256 of its .deb. */
  readonly debian?: {
    readonly architecture: string;
    readonly source: string;
    readonly suite?: string;
    readonly sha256: string;
  };
  /** SPDX ids, or other names of licences. */
  readonly licenses?: readonly string[];
}

export interface SbomPath {
  /** `/nix/store/HASH-NAME` */
  readonly path: string;
  /** Of the path's NAR, in hexadecimal; absent where it is not known. */
  readonly narSha256?: string;
  /** Other paths of the closure. */
  readonly references: readonly string[];
}

export interface SbomInput {
  /** Of the image: its project's, or a reference's repository. */
  readonly name: string;
  readonly environmentDigest: Digest;
  /** The store path of the environment itself, which refers to all else. */
  readonly root: string;
  readonly closure: readonly SbomPath[];
  /** What is known of the package in a store path; a path of which nothing is known is told by its name alone. */
  readonly packageOf?: (storeName: string) => PackageFacts | undefined;
}

/** @returns the document as a predicate, whose content is the CycloneDX JSON */
export async function sbomOf(input: SbomInput): Promise<Predicate> {
  const [{ Enums, Models, Serialize, Spec, SPDX }, { PackageURL }] = await Promise.all([
    import('@cyclonedx/cyclonedx-library'),
    import('packageurl-js'),
  ]);

  const purlOf = (facts: PackageFacts, storeName: string): string => {
    const { debian, name, version } = facts;
    if (!debian)
      return new PackageURL('nix', undefined, name, version || undefined, { drv: storeName }, undefined).toString();
    const suite = debian.suite === undefined ? {} : { distro: debian.suite };
    return new PackageURL(
      'deb',
      'debian',
      name,
      version,
      { arch: debian.architecture, ...suite },
      undefined,
    ).toString();
  };
  const licenseOf = (text: string) =>
    SPDX.isSupportedSpdxId(text) ? new Models.SpdxLicense(text) : new Models.NamedLicense(text);
  const componentOf = ({ path, narSha256 }: SbomPath) => {
    const storeName = path.slice('/nix/store/'.length + 33);
    const facts = input.packageOf?.(storeName) ?? nameAndVersion(storeName);
    const hash = facts.debian?.sha256 ?? narSha256;
    return new Models.Component(Enums.ComponentType.Library, facts.name, {
      bomRef: path,
      version: facts.version,
      purl: purlOf(facts, storeName),
      hashes: new Models.HashDictionary(hash === undefined ? [] : [[Enums.HashAlgorithm['SHA-256'], hash]]),
      licenses: new Models.LicenseRepository((facts.licenses ?? []).map(licenseOf)),
      properties: new Models.PropertyRepository([
        new Models.Property('nix:store_path', path),
        ...(narSha256 === undefined ? [] : [new Models.Property('nix:nar_sha256', narSha256)]),
        ...(facts.debian ? [new Models.Property('debian:source', facts.debian.source)] : []),
      ]),
    });
  };

  const components = new Map(
    [...input.closure].sort((a, b) => (a.path < b.path ? -1 : 1)).map((entry) => [entry.path, componentOf(entry)]),
  );
  const link = (from: InstanceType<typeof Models.Component>, to: string) => {
    const target = components.get(to);
    if (target) from.dependencies.add(target.bomRef);
  };
  for (const { path, references } of input.closure) {
    const component = components.get(path);
    if (component) for (const reference of references) if (reference !== path) link(component, reference);
  }
  const image = new Models.Component(Enums.ComponentType.Container, input.name, {
    bomRef: input.environmentDigest,
    version: input.environmentDigest,
  });
  link(image, input.root);
  const bom = new Models.Bom({
    serialNumber: serialNumberOf(input.environmentDigest),
    components: new Models.ComponentRepository(components.values()),
    metadata: new Models.Metadata({
      component: image,
      tools: new Models.Tools({
        components: new Models.ComponentRepository([
          new Models.Component(Enums.ComponentType.Application, 'berth', { version: berthVersion }),
        ]),
      }),
    }),
  });
  const serializer = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6));
  return {
    type: predicateTypes.cycloneDx,
    content: JSON.parse(serializer.serialize(bom, { sortLists: true })) as unknown,
  };
}

/** As Nix parses names of derivations: the version begins after the first dash that no letter follows. */
export function nameAndVersion(storeName: string): PackageFacts {
  const match = /^(.*?)-([^a-zA-Z].*)$/.exec(storeName);
  return match ? { name: match[1] ?? storeName, version: match[2] ?? '' } : { name: storeName, version: '' };
}

/** A UUID of version 8 (RFC 9562, 5.8): one's own bits, here of a digest. */
function serialNumberOf(digest: Digest): string {
  const hex = digest.slice('sha256:'.length);
  if (hex.length !== 64) throw new BerthError('INTERNAL', `\`${digest}\` is no sha256 digest.`);
  const variant = ((parseInt(hex.slice(16, 17), 16) & 0x3) | 0x8).toString(16);
  return `urn:uuid:${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
