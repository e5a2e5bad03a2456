/**
 * The client's side of NBD, as much of it as the tool needs to use a disk of a host daemon: the fixed newstyle handshake
 * with structured replies, then reads, writes and flushes side by side on one connection.
 */
import { refusal } from '../api/answer.ts';
import type { NvmeError } from '../api/error.ts';
import { concat } from '../layout/bytes.ts';
import { viewOf } from '../layout/struct.ts';
import {
  Chunk,
  CHUNK_DONE,
  ChunkType,
  ClientFlags,
  CommandFlag,
  CommandType,
  ErrorChunk,
  Errno,
  Greeting,
  HandshakeFlag,
  Magic,
  Option,
  OptionHeader,
  OptionReply,
  OptionReplyType,
  RequestHeader,
  SimpleReply,
} from '../nbd/protocol.ts';
import { NodeLocalNet } from '../runtime/node/local.ts';
import type { Transport } from '../runtime/ports.ts';
import { socketPath } from './socket-path.ts';

/** Our sockets belong to us, but what comes from one is looked at all the same: no reply is longer than this. */
const MOST = 64 * 1024 * 1024;
/** Bytes of a data chunk, and of a hole's, before what they are about. */
const OFFSET = 8;
const HOLE = 12;

const CODES = new Map<number, string>(Object.entries(Errno).map(([code, errno]) => [errno, code]));

/** A request that is not answered. */
interface Waiting {
  readonly what: string;
  /** Of a read: where the data goes, and where on the disk it comes from. */
  readonly into: Uint8Array;
  readonly offset: number;
  problem: NvmeError | undefined;
  readonly resolve: () => void;
  readonly reject: (error: NvmeError) => void;
}

const NOTHING = new Uint8Array(0);

export class NbdClient {
  readonly #transport: Transport;
  readonly #waiting = new Map<number, Waiting>();
  #received: Uint8Array[] = [];
  #length = 0;
  #wanted = 0;
  #wake: (() => void) | undefined = undefined;
  #over: NvmeError | undefined = undefined;
  #cookie = 0;

  private constructor(transport: Transport) {
    this.#transport = transport;
    transport.start({
      data: (chunk) => {
        this.#received.push(chunk);
        this.#length += chunk.length;
        if (this.#length >= this.#wanted) this.#wake?.();
      },
      end: () => this.#end(),
      closed: () => this.#end(),
    });
  }

  /** Rejects with what the system says of the socket, or ENODEV: it has no such export. */
  static async open(path: string, name: string): Promise<NbdClient> {
    const place = socketPath(path);
    const transport = await new Promise<Transport>((resolve, reject) => {
      new NodeLocalNet().connect(place.path, (error, made) => {
        place.release();
        if (made !== undefined) resolve(made);
        else reject(refusal(error?.code ?? 'EIO', error?.message ?? 'the socket cannot be used', error));
      });
    });
    const client = new NbdClient(transport);
    try {
      await client.#greet(name);
    } catch (error) {
      client.close();
      throw error;
    }
    void client.#receive();
    return client;
  }

  close(): void {
    this.#transport.close();
    this.#end();
  }

  /** Offsets and lengths are bytes. */
  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#ask('read', CommandType.Read, offset, into.length, into);
  }

  /** The data is not copied, and the client's until this settles. */
  write(offset: number, data: readonly Uint8Array[], fua: boolean): Promise<void> {
    const length = data.reduce((sum, part) => sum + part.length, 0);
    return this.#ask('write', CommandType.Write, offset, length, NOTHING, data, fua ? CommandFlag.fua : 0);
  }

  flush(): Promise<void> {
    return this.#ask('flush', CommandType.Flush, 0, 0, NOTHING);
  }

  // ---- handshake

  async #greet(name: string): Promise<void> {
    const greeting = Greeting.decode(viewOf(await this.#take(Greeting.size)));
    if (greeting.nbdmagic !== Magic.server) throw refusal('EPROTO', 'this is no NBD server');
    const flags = HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes;
    this.#send([ClientFlags.bytes({ flags })]);
    await this.#option(Option.StructuredReply, NOTHING);
    const text = new TextEncoder().encode(name);
    const data = new Uint8Array(4 + text.length + 2);
    viewOf(data).setUint32(0, text.length);
    data.set(text, 4);
    await this.#option(Option.Go, data);
  }

  /** Sends an option, and waits until it is acknowledged; rejects with what the server says against it. */
  async #option(option: number, data: Uint8Array): Promise<void> {
    this.#send([OptionHeader.bytes({ magic: Magic.option, option, length: data.length }), data]);
    for (;;) {
      const { type, length } = OptionReply.decode(viewOf(await this.#take(OptionReply.size)));
      const body = await this.#take(length);
      if (type === OptionReplyType.Ack) return;
      if (type < OptionReplyType.ErrUnsup) continue;
      const why = new TextDecoder().decode(body);
      throw refusal('ENODEV', why === '' ? 'the NBD server refuses' : why);
    }
  }

  // ---- requests

  #ask(
    what: string,
    type: number,
    offset: number,
    length: number,
    into: Uint8Array,
    data: readonly Uint8Array[] = [],
    flags = 0,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) {
        reject(this.#over);
        return;
      }
      const cookieLow = (this.#cookie = (this.#cookie + 1) % 2 ** 32);
      this.#waiting.set(cookieLow, { what, into, offset, problem: undefined, resolve, reject });
      const header = { magic: Magic.request, flags, type, cookieHigh: 0, cookieLow, offset, length };
      this.#send([RequestHeader.bytes(header), ...data]);
    });
  }

