/**
 * What the host is measured against, a process of its own: a target until an I/O queue is connected, from there on a
 * responder that knows just enough to answer reads and writes at once, so that it is not what is measured.
 */
import type { Net, Transport, TransportEvents } from '../../src/runtime/ports.ts';
import { nodeEnv } from '../../src/runtime/node/env.ts';
import { IoOpcode } from '../../src/nvme/opcode.ts';
import { PduType } from '../../src/pdu/pdus.ts';
import { Target } from '../../src/target/target.ts';
import { say } from './child.ts';
import type { Place } from './stream.ts';
import { BLOCK, SIZE } from './work.ts';

const HEADER = 24;
const CAPSULE = 72;
/** ICReq and the start of Connect: from here on the QID is known. */
const KNOWN = 128 + CAPSULE;
const QID = 128 + 8 + 42;
/** One is sent long before its turn comes again. */
const HEADERS = 8192;
const data = Buffer.alloc(2 ** 20, 1);

/** Answers what comes on a connected I/O queue. Reads end with their data (SUCCESS): there is no SQ flow control. */
class Responder {
  readonly #transport: Transport;
  readonly #headers = Array.from({ length: HEADERS }, () => Buffer.alloc(HEADER));
  #next = 0;
  readonly #scratch = new DataView(new ArrayBuffer(CAPSULE));
  #have = 0;
  #want = 8;
  #skip = 0;
  /** Data that is still to come, by CID, and whose data is being skipped. */
  readonly #owed = new Map<number, number>();
  #cid = -1;
  #out: Uint8Array[] = [];

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  received(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length;) {
      if (this.#skip > 0) {
        const take = Math.min(this.#skip, chunk.length - at);
        this.#skip -= take;
        at += take;
        if (this.#skip === 0) this.#written();
        continue;
      }
      const take = Math.min(this.#want - this.#have, chunk.length - at);
      for (let i = 0; i < take; i++) this.#scratch.setUint8(this.#have + i, chunk[at + i]!);
      this.#have += take;
      at += take;
      if (this.#have < this.#want) break;
      if (this.#want === 8) this.#want = this.#scratch.getUint8(2);
      else this.#pdu();
    }
    if (this.#out.length === 0) return;
    this.#transport.write(this.#out, () => undefined);
    this.#out = [];
  }

  #pdu(): void {
    const head = this.#scratch;
    this.#skip = head.getUint32(4, true) - this.#want;
    this.#have = 0;
    this.#want = 8;
    if (head.getUint8(0) === PduType.H2CData) {
      this.#cid = head.getUint16(8, true);
      this.#owed.set(this.#cid, this.#owed.get(this.#cid)! - this.#skip);
      return;
    }
    const opcode = head.getUint8(8);
    this.#cid = head.getUint16(10, true);
    const length = (head.getUint16(56, true) + 1) * BLOCK;
    if (opcode === IoOpcode.Read) {
      const header = this.#header(PduType.C2HData, 0x0c, HEADER + length);
      header.writeUInt16LE(this.#cid, 8);
      header.writeUInt32LE(length, 16);
      this.#out.push(header, data.subarray(0, length));
    } else if (opcode === IoOpcode.Write && this.#skip === 0) {
      this.#owed.set(this.#cid, length);
      const header = this.#header(PduType.R2T, 0, HEADER);
      header.writeUInt16LE(this.#cid, 8);
      header.writeUInt32LE(length, 16);
      this.#out.push(header);
    } else if (this.#skip === 0) this.#answer();
  }

  /** The data of a capsule, or of an H2CData PDU, is all here. */
  #written(): void {
    if ((this.#owed.get(this.#cid) ?? 0) > 0) return;
    this.#owed.delete(this.#cid);
    this.#answer();
  }

  #answer(): void {
    const header = this.#header(PduType.CapsuleResp, 0, HEADER);
    header.writeUInt16LE(0xffff, 16);
    header.writeUInt16LE(this.#cid, 20);
    this.#out.push(header);
  }

  #header(type: number, flags: number, plen: number): Buffer {
    const header = this.#headers[this.#next++ % HEADERS]!;
    header.fill(0);
    header.set([type, flags, HEADER, type === PduType.C2HData ? HEADER : 0]);
    header.writeUInt32LE(plen, 4);
    return header;
  }
}

/** The target's transport, until an I/O queue is connected. */
function intercept(transport: Transport): Transport {
  let responder: Responder | undefined;
  let seen = new Uint8Array(0);
  const start = (events: TransportEvents): void => {
    transport.start({
      data: (chunk) => {
        if (responder !== undefined) {
          responder.received(chunk);
          return;
        }
        if (seen.length < KNOWN) seen = new Uint8Array(Buffer.concat([seen, chunk]));
        events.data(chunk);
        const view = new DataView(seen.buffer, seen.byteOffset, seen.length);
        // Connect is answered in the same turn.
        if (seen.length >= KNOWN && view.getUint16(QID, true) !== 0) responder = new Responder(transport);
      },
      end: () => {
        if (responder === undefined) events.end();
        else transport.end();
      },
      closed: (error) => events.closed(error),
    });
  };
  return {
    local: transport.local,
    remote: transport.remote,
    readsPayload: false,
    start,
    write: (parts, done) => transport.write(parts, done),
    pause: () => transport.pause(),
    resume: () => transport.resume(),
    end: () => transport.end(),
    close: () => transport.close(),
    reset: () => transport.reset(),
  };
}

function main(): void {
  const env = nodeEnv();
  const net: Net = {
    listen: (at, accept, done) => env.net.listen(at, (transport) => accept(intercept(transport)), done),
    connect: (options, done) => env.net.connect(options, done),
  };
  const target = new Target({ ...env, net });
  const nqn = 'nqn.2014-08.org.nvmexpress:bench-responder';
  const subsystem = target.addSubsystem({ nqn, serial: 'responder', model: 'bench' });
  target.addNamespace(subsystem, env.files.memory(SIZE), {
    nsid: 1,
    uuid: '00000000-0000-4000-8000-000000000003',
    blockSize: BLOCK,
    readOnly: false,
  });
  target.ports.listen({ host: '127.0.0.1', port: 0 }, (error, port) => {
    if (port === undefined) throw new Error(error?.message);
    say({ port: port.address.port, nqn } satisfies Place);
  });
}
main();
