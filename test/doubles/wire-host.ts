/**
 * A host that says exactly what a test tells it to, right or wrong: it builds PDUs, keeps every PDU that comes back, and
 * does nothing by itself.
 */
import { Receiver, type PduHandler } from '../../src/pdu/receiver.ts';
import { Sender } from '../../src/pdu/sender.ts';
import {
  C2HData,
  C2HTermReq,
  CapsuleCmd,
  CapsuleResp,
  H2CData,
  ICReq,
  ICResp,
  PduType,
  R2T,
} from '../../src/pdu/pdus.ts';
import { Cqe } from '../../src/nvme/cqe.ts';
import { Connect, ConnectData, PropertyGet, PropertySet } from '../../src/nvme/fabrics.ts';
import { FabricsType } from '../../src/nvme/opcode.ts';
import { Property } from '../../src/nvme/property.ts';
import { ReadWrite, Sqe, SglId } from '../../src/nvme/sqe.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { concat } from '../../src/layout/bytes.ts';
import { crc32c } from '../../src/runtime/crc32c.ts';
import type { Transport } from '../../src/runtime/ports.ts';
import type { MemoryEnv } from '../../src/runtime/memory/env.ts';

export const HOSTNQN = 'nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555';
export const HOSTID = '11111111-2222-3333-4444-555555555555';

/** One PDU from the target, header decoded. */
export interface Received {
  readonly type: number;
  readonly header: DataView;
  readonly data: Uint8Array;
  readonly digestOk: boolean;
}

export interface WireOptions {
  readonly headerDigest?: boolean;
  readonly dataDigest?: boolean;
  readonly hpda?: number;
  /** Who it says it is. */
  readonly who?: Who;
  readonly kato?: number;
}

export interface Who {
  readonly hostnqn: string;
  readonly hostid: string;
}

export class WireHost implements PduHandler {
  readonly env: MemoryEnv;
  readonly transport: Transport;
  readonly sender: Sender;
  readonly received: Received[] = [];
  /** The target half-closed; the connection is gone. */
  ended = false;
  gone = false;
  error: string | undefined = undefined;
  readonly #receiver: Receiver;
  #parts: Uint8Array[] = [];
  #cid = 0;

  constructor(env: MemoryEnv, transport: Transport) {
    this.env = env;
    this.transport = transport;
    this.#receiver = new Receiver('controller', this, crc32c);
    this.sender = new Sender(env.clock, transport, crc32c);
    transport.start({
      data: (chunk) => {
        this.#receiver.push(chunk);
      },
      end: () => {
        this.ended = true;
      },
      closed: (error) => {
        this.gone = true;
        this.error = error;
        this.sender.abandon();
      },
    });
  }

  /** Connects to where the test's target listens. */
  static open(env: MemoryEnv, port: number, host = '127.0.0.1'): WireHost {
    let made: WireHost | undefined;
    env.net.connect({ to: { host, port } }, (error, transport) => {
      if (transport === undefined) throw new Error(error?.message);
      made = new WireHost(env, transport);
    });
    env.clock.settle();
    return made!;
  }

  onHeader(): void {
    this.#parts = [];
  }

  onData(chunk: Uint8Array, start: number, end: number): void {
    this.#parts.push(chunk.slice(start, end));
  }

