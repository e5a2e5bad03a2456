/**
 * Edits: each takes a document and gives another one. Nothing happens by that; what has to be done is the difference
 * between the two (plan.ts). A ConfigError says why there is no such document; what the parts must be to each other is
 * checked when all edits of one change are made (consistency.ts).
 */
import { addressOf, covers, parseAddress } from './address.ts';
import {
  type AnaStateName,
  LAST_PORT_ID,
  type NamespaceEntry,
  type PortEntry,
  type ReferralEntry,
  type SubsystemEntry,
  type TargetDocument,
  dropped,
  namespaceName,
} from './document.ts';
import { ConfigError } from './problem.ts';

export type Edit = (document: TargetDocument) => TargetDocument;

const absent = (what: string): ConfigError => new ConfigError(`there is no ${what}`, { code: 'ENOENT' });
const exists = (what: string): ConfigError => new ConfigError(`there is ${what} already`, { code: 'EEXIST' });

// ---- finding

export function subsystemOf(document: TargetDocument, nqn: string): SubsystemEntry {
  const found = document.subsystems.find((subsystem) => subsystem.nqn === nqn);
  if (found === undefined) throw absent(`subsystem ${nqn}`);
  return found;
}

/** The one that is named, or the only one. */
export function meantSubsystem(document: TargetDocument, nqn: string | undefined): SubsystemEntry {
  if (nqn !== undefined) return subsystemOf(document, nqn);
  const [only, second] = document.subsystems;
  if (only === undefined) throw absent('subsystem');
  if (second !== undefined)
    throw new ConfigError(
      `there are ${document.subsystems.length} subsystems: say which one is meant by its NQN`,
    );
  return only;
}

export function namespaceOf(document: TargetDocument, nqn: string, nsid: number): NamespaceEntry {
  const found = subsystemOf(document, nqn).namespaces.find((entry) => entry.nsid === nsid);
  if (found === undefined) throw absent(namespaceName(nqn, nsid));
  return found;
}

export function portOf(document: TargetDocument, id: number): PortEntry {
  const found = document.ports.find((port) => port.id === id);
  if (found === undefined) throw absent(`port ${id}`);
  return found;
}

/** By its id, or by its address as text. */
export function meantPort(document: TargetDocument, named: string | number): PortEntry {
  if (typeof named === 'number') return portOf(document, named);
  if (/^\d+$/.test(named)) return portOf(document, Number(named));
  const found = document.ports.find(({ address }) => address === named);
  if (found === undefined) throw absent(`port ${named}`);
  return found;
}

/** The lowest NSID that is free and that no `other` wants (LIFE.10). */
export function freeNsid(subsystem: SubsystemEntry, others: readonly number[] = []): number {
  const taken = new Set([...subsystem.namespaces.map(({ nsid }) => nsid), ...others]);
  let nsid = 1;
  while (taken.has(nsid)) nsid++;
  return nsid;
}

export function freePortId(document: TargetDocument): number {
  const taken = new Set(document.ports.map(({ id }) => id));
  let id = 1;
  while (taken.has(id)) id++;
  if (id > LAST_PORT_ID) throw new ConfigError('every port id is taken');
  return id;
}

/** What is undefined stays as it is. */
function withSettings<T extends object>(entry: T, settings: object): T {
  let next = entry;
  for (const [key, value] of Object.entries(settings) as [keyof T & string, unknown][])
    if (value === null) next = dropped(next, key);
    else if (value !== undefined) next = { ...next, [key]: value };
  return next;
}

// ---- subsystems

function withSubsystem(
  document: TargetDocument,
  nqn: string,
  change: (subsystem: SubsystemEntry) => SubsystemEntry,
): TargetDocument {
  const before = subsystemOf(document, nqn);
  const subsystems = document.subsystems.map((each) => (each === before ? change(each) : each));
  return { ...document, subsystems };
}

export const addSubsystem =
  (subsystem: SubsystemEntry): Edit =>
  (document) => {
    if (document.subsystems.some(({ nqn }) => nqn === subsystem.nqn))
      throw exists(`a subsystem ${subsystem.nqn}`);
    return { ...document, subsystems: [...document.subsystems, subsystem] };
  };

/** With its namespaces; ports do not offer it any more. */
export const removeSubsystem =
  (nqn: string): Edit =>
  (document) => {
    const gone = subsystemOf(document, nqn);
    return {
      ...document,
      subsystems: document.subsystems.filter((each) => each !== gone),
      ports: document.ports.map((port) => ({
        ...port,
        subsystems: port.subsystems.filter((each) => each !== nqn),
      })),
    };
  };

