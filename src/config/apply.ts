/**
 * A configuration file and the document that there is become the document that is wanted: what the file says, with the
 * identities that are known for it. What it does not name goes, except what belongs to this process alone.
 */
import { formatAddress } from './address.ts';
import {
  type FileEntry,
  LAST_CNTLID,
  MODEL_LENGTH,
  type NamespaceEntry,
  type PortEntry,
  type SubsystemEntry,
  type TargetDocument,
  isFile,
} from './document.ts';
import { freeNsid } from './edit.ts';
import { type FileIdentity, isSameFile, withIdentity } from './file-identity.ts';
import { type Config, type ConfigNamespace, groupOf } from './nvmet.ts';
import { ConfigError } from './problem.ts';

export interface ApplyFacts {
  /** What is at an absolute path; undefined: nothing. */
  readonly seen: ReadonlyMap<string, FileIdentity | undefined>;
  readonly newUuid: () => string;
  readonly newSerial: () => string;
  /** The highest NSID that the target has room for. */
  readonly lastNsid: number;
}

export interface Applied {
  readonly document: TargetDocument;
  /** Files to be made, with their sizes. */
  readonly make: ReadonlyMap<string, number>;
}

export const DEFAULT_MODEL = 'nvme-tcp'.slice(0, MODEL_LENGTH);

/** Every path that a file names. */
export const pathsOf = ({ subsystems }: Config): string[] =>
  subsystems.flatMap(({ namespaces }) => namespaces.flatMap(({ device }) => device.path ?? []));

export function applyConfig(document: TargetDocument, config: Config, facts: ApplyFacts): Applied {
  const make = new Map<string, number>();
  const subsystems = config.subsystems.map((wanted, i): SubsystemEntry => {
    const before = document.subsystems.find(({ nqn }) => nqn === wanted.nqn);
    const { serial, model, allow_any_host, cntlid_min, cntlid_max, qid_max, firmware, ieee_oui } =
      wanted.attr;
    const made: SubsystemEntry = {
      nqn: wanted.nqn,
      serial: serial ?? before?.serial ?? facts.newSerial(),
      model: model ?? before?.model ?? DEFAULT_MODEL,
      shared: wanted.shared,
      ...(qid_max !== undefined && { ioQueues: qid_max }),
      ...(firmware !== undefined && { firmware }),
      ...(ieee_oui !== undefined && { ieeeOui: ieee_oui }),
      ...(!wanted.ana && { ana: false }),
      ...(allow_any_host ? {} : { hosts: [...new Set(wanted.allowed_hosts)] }),
      ...rangeOf(cntlid_min, cntlid_max),
      namespaces: [],
    };
    return withNamespaces(made, before, wanted.namespaces, `subsystems[${i}]`, facts, make);
  });
  const named = new Set(subsystems.map(({ nqn }) => nqn));
  const own = document.ports
    .filter(({ volatile, id }) => volatile && !config.ports.some(({ portid }) => portid === id))
    .map((port) => ({ ...port, subsystems: port.subsystems.filter((nqn) => named.has(nqn)) }));
  const ports = [...config.ports.map(portEntry), ...own].sort((a, b) => a.id - b.id);
  return { document: { version: 2, subsystems, ports }, make };
}

/** The whole range is what there is without one. */
function rangeOf(least: number | undefined, most: number | undefined): Pick<SubsystemEntry, 'cntlids'> {
  const range = [least ?? 1, most ?? LAST_CNTLID] as const;
  return range[0] === 1 && range[1] === LAST_CNTLID ? {} : { cntlids: range };
}

