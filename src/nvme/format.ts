/** Commands, completions and PDUs as text for people: the trace, `npm run dump`. Everything comes from the tables. */
import { hex } from '../layout/field.ts';
import type { Field } from '../layout/field.ts';
import { fesName } from '../pdu/fault.ts';
import { C2HTermReq, CommonHeader, PDUS, PduType } from '../pdu/pdus.ts';
import { Cqe } from './cqe.ts';
import { eventName, eventOf } from './event.ts';
import {
  AuthenticationReceive,
  AuthenticationSend,
  Connect,
  ConnectInvalidResponse,
  ConnectResponse,
  Disconnect,
  FabricsSqe,
  PropertyGet,
  PropertyGetResponse,
  PropertySet,
} from './fabrics.ts';
import { FeatureId, featureDword, featureName } from './features.ts';
import { cnsName } from './identify.ts';
import { logName } from './logs.ts';
import { AdminOpcode, FABRICS_OPCODE, FabricsType, IoOpcode, commandName } from './opcode.ts';
import { Cap, Cc, Csts, Property } from './property.ts';
import {
  ReservationAcquire,
  ReservationRegister,
  ReservationRelease,
  ReservationReport,
} from './reservation.ts';
import {
  Abort,
  AsyncEventRequest,
  Cancel,
  Compare,
  Copy,
  DPTR,
  DatasetManagement,
  Flush,
  FormatNvm,
  GetFeatures,
  GetLogPage,
  Identify,
  KeepAlive,
  NamespaceAttachment,
  NamespaceManagement,
  ReadWrite,
  Sanitize,
  SetFeatures,
  Sgl,
  SglId,
  Sqe,
  Verify,
  WriteZeroes,
  logLength,
} from './sqe.ts';
import { Status, statusCode, statusName } from './status.ts';

/** As much of a structure as showing one takes. */
export interface Layout {
  readonly structName: string;
  readonly size: number;
  readonly fields: Readonly<Record<string, Field<never>>>;
  decode(view: DataView, at?: number): object;
  bytes(value: object): Uint8Array;
  format(view: DataView, at?: number): string;
}
const table = (entries: readonly (readonly [number, object])[]): ReadonlyMap<number, Layout> =>
  new Map(entries as readonly (readonly [number, Layout])[]);

const ADMIN = table([
  [AdminOpcode.GetLogPage, GetLogPage],
  [AdminOpcode.Identify, Identify],
  [AdminOpcode.Abort, Abort],
  [AdminOpcode.SetFeatures, SetFeatures],
  [AdminOpcode.GetFeatures, GetFeatures],
  [AdminOpcode.AsyncEventRequest, AsyncEventRequest],
  [AdminOpcode.NamespaceManagement, NamespaceManagement],
  [AdminOpcode.NamespaceAttachment, NamespaceAttachment],
  [AdminOpcode.KeepAlive, KeepAlive],
  [AdminOpcode.Format, FormatNvm],
  [AdminOpcode.Sanitize, Sanitize],
]);
const IO = table([
  [IoOpcode.Flush, Flush],
  [IoOpcode.Write, ReadWrite],
  [IoOpcode.Read, ReadWrite],
  [IoOpcode.Compare, Compare],
  [IoOpcode.WriteZeroes, WriteZeroes],
  [IoOpcode.Verify, Verify],
  [IoOpcode.DatasetManagement, DatasetManagement],
  [IoOpcode.Cancel, Cancel],
  [IoOpcode.Copy, Copy],
  [IoOpcode.ReservationRegister, ReservationRegister],
  [IoOpcode.ReservationReport, ReservationReport],
  [IoOpcode.ReservationAcquire, ReservationAcquire],
  [IoOpcode.ReservationRelease, ReservationRelease],
]);
const FABRICS = table([
  [FabricsType.PropertySet, PropertySet],
  [FabricsType.Connect, Connect],
  [FabricsType.PropertyGet, PropertyGet],
  [FabricsType.AuthenticationSend, AuthenticationSend],
  [FabricsType.AuthenticationReceive, AuthenticationReceive],
  [FabricsType.Disconnect, Disconnect],
]);

