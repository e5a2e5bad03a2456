/** A host in a few words: an association over one port, and what a test asks of it. It does nothing by itself. */
import { inCapsule, inTransport, rw, WireHost, type Who } from './wire-host.ts';
import { AdminOpcode, IoOpcode } from '../../src/nvme/opcode.ts';
import { type AnaLog, decodeAnaLog } from '../../src/nvme/ana-log.ts';
import { type AsyncEvent, eventOf } from '../../src/nvme/event.ts';
import { FeatureId } from '../../src/nvme/features.ts';
import { Cns } from '../../src/nvme/identify.ts';
import { decodeControllerList, decodeNsidList } from '../../src/nvme/identify-lists.ts';
import { LogId } from '../../src/nvme/logs.ts';
import { Property } from '../../src/nvme/property.ts';
import { GetLogPage, Identify, NamespaceAttachment, SetFeatures, Sqe } from '../../src/nvme/sqe.ts';
import { encodeControllerList } from '../../src/nvme/identify-lists.ts';
import type { MemoryEnv } from '../../src/runtime/memory/env.ts';

export interface NvmHostOptions {
  readonly env: MemoryEnv;
  readonly address: { readonly host: string; readonly port: number };
  readonly nqn: string;
  /** Host A, B, … */
  readonly name?: string;
  /** Without I/O queue: discovery. */
  readonly adminOnly?: boolean;
  readonly kato?: number;
}

/** Host NQN and Host ID of "A", "B", … */
export const whoIs = (name: string): Who => {
  const hostid = `11111111-2222-3333-4444-${name.charCodeAt(0).toString(16).padStart(12, '0')}`;
  return { hostnqn: `nqn.2014-08.org.nvmexpress:uuid:${hostid}`, hostid };
};

export class NvmHost {
  readonly admin: WireHost;
  readonly io: WireHost | undefined;
  readonly cntlid: number;
  #requests: number[] = [];

  constructor({ env, address, nqn, name = 'A', adminOnly = false, kato = 5000 }: NvmHostOptions) {
    const who = whoIs(name);
    this.admin = WireHost.open(env, address.port, address.host);
    this.cntlid = this.admin.up(nqn, { who, kato });
    if (adminOnly) return;
    this.io = WireHost.open(env, address.port, address.host);
    this.io.ioUp(nqn, this.cntlid, { who });
  }

  // ---- admin

  identify(cns: number, nsid = 0, cntid = 0): { status: number; data: Uint8Array } {
    const sqe = Identify.bytes({ opc: AdminOpcode.Identify, cns, nsid, cntid, dptr: inTransport(4096) });
    return this.#asked(this.admin.command(sqe));
  }

  get active(): number[] {
    return decodeNsidList(this.identify(Cns.ActiveNamespaces).data);
  }

  get allocated(): number[] {
    return decodeNsidList(this.identify(Cns.AllocatedNamespaces).data);
  }

  /** CNTLIDs that have a namespace, or without NSID all of the subsystem. */
  controllers(nsid?: number, from = 0): number[] {
    const cns = nsid === undefined ? Cns.Controllers : Cns.AttachedControllers;
    return decodeControllerList(this.identify(cns, nsid ?? 0, from).data);
  }

  log(lid: number, length: number, { offset = 0, rae = 0, lsp = 0 } = {}): Uint8Array {
    const dwords = length / 4 - 1;
    const sqe = GetLogPage.bytes({
      opc: AdminOpcode.GetLogPage,
      lid,
      nsid: 0xffffffff,
      numdl: dwords & 0xffff,
      numdu: dwords >>> 16,
      lpo: offset,
      cdw10: { lsp, rae },
      dptr: inTransport(length),
    });
    return this.#asked(this.admin.command(sqe)).data;
  }

  get ana(): AnaLog {
    return decodeAnaLog(this.log(LogId.Ana, 16 + 128 * 32 + 1024 * 4), { anagrpmax: 128, nn: 1024 });
  }

  /** NSIDs that changed since they were read last. */
  get changes(): number[] {
    return decodeNsidList(this.log(LogId.ChangedNamespaces, 4096));
  }

  /** Enables every event and leaves `count` requests. */
  listen(count = 4, events = 0x900): void {
    const sqe = SetFeatures.bytes({
      opc: AdminOpcode.SetFeatures,
      fid: FeatureId.AsyncEventConfiguration,
      cdw11: events,
    });
    if (this.#asked(this.admin.command(sqe)).status !== 0) throw new Error('events are not enabled');
    for (let i = 0; i < count; i++) this.request();
  }

  request(): void {
    this.#requests.push(this.admin.command(Sqe.bytes({ opc: AdminOpcode.AsyncEventRequest })));
  }

  /** Events since the last look. */
  events(): AsyncEvent[] {
    this.admin.env.clock.settle();
    const told = this.#requests.filter((cid) => this.admin.completion(cid) !== undefined);
    this.#requests = this.#requests.filter((cid) => !told.includes(cid));
    return told.map((cid) => eventOf(this.admin.response(cid).dw0));
  }

  /** Namespace Attachment; gives the status. */
  attach(nsid: number, cntlids: readonly number[], detach = false): number {
    const sqe = NamespaceAttachment.bytes({
      opc: AdminOpcode.NamespaceAttachment,
      nsid,
      cdw10: { sel: detach ? 1 : 0 },
      dptr: inCapsule(4096),
    });
    return this.#asked(this.admin.command(sqe, encodeControllerList(cntlids))).status;
  }

  /** CC.EN off and on; the I/O queue goes with it. */
  reset(): void {
    this.admin.set(Property.CC, 0x460000);
    this.admin.set(Property.CC, 0x460001);
  }

  // ---- I/O

  /** Sends a write or read of one block and gives its CID. */
  send(opc: number, nsid: number, slba = 0, data?: Uint8Array): number {
    const sqe = rw(opc, slba, 1, data === undefined ? inTransport(512) : inCapsule(512));
    new DataView(sqe.buffer).setUint32(4, nsid, true);
    return this.queue.command(sqe, data);
  }

  read(nsid: number, slba = 0): { status: number; data: Uint8Array } {
    return this.#asked(this.send(IoOpcode.Read, nsid, slba), this.queue);
  }

  write(nsid: number, slba = 0, value = 1): number {
    const cid = this.send(IoOpcode.Write, nsid, slba, new Uint8Array(512).fill(value));
    return this.#asked(cid, this.queue).status;
  }

  get queue(): WireHost {
    if (this.io === undefined) throw new Error('there is no I/O queue');
    return this.io;
  }

  #asked(cid: number, queue = this.admin): { status: number; data: Uint8Array } {
    return { status: queue.response(cid).status, data: queue.data(cid) };
  }

  /** The host's side of every connection goes. */
  leave(): void {
    this.io?.transport.reset();
    this.admin.transport.reset();
    this.admin.env.clock.settle();
  }

  /** Both connections are over. */
  get gone(): boolean {
    return (this.admin.ended || this.admin.gone) && (this.io === undefined || this.io.ended || this.io.gone);
  }
}
