/** Dependency fields of Debian packages (Debian policy 7): groups of alternatives with version and architecture. */
import type { VersionRelation } from './version.ts';

/** One alternative: `perl:any (>= 5.30)`. */
export interface Alternative {
  readonly name: string;
  /** The part after the colon of a multi-arch qualifier: `any`, `native` or an architecture. */
  readonly qualifier?: string;
  readonly relation?: VersionRelation;
  readonly version?: string;
}

/** At least one of the alternatives must be met. */
export type DependencyGroup = readonly Alternative[];

const alternativePattern =
  /^([a-z0-9][a-z0-9+.-]*)(?::([a-z0-9-]+))?\s*(?:\(\s*(<<|<=|=|>=|>>|<|>)\s*([^\s)]+)\s*\))?/i;

/**
 * Parses Depends, Pre-Depends, Conflicts, Breaks or Provides. What is not of the form is left out, as dpkg would have
 * refused the package.
 */
export function parseDependencies(field: string | undefined): DependencyGroup[] {
  if (field === undefined || field === '') return [];
  const groups: DependencyGroup[] = [];
  for (const groupText of field.split(',')) {
    const group: Alternative[] = [];
    for (const text of groupText.split('|')) {
      const alternative = parseAlternative(text.trim());
      if (alternative) group.push(alternative);
    }
    if (group.length > 0) groups.push(group);
  }
  return groups;
}

function parseAlternative(text: string): Alternative | undefined {
  const match = alternativePattern.exec(text);
  if (!match) return undefined;
  const [, name = '', qualifier, relation, version] = match;
  return {
    name,
    ...(qualifier === undefined ? {} : { qualifier }),
    ...(relation === undefined || version === undefined ? {} : { relation: relationOf(relation), version }),
  };
}

/** `<` and `>` are old spellings of `<=` and `>=`. */
function relationOf(text: string): VersionRelation {
  if (text === '<') return '<=';
  if (text === '>') return '>=';
  return text as VersionRelation;
}

/** @returns the alternative as a control file would say it */
export function formatAlternative(alternative: Alternative): string {
  const qualifier = alternative.qualifier === undefined ? '' : `:${alternative.qualifier}`;
  const version = alternative.relation === undefined ? '' : ` (${alternative.relation} ${alternative.version ?? ''})`;
  return `${alternative.name}${qualifier}${version}`;
}
