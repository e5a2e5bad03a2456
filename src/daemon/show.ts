/** What a target is, as plain data for people and programs: the configuration, what runs of it, and who uses it. */
import type { TargetControl } from '../api/target-control.ts';
import { formatAddress } from '../config/address.ts';
import { type NamespaceEntry, type PortEntry, isFile } from '../config/document.ts';
import { describeChange } from '../config/plan.ts';
import {
  type ControllerInfo,
  type NamespaceDescription,
  type SubsystemInfo,
  describeTarget,
} from '../target/describe.ts';

/** Configured and not there. */
export interface PendingShown {
  /** As in a plan. */
  readonly what: string;
  readonly code: string;
  readonly why: string;
}

export interface PortShown extends Omit<PortEntry, 'draining' | 'dormant'> {
  readonly state: 'listening' | 'draining' | 'pending' | 'disabled';
  /** With the real TCP port. */
  readonly listening: string | undefined;
  readonly connections: number;
  /** Why it is pending. */
  readonly why: string | undefined;
}

/** Configured, and not there: its file is not. */
export interface PendingNamespace {
  readonly nsid: number;
  readonly uuid: string;
  readonly state: 'pending';
  readonly path: string | undefined;
  readonly why: string;
}

export interface SubsystemShown extends Omit<SubsystemInfo, 'namespaces'> {
  readonly namespaces: readonly (NamespaceDescription | PendingNamespace)[];
}

export interface TargetShown {
  readonly subsystems: readonly SubsystemShown[];
  readonly ports: readonly PortShown[];
  readonly discovery: {
    readonly nqn: string;
    readonly genctr: number;
    readonly controllers: ControllerInfo[];
  };
  readonly pending: readonly PendingShown[];
}

export function showTarget({ target, wanted, pending }: TargetControl): TargetShown {
  const { subsystems, discovery } = describeTarget(target);
  const why = new Map<string, string>();
  for (const { change, error } of pending)
    if (change.kind === 'add port') why.set(`port ${change.id}`, error.message);
    else if ('nsid' in change) why.set(`${change.nqn} ${change.nsid}`, error.message);
  return {
    subsystems: subsystems.map((subsystem) => {
      const known = wanted.subsystems.find(({ nqn }) => nqn === subsystem.nqn)?.namespaces ?? [];
      const absent = known.flatMap((entry) => {
        const reason = why.get(`${subsystem.nqn} ${entry.nsid}`);
        return reason === undefined ? [] : [pendingNamespace(entry, reason)];
      });
      const namespaces = [...subsystem.namespaces, ...absent].sort((a, b) => a.nsid - b.nsid);
      return { ...subsystem, namespaces };
    }),
    ports: wanted.ports
      .filter(({ dormant }) => !dormant)
      .map((port) => {
        const live = target.ports.list.find(({ id }) => id === port.id);
        const { id, address, enabled, subsystems: offered, ana, referrals, draining } = port;
        const { inlineDataSize, maxQueueSize } = port;
        return {
          id,
          address,
          enabled,
          subsystems: offered,
          ana,
          referrals,
          ...(inlineDataSize !== undefined && { inlineDataSize }),
          ...(maxQueueSize !== undefined && { maxQueueSize }),
          state:
            live === undefined ? (enabled ? 'pending' : 'disabled') : draining ? 'draining' : 'listening',
          listening: live && formatAddress(live.address),
          connections: live?.connections.size ?? 0,
          why: why.get(`port ${id}`),
        };
      }),
    discovery,
    pending: pending.map(({ change, error }) => ({
      what: describeChange(change),
      code: error.code,
      why: error.message,
    })),
  };
}

const pendingNamespace = (entry: NamespaceEntry, why: string): PendingNamespace => ({
  nsid: entry.nsid,
  uuid: entry.uuid,
  state: 'pending',
  path: isFile(entry) ? entry.path : undefined,
  why,
});

/** One controller of a host, with its queues added up. */
export interface ConnectionShown {
  readonly host: string;
  readonly hostid: string;
  readonly subsystem: string;
  readonly cntlid: number;
  readonly state: string;
  readonly portid: number;
  readonly from: string;
  readonly to: string;
  /** I/O queues. */
  readonly queues: number;
  /** Entries of the I/O queues, all together. */
  readonly depth: number;
  /** Commands that are not answered, without waits for events. */
  readonly inFlight: number;
  readonly received: number;
  readonly sent: number;
  /** Commands that ended with an error. */
  readonly errors: number;
  /** Milliseconds; 0: none. */
  readonly kato: number;
  readonly digests: string;
}

export function showConnections({ target }: TargetControl): ConnectionShown[] {
  const { subsystems, discovery } = describeTarget(target);
  return [...subsystems, discovery].flatMap(({ nqn, controllers }) =>
    controllers.map((controller) => connectionOf(nqn, controller)),
  );
}

function connectionOf(subsystem: string, controller: ControllerInfo): ConnectionShown {
  const { host, hostid, cntlid, state, portid, errors, kato, queues, asyncEventRequests } = controller;
  const io = queues.filter(({ qid }) => qid > 0);
  const sum = (of: (queue: ControllerInfo['queues'][number]) => number, list = queues): number =>
    list.reduce((total, queue) => total + of(queue), 0);
  const [admin] = queues;
  const connection = admin?.connection;
  return {
    host,
    hostid,
    subsystem,
    cntlid,
    state,
    portid,
    from: connection ? formatAddress(connection.remote) : '',
    to: connection ? formatAddress(connection.local) : '',
    queues: io.length,
    depth: sum(({ entries }) => entries, io),
    inFlight: sum(({ outstanding }) => outstanding) - asyncEventRequests,
    received: sum((queue) => queue.connection.received),
    sent: sum((queue) => queue.connection.sent),
    errors,
    kato,
    digests:
      [connection?.headerDigest && 'header', connection?.dataDigest && 'data'].filter(Boolean).join(' ') ||
      'none',
  };
}
