/**
 * One TCP connection: the transport's own rules (ICReq, TermReq, faults, the orderly end), under the queue that it
 * carries.
 */
import { H2CTermReq, PduType } from '../pdu/pdus.ts';
import { ProtocolFault, fesName } from '../pdu/fault.ts';
import { Receiver, type PduHandler } from '../pdu/receiver.ts';
import { Sender } from '../pdu/sender.ts';
import { sendTermReq } from '../pdu/terminate.ts';
import { commandName } from '../nvme/opcode.ts';
import { statusName } from '../nvme/status.ts';
import { machine, type Machine } from '../runtime/machine.ts';
import type { Env, Transport, TransportEvents } from '../runtime/ports.ts';
import { type Borrower, mayBorrow } from '../storage/lending.ts';
import { SlabSharer } from '../storage/slabs.ts';
import type { CloseWhy } from './close-why.ts';
import type { Command } from './command.ts';
import { shakeHands } from './handshake.ts';
import { Pace, type PaceUser } from './pace.ts';
import type { Port } from './port.ts';
import { Queue } from './queue.ts';
import type { Target } from './target.ts';

/** Who wakes each state is said beside it. */
const STATES = {
  /** Waits for ICReq: the host, or the connect timer. */
  initializing: ['ready', 'draining', 'terminating', 'lost'],
  /** Takes commands. */
  ready: ['draining', 'terminating', 'lost'],
  /** Takes nothing more; what storage has is finished and answered, then our side closes: the last completion wakes it. */
  draining: ['terminating', 'lost', 'ended'],
  /** A TermReq is sent; input is discarded. The host's close wakes it, or the timer. */
  terminating: ['lost', 'ended'],
  /** The transport is gone; what storage has is finished: the last completion wakes it. */
  lost: ['ended'],
  ended: [],
} as const;

type State = keyof typeof STATES;

const FINISH = 'finishes what is under way';

export class Connection implements PduHandler, TransportEvents, Borrower, PaceUser {
  readonly env: Env;
  readonly target: Target;
  readonly port: Port;
  readonly id: number;
  readonly transport: Transport;
  readonly receiver: Receiver;
  readonly sender: Sender;
  readonly queue: Queue;
  /** Bytes that the host has sent. */
  received = 0;
  /** Its share of the buffers for reads. */
  readonly slabSharer = new SlabSharer();
  readonly state: Machine<State>;
  /** Who is on the other side, for logs: address, and host NQN once it is known. */
  readonly from: string;

  /** The command that the PDU under way belongs to. */
  #current: Command | undefined = undefined;
  readonly #pace: Pace;
  #halfClosed = false;
  #settling = false;

  constructor(port: Port, transport: Transport, id: number) {
    this.port = port;
    this.target = port.target;
    this.env = port.target.env;
    this.id = id;
    this.transport = transport;
    this.from = `${transport.remote.host}:${transport.remote.port}`;
    const { clock, crypto } = this.env;
    const crc32c = (bytes: Uint8Array, previous: number): number => crypto.crc32c(bytes, previous);
    this.receiver = new Receiver('host', this, crc32c);
    this.receiver.maxCapsuleData = this.target.limits.adminCapsuleData;
    this.receiver.maxData = this.target.limits.maxH2cData;
    this.sender = new Sender(clock, transport, crc32c);
    this.sender.onDrain = () => {
      this.#pace.drained();
      this.queue.pump();
      this.settle();
    };
    this.queue = new Queue(this);
    this.#pace = new Pace(clock, this.target.limits, this);
    this.state = machine(this.env, `connection ${id}`, STATES, 'initializing');
    this.#awaitConnect();
  }

  /** Commands are answered. */
  get open(): boolean {
    return this.#taking || this.state.now === 'draining';
  }

