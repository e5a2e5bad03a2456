/**
 * A queue: the commands of one connection. It takes capsules, asks for write data and gathers it, runs the command's
 * handler, and answers. Before Connect it knows that one command only.
 */
import { CapsuleResp, C2HData, Flag, H2CData, PduType, R2T } from '../pdu/pdus.ts';
import { Fes, ProtocolFault, invalidField, sequenceError } from '../pdu/fault.ts';
import { Cqe, SQHD_NONE } from '../nvme/cqe.ts';
import { FABRICS_OPCODE } from '../nvme/opcode.ts';
import { DPTR, PSDT_SGL, PSDT_SGL_METADATA, ReadWrite, Sgl, SglId, SqeHead } from '../nvme/sqe.ts';
import { DNR, Status } from '../nvme/status.ts';
import { assert } from '../runtime/assert.ts';
import { empty } from '../runtime/empty.ts';
import { ADMIN } from './admin.ts';
import { Command } from './command.ts';
import type { Connection } from './connection.ts';
import type { Controller } from './controller.ts';
import { Fuse, FusedPair, fusedHandler, matches } from './fused.ts';
import { FABRICS } from './fabrics.ts';
import type { Handler } from './handler.ts';
import { IO } from './io.ts';
import { Fifo } from '../runtime/fifo.ts';
import type { Volume } from '../storage/volume.ts';
import type { Namespace } from './namespace.ts';
import type { Waiter } from './budget.ts';

const SUCCESS_LAST = Flag.last | Flag.success;

export class Queue implements Waiter {
  readonly connection: Connection;
  /** Set by Connect. */
  controller: Controller | undefined = undefined;
  qid = 0;
  /** Entries (SQSIZE + 1). Until Connect: one command at a time. */
  entries = 1;
  flowControl = true;
  /** In-capsule space of all entries, taken from the write budget. */
  capsuleSpace = 0;
  #head = 0;

  /** The last capsule was the first of a fused pair: it waits for the second, which is the next one, or has failed. */
  #fused: Command | 'failed' | undefined = undefined;

  readonly #slots: Command[] = [];
  readonly #free: Command[] = [];
  /** Commands that have not been answered. */
  outstanding = 0;
  /** Commands that are with storage or wait for it. */
  executing = 0;
  /** Commands whose write data waits for budget, in order, and bytes granted at present. */
  readonly #granting = new Fifo<Command>();
  granted = 0;
  /** Reads that wait for the host to take what it has been sent, in order; and bytes of those that run. */
  readonly #reading = new Fifo<Command>();
  #readBytes = 0;
  #pumping = false;

  /** The number of the chunk that is received, from 1, and commands that have slices of it. */
  chunk = 0;
  #holders = 0;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** Connect succeeded. */
  attach(
    controller: Controller,
    qid: number,
    entries: number,
    flowControl: boolean,
    capsuleSpace: number,
  ): void {
    this.controller = controller;
    this.qid = qid;
    this.entries = entries;
    this.flowControl = flowControl;
    this.capsuleSpace = capsuleSpace;
  }

  // ---- what the host sends

  /** A chunk begins: whoever takes slices of it `holds` it, until he is done. */
  beginChunk(): void {
    this.chunk++;
    this.#holders = 0;
  }

  holds(command: Command): void {
    command.chunk = this.chunk;
    this.#holders++;
  }

  letGo(command: Command): void {
    command.chunk = 0;
    this.#holders--;
  }

  /** Somebody has slices of the last chunk. What came before Connect, or for the Admin queue, may live on. */
  get isHeld(): boolean {
    return this.#holders > 0;
  }