/** What a command is; enough to understand its completion and its data. */
export interface CommandKind {
  readonly admin: boolean;
  readonly opcode: number;
  /** FCTYPE, of fabrics commands. */
  readonly fctype: number;
  /** FID of Set and Get Features, OFST of Property Set and Get; else 0. */
  readonly selector: number;
}

export function commandKind(admin: boolean, sqe: DataView, at = 0): CommandKind {
  const opcode = Sqe.opc.get(sqe, at);
  const fabrics = opcode === FABRICS_OPCODE;
  const fctype = fabrics ? FabricsSqe.fctype.get(sqe, at) : 0;
  let selector = 0;
  if (fabrics && (fctype === FabricsType.PropertyGet || fctype === FabricsType.PropertySet))
    selector = PropertyGet.ofst.get(sqe, at);
  else if (admin && (opcode === AdminOpcode.SetFeatures || opcode === AdminOpcode.GetFeatures))
    selector = SetFeatures.fid.get(sqe, at);
  return { admin, opcode, fctype, selector };
}

/** The table of a command; `Sqe` or `FabricsSqe` when there is none of its own. */
export function sqeLayout({ admin, opcode, fctype }: CommandKind): Layout {
  if (opcode === FABRICS_OPCODE) return FABRICS.get(fctype) ?? (FabricsSqe as unknown as Layout);
  return (admin ? ADMIN : IO).get(opcode) ?? (Sqe as unknown as Layout);
}

/** The table of a completion, which for some commands gives dwords 0 and 1 a meaning. */
export function cqeLayout(kind: CommandKind | undefined, status: number): Layout {
  const plain = Cqe as unknown as Layout;
  if (kind?.opcode !== FABRICS_OPCODE) return plain;
  if (kind.fctype === FabricsType.PropertyGet) return PropertyGetResponse as unknown as Layout;
  if (kind.fctype !== FabricsType.Connect) return plain;
  if (status === Status.Success) return ConnectResponse as unknown as Layout;
  return statusCode(status) === Status.ConnectInvalidParameters
    ? (ConnectInvalidResponse as unknown as Layout)
    : plain;
}

const digits = (value: number): string => `${value.toString(16)}h`;
const isQuiet = (shown: string): boolean => shown === '' || shown === '0' || shown === '""';

/** `name value` of the fields that say something and are neither reserved nor in `skip`. */
function fieldsText(layout: Layout, skip: ReadonlySet<string>, view: DataView, at: number): string[] {
  return Object.entries(layout.fields)
    .filter(([name, field]) => !skip.has(name) && !field.reserved)
    .map(([name, field]) => [name, field.format(view, at)] as const)
    .filter(([, shown]) => !isQuiet(shown))
    .map(([name, shown]) => `${name} ${shown}`);
}

/** What DPTR says of the data: `512 bytes in the capsule`, `4096 bytes in transport`; '' for no data. */
function dataText(sqe: DataView, at: number): string {
  const length = Sgl.length.get(sqe, at + DPTR);
  const type = Sgl.type.word(sqe, at + DPTR);
  const address = Sgl.address.decode(sqe, at + DPTR);
  if (type === SglId.transport) return length === 0 ? '' : `${length} bytes in transport`;
  if (type === SglId.inCapsule)
    return `${length} bytes in the capsule${address === 0 ? '' : ` at ${address}`}`;
  return length === 0 && type === 0 && address === 0 ? '' : `SGL ${Sgl.format(sqe, at + DPTR)}`;
}

