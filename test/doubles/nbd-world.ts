/** An NBD server and clients in a world of their own: a disk that answers when told, and a client that says anything. */
import { concat } from '../../src/layout/bytes.ts';
import { viewOf } from '../../src/layout/struct.ts';
import type { BlockDevice, Cancel, Done, Extent, Problem } from '../../src/nbd/device.ts';
import type { NbdLimits } from '../../src/nbd/limits.ts';
import {
  CHUNK_DONE,
  Chunk,
  ChunkType,
  Greeting,
  Magic,
  OptionHeader,
  OptionReply,
  RequestHeader,
  SimpleReply,
} from '../../src/nbd/protocol.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { type MemoryEnv, memoryEnv } from '../../src/runtime/memory/env.ts';
import { MemoryTransport, type MemoryNetOptions } from '../../src/runtime/memory/net.ts';

/** One operation that the disk was asked for. */
export interface DiskOperation {
  readonly text: string;
  readonly finish: (problem?: Problem) => void;
}

/** A disk in memory. Operations are done in the next turn, or, when `manual`, when a test says so. */
export class NbdDisk implements BlockDevice {
  readonly env: MemoryEnv;
  bytes: Uint8Array;
  blockSize: number;
  readOnly = false;
  manual = false;
  /** Fails every operation. */
  broken: Problem | undefined = undefined;
  /** `write 512+1024 fua`, as they came. */
  readonly log: string[] = [];
  readonly waiting: DiskOperation[] = [];
  cancelled = 0;
  status: BlockDevice['status'] = undefined;

  constructor(env: MemoryEnv, size: number, blockSize = 512) {
    this.env = env;
    this.bytes = new Uint8Array(size);
    this.blockSize = blockSize;
  }

  get size(): number {
    return this.bytes.length;
  }

  /** The disk can tell holes from data. */
  knows(extents: (offset: number, length: number) => readonly Extent[]): void {
    this.status = (offset, length, done) =>
      this.#start(`status ${offset}+${length}`, (problem) => {
        done(problem, problem === undefined ? extents(offset, length) : []);
      });
  }

  #start(text: string, done: Done): Cancel {
    this.log.push(text);
    let over = false;
    const finish = (problem?: Problem): void => {
      if (over) return;
      over = true;
      const at = this.waiting.indexOf(operation);
      if (at >= 0) this.waiting.splice(at, 1);
      done(problem ?? this.broken);
    };
    const operation: DiskOperation = { text, finish };
    this.waiting.push(operation);
    if (!this.manual) this.env.clock.defer(() => operation.finish());
    return () => {
      if (over) return;
      this.cancelled++;
      finish({ errno: 5, message: 'cancelled' });
    };
  }

  #check(offset: number, length: number): void {
    if (offset % this.blockSize !== 0 || length % this.blockSize !== 0 || length === 0)
      throw new Error(`${offset}+${length}: not whole blocks`);
    if (offset < 0 || offset + length > this.size) throw new Error(`${offset}+${length}: outside`);
  }

  read(offset: number, into: readonly Uint8Array[], done: Done): Cancel {
    const length = into.reduce((sum, part) => sum + part.length, 0);
    this.#check(offset, length);
    return this.#start(`read ${offset}+${length}`, (problem) => {
      let at = offset;
      for (const part of into) {
        if (problem === undefined) part.set(this.bytes.subarray(at, at + part.length));
        at += part.length;
      }
      done(problem);
    });
  }

  write(offset: number, parts: readonly Uint8Array[], fua: boolean, done: Done): Cancel {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    this.#check(offset, length);
    return this.#start(`write ${offset}+${length}${fua ? ' fua' : ''}`, (problem) => {
      if (problem === undefined) this.bytes.set(concat(parts), offset);
      done(problem);
    });
  }

  flush(done: Done): Cancel {
    return this.#start('flush', done);
  }

  trim(offset: number, length: number, fua: boolean, done: Done): Cancel {
    this.#check(offset, length);
    return this.#start(`trim ${offset}+${length}${fua ? ' fua' : ''}`, done);
  }

  zero(offset: number, length: number, keep: boolean, fua: boolean, done: Done): Cancel {
    this.#check(offset, length);
    return this.#start(`zero ${offset}+${length}${keep ? ' keep' : ''}${fua ? ' fua' : ''}`, (problem) => {
      if (problem === undefined) this.bytes.fill(0, offset, offset + length);
      done(problem);
    });
  }
}

export interface OptionAnswer {
  readonly type: number;
  readonly data: Uint8Array;
}

