import * as net from 'node:net';
import type {
  Address,
  ConnectOptions,
  IoError,
  Listener,
  Net,
  Transport,
  TransportEvents,
} from '../ports.ts';
import { Fifo } from '../fifo.ts';
import { assert } from '../assert.ts';
import { ioError } from './errors.ts';
import { READ_BYTES, ReadBuffer, withBuffer } from './read-buffer.ts';

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the address is in use',
  EADDRNOTAVAIL: 'no interface of this machine has the address',
  EACCES: 'not permitted; ports below 1024 need a privilege',
  ECONNREFUSED: 'nobody listens there',
  EHOSTUNREACH: 'no route to it',
  ENETUNREACH: 'no route to its network',
  ENOTFOUND: 'the name is unknown',
  ETIMEDOUT: 'it does not answer',
};

/** `cannot listen on 10.0.0.1 port 4420: the address is in use`. */
function failure(tried: string, at: Address, thrown: unknown): IoError {
  const { code, message } = ioError(thrown);
  return { code, message: `cannot ${tried} ${at.host} port ${at.port}: ${REASONS[code] ?? message}` };
}

/** Bytes of a read that may have left something behind, and of reads in a row after which others have a turn. */
const FULL = READ_BYTES;
const BURST = 256 * 1024;

/** What is read is used up before anything else is read, by whichever socket. */
const SHARED = Buffer.alloc(256 * 1024);

const NOWHERE: Address = { host: '', port: 0 };
const addressOf = (host: string | undefined, port: number | undefined): Address =>
  host === undefined ? NOWHERE : { host, port: port ?? 0 };

/**
 * A TCP connection, or one over a Unix-domain socket. A reset by the peer is `closed` with ECONNRESET, but may be an `end` to somebody who still had
 * data to read (libuv); so whoever gets an `end` must close in the end, and not wait for more.
 */
