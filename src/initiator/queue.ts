/**
 * A queue: the commands of one connection. It gives each command a slot, sends its capsule and the data that it is
 * asked for, takes the data and the answer that come, and believes nothing of it unchecked.
 *
 * Never more than `entries` - 1 commands are outstanding, and the controller takes them in the order in which they
 * were sent, so the submission queue cannot be full whatever SQHD says: with SQ flow control or without, free slots
 * are all there is to wait for. Waiting for one is back-pressure, never an error (QUIESCE.7).
 */
import { C2HData, CapsuleCmd, CapsuleResp, Flag, H2CData, PduType, R2T } from '../pdu/pdus.ts';
import { Fes, ProtocolFault, invalidField, sequenceError } from '../pdu/fault.ts';
import { Cqe } from '../nvme/cqe.ts';
import { DPTR, Sgl, SglId, SqeHead } from '../nvme/sqe.ts';
import { Status, statusCode } from '../nvme/status.ts';
import { assert } from '../runtime/assert.ts';
import { Fifo } from '../runtime/fifo.ts';
import type { Timer } from '../runtime/ports.ts';
import type { Connection } from './connection.ts';
import { cut } from './parts.ts';
import type { Request } from './request.ts';
import { INDEX_MASK, Slot } from './slot.ts';

/** Where the CID is in a CapsuleResp. */
const CID_OFFSET = CapsuleResp.cqe.offset + Cqe.cid.offset;

const HOST_WORDS: readonly number[] = [Status.HostPathError, Status.AbortedByHost];

export class Queue {
  readonly connection: Connection;
  readonly qid: number;
  readonly entries: number;
  /** Slots that only urgent requests may take. */
  readonly reserved: number;
  /** Write data that may go in the capsule, bytes; what is longer waits for an R2T. */
  maxCapsuleData: number;
  /** MAXH2CDATA of the ICResp: the most data in one H2CData PDU. */
  maxH2cData = 4096;
  /** The last SQHD that the controller told. */
  sqhd = 0;
  /** Commands in slots whose answer has not come, or whose data the socket still has. */
  outstanding = 0;

  readonly #slots: Slot[] = [];
  readonly #free: Slot[] = [];
  readonly #waiting = new Fifo<Request>();
  /** Set by `close` and `fail`. */
  #closed = false;
  /** Looks of the keep-alive timer, and whether a command was sent and answered since the last one. */
  #look = 0;
  #traffic = false;
  /** What gathers the data of one H2CData PDU; the sender takes the slices out at once. */
  readonly #gather: Uint8Array[] = [];
  /** One timer for all deadlines; it fires at or before the next one. */
  #watch: Timer | undefined = undefined;

  constructor(connection: Connection, qid: number, entries: number, maxCapsuleData: number) {
    this.connection = connection;
    this.qid = qid;
    this.entries = entries;
    this.reserved = qid === 0 ? 1 : 0;
    this.maxCapsuleData = maxCapsuleData;
  }

  /** Commands that are here: outstanding and waiting. What the choice of a queue goes by. */
  get load(): number {
    return this.outstanding + this.#waiting.length;
  }
  /** Watches the deadlines of its commands. */
  get timer(): Timer | undefined {
    return this.#watch;
  }
  get waiting(): number {
    return this.#waiting.length;
  }
  /** Something is under way. An Asynchronous Event Request, which waits for ever, is not. */
  get busy(): boolean {
    return this.#slots.some((slot) => slot.request !== undefined && slot.deadline !== Infinity);
  }

  // ---- what we send

  /** Sends the request, or has it wait for a slot. False: the queue is closed, the request was not taken. */
  submit(request: Request): boolean {
    assert(request.place === 'idle', 'a request is submitted once');
    if (this.#closed) return false;
    request.queue = this;
    const slot = this.#take(request.urgent);
    if (slot === undefined) {
      request.place = 'waiting';
      this.#waiting.push(request);
    } else this.#send(slot, request);
    return true;
  }

  #take(urgent: boolean): Slot | undefined {
    if (this.outstanding >= this.entries - 1 - (urgent ? 0 : this.reserved)) return undefined;
    this.outstanding++;
    const slot = this.#free.pop();
    if (slot !== undefined) return slot;
    const made = new Slot(this, this.#slots.length);
    this.#slots.push(made);
    return made;
  }

  #send(slot: Slot, request: Request): void {
    const { sender, env } = this.connection;
    slot.begin(request, env.clock.now());
    slot.look = this.#look;
    request.place = 'sent';
    request.slot = slot.index;
    const { view, length } = request;
    SqeHead.cid.set(view, 0, slot.cid);
    const inCapsule = request.direction === 'out' && length > 0 && length <= this.maxCapsuleData;
    Sgl.length.set(view, DPTR, length);
    view.setUint8(DPTR + 15, inCapsule ? SglId.inCapsule : SglId.transport);

    const at = sender.begin(PduType.CapsuleCmd, 0, inCapsule ? length : 0) + CapsuleCmd.sqe.offset;
    for (let i = 0; i < 64; i += 4) sender.view.setUint32(at + i, view.getUint32(i, true), true);
    if (inCapsule) {
      slot.granted = length;
      sender.end(request.parts);
      slot.unsent++;
      sender.notify(slot);
    } else sender.end();
    if (slot.deadline !== Infinity) this.#watchUntil(slot.deadline);
  }

