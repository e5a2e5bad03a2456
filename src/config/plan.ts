/**
 * The difference between what runs and what is wanted, as a list of changes in the order in which they are made:
 * what goes away first, then what is new, and a listener only when everything behind it is there. What did not change
 * is in no change, so its hosts see nothing.
 */
import {
  type AnaStateName,
  type NamespaceEntry,
  type PortEntry,
  type ReferralEntry,
  type SubsystemEntry,
  type TargetDocument,
  isFile,
  namespaceName,
  nguidOf,
} from './document.ts';
import { isSameFile } from './file-identity.ts';
import { formatSize } from './units.ts';

export type Change =
  | { readonly kind: 'remove listener'; readonly id: number; readonly nqn: string }
  /** `kept`: it stays in the configuration, disabled. */
  | { readonly kind: 'remove port'; readonly id: number; readonly address: string; readonly kept: boolean }
  | { readonly kind: 'remove namespace'; readonly nqn: string; readonly nsid: number; readonly kept: boolean }
  /** Its namespaces and listeners have changes of their own. */
  | { readonly kind: 'remove subsystem'; readonly nqn: string; readonly replaced: boolean }
  | { readonly kind: 'add subsystem'; readonly nqn: string; readonly subsystem: SubsystemEntry }
  | {
      readonly kind: 'set subsystem';
      readonly nqn: string;
      readonly ioQueues: number | undefined;
      readonly firmware: string | undefined;
      readonly before: SubsystemEntry;
    }
  | { readonly kind: 'set hosts'; readonly nqn: string; readonly hosts: readonly string[] | undefined }
  | {
      readonly kind: 'add namespace';
      readonly nqn: string;
      readonly nsid: number;
      readonly entry: NamespaceEntry;
      /** The file is in use as this namespace, until that is removed by the same plan. */
      readonly from: { readonly nqn: string; readonly nsid: number } | undefined;
    }
  | {
      readonly kind: 'enable namespace' | 'disable namespace';
      readonly nqn: string;
      readonly nsid: number;
      readonly entry: NamespaceEntry;
    }
  | {
      readonly kind: 'move namespace';
      readonly nqn: string;
      readonly nsid: number;
      readonly anagrpid: number;
    }
  | {
      readonly kind: 'mask namespace';
      readonly nqn: string;
      readonly nsid: number;
      readonly hosts: readonly string[] | undefined;
    }
  | {
      readonly kind: 'set ana';
      readonly id: number;
      readonly grpid: number;
      readonly state: AnaStateName;
      readonly before: AnaStateName;
    }
  | { readonly kind: 'set referrals'; readonly id: number; readonly referrals: readonly ReferralEntry[] }
  | { readonly kind: 'add port'; readonly id: number; readonly port: PortEntry }
  | { readonly kind: 'add listener'; readonly id: number; readonly nqn: string };

/** Names what a change may fail at; the same from one try to the next. */
export const keyOf = (change: Change): string =>
  'nqn' in change && 'nsid' in change
    ? `${change.nqn} ${change.nsid}`
    : 'id' in change
      ? `port ${change.id}`
      : change.nqn;

export function diff(running: TargetDocument, wanted: TargetDocument): Change[] {
  const before = bySubsystem(running);
  const after = bySubsystem(wanted);
  const replaced = new Set(
    [...after]
      .filter(([nqn, { subsystem }]) => isReplaced(before.get(nqn)?.subsystem, subsystem))
      .map(([nqn]) => nqn),
  );
  const ports = diffPorts(running, wanted, replaced);
  const gone: Change[] = [];
  const removed: Change[] = [];
  const added: Change[] = [];
  const changed: Change[] = [];

  for (const [nqn, { namespaces }] of before) {
    const stays = after.get(nqn);
    if (stays === undefined || replaced.has(nqn))
      removed.push({ kind: 'remove subsystem', nqn, replaced: stays !== undefined });
    for (const [nsid, entry] of namespaces) {
      const next = replaced.has(nqn) ? undefined : stays?.namespaces.get(nsid);
      if (next === undefined || !isSameNamespace(entry, next))
        gone.push({ kind: 'remove namespace', nqn, nsid, kept: stays?.all.has(nsid) === true });
    }
  }
  const freed = gone.flatMap((change) => (change.kind === 'remove namespace' ? [change] : []));
  for (const [nqn, { subsystem, namespaces }] of after) {
    const old = replaced.has(nqn) ? undefined : before.get(nqn);
    if (old === undefined) added.push({ kind: 'add subsystem', nqn, subsystem });
    else {
      const { subsystem: was } = old;
      const { hosts, ioQueues, firmware } = subsystem;
      if (!sameList(was.hosts, hosts)) added.push({ kind: 'set hosts', nqn, hosts });
      if (was.ioQueues !== ioQueues || was.firmware !== firmware)
        added.push({ kind: 'set subsystem', nqn, ioQueues, firmware, before: was });
    }
    for (const [nsid, entry] of namespaces) {
      const known = old?.namespaces.get(nsid);
      if (known !== undefined && isSameNamespace(known, entry))
        changed.push(...diffNamespace(nqn, known, entry));
      else changed.push({ kind: 'add namespace', nqn, nsid, entry, from: holder(before, freed, entry) });
    }
  }
  return [...ports.first, ...gone, ...removed, ...added, ...changed, ...ports.last];
}

