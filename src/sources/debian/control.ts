/** Reads the paragraphs of Debian control data (deb822(5)): Packages and Release files, a package's control file. */

/** A paragraph's fields; names are in lower case, since they are case-insensitive. */
export type Paragraph = ReadonlyMap<string, string>;

/**
 * Parses control data paragraph by paragraph. Lines of a field that goes on are joined by newlines, each without its
 * leading space.
 * @param wanted names in lower case of the only fields to keep; a Packages file is 50 MB, most of it of no use here
 */
export function* parseParagraphs(text: string, wanted?: ReadonlySet<string>): Generator<Paragraph> {
  let fields = new Map<string, string>();
  let current: string | undefined;
  let start = 0;
  while (start < text.length) {
    let end = text.indexOf('\n', start);
    if (end === -1) end = text.length;
    const first = text.charCodeAt(start);
    if (end === start || (first === 13 && end === start + 1)) {
      if (fields.size > 0) yield fields;
      fields = new Map();
      current = undefined;
    } else if (first === 32 || first === 9) {
      if (current !== undefined) fields.set(current, `${fields.get(current) ?? ''}\n${text.slice(start + 1, end)}`);
    } else if (first !== 35) {
      const colon = text.indexOf(':', start);
      if (colon !== -1 && colon < end) {
        const name = text.slice(start, colon).toLowerCase();
        current = !wanted || wanted.has(name) ? name : undefined;
        if (current !== undefined) fields.set(current, text.slice(colon + 1, end).trim());
      }
    }
    start = end + 1;
  }
  if (fields.size > 0) yield fields;
}
