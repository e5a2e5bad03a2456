/** The document as a configuration file: for this target, or for nvmetcli without what it would not understand. */
import { addressOf } from './address.ts';
import {
  type NamespaceEntry,
  type PortEntry,
  type SubsystemEntry,
  type TargetDocument,
  isFile,
  namespaceName,
  nguidOf,
} from './document.ts';
import { groupsOf } from './plan.ts';

export interface Written {
  readonly json: string;
  /** What nvmetcli's form cannot say, a line each. */
  readonly lost: readonly string[];
}

/** `own`: with the keys that are ours; they stand where nvmetcli does not look. */
export function writeConfig(document: TargetDocument, own: boolean): Written {
  const subsystems = document.subsystems.map((subsystem) => ({
    ...subsystem,
    namespaces: subsystem.namespaces.filter(({ volatile, dormant }) => !volatile && !dormant),
  }));
  const ports = document.ports.filter(({ volatile }) => !volatile);
  const hosts = new Set(subsystems.flatMap((subsystem) => subsystem.hosts ?? []));
  const value = {
    hosts: [...hosts].map((nqn) => ({ nqn })),
    subsystems: subsystems.map((subsystem) => subsystemOut(subsystem, own)),
    ports: ports
      .filter(({ enabled }) => own || enabled)
      .map((port) => portOut(port, groupsOf(document), own)),
  };
  return { json: `${JSON.stringify(value, null, 2)}\n`, lost: own ? [] : lostOf(subsystems, ports) };
}

function subsystemOut(
  {
    nqn,
    serial,
    model,
    shared,
    ioQueues,
    firmware,
    ieeeOui,
    ana,
    hosts,
    cntlids,
    namespaces,
  }: SubsystemEntry,
  own: boolean,
) {
  return {
    nqn,
    attr: {
      allow_any_host: hosts === undefined ? '1' : '0',
      serial,
      model,
      ...(cntlids && { cntlid_min: String(cntlids[0]), cntlid_max: String(cntlids[1]) }),
      ...(ioQueues !== undefined && { qid_max: String(ioQueues) }),
      ...(firmware !== undefined && { firmware }),
      ...(ieeeOui !== undefined && { ieee_oui: `0x${ieeeOui}` }),
    },
    allowed_hosts: hosts ?? [],
    namespaces: namespaces.filter((entry) => own || isFile(entry)).map((entry) => namespaceOut(entry, own)),
    ...(own && !shared && { shared }),
    ...(own && ana === false && { ana }),
  };
}

function namespaceOut(entry: NamespaceEntry, own: boolean) {
  const { nsid, uuid, eui64, enabled, anagrpid, blockSize, readOnly, shared, hosts } = entry;
  return {
    nsid,
    enable: enabled ? 1 : 0,
    device: {
      ...(isFile(entry) && { path: entry.path }),
      uuid,
      // Both forms are read; configfs shows the one with dashes.
      nguid: nguidOf(entry).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
    },
    ana: { grpid: String(anagrpid) },
    ana_grpid: anagrpid,
    ...(own && {
      ...(isFile(entry) ? {} : { memory: entry.memory }),
      ...(eui64 !== undefined && { eui64 }),
      block_size: blockSize,
      ...(readOnly && { read_only: readOnly }),
      ...(!shared && { shared }),
      ...(hosts && { hosts }),
    }),
  };
}

function portOut(port: PortEntry, groups: readonly number[], own: boolean) {
  const { id, address, enabled, subsystems, ana, referrals, inlineDataSize, maxQueueSize } = port;
  const param = {
    ...(inlineDataSize !== undefined && { inline_data_size: String(inlineDataSize) }),
    ...(maxQueueSize !== undefined && { max_queue_size: String(maxQueueSize) }),
  };
  return {
    portid: id,
    addr: addressOut(address),
    ...(Object.keys(param).length > 0 && { param }),
    subsystems,
    ana_groups: groups.map((grpid) => ({
      grpid,
      ana: { state: ana.find((entry) => entry.grpid === grpid)?.state ?? 'optimized' },
    })),
    referrals: referrals.map((referral) => ({
      name: referral.name,
      addr: { ...addressOut(referral.address), ...(referral.id > 0 && { portid: String(referral.id) }) },
      enable: 1,
    })),
    ...(own && !enabled && { enable: false }),
  };
}

function addressOut(address: string) {
  const { host, port } = addressOf(address);
  const adrfam = host.includes(':') ? 'ipv6' : 'ipv4';
  return { trtype: 'tcp', adrfam, traddr: host, trsvcid: String(port) };
}

function lostOf(subsystems: readonly SubsystemEntry[], ports: readonly PortEntry[]): string[] {
  const lost: string[] = [];
  for (const { nqn, shared, ana, namespaces } of subsystems) {
    if (!shared) lost.push(`subsystem ${nqn}: one controller at a time`);
    if (ana === false) lost.push(`subsystem ${nqn}: without ANA`);
    for (const entry of namespaces) {
      const name = namespaceName(nqn, entry.nsid);
      if (!isFile(entry)) lost.push(`${name}: it is in memory`);
      else if (entry.blockSize !== 512) lost.push(`${name}: ${entry.blockSize}-byte blocks`);
      if (entry.eui64 !== undefined) lost.push(`${name}: its EUI-64`);
      if (entry.readOnly) lost.push(`${name}: read-only`);
      if (!entry.shared) lost.push(`${name}: private`);
      if (entry.hosts) lost.push(`${name}: seen by some hosts only`);
    }
  }
  for (const { id, enabled } of ports) if (!enabled) lost.push(`port ${id}: it is disabled`);
  return lost;
}
