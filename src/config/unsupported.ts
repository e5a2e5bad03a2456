/**
 * Keys that nvmetcli writes and that mean something to Linux' target, but not to this one. They are set aside before
 * the rest is checked, and each whose value asks for something is listed, so that nothing is lost silently.
 */
import { type Path, formatPath } from './problem.ts';

export interface Unsupported {
  /** `subsystems[0].attr.pi_enable`. */
  readonly path: string;
  /** One line: what it would mean, and what happens instead. */
  readonly message: string;
}

interface Rule {
  readonly path: readonly string[];
  readonly message: string;
  /** Values that ask for what happens anyway, as text. */
  readonly harmless: readonly string[];
}

const rule = (path: string, message: string, ...harmless: readonly string[]): Rule => ({
  path: path.split('.'),
  message,
  harmless,
});

const AUTHENTICATION = 'hosts are not authenticated';
const INTEGRITY = 'there is no end-to-end protection';

/** `*` stands for every item of a list. */
const RULES: readonly Rule[] = [
  rule('hosts.*.dhchap', AUTHENTICATION, '{}'),
  ...['key', 'ctrl_key', 'hash', 'dhgroup'].map((key) => rule(`hosts.*.dhchap_${key}`, AUTHENTICATION, '')),
  rule('subsystems.*.attr.pi_enable', INTEGRITY, '0'),
  rule('subsystems.*.attr.version', 'the version that is reported follows from what is built'),
  rule('subsystems.*.passthru', 'NVMe devices are not passed through', '[]'),
  rule('subsystems.*.namespaces.*.resv', 'reservations are always there', '{}', '{"enable":"1"}'),
  rule(
    'subsystems.*.namespaces.*.buffered_io',
    'files are always buffered, and synced by Flush and FUA',
    '1',
  ),
  rule('subsystems.*.namespaces.*.revalidate_size', 'a size is looked at again when resize is called', '0'),
  rule('subsystems.*.namespaces.*.p2pmem', 'peer-to-peer memory is not used', '', '0', 'none'),
  rule('ports.*.param.mdts', 'the largest transfer is a limit of the whole target', '0', '-1'),
  rule('ports.*.param.pi_enable', INTEGRITY, '0'),
  rule('ports.*.addr.treq', 'there is no TLS', 'not specified', 'not required', ''),
  rule('ports.*.addr.tsas', 'there is no TLS', 'none', ''),
  rule('ports.*.referrals.*.addr.treq', 'it is not told to hosts', 'not specified', 'not required', ''),
  rule('ports.*.referrals.*.addr.tsas', 'it is not told to hosts', 'none', ''),
];

/** A copy of the document without them, and those that ask for something. */
export function setAside(value: unknown): { rest: unknown; unsupported: Unsupported[] } {
  const rest = structuredClone(value);
  const unsupported: Unsupported[] = [];
  for (const { path, message, harmless } of RULES)
    for (const { place, found } of take(rest, path, [])) {
      const text = typeof found === 'string' ? found : JSON.stringify(found);
      if (!harmless.includes(text) && !isIdle(path, found))
        unsupported.push({ path: formatPath(place), message });
    }
  return { rest, unsupported };
}

/** A passthru that names no device, which nvmetcli writes wherever the kernel could have one. */
function isIdle(path: readonly string[], found: unknown): boolean {
  if (path.at(-1) !== 'passthru' || !Array.isArray(found)) return false;
  return found.every((each: { device?: { path?: unknown } } | null) =>
    ['', '(null)', undefined, null].includes(each?.device?.path as string | undefined | null),
  );
}

interface Taken {
  readonly place: Path;
  readonly found: unknown;
}

function take(value: unknown, [key, ...below]: readonly string[], place: Path): Taken[] {
  if (key === undefined || typeof value !== 'object' || value === null) return [];
  if (key === '*')
    return Array.isArray(value) ? value.flatMap((item: unknown, i) => take(item, below, [...place, i])) : [];
  if (!Object.hasOwn(value, key)) return [];
  const holder = value as Record<string, unknown>;
  const found = holder[key];
  if (below.length > 0) return take(found, below, [...place, key]);
  // Keys of a fixed list only, never of the file.
  Reflect.deleteProperty(holder, key);
  return [{ place: [...place, key], found }];
}