interface Known {
  readonly subsystem: SubsystemEntry;
  /** Those that are exported. */
  readonly namespaces: ReadonlyMap<number, NamespaceEntry>;
  /** NSIDs of all that are known. */
  readonly all: ReadonlySet<number>;
}

const bySubsystem = ({ subsystems }: TargetDocument): Map<string, Known> =>
  new Map(
    subsystems.map((subsystem) => [
      subsystem.nqn,
      {
        subsystem,
        namespaces: new Map(
          subsystem.namespaces.filter(({ dormant }) => !dormant).map((entry) => [entry.nsid, entry]),
        ),
        all: new Set(subsystem.namespaces.map(({ nsid }) => nsid)),
      },
    ]),
  );

/** What is fixed when a subsystem is made (LIFE.11): another value makes another subsystem. */
function isReplaced(before: SubsystemEntry | undefined, after: SubsystemEntry): boolean {
  if (before === undefined) return false;
  const { serial, model, ieeeOui, shared, ana, cntlids } = after;
  return (
    before.serial !== serial ||
    before.model !== model ||
    before.ieeeOui !== ieeeOui ||
    before.shared !== shared ||
    before.ana !== ana ||
    before.cntlids?.[0] !== cntlids?.[0] ||
    before.cntlids?.[1] !== cntlids?.[1]
  );
}

/** What hosts have seen of a disk never changes under them: with another value it is another disk (LIFE.10). */
function isSameNamespace(before: NamespaceEntry, after: NamespaceEntry): boolean {
  for (const key of ['uuid', 'eui64', 'blockSize', 'readOnly', 'shared'] as const)
    if (before[key] !== after[key]) return false;
  if (nguidOf(before) !== nguidOf(after)) return false;
  if (!isFile(before) || !isFile(after))
    return !isFile(before) && !isFile(after) && before.memory === after.memory;
  if (after.fileId === undefined) return before.path === after.path;
  return isSameFile(before, { fileId: after.fileId, born: after.born });
}

function diffNamespace(nqn: string, before: NamespaceEntry, after: NamespaceEntry): Change[] {
  const { nsid, anagrpid, hosts, enabled } = after;
  const changes: Change[] = [];
  if (!sameList(before.hosts, hosts)) changes.push({ kind: 'mask namespace', nqn, nsid, hosts });
  if (before.anagrpid !== anagrpid) changes.push({ kind: 'move namespace', nqn, nsid, anagrpid });
  if (before.enabled !== enabled)
    changes.push({ kind: enabled ? 'enable namespace' : 'disable namespace', nqn, nsid, entry: after });
  return changes;
}

/** Which namespace has the file of `entry` open until it is removed. */
function holder(
  before: ReadonlyMap<string, Known>,
  freed: readonly { readonly nqn: string; readonly nsid: number }[],
  entry: NamespaceEntry,
): { nqn: string; nsid: number } | undefined {
  if (!isFile(entry)) return undefined;
  const { fileId, born } = entry;
  const found = freed.find(({ nqn, nsid }) => {
    const old = before.get(nqn)?.namespaces.get(nsid);
    if (old === undefined || !isFile(old) || !old.enabled) return false;
    return fileId === undefined ? old.path === entry.path : isSameFile(old, { fileId, born });
  });
  return found && { nqn: found.nqn, nsid: found.nsid };
}

// ---- ports

const listening = ({ ports }: TargetDocument): Map<number, PortEntry> =>
  new Map(ports.filter(({ enabled, dormant }) => enabled && !dormant).map((port) => [port.id, port]));

function diffPorts(
  running: TargetDocument,
  wanted: TargetDocument,
  replaced: ReadonlySet<string>,
): { first: Change[]; last: Change[] } {
  const before = listening(running);
  const after = listening(wanted);
  const groups = groupsOf(running, wanted);
  const first: Change[] = [];
  const last: Change[] = [];
  for (const [id, old] of before) {
    const { address, subsystems } = old;
    const next = after.get(id);
    if (next === undefined || !isSamePort(old, next)) {
      const kept = next === undefined && wanted.ports.some((port) => port.id === id);
      first.push({ kind: 'remove port', id, address, kept });
      continue;
    }
    for (const nqn of subsystems)
      if (!next.subsystems.includes(nqn) || replaced.has(nqn))
        first.push({ kind: 'remove listener', id, nqn });
  }
  for (const [id, port] of after) {
    const old = before.get(id);
    if (old === undefined || !isSamePort(old, port)) {
      last.push({ kind: 'add port', id, port });
      continue;
    }
    for (const grpid of groups) {
      const [from, state] = [anaOf(old, grpid), anaOf(port, grpid)];
      if (from !== state) last.push({ kind: 'set ana', id, grpid, state, before: from });
    }
    if (JSON.stringify(old.referrals) !== JSON.stringify(port.referrals))
      last.push({ kind: 'set referrals', id, referrals: port.referrals });
    for (const nqn of port.subsystems)
      if (!old.subsystems.includes(nqn) || replaced.has(nqn)) last.push({ kind: 'add listener', id, nqn });
  }
  return { first, last };
}