function withNamespaces(
  subsystem: SubsystemEntry,
  before: SubsystemEntry | undefined,
  wanted: readonly ConfigNamespace[],
  at: string,
  facts: ApplyFacts,
  make: Map<string, number>,
): SubsystemEntry {
  const known = before?.namespaces ?? [];
  const asked = wanted.flatMap(({ nsid }) => nsid ?? []);
  const entries: NamespaceEntry[] = known.filter((entry) => entry.volatile && !asked.includes(entry.nsid));
  for (const [i, each] of wanted.entries()) {
    const match = matching(known, each, facts);
    const taken = { ...subsystem, namespaces: [...known, ...entries] };
    const nsid = each.nsid ?? match?.nsid ?? freeNsid(taken, asked);
    if (nsid > facts.lastNsid) {
      const path = `${at}.namespaces[${i}].nsid`;
      throw new ConfigError(`${path}: NSIDs go up to ${facts.lastNsid}`, { path });
    }
    const entry = namespaceEntry(each, nsid, match, facts);
    if (isFile(entry) && each.size !== undefined && facts.seen.get(entry.path) === undefined)
      make.set(entry.path, each.size);
    entries.push(entry);
  }
  return { ...subsystem, namespaces: entries.sort((a, b) => a.nsid - b.nsid) };
}

/** The entry that this has been until now: the same disk, whatever it is called. */
function matching(
  known: readonly NamespaceEntry[],
  { nsid, device, memory }: ConfigNamespace,
  { seen }: ApplyFacts,
): NamespaceEntry | undefined {
  const { path } = device;
  if (path === undefined)
    return known.find((entry) => !isFile(entry) && entry.nsid === nsid && entry.memory === memory);
  const identity = seen.get(path);
  return known.find(
    (entry) =>
      isFile(entry) &&
      (entry.path === path || (identity !== undefined && isSameFile(entry, identity))) &&
      (nsid === undefined || entry.nsid === nsid),
  );
}

function namespaceEntry(
  wanted: ConfigNamespace,
  nsid: number,
  match: NamespaceEntry | undefined,
  facts: ApplyFacts,
): NamespaceEntry {
  const { device, hosts } = wanted;
  const uuid = device.uuid ?? match?.uuid ?? facts.newUuid();
  const nguid = device.nguid ?? match?.nguid;
  const eui64 = wanted.eui64 ?? match?.eui64;
  const common = {
    nsid,
    uuid,
    ...(nguid === undefined || nguid === uuid.replaceAll('-', '') ? {} : { nguid }),
    ...(eui64 !== undefined && { eui64 }),
    blockSize: wanted.block_size ?? match?.blockSize ?? 512,
    readOnly: wanted.read_only ?? false,
    anagrpid: groupOf(wanted),
    enabled: wanted.enable,
    shared: wanted.shared ?? true,
    ...(hosts && { hosts: [...new Set(hosts)] }),
  };
  const { path } = device;
  if (path === undefined) return { ...common, memory: wanted.memory ?? 0 };
  const file: FileEntry = { ...common, path };
  // What it was when it was last open is checked when it is opened; a file that has moved is known by what it is.
  if (match && isFile(match) && match.fileId !== undefined)
    return withIdentity(file, { fileId: match.fileId, born: match.born });
  const identity = facts.seen.get(path);
  return identity === undefined ? file : withIdentity(file, identity);
}

function portEntry(wanted: Config['ports'][number]): PortEntry {
  const { portid, addr, enable, subsystems, ana_groups, referrals, param } = wanted;
  const { inline_data_size: inlineDataSize, max_queue_size: maxQueueSize } = param;
  return {
    id: portid,
    address: formatAddress({ host: addr.traddr, port: addr.trsvcid }),
    enabled: enable,
    subsystems,
    // A group that is not listed is optimized.
    ana: ana_groups
      .filter(({ ana }) => ana.state !== 'optimized')
      .map(({ grpid, ana }) => ({ grpid, state: ana.state }))
      .sort((a, b) => a.grpid - b.grpid),
    referrals: referrals
      .filter((referral) => referral.enable)
      .map((referral) => ({
        name: referral.name,
        address: formatAddress({ host: referral.addr.traddr, port: referral.addr.trsvcid }),
        id: referral.addr.portid,
      })),
    ...(inlineDataSize !== undefined && { inlineDataSize }),
    ...(maxQueueSize !== undefined && { maxQueueSize }),
  };
}
