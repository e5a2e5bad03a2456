/** What a connection's PDUs say, counted: the sender's word for what was really asked and answered. */
import { viewOf } from '../../src/layout/struct.ts';
import { Cqe } from '../../src/nvme/cqe.ts';
import { Connect } from '../../src/nvme/fabrics.ts';
import { FABRICS_OPCODE, FabricsType, IoOpcode } from '../../src/nvme/opcode.ts';
import { Copy, CopyRange, ReadWrite, SqeHead } from '../../src/nvme/sqe.ts';
import { CapsuleCmd, CapsuleResp, CommonHeader, ICResp, PduType, type Role } from '../../src/pdu/pdus.ts';

export interface IoCommand {
  readonly opcode: number;
  readonly nsid: number;
  readonly slba: number;
  readonly blocks: number;
  readonly fua: boolean;
  /** What `Listener.command` gave. */
  readonly note: number;
}

/** Somebody who follows the I/O commands, in the order of the wire. */
export interface Listener {
  /** The result comes back as the command's `note`. */
  command(): number;
  response(command: IoCommand, status: number): void;
}

export class Traffic {
  connections = 0;
  /** I/O queues that got a Connect. */
  ioQueues = 0;
  /** Queue size of the last I/O queue, entries. */
  entries = 0;
  flushes = 0;
  writes = 0;
  /** Writes and Write Zeroes that have it set. */
  fua = 0;
  reads = 0;
  zeroes = 0;
  deallocations = 0;
  /** Writes whose data came with the command. */
  inCapsule = 0;
  r2ts = 0;
  h2cData = 0;
  c2hData = 0;
  asyncEvents = 0;
  /** TermReqs of either side. */
  terminations = 0;
  headerDigests = 0;
  dataDigests = 0;
  /** ICResps that granted them. */
  granted = { header: 0, data: 0 };
}

/** One connection's share in it. */
export class Follower {
  readonly #traffic: Traffic;
  readonly #listener: Listener | undefined;
  readonly #commands = new Map<number, IoCommand>();
  readonly #events = new Set<number>();
  #qid = 0;

  constructor(traffic: Traffic, listener: Listener | undefined) {
    this.#traffic = traffic;
    this.#listener = listener;
    traffic.connections++;
  }

  pdu(from: Role, bytes: Uint8Array): void {
    const header = viewOf(bytes);
    const traffic = this.#traffic;
    if (CommonHeader.flags.hdgstf.get(header, 0) === 1) traffic.headerDigests++;
    if (CommonHeader.flags.ddgstf.get(header, 0) === 1) traffic.dataDigests++;
    switch (CommonHeader.type.get(header, 0)) {
      case PduType.ICResp:
        traffic.granted.header += ICResp.dgst.hdgst.get(header, 0);
        traffic.granted.data += ICResp.dgst.ddgst.get(header, 0);
        break;
      case PduType.H2CTermReq:
      case PduType.C2HTermReq:
        traffic.terminations++;
        break;
      case PduType.CapsuleCmd:
        if (from === 'host') this.#command(header, CommonHeader.pdo.get(header, 0));
        break;
      case PduType.CapsuleResp:
        this.#response(header);
        break;
      case PduType.R2T:
        traffic.r2ts++;
        break;
      case PduType.H2CData:
        traffic.h2cData++;
        break;
      case PduType.C2HData:
        traffic.c2hData++;
        break;
    }
  }

  /** `pdo`: where data in the capsule begins; 0: there is none. */
  #command(header: DataView, pdo: number): void {
    const traffic = this.#traffic;
    const at = CapsuleCmd.sqe.offset;
    const opcode = SqeHead.opc.get(header, at);
    const cid = SqeHead.cid.get(header, at);
    if (opcode === FABRICS_OPCODE) {
      if (Connect.fctype.get(header, at) !== FabricsType.Connect) return;
      this.#qid = Connect.qid.get(header, at);
      if (this.#qid === 0) return;
      traffic.ioQueues++;
      traffic.entries = Connect.sqsize.get(header, at) + 1;
      return;
    }
    if (this.#qid === 0) {
      if (opcode === ASYNC_EVENT) this.#events.add(cid);
      return;
    }
    const moves = MOVES.has(opcode);
    const copies = opcode === IoOpcode.Copy;
    // In Copy it is at the same place.
    const fua = (moves || copies) && ReadWrite.cdw12.fua.get(header, at) === 1;
    if (opcode === IoOpcode.Flush) traffic.flushes++;
    if (opcode === IoOpcode.Write) traffic.writes++;
    if (opcode === IoOpcode.Write && pdo !== 0) traffic.inCapsule++;
    if (opcode === IoOpcode.Read) traffic.reads++;
    if (opcode === IoOpcode.WriteZeroes) traffic.zeroes++;
    if (opcode === IoOpcode.DatasetManagement) traffic.deallocations++;
    if (fua && (opcode === IoOpcode.Write || opcode === IoOpcode.WriteZeroes)) traffic.fua++;
    this.#commands.set(cid, {
      opcode,
      nsid: SqeHead.nsid.get(header, at),
      slba: moves || copies ? ReadWrite.slba.get(header, at) : 0,
      blocks: moves ? ReadWrite.nlb.get(header, at) : copies ? copied(header, at, pdo) : 0,
      fua,
      note: this.#listener?.command() ?? 0,
    });
  }

  #response(header: DataView): void {
    const at = CapsuleResp.cqe.offset;
    const cid = Cqe.cid.get(header, at);
    const status = Cqe.status.get(header, at) >>> 1;
    if (this.#qid === 0) {
      if (this.#events.delete(cid) && status === 0) this.#traffic.asyncEvents++;
      return;
    }
    const command = this.#commands.get(cid);
    this.#commands.delete(cid);
    if (command !== undefined) this.#listener?.response(command, status);
  }
}

const ASYNC_EVENT = 0x0c;
/** What has SLBA, NLB and FUA where Read has them. */
const MOVES: ReadonlySet<number> = new Set([
  IoOpcode.Write,
  IoOpcode.Read,
  IoOpcode.Compare,
  IoOpcode.WriteZeroes,
  IoOpcode.Verify,
]);

/** Blocks that a Copy writes; 0, and nobody looks at them, when its source ranges do not come with the command. */
function copied(header: DataView, at: number, pdo: number): number {
  if (pdo === 0) return 0;
  let blocks = 0;
  for (let i = 0; i < Copy.nr.get(header, at); i++) {
    const range = pdo + i * CopyRange.size;
    if (range + CopyRange.size <= header.byteLength) blocks += CopyRange.nlb.get(header, range);
  }
  return blocks;
}
