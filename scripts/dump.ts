/** `npm run dump -- FILE.pcap | HEX`: NVMe/TCP traffic as text, from the same tables that the codec uses. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Conversation } from '../src/nvme/conversation.ts';
import { formatCqe, formatSqe } from '../src/nvme/format.ts';
import { viewOf } from '../src/layout/struct.ts';
import {
  CommonHeader,
  Flag,
  ICReq,
  ICResp,
  PDUS,
  ProtocolFault,
  Receiver,
  crc32c,
} from '../src/pdu/index.ts';
import type { Role } from '../src/pdu/pdus.ts';
import { CaptureError, Stream, packets, segment, type Segment } from './pcap.ts';

const USAGE = `usage: npm run dump -- [options] FILE | HEX

  FILE        a capture (pcap or pcapng) with NVMe/TCP connections in it
  HEX         PDUs, or one 64-byte command or 16-byte completion, as hex digits

  --port N    only connections with this TCP port
  --conn N    only the connection with this number
  --io        HEX comes from an I/O queue, not from an Admin queue
  --help      this text

Each line: connection, seconds since the first packet, > from the host or < from the controller, the PDU.`;

class UsageError extends Error {}

type Print = (role: Role, line: string) => void;

/** Both directions of a connection, from the first byte that a capture has of it. */
class Exchange {
  readonly conversation = new Conversation();
  readonly #receivers: Readonly<Record<Role, Receiver>>;
  readonly #broken = new Set<Role>();
  readonly #print: Print;
  #data: Record<Role, Uint8Array[]> = { host: [], controller: [] };
  #silent = false;

  constructor(print: Print) {
    this.#print = print;
    this.#receivers = { host: this.#listen('host'), controller: this.#listen('controller') };
  }

  /** Whether a stream can begin with `bytes`, and who would send that. */
  static speaker(bytes: Uint8Array): Role | undefined {
    const header = viewOf(bytes);
    const info = PDUS[CommonHeader.type.get(header, 0)];
    const plen = CommonHeader.plen.get(header, 0);
    if (info === undefined || CommonHeader.hlen.get(header, 0) !== info.hlen) return undefined;
    return plen >= info.hlen && plen < 2 ** 28 ? info.sentBy : undefined;
  }

  /** The first bytes of a direction. Digests are as its first PDU has them when its beginning is missing. */
  begin(role: Role, bytes: Uint8Array): void {
    const receiver = this.#receivers[role];
    const info = PDUS[bytes[0]!];
    if (info?.digest === true) {
      const made =
        role === 'host'
          ? ICReq.bytes({ type: 0, hlen: 128, plen: 128, maxr2t: 1 })
          : ICResp.bytes({ type: 1, hlen: 128, plen: 128 });
      this.#silent = true;
      receiver.push(made);
      this.#silent = false;
      receiver.headerDigest = (bytes[1]! & Flag.hdgst) !== 0;
      receiver.dataDigest = (bytes[1]! & Flag.ddgst) !== 0;
    }
    this.push(role, bytes);
  }