const SQE_SHOWN = new Set(['opc', 'flags', 'cid', 'fctype', 'dptr']);
const FEATURE_SHOWN = new Set([...SQE_SHOWN, 'fid', 'cdw11']);
const LOG_SHOWN = new Set([...SQE_SHOWN, 'lid', 'numdl', 'numdu']);
const IDENTIFY_SHOWN = new Set([...SQE_SHOWN, 'cns']);
const PROPERTY_SHOWN = new Set([...SQE_SHOWN, 'ofst', 'attrib', 'value']);

/** `Read cid 12, nsid 1, slba 8, nlb 8, 4096 bytes in transport`. 64 bytes of `sqe` are read, whatever they hold. */
export function formatSqe(admin: boolean, sqe: DataView, at = 0): string {
  const kind = commandKind(admin, sqe, at);
  const layout = sqeLayout(kind);
  const parts: string[] = [];
  let skip: ReadonlySet<string> = SQE_SHOWN;
  if (layout.structName === Identify.structName) {
    skip = IDENTIFY_SHOWN;
    const cns = Identify.cns.get(sqe, at);
    parts.push(`cns ${digits(cns)} ${cnsName(cns)}`);
  } else if (layout.structName === GetLogPage.structName) {
    skip = LOG_SHOWN;
    const lid = GetLogPage.lid.get(sqe, at);
    parts.push(`lid ${digits(lid)} ${logName(lid)}`, `${logLength(sqe, at)} bytes`);
  } else if (layout.structName === SetFeatures.structName || layout.structName === GetFeatures.structName) {
    skip = FEATURE_SHOWN;
    parts.push(`fid ${digits(kind.selector)} ${featureName(kind.selector)}`);
    const set = layout.structName === SetFeatures.structName;
    if (set) parts.push(featureText(kind.selector, SetFeatures.cdw11.get(sqe, at)));
  } else if (kind.fctype === FabricsType.PropertySet && kind.opcode === FABRICS_OPCODE) {
    skip = PROPERTY_SHOWN;
    parts.push(formatProperty(kind.selector, PropertySet.value.decode(sqe, at)));
  } else if (kind.fctype === FabricsType.PropertyGet && kind.opcode === FABRICS_OPCODE) {
    skip = PROPERTY_SHOWN;
    parts.push(propertyName(kind.selector));
  }
  const fuse = Sqe.flags.fuse.get(sqe, at);
  if (fuse !== 0) parts.push(['', 'fused first', 'fused second', 'fuse 3'][fuse]!);
  parts.push(...fieldsText(layout, skip, sqe, at));
  const hasDptr = 'dptr' in layout.fields;
  if (hasDptr) parts.push(dataText(sqe, at));
  const name = commandName(admin, kind.opcode, kind.fctype);
  return [`${name} cid ${Sqe.cid.get(sqe, at)}`, ...parts.filter((part) => !isQuiet(part))].join(', ');
}

function featureText(fid: number, dword: number): string {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, dword, true);
  return featureDword(fid)?.format(view) ?? (dword === 0 ? '' : `cdw11 ${digits(dword)}`);
}

const propertyName = (ofst: number): string =>
  Object.entries(Property).find(([, offset]) => offset === ofst)?.[0] ?? `property ${digits(ofst)}`;

/** `CC 460001h (cc en iosqes=6 iocqes=4)`. */
export function formatProperty(ofst: number, value: bigint): string {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, value, true);
  const layout = { [Property.CAP]: Cap, [Property.CC]: Cc, [Property.CSTS]: Csts }[ofst];
  const known =
    ofst === Property.VS
      ? `${view.getUint16(2, true)}.${view.getUint8(1)}.${view.getUint8(0)}`
      : (layout?.format(view) ?? '');
  return `${propertyName(ofst)} ${value.toString(16)}h${known === '' ? '' : ` (${known})`}`;
}

const CQE_SHOWN = new Set(['dw0', 'dw1', 'sqhd', 'cid', 'status', 'value', 'aet', 'aei', 'lid']);

