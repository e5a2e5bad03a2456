/**
 * A controller that behaves, until a test says otherwise: every command that comes is offered to `script` first. It
 * keeps what it received as text, and can say anything, right or wrong.
 */
import { concat } from '../../src/layout/bytes.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { Cqe } from '../../src/nvme/cqe.ts';
import { Connect, FabricsSqe, PropertyGet, PropertySet } from '../../src/nvme/fabrics.ts';
import { DiscoveryEntry, DiscoveryHeader } from '../../src/nvme/discovery.ts';
import { NumberOfQueues } from '../../src/nvme/features.ts';
import { Cns } from '../../src/nvme/identify.ts';
import { IdController } from '../../src/nvme/identify-controller.ts';
import { encodeNamespaceIds, encodeNsidList, type NamespaceIds } from '../../src/nvme/identify-lists.ts';
import { IdNamespace, IndependentIdNamespace } from '../../src/nvme/identify-namespace.ts';
import { DISCOVERY_NQN } from '../../src/nvme/nqn.ts';
import { AdminOpcode, FABRICS_OPCODE, FabricsType, IoOpcode, commandName } from '../../src/nvme/opcode.ts';
import { Cap, Csts, Property } from '../../src/nvme/property.ts';
import { DPTR, GetLogPage, Identify, ReadWrite, Sgl, Sqe, logLength } from '../../src/nvme/sqe.ts';
import {
  C2HData,
  CapsuleResp,
  Flag,
  H2CData,
  H2CTermReq,
  ICReq,
  ICResp,
  PDUS,
  PduType,
  R2T,
} from '../../src/pdu/pdus.ts';
import { crc32c } from '../../src/runtime/crc32c.ts';
import { Receiver, type PduHandler } from '../../src/pdu/receiver.ts';
import { Sender } from '../../src/pdu/sender.ts';
import type { MemoryEnv } from '../../src/runtime/memory/env.ts';
import type { Transport } from '../../src/runtime/ports.ts';

export const SUBNQN = 'nqn.2024-01.test:fake';
export const UUID = '6b2f8f6c-6e0b-4cc1-8f8e-0d5e7c8a9b10';
export const BLOCK = 512;

export interface FakeNamespace {
  nsid: number;
  blocks: number;
  ids: NamespaceIds;
  shared?: boolean;
  /** Set over the answer to Identify CNS 00h. */
  change?: Parameters<typeof IdNamespace.bytes>[0];
}

/** One command that came, with the data that came in its capsule. */
export interface FakeCommand {
  readonly on: FakeConnection;
  readonly name: string;
  readonly cid: number;
  readonly view: DataView;
  readonly data: Uint8Array;
  /** Bytes that the SGL describes. */
  readonly length: number;
}

export class FakeController {
  readonly env: MemoryEnv;
  readonly port: number;
  readonly connections: FakeConnection[] = [];
  /** `q1 Write`, in the order in which they came. */
  readonly log: string[] = [];
  /** May answer a command itself: true. */
  script: (command: FakeCommand) => boolean = () => false;
  /** Called instead of sending the ICResp. */
  onInitialize: ((connection: FakeConnection) => void) | undefined = undefined;
  /** Fields of the ICResp, and of Identify Controller, set over what is right. */
  icresp: Parameters<typeof ICResp.bytes>[0] = {};
  identify: Parameters<typeof IdController.bytes>[0] = {};
  cap: Parameters<typeof Cap.bytes>[0] = {};
  version = 0x00010300;
  cntlid = 1;
  maxQueues = 64;
  readyAfter = 0;
  namespaces: FakeNamespace[] = [{ nsid: 1, blocks: 8192, ids: { uuid: UUID } }];
  /** Answers to Identify by CNS, instead of the right ones. */
  readonly pages = new Map<number, Uint8Array>();
  /** The first namespace's bytes. */
  readonly disk = new Uint8Array(8192 * BLOCK);
  /** Asynchronous Event Requests that wait. */
  readonly events: FakeCommand[] = [];
  /** Writes that wait for data: CID → what is known of it. */
  readonly writes = new Map<string, { command: FakeCommand; slba: number; got: number }>();
  /** R2Ts ask for at most this much. */
  r2tSize = Infinity;
  cc = 0;

  constructor(env: MemoryEnv, port = 4420) {
    this.env = env;
    this.port = port;
    env.net.listen(
      { host: '127.0.0.1', port: this.port },
      (transport) => this.connections.push(new FakeConnection(this, transport)),
      () => undefined,
    );
    env.clock.settle();
  }

  /** Every connection that is there is reset. */
  cut(): void {
    for (const each of this.connections.splice(0)) if (!each.gone) each.transport.reset();
    this.events.length = 0;
    this.writes.clear();
    this.env.clock.settle();
  }

