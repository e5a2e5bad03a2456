/**
 * The lists that Identify answers with, and the namespace identification descriptors (NVMe Base 2.1, sections 4.6 and
 * 5.1.13.2.3). The decoders take what a controller sent and throw DecodeError when it cannot be right.
 */
import { array } from '../layout/array.ts';
import { hex, reserved, u64, u8, uuidBytes } from '../layout/field.ts';
import { struct, viewOf } from '../layout/struct.ts';
import { DecodeError } from './decode-error.ts';
import { IDENTIFY_SIZE } from './identify.ts';

/** Entries in a namespace list. */
export const MAX_NSID_LIST = IDENTIFY_SIZE / 4;
/** Entries in a controller list. */
export const MAX_CONTROLLER_LIST = IDENTIFY_SIZE / 2 - 1;

/** CNS 02h, 07h, 10h: up to 1024 NSIDs in increasing order; more are left out. */
export function encodeNsidList(nsids: readonly number[]): Uint8Array {
  const made = new Uint8Array(IDENTIFY_SIZE);
  const view = viewOf(made);
  nsids.slice(0, MAX_NSID_LIST).forEach((nsid, i) => view.setUint32(4 * i, nsid, true));
  return made;
}

/** Throws DecodeError when the list is not in increasing order or names the broadcast NSID. */
export function decodeNsidList(list: Uint8Array): number[] {
  const view = viewOf(list);
  const nsids: number[] = [];
  let last = 0;
  for (let at = 0; at + 4 <= list.length && nsids.length < MAX_NSID_LIST; at += 4) {
    const nsid = view.getUint32(at, true);
    if (nsid === 0) break;
    if (nsid <= last) throw new DecodeError(`namespace list: NSID ${nsid} follows ${last}`);
    if (nsid === 0xffffffff) throw new DecodeError('namespace list: NSID FFFFFFFFh');
    nsids.push(nsid);
    last = nsid;
  }
  return nsids;
}

/** CNS 12h and 13h: up to 2047 controller IDs in increasing order; more are left out. */
export function encodeControllerList(cntlids: readonly number[]): Uint8Array {
  const made = new Uint8Array(IDENTIFY_SIZE);
  const view = viewOf(made);
  const kept = cntlids.slice(0, MAX_CONTROLLER_LIST);
  view.setUint16(0, kept.length, true);
  kept.forEach((cntlid, i) => view.setUint16(2 + 2 * i, cntlid, true));
  return made;
}

/** Throws DecodeError when the count or the order cannot be right. */
export function decodeControllerList(list: Uint8Array): number[] {
  const view = viewOf(list);
  const count = list.length < 2 ? 0 : view.getUint16(0, true);
  if (count > MAX_CONTROLLER_LIST || (count > 0 && 2 + 2 * count > list.length))
    throw new DecodeError(`controller list: ${count} entries in ${list.length} bytes`);
  const cntlids: number[] = [];
  for (let i = 0; i < count; i++) {
    const cntlid = view.getUint16(2 + 2 * i, true);
    const last = cntlids.at(-1);
    if (last !== undefined && cntlid <= last)
      throw new DecodeError(`controller list: controller ${cntlid} follows ${last}`);
    cntlids.push(cntlid);
  }
  return cntlids;
}

/** Namespace Identifier Type (NIDT). */
export const Nidt = { Eui64: 1, Nguid: 2, Uuid: 3, Csi: 4 } as const;

/** The head of a namespace identification descriptor; NIDL bytes of identifier follow. */
export const DescriptorHead = struct('DescriptorHead', 4, {
  nidt: [0, u8('Namespace Identifier Type (NIDT)')],
  nidl: [1, u8('Namespace Identifier Length (NIDL)')],
  rsvd2: [2, reserved(2)],
});

/** What CNS 03h tells about a namespace. */
export interface NamespaceIds {
  /** 8 bytes, big endian. */
  eui64?: Uint8Array;
  /** 16 bytes, big endian. */
  nguid?: Uint8Array;
  /** Lower-case text. */
  uuid?: string;
  /** Command Set Identifier. */
  csi?: number;
}

/** CNS 03h. An identifier that is left out or all zero is not reported. Throws RangeError when one has the wrong length. */
export function encodeNamespaceIds(ids: NamespaceIds): Uint8Array {
  const made = new Uint8Array(IDENTIFY_SIZE);
  let at = 0;
  const add = (nidt: number, size: number, nid: Uint8Array | undefined): void => {
    if (nid === undefined) return;
    if (nid.length !== size)
      throw new RangeError(`identifier type ${nidt}: ${nid.length} bytes, not ${size}`);
    if (nidt !== Nidt.Csi && nid.every((byte) => byte === 0)) return;
    DescriptorHead.encode({ nidt, nidl: size }, viewOf(made), at);
    made.set(nid, at + 4);
    at += 4 + size;
  };
  add(Nidt.Eui64, 8, ids.eui64);
  add(Nidt.Nguid, 16, ids.nguid);
  if (ids.uuid !== undefined) add(Nidt.Uuid, 16, uuidBytes(ids.uuid) ?? new Uint8Array(0));
  if (ids.csi !== undefined) add(Nidt.Csi, 1, Uint8Array.of(ids.csi));
  return made;
}

/**
 * Types that are not known are skipped; identifiers that are all zero are "not reported". Throws DecodeError when a
 * descriptor has the wrong length, runs past the end, or tells something else than an earlier one of its type.
 */
export function decodeNamespaceIds(list: Uint8Array): NamespaceIds {
  const view = viewOf(list);
  const ids: NamespaceIds = {};
  const seen = new Map<number, string>();
  for (let at = 0; at + 4 <= list.length;) {
    const nidt = DescriptorHead.nidt.get(view, at);
    const nidl = DescriptorHead.nidl.get(view, at);
    if (nidt === 0 || nidl === 0) break;
    const start = at + 4;
    at = start + nidl;
    if (at > list.length)
      throw new DecodeError(`identifier type ${nidt}: ${nidl} bytes run past the end of the list`);
    const expected = [0, 8, 16, 16, 1][nidt];
    if (expected === undefined) continue;
    if (nidl !== expected) throw new DecodeError(`identifier type ${nidt}: ${nidl} bytes, not ${expected}`);
    const nid = new Uint8Array(list.subarray(start, at));
    const digits = hex(nid);
    if ((seen.get(nidt) ?? digits) !== digits)
      throw new DecodeError(`two different identifiers of type ${nidt}`);
    seen.set(nidt, digits);
    if (nidt === Nidt.Csi) ids.csi = nid[0]!;
    else if (/^0+$/.test(digits)) continue;
    else if (nidt === Nidt.Eui64) ids.eui64 = nid;
    else if (nidt === Nidt.Nguid) ids.nguid = nid;
    else ids.uuid = digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  }
  return ids;
}

/** CNS 1Ch: each entry is one combination of I/O command sets, a bit per CSI. */
export const IdCommandSets = struct('IdCommandSets', IDENTIFY_SIZE, {
  iocsc: [0, array(512, u64('I/O Command Set Combination (IOCSC)'))],
});