export interface Answer {
  /** 0: done. */
  error: number;
  /** Of a read, put together; of other chunks, the payload. */
  data: Uint8Array;
  /** Chunk types, in order; empty for a simple reply. */
  readonly chunks: number[];
}

interface Expected {
  readonly length: number;
  readonly offset: number;
  readonly read: boolean;
}

/** A client that says what it is told, byte for byte, and reads what comes. */
export class NbdClient {
  readonly env: MemoryEnv;
  readonly transport: MemoryTransport;
  /** What came and was not looked at. */
  #received: Uint8Array = new Uint8Array(0);
  /** What comes is thrown away. */
  deaf = false;
  closed = false;
  ended = false;
  structured = false;
  readonly #expected = new Map<number, Expected>();
  readonly answers = new Map<number, Answer>();
  readonly #building = new Map<number, Answer>();
  #transmitting = false;
  #cookie = 0;

  constructor(env: MemoryEnv, transport: MemoryTransport) {
    this.env = env;
    this.transport = transport;
    transport.start({
      data: (chunk) => {
        if (this.deaf) return;
        this.#received = concat([this.#received, chunk]);
        if (this.#transmitting) this.#replies();
      },
      end: () => (this.ended = true),
      closed: () => (this.closed = true),
    });
  }

  say(...parts: readonly Uint8Array[]): void {
    this.transport.write(parts, () => undefined);
    this.env.clock.settle();
  }

  /** Takes so many bytes of what came. */
  take(count: number): Uint8Array {
    if (this.#received.length < count) throw new Error(`${this.#received.length} bytes came, not ${count}`);
    const taken = this.#received.slice(0, count);
    this.#received = this.#received.slice(count);
    return taken;
  }
  get received(): number {
    return this.#received.length;
  }

  // ---- the handshake

  greet(flags = 3): void {
    this.env.clock.settle();
    const greeting = Greeting.decode(viewOf(this.take(Greeting.size)));
    if (greeting.nbdmagic !== Magic.server || greeting.magic !== Magic.option || greeting.flags !== 3)
      throw new Error('that is no greeting');
    this.say(u32(flags));
  }

  /** Says an option; the answers up to and with the last one. */
  option(option: number, data: Uint8Array = new Uint8Array(0)): OptionAnswer[] {
    this.say(OptionHeader.bytes({ magic: Magic.option, option, length: data.length }), data);
    const answers: OptionAnswer[] = [];
    while (this.#received.length >= OptionReply.size) {
      const reply = OptionReply.decode(viewOf(this.take(OptionReply.size)));
      if (reply.magic !== Magic.optionReply || reply.option !== option)
        throw new Error('not an answer to it');
      answers.push({ type: reply.type, data: this.take(reply.length) });
    }
    return answers;
  }

  /** The usual handshake. */
  go(name = '', { structured = true, status = false } = {}): void {
    this.greet();
    if (structured) {
      this.option(8);
      this.structured = true;
    }
    if (status) this.option(10, concat([counted(name), u32(1), counted('base:allocation')]));
    const answers = this.option(7, concat([counted(name), u16(0)]));
    if (answers.at(-1)?.type !== 1) throw new Error('GO was refused');
    this.transmit();
  }

  transmit(): void {
    this.#transmitting = true;
  }

  // ---- requests

  /** The bytes of a request, and its cookie. */
  request(
    type: number,
    offset: number,
    length: number,
    { flags = 0, data = new Uint8Array(0) }: { flags?: number; data?: Uint8Array } = {},
  ): { cookie: number; bytes: Uint8Array } {
    const cookie = ++this.#cookie;
    this.#expected.set(cookie, { length, offset, read: type === 0 });
    const header = RequestHeader.bytes({
      magic: Magic.request,
      flags,
      type,
      cookieHigh: 0xc0ffee00,
      cookieLow: cookie,
      offset,
      length,
    });
    return { cookie, bytes: concat([header, data]) };
  }

  /** Sends a request and lets the world settle; its cookie. */
  send(
    type: number,
    offset: number,
    length: number,
    options?: { flags?: number; data?: Uint8Array },
  ): number {
    const { cookie, bytes } = this.request(type, offset, length, options);
    this.say(bytes);
    return cookie;
  }

  /** Sends a request; its answer, which must have come. */
  ask(type: number, offset: number, length: number, options?: { flags?: number; data?: Uint8Array }): Answer {
    return this.answer(this.send(type, offset, length, options));
  }

  write(offset: number, data: Uint8Array, flags = 0): Answer {
    return this.ask(1, offset, data.length, { flags, data });
  }
  read(offset: number, length: number, flags = 0): Answer {
    return this.ask(0, offset, length, { flags });
  }

  answer(cookie: number): Answer {
    const answer = this.answers.get(cookie);
    if (answer === undefined) throw new Error(`request ${cookie} is not answered`);
    return answer;
  }

  /** Takes whole replies off what came, and checks what can be checked. */
  #replies(): void {
    for (;;) {
      const have = this.#received;
      if (have.length < 4) return;
      const view = viewOf(have);
      if (view.getUint32(0) === Magic.simpleReply) {
        if (have.length < SimpleReply.size) return;
        const { error, cookieLow } = SimpleReply.decode(view);
        const expected = this.#expect(cookieLow, view);
        if (this.structured && expected.read) throw new Error('a simple reply to a read');
        const length = expected.read && error === 0 ? expected.length : 0;
        if (have.length < SimpleReply.size + length) return;
        this.take(SimpleReply.size);
        this.#done(cookieLow, { error, data: this.take(length), chunks: [] });
      } else if (view.getUint32(0) === Magic.chunk) {
        if (have.length < Chunk.size) return;
        const chunk = Chunk.decode(view);
        if (have.length < Chunk.size + chunk.length) return;
        const expected = this.#expect(chunk.cookieLow, view);
        this.take(Chunk.size);
        this.#chunk(chunk.cookieLow, chunk.type, chunk.flags, this.take(chunk.length), expected);
      } else throw new Error('that is no reply');
    }
  }

  #expect(cookie: number, view: DataView): Expected {
    const expected = this.#expected.get(cookie);
    if (expected === undefined || view.getUint32(8) !== 0xc0ffee00) throw new Error(`no request ${cookie}`);
    return expected;
  }

