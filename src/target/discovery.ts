/**
 * The discovery log (NVMe Base 2.1, section 5.1.12.3.1): every subsystem that the host may use, on every port that
 * offers it, and the referrals of the port that it asks through. Which records there are is remembered per controller until something changes; a record
 * is written when it is read, so a log of thousands that is read 1 KiB at a time costs each piece once.
 */
import {
  Adrfam,
  DiscoveryEntry,
  DiscoveryExtension,
  DiscoveryHeader,
  DiscoveryLsp,
  SecureChannel,
  Subtype,
  Trtype,
} from '../nvme/discovery.ts';
import { CNTLID_DYNAMIC } from '../nvme/fabrics.ts';
import { DISCOVERY_NQN, nqnProblem } from '../nvme/nqn.ts';
import { GetLogPage } from '../nvme/sqe.ts';
import { viewOf } from '../layout/struct.ts';
import type { Address } from '../runtime/ports.ts';
import type { Command } from './command.ts';
import type { Controller } from './controller.ts';
import type { Port } from './port.ts';
import type { Target } from './target.ts';

/** Another discovery service. */
export interface Referral {
  readonly address: Address;
  /** The well-known name if not given. */
  readonly subnqn?: string | undefined;
  /** PORTID of the entry, 0 if not given. */
  readonly portid?: number | undefined;
}

/** One record of a log, as plain data. */
export interface DiscoveryRecord {
  readonly subtype: number;
  readonly portid: number;
  readonly traddr: string;
  readonly trsvcid: number;
  readonly subnqn: string;
  readonly duplicate: boolean;
}

/** What one controller's host can see, until GENCTR moves. */
export interface DiscoveryView {
  readonly genctr: number;
  readonly portLocal: boolean;
  readonly records: readonly DiscoveryRecord[];
}

/** Addresses that mean "all of this machine's": a host is told the one that it reached. */
const WILDCARDS = new Set(['0.0.0.0', '::', '']);

/** Without an IPv6 zone, which means something on this machine only; an IPv4 address in IPv6 clothes as what it is. */
export const plainAddress = (host: string): string =>
  host.replace(/%.*$/s, '').replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');

/** The address that a host which reached us at `reached` is told for a port; undefined: there is none that it can use. */
export function addressFor(port: string, reached: string): string | undefined {
  if (!WILDCARDS.has(port)) return plainAddress(port);
  const address = plainAddress(reached);
  // "::" takes connections of both families, 0.0.0.0 of its own.
  return port === '0.0.0.0' && address.includes(':') ? undefined : address;
}

const sameReferral = (a: Referral, b: Referral): boolean =>
  plainAddress(a.address.host) === plainAddress(b.address.host) &&
  a.address.port === b.address.port &&
  (a.subnqn ?? DISCOVERY_NQN) === (b.subnqn ?? DISCOVERY_NQN);

/** Why a port cannot show these referrals; undefined: it can. A host that follows one must not come back to us. */
export function referralsProblem(
  target: Target,
  port: Port,
  referrals: readonly Referral[],
): string | undefined {
  const others = target.ports.list.reduce(
    (sum, each) => sum + (each === port ? 0 : each.referrals.length),
    0,
  );
  if (others + referrals.length > target.limits.referrals)
    return `${others + referrals.length} referrals: at most ${target.limits.referrals} are allowed`;
  for (const [i, referral] of referrals.entries()) {
    const { host, port: number } = referral.address;
    const problem = referrals.slice(0, i).some((each) => sameReferral(each, referral))
      ? 'is there twice'
      : referralProblem(target, referral);
    if (problem !== undefined) return `referral to ${host} port ${number}: ${problem}`;
  }
  return undefined;
}

/** Why a referral by itself cannot be shown. */
function referralProblem(target: Target, referral: Referral): string | undefined {
  const { address, subnqn = DISCOVERY_NQN, portid = 0 } = referral;
  const wrong = nqnProblem(subnqn);
  if (wrong !== undefined) return `the NQN ${wrong}`;
  if (WILDCARDS.has(address.host)) return 'no host can connect to that address';
  if (!Number.isInteger(portid) || portid < 0 || portid > 0xffff) return `${portid} is not a PORTID`;
  return (subnqn !== DISCOVERY_NQN && subnqn === target.discovery.nqn) || leadsHere(target, referral)
    ? 'that is this target'
    : undefined;
}

/** Whether the referral leads to a port of ours. */
export const leadsHere = (target: Target, referral: Referral): boolean =>
  target.ports.list.some((port) => isOurs(referral, port, undefined));

/** Whether the referral leads to this port, for a host that reached us at `reached`. */
function isOurs({ address }: Referral, port: Port, reached: string | undefined): boolean {
  if (address.port !== port.address.port) return false;
  const host = plainAddress(address.host);
  return host === plainAddress(port.address.host) || (WILDCARDS.has(port.address.host) && host === reached);
}