  /**
   * Whether a command went out and was answered since the last call. The controller restarts its timer when a command
   * comes, so the answer to one that went out long ago says nothing: it may have stood in line all the time.
   */
  traffic(): boolean {
    const traffic = this.#traffic;
    this.#look++;
    this.#traffic = false;
    return traffic;
  }

  /** An R2T: sends what it asks for, in PDUs of at most MAXH2CDATA. */
  #sendData(slot: Slot, request: Request, ttag: number, length: number): void {
    const { sender } = this.connection;
    for (let left = length; left > 0;) {
      const take = Math.min(left, this.maxH2cData);
      const at = sender.begin(PduType.H2CData, left === take ? Flag.last : 0, take);
      H2CData.cccid.set(sender.view, at, slot.cid);
      H2CData.ttag.set(sender.view, at, ttag);
      H2CData.datao.set(sender.view, at, slot.granted);
      H2CData.datal.set(sender.view, at, take);
      cut(request.parts, slot.granted, take, this.#gather);
      sender.end(this.#gather);
      this.#gather.length = 0;
      slot.granted += take;
      left -= take;
    }
    slot.unsent++;
    sender.notify(slot);
  }

  // ---- what the controller sends

  /** The header of a C2HData PDU: the slot whose data follows. */
  expectData(header: DataView, dataLength: number): Slot {
    const slot = this.#find(C2HData.cccid.get(header, 0), C2HData.cccid.offset, 'C2HData');
    const request = slot.request!;
    if (request.direction !== 'in')
      throw invalidField(C2HData.cccid.offset, `C2HData for CID ${slot.cid}, which reads nothing`);
    if (slot.last) throw sequenceError(`C2HData for CID ${slot.cid} after its last`);
    const offset = C2HData.datao.get(header, 0);
    if (offset !== request.received || offset + dataLength > request.length)
      throw new ProtocolFault(
        Fes.OutOfRange,
        0,
        `C2HData of ${offset}+${dataLength}, expected from ${request.received} to ${request.length}`,
      );
    const last = C2HData.flags.last.get(header, 0) === 1;
    if (!last && C2HData.flags.success.get(header, 0) === 1)
      throw invalidField(C2HData.flags.offset, 'C2HData with SUCCESS but without LAST_PDU');
    slot.last = last;
    return slot;
  }

  /** A C2HData PDU is complete. */
  dataComplete(slot: Slot, header: DataView, digestOk: boolean): void {
    if (!digestOk) slot.digestOk = false;
    // Strictly SUCCESS belongs to queues without SQ flow control; real targets set it with flow control as well.
    if (C2HData.flags.success.get(header, 0) === 1) this.#succeed(slot);
  }

  /** An R2T is complete. */
  readyToTransfer(header: DataView): void {
    const slot = this.#find(R2T.cccid.get(header, 0), R2T.cccid.offset, 'R2T');
    const request = slot.request!;
    if (request.direction !== 'out')
      throw invalidField(R2T.cccid.offset, `R2T for CID ${slot.cid}, which writes nothing`);
    const offset = R2T.r2to.get(header, 0);
    const length = R2T.r2tl.get(header, 0);
    if (length === 0) throw invalidField(R2T.r2tl.offset, 'R2T with R2TL 0');
    if (offset !== slot.granted || offset + length > request.length)
      throw new ProtocolFault(
        Fes.OutOfRange,
        0,
        `R2T for ${offset}+${length}, expected from ${slot.granted} to ${request.length}`,
      );
    this.#sendData(slot, request, R2T.ttag.get(header, 0), length);
  }

  /** A response capsule is complete. */
  response(header: DataView): void {
    const cqe = CapsuleResp.cqe.offset;
    const slot = this.#find(Cqe.cid.get(header, cqe), CID_OFFSET, 'a response');
    const request = slot.request!;
    this.sqhd = Cqe.sqhd.get(header, cqe);
    request.dw0 = Cqe.dw0.get(header, cqe);
    request.dw1 = Cqe.dw1.get(header, cqe);
    const told = Cqe.status.get(header, cqe) >>> 1;
    // 370h and 371h are the host's own words; what a controller answered is over.
    const status = HOST_WORDS.includes(statusCode(told)) ? Status.InternalPathError : told;
    if (status === 0) this.#succeed(slot);
    else this.#complete(slot, status);
  }

  /** The command with this CID. An older use of the slot, or an answered command, is not it. */
  #find(cid: number, offset: number, what: string): Slot {
    const slot = this.#slots[cid & INDEX_MASK];
    if (slot?.cid !== cid || slot.request === undefined || slot.answered)
      throw invalidField(
        offset,
        `${what} for CID ${cid.toString(16)}h, ${slot?.cid === cid ? 'which is answered already' : 'which is not in use'}`,
      );
    return slot;
  }