  get admin(): FakeConnection {
    return this.connections[0]!;
  }
  /** The connection of an I/O queue. */
  io(qid = 1): FakeConnection {
    return this.connections.find((each) => each.qid === qid)!;
  }

  /** An event happens: the oldest request is answered. */
  event(dw0: number): void {
    const waiting = this.events.shift()!;
    waiting.on.respond(waiting.cid, 0, dw0);
    this.env.clock.settle();
  }

  run(command: FakeCommand): void {
    this.log.push(`q${command.on.qid} ${command.name}`);
    if (this.script(command)) return;
    const { on, view, cid } = command;
    const opcode = Sqe.opc.get(view, 0);
    if (opcode === FABRICS_OPCODE) this.#fabrics(command);
    else if (on.qid === 0) this.#adminCommand(opcode, command);
    else if (opcode === IoOpcode.Read) {
      const at = ReadWrite.slba.get(view, 0) * BLOCK;
      on.data(cid, this.disk.slice(at, at + ReadWrite.nlb.get(view, 0) * BLOCK));
      on.respond(cid);
    } else if (opcode === IoOpcode.Write) {
      const write = { command, slba: ReadWrite.slba.get(view, 0), got: 0 };
      this.writes.set(`${on.qid}:${cid}`, write);
      if (command.data.length > 0) this.written(on, cid, command.data);
      else this.#ask(on, cid);
    } else on.respond(cid);
  }

  #ask(on: FakeConnection, cid: number): void {
    const { command, got } = this.writes.get(`${on.qid}:${cid}`)!;
    on.r2t(cid, cid & 0xfff, got, Math.min(command.length - got, this.r2tSize));
  }

  /** Data of a write came, in order. */
  written(on: FakeConnection, cid: number, data: Uint8Array): void {
    const key = `${on.qid}:${cid}`;
    const write = this.writes.get(key);
    if (write === undefined) return;
    this.disk.set(data, write.slba * BLOCK + write.got);
    write.got += data.length;
    if (write.got === write.command.length) {
      this.writes.delete(key);
      on.respond(cid);
    } else if (write.got % this.r2tSize === 0) this.#ask(on, cid);
  }

  #fabrics({ on, view, cid }: FakeCommand): void {
    const type = FabricsSqe.fctype.get(view, 0);
    if (type === FabricsType.Connect) {
      on.entries = Connect.sqsize.get(view, 0) + 1;
      on.respond(cid, 0, this.cntlid);
    } else if (type === FabricsType.PropertySet) {
      this.cc = Number(PropertySet.value.decode(view, 0));
      on.respond(cid);
    } else on.respond(cid, 0, ...this.#property(PropertyGet.ofst.get(view, 0)));
  }

  #property(offset: number): [number, number] {
    const value = new Uint8Array(8);
    const view = viewOf(value);
    if (offset === Property.CAP) {
      Cap.encode({ mqes: 1023, low: { cqr: 1, to: 15 }, high: { css: 1 }, ...this.cap }, view);
    } else if (offset === Property.VS) view.setUint32(0, this.version, true);
    else if (offset === Property.CSTS) {
      const ready = (this.cc & 1) === 1 && this.readyAfter-- <= 0;
      Csts.encode({ csts: { rdy: ready ? 1 : 0, shst: (this.cc >>> 14) & 3 ? 2 : 0 } }, view);
    }
    return [view.getUint32(0, true), view.getUint32(4, true)];
  }

  #adminCommand(opcode: number, command: FakeCommand): void {
    const { on, view, cid } = command;
    if (opcode === AdminOpcode.Identify) {
      const cns = Identify.cns.get(view, 0);
      const answer = this.pages.get(cns) ?? this.identified(cns, Identify.nsid.get(view, 0));
      if (answer === undefined) on.respond(cid, 0x4002);
      else {
        on.data(cid, answer);
        on.respond(cid);
      }
    } else if (opcode === AdminOpcode.GetLogPage) {
      on.data(
        cid,
        this.logPage(GetLogPage.lid.get(view, 0), GetLogPage.lpo.get(view, 0), logLength(view, 0)),
      );
      on.respond(cid);
    } else if (opcode === AdminOpcode.SetFeatures && Sqe.cdw10.get(view, 0) === 7) {
      const count = Math.min(
        this.maxQueues,
        NumberOfQueues.nsq.get(viewOf(new Uint8Array(view.buffer, view.byteOffset + 44, 4)), 0),
      );
      on.respond(cid, 0, (count - 1) * 0x10001);
    } else if (opcode === AdminOpcode.AsyncEventRequest) this.events.push(command);
    else on.respond(cid);
  }

  /** Undefined: Invalid Field. */
  identified(cns: number, nsid: number): Uint8Array | undefined {
    const namespace = this.namespaces.find((each) => each.nsid === nsid);
    switch (cns) {
      case Cns.Controller:
        return IdController.bytes({
          sn: 'FAKE',
          mn: 'fake controller',
          fr: '1',
          cntlid: this.cntlid,
          ver: { mjr: 1, mnr: 3 },
          cmic: { multipleControllers: 1 },
          oaes: { namespaceAttribute: 1 },
          kas: 10,
          aerl: 4,
          maxcmd: 1024,
          nn: 1024,
          mnan: 1024,
          sqes: { min: 6, max: 6 },
          cqes: { min: 4, max: 4 },
          sgls: { support: 1, addressOffset: 1 },
          ioccsz: (64 + 8192) / 16,
          iorcsz: 1,
          subnqn: SUBNQN,
          ...this.identify,
        });
      case Cns.ActiveNamespaces:
        return encodeNsidList(this.namespaces.map((each) => each.nsid).filter((each) => each > nsid));
      case Cns.NamespaceDescriptors:
        return namespace && encodeNamespaceIds(namespace.ids);
      case Cns.CsIndependentNamespace:
        return IndependentIdNamespace.bytes({ nstat: { ready: 1 } });
      case Cns.Namespace:
        return namespace && namespaceBytes(namespace);
      default:
        return undefined;
    }
  }

  /** Zeroes, unless a test says otherwise. */
  logPage(_lid: number, _offset: number, length: number): Uint8Array {
    return new Uint8Array(length);
  }
}

