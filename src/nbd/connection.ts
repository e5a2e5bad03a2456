/**
 * One client: the handshake, then its requests. Memory is bounded by not reading on: while too many requests wait for
 * their turn, or the client does not take the answers to its options, nothing more is taken from the socket.
 */
import { concat } from '../layout/bytes.ts';
import { assert } from '../runtime/assert.ts';
import { machine, type Machine } from '../runtime/machine.ts';
import type { Transport, TransportEvents } from '../runtime/ports.ts';
import type { ByteDevice } from './byte-device.ts';
import type { Export } from './export.ts';
import { NbdFault } from './fault.ts';
import { negotiate } from './options.ts';
import { CommandType, Greeting, HandshakeFlag, Magic, RequestHeader } from './protocol.ts';
import { Receiver, type MessageHandler } from './receiver.ts';
import { Requests } from './requests.ts';
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
  #leave: (() => void) | undefined = undefined;
  #options = 0;

  readonly requests: Requests;
  /** What came, and is not taken before the client has taken the answers to its options. */
  #unread: Uint8Array | undefined = undefined;
  #paused = false;
  #settling = false;

  constructor(server: NbdServer, transport: Transport, id: number) {
    const { env, limits } = server;
    this.server = server;
    this.id = id;
    this.#transport = transport;
    this.sender = new Sender(env.clock, transport, () => this.#drained());
    this.requests = new Requests(this);
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
    return this.requests.inFlight;
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
    if (this.#unread === undefined) this.#take(chunk);
    else this.#unread = concat([this.#unread, chunk]);
  }

  #take(chunk: Uint8Array): void {
    this.sender.hold = true;
    try {
      const taken = this.#receiver.push(chunk);
      this.#unread = this.#receiver.held ? chunk.subarray(taken) : undefined;
    } catch (fault) {
      if (!(fault instanceof NbdFault)) throw fault;
      this.log('warn', 'nbd client broke the protocol', { why: fault.message });
      this.#cut('the client broke the protocol');
    } finally {
      this.sender.hold = false;
    }
    this.settle();
    this.sender.flush();
  }

  /** The client has taken some of what was sent. */
  #drained(): void {
    const unread = this.#unread;
    if (unread === undefined || !this.#taking || this.#tooMuchUntaken) return;
    this.#receiver.held = false;
    this.#unread = undefined;
    this.#take(unread);
  }

  get #tooMuchUntaken(): boolean {
    return this.sender.pending > this.server.limits.optionReplyBytes;
  }

  end(): void {
    // Those who take their leave have said so: nobody waits for the answers to what is under way.
    if (this.#taking) this.#cut('the client closed without a word');
    else if (this.state.is('closing')) this.#transport.close();
  }

  closed(error?: string): void {
    if (this.lost) return;
    const why = error === undefined ? 'the client closed without a word' : 'transport error';
    if (this.#taking) this.log('info', 'nbd client lost', { why, error });
    this.state.to('lost', why);
    this.#receiver.stopped = true;
    this.sender.abandon();
    this.requests.giveUp();
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
    this.#receiver.held = this.#tooMuchUntaken;
  }

  /** The handshake is over. */
  choose(chosen: Export): void {
    if (this.state.now !== 'negotiating') return;
    this.export = chosen;
    this.#leave = chosen.device.open();
    if (this.allocationOf !== chosen) this.allocationOf = undefined;
    this.#receiver.phase = 'requests';
    this.state.to('transmitting', 'an export was chosen');
    this.log('info', 'nbd client', { structured: this.structured });
  }

  // ---- requests

  onRequest(header: DataView): number {
    const type = RequestHeader.type.get(header, 0);
    if (type === CommandType.Disconnect) {
      this.close('the client disconnected');
      return 0;
    }
    return this.requests.take(type, header);
  }

  onData(chunk: Uint8Array, start: number, end: number): void {
    this.requests.takeData(chunk, start, end);
  }

  onDataEnd(): void {
    this.requests.dataEnd();
  }

  // ---- the end

  /** In order: nothing more is taken, what is under way is finished and answered, then our side closes. */
  close(why: CloseWhy): void {
    if (!this.#taking) return;
    this.log('info', 'nbd client leaves', { why });
    this.state.to('draining', why);
    this.#receiver.stopped = true;
    this.requests.cut();
    this.settle();
  }

  /** At once: nobody listens. */
  #cut(why: CloseWhy): void {
    if (this.lost) return;
    if (!this.state.is('closing')) {
      this.log('info', 'nbd client leaves', { why });
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
    if (this.#taking || this.state.is('draining')) this.requests.admit();
    this.#backPressure();
    if (this.state.is('draining') && this.inFlight === 0) this.#finish();
    if (this.state.is('lost') && this.inFlight === 0) {
      this.state.to('ended', this.state.why);
      this.#leave?.();
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

  /** While too much waits for its turn, or for the client to read it, nothing more is read. */
  #backPressure(): void {
    const pause = this.#taking && (this.#unread !== undefined || this.requests.full);
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#transport.pause();
    else this.#transport.resume();
  }

  log(
    level: 'debug' | 'info' | 'warn',
    what: string,
    fields: Record<string, string | number | boolean | undefined>,
  ): void {
    this.server.env.trace.event(level, what, { client: this.id, export: this.export?.name, ...fields });
  }

  /** For tests, after an event. */
  invariants(): void {
    this.requests.invariants();
    assert(!this.state.is('ended') || this.inFlight === 0, 'ended, but something is under way');
  }
}