/** What is told to hosts when they connect: with another value they have to connect again. */
const isSamePort = (one: PortEntry, other: PortEntry): boolean =>
  one.address === other.address &&
  one.inlineDataSize === other.inlineDataSize &&
  one.maxQueueSize === other.maxQueueSize;

/** The state that hosts are told. */
export const anaOf = (port: PortEntry, grpid: number): AnaStateName =>
  port.draining ? 'inaccessible' : (port.ana.find((entry) => entry.grpid === grpid)?.state ?? 'optimized');

/** Every ANA group that is named somewhere, in order. */
export function groupsOf(...documents: readonly TargetDocument[]): number[] {
  const groups = new Set<number>([1]);
  for (const { subsystems, ports } of documents) {
    for (const { namespaces } of subsystems) for (const { anagrpid } of namespaces) groups.add(anagrpid);
    for (const { ana } of ports) for (const { grpid } of ana) groups.add(grpid);
  }
  return [...groups].sort((a, b) => a - b);
}

function sameList(one: readonly string[] | undefined, other: readonly string[] | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return one.length === other.length && one.every((each) => other.includes(each));
}

// ---- for people

/** One line: `+ namespace 2 of nqn.…: /srv/b.img, 512-byte blocks`. What hosts lose begins with a minus. */
export function describeChange(change: Change): string {
  switch (change.kind) {
    case 'remove listener':
      return `- ${change.nqn} on port ${change.id}`;
    case 'remove port':
      return `- port ${change.id}, ${change.address}${change.kept ? ' (disabled, stays configured)' : ''}`;
    case 'remove namespace':
      return `- ${namespaceName(change.nqn, change.nsid)}`;
    case 'remove subsystem':
      return `- subsystem ${change.nqn}${change.replaced ? ' (to be made anew)' : ''}`;
    case 'add subsystem':
      return `+ subsystem ${change.nqn}: ${hostsText(change.subsystem.hosts)}`;
    case 'set subsystem':
      return `~ subsystem ${change.nqn}: ${settingsText(change)}`;
    case 'set hosts':
      return `~ subsystem ${change.nqn}: ${hostsText(change.hosts)}`;
    case 'add namespace':
      return `+ ${namespaceName(change.nqn, change.nsid)}: ${entryText(change.entry)}`;
    case 'enable namespace':
      return `~ ${namespaceName(change.nqn, change.nsid)}: enabled`;
    case 'disable namespace':
      return `~ ${namespaceName(change.nqn, change.nsid)}: disabled`;
    case 'move namespace':
      return `~ ${namespaceName(change.nqn, change.nsid)}: ANA group ${change.anagrpid}`;
    case 'mask namespace':
      return `~ ${namespaceName(change.nqn, change.nsid)}: seen by ${change.hosts?.join(', ') ?? 'every host'}`;
    case 'set ana':
      return `~ port ${change.id}: ANA group ${change.grpid} is ${change.state}, was ${change.before}`;
    case 'set referrals':
      return `~ port ${change.id}: refers to ${change.referrals.map(({ address }) => address).join(', ') || 'nobody'}`;
    case 'add port':
      return `+ port ${change.id}, ${change.port.address}: ${portText(change.port)}`;
    case 'add listener':
      return `+ ${change.nqn} on port ${change.id}`;
  }
}

const hostsText = (hosts: readonly string[] | undefined): string =>
  hosts === undefined ? 'every host may connect' : `for ${hosts.join(', ') || 'no host'}`;

function settingsText({ ioQueues, firmware, before }: Extract<Change, { kind: 'set subsystem' }>): string {
  return [
    ...(ioQueues === before.ioQueues ? [] : [`I/O queues: ${ioQueues ?? 'all'}; its hosts connect again`]),
    ...(firmware === before.firmware ? [] : [`firmware ${firmware ?? 'as built'}`]),
  ].join(', ');
}

const portText = ({ subsystems, inlineDataSize, maxQueueSize }: PortEntry): string =>
  [
    subsystems.join(', ') || 'discovery only',
    ...(inlineDataSize === undefined ? [] : [`${inlineDataSize} bytes of in-capsule data`]),
    ...(maxQueueSize === undefined ? [] : [`queues of ${maxQueueSize} entries`]),
  ].join('; ');

function entryText(entry: NamespaceEntry): string {
  const { blockSize, readOnly, enabled, anagrpid } = entry;
  return [
    isFile(entry) ? entry.path : `memory, ${formatSize(entry.memory)}`,
    `${blockSize}-byte blocks`,
    ...(readOnly ? ['read-only'] : []),
    ...(anagrpid === 1 ? [] : [`ANA group ${anagrpid}`]),
    ...(enabled ? [] : ['disabled']),
  ].join(', ');
}
