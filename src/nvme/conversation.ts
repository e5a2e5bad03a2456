/**
 * Follows one connection from outside, PDU by PDU, and tells what each means: Connect says which queue it is, and each
 * CID is remembered until its completion, so that completions and data can be told as what they are.
 */
import { hex } from '../layout/field.ts';
import { viewOf } from '../layout/struct.ts';
import { C2HData, CapsuleCmd, CapsuleResp, H2CData, PduType } from '../pdu/pdus.ts';
import { AnaGroupDescriptor, AnaLogHeader, anaStateName, decodeAnaLog } from './ana-log.ts';
import { Cqe } from './cqe.ts';
import { DecodeError } from './decode-error.ts';
import { DiscoveryEntry, DiscoveryHeader } from './discovery.ts';
import { Connect, ConnectData } from './fabrics.ts';
import { FeatureId, HostBehaviorData, HostIdentifierData, TimestampData } from './features.ts';
import { commandKind, formatPdu, type CommandKind, type Layout, type PduContext } from './format.ts';
import { Cns } from './identify.ts';
import { IdController } from './identify-controller.ts';
import {
  IndependentIdNamespace,
  IdNamespace,
  NvmIdController,
  NvmIdNamespace,
} from './identify-namespace.ts';
import { IdCommandSets, decodeControllerList, decodeNamespaceIds, decodeNsidList } from './identify-lists.ts';
import {
  CommandEffectsLog,
  ErrorLogEntry,
  FeatureEffectsLog,
  FirmwareSlotLog,
  LogId,
  ReservationLog,
  SmartLog,
  SupportedLogs,
} from './logs.ts';
import { AdminOpcode, FABRICS_OPCODE, FabricsType, IoOpcode } from './opcode.ts';
import {
  AcquireData,
  RegisterData,
  RegistrantEntryExtended,
  ReleaseData,
  ReservationStatusExtended,
} from './reservation.ts';
import { DsmRange, GetLogPage, Identify } from './sqe.ts';

const IDENTIFY = new Map<number, object>([
  [Cns.Namespace, IdNamespace],
  [Cns.Controller, IdController],
  [Cns.CsNamespace, NvmIdNamespace],
  [Cns.CsController, NvmIdController],
  [Cns.CsIndependentNamespace, IndependentIdNamespace],
  [Cns.CommandSets, IdCommandSets],
  [Cns.AllocatedNamespace, IdNamespace],
]) as ReadonlyMap<number, Layout>;
/** Log pages that are one structure, or a list of one. */
const LOGS = new Map<number, object>([
  [LogId.SupportedPages, SupportedLogs],
  [LogId.Error, ErrorLogEntry],
  [LogId.Smart, SmartLog],
  [LogId.FirmwareSlot, FirmwareSlotLog],
  [LogId.CommandEffects, CommandEffectsLog],
  [LogId.FeatureEffects, FeatureEffectsLog],
  [LogId.Reservation, ReservationLog],
]) as ReadonlyMap<number, Layout>;
/** Data of I/O commands that is not the user's. */
const IO = new Map<number, object>([
  [IoOpcode.ReservationRegister, RegisterData],
  [IoOpcode.ReservationAcquire, AcquireData],
  [IoOpcode.ReservationRelease, ReleaseData],
]) as ReadonlyMap<number, Layout>;
const FEATURES = new Map<number, object>([
  [FeatureId.Timestamp, TimestampData],
  [FeatureId.HostBehavior, HostBehaviorData],
  [FeatureId.HostIdentifier, HostIdentifierData],
]) as ReadonlyMap<number, Layout>;

/** A command that waits for its completion. */
export interface Followed extends CommandKind {
  /** CNS of Identify, LID of Get Log Page; else 0. */
  readonly page: number;
  /** LPO of Get Log Page; else 0. */
  readonly offset: number;
}

/** A structure in a command's data. */
export interface Placed {
  readonly layout: Layout;
  readonly at: number;
}

