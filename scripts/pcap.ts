/** Capture files → TCP segments → byte streams in order. Classic pcap and pcapng. */

/** The file is not a capture that can be read; the message is for the user. */
export class CaptureError extends Error {
  override readonly name = 'CaptureError';
}

export interface Packet {
  linkType: number;
  /** Seconds since 1970. */
  time: number;
  data: Uint8Array;
}

export interface Segment {
  time: number;
  /** `address:port`. */
  from: string;
  to: string;
  fromPort: number;
  toPort: number;
  seq: number;
  syn: boolean;
  fin: boolean;
  rst: boolean;
  payload: Uint8Array;
}

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export function* packets(file: Uint8Array): Generator<Packet> {
  if (file.length < 24) throw new CaptureError('too short for a capture file');
  const magic = view(file).getUint32(0, false);
  const classic = CLASSIC.get(magic);
  if (classic !== undefined) yield* classicPackets(file, ...classic);
  else if (magic === 0x0a0d0d0a) yield* nextGeneration(file);
  else throw new CaptureError('neither a pcap nor a pcapng file');
}

/** Magic number → little endian, parts of a second. */
const CLASSIC = new Map<number, [boolean, number]>([
  [0xd4c3b2a1, [true, 1e6]],
  [0xa1b2c3d4, [false, 1e6]],
  [0x4d3cb2a1, [true, 1e9]],
  [0xa1b23c4d, [false, 1e9]],
]);

function* classicPackets(file: Uint8Array, little: boolean, parts: number): Generator<Packet> {
  const words = view(file);
  const linkType = words.getUint32(20, little) & 0xffff;
  for (let at = 24; at < file.length;) {
    if (at + 16 > file.length) throw new CaptureError('the file is cut off inside a packet header');
    const length = words.getUint32(at + 8, little);
    const time = words.getUint32(at, little) + words.getUint32(at + 4, little) / parts;
    at += 16;
    if (at + length > file.length) throw new CaptureError('the file is cut off inside a packet');
    yield { linkType, time, data: file.subarray(at, at + length) };
    at += length;
  }
}

/** Section header, interface description, enhanced and simple packet blocks; the others are skipped. */
function* nextGeneration(file: Uint8Array): Generator<Packet> {
  const words = view(file);
  let little = true;
  let links: { linkType: number; parts: number; snap: number }[] = [];
  for (let at = 0; at < file.length;) {
    if (at + 12 > file.length) throw new CaptureError('the file is cut off inside a block header');
    const type = words.getUint32(at, little);
    if (type === 0x0a0d0d0a) {
      little = words.getUint32(at + 8, true) === 0x1a2b3c4d;
      links = [];
    }
    const length = words.getUint32(at + 4, little);
    const end = at + length;
    if (length < 12 || length % 4 !== 0 || end > file.length)
      throw new CaptureError(`a block of ${length} bytes at ${at}`);
    const body = at + 8;
    if (type === 1 && length >= 20)
      links.push({
        linkType: words.getUint16(body, little),
        parts: parts(file, body + 8, end - 4, little),
        snap: words.getUint32(body + 4, little),
      });
    const link = links[type === 6 && length >= 32 ? words.getUint32(body, little) : 0];
    if (type === 6 && length >= 32 && link !== undefined) {
      const ticks = words.getUint32(body + 4, little) * 2 ** 32 + words.getUint32(body + 8, little);
      const size = Math.min(words.getUint32(body + 12, little), length - 32);
      yield {
        linkType: link.linkType,
        time: ticks / link.parts,
        data: file.subarray(body + 20, body + 20 + size),
      };
    } else if (type === 3 && length >= 16 && link !== undefined) {
      const size = Math.min(
        words.getUint32(body, little),
        length - 16,
        link.snap === 0 ? Infinity : link.snap,
      );
      yield { linkType: link.linkType, time: 0, data: file.subarray(body + 4, body + 4 + size) };
    }
    at = end;
  }
}

/** Option 9 of an interface, if_tsresol: ticks in a second. */
function parts(file: Uint8Array, from: number, end: number, little: boolean): number {
  const words = view(file);
  for (let at = from; at + 4 <= end;) {
    const length = words.getUint16(at + 2, little);
    const value = file[at + 4] ?? 6;
    if (words.getUint16(at, little) === 9 && length === 1)
      return value & 0x80 ? 2 ** (value & 0x7f) : 10 ** value;
    at += 4 + Math.ceil(length / 4) * 4;
  }
  return 1e6;
}