/** What a subsystem may be given while hosts are connected; null: what there is without it. */
export interface SubsystemSettings {
  readonly ioQueues?: number | null | undefined;
  readonly firmware?: string | null | undefined;
}

export const setSubsystem =
  (nqn: string, settings: SubsystemSettings): Edit =>
  (document) =>
    withSubsystem(document, nqn, (subsystem) => withSettings(subsystem, settings));

/** Undefined: every host may connect. An empty list: none may. */
export const setHosts =
  (nqn: string, hosts: readonly string[] | undefined): Edit =>
  (document) =>
    withSubsystem(document, nqn, (subsystem) =>
      hosts === undefined ? dropped(subsystem, 'hosts') : { ...subsystem, hosts: [...new Set(hosts)] },
    );

/** Admits the host, and from now on only hosts that are named. */
export const addHost =
  (nqn: string, host: string): Edit =>
  (document) => {
    const { hosts = [] } = subsystemOf(document, nqn);
    if (hosts.includes(host)) throw exists(`a host ${host}`);
    return setHosts(nqn, [...hosts, host])(document);
  };

/** The last one that goes leaves nobody: that every host may connect has to be said. */
export const removeHost =
  (nqn: string, host: string): Edit =>
  (document) => {
    const { hosts } = subsystemOf(document, nqn);
    if (!hosts?.includes(host)) throw absent(`host ${host} in ${nqn}`);
    return setHosts(
      nqn,
      hosts.filter((each) => each !== host),
    )(document);
  };

// ---- namespaces

export const addNamespace =
  (nqn: string, entry: NamespaceEntry): Edit =>
  (document) =>
    withSubsystem(document, nqn, (subsystem) => {
      if (subsystem.namespaces.some(({ nsid }) => nsid === entry.nsid))
        throw new ConfigError(`namespace ${entry.nsid} exists`, { code: 'EEXIST' });
      return {
        ...subsystem,
        namespaces: [...subsystem.namespaces, entry].sort((a, b) => a.nsid - b.nsid),
      };
    });

export const removeNamespace =
  (nqn: string, nsid: number): Edit =>
  (document) => {
    const gone = namespaceOf(document, nqn, nsid);
    return withSubsystem(document, nqn, (subsystem) => ({
      ...subsystem,
      namespaces: subsystem.namespaces.filter((entry) => entry !== gone),
    }));
  };

export const changeNamespace =
  (nqn: string, nsid: number, change: (entry: NamespaceEntry) => NamespaceEntry): Edit =>
  (document) => {
    const before = namespaceOf(document, nqn, nsid);
    return withSubsystem(document, nqn, (subsystem) => ({
      ...subsystem,
      namespaces: subsystem.namespaces.map((entry) => (entry === before ? change(entry) : entry)),
    }));
  };

/** Another ANA group. */
export const moveNamespace = (nqn: string, nsid: number, anagrpid: number): Edit =>
  changeNamespace(nqn, nsid, (entry) => ({ ...entry, anagrpid }));

export const enableNamespace = (nqn: string, nsid: number, enabled: boolean): Edit =>
  changeNamespace(nqn, nsid, (entry) => ({ ...entry, enabled }));

/** Which hosts see it; undefined: every one. */
export const maskNamespace = (nqn: string, nsid: number, hosts: readonly string[] | undefined): Edit =>
  changeNamespace(nqn, nsid, (entry) =>
    hosts === undefined ? dropped(entry, 'hosts') : { ...entry, hosts: [...new Set(hosts)] },
  );

// ---- ports

function withPort(
  document: TargetDocument,
  id: number,
  change: (port: PortEntry) => PortEntry,
): TargetDocument {
  const before = portOf(document, id);
  return { ...document, ports: document.ports.map((port) => (port === before ? change(port) : port)) };
}

export const addPort =
  (port: PortEntry): Edit =>
  (document) => {
    if (document.ports.some(({ id }) => id === port.id)) throw exists(`a port ${port.id}`);
    return { ...document, ports: [...document.ports, port].sort((a, b) => a.id - b.id) };
  };

export const removePort =
  (id: number): Edit =>
  (document) => {
    const gone = portOf(document, id);
    return { ...document, ports: document.ports.filter((port) => port !== gone) };
  };