  #send(parts: readonly Uint8Array[]): void {
    if (this.#over === undefined)
      this.#transport.write(
        parts.filter((part) => part.length > 0),
        () => undefined,
      );
  }

  /** Until the connection ends. */
  async #receive(): Promise<void> {
    try {
      for (;;) {
        const head = viewOf(await this.#take(SimpleReply.size));
        if (SimpleReply.magic.get(head, 0) === Magic.simpleReply) {
          const cookie = SimpleReply.cookieLow.get(head, 0);
          const error = SimpleReply.error.get(head, 0);
          const waiting = this.#known(cookie);
          if (error !== 0) waiting.problem = problem(waiting, error, '');
          else if (waiting.into.length > 0) waiting.into.set(await this.#take(waiting.into.length));
          this.#finish(cookie, waiting);
        } else if (SimpleReply.magic.get(head, 0) === Magic.chunk) await this.#chunk(head);
        else throw refusal('EPROTO', 'the NBD server answers what nobody understands');
      }
    } catch {
      this.close();
    }
  }

  /** `head` is the first 16 of its 20 bytes. */
  async #chunk(head: DataView): Promise<void> {
    const length = viewOf(await this.#take(Chunk.size - SimpleReply.size)).getUint32(0);
    const body = await this.#take(length);
    const view = viewOf(body);
    const cookie = Chunk.cookieLow.get(head, 0);
    const waiting = this.#known(cookie);
    const at = (): number => Number(view.getBigUint64(0)) - waiting.offset;
    switch (Chunk.type.get(head, 0)) {
      case ChunkType.OffsetData:
        waiting.into.set(body.subarray(OFFSET), at());
        break;
      case ChunkType.OffsetHole:
        waiting.into.fill(0, at(), at() + (length >= HOLE ? view.getUint32(OFFSET) : 0));
        break;
      case ChunkType.Error:
      case ChunkType.ErrorOffset: {
        const from = ErrorChunk.size - Chunk.size;
        const text = new TextDecoder().decode(body.subarray(from, from + view.getUint16(4)));
        waiting.problem ??= problem(waiting, view.getUint32(0), text);
      }
    }
    if ((Chunk.flags.get(head, 0) & CHUNK_DONE) !== 0) this.#finish(cookie, waiting);
  }

  #known(cookie: number): Waiting {
    const waiting = this.#waiting.get(cookie);
    if (waiting === undefined) throw refusal('EPROTO', 'the NBD server answers what nobody has asked');
    return waiting;
  }

  #finish(cookie: number, { problem: why, resolve, reject }: Waiting): void {
    this.#waiting.delete(cookie);
    if (why === undefined) resolve();
    else reject(why);
  }

  // ---- bytes

  async #take(length: number): Promise<Uint8Array> {
    if (length > MOST) throw refusal('EPROTO', `the NBD server announces ${length} bytes`);
    this.#wanted = length;
    while (this.#length < length) {
      if (this.#over !== undefined) throw this.#over;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const parts: Uint8Array[] = [];
    let left = length;
    while (left > 0) {
      const first = this.#received[0]!;
      parts.push(first.subarray(0, left));
      if (first.length > left) this.#received[0] = first.subarray(left);
      else this.#received.shift();
      left -= Math.min(left, first.length);
    }
    this.#length -= length;
    return concat(parts);
  }

  #end(): void {
    if (this.#over !== undefined) return;
    this.#over = refusal('ECONNRESET', 'the disk is gone, or its host daemon');
    this.#wake?.();
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of all) reject(this.#over);
  }
}

function problem({ what }: Waiting, error: number, text: string): NvmeError {
  const code = CODES.get(error) ?? 'EIO';
  return refusal(code, `${what}: ${text === '' ? code : text}`);
}
