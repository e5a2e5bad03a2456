/**
 * One TCP connection over a link: two transports and the two pipes between them. A pipe goes
 *
 *     write → (the socket copies it: `done`) → buffer of the sender → segments → the receiver's `data`
 *
 * A socket copies late on purpose: whoever uses his buffers again before `done` is found out.
 */
import { assert } from '../../src/runtime/assert.ts';
import { Fifo } from '../../src/runtime/fifo.ts';
import type { Address, Timer, Transport, TransportEvents } from '../../src/runtime/ports.ts';
import type { MachineClock } from './clock.ts';
import { readable } from './lent.ts';
import type { Direction, Link } from './link.ts';

/** After a blackhole TCP sends again within so many microseconds. */
const RETRANSMIT = 200_000;
/** ICReq and ICResp have no digest: a simulated network does not touch them. */
const UNPROTECTED = 128;

/** A copy of the parts, in one piece: a Buffer, as real sockets have. Whoever takes its `slice` for a copy is found out. */
function concat(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const bytes = Buffer.alloc(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

class Pipe {
  readonly link: Link;
  readonly direction: Direction;
  readonly from: SimTransport;
  readonly to: SimTransport;
  readonly #writes = new Fifo<{ readonly parts: readonly Uint8Array[]; readonly done: () => void }>();
  readonly #buffer = new Fifo<Uint8Array>();
  buffered = 0;
  #sent = 0;
  #taking = false;
  #moving = false;
  #next: Timer | undefined = undefined;
  #timesOut = false;
  /** After the buffered bytes: an end, or a reset. */
  last: 'end' | 'reset' | undefined = undefined;
  lastSeen = false;

  constructor(link: Link, direction: Direction, from: SimTransport, to: SimTransport) {
    this.link = link;
    this.direction = direction;
    this.from = from;
    this.to = to;
  }

  write(parts: readonly Uint8Array[], done: () => void): void {
    this.#writes.push({ parts: [...parts], done });
    this.#take();
  }

  /** The socket copies the next write, when it has room. */
  #take(): void {
    if (this.#taking || this.#writes.length === 0 || this.buffered >= this.link.options.window) return;
    this.#taking = true;
    const { take } = this.link.options;
    const micros = take === 0 ? 0 : this.link.random.below(take);
    this.link.clock.after(`${this.from.name} takes a write`, micros, () => {
      this.#taking = false;
      if (this.from.departed) return;
      const write = this.#writes.shift();
      if (write === undefined || this.from.over) return;
      if (!readable(write.parts)) {
        this.from.events?.faulted?.();
        write.done();
        this.from.fault();
        return;
      }
      const bytes = concat(write.parts);
      if (bytes.length > 0) this.#buffer.push(bytes);
      this.buffered += bytes.length;
      this.link.trace.note('socket takes', this.from.name, this.buffered);
      write.done();
      this.from.touched();
      this.#take();
      this.move();
    });
  }

  /** Whether nothing can arrive now. */
  get #blocked(): boolean {
    const { link, to } = this;
    return link.blackhole[this.direction] || to.machineDown || (!to.over && (to.paused || !to.started));
  }

  /** Nothing is left to send but the end. */
  get #lastIsNext(): boolean {
    return this.last !== undefined && !this.lastSeen && (this.last === 'reset' || this.#writes.length === 0);
  }

  /** Sends the next segment on its way, if there is one and the way is free. */
  move(again = false): void {
    if (this.#moving || (this.buffered === 0 && !this.#lastIsNext)) return;
    if (this.#blocked) {
      this.#timeOut();
      return;
    }
    this.#moving = true;
    const { link } = this;
    const stalled = Math.max(0, link.stalledUntil[this.direction] - link.clock.micros);
    const gap = again ? Math.ceil((1000 * link.options.segment) / link.options.bandwidth) : link.delay();
    this.#next = link.clock.after(`${this.from.name} sends`, stalled + gap, () => {
      this.#moving = false;
      if (this.#blocked) this.#timeOut();
      else if (link.stalledUntil[this.direction] > link.clock.micros) this.move();
      else this.#arrive();
    });
  }

  /** The way is free again: what waits for the end of a stall does not any more. */
  goOn(): void {
    if (this.#moving) this.#next?.cancel();
    this.#moving = false;
    this.move();
  }

  /** TCP gives up on a peer that does not answer for long. */
  #timeOut(): void {
    const stuck = (): boolean =>
      (this.link.blackhole[this.direction] || this.to.machineDown) && this.buffered > 0 && !this.from.over;
    if (this.#timesOut || !stuck()) return;
    this.#timesOut = true;
    const micros = this.link.random.between(30, 120) * 1_000_000;
    this.link.clock.after(`${this.from.name} waits for an acknowledgement`, micros, () => {
      this.#timesOut = false;
      if (stuck()) this.from.gone('ETIMEDOUT: the peer does not answer');
    });
  }

  #arrive(): void {
    const { link, to, from } = this;
    if (to.over) {
      // Nobody is there any more: an orderly end is fine, anything else is answered with a reset.
      const orderly = this.buffered === 0 && this.last === 'end' && to.leftOrderly;
      this.clear();
      this.lastSeen = true;
      if (orderly) from.peerDone();
      else if (!from.over) from.resetBy('no such connection');
      return;
    }
    if (this.buffered === 0) {
      this.lastSeen = true;
      if (this.last === 'reset') to.gone('ECONNRESET: reset by the peer');
      else to.sawEnd();
      return;
    }
    const { segment } = link.options;
    const dice = link.random.below(32);
    const most = dice === 0 ? 1 + link.random.below(32) : dice < 8 ? 1 + link.random.below(segment) : segment;
    const chunk = this.#cut(Math.min(this.buffered, most));
    link.trace.note('arrives', to.name, chunk.length, this.buffered);
    this.#damage(chunk);
    this.#sent += chunk.length;
    to.deliver(chunk);
    this.#take();
    this.move(true);
  }

  #cut(length: number): Uint8Array {
    this.buffered -= length;
    const first = this.#buffer.peek();
    if (first !== undefined && first.length - this.#skip > length) {
      this.#skip += length;
      return first.subarray(this.#skip - length, this.#skip);
    }
    const chunk = Buffer.alloc(length);
    for (let at = 0; at < length;) {
      const part = this.#buffer.peek()!;
      const take = Math.min(part.length - this.#skip, length - at);
      chunk.set(part.subarray(this.#skip, this.#skip + take), at);
      at += take;
      this.#skip += take;
      if (this.#skip < part.length) continue;
      this.#buffer.shift();
      this.#skip = 0;
    }
    return chunk;
  }
  #skip = 0;

  #damage(chunk: Uint8Array): void {
    const { link, direction } = this;
    if (link.corrupt[direction] === 0 || this.#sent < UNPROTECTED) return;
    link.corrupt[direction]--;
    link.damaged++;
    const at = link.random.below(chunk.length);
    chunk[at]! ^= 1 + link.random.below(255);
    link.trace.note('damages', this.to.name, this.#sent + at);
  }

  /** The socket still has a write with some of these bytes. */
  has(parts: readonly Uint8Array[]): boolean {
    const overlap = (a: Uint8Array, b: Uint8Array): boolean =>
      a.buffer === b.buffer &&
      a.byteOffset < b.byteOffset + b.length &&
      b.byteOffset < a.byteOffset + a.length;
    for (const write of this.#writes)
      if (write.parts.some((part) => parts.some((other) => overlap(part, other)))) return true;
    return false;
  }

  /** What is buffered past the first `keep` bytes is lost. */
  keep(bytes: number): void {
    const kept = this.#cut(Math.min(bytes, this.buffered));
    this.clear();
    if (kept.length > 0) this.#buffer.push(kept);
    this.buffered = kept.length;
  }

  clear(): void {
    this.#buffer.clear();
    this.buffered = this.#skip = 0;
  }

  /** The socket is gone: writes that it did not take are their owners' again. */
  release(): void {
    for (let write = this.#writes.shift(); write !== undefined; write = this.#writes.shift())
      if (!this.from.process.dead) write.done();
  }
}

export class SimTransport implements Transport {
  readonly name: string;
  readonly local: Address;
  readonly remote: Address;
  readonly readsPayload = false;
  readonly process: MachineClock;
  readonly wire: Wire;
  events: TransportEvents | undefined = undefined;
  paused = false;
  /** Chunks are used again: see `ConnectOptions.chunksAreLent`. */
  lends = false;
  /** Closed, as its user knows it; and whether that left the peer something orderly to see. */
  over = false;
  leftOrderly = true;
  /** It was reset, and takes no more writes. */
  departed = false;
  #closing = false;
  #sawEnd = false;
  #peerTookEnd = false;
  out!: Pipe;
  in!: Pipe;

  constructor(wire: Wire, name: string, process: MachineClock, local: Address, remote: Address) {
    this.wire = wire;
    this.name = name;
    this.process = process;
    this.local = local;
    this.remote = remote;
  }

  get started(): boolean {
    return this.events !== undefined;
  }
  /** The machine has no power. */
  get machineDown(): boolean {
    return this.process.dead && this.wire.isDown(this.process);
  }

  start(events: TransportEvents): void {
    assert(this.events === undefined, 'a transport is started once');
    this.events = events;
    this.in.move();
  }

  write(parts: readonly Uint8Array[], done: () => void): void {
    assert(this.out.last === undefined || this.over || this.#closing, 'nothing is written after the end');
    if (this.over || this.#closing) this.process.defer(done);
    else this.out.write(parts, done);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.in.move();
  }

  end(): void {
    if (this.over || this.#closing || this.out.last !== undefined) return;
    this.out.last = 'end';
    this.out.move();
  }

  close(): void {
    // A socket that is closed with data unread says so with a reset.
    this.#leave(this.in.buffered > 0 && this.wire.link.random.oneIn(2) ? 'reset' : 'end');
  }

  reset(): void {
    this.#leave('reset');
  }

  #leave(how: 'end' | 'reset'): void {
    if (this.over || this.#closing) return;
    this.#closing = true;
    this.process.defer(() => {
      this.wire.link.trace.note(how === 'reset' ? 'resets' : 'closes', this.name);
      this.#depart(how);
      const { link } = this.wire;
      if (how === 'end' || link.closeDelay === 0 || this !== this.wire.client) this.gone(undefined);
      else this.#goneLate(link);
    });
  }

  /** Nothing of it is delivered any more, but the system does not say so for a while. */
  #goneLate(link: Link): void {
    this.departed = true;
    const gone = (): void => {
      if (link.closing.delete(gone)) this.gone(undefined);
    };
    link.closing.add(gone);
    link.clock.after(`${this.name} is gone late`, link.closeDelay, gone);
  }

  #depart(how: 'end' | 'reset'): void {
    const { out, wire } = this;
    if (this.over) return;
    if (how === 'reset') {
      // A part of what was under way may have been on the wire already.
      out.keep(wire.link.random.below(out.buffered + 1));
      // A reset that does not arrive is not repeated: the peer learns when it sends something.
      this.leftOrderly = false;
      const lost = wire.link.blackhole[out.direction];
      if (lost) out.clear();
      out.last = lost ? out.last : 'reset';
      if (lost) out.lastSeen = true;
    } else out.last ??= 'end';
    out.move();
  }

  /** The process ended; the system closes its sockets. Without power nobody says anything. */
  abandoned(silent: boolean): void {
    if (this.over) return;
    if (silent) {
      this.out.clear();
      this.out.lastSeen = true;
      this.leftOrderly = false;
    } else this.#depart(this.wire.link.random.oneIn(2) ? 'reset' : 'end');
    this.over = true;
    this.out.release();
    this.in.clear();
    this.wire.forgetWhenOver();
  }

  deliver(chunk: Uint8Array): void {
    if (this.#closing || this.process.dead) return;
    this.events!.data(chunk);
    // Whoever keeps something of it is found out.
    if (this.lends || this.events!.keeps?.() === false) chunk.fill(0xee);
    this.touched();
  }

  sawEnd(): void {
    if (this.#closing || this.over) return;
    this.wire.link.trace.note('sees the end', this.name);
    this.#sawEnd = true;
    this.events?.end();
    this.touched();
    this.in.from.peerDone();
    this.#closeWhenOver();
  }

  /** The peer has seen our end. */
  peerDone(): void {
    this.#peerTookEnd = true;
    this.#closeWhenOver();
  }

  #closeWhenOver(): void {
    const gone = this.in.from.over && this.in.from.leftOrderly;
    if (this.#peerTookEnd && this.out.last === 'end' && (this.#sawEnd || gone)) {
      this.process.defer(() => this.gone(undefined));
    }
  }

  /** A reset comes back. */
  resetBy(why: string): void {
    this.wire.link.clock.after(`${this.name} is reset`, this.wire.link.delay(), () =>
      this.gone(`ECONNRESET: ${why}`),
    );
  }

  /** The system could not read what it was to send. */
  fault(): void {
    if (this.over) return;
    this.#depart('reset');
    this.gone('EFAULT: bad address');
  }

  /** Nobody waits for it any more, and nobody has it: it is the system's. */
  forsake(): void {
    if (this.over) return;
    this.#depart('reset');
    this.gone(undefined);
  }

  gone(error: string | undefined): void {
    if (this.over) return;
    this.over = true;
    this.#closing = true;
    if (error !== undefined) {
      this.leftOrderly = false;
      this.out.clear();
      this.out.lastSeen = true;
    }
    this.wire.link.trace.note('is gone', this.name, error === undefined ? 0 : 1);
    this.out.release();
    this.in.clear();
    if (!this.process.dead) this.events?.closed(error);
    this.touched();
    this.wire.forgetWhenOver();
  }

  /** After an event: somebody may want to look at whom it reached. */
  touched(): void {
    if (this.events !== undefined && !this.process.dead) this.wire.touched(this.events);
  }
}

/** What a wire needs of the network. */
export interface WireUser {
  touched(events: TransportEvents): void;
  isDown(process: MachineClock): boolean;
}

export interface WireEnd {
  readonly process: MachineClock;
  readonly address: Address;
}

export class Wire {
  readonly link: Link;
  readonly id: number;
  readonly client: SimTransport;
  readonly server: SimTransport;
  readonly #user: WireUser;

  constructor(user: WireUser, link: Link, id: number, client: WireEnd, server: WireEnd) {
    this.#user = user;
    this.link = link;
    this.id = id;
    const { address: local, process } = client;
    this.client = new SimTransport(this, `wire ${id} host`, process, local, server.address);
    this.server = new SimTransport(this, `wire ${id} target`, server.process, server.address, local);
    this.client.out = this.server.in = new Pipe(link, 'up', this.client, this.server);
    this.server.out = this.client.in = new Pipe(link, 'down', this.server, this.client);
    link.wires.add(this);
  }

  touched(events: TransportEvents): void {
    this.#user.touched(events);
  }

  isDown(process: MachineClock): boolean {
    return this.#user.isDown(process);
  }

  goOn(): void {
    const { clock, random } = this.link;
    clock.after(`wire ${this.id} sends again`, random.below(RETRANSMIT), () => {
      this.client.out.goOn();
      this.server.out.goOn();
    });
  }

  forgetWhenOver(): void {
    if (this.client.over && this.server.over) this.link.wires.delete(this);
  }
}