export const enablePort =
  (id: number, enabled: boolean): Edit =>
  (document) =>
    withPort(document, id, (port) => ({ ...dropped(port, 'draining'), enabled }));

/** What a port may be given; null: what there is without it. Hosts that came through it come back with it. */
export interface PortSettings {
  readonly inlineDataSize?: number | null | undefined;
  readonly maxQueueSize?: number | null | undefined;
}

export const setPort =
  (id: number, settings: PortSettings): Edit =>
  (document) =>
    withPort(document, id, (port) => withSettings(port, settings));

/** Every group becomes inaccessible through it, without a change of what is configured. */
export const drainPort =
  (id: number, draining: boolean): Edit =>
  (document) =>
    withPort(document, id, (port) => (draining ? { ...port, draining } : dropped(port, 'draining')));

export const addListener =
  (id: number, nqn: string): Edit =>
  (document) => {
    subsystemOf(document, nqn);
    return withPort(document, id, (port) => {
      if (port.subsystems.includes(nqn)) throw exists(`${nqn} on port ${id}`);
      return { ...port, subsystems: [...port.subsystems, nqn] };
    });
  };

export const removeListener =
  (id: number, nqn: string): Edit =>
  (document) =>
    withPort(document, id, (port) => {
      if (!port.subsystems.includes(nqn)) throw absent(`${nqn} on port ${id}`);
      return { ...port, subsystems: port.subsystems.filter((each) => each !== nqn) };
    });

export const setAna =
  (id: number, grpid: number, state: AnaStateName): Edit =>
  (document) =>
    withPort(document, id, (port) => {
      const others = port.ana.filter((entry) => entry.grpid !== grpid);
      const ana = [...others, { grpid, state }].sort((a, b) => a.grpid - b.grpid);
      return { ...port, ana };
    });

export const addReferral =
  (id: number, referral: ReferralEntry): Edit =>
  (document) =>
    withPort(document, id, (port) => {
      if (port.referrals.some(({ name }) => name === referral.name))
        throw exists(`a referral ${referral.name} on port ${id}`);
      return { ...port, referrals: [...port.referrals, referral] };
    });

export const removeReferral =
  (id: number, name: string): Edit =>
  (document) =>
    withPort(document, id, (port) => {
      if (!port.referrals.some((referral) => referral.name === name))
        throw absent(`referral ${name} on port ${id}`);
      return { ...port, referrals: port.referrals.filter((referral) => referral.name !== name) };
    });

/**
 * Offers the subsystem on this address: on a port that is there, on one that becomes wider, or on a new one. So
 * `--listen 0.0.0.0:4420` takes the place of 127.0.0.1:4420, and says nothing new beside [::]:4420.
 */
export const listenAt =
  (text: string, nqn: string | undefined, mark: Pick<PortEntry, 'volatile'> = {}): Edit =>
  (document) => {
    const address = addressOf(text);
    const open = document.ports.filter(({ dormant }) => !dormant);
    const wider = open.find((port) => covers(addressOf(port.address), address));
    if (wider) return offering(document, wider, nqn);
    const narrower = open.filter((port) => covers(address, addressOf(port.address)));
    const [one, ...others] = narrower;
    // A port that the system chooses is nothing to come back to.
    const volatile = address.port === 0 ? { volatile: true as const } : mark;
    if (one === undefined)
      return addPort({
        id: freePortId(document),
        address: text,
        enabled: true,
        subsystems: nqn === undefined ? [] : [nqn],
        ana: [],
        referrals: [],
        ...volatile,
      })(document);
    const ports = document.ports
      .filter((port) => !others.includes(port))
      .map((port) => (port === one ? { ...port, address: text, subsystems: allOf(narrower) } : port));
    const widened: TargetDocument = { ...document, ports };
    return offering(widened, portOf(widened, one.id), nqn);
  };

function offering(document: TargetDocument, port: PortEntry, nqn: string | undefined): TargetDocument {
  const on = port.enabled ? document : enablePort(port.id, true)(document);
  return nqn === undefined || port.subsystems.includes(nqn) ? on : addListener(port.id, nqn)(on);
}

const allOf = (ports: readonly PortEntry[]): string[] => [
  ...new Set(ports.flatMap(({ subsystems }) => subsystems)),
];

/** Canonical text of an address that an operator gave. */
export function checkedAddress(text: string): string {
  if (parseAddress(text) === undefined)
    throw new ConfigError(`${JSON.stringify(text)} is not an address; 127.0.0.1:4420 and [::1]:4420 are`);
  return text.trim();
}