/** Link type → where the network layer begins; throws for one that is not known. */
function networkLayer({ linkType, data }: Packet): Uint8Array | undefined {
  switch (linkType) {
    case 0: // BSD loopback
    case 108:
      return data.subarray(4);
    case 1: {
      let at = 12;
      while (at + 2 <= data.length && [0x8100, 0x88a8].includes(view(data).getUint16(at))) at += 4; // VLAN tags
      const type = at + 2 <= data.length ? view(data).getUint16(at) : 0;
      return type === 0x0800 || type === 0x86dd ? data.subarray(at + 2) : undefined;
    }
    case 12: // raw IP
    case 14:
    case 101:
    case 228:
    case 229:
      return data;
    case 113: // Linux cooked
      return data.subarray(16);
    case 276:
      return data.subarray(20);
    default:
      throw new CaptureError(`link type ${linkType} is not supported`);
  }
}

/** The TCP segment of a packet; undefined for everything else, fragments and what was cut off by the capture. */
export function segment(packet: Packet): Segment | undefined {
  const ip = networkLayer(packet);
  if (ip === undefined || ip.length < 20) return undefined;
  const words = view(ip);
  let tcp: Uint8Array;
  let addresses: [string, string];
  if (ip[0]! >>> 4 === 4) {
    const total = words.getUint16(2);
    if (ip[9] !== 6 || (words.getUint16(6) & 0x3fff) !== 0) return undefined;
    // 0: left to the network card to fill in.
    tcp = ip.subarray((ip[0]! & 15) * 4, total === 0 ? ip.length : total);
    addresses = [[...ip.subarray(12, 16)].join('.'), [...ip.subarray(16, 20)].join('.')];
  } else if (ip[0]! >>> 4 === 6 && ip.length >= 40) {
    let next = ip[6]!;
    let at = 40;
    while ([0, 43, 60].includes(next) && at + 8 <= ip.length) {
      next = ip[at]!;
      at += (ip[at + 1]! + 1) * 8;
    }
    if (next !== 6) return undefined;
    const total = words.getUint16(4);
    tcp = ip.subarray(at, total === 0 ? ip.length : 40 + total);
    const address = (from: number): string =>
      `[${Array.from({ length: 8 }, (_, i) => words.getUint16(from + 2 * i).toString(16)).join(':')}]`;
    addresses = [address(8), address(24)];
  } else return undefined;
  if (tcp.length < 20) return undefined;
  const head = view(tcp);
  const flags = tcp[13]!;
  const [fromPort, toPort] = [head.getUint16(0), head.getUint16(2)];
  return {
    time: packet.time,
    from: `${addresses[0]}:${fromPort}`,
    to: `${addresses[1]}:${toPort}`,
    fromPort,
    toPort,
    seq: head.getUint32(4),
    syn: (flags & 2) !== 0,
    fin: (flags & 1) !== 0,
    rst: (flags & 4) !== 0,
    payload: tcp.subarray((tcp[12]! >>> 4) * 4),
  };
}

/** One direction of a connection: gives each byte once and in order, whatever was repeated or overtaken. */
export class Stream {
  /** Sequence number of the next byte; undefined before the first segment. */
  #next: number | undefined = undefined;
  readonly #early: Segment[] = [];

  /** The bytes that are in order now. */
  push(given: Segment): Uint8Array[] {
    if (given.syn) {
      this.#next = (given.seq + 1) >>> 0;
      return [];
    }
    this.#next ??= given.seq;
    if (given.payload.length > 0) this.#early.push(given);
    const ready: Uint8Array[] = [];
    for (let i = 0; i < this.#early.length;) {
      const { seq, payload } = this.#early[i]!;
      const known = (this.#next - seq) | 0;
      if (known < 0) {
        i++;
        continue;
      }
      this.#early.splice(i, 1);
      if (known >= payload.length) continue;
      ready.push(payload.subarray(known));
      this.#next = (seq + payload.length) >>> 0;
      i = 0;
    }
    return ready;
  }

  /** Bytes that arrived but wait for some that the capture does not have. */
  get stuck(): number {
    return this.#early.reduce((sum, { payload }) => sum + payload.length, 0);
  }
}
