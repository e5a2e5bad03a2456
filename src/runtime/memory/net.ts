import type {
  Address,
  Clock,
  ConnectOptions,
  IoError,
  Listener,
  Net,
  Transport,
  TransportEvents,
} from '../ports.ts';
import { assert, must } from '../assert.ts';
import { Fifo } from '../fifo.ts';

export interface MemoryNetOptions {
  /** Sizes that a stream arrives in, over and over again; not given: as it was written. */
  readonly split?: readonly number[] | undefined;
  /** Bytes that a receiver who does not read lets the sender get rid of; 64 KiB if not given. */
  readonly capacity?: number | undefined;
}

/** A write on its way; without parts: the end of the stream. */
interface Sent {
  readonly parts: readonly Uint8Array[] | undefined;
  readonly done: () => void;
}

const WILDCARDS = ['0.0.0.0', '::'];

/** One side of a connection. Everything that happens to it happens through the clock's `defer`, a chunk at a time. */
export class MemoryTransport implements Transport {
  readonly local: Address;
  readonly remote: Address;
  readonly readsPayload = false;
  readonly #clock: Clock;
  readonly #options: MemoryNetOptions;
  #peer: MemoryTransport | undefined = undefined;
  #events: TransportEvents | undefined = undefined;
  /** What the peer sent and still owns, and what arrived here and was not delivered yet. */
  readonly #coming = new Fifo<Sent>();
  readonly #unread = new Fifo<Uint8Array>();
  #unreadBytes = 0;
  #nextSplit = 0;
  #pumping = false;
  #paused = false;
  #endSent = false;
  #endTaken = false;
  #endSeen = false;
  /** Nothing is delivered any more; `closed` is on its way. */
  #closing = false;
  #closed = false;

  constructor(clock: Clock, local: Address, remote: Address, options: MemoryNetOptions) {
    this.#clock = clock;
    this.local = local;
    this.remote = remote;
    this.#options = options;
  }

  /** Both ends of a new connection. */
  static pair(
    clock: Clock,
    options: MemoryNetOptions = {},
    a?: Address,
    b?: Address,
  ): [MemoryTransport, MemoryTransport] {
    const from = a ?? { host: '127.0.0.1', port: 49152 };
    const to = b ?? { host: '127.0.0.1', port: 4420 };
    const first = new MemoryTransport(clock, from, to, options);
    const second = new MemoryTransport(clock, to, from, options);
    first.#peer = second;
    second.#peer = first;
    return [first, second];
  }

  get closed(): boolean {
    return this.#closed;
  }

  start(events: TransportEvents): void {
    assert(this.#events === undefined, 'a transport is started once');
    this.#events = events;
    this.#pump();
  }

  write(parts: readonly Uint8Array[], done: () => void): void {
    assert(!this.#endSent || this.#closed, 'nothing is written after the end');
    const peer = this.#other();
    if (this.#closed || peer.#closed) {
      this.#clock.defer(() => {
        done();
        this.#gone('ECONNRESET: the peer is gone');
      });
      return;
    }
    peer.#coming.push({ parts: [...parts], done });
    peer.#pump();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#pump();
  }

  end(): void {
    if (this.#endSent || this.#closed) return;
    this.#endSent = true;
    const done = (): void => {
      this.#endTaken = true;
      this.#closeWhenOver();
    };
    if (this.#other().#closed) {
      done();
      return;
    }
    this.#other().#coming.push({ parts: undefined, done });
    this.#other().#pump();
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    const peer = this.#other();
    this.#clock.defer(() => {
      if (this.#closed) return;
      this.#gone(undefined);
      peer.#coming.push({ parts: undefined, done: () => undefined });
      peer.#pump();
    });
  }