/** The records for a controller whose host reached us at `reached`. */
function recordsFor(controller: Controller, reached: string, portLocal: boolean): DiscoveryRecord[] {
  const { target } = controller.subsystem;
  const records: DiscoveryRecord[] = [];
  const ports = portLocal ? target.ports.list.filter((port) => port === controller.port) : target.ports.list;
  // What a port with a wildcard tells depends on how it is reached, so its entries may differ.
  const duplicate = !portLocal && ports.every(({ address }) => !WILDCARDS.has(address.host));
  const subsystems = [...target.subsystems.values()].filter((each) => each.admits(controller.hostnqn));
  for (const port of ports) {
    const traddr = addressFor(port.address.host, reached);
    if (traddr === undefined) continue;
    for (const subsystem of [target.discovery, ...subsystems]) {
      if (!port.offers(subsystem)) continue;
      records.push({
        subtype: subsystem.discovery ? Subtype.CurrentDiscovery : Subtype.Nvm,
        portid: port.id,
        traddr,
        trsvcid: port.address.port,
        subnqn: subsystem.nqn,
        duplicate: subsystem.discovery && duplicate,
      });
    }
  }
  for (const referral of controller.port.referrals) {
    if (target.ports.list.some((port) => isOurs(referral, port, reached))) continue;
    const { address, subnqn = DISCOVERY_NQN, portid = 0 } = referral;
    const traddr = plainAddress(address.host);
    records.push({
      subtype: Subtype.Referral,
      portid,
      traddr,
      trsvcid: address.port,
      subnqn,
      duplicate: false,
    });
  }
  return records;
}

/** An extended entry; there are no extended attributes to tell. */
const EXTENDED_ENTRY = DiscoveryEntry.size + DiscoveryExtension.size;

/** `length` bytes of the log from `offset`, fewer at its end; undefined: it ends before. */
export function discoveryLog(
  controller: Controller,
  command: Command,
  offset: number,
  length: number,
): Uint8Array | undefined {
  const { genctr } = controller.subsystem.target;
  const lsp = GetLogPage.cdw10.lsp.get(command.view, 0);
  const portLocal = (lsp & DiscoveryLsp.portLocal) !== 0;
  const extended = (lsp & DiscoveryLsp.extended) !== 0;
  let view = controller.discoveryView;
  if (view?.genctr !== genctr || view.portLocal !== portLocal) {
    const reached = plainAddress(command.queue.connection.transport.local.host);
    view = { genctr, portLocal, records: recordsFor(controller, reached, portLocal) };
    controller.discoveryView = view;
  }
  const { records } = view;
  const header = DiscoveryHeader.size;
  const each = extended ? EXTENDED_ENTRY : DiscoveryEntry.size;
  const size = header + records.length * each;
  if (offset > size) return undefined;
  const end = Math.min(offset + length, size);
  // Records from..to of the log are made, behind room for its header.
  const from = Math.max(0, Math.floor((offset - header) / each));
  const to = Math.max(from, Math.ceil((end - header) / each));
  const made = new Uint8Array(header + (to - from) * each);
  const into = viewOf(made);
  if (offset < header) {
    const dlpf = { extended: extended ? 1 : 0, portLocal: portLocal ? 1 : 0, allSubsystems: 0 };
    DiscoveryHeader.encode({ genctr, numrec: records.length, recfmt: 0, dlpf, tdlpl: size }, into, 0);
  }
  for (const [i, record] of records.slice(from, to).entries()) {
    const at = header + i * each;
    encode(record, into, at);
    if (extended) DiscoveryExtension.encode({ tel: each, numexat: 0 }, into, at + DiscoveryEntry.size);
  }
  const skip = offset - from * each;
  return made.subarray(skip, skip + end - offset);
}

function encode(record: DiscoveryRecord, view: DataView, at: number): void {
  const { subtype, portid, traddr, trsvcid, subnqn, duplicate } = record;
  DiscoveryEntry.encode(
    {
      trtype: Trtype.Tcp,
      adrfam: traddr.includes(':') ? Adrfam.Ipv6 : Adrfam.Ipv4,
      subtype,
      // "Not required" would be as true, but nvme-cli 2.3 takes it for a wish and asks its kernel for TLS.
      treq: { secureChannel: SecureChannel.NotSpecified, disableSqFlow: 1 },
      portid,
      cntlid: CNTLID_DYNAMIC,
      asqsz: 32,
      // A host may ask for a connection that stays, with KATO; that is so of our own discovery service.
      eflags: {
        dupretinfo: duplicate ? 1 : 0,
        epcsd: subtype === Subtype.CurrentDiscovery ? 1 : 0,
        ncc: 0,
      },
      trsvcid: String(trsvcid),
      subnqn,
      traddr,
    },
    view,
    at,
  );
}