  /** A capsule's header is here. */
  accept(header: DataView, dataLength: number): Command {
    // A response may reach the host before we learn that the socket took it, so slots are counted by answers.
    if (this.outstanding >= this.entries) throw sequenceError(`more than ${this.entries} commands at once`);
    let command = this.#free.pop();
    if (command === undefined) {
      command = new Command(this, this.#slots.length);
      this.#slots.push(command);
    }
    this.outstanding++;
    command.begin(header, 8, dataLength);
    return command;
  }

  /** The header of an H2CData PDU: the command that it belongs to. */
  expectData(header: DataView, dataLength: number): Command {
    const command = this.#slots[H2CData.ttag.get(header, 0)];
    if (command?.phase !== 'receiving' || command.granted === 0)
      throw invalidField(
        H2CData.ttag.offset,
        `H2CData with TTAG ${H2CData.ttag.get(header, 0)}, for which nothing was asked`,
      );
    if (command.cid !== H2CData.cccid.get(header, 0))
      throw invalidField(
        H2CData.cccid.offset,
        `H2CData with CCCID ${H2CData.cccid.get(header, 0)}, not ${command.cid}`,
      );
    if (dataLength === 0) throw invalidField(H2CData.datal.offset, 'H2CData without data');
    const offset = H2CData.datao.get(header, 0);
    if (offset !== command.received || offset + dataLength > command.granted)
      throw new ProtocolFault(
        Fes.OutOfRange,
        0,
        `H2CData of ${offset}+${dataLength}, expected from ${command.received} to ${command.granted}`,
      );
    const last = offset + dataLength === command.granted;
    if ((H2CData.flags.last.get(header, 0) === 1) !== last)
      throw invalidField(
        H2CData.flags.offset,
        `H2CData with LAST_PDU ${last ? 'clear at' : 'set before'} the end of the R2T`,
      );
    return command;
  }

  /** A capsule, or an H2CData PDU, is complete. */
  pduComplete(command: Command, digestOk: boolean): void {
    if (!digestOk && command.problem === 0) command.problem = Status.TransientTransportError;
    if (command.handler === undefined) this.#dispatch(command);
    else if (command.received === command.granted) this.#dataOrExecute(command);
  }

  // ---- one command, step by step

  #handler(command: Command): Handler | undefined {
    if (command.opcode === FABRICS_OPCODE) return FABRICS.get(command.fctype);
    if (this.qid !== 0) return IO.get(command.opcode);
    return ADMIN.get(command.opcode);
  }

