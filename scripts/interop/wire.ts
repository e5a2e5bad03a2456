/** A relay between host and target that sees every PDU: it captures, counts, and can cut the line. */
import { type Server, type Socket, connect, createServer } from 'node:net';
import { viewOf } from '../../src/layout/struct.ts';
import { CommonHeader, type Role } from '../../src/pdu/pdus.ts';
import { Capture } from './capture.ts';
import { Follower, type Listener, Traffic } from './traffic.ts';

export interface WireOptions {
  /** TCP port of the target on 127.0.0.1. */
  readonly to: number;
  readonly listener?: Listener | undefined;
}

interface Line {
  readonly host: Socket;
  readonly target: Socket;
  /** Nothing goes over it any more, not even its end. */
  dead: boolean;
}

export class Wire {
  readonly capture = new Capture();
  readonly traffic = new Traffic();
  readonly #server: Server;
  readonly #lines = new Set<Line>();
  readonly #dead = new Set<Line>();
  readonly #options: WireOptions;
  #port = 0;

  private constructor(options: WireOptions) {
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (host) => this.#relay(host));
  }

  static open(options: WireOptions): Promise<Wire> {
    const wire = new Wire(options);
    return new Promise((resolve, reject) => {
      wire.#server.once('error', reject);
      wire.#server.listen(0, '127.0.0.1', () => {
        const address = wire.#server.address();
        wire.#port = typeof address === 'object' && address ? address.port : 0;
        resolve(wire);
      });
    });
  }

  /** Where the host connects, on 127.0.0.1. */
  get port(): number {
    return this.#port;
  }

  /** Connections at present. */
  get connected(): number {
    return this.#lines.size;
  }

  /** Breaks every connection, as a network may. */
  cut(): void {
    for (const { host } of this.#lines) reset(host);
  }

  /**
   * One of the two ends loses its power: every connection stays, and nothing ever comes over it again, not even its end.
   * New ones work.
   */
  vanish(): void {
    for (const line of this.#lines) {
      line.dead = true;
      this.#dead.add(line);
    }
    this.#lines.clear();
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    for (const { host, target } of this.#dead) {
      host.destroy();
      target.destroy();
    }
    await closed;
  }

  #relay(host: Socket): void {
    const target = connect({ port: this.#options.to, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const line: Line = { host, target, dead: false };
    this.#lines.add(line);
    const captured = this.capture.connection(host.remotePort ?? 0);
    const follower = new Follower(this.traffic, this.#options.listener);
    const seen = (from: Role, bytes: Uint8Array): void => {
      captured.add(from, bytes);
      follower.pdu(from, bytes);
    };
    const framers = { host: new Framer('host', seen), controller: new Framer('controller', seen) };
    pipe(host, target, framers.host, line);
    pipe(target, host, framers.controller, line);
    host.once('close', () => {
      for (const framer of Object.values(framers)) captured.add(framer.role, framer.rest());
      this.#lines.delete(line);
    });
  }
}

function pipe(from: Socket, to: Socket, framer: Framer, line: Line): void {
  from.on('data', (chunk) => {
    if (line.dead) return;
    framer.push(chunk);
    if (to.destroyed || to.writableEnded) return;
    if (!to.write(chunk)) from.pause();
  });
  to.on('drain', () => from.resume());
  from.on('end', () => {
    if (!to.destroyed && !line.dead) to.end();
  });
  let broken = false;
  from.on('error', () => (broken = true));
  from.on('close', () => {
    if (to.destroyed || line.dead) return;
    if (broken) reset(to);
    else to.destroySoon();
  });
}

/** libuv refuses to reset a socket whose FIN is not out yet. */
function reset(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy();
  else socket.resetAndDestroy();
}

const COMMON = CommonHeader.size;
const LARGEST = 2 ** 26;

/** Bytes of one direction → whole PDUs. What does not look like PDUs is left alone. */
class Framer {
  readonly role: Role;
  readonly #seen: (from: Role, pdu: Uint8Array) => void;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #need = COMMON;
  #lost = false;

  constructor(role: Role, seen: (from: Role, pdu: Uint8Array) => void) {
    this.role = role;
    this.#seen = seen;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    while (!this.#lost && this.#bytes >= this.#need) {
      const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
      const plen = CommonHeader.plen.get(viewOf(all), 0);
      if (plen < COMMON || plen > LARGEST) {
        this.#lost = true;
        return;
      }
      this.#chunks = [all];
      this.#need = plen;
      if (all.length < plen) return;
      this.#seen(this.role, all.subarray(0, plen));
      this.#bytes -= plen;
      this.#chunks = this.#bytes > 0 ? [all.subarray(plen)] : [];
      this.#need = COMMON;
    }
  }

  /** What is there of a PDU that never became whole. */
  rest(): Uint8Array {
    return Buffer.concat(this.#chunks);
  }
}
