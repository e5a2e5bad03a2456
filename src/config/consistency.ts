/** What the parts of a document must be to each other. */
import { addressOf, covers, isWildcard } from './address.ts';
import { type NamespaceEntry, type PortEntry, type TargetDocument, isFile, nguidOf } from './document.ts';
import { ConfigError } from './problem.ts';

/** The first thing that does not go together; undefined: the document makes sense. */
export function consistencyProblem(document: TargetDocument): ConfigError | undefined {
  const { subsystems, ports } = document;
  return (
    twice(subsystems, 'subsystems', 'nqn', ({ nqn }) => nqn) ??
    first(subsystems, ({ namespaces, cntlids }, i) => {
      const at = `subsystems[${i}]`;
      return (
        twice(namespaces, `${at}.namespaces`, 'nsid', ({ nsid }) => nsid) ??
        (cntlids && cntlids[0] > cntlids[1]
          ? new ConfigError(`${at}.cntlids: ${cntlids[0]} is above ${cntlids[1]}`, { path: `${at}.cntlids` })
          : undefined)
      );
    }) ??
    distinctNamespaces(document) ??
    twice(ports, 'ports', 'id', ({ id }) => id) ??
    first(ports, (port, i) => portProblem(document, port, `ports[${i}]`))
  );
}

/** One file is one namespace, and a UUID names one in the whole world, as does an NGUID that was made of it. */
function distinctNamespaces({ subsystems }: TargetDocument): ConfigError | undefined {
  const all = subsystems.flatMap(({ namespaces }) => namespaces);
  const at = subsystems.length === 1 ? 'subsystems[0].namespaces' : 'subsystems';
  return (
    twice(all, at, 'uuid', ({ uuid }) => uuid) ??
    twice(all, at, 'nguid', nguidOf) ??
    twice(all, at, 'eui64', ({ eui64 }) => eui64) ??
    twice(all, at, 'path', (entry) => (isFile(entry) ? entry.path : undefined)) ??
    twice(all, at, 'fileId', fileKey)
  );
}

/** The inode of a file that is gone may be another file's now. */
function fileKey(entry: NamespaceEntry): string | undefined {
  if (!isFile(entry) || entry.fileId === undefined) return undefined;
  return entry.born === undefined ? entry.fileId : `${entry.fileId} ${entry.born}`;
}

function portProblem(
  { subsystems, ports }: TargetDocument,
  port: PortEntry,
  at: string,
): ConfigError | undefined {
  const absent = port.subsystems.findIndex((nqn) => !subsystems.some((known) => known.nqn === nqn));
  if (absent >= 0) {
    const path = `${at}.subsystems[${absent}]`;
    return new ConfigError(`${path}: there is no subsystem ${port.subsystems[absent] ?? ''}`, { path });
  }
  const same = ports.find(
    (other) => other.id < port.id && isOpen(other) && isOpen(port) && overlap(other, port),
  );
  if (same)
    return new ConfigError(`${at}.address: ${port.address} is taken by port ${same.id}, ${same.address}`, {
      path: `${at}.address`,
    });
  return (
    first(port.referrals, ({ address }, i) =>
      referralProblem(ports, address, `${at}.referrals[${i}].address`),
    ) ??
    twice(port.subsystems, `${at}.subsystems`, 'NQN', (nqn) => nqn) ??
    twice(port.ana, `${at}.ana`, 'grpid', ({ grpid }) => grpid) ??
    twice(port.referrals, `${at}.referrals`, 'name', ({ name }) => name) ??
    twice(port.referrals, `${at}.referrals`, 'address', ({ address }) => address)
  );
}

/** Hosts would go round in circles, or nowhere. */
function referralProblem(ports: readonly PortEntry[], text: string, path: string): ConfigError | undefined {
  const address = addressOf(text);
  const wrong = isWildcard(address)
    ? 'no host can connect to that address'
    : ports.some((port) => covers(addressOf(port.address), address))
      ? 'that is this target'
      : undefined;
  return wrong === undefined ? undefined : new ConfigError(`${path}: ${text}: ${wrong}`, { path });
}

const isOpen = ({ enabled, dormant }: PortEntry): boolean => enabled && !dormant;

function overlap(one: PortEntry, other: PortEntry): boolean {
  const [a, b] = [addressOf(one.address), addressOf(other.address)];
  return covers(a, b) || covers(b, a);
}

function first<T>(
  items: readonly T[],
  problem: (item: T, index: number) => ConfigError | undefined,
): ConfigError | undefined {
  for (const [i, item] of items.entries()) {
    const found = problem(item, i);
    if (found !== undefined) return found;
  }
  return undefined;
}

function twice<T>(
  items: readonly T[],
  path: string,
  name: string,
  key: (item: T) => string | number | undefined,
): ConfigError | undefined {
  const seen = new Set<string | number>();
  for (const item of items) {
    const value = key(item);
    if (value === undefined) continue;
    if (seen.has(value))
      return new ConfigError(`${path}: two of them have the ${name} ${value}`, { code: 'EEXIST', path });
    seen.add(value);
  }
  return undefined;
}