  /** Commands are taken. */
  get #taking(): boolean {
    return this.state.now === 'ready' || this.state.now === 'initializing';
  }

  #awaitConnect(): void {
    this.state.after('waits for Connect', this.target.limits.connectTimeout, () => {
      this.close('no Connect in time');
    });
  }

  // ---- transport events

  data(chunk: Uint8Array): void {
    this.received += chunk.length;
    if (!this.#taking) return;
    const { turn } = this.target;
    turn.begin();
    this.queue.beginChunk();
    this.sender.hold = true;
    try {
      this.receiver.push(chunk);
    } catch (fault) {
      if (!(fault instanceof ProtocolFault)) throw fault;
      this.#fault(fault);
    } finally {
      turn.end();
      this.sender.hold = false;
    }
    this.#pace.received();
    this.#current?.letGo();
    this.settle();
    this.sender.flush();
  }

  keeps(): boolean {
    return this.queue.isHeld;
  }

  end(): void {
    // After a TermReq our side ends when nothing executes any more, and with that the connection.
    this.close('closed by the host');
  }

  faulted(): void {
    this.queue.lentFault();
  }

  closed(error?: string): void {
    this.#lose(error === undefined ? 'closed by the host' : 'transport error', error);
  }

  // ---- what storage lends

  mayBorrow(length: number): boolean {
    const { sender, transport, target } = this;
    const readsPayload = transport.readsPayload || sender.dataDigest;
    const { backlog, pending } = sender;
    return mayBorrow({ readsPayload, backlog, turn: pending - backlog }, length, target.limits.lendAtOnce);
  }

  overdue(): void {
    this.close('the host does not read what others wait to change');
    this.transport.reset();
  }

  // ---- PDUs

  onHeader(type: number, header: DataView, dataLength: number): void {
    if (!this.#taking) return;
    if (type === PduType.CapsuleCmd) {
      this.#current = this.queue.accept(header, dataLength);
      const { controller } = this.queue;
      if (controller !== undefined) controller.traffic = true;
    } else if (type === PduType.H2CData) this.#current = this.queue.expectData(header, dataLength);
  }

  onData(chunk: Uint8Array, start: number, end: number): void {
    this.#current?.take(chunk, start, end);
  }

  onPdu(type: number, header: DataView, digestOk: boolean): void {
    if (type === PduType.ICReq) this.#begin(header);
    else if (type === PduType.H2CTermReq) this.#terminated(header);
    else {
      const command = this.#current;
      this.#current = undefined;
      if (command !== undefined && this.#taking) this.queue.pduComplete(command, digestOk);
    }
  }

  #begin(header: DataView): void {
    shakeHands(header, this.receiver, this.sender, this.target.limits.maxH2cData);
    this.state.to('ready', 'ICReq');
    this.#awaitConnect();
  }

  #terminated(header: DataView): void {
    const fes = H2CTermReq.fes.get(header, 0);
    this.#log('warn', 'host terminated the connection', {
      fes: fesName(fes),
      fei: H2CTermReq.fei.get(header, 0),
    });
    this.close('terminated by the host');
  }

  /** A command ended with an error. */
  failed(command: Command, status: number): void {
    this.queue.controller?.failed(command, status);
    if (this.env.trace.debug)
      this.#log('debug', 'command failed', {
        qid: this.queue.qid,
        cid: command.cid,
        command: commandName(this.queue.qid === 0, command.opcode, command.fctype),
        status: statusName(status),
      });
  }

  /** Connect succeeded: the queue belongs to a controller now. */
  connected(): void {
    this.state.cancel('waits for Connect');
    this.receiver.maxCapsuleData =
      this.queue.qid === 0 ? this.target.limits.adminCapsuleData : this.port.ioCapsuleData;
  }

  // ---- the end

  /** Sends a TermReq, then half-closes and gives the host time to read it (TCP Transport 1.1, section 3.4). */
  #fault(fault: ProtocolFault): void {
    // What came before it in the same chunk has ended the connection already.
    if (!this.#taking) return;
    this.#log('warn', 'protocol fault', { why: fault.message, fei: fault.fei });
    if (fault.silent) {
      this.close('terminated by the host');
      return;
    }
    sendTermReq(PduType.C2HTermReq, fault, this.receiver, this.sender);
    this.state.to('terminating', fault.message);
    this.#finishInTime();
    this.#leave('protocol fault');
  }

  /** Ends the connection in order: no more commands, what storage has is finished and answered, then FIN. */
  close(why: CloseWhy): void {
    if (!this.#taking) return;
    this.#log(why === 'closed by the host' ? 'info' : 'warn', 'connection ends', { why });
    this.state.to('draining', why);
    this.#finishInTime();
    this.#leave(why);
  }

  #finishInTime(): void {
    this.state.after(FINISH, this.target.limits.stallTimeout, () => {
      // What storage has is waited for however long it takes (GHOST.1); a host that does not read is not.
      if (this.#busy) this.#finishInTime();
      else this.transport.reset();
    });
  }

  #lose(why: CloseWhy, error: string | undefined): void {
    if (this.state.is('lost', 'ended')) return;
    if (this.#taking) this.#log('info', 'connection lost', { why, error });
    this.state.to('lost', why);
    this.sender.abandon();
    this.#leave(why);
  }

  #leave(why: CloseWhy): void {
    this.receiver.stopped = true;
    this.#current = undefined;
    this.#pace.end();
    this.queue.stopping.drop();
    this.queue.controller?.lost(this.queue, why);
    this.settle();
  }

  /** Does what is due now: back-pressure, and closing once nothing executes. Idempotent. */
  settle(): void {
    if (this.#settling) return;
    this.#settling = true;
    if (this.state.now === 'ready') this.#pace.settle();
    const state = this.state.now;
    if (!this.#taking && state !== 'ended' && !this.#busy) this.#finish();
    this.#settling = false;
  }

  /**
   * Something of it executes. The end of the Admin queue's connection tells the host that the association is over, so
   * that one waits for all of them.
   */
  get #busy(): boolean {
    const { executing, qid, controller } = this.queue;
    return executing > 0 || (qid === 0 && controller?.executing === true);
  }

  #finish(): void {
    // The Admin queue may have waited for this one.
    if (this.queue.qid !== 0) this.queue.controller?.admin.connection.settle();
    if (!this.state.is('lost') && !this.#halfClosed) {
      this.#halfClosed = true;
      this.sender.flush();
      this.transport.end();
      // Closing at once would lose what we sent to a reset: the host reads it, then closes; `closed` comes then.
      this.state.cancel(FINISH);
      this.state.after('waits for the host to close', this.target.limits.terminateTimeout, () => {
        this.transport.close();
      });
    }
    if (this.state.is('lost')) {
      this.state.to('ended', this.state.why);
      this.target.capsuleBudget.release(this.queue.capsuleSpace);
      this.queue.capsuleSpace = 0;
      this.queue.controller?.ended(this.queue);
      this.port.forget(this);
    }
  }

  /** Called now and then by the ports: nobody may make us wait for ever. */
  checkStalls(now: number): void {
    const why = this.state.is('ready') ? this.#pace.overdue(now) : undefined;
    if (why !== undefined) this.close(why);
  }

  #log(
    level: 'debug' | 'info' | 'warn',
    what: string,
    fields: Record<string, string | number | undefined>,
  ): void {
    const { controller, qid } = this.queue;
    this.env.trace.event(level, what, {
      connection: this.id,
      from: this.from,
      ...(controller && { host: controller.hostnqn, cntlid: controller.cntlid, qid }),
      ...fields,
    });
  }
}