/** Makes a discovery controller of it, which tells these records. */
export function fakeDiscovery(
  fake: FakeController,
  records: () => readonly Parameters<typeof DiscoveryEntry.bytes>[0][],
  genctr: () => number = () => 1,
): void {
  fake.identify = {
    cntrltype: 2,
    ioccsz: 0,
    iorcsz: 0,
    sgls: {},
    oaes: { discoveryLog: 1 },
    subnqn: DISCOVERY_NQN,
  };
  fake.logPage = (_lid, offset, length) => {
    const all = records();
    const page = new Uint8Array(Math.max(offset + length, 1024 * (all.length + 1)));
    page.set(DiscoveryHeader.bytes({ genctr: genctr(), numrec: all.length }));
    for (const [i, record] of all.entries()) page.set(DiscoveryEntry.bytes(record), 1024 * (i + 1));
    return page.slice(offset, offset + length);
  };
}

function namespaceBytes({ blocks, shared = true, change }: FakeNamespace): Uint8Array {
  return IdNamespace.bytes({
    nsze: blocks,
    ncap: blocks,
    nuse: blocks,
    nmic: { shared: shared ? 1 : 0 },
    lbaf: [{ ms: 0, lbads: 9 }],
    ...change,
  });
}

export class FakeConnection implements PduHandler {
  readonly controller: FakeController;
  readonly transport: Transport;
  readonly sender: Sender;
  readonly receiver: Receiver;
  qid = 0;
  entries = 1;
  /** Names of the PDUs that came. */
  readonly pdus: string[] = [];
  /** The host's TermReq. */
  terminated: { fes: number; fei: number; quoted: Uint8Array } | undefined = undefined;
  icreq: { headerDigest: number; dataDigest: number; hpda: number; maxr2t: number } | undefined = undefined;
  ended = false;
  gone = false;
  error: string | undefined = undefined;
  /** Lengths of the H2CData PDUs that came. */
  readonly h2c: { length: number; last: boolean; digestOk: boolean; ttag: number; offset: number }[] = [];
  digestsOk = true;
  #head = 0;
  #parts: Uint8Array[] = [];

  constructor(controller: FakeController, transport: Transport) {
    this.controller = controller;
    this.transport = transport;
    this.receiver = new Receiver('host', this, crc32c);
    this.receiver.maxCapsuleData = 2 ** 20;
    this.sender = new Sender(controller.env.clock, transport, crc32c);
    transport.start({
      data: (chunk) => {
        if (!this.gone) this.receiver.push(chunk);
      },
      end: () => {
        this.ended = true;
        transport.end();
      },
      closed: (error) => {
        this.gone = true;
        this.error = error;
        this.sender.abandon();
      },
    });
  }

  onHeader(): void {
    this.#parts = [];
  }

  onData(chunk: Uint8Array, start: number, end: number): void {
    this.#parts.push(chunk.slice(start, end));
  }

