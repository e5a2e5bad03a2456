/** Commands encoded beforehand, so that asking costs a client next to nothing. */
import { viewOf } from '../../src/layout/struct.ts';
import { Connect, ConnectData, PropertySet } from '../../src/nvme/fabrics.ts';
import { Cns, IDENTIFY_SIZE } from '../../src/nvme/identify.ts';
import { AdminOpcode, FABRICS_OPCODE, FabricsType, IoOpcode } from '../../src/nvme/opcode.ts';
import { Property } from '../../src/nvme/property.ts';
import { Identify, ReadWrite, SglId, SqeHead } from '../../src/nvme/sqe.ts';
import { H2CData, ICReq, PduType } from '../../src/pdu/pdus.ts';
import { crc32c } from '../../src/runtime/crc32c.ts';
import { BLOCK, IN_CAPSULE, READS_OF_100, SIZE, type Work } from './work.ts';

const HOSTNQN = 'nqn.2014-08.org.nvmexpress:bench-host';
const HOSTID = '00000000-0000-4000-8000-';
const HDGST = 1;
const DDGST = 2;
const DIGEST = 4;

const sgl = (id: number, length: number) => ({ length, type: { type: id >> 4, subtype: id & 15 } });
const NOTHING = new Uint8Array(0);

/** A PDU: header, its digest, data, its digest. */
function pdu(
  type: number,
  hlen: number,
  fill: (pdu: Uint8Array) => void,
  data: Uint8Array,
  digests: boolean,
): Uint8Array {
  const start = hlen + (digests ? DIGEST : 0);
  const hasData = data.length > 0;
  const bytes = new Uint8Array(start + data.length + (digests && hasData ? DIGEST : 0));
  const view = viewOf(bytes);
  fill(bytes);
  bytes.set([
    type,
    (bytes[1] ?? 0) | (digests ? HDGST | (hasData ? DDGST : 0) : 0),
    hlen,
    hasData ? start : 0,
  ]);
  view.setUint32(4, bytes.length, true);
  bytes.set(data, start);
  if (digests) {
    view.setUint32(hlen, crc32c(bytes.subarray(0, hlen), 0), true);
    if (hasData) view.setUint32(bytes.length - DIGEST, crc32c(data, 0), true);
  }
  return bytes;
}

function capsule(sqe: Uint8Array, data: Uint8Array, digests: boolean): Uint8Array {
  const fill = (bytes: Uint8Array): void => {
    bytes.set(sqe, 8);
    SqeHead.flags.psdt.set(viewOf(bytes), 8, 1);
  };
  return pdu(PduType.CapsuleCmd, 72, fill, data, digests);
}

export const icReq = (digests: boolean): Uint8Array =>
  ICReq.bytes({
    type: PduType.ICReq,
    hlen: 128,
    plen: 128,
    dgst: { hdgst: digests ? 1 : 0, ddgst: digests ? 1 : 0 },
  });

/** `depth`: commands at once, one less than the queue has entries. `host`: which of many hosts it is. */
export function connectCapsule(
  nqn: string,
  qid: number,
  cntlid: number,
  depth: number,
  digests: boolean,
  host = 0,
): Uint8Array {
  const hostid = `${HOSTID}${String(host).padStart(12, '0')}`;
  const data = ConnectData.bytes({ hostid, hostnqn: `${HOSTNQN}-${host}`, subnqn: nqn, cntlid });
  const sqe = Connect.bytes({
    opc: FABRICS_OPCODE,
    fctype: FabricsType.Connect,
    dptr: sgl(SglId.inCapsule, data.length),
    qid,
    sqsize: qid === 0 ? 31 : depth,
    cattr: { disableSqFlow: 1 },
  });
  return capsule(sqe, data, digests);
}

/** CC.EN. */
export function enableCapsule(digests: boolean): Uint8Array {
  const sqe = PropertySet.bytes({
    opc: FABRICS_OPCODE,
    fctype: FabricsType.PropertySet,
    ofst: Property.CC,
    value: 0x460001n,
  });
  return capsule(sqe, NOTHING, digests);
}

