/**
 * A queue: the commands of one connection. It takes capsules, has write data asked for (grants.ts), runs the command's
 * handler, and answers. Before Connect it knows that one command only.
 */
import { CapsuleResp, C2HData, Flag, H2CData, PduType } from '../pdu/pdus.ts';
import { sequenceError } from '../pdu/fault.ts';
import { Cqe, SQHD_NONE } from '../nvme/cqe.ts';
import { FABRICS_OPCODE } from '../nvme/opcode.ts';
import { PSDT_SGL, PSDT_SGL_METADATA, SqeHead } from '../nvme/sqe.ts';
import { DNR, Status } from '../nvme/status.ts';
import { assert } from '../runtime/assert.ts';
import { empty } from '../runtime/empty.ts';
import { Fifo } from '../runtime/fifo.ts';
import { ADMIN } from './admin.ts';
import { Command } from './command.ts';
import type { Connection } from './connection.ts';
import type { Controller } from './controller.ts';
import { Fuse, type FusedPair } from './fused.ts';
import { Grants, grantedCommand } from './grants.ts';
import { Pairing } from './pairing.ts';
import { Stopping } from './stopping.ts';
import { checkSgl } from './sgl.ts';
import { FABRICS, outOfSequence } from './fabrics.ts';
import type { Handler } from './handler.ts';
import { IO } from './io.ts';

const SUCCESS_LAST = Flag.last | Flag.success;

export class Queue {
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

  readonly grants: Grants;
  readonly pairing = new Pairing(this);
  readonly stopping = new Stopping(this);

  readonly #slots: Command[] = [];
  readonly #free: Command[] = [];
  /** Commands that have not been answered. */
  outstanding = 0;
  /** Commands that are with storage or wait for it. */
  executing = 0;
  /** Reads that wait for the host to take what it has been sent, in order; and bytes of those that run. */
  readonly #reading = new Fifo<Command>();
  #readBytes = 0;
  #pumping = false;

  /** The number of the chunk that is received, from 1, and commands that have slices of it. */
  chunk = 0;
  #holders = 0;

  constructor(connection: Connection) {
    this.connection = connection;
    this.grants = new Grants(connection);
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
    return grantedCommand(this.#slots[H2CData.ttag.get(header, 0)], header, dataLength);
  }

  /** A capsule, or an H2CData PDU, is complete. */
  pduComplete(command: Command, digestOk: boolean): void {
    if (!digestOk && command.problem === 0) command.problem = Status.TransientTransportError;
    if (command.handler === undefined) this.dispatch(command);
    else if (command.received === command.granted) this.#dataOrExecute(command);
  }

  // ---- one command, step by step

  handlerOf(command: Command): Handler | undefined {
    if (command.opcode === FABRICS_OPCODE) return FABRICS.get(command.fctype);
    if (this.qid !== 0) return IO.get(command.opcode);
    return ADMIN.get(command.opcode);
  }

  dispatch(command: Command): void {
    const fuse = SqeHead.flags.fuse.get(command.view, 0);
    if (fuse !== Fuse.none || this.pairing.isOpen) {
      this.pairing.dispatch(command, fuse);
      return;
    }
    const status = this.check(command, this.handlerOf(command));
    if (status !== 0) this.complete(command, status);
    else this.begin(command);
  }

  /** The command is good: its data is fetched, if there is more of it, and it runs. */
  begin(command: Command): void {
    const handler = command.handler!;
    if (handler.transfer === 'in' && command.length > 0) this.#dataOrExecute(command);
    else this.#execute(command);
  }

  check(command: Command, handler: Handler | undefined): number {
    const refused = outOfSequence(command);
    if (refused !== 0) return refused;
    if (command.problem !== 0) return command.problem;
    if (handler === undefined) return Status.InvalidOpcode | DNR;
    const psdt = SqeHead.flags.psdt.get(command.view, 0);
    if (psdt !== PSDT_SGL && psdt !== PSDT_SGL_METADATA) return command.invalid(SqeHead.flags.offset, 6);
    const status = handler.check(command);
    if (status !== 0) return status;
    command.handler = handler;
    return command.length > 0 ? checkSgl(command, handler.transfer) : 0;
  }

  #dataOrExecute(command: Command): void {
    if (command.problem !== 0) this.complete(command, command.problem);
    else if (command.received < command.length) this.grants.ask(command);
    else this.#execute(command);
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
    if (command.reserved > 0) this.grants.giveBack(command);
    if (this.connection.open) {
      if (status !== 0) this.connection.failed(command, status);
      this.#answer(command, status);
    }
    const { pair } = command;
    this.pairing.over(command);
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
    else this.stopping.stop(other, Status.AbortedFailedFused);
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

  /** Nobody waits any more who is not with storage: see `stopping`. */
  clearLines(): void {
    this.pairing.clear();
    this.grants.clear();
    this.#reading.clear();
  }

  /** Takes a read out of the line for the socket; false: it does not stand there. */
  withdraw(command: Command): boolean {
    return this.#reading.remove(command);
  }

  /** Forgets a command that nobody else holds, without an answer. */
  abandon(command: Command): void {
    if (command.phase === 'executing') this.executing--;
    this.outstanding--;
    command.pair?.part();
    if (command.parked) command.handler?.forget?.(command);
    if (command.reserved > 0) this.grants.giveBack(command);
    this.#release(command);
    tellOver(command);
  }

  /** Every slot. */
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
    assert(
      granted === this.grants.granted,
      `queue ${this.qid}: ${granted} bytes granted, counted ${this.grants.granted}`,
    );
  }
}

/** Nothing of the command is with storage any more. */
function tellOver(command: Command): void {
  const { whenOver } = command;
  if (whenOver === undefined) return;
  command.whenOver = undefined;
  whenOver();
}