  #chunk(cookie: number, type: number, flags: number, payload: Uint8Array, expected: Expected): void {
    const answer = this.#building.get(cookie) ?? {
      error: 0,
      data: new Uint8Array(expected.read ? expected.length : 0),
      chunks: [],
    };
    this.#building.set(cookie, answer);
    answer.chunks.push(type);
    const view = viewOf(payload);
    if (type === ChunkType.OffsetData) {
      const at = Number(view.getBigUint64(0)) - expected.offset;
      answer.data.set(payload.subarray(8), at);
    } else if (type === ChunkType.OffsetHole) {
      const at = Number(view.getBigUint64(0)) - expected.offset;
      answer.data.fill(0, at, at + view.getUint32(8));
    } else if (type === ChunkType.Error) answer.error = view.getUint32(0);
    else if (type === ChunkType.BlockStatus) answer.data = payload;
    if ((flags & CHUNK_DONE) === 0) return;
    this.#building.delete(cookie);
    this.#done(cookie, answer);
  }

  #done(cookie: number, answer: Answer): void {
    this.#expected.delete(cookie);
    this.answers.set(cookie, answer);
  }
}

export class NbdWorld {
  readonly env: MemoryEnv;
  readonly server: NbdServer;
  readonly disk: NbdDisk;
  readonly #net: MemoryNetOptions;

  constructor(limits: Partial<NbdLimits> = {}, net: MemoryNetOptions = {}, size = 1 << 20, blockSize = 512) {
    this.env = memoryEnv();
    this.#net = net;
    this.server = new NbdServer(this.env, limits);
    this.disk = new NbdDisk(this.env, size, blockSize);
    this.server.add('disk', 'a disk', this.disk);
  }

  /** A client that has not said anything. */
  connect(): NbdClient {
    const [near, far] = MemoryTransport.pair(this.env.clock, this.#net);
    this.server.accept(far);
    const client = new NbdClient(this.env, near);
    this.env.clock.settle();
    return client;
  }

  /** A client that has chosen the disk. */
  up(options: { structured?: boolean; status?: boolean } = {}): NbdClient {
    const client = this.connect();
    client.go('disk', options);
    return client;
  }

  settle(): void {
    this.env.clock.settle();
    this.server.invariants();
  }

  /** What is left when every client is gone: nothing. */
  leftovers(): string[] {
    this.settle();
    return [
      ...this.env.clock.timers.map(({ name }) => `timer ${name}`),
      ...[...this.server.connections].map(({ state }) => `${state.name} ${state.now}`),
      ...this.disk.waiting.map(({ text }) => `operation ${text}`),
      ...(this.server.buffers.lent > 0 ? [`${this.server.buffers.lent} buffers`] : []),
    ];
  }
}

export const u16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 255);
export const u32 = (value: number): Uint8Array =>
  Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
export const counted = (text: string): Uint8Array => {
  const bytes = new TextEncoder().encode(text);
  return concat([u32(bytes.length), bytes]);
};
