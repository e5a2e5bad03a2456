/** What a target is, for people: a tree of both directions, and a table of who is connected. */
import { formatSize } from '../config/units.ts';
import type { ConnectionShown, PortShown, SubsystemShown, TargetShown } from '../daemon/show.ts';
import type { NamespaceDescription } from '../target/describe.ts';
import { table } from './table.ts';

/** Lines of a tree: each with its children below. */
interface Branch {
  readonly text: string;
  readonly below?: readonly Branch[];
}

function lines(branches: readonly Branch[], indent = ''): string[] {
  return branches.flatMap(({ text, below = [] }, i) => {
    const last = i === branches.length - 1;
    return [`${indent}${last ? '└ ' : '├ '}${text}`, ...lines(below, `${indent}${last ? '  ' : '│ '}`)];
  });
}

export function targetTree({ subsystems, ports, discovery, pending }: TargetShown): string {
  const sections = [
    ...subsystems.map((subsystem) => [subsystemLine(subsystem), ...lines(subsystemBranches(subsystem))]),
    ...ports.map((port) => [portLine(port), ...lines(portBranches(port))]),
    [
      `discovery ${discovery.nqn}, generation ${discovery.genctr}, hosts that wait for changes: ${discovery.controllers.length}`,
    ],
    ...(pending.length > 0
      ? [['not there, and tried again:', ...pending.map(({ what, why }) => `  ${what}: ${why}`)]]
      : []),
  ];
  return sections.map((section) => section.join('\n')).join('\n\n');
}

const subsystemLine = ({
  nqn,
  serial,
  model,
  firmware,
  ioQueues,
  shared,
  ana,
  hosts,
}: SubsystemShown): string =>
  [
    `subsystem ${nqn}`,
    `serial ${serial}, model ${model}, firmware ${firmware}`,
    `I/O queues: ${ioQueues}`,
    hosts === undefined ? 'every host may connect' : `for ${hosts.join(', ') || 'no host'}`,
    ...(shared ? [] : ['one controller at a time']),
    ...(ana ? [] : ['without ANA']),
  ].join('; ');

function subsystemBranches({ namespaces, controllers }: SubsystemShown): Branch[] {
  return [
    ...namespaces.map((namespace): Branch =>
      'size' in namespace
        ? {
            text: namespaceText(namespace),
            below: namespace.attachments.map((each) => ({ text: attachmentText(each) })),
          }
        : { text: `namespace ${namespace.nsid}: pending: ${namespace.why}` },
    ),
    ...controllers.map((controller): Branch => ({
      text:
        `controller ${controller.cntlid}: ${controller.host}, ${controller.state}, port ${controller.portid}` +
        `, namespaces ${controller.namespaces.join(', ') || 'none'}`,
      below: controller.queues.map(({ qid, entries, outstanding, connection }) => ({
        text:
          `queue ${qid}: ${entries} entries, ${outstanding} in flight, from ` +
          `${connection.remote.host} port ${connection.remote.port}, ${connection.state}`,
      })),
    })),
  ];
}

function namespaceText(namespace: NamespaceDescription): string {
  const { nsid, uuid, eui64, state, path, size, blockSize, writeProtected, shared, anagrpid, hosts, owner } =
    namespace;
  return [
    `namespace ${nsid}: ${formatSize(size)}, ${blockSize}-byte blocks, ${path.startsWith('memory:') ? 'memory' : path}`,
    ...(state === 'enabled' ? [] : [state]),
    ...(writeProtected ? ['read-only'] : []),
    `ANA group ${anagrpid}`,
    ...(shared ? [] : [owner ? `private, of ${owner.hostnqn}` : 'private']),
    ...(hosts ? [`seen by ${hosts.join(', ') || 'no host'}`] : []),
    `uuid ${uuid}`,
    ...(eui64 === undefined ? [] : [`eui64 ${eui64}`]),
  ].join(', ');
}

const attachmentText = (each: {
  cntlid: number;
  host: string;
  ana: string;
  refused: string | undefined;
}): string =>
  `controller ${each.cntlid}: ${each.host}, ${each.ana}${each.refused ? `, I/O gets ${each.refused}` : ''}`;

const portLine = ({ id, address, state, listening, connections, why }: PortShown): string =>
  `port ${id}: ${listening ?? address}, ${state}${why === undefined ? '' : `: ${why}`}` +
  (listening === undefined ? '' : `, connections: ${connections}`);

const portBranches = ({ subsystems, ana, referrals, inlineDataSize, maxQueueSize }: PortShown): Branch[] => [
  ...(subsystems.length === 0 ? [{ text: 'discovery only' }] : subsystems.map((text) => ({ text }))),
  ...(inlineDataSize === undefined ? [] : [{ text: `in-capsule data: ${inlineDataSize} bytes` }]),
  ...(maxQueueSize === undefined ? [] : [{ text: `queues of ${maxQueueSize} entries` }]),
  ...ana.map(({ grpid, state }) => ({ text: `ANA group ${grpid}: ${state}` })),
  ...referrals.map(({ name, address }) => ({ text: `refers to ${name}, ${address}` })),
];

export function connectionTable(connections: readonly ConnectionShown[]): string {
  if (connections.length === 0) return 'no host is connected';
  return table(
    [
      'Host',
      'From',
      'Subsystem',
      'CNTLID',
      'Port',
      'State',
      'Queues',
      'Depth',
      'In flight',
      'Received',
      'Sent',
      'Errors',
    ],
    connections.map((each) => [
      each.host,
      each.from,
      each.subsystem,
      each.cntlid,
      each.portid,
      each.state,
      each.queues,
      each.depth,
      each.inFlight,
      formatSize(each.received, 1),
      formatSize(each.sent, 1),
      each.errors,
    ]),
  );
}
