/** Reads licences out of a package's `copyright` file, where it has the machine-readable form (DEP-5). */
import { parseParagraphs } from './control.ts';

/** Debian's short names that SPDX has under another name. */
const spdxNames: Readonly<Record<string, string>> = {
  Expat: 'MIT',
  'GPL-1+': 'GPL-1.0-or-later',
  'GPL-2': 'GPL-2.0-only',
  'GPL-2+': 'GPL-2.0-or-later',
  'GPL-3': 'GPL-3.0-only',
  'GPL-3+': 'GPL-3.0-or-later',
  'LGPL-2': 'LGPL-2.0-only',
  'LGPL-2+': 'LGPL-2.0-or-later',
  'LGPL-2.1': 'LGPL-2.1-only',
  'LGPL-2.1+': 'LGPL-2.1-or-later',
  'LGPL-3': 'LGPL-3.0-only',
  'LGPL-3+': 'LGPL-3.0-or-later',
  'BSD-2-clause': 'BSD-2-Clause',
  'BSD-3-clause': 'BSD-3-Clause',
  'BSD-4-clause': 'BSD-4-Clause',
  'Apache-2': 'Apache-2.0',
  'MPL-2': 'MPL-2.0',
  Artistic: 'Artistic-1.0-Perl',
  'GFDL-1.3+': 'GFDL-1.3-or-later',
};

/** @returns the licences of the files, sorted, by SPDX's names where there are any; none for a file of free text */
export function licensesOf(copyright: string): string[] {
  if (!/^Format(-Specification)?:/im.test(copyright.slice(0, 4000))) return [];
  const found = new Set<string>();
  for (const paragraph of parseParagraphs(copyright, new Set(['files', 'license']))) {
    if (!paragraph.has('files')) continue;
    const [text = ''] = (paragraph.get('license') ?? '').split('\n');
    for (const name of text.split(/\s+(?:and|or)\s+|,\s*/i)) {
      const plain = name.trim();
      if (plain !== '') found.add(spdxNames[plain] ?? plain);
    }
  }
  return [...found].sort();
}
