/** As much of an NBD client as the demonstration needs: one request at a time, simple replies. */
import { once } from 'node:events';
import { type Socket, connect } from 'node:net';

const READ = 0;
const WRITE = 1;

export class NbdClient {
  readonly #socket: Socket;
  readonly #bytes: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#bytes = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** The default export of the server on that socket. */
  static async open(path: string): Promise<NbdClient> {
    const socket = connect(path);
    await once(socket, 'connect');
    const client = new NbdClient(socket);
    await client.#take(18);
    // Fixed newstyle without zeroes, then EXPORT_NAME with an empty name.
    const hello = Buffer.alloc(20);
    hello.writeUInt32BE(3, 0);
    hello.write('IHAVEOPT', 4, 'latin1');
    hello.writeUInt32BE(1, 12);
    socket.write(hello);
    await client.#take(10);
    return client;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    await this.#ask(READ, offset, length);
    return this.#take(length);
  }

  async write(offset: number, data: Buffer): Promise<void> {
    await this.#ask(WRITE, offset, data.length, data);
  }

  close(): void {
    this.#socket.destroy();
  }

  async #ask(type: number, offset: number, length: number, data?: Buffer): Promise<void> {
    const header = Buffer.alloc(28);
    header.writeUInt32BE(0x25609513, 0);
    header.writeUInt16BE(type, 6);
    header.writeBigUInt64BE(BigInt(offset), 16);
    header.writeUInt32BE(length, 24);
    this.#socket.write(data === undefined ? header : Buffer.concat([header, data]));
    const error = (await this.#take(16)).readUInt32BE(4);
    if (error !== 0) throw new Error(`NBD error ${error} at ${offset}`);
  }

  async #take(length: number): Promise<Buffer> {
    const parts = [this.#rest];
    let have = this.#rest.length;
    while (have < length) {
      const next = await this.#bytes.next();
      if (next.done === true) throw new Error('the NBD server has closed the connection');
      parts.push(next.value);
      have += next.value.length;
    }
    const all = Buffer.concat(parts);
    this.#rest = all.subarray(length);
    return all.subarray(0, length);
  }
}