  onPdu(type: number, header: DataView, digestOk: boolean): void {
    const copy = new Uint8Array(header.buffer.slice(0) as ArrayBuffer);
    this.received.push({ type, header: viewOf(copy), data: concat(this.#parts), digestOk });
    if (type === PduType.ICResp) {
      this.#receiver.headerDigest = this.sender.headerDigest = ICResp.dgst.hdgst.get(header, 0) === 1;
      this.#receiver.dataDigest = this.sender.dataDigest = ICResp.dgst.ddgst.get(header, 0) === 1;
    }
  }

  // ---- saying things

  /** Bytes as they are. */
  raw(bytes: Uint8Array | readonly number[]): void {
    this.transport.write([Uint8Array.from(bytes)], () => undefined);
    this.env.clock.settle();
  }

  /** A PDU with its header's fields set by `set`. */
  pdu(
    type: number,
    set: (view: DataView, at: number) => void = () => undefined,
    data?: Uint8Array,
    flags = 0,
  ): void {
    const at = this.sender.begin(type, flags, data?.length ?? 0);
    set(this.sender.view, at);
    this.sender.end(data === undefined ? undefined : [data]);
    this.sender.flush();
    this.env.clock.settle();
  }

  initialize({ headerDigest = false, dataDigest = false, hpda = 0 }: WireOptions = {}): void {
    this.#receiver.alignment = (hpda + 1) * 4;
    this.pdu(PduType.ICReq, (view, at) => {
      ICReq.pda.set(view, at, hpda);
      ICReq.dgst.hdgst.set(view, at, headerDigest ? 1 : 0);
      ICReq.dgst.ddgst.set(view, at, dataDigest ? 1 : 0);
    });
  }

  /** Sends a command capsule and gives its CID. */
  command(sqe: Uint8Array, data?: Uint8Array): number {
    const view = viewOf(sqe);
    const cid = ++this.#cid;
    Sqe.cid.set(view, 0, cid);
    Sqe.flags.psdt.set(view, 0, 1);
    this.pdu(
      PduType.CapsuleCmd,
      (header, at) => {
        CapsuleCmd.sqe.slice(header, at).set(sqe);
      },
      data,
    );
    return cid;
  }

  h2c(cccid: number, ttag: number, datao: number, data: Uint8Array, last = true): void {
    const set = (view: DataView, at: number): void => {
      H2CData.cccid.set(view, at, cccid);
      H2CData.ttag.set(view, at, ttag);
      H2CData.datao.set(view, at, datao);
      H2CData.datal.set(view, at, data.length);
    };
    this.pdu(PduType.H2CData, set, data, last ? 4 : 0);
  }

  /** Connect as a well-behaved host does it; `change` may spoil it. */
  connect(
    subnqn: string,
    change: {
      sqe?: Parameters<typeof Connect.bytes>[0];
      data?: Parameters<typeof ConnectData.bytes>[0];
    } = {},
  ): number {
    const data = ConnectData.bytes({
      hostid: HOSTID,
      hostnqn: HOSTNQN,
      cntlid: 0xffff,
      subnqn,
      ...change.data,
    });
    const sqe = Connect.bytes({
      opc: 0x7f,
      fctype: FabricsType.Connect,
      dptr: inCapsule(1024),
      sqsize: 31,
      kato: 5000,
      ...change.sqe,
    });
    return this.command(sqe, data);
  }

  /** Initializes, connects an Admin queue and enables the controller; gives the CNTLID. */
  up(subnqn: string, options: WireOptions = {}): number {
    this.initialize(options);
    const { who, kato = 5000 } = options;
    const { dw0, status } = this.response(this.connect(subnqn, { sqe: { kato }, data: { ...who } }));
    if (status !== 0) throw new Error(`Connect: ${status.toString(16)}`);
    const cntlid = dw0 & 0xffff;
    this.set(Property.CC, 0x460001);
    return cntlid;
  }

  /** Connects an I/O queue on this connection. */
  ioUp(
    subnqn: string,
    cntlid: number,
    options: WireOptions & { readonly qid?: number; readonly sqsize?: number; readonly cattr?: number } = {},
  ): void {
    this.initialize(options);
    const { qid = 1, sqsize = 127, cattr = 0 } = options;
    const cid = this.connect(subnqn, {
      sqe: { qid, sqsize, kato: 0, cattr: { priority: 0, disableSqFlow: cattr, iodel: 0 } },
      data: { cntlid, ...options.who },
    });
    const { status } = this.response(cid);
    if (status !== 0) throw new Error(`Connect of queue ${qid}: ${status.toString(16)}`);
  }

  set(ofst: number, value: number): void {
    this.command(
      PropertySet.bytes({ opc: 0x7f, fctype: FabricsType.PropertySet, ofst, value: BigInt(value) }),
    );
  }

  get(ofst: number, psz = 0): bigint {
    const cid = this.command(
      PropertyGet.bytes({ opc: 0x7f, fctype: FabricsType.PropertyGet, ofst, attrib: { psz } }),
    );
    const { dw0, dw1 } = this.response(cid);
    return (BigInt(dw1) << 32n) | BigInt(dw0);
  }

  // ---- what came back

  /** The completion of a command; throws when there is none. */
  response(cid: number): { dw0: number; dw1: number; status: number; sqhd: number } {
    const found = this.completion(cid);
    if (found === undefined) throw new Error(`no response for command ${cid}`);
    return found;
  }

  completion(cid: number): { dw0: number; dw1: number; status: number; sqhd: number } | undefined {
    for (const { type, header } of this.received) {
      const at = CapsuleResp.cqe.offset;
      if (type === PduType.CapsuleResp && Cqe.cid.get(header, at) === cid)
        return {
          dw0: Cqe.dw0.get(header, at),
          dw1: Cqe.dw1.get(header, at),
          status: Cqe.status.get(header, at) >>> 1,
          sqhd: Cqe.sqhd.get(header, at),
        };
    }
    return undefined;
  }

  /** The data that a command got. */
  data(cid: number): Uint8Array {
    return concat(
      this.received
        .filter(({ type, header }) => type === PduType.C2HData && C2HData.cccid.get(header, 0) === cid)
        .map(({ data }) => data),
    );
  }

  /** R2Ts for a command. */
  r2ts(cid: number): { ttag: number; r2to: number; r2tl: number }[] {
    return this.received
      .filter(({ type, header }) => type === PduType.R2T && R2T.cccid.get(header, 0) === cid)
      .map(({ header }) => ({
        ttag: R2T.ttag.get(header, 0),
        r2to: R2T.r2to.get(header, 0),
        r2tl: R2T.r2tl.get(header, 0),
      }));
  }

  /** The TermReq, if one came. */
  get terminated(): { fes: number; fei: number; quoted: Uint8Array } | undefined {
    const found = this.received.find(({ type }) => type === PduType.C2HTermReq);
    return (
      found && {
        fes: C2HTermReq.fes.get(found.header, 0),
        fei: C2HTermReq.fei.get(found.header, 0),
        quoted: found.data,
      }
    );
  }
}

export const inCapsule = (length: number, offset = 0) => ({
  address: offset,
  length,
  type: { type: SglId.inCapsule >> 4, subtype: SglId.inCapsule & 15 },
});
export const inTransport = (length: number) => ({
  address: 0,
  length,
  type: { type: SglId.transport >> 4, subtype: SglId.transport & 15 },
});

/** A Read or Write of `blocks` blocks of 512 bytes. */
export const rw = (
  opc: number,
  slba: number | bigint,
  blocks: number,
  dptr = inTransport(blocks * 512),
  fua = 0,
): Uint8Array =>
  ReadWrite.bytes({
    opc,
    nsid: 1,
    slba,
    nlb: blocks,
    dptr,
    cdw12: { cetype: 0, dtype: 0, stc: 0, prinfo: 0, fua, lr: 0 },
  });