export function identifyCapsule(digests: boolean): Uint8Array {
  const sqe = Identify.bytes({
    opc: AdminOpcode.Identify,
    dptr: sgl(SglId.transport, IDENTIFY_SIZE),
    cns: Cns.Controller,
  });
  return capsule(sqe, NOTHING, digests);
}

/** Enough that their CIDs, which follow each other, are free again long before their turn comes. */
export const COMMANDS = 2048;

/** Commands one behind the other; command `i` has CID `i`. Any number of queues may send them. */
export class Encoded {
  readonly bytes: Uint8Array;
  readonly starts = new Uint32Array(COMMANDS + 1);
  readonly data: Uint8Array;
  readonly digests: boolean;

  /** `namespaces`: asked for in turn, `span` bytes from the beginning of each. */
  constructor(work: Work, seed: number, namespaces = 1, span = SIZE / namespaces) {
    const { bytes, kind, digests } = work;
    this.data = new Uint8Array(bytes).fill(7);
    this.digests = digests;
    const places = span / bytes;
    const inCapsule = bytes <= IN_CAPSULE;
    const capsules: Uint8Array[] = [];
    let random = seed;
    for (let cid = 0; cid < COMMANDS; cid++) {
      random = (Math.imul(random, 1103515245) + 12345) >>> 0;
      const write = kind.endsWith('write') || (kind === 'randrw' && (random >>> 4) % 100 >= READS_OF_100);
      const place = kind.startsWith('rand') ? (random >>> 8) % places : (seed + cid) % places;
      const sqe = ReadWrite.bytes({
        opc: write ? IoOpcode.Write : IoOpcode.Read,
        cid,
        nsid: 1 + (cid % namespaces),
        slba: (place * bytes) / BLOCK,
        nlb: bytes / BLOCK,
        dptr: sgl(write && inCapsule ? SglId.inCapsule : SglId.transport, bytes),
      });
      const made = capsule(sqe, write && inCapsule ? this.data : NOTHING, digests);
      this.starts[cid + 1] = this.starts[cid]! + made.length;
      capsules.push(made);
    }
    this.bytes = new Uint8Array(Buffer.concat(capsules));
  }
}

/** One queue's way through them, over and over again. */
export class Commands {
  readonly #encoded: Encoded;
  #next: number;

  constructor(encoded: Encoded, first = 0) {
    this.#encoded = encoded;
    this.#next = first % COMMANDS;
  }

  /** The next `count` commands, in one piece or two; they may be sent again before they have left. */
  take(count: number, into: (cid: number) => void, send: (bytes: Uint8Array) => void): void {
    const { bytes, starts } = this.#encoded;
    while (count > 0) {
      const from = this.#next;
      const to = Math.min(from + count, COMMANDS);
      for (let cid = from; cid < to; cid++) into(cid);
      send(bytes.subarray(starts[from], starts[to]));
      count -= to - from;
      this.#next = to % COMMANDS;
    }
  }

  /** The data that an R2T asks for. */
  data(cid: number, tag: number, offset: number, length: number): Uint8Array[] {
    const fill = (bytes: Uint8Array): void => {
      const view = viewOf(bytes);
      bytes[1] = 4;
      H2CData.cccid.set(view, 0, cid);
      H2CData.ttag.set(view, 0, tag);
      H2CData.datao.set(view, 0, offset);
      H2CData.datal.set(view, 0, length);
    };
    const data = this.#encoded.data.subarray(0, length);
    if (this.#encoded.digests) return [pdu(PduType.H2CData, 24, fill, data, true)];
    const header = pdu(PduType.H2CData, 24, fill, NOTHING, false);
    header[3] = 24;
    viewOf(header).setUint32(4, 24 + length, true);
    return [header, data];
  }
}
