/** What the daemon says when it is ready: what it exports, and the commands that connect to it. */
import type { NetworkInterfaceInfo } from 'node:os';
import { isWildcard } from '../config/address.ts';
import type { NamespaceInfo } from '../api/target-parts.ts';
import { formatSize } from '../config/units.ts';
import type { Address } from '../runtime/ports.ts';

export interface BannerFacts {
  readonly nqn: string;
  /** What it listens on, as text. */
  readonly listening: readonly string[];
  /** The one to connect to. */
  readonly address: Address;
  readonly namespaces: readonly NamespaceInfo[];
  /** A host that may connect, when not every one may. */
  readonly host: string | undefined;
  /** How many subsystems there are besides. */
  readonly others: number;
  /** How this program is called here: `nvmetcp`, `npx nvmetcp`, `node dist/src/cli/main.js`. */
  readonly command: string;
}

export function banner(facts: BannerFacts): string {
  const { nqn, listening, address, namespaces, host, others, command } = facts;
  const as = host === undefined ? '' : ` -q ${quoted(host)}`;
  const to = `-a ${address.host} -s ${address.port} -n ${quoted(nqn)}${as}`;
  const [first] = namespaces;
  const at = first === undefined || first.nsid === 1 ? '' : ` --nsid ${first.nsid}`;
  return [
    `${nqn} listens on ${listening.join(', ')}`,
    ...namespaces.map((namespace) => `  ${namespaceLine(namespace)}`),
    ...(others > 0 ? [`and ${others} more: ${command} target show`] : []),
    '',
    'Look at it:',
    `  ${command} id-ctrl ${to}`,
    'Measure it:',
    `  ${command} bench ${to}${at}`,
    'Use it on Linux (then `nvme list`; `sudo nvme disconnect -n NQN` ends it):',
    '  sudo modprobe nvme-tcp',
    `  sudo nvme connect -t tcp ${to}`,
    '',
  ].join('\n');
}

/** For a shell: names may have characters that mean something to it. */
const quoted = (name: string): string =>
  /^[\w.:@%+=,/-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;

function namespaceLine({ nsid, path, size, blockSize, readOnly }: NamespaceInfo): string {
  const where = path ?? 'memory, gone when this process ends';
  return `namespace ${nsid}: ${formatSize(size)}, ${blockSize}-byte blocks${readOnly ? ', read-only' : ''}, ${where}`;
}

/** An address that others can use: where it listens on all of them, the first that leads here from outside. */
export function reachable(
  address: Address,
  interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>,
): Address {
  if (!isWildcard(address)) return address;
  const all = Object.values(interfaces).flatMap((list) => list ?? []);
  const outside = all.find(({ internal, family }) => !internal && family === 'IPv4');
  return { host: outside?.address ?? '127.0.0.1', port: address.port };
}
