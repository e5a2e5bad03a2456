/** The commands that we send, put into requests. Each begins the request anew; data is added by whoever has it. */
import { AdminOpcode, FABRICS_OPCODE, FabricsType, IoOpcode } from '../nvme/opcode.ts';
import {
  Abort,
  DatasetManagement,
  DsmRange,
  GetFeatures,
  GetLogPage,
  Identify,
  ReadWrite,
  SetFeatures,
  SqeHead,
  WriteZeroes,
} from '../nvme/sqe.ts';
import { Connect, ConnectData, FabricsSqe, PropertyGet, PropertySet } from '../nvme/fabrics.ts';
import { IDENTIFY_SIZE } from '../nvme/identify.ts';
import { PROPERTY_SIZE } from '../nvme/property.ts';
import { viewOf } from '../layout/struct.ts';
import type { Direction, Request } from './request.ts';

/** A run of blocks; `blocks` is a count. */
export interface BlockRange {
  readonly slba: number;
  readonly blocks: number;
}

// ---- I/O

export function readWrite(
  request: Request,
  write: boolean,
  nsid: number,
  slba: number,
  blocks: number,
  fua: boolean,
): void {
  const { view } = request;
  request.begin(write ? IoOpcode.Write : IoOpcode.Read);
  ReadWrite.nsid.set(view, 0, nsid);
  ReadWrite.slba.set(view, 0, slba);
  ReadWrite.nlb.set(view, 0, blocks);
  if (fua) ReadWrite.cdw12.fua.set(view, 0, 1);
}

/** The controller compares what it has with the data that is added. */
export function compare(request: Request, nsid: number, slba: number, blocks: number): void {
  const { view } = request;
  request.begin(IoOpcode.Compare);
  ReadWrite.nsid.set(view, 0, nsid);
  ReadWrite.slba.set(view, 0, slba);
  ReadWrite.nlb.set(view, 0, blocks);
}

/** An I/O command that is sent as it is: reservations, and what we do not know. */
export interface RawCommand {
  readonly opcode: number;
  /** Command Dwords 10 to 15; what is left out is 0. */
  readonly dwords: readonly number[];
  readonly direction: Direction;
  /**
   * It changes media, reservations or the namespace. Which blocks is not known, so none are kept from others: when its
   * path is lost, its outcome is unknown, unless `write_failover` is immediate.
   */
  readonly changes: boolean;
  /** Carried out twice, or first in part, it ends as it does once. */
  readonly repeatable: boolean;
}

export function raw(
  request: Request,
  nsid: number,
  { opcode, dwords, direction }: RawCommand,
  buffers: readonly Uint8Array[],
): void {
  const { view } = request;
  request.begin(opcode);
  SqeHead.nsid.set(view, 0, nsid);
  dwords.slice(0, 6).forEach((dword, i) => view.setUint32(40 + 4 * i, dword, true));
  if (direction !== 'none') for (const buffer of buffers) request.add(direction, buffer);
}

/** Makes it the first (1) or second (2) command of a fused pair; they go one right behind the other, on one queue. */
export function fuse(request: Request, half: 1 | 2): void {
  SqeHead.flags.fuse.set(request.view, 0, half);
}

export function flush(request: Request, nsid: number): void {
  request.begin(IoOpcode.Flush);
  SqeHead.nsid.set(request.view, 0, nsid);
}

/** `deallocate`: the controller may give the blocks up (DEAC). */
export function writeZeroes(
  request: Request,
  nsid: number,
  slba: number,
  blocks: number,
  flags: { readonly deallocate: boolean; readonly fua: boolean },
): void {
  const { view } = request;
  request.begin(IoOpcode.WriteZeroes);
  WriteZeroes.nsid.set(view, 0, nsid);
  WriteZeroes.slba.set(view, 0, slba);
  WriteZeroes.nlb.set(view, 0, blocks);
  if (flags.deallocate) WriteZeroes.cdw12.deac.set(view, 0, 1);
  if (flags.fua) WriteZeroes.cdw12.fua.set(view, 0, 1);
}

/** Dataset Management with AD: up to 256 ranges. */
export function deallocate(request: Request, nsid: number, ranges: readonly BlockRange[]): void {
  const { view } = request;
  request.begin(IoOpcode.DatasetManagement);
  DatasetManagement.nsid.set(view, 0, nsid);
  DatasetManagement.nr.set(view, 0, ranges.length);
  DatasetManagement.cdw11.ad.set(view, 0, 1);
  const list = new Uint8Array(ranges.length * DsmRange.size);
  const at = viewOf(list);
  ranges.forEach(({ slba, blocks }, i) => {
    DsmRange.slba.set(at, i * DsmRange.size, slba);
    DsmRange.length.set(at, i * DsmRange.size, blocks);
  });
  request.add('out', list);
}