  push(role: Role, bytes: Uint8Array): void {
    if (this.#broken.has(role)) return;
    try {
      this.#receivers[role].push(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolFault)) throw error;
      this.#broken.add(role);
      this.#print(role, `the rest of this direction is not read: ${error.message}`);
    }
  }

  finish(role: Role): void {
    if (this.#receivers[role].midPdu) this.#print(role, 'ends inside a PDU');
  }

  #listen(role: Role): Receiver {
    const receiver = new Receiver(
      role,
      {
        onHeader: () => {
          this.#data[role] = [];
        },
        onData: (chunk, start, end) => {
          this.#data[role].push(chunk.subarray(start, end));
        },
        onPdu: (type, header, digestOk) => {
          if (this.#silent) return;
          if (type === 1) this.#initialized(header);
          const lines = this.conversation.pdu(type, header, Buffer.concat(this.#data[role]));
          for (const line of lines) this.#print(role, line);
          if (!digestOk) this.#print(role, '    the data digest is wrong');
        },
      },
      crc32c,
    );
    receiver.maxCapsuleData = 0xffffffff;
    return receiver;
  }

  /** From ICResp on, both directions have the digests that it grants. */
  #initialized(header: DataView): void {
    for (const receiver of Object.values(this.#receivers)) {
      receiver.headerDigest = ICResp.dgst.hdgst.get(header, 0) === 1;
      receiver.dataDigest = ICResp.dgst.ddgst.get(header, 0) === 1;
    }
  }
}

/** One TCP connection of a capture. */
class Connection {
  readonly number: number;
  readonly exchange: Exchange;
  time = 0;
  closed = false;
  readonly #sides = new Map<
    string,
    { stream: Stream; role: Role | undefined; start: Uint8Array; other: boolean }
  >();

  constructor(number: number, print: (connection: Connection, role: Role, line: string) => void) {
    this.number = number;
    this.exchange = new Exchange((role, line) => print(this, role, line));
  }

  push(given: Segment): void {
    this.time = given.time;
    this.closed ||= given.fin || given.rst;
    let side = this.#sides.get(given.from);
    if (side === undefined) {
      side = { stream: new Stream(), role: undefined, start: new Uint8Array(0), other: false };
      this.#sides.set(given.from, side);
    }
    for (const bytes of side.stream.push(given)) {
      if (side.other) continue;
      if (side.role !== undefined) {
        this.exchange.push(side.role, bytes);
        continue;
      }
      side.start = Buffer.concat([side.start, bytes]);
      if (side.start.length < CommonHeader.size) continue;
      side.role = Exchange.speaker(side.start);
      if (side.role === undefined) side.other = true;
      else this.exchange.begin(side.role, side.start);
    }
  }

  finish(): void {
    for (const { role } of this.#sides.values()) if (role !== undefined) this.exchange.finish(role);
  }

  /** Bytes that could not be read because the capture lost some before them. */
  get stuck(): number {
    return [...this.#sides.values()].reduce(
      (sum, { stream, role }) => sum + (role === undefined ? 0 : stream.stuck),
      0,
    );
  }
}

function dumpCapture(file: Uint8Array, only: { port: number | undefined; conn: number | undefined }): void {
  const connections = new Map<string, Connection>();
  const all: Connection[] = [];
  const told = new Set<Connection>();
  const names = new Map<Connection, string>();
  let start: number | undefined;
  let next = 0;

  const print = (connection: Connection, role: Role, line: string): void => {
    if (only.conn !== undefined && connection.number !== only.conn) return;
    if (!told.has(connection)) {
      told.add(connection);
      console.log(`${connection.number}: ${names.get(connection) ?? ''}`);
    }
    const time = (connection.time - (start ?? 0)).toFixed(6);
    console.log(`${connection.number} ${time} ${role === 'host' ? '>' : '<'} ${line}`);
  };

  for (const packet of packets(file)) {
    start ??= packet.time;
    const given = segment(packet);
    if (given === undefined) continue;
    if (only.port !== undefined && given.fromPort !== only.port && given.toPort !== only.port) continue;
    const key = [given.from, given.to].sort().join(' ');
    let connection = connections.get(key);
    // The port pair is used again.
    if (given.syn && connection?.closed === true) connection = undefined;
    if (connection === undefined) {
      connection = new Connection(next++, print);
      connections.set(key, connection);
      names.set(connection, `${given.from} and ${given.to}`);
      all.push(connection);
    }
    connection.push(given);
  }
  for (const connection of all) {
    connection.finish();
    if (connection.stuck > 0 && told.has(connection))
      console.log(
        `${connection.number}: the capture lost packets; ${connection.stuck} bytes after them were not read`,
      );
  }
  if (told.size === 0) throw new CaptureError('no NVMe/TCP connection found');
}

function dumpHex(digits: string, admin: boolean): void {
  const bytes = Uint8Array.from({ length: digits.length / 2 }, (_, i) =>
    parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
  if (bytes.length === 64 && Exchange.speaker(bytes) === undefined) {
    console.log(formatSqe(admin, viewOf(bytes)));
    return;
  }
  if (bytes.length === 16) {
    console.log(formatCqe(viewOf(bytes)));
    return;
  }
  const exchange = new Exchange((role, line) => console.log(`${role === 'host' ? '>' : '<'} ${line}`));
  if (!admin) exchange.conversation.qid = 1;
  const begun = new Set<Role>();
  for (let at = 0; at < bytes.length;) {
    const rest = bytes.subarray(at);
    const role = rest.length < CommonHeader.size ? undefined : Exchange.speaker(rest);
    if (role === undefined) throw new UsageError(`no PDU, command or completion begins at byte ${at}`);
    const plen = CommonHeader.plen.get(viewOf(rest), 0);
    if (begun.has(role)) exchange.push(role, rest.subarray(0, plen));
    else exchange.begin(role, rest.subarray(0, plen));
    begun.add(role);
    at += plen;
  }
  for (const role of begun) exchange.finish(role);
}

function number(name: string, value: string | undefined, most: number): number | undefined {
  if (value === undefined) return undefined;
  if (!/^\d+$/.test(value) || Number(value) > most)
    throw new UsageError(`--${name} ${value}: not a number up to ${most}`);
  return Number(value);
}

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      port: { type: 'string' },
      conn: { type: 'string' },
      io: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const only = { port: number('port', values.port, 65535), conn: number('conn', values.conn, 2 ** 31) };
  if (positionals.length === 0) throw new UsageError('a capture file or hex digits are needed; see --help');
  const digits = positionals.join('').replaceAll(/[\s:]|0x/gi, '');
  let file: Uint8Array | undefined;
  if (positionals.length === 1) {
    try {
      file = readFileSync(positionals[0]!);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (!/^([0-9a-f]{2})+$/i.test(digits))
        throw new UsageError(
          `${positionals[0]!}: ${code === 'ENOENT' ? 'no such file, and not hex digits' : String(code)}`,
        );
    }
  }
  if (file !== undefined) dumpCapture(file, only);
  else if (/^([0-9a-f]{2})+$/i.test(digits)) dumpHex(digits, !values.io);
  else throw new UsageError('not an even number of hex digits');
}

// A reader that has enough (`| head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
try {
  main();
} catch (error) {
  const parse =
    error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
  if (!(error instanceof UsageError || error instanceof CaptureError || parse)) throw error;
  console.error(`dump: ${(error as Error).message}`);
  process.exitCode = 2;
}
