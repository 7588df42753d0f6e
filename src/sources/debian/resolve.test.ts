import { describe, expect, test } from 'vitest';
import { parseParagraphs } from './control.ts';
import { newestVersions, packageFields, packageOf, resolvePackages } from './resolve.ts';

/** Packages from short control paragraphs; what a Packages file has besides is filled in. */
function packages(text: string, component = 'main', archive = 'main') {
  return [...parseParagraphs(text, packageFields)].map((paragraph) => {
    const fields = new Map(paragraph);
    const name = fields.get('package') ?? '';
    if (!fields.has('version')) fields.set('version', '1');
    if (!fields.has('architecture')) fields.set('architecture', 'amd64');
    fields.set('filename', `pool/${name}_${fields.get('version') ?? ''}.deb`);
    fields.set('sha256', 'a'.repeat(64));
    fields.set('size', '1');
    const found = packageOf(fields, component, archive);
    if (!found) throw new Error(`no package: ${name}`);
    return found;
  });
}

function resolve(...lists: ReturnType<typeof packages>[]) {
  const resolved = resolvePackages(newestVersions(lists.flat()));
  return Object.fromEntries(
    resolved.map(({ package: entry, groups, unmet, conflicts }) => [entry.name, { groups, unmet, conflicts }]),
  );
}

describe('dependencies', () => {
  test('alternatives keep their order; those whose version does not fit are left out', () => {
    const found = resolve(
      packages('Package: x\nDepends: a (>= 2) | b | c (<< 1)\n\nPackage: a\nVersion: 1\n\nPackage: b\n\nPackage: c\n'),
    );
    expect(found['x']).toEqual({ groups: [['b']], unmet: [], conflicts: [] });
  });

  test('Pre-Depends count too, and a group is kept once', () => {
    const found = resolve(packages('Package: x\nPre-Depends: a\nDepends: a (>= 0), b\n\nPackage: a\n\nPackage: b\n'));
    expect(found['x']?.groups).toEqual([['a'], ['b']]);
  });

  test('a virtual package is met by its providers: by priority, then by name; the real one first', () => {
    const text =
      'Package: x\nDepends: mta\n\nPackage: zmail\nProvides: mta\nPriority: important\n\n' +
      'Package: bmail\nProvides: mta\nPriority: optional\n\nPackage: amail\nProvides: mta\nPriority: optional\n';
    expect(resolve(packages(text))['x']?.groups).toEqual([['zmail', 'amail', 'bmail']]);
    expect(resolve(packages(`${text}\nPackage: mta\n`))['x']?.groups).toEqual([['mta', 'zmail', 'amail', 'bmail']]);
  });

  test('a provider outside main comes after those in main', () => {
    const found = resolve(
      packages('Package: x\nDepends: v\n\nPackage: z\nProvides: v\n'),
      packages('Package: a\nProvides: v\nPriority: required\n', 'non-free'),
    );
    expect(found['x']?.groups).toEqual([['z', 'a']]);
  });

  test('a relation with a version is met by a versioned Provides only', () => {
    const text =
      'Package: x\nDepends: v (>= 2)\n\nPackage: a\nProvides: v\n\nPackage: b\nProvides: v (= 1)\n\nPackage: c\nProvides: v (= 3)\n';
    expect(resolve(packages(text))['x']?.groups).toEqual([['c']]);
  });

  test('a versioned Provides does not depend on what was asked before', () => {
    const text = 'Package: w\nDepends: v\n\nPackage: x\nDepends: v (>= 2)\n\nPackage: c\nProvides: v (= 1)\n';
    const found = resolve(packages(text));
    expect(found['w']?.groups).toEqual([['c']]);
    expect(found['x']).toMatchObject({ groups: [], unmet: ['v (>= 2)'] });
  });

  test('`:any` needs a package that is Multi-Arch: allowed', () => {
    const text =
      'Package: x\nDepends: a:any, b:any\n\nPackage: a\nMulti-Arch: allowed\n\nPackage: b\nMulti-Arch: foreign\n';
    expect(resolve(packages(text))['x']).toMatchObject({ groups: [['a']], unmet: ['b:any'] });
  });

  test('an architecture as qualifier is met by that architecture, or by one for all', () => {
    const text =
      'Package: x\nDepends: a:amd64, b:arm64, c:amd64\n\nPackage: a\n\nPackage: b\n\nPackage: c\nArchitecture: all\n';
    expect(resolve(packages(text))['x']).toMatchObject({ groups: [['a'], ['c']], unmet: ['b:arm64'] });
  });

  test('what a package meets itself, and cycles, are no problem', () => {
    const text = 'Package: a\nDepends: b, v\nProvides: v\n\nPackage: b\nDepends: a\n\nPackage: c\nDepends: c (= 1)\n';
    const found = resolve(packages(text));
    expect(found['a']?.groups).toEqual([['b']]);
    expect(found['b']?.groups).toEqual([['a']]);
    expect(found['c']?.groups).toEqual([]);
  });

  test('what nothing meets is said as the control file says it', () => {
    const found = resolve(packages('Package: x\nDepends: gone (= 2) | other, here\n\nPackage: here\n'));
    expect(found['x']).toEqual({ groups: [['here']], unmet: ['gone (= 2) | other'], conflicts: [] });
  });
});

describe('conflicts', () => {
  test('Conflicts and Breaks count where the version fits; virtual names mean their providers but for oneself', () => {
    const text =
      'Package: x\nConflicts: v, a (<< 1)\nBreaks: b (<< 5)\nProvides: v\n\n' +
      'Package: a\nVersion: 1\n\nPackage: b\nVersion: 4\n\nPackage: c\nProvides: v\n';
    expect(resolve(packages(text))['x']?.conflicts).toEqual(['b', 'c']);
  });
});

describe('versions', () => {
  test('the newest of all pockets is taken, whichever comes first', () => {
    const old = packages('Package: x\nVersion: 1.0-1\n');
    const fixed = packages('Package: x\nVersion: 1.0-1+deb12u1\n', 'main', 'security');
    for (const order of [
      [old, fixed],
      [fixed, old],
    ]) {
      expect(newestVersions(order.flat()).get('x')).toMatchObject({ version: '1.0-1+deb12u1', archive: 'security' });
    }
  });

  test('a paragraph without a file or hash is no package', () => {
    expect(packageOf(new Map([['package', 'x']]), 'main', 'main')).toBeUndefined();
  });
});
