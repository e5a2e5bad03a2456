/** NVMe Qualified Names (NVMe Base 2.1, section 4.7). */

/** The well-known name of every discovery subsystem. */
export const DISCOVERY_NQN = 'nqn.2014-08.org.nvmexpress.discovery';
/** What host names without a registered domain begin with; a UUID follows. */
export const UUID_NQN_PREFIX = 'nqn.2014-08.org.nvmexpress:uuid:';
/** Bytes in UTF-8, without the NUL. */
export const MAX_NQN = 223;

const shown = (nqn: string): string => JSON.stringify(nqn.length > 40 ? `${nqn.slice(0, 40)}…` : nqn);

/**
 * Why `nqn` cannot be used, as a sentence without its subject; undefined when it can. It asks for less than the
 * specification's two forms, because names without a date or a domain are in wide use and interoperate: what
 * cannot be tolerated is a name that is blank, does not fit, does not print, or is not an NQN at all.
 */
export function nqnProblem(nqn: string): string | undefined {
  if (nqn.trim() === '') return 'is blank';
  const length = utf8Length(nqn);
  if (length > MAX_NQN) return `has ${length} bytes, at most ${MAX_NQN} are allowed`;
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  const bad = /[\u0000-\u0020\u007f-\u00a0\u2028\u2029\ufeff\ud800-\udfff]/u.exec(nqn);
  if (bad !== null) {
    const code = bad[0].codePointAt(0) ?? 0;
    return `${shown(nqn)} has a character that does not print (${code.toString(16).padStart(2, '0')}h at position ${bad.index})`;
  }
  if (!nqn.startsWith('nqn.')) return `${shown(nqn)} does not begin with "nqn."`;
  if (nqn.length === 4) return 'has nothing after "nqn."';
  return undefined;
}

/** Whether it is one of the two forms of the specification: `nqn.yyyy-mm.` and a reverse domain, or the UUID form. */
export function isStandardNqn(nqn: string): boolean {
  if (nqnProblem(nqn) !== undefined) return false;
  if (nqn.startsWith(UUID_NQN_PREFIX))
    return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(nqn.slice(UUID_NQN_PREFIX.length));
  return /^nqn\.\d{4}-(0[1-9]|1[0-2])\.[a-z0-9-]+(\.[a-z0-9-]+)*([:.].+)?$/i.test(nqn);
}

/** Bytes in UTF-8; a lone surrogate counts three. */
function utf8Length(value: string): number {
  let length = 0;
  for (const character of value) {
    const code = character.codePointAt(0) ?? 0;
    length += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return length;
}
