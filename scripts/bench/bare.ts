/**
 * The yardstick, a process of its own: a socket server that knows nothing of NVMe but the sizes of its messages. 72
 * bytes ask for data, and are answered with 24 and the data; 72 with data behind them are answered with 24; 72 that
 * announce much data are answered with 24, as an R2T would, then 24 and the data with 24.
 *
 * Data comes from memory, or from the same file as the target's, read and written in the way that is fastest in plain
 * Node, `fs.readSync` and `fs.writeSync`, or mapped; or from as much memory as the target has, not always the same.
 */
import * as fs from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { Syscalls } from '../../src/runtime/node/syscalls.ts';
import { IoOpcode } from '../../src/nvme/opcode.ts';
import { PduType } from '../../src/pdu/pdus.ts';
import { say } from './child.ts';
import { BLOCK, IN_CAPSULE, SIZE } from './work.ts';

export interface BareInput {
  readonly files: Readonly<Record<string, string>>;
}
/** Ports. */
export type BareOutput = Readonly<Record<string, number>>;

const CAPSULE = 72;
const HEADER = 24;
const LONGEST = 1 << 20;

/** What a server does about data. */
interface Source {
  read(at: number, length: number): Uint8Array;
  write(at: number, chunk: Uint8Array): void;
}

const zeroes = Buffer.alloc(LONGEST, 1);
const memory: Source = { read: (_at, length) => zeroes.subarray(0, length), write: () => undefined };

/** As much memory as the target's: what is asked for is in no cache. */
function wide(): Source {
  const bytes = Buffer.alloc(SIZE, 1);
  return { ...memory, read: (at, length) => bytes.subarray(at, at + length) };
}

function file(path: string): Source {
  const fd = fs.openSync(path, 'r+');
  // Enough buffers that one is sent long before its turn comes again.
  const pools = new Map<number, Buffer[]>();
  let next = 0;
  return {
    read(at, length) {
      let pool = pools.get(length);
      if (pool === undefined)
        pools.set(length, (pool = Array.from({ length: 1100 }, () => Buffer.alloc(length))));
      const into = pool[next++ % pool.length]!;
      fs.readSync(fd, into, 0, length, at);
      return into;
    },
    write: (at, chunk) => void fs.writeSync(fd, chunk, 0, chunk.length, at),
  };
}

function mapped(path: string): Source | undefined {
  const fd = fs.openSync(path, 'r+');
  const window = Syscalls.load()?.map(fd, 0, SIZE);
  if (window === undefined) return undefined;
  return { ...file(path), read: (at, length) => window.bytes.subarray(at, at + length) };
}

const plain = (type: number, flags: number, plen: number): Buffer => {
  const header = Buffer.alloc(HEADER);
  header.set([type, flags, HEADER, 0]);
  header.writeUInt32LE(plen, 4);
  return header;
};
const written = plain(PduType.CapsuleResp, 0, HEADER);
const dataHeaders = new Map<number, Buffer>();
function dataHeader(length: number): Buffer {
  let header = dataHeaders.get(length);
  if (header === undefined) dataHeaders.set(length, (header = plain(PduType.C2HData, 0x0c, HEADER + length)));
  return header;
}
function readyFor(length: number): Buffer {
  const header = plain(PduType.R2T, 0, HEADER);
  header.writeUInt32LE(length, 16);
  return header;
}

class Bare {
  readonly #socket: Socket;
  readonly #source: Source;
  readonly #head = new DataView(new ArrayBuffer(CAPSULE));
  #have = 0;
  #want = 8;
  #data = 0;
  #at = 0;
  /** Where the data goes that was announced, in order. */
  readonly #announced: number[] = [];

  constructor(socket: Socket, source: Source) {
    this.#socket = socket;
    this.#source = source;
    socket.on('data', (chunk) => {
      socket.cork();
      this.#received(chunk);
      socket.uncork();
    });
    socket.on('error', () => socket.destroy());
  }

  #received(chunk: Buffer): void {
    for (let at = 0; at < chunk.length;) {
      if (this.#data > 0) {
        const take = Math.min(this.#data, chunk.length - at);
        this.#source.write(this.#at, chunk.subarray(at, at + take));
        this.#at += take;
        this.#data -= take;
        at += take;
        if (this.#data === 0) this.#socket.write(written);
        continue;
      }
      const take = Math.min(this.#want - this.#have, chunk.length - at);
      for (let i = 0; i < take; i++) this.#head.setUint8(this.#have + i, chunk[at + i]!);
      this.#have += take;
      at += take;
      if (this.#have < this.#want) return;
      if (this.#want === 8) this.#want = this.#head.getUint8(2);
      else this.#header();
    }
  }

  #header(): void {
    const head = this.#head;
    const plen = head.getUint32(4, true);
    const isData = this.#want === HEADER;
    this.#data = plen - this.#want;
    this.#have = 0;
    this.#want = 8;
    if (isData) {
      this.#at = this.#announced.shift()!;
      return;
    }
    this.#at = head.getUint32(48, true) * BLOCK;
    const length = (head.getUint16(56, true) + 1) * BLOCK;
    if (this.#data > 0) return;
    if (head.getUint8(8) === IoOpcode.Write && length > IN_CAPSULE) {
      this.#announced.push(this.#at);
      this.#socket.write(readyFor(length));
      return;
    }
    this.#socket.write(dataHeader(length));
    this.#socket.write(this.#source.read(this.#at, length));
  }
}

function serve(source: Source): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer({ noDelay: true }, (socket) => new Bare(socket, source));
    server.listen(0, '127.0.0.1', () => {
      resolve((server.address() as AddressInfo).port);
    });
  });
}

async function main(input: BareInput): Promise<void> {
  const ports: Record<string, number> = { memory: await serve(memory), 'memory mapped': await serve(wide()) };
  for (const [store, path] of Object.entries(input.files)) {
    ports[`${store} file`] = await serve(file(path));
    const map = mapped(path);
    if (map !== undefined) ports[`${store} mapped`] = await serve(map);
  }
  say(ports);
}
await main(JSON.parse(process.argv[2]!) as BareInput);