  /** The controller says that all is well: then all of the data must have moved. */
  #succeed(slot: Slot): void {
    const request = slot.request!;
    if (request.direction === 'in' && request.exact && request.received < request.length)
      throw sequenceError(`success of CID ${slot.cid} with ${request.received} bytes of ${request.length}`);
    if (request.direction === 'out' && slot.granted < request.length)
      throw sequenceError(
        `success of CID ${slot.cid}, which sent ${slot.granted} bytes of ${request.length}`,
      );
    this.#complete(slot, slot.digestOk ? 0 : Status.TransientTransportError);
  }

  // ---- the end of a command

  #complete(slot: Slot, status: number): void {
    slot.answered = true;
    if (slot.look === this.#look) this.#traffic = true;
    slot.request!.status = status;
    if (slot.unsent === 0) this.#finish(slot);
  }

  /** The socket has the data of this slot no more. */
  letGo(slot: Slot): void {
    if (slot.answered) this.#finish(slot);
    else if (slot.leaving) this.#part(slot);
    this.connection.settle();
  }

  #finish(slot: Slot): void {
    const request = slot.request!;
    slot.request = undefined;
    this.#free.push(slot);
    this.outstanding--;
    this.#pump();
    this.#release(request);
  }

  /** Gives free slots to those who wait. */
  #pump(): void {
    for (let next = this.#waiting.peek(); next !== undefined && !this.#closed; next = this.#waiting.peek()) {
      const slot = this.#take(next.urgent);
      if (slot === undefined) return;
      this.#waiting.shift();
      this.#send(slot, next);
    }
  }

  #release(request: Request): void {
    request.place = 'idle';
    request.queue = undefined;
    request.slot = -1;
    request.owner.requestDone(request);
  }

  /**
   * The owner gives up. He gets his request back by `requestDone`, with 370h when it was never sent, else with 371h,
   * as soon as the socket has let go of its data; the slot waits on for the answer.
   */
  abandon(request: Request): void {
    if (request.place === 'waiting') {
      this.#waiting.remove(request);
      request.status = Status.HostPathError;
      this.#release(request);
    } else if (request.place === 'sent') {
      const slot = this.#slots[request.slot]!;
      if (slot.answered) return;
      slot.leaving = true;
      if (slot.unsent === 0) this.#part(slot);
    }
  }

  #part(slot: Slot): void {
    const request = slot.replace();
    request.status = Status.AbortedByHost;
    this.#release(request);
  }

  // ---- time-outs

  #watchUntil(deadline: number): void {
    if (this.#watch !== undefined && this.#watch.due <= deadline) return;
    this.#watch?.cancel();
    const { clock } = this.connection.env;
    this.#watch = clock.timer(
      `${this.connection.name}: oldest command`,
      Math.max(0, deadline - clock.now()),
      () => {
        this.#watch = undefined;
        this.#checkDeadlines();
      },
    );
  }

  #checkDeadlines(): void {
    const now = this.connection.env.clock.now();
    let next = Infinity;
    for (const slot of this.#slots) {
      if (slot.request === undefined || slot.answered) continue;
      if (slot.deadline <= now) {
        if (!this.connection.timedOut(slot)) return;
        slot.aborting = true;
        slot.deadline = now + this.connection.owner.limits.abortTimeout;
      }
      next = Math.min(next, slot.deadline);
    }
    if (next !== Infinity) this.#watchUntil(next);
  }

  // ---- the end

  /** Takes nothing more; what waits was never sent (QUIESCE.13). */
  close(): void {
    this.#closed = true;
    this.#watch?.cancel();
    this.#watch = undefined;
    for (let request = this.#waiting.shift(); request !== undefined; request = this.#waiting.shift()) {
      request.status = Status.HostPathError;
      this.#release(request);
    }
  }

  /** The connection is dead: nothing of what was sent can be answered any more. */
  fail(): void {
    this.close();
    for (const slot of this.#slots) {
      if (slot.request === undefined || slot.answered) continue;
      slot.answered = true;
      slot.request.status = Status.AbortedByHost;
      if (slot.unsent === 0) this.#finish(slot);
    }
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    let used = 0;
    for (const slot of this.#slots) {
      assert(slot.unsent >= 0, `queue ${this.qid}: the socket let go of slot ${slot.index} too often`);
      if (slot.request === undefined) continue;
      used++;
      assert(
        slot.request.place === 'sent' && slot.request.slot === slot.index,
        `slot ${slot.index}: its request is elsewhere`,
      );
      assert(slot.granted <= slot.request.length, `slot ${slot.index}: sent more than there is`);
    }
    assert(used === this.outstanding, `queue ${this.qid}: ${used} slots in use, counted ${this.outstanding}`);
    assert(used + this.#free.length === this.#slots.length, `queue ${this.qid}: a slot is lost`);
    assert(used <= this.entries - 1, `queue ${this.qid}: more commands than it may have`);
    assert(
      this.#waiting.length === 0 || used >= this.entries - 1 - this.reserved,
      `queue ${this.qid}: a command waits although a slot is free`,
    );
  }
}