export class NodeTransport implements Transport {
  readonly local: Address;
  readonly remote: Address;
  readonly readsPayload = false;
  readonly #socket: net.Socket;
  /** Of writes that the kernel has not taken, in order: it takes them in order. */
  readonly #dones = new Fifo<() => void>();
  /** What a write calls: one function for all of them. */
  readonly #taken = (error?: Error | null): void => {
    if (error && ioError(error).code === 'EFAULT') this.#events?.faulted?.();
    this.#dones.shift()?.();
  };
  readonly #lends: boolean;
  #events: TransportEvents | undefined = undefined;
  #error: string | undefined = undefined;
  /** Bytes received since a read that did not fill its buffer. */
  #burst = 0;
  #yielding = false;
  #paused = false;
  #ended = false;
  #closed = false;

  /**
   * `path`: of a Unix-domain socket, where both ends have the same name. `lends`: somebody else brings what was received
   * (`received`), as chunks that are used again.
   */
  constructor(socket: net.Socket, { path, lends = false }: { path?: string; lends?: boolean } = {}) {
    this.#socket = socket;
    this.#lends = lends;
    this.local = addressOf(path ?? socket.localAddress, socket.localPort);
    this.remote = addressOf(path ?? socket.remoteAddress, socket.remotePort);
    socket.setNoDelay(true);
    socket.setKeepAlive(true);
    socket.on('error', (error) => {
      const { code, message } = ioError(error);
      this.#error = `${code}: ${message}`;
    });
    socket.on('close', () => this.#gone());
  }

  start(events: TransportEvents): void {
    assert(this.#events === undefined, 'a transport is started once');
    this.#events = events;
    if (!this.#lends) this.#socket.on('data', (chunk) => this.received(chunk));
    this.#socket.on('end', () => events.end());
  }

  /** Whether slices of what was received last live on. */
  get keeps(): boolean {
    return this.#events?.keeps?.() ?? true;
  }

  received(chunk: Uint8Array): void {
    this.#events?.data(chunk);
    // libuv reads on while the system has more, up to 32 times, before it looks at any other socket.
    this.#burst = chunk.length < FULL ? 0 : this.#burst + chunk.length;
    if (this.#burst >= BURST) this.#yield();
  }

  /** Lets everybody else have a turn. */
  #yield(): void {
    this.#burst = 0;
    if (this.#paused || this.#yielding) return;
    this.#yielding = true;
    this.#socket.pause();
    setImmediate(() => {
      this.#yielding = false;
      if (!this.#paused) this.#socket.resume();
    });
  }

  write(parts: readonly Uint8Array[], done: () => void): void {
    assert(!this.#ended, 'nothing is written after the end');
    if (this.#closed || this.#socket.destroyed || parts.length === 0) return void setImmediate(done);
    const last = parts.length - 1;
    this.#dones.push(done);
    if (last === 0) {
      this.#socket.write(parts[0]!, this.#taken);
      return;
    }
    this.#socket.cork();
    for (let i = 0; i < last; i++) this.#socket.write(parts[i]!);
    this.#socket.write(parts[last]!, this.#taken);
    this.#socket.uncork();
  }

  pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#paused = false;
    if (!this.#yielding) this.#socket.resume();
  }

  end(): void {
    this.#ended = true;
    this.#socket.end();
  }

  close(): void {
    this.#socket.destroy();
  }

  reset(): void {
    // libuv refuses to reset a socket whose FIN is not out yet (EINVAL), and Node would then never close it. Unix-domain
    // sockets know no reset.
    if ((this.#ended && !this.#socket.writableFinished) || this.remote.port === 0) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  #gone(): void {
    this.#closed = true;
    // Node may or may not have called these; one that it calls from now on finds the queue empty.
    for (let done = this.#dones.shift(); done; done = this.#dones.shift()) done();
    this.#events?.closed(this.#error);
  }
}

function transportOf(accepted: net.Socket): NodeTransport {
  const buffer = new ReadBuffer((chunk) => {
    transport.received(chunk);
    return transport.keeps;
  });
  const socket = withBuffer(accepted, buffer);
  const transport = new NodeTransport(socket ?? accepted, { lends: socket !== undefined });
  // It was accepted without being read from.
  if (socket === undefined) accepted.resume();
  return transport;
}

export class NodeNet implements Net {
  listen(
    at: Address,
    accept: (transport: Transport) => void,
    done: (error: IoError | undefined, listener?: Listener) => void,
  ): void {
    const server = net.createServer(
      { allowHalfOpen: true, noDelay: true, pauseOnConnect: true },
      (accepted) => {
        const transport = transportOf(accepted);
        // Gone before it was accepted: nobody needs to hear of it.
        if (transport.remote === NOWHERE) transport.close();
        else accept(transport);
      },
    );
    const refused = (error: Error): void => done(failure('listen on', at, error));
    server.once('error', refused);
    server.listen({ host: at.host, port: at.port }, () => {
      server.off('error', refused);
      // Running out of descriptors, say: the connection is lost, the listener goes on.
      server.on('error', () => undefined);
      const bound = server.address() as net.AddressInfo;
      done(undefined, {
        address: { host: bound.address, port: bound.port },
        close: (closed) => stopListening(server, closed),
      });
    });
  }

  connect(
    options: ConnectOptions,
    done: (error: IoError | undefined, transport?: Transport) => void,
  ): { cancel(): void } {
    const { to, localHost, chunksAreLent: lends = false } = options;
    let transport: NodeTransport | undefined;
    const callback = (bytes: number): boolean => {
      transport?.received(SHARED.subarray(0, bytes));
      return true;
    };
    const socket = net.connect({
      ...(lends && { onread: { buffer: SHARED, callback } }),
      host: to.host,
      port: to.port,
      ...(localHost === undefined ? {} : { localAddress: localHost }),
      allowHalfOpen: true,
    });
    let answered = false;
    const refused = (error: Error): void => {
      if (answered) return;
      answered = true;
      done(failure('connect to', to, error));
    };
    socket.on('error', refused);
    socket.once('connect', () => {
      if (answered) return;
      answered = true;
      socket.off('error', refused);
      transport = new NodeTransport(socket, { lends });
      done(undefined, transport);
    });
    return {
      cancel: () => {
        if (answered) return;
        answered = true;
        socket.destroy();
      },
    };
  }
}

/** `server.close` would wait for the last connection; a listener is closed when it accepts no more. */
export function stopListening(server: net.Server, closed: () => void): void {
  server.close();
  setImmediate(closed);
}
