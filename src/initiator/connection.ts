/**
 * One TCP connection: the transport's own rules (ICResp, TermReq, faults, the end), under the queue that it carries.
 */
import { C2HTermReq, PduType } from '../pdu/pdus.ts';
import { Fes, ProtocolFault, fesName } from '../pdu/fault.ts';
import { Receiver, type PduHandler } from '../pdu/receiver.ts';
import { Sender } from '../pdu/sender.ts';
import { sendTermReq } from '../pdu/terminate.ts';
import { commandName } from '../nvme/opcode.ts';
import { SqeHead } from '../nvme/sqe.ts';
import { FabricsSqe } from '../nvme/fabrics.ts';
import { machine, type Machine } from '../runtime/machine.ts';
import type { ConnectOptions, Env, Level, Net, Transport, TransportEvents } from '../runtime/ports.ts';
import type { CloseWhy } from './close-why.ts';
import { failure, type Failure } from './failure.ts';
import { type Digests, readIcResp, sendIcReq } from './handshake.ts';
import type { Limits } from './limits.ts';
import { Queue } from './queue.ts';
import type { Slot } from './slot.ts';

/** Who wakes each state is said beside it. */
const STATES = {
  idle: ['connecting', 'ended'],
  /** TCP connects: the system answers, or the timer. */
  connecting: ['initializing', 'ended'],
  /** ICReq is sent: the controller's ICResp, or the timer. */
  initializing: ['ready', 'terminating', 'closing', 'lost'],
  /** Commands go; their own time-outs watch the controller. */
  ready: ['terminating', 'parting', 'closing', 'lost'],
  /** The controller leaves: nothing is sent any more. Its close wakes it, or the timer. */
  parting: ['closing', 'lost'],
  /** A TermReq is sent; input is discarded. The controller's close wakes it, or the timer. */
  terminating: ['closing', 'lost'],
  /** We closed; the transport says when it is over. */
  closing: ['lost'],
  /** The transport is gone, and gives back what it still has: the last write callback wakes it. */
  lost: ['ended'],
  ended: [],
} as const;

type State = keyof typeof STATES;

/** What a connection needs to know, and whom it tells. */
export interface ConnectionOwner extends Digests {
  readonly env: Env;
  readonly limits: Limits;
  readonly name: string;
  /** The sockets that it takes. */
  readonly net: Net;
  readonly to: ConnectOptions;
  /** ICResp was good: commands may go. */
  connectionReady(connection: Connection): void;
  /** It takes no more commands. Those in flight end when it is dead on our side, not before (QUIESCE.14). */
  connectionLost(why: Failure): void;
  /** It is dead, and its commands were given back: what took another way is sent at once. */
  commandsFailed(): void;
  /** Every command is over, and the socket has no buffer of ours. */
  connectionEnded(): void;
  /** A command was not answered in time. True: the controller was asked to abort it. */
  abort(connection: Connection, slot: Slot): boolean;
}

export class Connection implements PduHandler, TransportEvents {
  readonly env: Env;
  readonly owner: ConnectionOwner;
  readonly name: string;
  readonly queue: Queue;
  readonly state: Machine<State>;

  /** Commands went by it. */
  wasReady = false;
  /** One side said what the other does not understand. A header digest that is wrong is the network's fault. */
  protocolFault = false;
  /** The controller closed it before we did. */
  finSeen = false;

  #transport: Transport | undefined = undefined;
  #attempt: { cancel(): void } | undefined = undefined;
  #receiver: Receiver;
  #sender: Sender | undefined = undefined;
  /** The slot that the C2HData PDU under way belongs to. */
  #current: Slot | undefined = undefined;