/** The structures that `data`, the first bytes of what `command` moves, consists of; none when it is user data or a list. */
export function dataLayouts(command: Followed, data: Uint8Array): Placed[] {
  const { admin, opcode, fctype, page, offset, selector } = command;
  const repeated = (layout: object, from = 0): Placed[] => {
    const { size } = layout as Layout;
    const count = Math.floor((data.length - from) / size);
    return Array.from({ length: Math.max(0, count) }, (_, i) => ({
      layout: layout as Layout,
      at: from + i * size,
    }));
  };
  if (opcode === FABRICS_OPCODE) return fctype === FabricsType.Connect ? repeated(ConnectData) : [];
  const single = (layout: Layout | undefined): Placed[] =>
    layout === undefined || data.length < layout.size ? [] : [{ layout, at: 0 }];
  if (!admin && opcode === IoOpcode.DatasetManagement) return repeated(DsmRange);
  if (!admin && opcode === IoOpcode.ReservationReport)
    return [
      ...single(ReservationStatusExtended as unknown as Layout),
      ...repeated(RegistrantEntryExtended, ReservationStatusExtended.size),
    ];
  if (!admin) return single(IO.get(opcode));
  if (opcode === AdminOpcode.Identify) return single(IDENTIFY.get(page));
  if (opcode === AdminOpcode.SetFeatures || opcode === AdminOpcode.GetFeatures)
    return single(FEATURES.get(selector));
  if (opcode !== AdminOpcode.GetLogPage) return [];
  if (page === LogId.Discovery) {
    if (offset >= DiscoveryHeader.size && offset % DiscoveryEntry.size === 0) return repeated(DiscoveryEntry);
    if (offset !== 0) return [];
    return [
      ...single(DiscoveryHeader as unknown as Layout),
      ...repeated(DiscoveryEntry, DiscoveryHeader.size),
    ];
  }
  if (offset !== 0) return [];
  if (page === LogId.Ana) return anaLayouts(data);
  return page === LogId.Error ? repeated(ErrorLogEntry) : single(LOGS.get(page));
}

function anaLayouts(data: Uint8Array): Placed[] {
  if (data.length < AnaLogHeader.size) return [];
  const view = viewOf(data);
  const placed: Placed[] = [{ layout: AnaLogHeader as unknown as Layout, at: 0 }];
  let at = AnaLogHeader.size;
  for (let i = AnaLogHeader.nagd.get(view, 0); i > 0 && at + AnaGroupDescriptor.size <= data.length; i--) {
    placed.push({ layout: AnaGroupDescriptor as unknown as Layout, at });
    at += AnaGroupDescriptor.size + 4 * AnaGroupDescriptor.nnsidv.get(view, at);
  }
  return placed;
}

export class Conversation implements PduContext {
  /** Unknown until a Connect was seen. */
  qid: number | undefined = undefined;
  hostnqn = '';
  subnqn = '';
  readonly #commands = new Map<number, Followed>();

  get admin(): boolean {
    return this.qid === undefined || this.qid === 0;
  }
  commandOf(cid: number): Followed | undefined {
    return this.#commands.get(cid);
  }

