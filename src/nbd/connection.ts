/**
 * One client: the handshake, then its requests. Replies leave in whatever order the disk answers. Memory is bounded by
 * not reading on: requests beyond what may be under way wait here, and while too many do nothing more is taken from the
 * socket. A request is never timed out; how long a disk may take is the disk's business.
 */
import { assert } from '../runtime/assert.ts';
import { Fifo } from '../runtime/fifo.ts';
import { machine, type Machine } from '../runtime/machine.ts';
import type { Transport, TransportEvents } from '../runtime/ports.ts';
import { type ByteDevice, lengthOf } from './byte-device.ts';
import { check, commandOf, isEmpty } from './commands.ts';
import type { Export } from './export.ts';
import { NbdFault } from './fault.ts';
import { negotiate } from './options.ts';
import { CommandType, Greeting, HandshakeFlag, Magic, RequestHeader } from './protocol.ts';
import { Receiver, type MessageHandler } from './receiver.ts';
import { doneChunk, errorChunk, simpleReply } from './replies.ts';
import { Request } from './request.ts';
import { Sender } from './sender.ts';
import type { NbdServer } from './server.ts';

/** Who wakes each state is said beside it. */
const STATES = {
  /** Waits for the next option: the client, or the timer. */
  negotiating: ['transmitting', 'draining', 'closing', 'lost'],
  /** Takes requests. */
  transmitting: ['draining', 'closing', 'lost'],
  /** Takes nothing more; what is under way is finished and answered: the last answer wakes it. */
  draining: ['closing', 'lost'],
  /** Our end is sent, or the transport closed. The client's close wakes it, or the timer. */
  closing: ['lost'],
  /** The transport is gone; what the disk has is given up: the last `done` wakes it. */
  lost: ['ended'],
  ended: [],
} as const;

/** Why a connection ends; logged. */
export type CloseWhy =
  | 'the client disconnected'
  | 'the client gave up'
  | 'the client closed without a word'
  | 'the client broke the protocol'
  | 'the client asked for an export that is not there'
  | 'no export was chosen in time'
  | 'transport error'
  | 'the export is taken away'
  | 'the server stops';

const HANDSHAKE = 'waits for the client to choose an export';

export class Connection implements MessageHandler, TransportEvents {
  readonly server: NbdServer;
  readonly id: number;
  readonly state: Machine<keyof typeof STATES>;
  readonly sender: Sender;
  readonly #transport: Transport;
  readonly #receiver: Receiver;

  // What the client chose.
  structured = false;
  noZeroes = false;
  /** Whose `base:allocation` it wants to be told. */
  allocationOf: Export | undefined = undefined;
  export: Export | undefined = undefined;
  #options = 0;

  /** Requests that are not under way yet, in the order in which they came. */
  readonly #waiting = new Fifo<Request>();
  /** Those that are, until the socket has their answers; and the bytes that they hold. */
  readonly #active = new Set<Request>();
  #held = 0;
  /** Bytes of data that came for requests that wait. */
  #backlog = 0;
  /** The request whose data is coming; undefined, its data is dropped. */
  #receiving: Request | undefined = undefined;
  readonly #spare: Request[] = [];
  #paused = false;
  #settling = false;
  /** Requests that were taken, ever. */
  requests = 0;

  constructor(server: NbdServer, transport: Transport, id: number) {
    const { env, limits } = server;
    this.server = server;
    this.id = id;
    this.#transport = transport;
    this.sender = new Sender(env.clock, transport);
    this.#receiver = new Receiver(this, limits.optionBytes);
    this.state = machine(env, `nbd client ${id}`, STATES, 'negotiating');
  }

  /** Called once, when the transport may be started. */
  start(): void {
    const { sender } = this;
    const flags = HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes;
    const at = sender.begin(Greeting.size);
    Greeting.encode({ nbdmagic: Magic.server, magic: Magic.option, flags }, sender.view, at);
    this.#awaitChoice();
    this.#transport.start(this);
  }