  constructor(owner: ConnectionOwner, qid: number, entries: number, maxCapsuleData: number) {
    this.owner = owner;
    this.env = owner.env;
    this.name = `${owner.name} queue ${qid}`;
    this.queue = new Queue(this, qid, entries, maxCapsuleData);
    this.state = machine(this.env, this.name, STATES, 'idle');
    this.#receiver = new Receiver('controller', this, (bytes, previous) =>
      this.env.crypto.crc32c(bytes, previous),
    );
  }

  /** Only the queue uses it, and only while the connection is ready. */
  get sender(): Sender {
    return this.#sender!;
  }

  get ready(): boolean {
    return this.state.is('ready');
  }

  /** Sends what it was given, unless the end of the event that is being handled will. */
  flush(): void {
    if (this.ready && !this.sender.hold) this.sender.flush();
  }

  /** Where it comes from and goes to; undefined before it is connected. */
  get transport(): Transport | undefined {
    return this.#transport;
  }

  // ---- the beginning

  open(): void {
    const { to, limits } = this.owner;
    const seconds = limits.connectTimeout / 1000;
    this.state.to('connecting', 'opened');
    this.state.after('waits for the TCP connection', limits.connectTimeout, () => {
      this.#attempt?.cancel();
      this.#never(failure('ETIMEDOUT', `no TCP connection to ${this.#address()} within ${seconds} s`));
    });
    // Headers and data are copied to where they belong at once.
    this.#attempt = this.owner.net.connect({ ...to, chunksAreLent: true }, (error, transport) => {
      this.#attempt = undefined;
      if (transport !== undefined) this.#connected(transport);
      else if (this.state.is('connecting'))
        this.#never(failure(error?.code ?? 'EIO', error?.message ?? 'not connected'));
    });
  }

  #address(): string {
    const { host, port } = this.owner.to.to;
    return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  }

  #connected(transport: Transport): void {
    if (!this.state.is('connecting')) {
      // Given up while the answer was on its way.
      transport.start({ data: () => undefined, end: () => undefined, closed: () => undefined });
      transport.reset();
      return;
    }
    const { limits } = this.owner;
    this.#transport = transport;
    this.#sender = new Sender(this.env.clock, transport, (bytes, previous) =>
      this.env.crypto.crc32c(bytes, previous),
    );
    this.state.to('initializing', 'connected');
    this.state.after('waits for ICResp', limits.connectTimeout, () => {
      const seconds = limits.connectTimeout / 1000;
      this.#leave(
        'no ICResp in time',
        failure('ETIMEDOUT', `${this.#address()} did not answer ICReq within ${seconds} s`),
      );
    });
    transport.start(this);
    if (!this.state.is('initializing')) return;
    sendIcReq(this.#sender, this.owner);
  }

  // ---- transport events

  data(chunk: Uint8Array): void {
    const sender = this.#sender;
    if (sender === undefined || !this.#listening) return;
    sender.hold = true;
    try {
      this.#receiver.push(chunk);
    } catch (fault) {
      if (!(fault instanceof ProtocolFault)) throw fault;
      this.#fault(fault);
    } finally {
      sender.hold = false;
    }
    sender.flush();
  }

  end(): void {
    if (this.state.is('ready', 'terminating', 'parting')) this.finSeen = true;
    if (this.state.is('parting')) this.#close(this.#parting, true);
    else if (this.state.is('terminating')) this.#close('protocol fault');
    else if (this.#listening)
      this.#leave(
        'closed by the controller',
        failure('ECONNRESET', `${this.#address()} closed the connection`),
      );
  }

  closed(error?: string): void {
    const reason = error === undefined ? 'closed the connection' : `connection lost: ${error}`;
    const first = this.#listening;
    if (this.state.is('lost', 'ended')) return;
    if (first) this.#log('info', 'connection lost', { why: 'transport error', error });
    this.state.to('lost', 'transport error');
    // The owner is told before the commands end, so that nobody sends them this way again.
    if (first) this.owner.connectionLost(failure('ECONNRESET', `${this.#address()} ${reason}`));
    this.#sender?.abandon();
    this.queue.fail();
    this.owner.commandsFailed();
    this.settle();
  }

  /** What comes is looked at. */
  get #listening(): boolean {
    return this.state.is('initializing', 'ready');
  }

  // ---- PDUs

  onHeader(type: number, header: DataView, dataLength: number): void {
    if (this.ready && type === PduType.C2HData) this.#current = this.queue.expectData(header, dataLength);
  }

  onData(chunk: Uint8Array, start: number, end: number): void {
    const slot = this.#current;
    if (slot?.request !== undefined) slot.land(slot.request, chunk, start, end);
  }

  onPdu(type: number, header: DataView, digestOk: boolean): void {
    const slot = this.#current;
    this.#current = undefined;
    if (type === PduType.ICResp) this.#initialize(header);
    else if (type === PduType.C2HTermReq) this.#terminated(header);
    else if (!this.ready) return;
    else if (type === PduType.CapsuleResp) this.queue.response(header);
    else if (type === PduType.R2T) this.queue.readyToTransfer(header);
    else if (slot !== undefined) this.queue.dataComplete(slot, header, digestOk);
  }

  #initialize(header: DataView): void {
    if (!this.state.is('initializing')) return;
    const { headerDigest, dataDigest } = this.owner;
    const { alignment, maxH2cData } = readIcResp(header, this.owner);
    this.#receiver.headerDigest = this.sender.headerDigest = headerDigest;
    this.#receiver.dataDigest = this.sender.dataDigest = dataDigest;
    this.sender.alignment = alignment;
    this.queue.maxH2cData = maxH2cData;
    this.wasReady = true;
    this.state.to('ready', 'ICResp');
    this.owner.connectionReady(this);
  }

  #terminated(header: DataView): void {
    const fes = C2HTermReq.fes.get(header, 0);
    const fei = C2HTermReq.fei.get(header, 0);
    this.#log('warn', 'controller terminated the connection', { fes: fesName(fes), fei });
    this.protocolFault = fes !== Fes.HeaderDigestError;
    this.#leave(
      'terminated by the controller',
      failure(
        'EPROTO',
        `${this.#address()} ended the connection: ${fesName(fes)} (FEI ${fei.toString(16)}h)`,
      ),
    );
  }

  // ---- the end

  /** Sends a TermReq, then half-closes and gives the controller time to read it (TCP Transport 1.1, section 3.4). */
  #fault(fault: ProtocolFault): void {
    if (!this.#listening) return;
    this.#log('warn', 'protocol fault', { why: fault.message, fei: fault.fei });
    this.protocolFault = fault.fes !== Fes.HeaderDigestError;
    const why = failure('EPROTO', `${this.#address()}: ${fault.message}`);
    if (fault.silent) {
      this.#leave('protocol fault', why);
      return;
    }
    sendTermReq(PduType.H2CTermReq, fault, this.#receiver, this.sender);
    this.state.to('terminating', fault.message);
    this.state.after('waits for the controller to close', this.owner.limits.terminateTimeout, () => {
      this.#close('protocol fault');
    });
    this.#transport!.end();
    this.owner.connectionLost(why);
    this.queue.close();
  }

  /** A command's time is over. False: the connection ends, the controller or the way to it does not work any more. */
  timedOut(slot: Slot): boolean {
    const { view, timeout } = slot.request!;
    const name = commandName(this.queue.qid === 0, SqeHead.opc.get(view, 0), FabricsSqe.fctype.get(view, 0));
    this.#log('warn', 'command timed out', { command: name, cid: slot.cid, ms: timeout });
    if (!slot.aborting && this.owner.abort(this, slot)) return true;
    this.#leave(
      'a command was not answered in time',
      failure('ETIMEDOUT', `${this.#address()} did not answer ${name} within ${timeout / 1000} s`),
    );
    return false;
  }

  /** Ends the connection for a reason of its own, and tells the owner. */
  #leave(why: CloseWhy, reason: Failure): void {
    if (!this.#listening) return;
    this.#log(why === 'closed by the controller' ? 'info' : 'warn', 'connection ends', { why });
    this.#close(why);
    this.owner.connectionLost(reason);
    this.queue.close();
  }

  /** Never connected: nothing was sent, and there is nothing to wait for. */
  #never(why: Failure): void {
    this.state.to('ended', 'not connected');
    this.owner.connectionLost(why);
    this.queue.fail();
    this.owner.connectionEnded();
  }

  /** The owner ends the connection; `connectionEnded` follows, perhaps at once. */
  close(why: CloseWhy): void {
    this.#endBy(why, false);
  }

  /** As `close`, with a reset whatever is under way. */
  abort(why: CloseWhy): void {
    this.#endBy(why, true);
  }

  /**
   * The controller leaves, and closes each connection when nothing of it executes any more (GHOST.1): its close is
   * waited for, for a moment, because it says that nothing has to be waited for afterwards.
   */
  part(why: CloseWhy): void {
    if (!this.ready) {
      this.abort(why);
      return;
    }
    this.#parting = why;
    this.#current = undefined;
    this.state.to('parting', why);
    this.state.after('waits for the controller to leave', this.owner.limits.farewell, () => {
      this.#close(why, true);
    });
    this.queue.close();
  }
  #parting: CloseWhy = 'association lost';

  #endBy(why: CloseWhy, reset: boolean): void {
    if (this.state.is('idle', 'connecting')) {
      this.#attempt?.cancel();
      this.#attempt = undefined;
      this.state.to('ended', why);
      this.queue.fail();
      this.owner.connectionEnded();
    } else if (this.state.is('parting')) this.#close(why, reset);
    else if (this.#listening) {
      this.#close(why, reset);
      this.queue.close();
    }
  }

  /**
   * With commands in flight it is a reset: a FIN would leave writes in the kernel, which might still deliver them
   * after they were sent again elsewhere (QUIESCE.14).
   */
  #close(why: CloseWhy, reset = false): void {
    const inFlight = reset || this.queue.busy || this.sender.pending > 0;
    this.#current = undefined;
    this.state.to('closing', why);
    if (inFlight) this.#transport!.reset();
    else this.#transport!.close();
  }

  /** Over once the transport is gone and has given back every buffer. Idempotent. */
  settle(): void {
    if (!this.state.is('lost') || this.queue.outstanding > 0) return;
    this.state.to('ended', this.state.why);
    this.owner.connectionEnded();
  }

  #log(level: Level, what: string, fields: Record<string, string | number | undefined>): void {
    const local = this.#transport?.local;
    this.env.trace.event(level, what, {
      queue: this.name,
      to: this.#address(),
      from: local === undefined ? undefined : `${local.host}:${local.port}`,
      ...fields,
    });
  }
}