/** `cid 12 Success, sqhd 3`. With what the command was, dwords 0 and 1 are told as what they mean. */
export function formatCqe(cqe: DataView, at = 0, command?: CommandKind): string {
  const status = Cqe.status.get(cqe, at) >>> 1;
  const layout = cqeLayout(command, status);
  const name = command === undefined ? '' : `${commandName(command.admin, command.opcode, command.fctype)} `;
  const parts = [`${name}cid ${Cqe.cid.get(cqe, at)} ${statusName(status)}`, `sqhd ${Cqe.sqhd.get(cqe, at)}`];
  const dw0 = Cqe.dw0.get(cqe, at);
  const dw1 = Cqe.dw1.get(cqe, at);
  if (layout.structName === PropertyGetResponse.structName && status === Status.Success)
    parts.push(formatProperty(command?.selector ?? 0, PropertyGetResponse.value.decode(cqe, at)));
  else if (layout.structName !== Cqe.structName) parts.push(...fieldsText(layout, CQE_SHOWN, cqe, at));
  else {
    const admin = command?.admin === true && status === Status.Success;
    if (admin && command.opcode === AdminOpcode.AsyncEventRequest) parts.push(eventName(eventOf(dw0)));
    else if (
      admin &&
      (command.opcode === AdminOpcode.GetFeatures || command.selector === FeatureId.NumberOfQueues)
    )
      parts.push(featureText(command.selector, dw0));
    else if (dw0 !== 0) parts.push(`dw0 ${digits(dw0)}`);
    if (dw1 !== 0) parts.push(`dw1 ${digits(dw1)}`);
  }
  return parts.filter((part) => !isQuiet(part)).join(', ');
}

const HEADER_SHOWN = new Set(['type', 'flags', 'hlen', 'pdo', 'plen', 'sqe', 'cqe', 'fes', 'fei']);

/** What surrounds a PDU: which queue it is on, and the command that a CID belongs to. */
export interface PduContext {
  readonly admin: boolean;
  commandOf(cid: number): CommandKind | undefined;
}
const NO_CONTEXT: PduContext = { admin: true, commandOf: () => undefined };

/** One line for a PDU given its header. Says so when the header is cut short or the type unknown. */
export function formatPdu(header: DataView, context: PduContext = NO_CONTEXT): string {
  if (header.byteLength < CommonHeader.size) return `${header.byteLength} bytes, less than a PDU header`;
  const type = CommonHeader.type.get(header, 0);
  const info = PDUS[type];
  if (info === undefined) return `PDU type ${digits(type)}: ${hex(bytesOf(header, 0, 64))}`;
  if (header.byteLength < info.hlen)
    return `${info.name}: ${header.byteLength} of ${info.hlen} header bytes: ${hex(bytesOf(header, 0, 128))}`;
  const flags = CommonHeader.flags.format(header, 0);
  const plen = CommonHeader.plen.get(header, 0);
  const start = `${info.name} ${plen} bytes${flags === '' ? '' : ` [${flags}]`}`;
  if (type === PduType.CapsuleCmd) return `${start} ${formatSqe(context.admin, header, CommonHeader.size)}`;
  if (type === PduType.CapsuleResp) {
    const command = context.commandOf(Cqe.cid.get(header, CommonHeader.size));
    return `${start} ${formatCqe(header, CommonHeader.size, command)}`;
  }
  const layout = info.layout as unknown as Layout;
  const parts = fieldsText(layout, HEADER_SHOWN, header, 0);
  if (type === PduType.H2CTermReq || type === PduType.C2HTermReq)
    parts.unshift(`${fesName(C2HTermReq.fes.get(header, 0))}, fei ${digits(C2HTermReq.fei.get(header, 0))}`);
  return parts.length === 0 ? start : `${start} ${parts.join(', ')}`;
}

const bytesOf = (view: DataView, from: number, most: number): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset + from, Math.min(most, view.byteLength - from));