  onPdu(type: number, header: DataView, digestOk: boolean): void {
    this.pdus.push(PDUS[type]!.name);
    const data = concat(this.#parts);
    if (!digestOk) this.digestsOk = false;
    if (type === PduType.ICReq) this.#initialize(header);
    else if (type === PduType.CapsuleCmd) this.#command(header, data);
    else if (type === PduType.H2CData) {
      this.h2c.push({
        length: data.length,
        last: H2CData.flags.last.get(header, 0) === 1,
        digestOk,
        ttag: H2CData.ttag.get(header, 0),
        offset: H2CData.datao.get(header, 0),
      });
      this.controller.written(this, H2CData.cccid.get(header, 0), data);
    } else if (type === PduType.H2CTermReq)
      this.terminated = {
        fes: H2CTermReq.fes.get(header, 0),
        fei: H2CTermReq.fei.get(header, 0),
        quoted: data,
      };
  }

  #initialize(header: DataView): void {
    const headerDigest = ICReq.dgst.hdgst.get(header, 0);
    const dataDigest = ICReq.dgst.ddgst.get(header, 0);
    this.icreq = {
      headerDigest,
      dataDigest,
      hpda: ICReq.pda.get(header, 0),
      maxr2t: ICReq.maxr2t.get(header, 0),
    };
    if (this.controller.onInitialize !== undefined) {
      this.controller.onInitialize(this);
      return;
    }
    const icresp = {
      dgst: { hdgst: headerDigest, ddgst: dataDigest },
      maxh2cdata: 131072,
      ...this.controller.icresp,
    };
    this.raw(ICResp.bytes({ type: PduType.ICResp, hlen: 128, plen: 128, ...icresp }));
    this.sender.headerDigest = this.receiver.headerDigest = headerDigest === 1;
    this.sender.dataDigest = this.receiver.dataDigest = dataDigest === 1;
    this.receiver.alignment = ((icresp.pda ?? 0) + 1) * 4;
  }

  #command(header: DataView, data: Uint8Array): void {
    const view = viewOf(new Uint8Array(header.buffer, header.byteOffset + 8, 64).slice());
    const opcode = Sqe.opc.get(view, 0);
    const fctype = opcode === FABRICS_OPCODE ? FabricsSqe.fctype.get(view, 0) : 0;
    if (opcode === FABRICS_OPCODE && fctype === FabricsType.Connect) this.qid = Connect.qid.get(view, 0);
    if (++this.#head === this.entries) this.#head = 0;
    let name = commandName(this.qid === 0, opcode, fctype);
    if (opcode === FABRICS_OPCODE && fctype !== FabricsType.Connect) {
      const property = Object.entries(Property).find(([, at]) => at === PropertyGet.ofst.get(view, 0))?.[0];
      name += ` ${property ?? ''}`;
    } else if (this.qid === 0 && opcode === AdminOpcode.Identify) name += ` ${Identify.cns.get(view, 0)}`;
    else if (this.qid === 0 && (opcode === AdminOpcode.SetFeatures || opcode === AdminOpcode.GetLogPage))
      name += ` ${Sqe.cdw10.get(view, 0) & 0xff}`;
    const cid = Sqe.cid.get(view, 0);
    this.controller.run({ on: this, name, cid, view, data, length: Sgl.length.get(view, DPTR) });
  }

  // ---- saying things

  /** Bytes as they are. */
  raw(bytes: Uint8Array | readonly number[]): void {
    if (!this.gone) this.transport.write([Uint8Array.from(bytes)], () => undefined);
  }

  pdu(
    type: number,
    set: (view: DataView, at: number) => void = () => undefined,
    data?: Uint8Array,
    flags = 0,
  ): void {
    if (this.gone) return;
    const at = this.sender.begin(type, flags, data?.length ?? 0);
    set(this.sender.view, at);
    this.sender.end(data === undefined ? undefined : [data]);
    this.sender.flush();
  }

  respond(cid: number, status = 0, dw0 = 0, dw1 = 0): void {
    this.pdu(PduType.CapsuleResp, (view, at) => {
      const cqe = at + CapsuleResp.cqe.offset;
      Cqe.dw0.set(view, cqe, dw0);
      Cqe.dw1.set(view, cqe, dw1);
      Cqe.sqhd.set(view, cqe, this.#head);
      Cqe.cid.set(view, cqe, cid);
      Cqe.status.set(view, cqe, status << 1);
    });
  }

  /** C2HData, in one PDU unless told otherwise. */
  data(cid: number, data: Uint8Array, offset = 0, flags: number = Flag.last): void {
    this.pdu(
      PduType.C2HData,
      (view, at) => {
        C2HData.cccid.set(view, at, cid);
        C2HData.datao.set(view, at, offset);
        C2HData.datal.set(view, at, data.length);
      },
      data,
      flags,
    );
  }

  r2t(cid: number, ttag: number, offset: number, length: number): void {
    this.pdu(PduType.R2T, (view, at) => {
      R2T.cccid.set(view, at, cid);
      R2T.ttag.set(view, at, ttag);
      R2T.r2to.set(view, at, offset);
      R2T.r2tl.set(view, at, length);
    });
  }
}