  #dispatch(command: Command): void {
    const fuse = SqeHead.flags.fuse.get(command.view, 0);
    if (fuse !== Fuse.none || this.#fused !== undefined) {
      this.#dispatchFused(command, fuse);
      return;
    }
    const status = this.#check(command, this.#handler(command));
    if (status !== 0) this.complete(command, status);
    else this.#begin(command);
  }

  /** The command is good: its data is fetched, if there is more of it, and it runs. */
  #begin(command: Command): void {
    const handler = command.handler!;
    if (handler.transfer === 'in' && command.length > 0) this.#dataOrExecute(command);
    else this.#execute(command);
  }

  /** Around a fused pair: nothing may come between its two commands (Base 2.1, section 3.4.2). */
  #dispatchFused(command: Command, fuse: number): void {
    const first = this.#fused;
    this.#fused = undefined;
    if (fuse !== Fuse.second) {
      if (first instanceof Command) this.complete(first, Status.AbortedMissingFused);
      if (fuse === Fuse.none) this.#dispatch(command);
      else this.#dispatchFirst(command, fuse);
    } else if (first === undefined) this.complete(command, Status.AbortedMissingFused);
    else if (first === 'failed') this.complete(command, Status.AbortedFailedFused);
    else this.#dispatchSecond(first, command);
  }

  #dispatchFirst(command: Command, fuse: number): void {
    const status = this.#checkFused(command, fuse);
    if (status === 0) this.#fused = command;
    else {
      this.#fused = 'failed';
      this.complete(command, status);
    }
  }

  #dispatchSecond(first: Command, second: Command): void {
    let status = this.#checkFused(second, Fuse.second);
    let firstStatus: number = Status.AbortedFailedFused;
    if (status === 0 && !matches(first, second)) firstStatus = status = second.invalid(ReadWrite.slba.offset);
    if (status !== 0) {
      this.complete(first, firstStatus);
      this.complete(second, status);
      return;
    }
    const pair = new FusedPair(first, second);
    this.#begin(first);
    // The first may have taken the budget for both.
    if (second.pair === pair && second.reserved === 0) this.#begin(second);
  }

  #checkFused(command: Command, fuse: number): number {
    const handler = this.#handler(command);
    const fused = fusedHandler(handler, fuse);
    const status = this.#check(command, fused ?? handler);
    return status === 0 && fused === undefined ? command.invalid(SqeHead.flags.offset) : status;
  }

  #check(command: Command, handler: Handler | undefined): number {
    const refused = this.connection.gate(command);
    if (refused !== 0) return refused;
    if (command.problem !== 0) return command.problem;
    if (handler === undefined) return Status.InvalidOpcode | DNR;
    const psdt = SqeHead.flags.psdt.get(command.view, 0);
    if (psdt !== PSDT_SGL && psdt !== PSDT_SGL_METADATA) return command.invalid(SqeHead.flags.offset, 6);
    const status = handler.check(command);
    if (status !== 0) return status;
    command.handler = handler;
    return command.length > 0 ? this.#checkSgl(command, handler.transfer) : 0;
  }

  /** The SGL must describe room for, or the place of, all of the data. */
  #checkSgl(command: Command, transfer: Handler['transfer']): number {
    const id = command.view.getUint8(DPTR + 15);
    const length = Sgl.length.get(command.view, DPTR);
    if (id !== SglId.transport && !(id === SglId.inCapsule && transfer === 'in'))
      return Status.SglTypeInvalid | DNR;
    if (length < command.length) return Status.DataSglLengthInvalid | DNR;
    if (id === SglId.transport) {
      if (command.capsuleData > 0) return Status.SglTypeInvalid | DNR;
      return 0;
    }
    const offset = Sgl.address.get(command.view, DPTR);
    if (offset !== 0 && offset >= command.capsuleData) return Status.SglOffsetInvalid | DNR;
    if (offset + command.length > command.capsuleData) return Status.DataSglLengthInvalid | DNR;
    cut(command.op.parts, offset, command.length);
    command.received = command.length;
    return 0;
  }

  #dataOrExecute(command: Command): void {
    if (command.problem !== 0) this.complete(command, command.problem);
    else if (command.received < command.length) {
      // What has its budget never stands behind what waits for some.
      if (command.reserved > 0) this.#request(command);
      else {
        command.phase = 'granting';
        // The first of a pair takes the budget for both: two pairs must not have half of it each.
        if (command !== command.pair?.second || command.pair.first.phase !== 'granting')
          this.#granting.push(command);
        this.#grant();
      }
    } else this.#execute(command);
  }

  /** Takes the write budget for all of a command's data, in order of arrival, as far as it goes. */
  #grant(): void {
    const { limits, writeBudget } = this.connection.target;
    for (let command = this.#granting.peek(); command !== undefined; command = this.#granting.peek()) {
      const second = this.#secondOf(command);
      const length = command.length + (second?.length ?? 0);
      // What a queue holds may exceed its share by no more than one command, so that any command fits. The less is
      // left, the less one may hold: hosts that do not send what they were granted leave some to those that come later.
      const share = Math.min(limits.queueWriteBudget, writeBudget.left);
      if (this.granted > 0 && this.granted + length > share) {
        // Its own commands wake it; others need not stand behind it.
        writeBudget.forget(this);
        return;
      }
      if (!writeBudget.take(length, this)) return;
      this.#granting.shift();
      this.granted += length;
      this.#receive(command);
      if (second !== undefined) this.#receive(second);
    }
  }

  /** The second command of a pair whose first is `command`, when it needs budget too. */
  #secondOf(command: Command): Command | undefined {
    const second = command.pair?.second;
    return second === undefined || second === command || !this.#needsBudget(second) ? undefined : second;
  }

  #needsBudget({ received, reserved, length }: Command): boolean {
    return received < length && reserved === 0;
  }

  /** `command`'s budget is taken. */
  #receive(command: Command): void {
    command.reserved = command.length;
    command.phase = 'receiving';
    this.#request(command);
  }

  /** Sends an R2T for what is missing, up to MAXH2CDATA; there is one at a time per command (MAXR2T is at least 1). */
  #request(command: Command): void {
    const { env, sender, target } = this.connection;
    const length = Math.min(command.length - command.received, target.limits.maxH2cData);
    command.granted = command.received + length;
    command.grantedAt = env.clock.now();
    const at = sender.begin(PduType.R2T, 0, 0);
    R2T.cccid.set(sender.view, at, command.cid);
    R2T.ttag.set(sender.view, at, command.tag);
    R2T.r2to.set(sender.view, at, command.received);
    R2T.r2tl.set(sender.view, at, length);
    sender.end();
  }

  budgetFreed(): void {
    this.#grant();
  }

  #execute(command: Command): void {
    command.phase = 'executing';
    this.executing++;
    if (command.handler!.transfer === 'out') {
      command.parked = true;
      this.#reading.push(command);
      this.pump();
    } else command.handler!.execute(command);
  }

  /** Starts reads while the host takes what it is sent; one always may, whatever its size. */
  pump(): void {
    // A read that is answered at once pumps again: the loop that is running goes on instead.
    if (this.#pumping) return;
    this.#pumping = true;
    const { sender, target } = this.connection;
    for (let command = this.#reading.peek(); command !== undefined; command = this.#reading.peek()) {
      const pending = sender.pending + this.#readBytes;
      if (pending > 0 && pending + command.length > target.limits.sendBacklog) break;
      this.#reading.shift();
      this.#readBytes += command.length;
      command.parked = false;
      command.counted = true;
      command.handler!.execute(command);
    }
    this.#pumping = false;
  }

  // ---- what the host gets

  /** Answers the command with `status`, and its data when that is 0. */
  complete(command: Command, given: number): void {
    // What was stopped half-way says why.
    const status = given === Status.AbortRequested && command.problem !== 0 ? command.problem : given;
    if (command.phase === 'free' || command.phase === 'sending')
      assert(false, `command ${command.cid} of queue ${this.qid} completed twice`);
    if (command.phase === 'executing') {
      this.executing--;
      if (command.counted) this.#readBytes -= command.length;
    }
    this.outstanding--;
    if (command.reserved > 0) this.#giveBack(command);
    if (this.connection.open) {
      if (status !== 0) this.connection.failed(command, status);
      this.#answer(command, status);
    }
    const { pair } = command;
    if (command === this.#fused) this.#fused = 'failed';
    if (!command.lent) this.#release(command);
    else {
      command.phase = 'sending';
      this.connection.sender.notify(command);
    }
    if (pair !== undefined) this.#endOther(pair, command);
    tellOver(command);
    this.pump();
    this.connection.settle();
  }

  /** One command of a pair has ended before the pair did. */
  #endOther(pair: FusedPair, command: Command): void {
    const other = pair.other(command);
    pair.part();
    if (other.phase === 'executing') this.complete(other, Status.AbortedFailedFused);
    else this.#stop(other, Status.AbortedFailedFused);
  }

  #answer(command: Command, status: number): void {
    const { sender } = this.connection;
    if (this.flowControl && ++this.#head === this.entries) this.#head = 0;
    const parts = command.lent ? command.op.parts : command.reply;
    if (status === 0 && parts !== undefined) {
      let length = 0;
      for (const part of parts) length += part.length;
      // Without flow control nobody waits for SQHD: the data's last PDU may say it all.
      const all = !this.flowControl && command.dw0 === 0 && command.dw1 === 0;
      const at = sender.begin(PduType.C2HData, all ? SUCCESS_LAST : Flag.last, length);
      C2HData.cccid.set(sender.view, at, command.cid);
      C2HData.datal.set(sender.view, at, length);
      sender.end(parts);
      if (all) return;
    }
    const at = sender.begin(PduType.CapsuleResp, 0, 0);
    const cqe = at + CapsuleResp.cqe.offset;
    Cqe.dw0.set(sender.view, cqe, command.dw0);
    Cqe.dw1.set(sender.view, cqe, command.dw1);
    Cqe.sqhd.set(sender.view, cqe, this.flowControl ? this.#head : SQHD_NONE);
    Cqe.cid.set(sender.view, cqe, command.cid);
    Cqe.status.set(sender.view, cqe, status << 1);
    sender.end();
  }

  /** The socket has taken (or will never take) what a read lent. */
  sent(command: Command): void {
    command.volume!.giveBack(command.op);
    this.#release(command);
    this.pump();
  }

  /** The socket could not read something of what it was lent. */
  lentFault(): void {
    for (const { phase, op, volume } of this.#slots)
      if (phase === 'sending' && op.lent) volume!.lentFault(op);
  }

  #giveBack(command: Command): void {
    this.granted -= command.reserved;
    this.connection.target.writeBudget.release(command.reserved);
    command.reserved = 0;
    if (this.#granting.length > 0) this.#grant();
  }

  #release(command: Command): void {
    command.phase = 'free';
    empty(command.op.parts);
    command.reply = undefined;
    command.attachment = undefined;
    command.namespace = undefined;
    command.volume = undefined;
    command.handler = undefined;
    command.expected = undefined;
    if (command.chunk === this.chunk && this.qid !== 0) this.letGo(command);
    this.#free.push(command);
  }

  // ---- the end

  /**
   * The connection is lost (GHOST.1): what has not been handed to storage is dropped here; the rest finishes, keeps its
   * blocks until then, and is not answered.
   */
  drop(): void {
    this.#fused = undefined;
    this.#granting.clear();
    this.connection.target.writeBudget.forget(this);
    this.#reading.clear();
    for (const command of this.#slots) {
      if (command.phase === 'free' || command.phase === 'sending') continue;
      if (command.phase !== 'executing' || command.parked) this.#abandon(command);
    }
    for (const command of this.#cancelAll(this.#slots)) {
      const { pair } = command;
      this.#abandon(command);
      // The operation of the first is the second's too, once the write has begun.
      if (pair !== undefined) this.#abandon(pair.second);
    }
  }

  /**
   * Takes from storage what it has not begun of these commands, and gives those that it gave up. All at once: one that
   * goes must not start another that is about to.
   */
  #cancelAll(commands: readonly Command[]): Command[] {
    const withStorage = new Map<Volume, Command[]>();
    for (const command of commands) {
      const { volume, phase, parked } = command;
      if (phase !== 'executing' || parked || volume === undefined) continue;
      const together = withStorage.get(volume);
      if (together === undefined) withStorage.set(volume, [command]);
      else together.push(command);
    }
    const gone: Command[] = [];
    for (const [volume, together] of withStorage) {
      const dropped = new Set(volume.cancelAll(together.map(({ op }) => op)));
      gone.push(...together.filter(({ op }) => dropped.has(op)));
    }
    return gone;
  }

  /** Forgets a command that nobody else holds, without an answer. */
  #abandon(command: Command): void {
    if (command.phase === 'executing') this.executing--;
    this.outstanding--;
    command.pair?.part();
    if (command.parked) command.handler?.forget?.(command);
    if (command.reserved > 0) this.#giveBack(command);
    this.#release(command);
    tellOver(command);
  }

  /**
   * Ends the command with `cid` by Command Abort Requested, if nothing irrevocable is under way; true: it did. One
   * whose data is on its way ends so when that is here.
   */
  abort(cid: number): boolean {
    const command = this.#slots.find(
      (each) => each.cid === cid && each.phase !== 'free' && each.phase !== 'sending',
    );
    if (command === undefined) return false;
    if (this.qid === 0 && this.controller?.asyncEvents.abort(cid, Status.AbortRequested) === true)
      return true;
    return this.#stop(command, Status.AbortRequested);
  }

  /** Aborts the commands that `isMeant` names: how many ended now, and how many do when their data has come. */
  cancel(isMeant: (command: Command) => boolean): { now: number; later: number } {
    let now = 0;
    let later = 0;
    for (const command of [...this.#slots]) {
      if (command.phase === 'free' || command.phase === 'sending' || !isMeant(command)) continue;
      if (this.#stop(command, Status.AbortRequested)) now++;
      else if (command.problem !== 0) later++;
    }
    return { now, later };
  }

  /**
   * Preempt and Abort: commands on the namespace end with its status now, or when data is here that is on its way.
   * `wait` is called for each that storage does not give up, and what it gives when that one is over: nothing waits for
   * a host.
   */
  preempt(namespace: Namespace, wait: () => () => void): void {
    const status = Status.AbortedPreempt;
    // Reservation commands have no volume: they have a line of their own.
    const meant = this.#slots.filter(
      ({ phase, namespace: its, volume }) =>
        phase !== 'free' && phase !== 'sending' && its === namespace && volume !== undefined,
    );
    for (const command of meant) command.problem ||= status;
    for (const command of this.#cancelAll(meant))
      if (command.phase === 'executing') this.complete(command, status);
    for (const command of meant)
      if (command.phase !== 'free' && command.phase !== 'sending' && !this.#stop(command, status))
        if (command.phase === 'executing') command.whenOver = wait();
  }

  /** Ends a command with `status` now, or when its data is here; true: now. False too when it is too late. */
  #stop(command: Command, status: number): boolean {
    if (command.phase === 'granting') this.#ungrant(command);
    else if (command.phase === 'receiving') {
      // What is on its way could not be told from the data of the next command in this slot.
      if (command !== this.#fused) {
        command.problem = status;
        return false;
      }
    } else if (!this.#unpark(command) && !this.#cancel(command)) return false;
    this.complete(command, status);
    return true;
  }

  /** Nothing of it is under way: it waits for the socket, or for the other command of its pair. */
  #unpark(command: Command): boolean {
    return (
      command.parked &&
      (this.#reading.remove(command) || this.#inPair(command) || command.handler?.forget?.(command) === true)
    );
  }

  #inPair({ pair }: Command): boolean {
    if (pair === undefined) return false;
    const { first } = pair;
    return first.phase !== 'executing' || first.parked || this.#cancel(first);
  }

  #cancel(command: Command): boolean {
    const { phase, volume, op } = command;
    return phase === 'executing' && volume?.cancel(op) === true;
  }

  /** Takes a command out of the line for budget; those behind it may go on. */
  #ungrant(command: Command): void {
    if (this.#granting.remove(command)) this.#grant();
  }

  /** Since when the host owes data that it was granted. */
  owedSince(): number | undefined {
    if (this.granted === 0) return undefined;
    let since: number | undefined;
    for (const command of this.#slots)
      if (command.phase === 'receiving' && command.granted > command.received)
        since = Math.min(since ?? Infinity, command.grantedAt);
    return since;
  }

  /** For tests and the simulator: every slot. */
  commands(): readonly Command[] {
    return this.#slots;
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    let outstanding = 0;
    let executing = 0;
    let granted = 0;
    for (const command of this.#slots) {
      if (command.phase !== 'free' && command.phase !== 'sending') outstanding++;
      if (command.phase === 'executing') executing++;
      granted += command.reserved;
    }
    assert(
      outstanding === this.outstanding,
      `queue ${this.qid}: ${outstanding} commands unanswered, counted ${this.outstanding}`,
    );
    assert(
      executing === this.executing,
      `queue ${this.qid}: ${executing} commands executing, counted ${this.executing}`,
    );
    assert(granted === this.granted, `queue ${this.qid}: ${granted} bytes granted, counted ${this.granted}`);
  }
}

/** Nothing of the command is with storage any more. */
function tellOver(command: Command): void {
  const { whenOver } = command;
  if (whenOver === undefined) return;
  command.whenOver = undefined;
  whenOver();
}

/** Keeps `length` bytes from `offset` of the gathered parts. */
function cut(parts: Uint8Array[], offset: number, length: number): void {
  if (offset === 0 && parts.length === 1 && parts[0]!.length === length) return;
  let skip = offset;
  let left = length;
  let kept = 0;
  for (const part of parts) {
    const from = Math.min(skip, part.length);
    skip -= from;
    const take = Math.min(left, part.length - from);
    left -= take;
    if (take > 0) parts[kept++] = part.subarray(from, from + take);
  }
  parts.length = kept;
}