// ---- admin

/** The answer lands in the request's only part. */
export function identify(request: Request, cns: number, nsid: number, csi = 0): Uint8Array {
  const { view } = request;
  request.begin(AdminOpcode.Identify);
  Identify.nsid.set(view, 0, nsid);
  Identify.cns.set(view, 0, cns);
  Identify.csi.set(view, 0, csi);
  const into = new Uint8Array(IDENTIFY_SIZE);
  request.add('in', into);
  return into;
}

/** `rae`: keep the event that goes with the log masked (Retain Asynchronous Event). `length`: a multiple of 4. */
export function getLogPage(
  request: Request,
  lid: number,
  nsid: number,
  offset: number,
  length: number,
  rae: boolean,
): Uint8Array {
  const { view } = request;
  request.begin(AdminOpcode.GetLogPage);
  GetLogPage.nsid.set(view, 0, nsid);
  GetLogPage.lid.set(view, 0, lid);
  GetLogPage.cdw10.rae.set(view, 0, rae ? 1 : 0);
  const dwords = length / 4 - 1;
  GetLogPage.numdl.set(view, 0, dwords & 0xffff);
  GetLogPage.numdu.set(view, 0, dwords >>> 16);
  GetLogPage.lpo.set(view, 0, offset);
  const into = new Uint8Array(length);
  request.add('in', into);
  return into;
}

export function setFeatures(request: Request, fid: number, cdw11: number): void {
  request.begin(AdminOpcode.SetFeatures);
  SetFeatures.fid.set(request.view, 0, fid);
  SetFeatures.cdw11.set(request.view, 0, cdw11);
}

/** The current value. */
export function getFeatures(request: Request, fid: number, nsid: number): void {
  request.begin(AdminOpcode.GetFeatures);
  GetFeatures.nsid.set(request.view, 0, nsid);
  GetFeatures.fid.set(request.view, 0, fid);
}

/** `cid`: of the command on queue `sqid` that is to be aborted. */
export function abort(request: Request, sqid: number, cid: number): void {
  request.begin(AdminOpcode.Abort);
  Abort.sqid.set(request.view, 0, sqid);
  Abort.abortCid.set(request.view, 0, cid);
  request.urgent = true;
}

export function asyncEventRequest(request: Request): void {
  request.begin(AdminOpcode.AsyncEventRequest);
}

export function keepAlive(request: Request): void {
  request.begin(AdminOpcode.KeepAlive);
  request.urgent = true;
}

// ---- fabrics

export interface ConnectParameters {
  readonly qid: number;
  readonly entries: number;
  readonly disableSqFlow: boolean;
  /** Milliseconds; the admin queue's only. */
  readonly kato: number;
  readonly cntlid: number;
  readonly hostid: string;
  readonly hostnqn: string;
  readonly subnqn: string;
}

export function connect(request: Request, parameters: ConnectParameters): void {
  const { view } = request;
  const { qid, entries, disableSqFlow, kato, ...data } = parameters;
  fabrics(request, FabricsType.Connect);
  Connect.qid.set(view, 0, qid);
  Connect.sqsize.set(view, 0, entries - 1);
  Connect.cattr.disableSqFlow.set(view, 0, disableSqFlow ? 1 : 0);
  Connect.kato.set(view, 0, kato);
  request.add('out', ConnectData.bytes(data));
}

export function propertyGet(request: Request, offset: number): void {
  fabrics(request, FabricsType.PropertyGet);
  PropertyGet.ofst.set(request.view, 0, offset);
  PropertyGet.attrib.psz.set(request.view, 0, PROPERTY_SIZE.get(offset) === 8 ? 1 : 0);
}

/** For the properties of 32 bits; those of 64 are read-only. */
export function propertySet(request: Request, offset: number, value: number): void {
  fabrics(request, FabricsType.PropertySet);
  PropertySet.ofst.set(request.view, 0, offset);
  request.view.setUint32(PropertySet.value.offset, value, true);
}

function fabrics(request: Request, fctype: number): void {
  request.begin(FABRICS_OPCODE);
  FabricsSqe.fctype.set(request.view, 0, fctype);
}
