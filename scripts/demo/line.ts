/** A cable between host and target that can be cut and mended, and knows how much went over it. */
import { type Server, type Socket, connect, createServer } from 'node:net';

export class Line {
  /** That went over it, in both directions. */
  bytes = 0;
  port = 0;
  #whole = true;
  readonly #to: () => number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  /** `to`: the target's port on 127.0.0.1, asked for each connection. */
  constructor(to: () => number) {
    this.#to = to;
    this.#server = createServer({ noDelay: true, allowHalfOpen: true }, (host) => this.#relay(host));
  }

  async open(): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    const address = this.#server.address();
    this.port = typeof address === 'object' && address !== null ? address.port : 0;
    return this;
  }

  get whole(): boolean {
    return this.#whole;
  }

  /** Every connection breaks, and new ones do too. Neither end is told politely. */
  cut(): void {
    this.#whole = false;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  mend(): void {
    this.#whole = true;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    await closed;
  }

  #relay(host: Socket): void {
    if (!this.#whole) {
      host.on('error', () => undefined);
      host.resetAndDestroy();
      return;
    }
    const target = connect({ port: this.#to(), host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    this.#pipe(host, target);
    this.#pipe(target, host);
  }

  #pipe(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on('data', (chunk) => {
      this.bytes += chunk.length;
      if (!to.destroyed && !to.write(chunk)) from.pause();
    });
    to.on('drain', () => from.resume());
    from.on('end', () => to.end());
    from.on('error', () => to.resetAndDestroy());
    from.on('close', () => {
      this.#sockets.delete(from);
      to.destroySoon();
    });
  }
}