  /** The disk that was chosen. */
  get device(): ByteDevice {
    assert(this.export !== undefined, 'requests come after an export was chosen');
    return this.export.device;
  }
  /** Nobody hears our answers any more. */
  get lost(): boolean {
    return this.state.is('lost', 'ended');
  }
  /** Requests that are not over. */
  get inFlight(): number {
    return this.#active.size + this.#waiting.length;
  }
  get #taking(): boolean {
    return this.state.is('negotiating', 'transmitting');
  }

  #awaitChoice(): void {
    this.state.after(HANDSHAKE, this.server.limits.handshakeTimeout, () =>
      this.close('no export was chosen in time'),
    );
  }

  // ---- transport events

  data(chunk: Uint8Array): void {
    if (!this.#taking) return;
    this.sender.hold = true;
    try {
      this.#receiver.push(chunk);
    } catch (fault) {
      if (!(fault instanceof NbdFault)) throw fault;
      this.#log('warn', 'nbd client broke the protocol', { why: fault.message });
      this.#cut('the client broke the protocol');
    } finally {
      this.sender.hold = false;
    }
    this.settle();
    this.sender.flush();
  }

  end(): void {
    // Those who take their leave have said so: nobody waits for the answers to what is under way.
    if (this.#taking) this.#cut('the client closed without a word');
    else if (this.state.is('closing')) this.#transport.close();
  }

  closed(error?: string): void {
    if (this.lost) return;
    const why = error === undefined ? 'the client closed without a word' : 'transport error';
    if (this.#taking) this.#log('info', 'nbd client lost', { why, error });
    this.state.to('lost', why);
    this.#receiver.stopped = true;
    this.sender.abandon();
    this.#dropWaiting();
    for (const request of [...this.#active]) {
      // One whose data has not come will not run.
      if (request.phase === 'admitted') this.#over(request);
      else request.cancel();
    }
    this.settle();
  }

  // ---- the handshake

  onClientFlags(flags: number): void {
    const { fixedNewstyle, noZeroes } = HandshakeFlag;
    if ((flags & ~(fixedNewstyle | noZeroes)) !== 0)
      throw new NbdFault(`client flags ${(flags >>> 0).toString(16)}h are not known here`);
    this.noZeroes = (flags & noZeroes) !== 0;
  }

  onOption(option: number, data: Uint8Array): void {
    if (this.state.now !== 'negotiating') return;
    if (++this.#options > this.server.limits.options)
      throw new NbdFault(`more than ${this.server.limits.options} options`);
    this.#awaitChoice();
    negotiate(this, option, data);
  }

  /** The handshake is over. */
  choose(chosen: Export): void {
    if (this.state.now !== 'negotiating') return;
    this.export = chosen;
    if (this.allocationOf !== chosen) this.allocationOf = undefined;
    this.#receiver.phase = 'requests';
    this.state.to('transmitting', 'an export was chosen');
    this.#log('info', 'nbd client', { structured: this.structured });
  }

  // ---- requests

  onRequest(header: DataView): number {
    const type = RequestHeader.type.get(header, 0);
    if (type === CommandType.Disconnect) {
      this.close('the client disconnected');
      return 0;
    }
    const request = this.#spare.pop() ?? new Request(this);
    request.begin(header);
    this.requests++;
    const command = commandOf(type);
    request.command = command;
    check(request, type);
    if (request.problem === undefined) request.held = command?.holds?.(request) ?? 0;
    this.#waiting.push(request);
    const data = command?.payload === true ? request.length : 0;
    request.missing = data;
    if (data > 0) this.#receiving = request;
    return data;
  }

  onData(chunk: Uint8Array, start: number, end: number): void {
    const request = this.#receiving;
    if (request === undefined) return;
    request.missing -= end - start;
    if (request.problem !== undefined) return;
    request.parts.push(chunk.subarray(start, end));
    if (request.phase === 'waiting') this.#backlog += end - start;
  }

  onDataEnd(): void {
    const request = this.#receiving;
    this.#receiving = undefined;
    if (request?.phase === 'admitted') this.#run(request);
  }

  /** Begins what may be under way, in the order of coming. */
  #admit(): void {
    const { requests, bytesInFlight, maxPayload } = this.server.limits;
    const most = Math.max(bytesInFlight, maxPayload);
    for (let first = this.#waiting.peek(); first !== undefined; first = this.#waiting.peek()) {
      if (this.#active.size >= requests || this.#held + first.held > most) return;
      this.#waiting.shift();
      this.#leftLine(first);
      this.#active.add(first);
      this.#held += first.held;
      first.phase = 'admitted';
      if (first.missing === 0) this.#run(first);
    }
  }

  #run(request: Request): void {
    request.phase = 'running';
    if (request.problem !== undefined || request.command === undefined || isEmpty(request))
      this.answer(request);
    else request.command.run(request);
  }

  /** What is to be said of the request is known, and said unless it was already. */
  answer(request: Request): void {
    assert(request.phase === 'running', 'a request is answered once');
    request.phase = 'sending';
    const { sender } = this;
    const { problem } = request;
    // Only a read must have chunks, but only a chunk has a message.
    if (!request.answered) {
      if (problem === undefined && this.structured && request.command?.name === 'READ')
        doneChunk(sender, request);
      else if (problem === undefined || !this.structured) simpleReply(sender, request, problem?.errno ?? 0);
      else errorChunk(sender, request, problem.errno, problem.message);
    }
    if (problem !== undefined && this.server.env.trace.debug)
      this.#log('debug', 'nbd request failed', {
        command: request.command?.name,
        offset: request.offset,
        length: request.length,
        why: problem.message,
      });
    sender.notify(request);
  }

  /** The socket has the whole answer, or never will. */
  sent(request: Request): void {
    this.#over(request);
    this.settle();
  }

  #over(request: Request): void {
    assert(this.#active.delete(request), 'a request is over once');
    this.#held -= request.held;
    this.#recycle(request);
  }

  #recycle(request: Request): void {
    request.phase = 'idle';
    request.parts.length = request.cancels.length = 0;
    if (this.#spare.length < this.server.limits.requests) this.#spare.push(request);
  }

  #dropWaiting(): void {
    this.#receiving = undefined;
    for (let request = this.#waiting.shift(); request; request = this.#waiting.shift()) {
      this.#leftLine(request);
      this.#recycle(request);
    }
  }

  #leftLine({ parts }: Request): void {
    this.#backlog -= lengthOf(parts);
  }

  // ---- the end

  /** In order: nothing more is taken, what is under way is finished and answered, then our side closes. */
  close(why: CloseWhy): void {
    if (!this.#taking) return;
    this.#log('info', 'nbd client leaves', { why });
    this.state.to('draining', why);
    this.#receiver.stopped = true;
    // The rest of it will not come; what came before it and waits for its turn will be answered.
    const cut = this.#receiving;
    this.#receiving = undefined;
    if (cut?.phase === 'admitted') this.#over(cut);
    else if (cut !== undefined && this.#waiting.remove(cut)) {
      this.#leftLine(cut);
      this.#recycle(cut);
    }
    this.settle();
  }

  /** At once: nobody listens. */
  #cut(why: CloseWhy): void {
    if (this.lost) return;
    if (!this.state.is('closing')) {
      this.#log('info', 'nbd client leaves', { why });
      this.state.to('closing', why);
    }
    this.#receiver.stopped = true;
    this.#transport.close();
  }

  /** The server does not wait any longer. */
  force(): void {
    this.#cut('the server stops');
  }

  /** Does what is due now. Idempotent. */
  settle(): void {
    if (this.#settling) return;
    this.#settling = true;
    if (this.#taking || this.state.is('draining')) this.#admit();
    this.#backPressure();
    if (this.state.is('draining') && this.inFlight === 0) this.#finish();
    if (this.state.is('lost') && this.inFlight === 0) {
      this.state.to('ended', this.state.why);
      this.server.forget(this);
    }
    this.#settling = false;
  }

  #finish(): void {
    this.sender.flush();
    this.#transport.end();
    this.state.to('closing', this.state.why);
    this.state.after('waits for the client to close', this.server.limits.closeTimeout, () =>
      this.#transport.close(),
    );
  }

  /** While too much waits for its turn, nothing more is read. */
  #backPressure(): void {
    const { waitingRequests, bytesInFlight } = this.server.limits;
    const full = this.#waiting.length > waitingRequests || this.#backlog > bytesInFlight;
    const pause = this.#taking && full;
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#transport.pause();
    else this.#transport.resume();
  }

  #log(
    level: 'debug' | 'info' | 'warn',
    what: string,
    fields: Record<string, string | number | boolean | undefined>,
  ): void {
    this.server.env.trace.event(level, what, { client: this.id, export: this.export?.name, ...fields });
  }

  /** For tests, after an event. */
  invariants(): void {
    let held = 0;
    for (const request of this.#active) {
      held += request.held;
      assert(
        request.phase !== 'idle' && request.phase !== 'waiting',
        `a request under way is ${request.phase}`,
      );
    }
    assert(held === this.#held, `${this.#held} bytes are counted, ${held} are held`);
    const { requests, bytesInFlight, maxPayload } = this.server.limits;
    assert(this.#active.size <= requests, 'too many requests are under way');
    assert(this.#held <= Math.max(bytesInFlight, maxPayload), 'too much data is under way');
    let backlog = 0;
    for (const request of this.#waiting) {
      assert(request.phase === 'waiting', `a request that waits is ${request.phase}`);
      backlog += lengthOf(request.parts);
    }
    assert(backlog === this.#backlog, `${this.#backlog} bytes are counted, ${backlog} wait`);
    assert(!this.state.is('ended') || this.inFlight === 0, 'ended, but something is under way');
  }
}
