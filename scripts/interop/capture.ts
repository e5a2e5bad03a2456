/**
 * What went over the wire, PDU by PDU, in memory; written as a pcap file when somebody wants to see it. A connection's
 * first PDUs are kept for ever and of the others the last: sequence numbers leave out what was dropped.
 */
import { writeFileSync } from 'node:fs';
import type { Role } from '../../src/pdu/pdus.ts';

/** PDUs at the start of a connection that are never dropped: ICReq to the end of Connect. */
const FIRST = 8;
/** Bytes of later PDUs kept for one connection, and for all of them. */
const MOST = 4 * 2 ** 20;
/** Connections that are over, and still kept. */
const CONNECTIONS = 64;

interface Packet {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly from: Role;
  readonly bytes: Uint8Array;
}

export class CapturedConnection {
  readonly hostPort: number;
  readonly #first: Packet[] = [];
  #last: Packet[] = [];
  #bytes = 0;
  dropped = 0;

  constructor(hostPort: number) {
    this.hostPort = hostPort;
  }

  add(from: Role, bytes: Uint8Array): void {
    const packet = { time: Date.now(), from, bytes };
    if (this.#first.length < FIRST) {
      this.#first.push(packet);
      return;
    }
    this.#last.push(packet);
    this.#bytes += bytes.length;
    if (this.#bytes < 2 * MOST) return;
    // Cut back to half, so that this is rare.
    let keep = this.#last.length;
    let kept = 0;
    while (keep > 0 && kept < MOST) kept += this.#last[--keep]!.bytes.length;
    this.dropped += keep;
    this.#last = this.#last.slice(keep);
    this.#bytes = kept;
  }

  get packets(): readonly Packet[] {
    return [...this.#first, ...this.#last];
  }
}

export class Capture {
  #connections: CapturedConnection[] = [];

  connection(hostPort: number): CapturedConnection {
    const made = new CapturedConnection(hostPort);
    this.#connections = [...this.#connections.slice(1 - CONNECTIONS), made];
    return made;
  }

  get empty(): boolean {
    return this.#connections.length === 0;
  }

  /** PDUs that are not in the file. */
  get dropped(): number {
    return this.#connections.reduce((sum, { dropped }) => sum + dropped, 0);
  }

  /** `port`: that of the target. */
  write(path: string, port: number): void {
    const packets = this.#connections
      .flatMap((connection) => segments(connection, port))
      .sort((a, b) => a.time - b.time);
    writeFileSync(path, Buffer.concat([fileHeader(), ...packets.map(({ record }) => record)]));
  }
}

interface Segment {
  readonly time: number;
  readonly record: Uint8Array;
}

const RAW_IP = 101;
const HOST = Uint8Array.of(10, 0, 2, 15);
const CONTROLLER = Uint8Array.of(10, 0, 2, 2);
const HEADERS = 40;
/** As much as an IPv4 packet takes. */
const PAYLOAD = 65_000;

function fileHeader(): Uint8Array {
  const bytes = new Uint8Array(24);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xa1b2c3d4, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, 0x40000, true);
  view.setUint32(20, RAW_IP, true);
  return bytes;
}

function segments(connection: CapturedConnection, port: number): Segment[] {
  const made: Segment[] = [];
  const next: Record<Role, number> = { host: 1, controller: 1 };
  for (const { time, from, bytes } of connection.packets)
    for (let at = 0; at < bytes.length; at += PAYLOAD) {
      const part = bytes.subarray(at, at + PAYLOAD);
      const other = from === 'host' ? next.controller : next.host;
      const ports = from === 'host' ? [connection.hostPort, port] : [port, connection.hostPort];
      made.push({ time, record: record(time, from, ports, next[from], other, part) });
      next[from] += part.length;
    }
  return made;
}

function record(
  time: number,
  from: Role,
  [fromPort = 0, toPort = 0]: readonly number[],
  seq: number,
  ack: number,
  payload: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(16 + HEADERS + payload.length);
  const view = new DataView(bytes.buffer);
  const length = HEADERS + payload.length;
  view.setUint32(0, Math.floor(time / 1000), true);
  view.setUint32(4, (time % 1000) * 1000, true);
  view.setUint32(8, length, true);
  view.setUint32(12, length, true);
  // IPv4 without options, RFC 791; the checksums stay 0.
  view.setUint8(16, 0x45);
  view.setUint16(18, length);
  view.setUint8(24, 64);
  view.setUint8(25, 6);
  bytes.set(from === 'host' ? HOST : CONTROLLER, 28);
  bytes.set(from === 'host' ? CONTROLLER : HOST, 32);
  // TCP without options, PSH and ACK, RFC 9293.
  view.setUint16(36, fromPort);
  view.setUint16(38, toPort);
  view.setUint32(40, seq >>> 0);
  view.setUint32(44, ack >>> 0);
  view.setUint8(48, 0x50);
  view.setUint8(49, 0x18);
  view.setUint16(50, 0xffff);
  bytes.set(payload, 16 + HEADERS);
  return bytes;
}