  /** The lines that tell of a PDU whose header is whole: one, and more for data with a structure. */
  pdu(type: number, header: DataView, data: Uint8Array): string[] {
    const command = this.#follow(type, header, data);
    const lines = [formatPdu(header, this)];
    if (data.length > 0)
      lines.push(...this.#dataText(type, header, command, data).map((line) => `    ${line}`));
    if (type === PduType.CapsuleResp) this.#commands.delete(Cqe.cid.get(header, CapsuleResp.cqe.offset));
    return lines;
  }

  /** The command that a PDU belongs to. Call it, or `pdu`, once for each PDU in the order of the wire. */
  #follow(type: number, header: DataView, data: Uint8Array): Followed | undefined {
    if (type === PduType.H2CData || type === PduType.C2HData)
      return this.#commands.get(H2CData.cccid.get(header, 0));
    if (type !== PduType.CapsuleCmd) return undefined;
    const at = CapsuleCmd.sqe.offset;
    let kind = commandKind(this.admin, header, at);
    if (kind.opcode === FABRICS_OPCODE && kind.fctype === FabricsType.Connect) {
      this.qid = Connect.qid.get(header, at);
      kind = { ...kind, admin: this.admin };
      if (data.length >= ConnectData.size) {
        this.hostnqn = ConnectData.hostnqn.decode(viewOf(data), 0);
        this.subnqn = ConnectData.subnqn.decode(viewOf(data), 0);
      }
    }
    let page = 0;
    let offset = 0;
    if (kind.admin && kind.opcode === AdminOpcode.Identify) page = Identify.cns.get(header, at);
    if (kind.admin && kind.opcode === AdminOpcode.GetLogPage) {
      page = GetLogPage.lid.get(header, at);
      offset = GetLogPage.lpo.get(header, at);
    }
    const command = { ...kind, page, offset };
    this.#commands.set(Connect.cid.get(header, at), command);
    return command;
  }

  #dataText(type: number, header: DataView, command: Followed | undefined, data: Uint8Array): string[] {
    if (command === undefined) return [preview(data)];
    const datao =
      type === PduType.C2HData
        ? C2HData.datao.get(header, 0)
        : type === PduType.H2CData
          ? H2CData.datao.get(header, 0)
          : 0;
    if (datao !== 0) return [preview(data)];
    try {
      const list = listText(command, data);
      if (list !== undefined) return [list];
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      return [error.message, preview(data)];
    }
    const view = viewOf(data);
    const placed = dataLayouts(command, data);
    if (placed.length === 0) return [preview(data)];
    return placed.map(({ layout, at }) => `${layout.structName}: ${layout.format(view, at)}`);
  }
}

/** Lists, which have no table of their own. Throws DecodeError. */
function listText({ admin, opcode, page, offset }: Followed, data: Uint8Array): string | undefined {
  if (!admin) return undefined;
  if (opcode === AdminOpcode.Identify) {
    switch (page) {
      case Cns.ActiveNamespaces:
      case Cns.CsActiveNamespaces:
      case Cns.AllocatedNamespaces:
        return `namespaces ${decodeNsidList(data).join(' ')}`;
      case Cns.AttachedControllers:
      case Cns.Controllers:
        return `controllers ${decodeControllerList(data).join(' ')}`;
      case Cns.NamespaceDescriptors:
        return Object.entries(decodeNamespaceIds(data))
          .map(
            ([name, id]: [string, unknown]) => `${name} ${id instanceof Uint8Array ? hex(id) : String(id)}`,
          )
          .join(', ');
    }
  }
  if (opcode !== AdminOpcode.GetLogPage || offset !== 0) return undefined;
  if (page === LogId.ChangedNamespaces && data.length >= 4)
    return viewOf(data).getUint32(0, true) === 0xffffffff
      ? 'more than fit'
      : `changed ${decodeNsidList(data).join(' ')}`;
  if (page === LogId.Ana && data.length > AnaLogHeader.size) {
    const { chgcnt, groups } = decodeAnaLog(data, { anagrpmax: 0xffffffff, nn: 0xffffffff });
    const told = groups
      .filter(({ nsids }) => nsids.length > 0)
      .map(({ agid, state, nsids }) => `group ${agid} ${anaStateName(state)}: ${nsids.join(' ')}`);
    return [`chgcnt ${chgcnt}, ${groups.length} groups`, ...told].join('; ');
  }
  return undefined;
}

function preview(data: Uint8Array): string {
  const shown = hex(data.subarray(0, 32));
  return `${data.length} bytes: ${shown}${data.length > 32 ? '…' : ''}`;
}