  reset(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#clock.defer(() => {
      this.#gone(undefined);
      this.#other().#gone('ECONNRESET: reset by the peer');
    });
  }

  /** The connection breaks: both sides see an error. */
  cut(error = 'ETIMEDOUT: the connection broke'): void {
    this.#clock.defer(() => {
      this.#gone(error);
      this.#other().#gone(error);
    });
  }

  #other(): MemoryTransport {
    return must(this.#peer, 'a transport has a peer');
  }

  /** Takes what comes, as far as there is room, and delivers one chunk; goes on in the next deferred call. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    this.#clock.defer(() => {
      this.#pumping = false;
      if (this.#closing) return;
      this.#takeIn();
      if (this.#deliver()) this.#pump();
    });
  }

  #takeIn(): void {
    const capacity = this.#options.capacity ?? 65536;
    while (this.#coming.peek()?.parts && this.#unreadBytes < capacity) {
      const sent = this.#coming.shift()!;
      for (const part of sent.parts!) if (part.length > 0) this.#unread.push(new Uint8Array(part));
      for (const part of sent.parts!) this.#unreadBytes += part.length;
      sent.done();
    }
  }

  /** Whether something was delivered, so that there may be more. */
  #deliver(): boolean {
    if (this.#paused || this.#closing || !this.#events) return false;
    if (this.#unreadBytes > 0) {
      const chunk = this.#nextChunk();
      this.#unreadBytes -= chunk.length;
      this.#events.data(chunk);
      // Whoever keeps something of it all the same is found out.
      if (this.#events.keeps?.() === false) chunk.fill(0xee);
      return true;
    }
    const last = this.#coming.peek();
    if (!last || last.parts || this.#endSeen) return false;
    this.#coming.shift();
    this.#endSeen = true;
    this.#events.end();
    last.done();
    this.#closeWhenOver();
    return false;
  }

  #nextChunk(): Uint8Array {
    const { split } = this.#options;
    if (!split) return this.#unread.shift()!;
    const size = Math.min(split[this.#nextSplit++ % split.length]!, this.#unreadBytes);
    const chunk = new Uint8Array(size);
    const rest: Uint8Array[] = [];
    let at = 0;
    for (let part = this.#unread.shift(); part; part = this.#unread.shift()) {
      const used = part.subarray(0, size - at);
      chunk.set(used, at);
      at += used.length;
      if (used.length < part.length) rest.push(part.subarray(used.length));
    }
    for (const part of rest) this.#unread.push(part);
    return chunk;
  }

  #closeWhenOver(): void {
    if (this.#endTaken && this.#endSeen) this.#clock.defer(() => this.#gone(undefined));
  }

  #gone(error: string | undefined): void {
    if (this.#closed) return;
    this.#closing = true;
    this.#closed = true;
    // What was under way in either direction is lost, and belongs to its owners again.
    for (const coming of [this.#other().#coming, this.#coming]) {
      for (let sent = coming.shift(); sent; sent = coming.shift()) sent.done();
    }
    this.#events?.closed(error);
  }
}

/** Addresses and listeners of a small world; every connection is a pair of `MemoryTransport`. */
export class MemoryNet implements Net {
  readonly #clock: Clock;
  readonly #listeners = new Map<string, { at: Address; accept: (transport: Transport) => void }>();
  #nextPort = 49152;
  /** How connections made from now on behave. */
  options: MemoryNetOptions;

  constructor(clock: Clock, options: MemoryNetOptions = {}) {
    this.#clock = clock;
    this.options = options;
  }

  listen(
    at: Address,
    accept: (transport: Transport) => void,
    done: (error: IoError | undefined, listener?: Listener) => void,
  ): void {
    const address = { host: at.host, port: at.port === 0 ? this.#nextPort++ : at.port };
    const key = `${address.host} ${address.port}`;
    if (this.#listeners.has(key)) {
      const message = `cannot listen on ${address.host} port ${address.port}: it is in use`;
      this.#clock.defer(() => done({ code: 'EADDRINUSE', message }));
      return;
    }
    this.#listeners.set(key, { at: address, accept });
    const close = (closed: () => void): void => {
      this.#listeners.delete(key);
      this.#clock.defer(closed);
    };
    this.#clock.defer(() => done(undefined, { address, close }));
  }

  connect(
    options: ConnectOptions,
    done: (error: IoError | undefined, transport?: Transport) => void,
  ): { cancel(): void } {
    let cancelled = false;
    const { host, port } = options.to;
    this.#clock.defer(() => {
      if (cancelled) return;
      const listener = [host, ...WILDCARDS]
        .map((name) => this.#listeners.get(`${name} ${port}`))
        .find(Boolean);
      if (!listener) {
        const message = `cannot connect to ${host} port ${port}: connection refused`;
        done({ code: 'ECONNREFUSED', message });
        return;
      }
      const local = { host: options.localHost ?? '127.0.0.1', port: this.#nextPort++ };
      const [client, server] = MemoryTransport.pair(this.#clock, this.options, local, options.to);
      listener.accept(server);
      done(undefined, client);
    });
    return {
      cancel: () => {
        cancelled = true;
      },
    };
  }
}
