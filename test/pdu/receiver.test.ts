import t from 'tap';
import {
  C2HData,
  C2HTermReq,
  CapsuleCmd,
  CapsuleResp,
  Fes,
  Flag,
  H2CData,
  H2CTermReq,
  ICReq,
  ICResp,
  PduType,
  R2T,
  crc32c,
} from '../../src/pdu/index.ts';
import type { Role } from '../../src/pdu/pdus.ts';
import { faultOf, listen, pattern, type Options } from './rig.ts';

const icreq = ICReq.bytes({ type: PduType.ICReq, hlen: 128, plen: 128, maxr2t: 1 });
const icresp = ICResp.bytes({ type: PduType.ICResp, hlen: 128, plen: 128, maxh2cdata: 131072 });

interface Frame {
  options?: Options;
  flags?: number;
  pdo?: number;
  plen?: number;
  hlen?: number;
  data?: Uint8Array;
  /** XORed into the digest. */
  spoilHeader?: number;
  spoilData?: number;
  fields?: Record<string, number>;
}
const LAYOUTS = { CapsuleCmd, CapsuleResp, H2CData, C2HData, R2T } as const;

/** A PDU built by hand, with whatever is asked to be wrong about it. */
function frame(name: keyof typeof LAYOUTS, wrong: Frame = {}): Uint8Array {
  const { options = {}, data = new Uint8Array(0), fields = {} } = wrong;
  const layout = LAYOUTS[name];
  const header = options.headerDigest ? layout.size + 4 : layout.size;
  const alignment = ((options.pda ?? 0) + 1) * 4;
  const pdo = data.length === 0 ? 0 : Math.ceil(header / alignment) * alignment;
  const digest = options.dataDigest && data.length > 0;
  const plen = (pdo || header) + data.length + (digest ? 4 : 0);
  const made = new Uint8Array(Math.max(plen, wrong.plen ?? 0));
  const view = new DataView(made.buffer);
  const datal = name === 'H2CData' || name === 'C2HData' ? { datal: data.length } : {};
  made.set(
    layout.bytes({
      type: PduType[name],
      hlen: wrong.hlen ?? layout.size,
      pdo: wrong.pdo ?? pdo,
      plen: wrong.plen ?? plen,
      ...datal,
      ...fields,
    }),
  );
  view.setUint8(1, wrong.flags ?? (options.headerDigest ? Flag.hdgst : 0) | (digest ? Flag.ddgst : 0));
  if (options.headerDigest)
    view.setUint32(layout.size, crc32c(made.subarray(0, layout.size), 0) ^ (wrong.spoilHeader ?? 0), true);
  made.set(data, pdo || header);
  if (digest) view.setUint32(plen - 4, crc32c(data, 0) ^ (wrong.spoilData ?? 0), true);
  return made;
}

const sameAs = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
const concat = (...parts: Uint8Array[]): Buffer => Buffer.concat(parts);
const first = (peer: Role): Uint8Array => (peer === 'host' ? icreq : icresp);

t.test('a stream split at every byte gives the same PDUs', (t) => {
  for (const options of [
    {},
    { headerDigest: true },
    { dataDigest: true },
    { headerDigest: true, dataDigest: true, pda: 31 },
  ]) {
    const stream = concat(
      icreq,
      frame('CapsuleCmd', { options }),
      frame('CapsuleCmd', { options, data: pattern(512) }),
      frame('H2CData', {
        options,
        data: pattern(37, 2),
        flags: (options.headerDigest ? 1 : 0) | (options.dataDigest ? 2 : 0) | Flag.last,
      }),
      frame('CapsuleCmd', { options }),
      H2CTermReq.bytes({ type: PduType.H2CTermReq, hlen: 24, plen: 24 + 8, fes: 1 }),
      pattern(8),
    );
    const whole = listen('host', options);
    whole.receiver.push(stream);
    t.same(
      whole.pdus.map((pdu) => [pdu.type, pdu.data.length, pdu.digestOk]),
      [
        [PduType.ICReq, 0, true],
        [PduType.CapsuleCmd, 0, true],
        [PduType.CapsuleCmd, 512, true],
        [PduType.H2CData, 37, true],
        [PduType.CapsuleCmd, 0, true],
        [PduType.H2CTermReq, 8, true],
      ],
    );
    t.same(whole.pdus[2]?.data, Buffer.from(pattern(512)));
    t.equal(whole.receiver.midPdu, false);
    for (let cut = 1; cut < stream.length; cut++) {
      const split = listen('host', options);
      split.receiver.push(stream.subarray(0, cut));
      split.receiver.push(stream.subarray(cut));
      if (!sameAs(split.pdus, whole.pdus)) t.fail(`cut at ${cut}`);
    }
    const bytes = listen('host', options);
    for (const byte of stream) bytes.receiver.push(Uint8Array.of(byte));
    t.ok(sameAs(bytes.pdus, whole.pdus), 'one byte at a time');
    const holes = listen('host', options);
    for (let at = 0; at < stream.length; at += 5) {
      holes.receiver.push(new Uint8Array(0));
      holes.receiver.push(stream.subarray(at, at + 5));
    }
    t.ok(sameAs(holes.pdus, whole.pdus), 'empty chunks between');
  }
  t.end();
});

t.test('payload is not copied', (t) => {
  const stream = concat(icreq, frame('CapsuleCmd', { data: pattern(64) }));
  const { receiver, pdus } = listen('host');
  const seen: Uint8Array[] = [];
  const handler = {
    onHeader: () => undefined,
    onPdu: () => undefined,
    onData: (chunk: Uint8Array) => void seen.push(chunk),
  };
  receiver.push(stream);
  t.equal(pdus.length, 2);
  const direct = new (receiver.constructor as typeof import('../../src/pdu/receiver.ts').Receiver)(
    'host',
    handler,
    crc32c,
  );
  direct.push(stream);
  t.equal(seen[0], stream);
  t.end();
});

interface Case {
  name: string;
  peer?: Role;
  options?: Options;
  bytes: Uint8Array;
  fes: number;
  fei: number;
  /** Before the connection is initialized. */
  early?: boolean;
  /** The fault is thrown as soon as this much of the PDU is there. */
  after?: number;
  limits?: { maxCapsuleData?: number; maxData?: number };
}

const hdgst = { headerDigest: true };
const ddgst = { dataDigest: true };
const digestAt = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
const spoiled = frame('CapsuleCmd', { options: hdgst, spoilHeader: 1 });
const flip = (bytes: Uint8Array, at: number, bits: number): Uint8Array => {
  const copy = bytes.slice();
  copy[at] = copy[at]! ^ bits;
  return copy;
};

const cases: Case[] = [
  // PDU type
  {
    name: 'type 08h',
    bytes: flip(frame('CapsuleCmd'), 0, 4 ^ 8),
    fes: Fes.InvalidHeaderField,
    fei: 0,
    after: 8,
  },
  {
    name: 'type FFh',
    bytes: flip(frame('CapsuleCmd'), 0, 4 ^ 255),
    fes: Fes.InvalidHeaderField,
    fei: 0,
    after: 8,
  },
  {
    name: 'a CapsuleResp from a host',
    bytes: frame('CapsuleResp'),
    fes: Fes.InvalidHeaderField,
    fei: 0,
    after: 8,
  },
  {
    name: 'a C2HData from a host',
    bytes: frame('C2HData', { data: pattern(8) }),
    fes: Fes.InvalidHeaderField,
    fei: 0,
    after: 8,
  },
  { name: 'an R2T from a host', bytes: frame('R2T'), fes: Fes.InvalidHeaderField, fei: 0, after: 8 },
  {
    name: 'a C2HTermReq from a host',
    bytes: C2HTermReq.bytes({ type: 3, hlen: 24, plen: 24 }),
    fes: Fes.InvalidHeaderField,
    fei: 0,
    after: 8,
  },
  {
    name: 'a CapsuleCmd from a controller',
    peer: 'controller',
    bytes: frame('CapsuleCmd'),
    fes: Fes.InvalidHeaderField,
    fei: 0,
    after: 8,
  },
  {
    name: 'an H2CData from a controller',
    peer: 'controller',
    bytes: frame('H2CData', { data: pattern(8) }),
    fes: Fes.InvalidHeaderField,
    fei: 0,
    after: 8,
  },
  // Sequence
  {
    name: 'a CapsuleCmd before ICReq',
    early: true,
    bytes: frame('CapsuleCmd'),
    fes: Fes.SequenceError,
    fei: 0,
    after: 8,
  },
  {
    name: 'an H2CData before ICReq',
    early: true,
    bytes: frame('H2CData', { data: pattern(8) }),
    fes: Fes.SequenceError,
    fei: 0,
    after: 8,
  },
  {
    name: 'type FFh before ICReq',
    early: true,
    bytes: flip(frame('CapsuleCmd'), 0, 4 ^ 255),
    fes: Fes.SequenceError,
    fei: 0,
    after: 8,
  },
  { name: 'a second ICReq', bytes: icreq, fes: Fes.SequenceError, fei: 0, after: 8 },
  { name: 'a second ICResp', peer: 'controller', bytes: icresp, fes: Fes.SequenceError, fei: 0, after: 8 },
  {
    name: 'a CapsuleResp before ICResp',
    early: true,
    peer: 'controller',
    bytes: frame('CapsuleResp'),
    fes: Fes.SequenceError,
    fei: 0,
    after: 8,
  },
  {
    name: 'ICReq instead of ICResp',
    early: true,
    peer: 'controller',
    bytes: icreq,
    fes: Fes.SequenceError,
    fei: 0,
    after: 8,
  },
  // HLEN
  {
    name: 'ICReq with HLEN 120',
    early: true,
    bytes: flip(icreq, 2, 128 ^ 120),
    fes: Fes.InvalidHeaderField,
    fei: 2,
    after: 8,
  },
  {
    name: 'CapsuleCmd with HLEN 0',
    bytes: frame('CapsuleCmd', { hlen: 0 }),
    fes: Fes.InvalidHeaderField,
    fei: 2,
    after: 8,
  },
  {
    name: 'CapsuleCmd with HLEN 76',
    bytes: frame('CapsuleCmd', { hlen: 76 }),
    fes: Fes.InvalidHeaderField,
    fei: 2,
    after: 8,
  },
  {
    name: 'R2T with HLEN 28',
    peer: 'controller',
    bytes: frame('R2T', { hlen: 28 }),
    fes: Fes.InvalidHeaderField,
    fei: 2,
    after: 8,
  },
  // PLEN
  {
    name: 'ICReq with PLEN 132',
    early: true,
    bytes: flip(icreq, 4, 128 ^ 132),
    fes: Fes.InvalidHeaderField,
    fei: 4,
    after: 8,
  },
  {
    name: 'ICReq with PLEN 0',
    early: true,
    bytes: flip(icreq, 4, 128),
    fes: Fes.InvalidHeaderField,
    fei: 4,
    after: 8,
  },
  {
    name: 'CapsuleCmd with PLEN 8',
    bytes: frame('CapsuleCmd', { plen: 8 }),
    fes: Fes.InvalidHeaderField,
    fei: 4,
    after: 8,
  },
  {
    name: 'CapsuleCmd with PLEN 71',
    bytes: frame('CapsuleCmd', { plen: 71 }),
    fes: Fes.InvalidHeaderField,
    fei: 4,
    after: 8,
  },
  {
    name: 'CapsuleCmd with PLEN FFFFFFFFh',
    bytes: frameWithPlen(0xffffffff),
    fes: Fes.InvalidHeaderField,
    fei: 4,
    after: 8,
  },
  {
    name: 'CapsuleResp with data',
    peer: 'controller',
    bytes: frame('CapsuleResp', { plen: 28 }),
    fes: Fes.InvalidHeaderField,
    fei: 4,
    after: 8,
  },
  {
    name: 'R2T with data',
    peer: 'controller',
    bytes: frame('R2T', { plen: 32 }),
    fes: Fes.InvalidHeaderField,
    fei: 4,
    after: 8,
  },
  {
    name: 'PLEN without room for the header digest',
    options: hdgst,
    bytes: frame('CapsuleCmd', { options: hdgst, plen: 72 }),
    fes: Fes.InvalidHeaderField,
    fei: 4,
    after: 8,
  },
  {
    name: 'PLEN without room for the data digest',
    options: ddgst,
    bytes: frame('CapsuleCmd', { flags: 2, pdo: 72, plen: 76 }),
    fes: Fes.InvalidHeaderField,
    fei: 4,
    after: 8,
  },
  {
    name: 'PLEN that ends before PDO',
    bytes: frame('CapsuleCmd', { pdo: 128, plen: 100 }),
    fes: Fes.InvalidHeaderField,
    fei: 4,
    after: 8,
  },
  // PDO
  {
    name: 'PDO inside the header',
    bytes: frame('CapsuleCmd', { data: pattern(8), pdo: 68 }),
    fes: Fes.InvalidHeaderField,
    fei: 3,
    after: 8,
  },
  {
    name: 'PDO 0 of an H2CData',
    bytes: frame('H2CData', { data: pattern(8), pdo: 0 }),
    fes: Fes.InvalidHeaderField,
    fei: 3,
    after: 8,
  },
  {
    name: 'PDO that is no multiple of 4',
    bytes: frame('CapsuleCmd', { data: pattern(8), pdo: 74 }),
    fes: Fes.InvalidHeaderField,
    fei: 3,
    after: 8,
  },
  {
    name: 'PDO against CPDA',
    options: { pda: 1 },
    bytes: frame('CapsuleCmd', { data: pattern(8), pdo: 76 }),
    fes: Fes.InvalidHeaderField,
    fei: 3,
    after: 8,
  },
  {
    name: 'PDO inside the header digest',
    options: hdgst,
    bytes: frame('CapsuleCmd', { options: hdgst, data: pattern(8), pdo: 72 }),
    fes: Fes.InvalidHeaderField,
    fei: 3,
    after: 76,
  },
  // FLAGS
  {
    name: 'HDGSTF without header digest',
    bytes: frame('CapsuleCmd', { flags: 1 }),
    fes: Fes.InvalidHeaderField,
    fei: 1,
    after: 8,
  },
  {
    name: 'no HDGSTF with header digest',
    options: hdgst,
    bytes: frame('CapsuleCmd', { options: hdgst, flags: 0 }),
    fes: Fes.InvalidHeaderField,
    fei: 1,
    after: 8,
  },
  {
    name: 'DDGSTF without data digest',
    bytes: frame('CapsuleCmd', { data: pattern(8), flags: 2 }),
    fes: Fes.InvalidHeaderField,
    fei: 1,
    after: 8,
  },
  {
    name: 'no DDGSTF with data digest',
    options: ddgst,
    bytes: frame('CapsuleCmd', { options: ddgst, data: pattern(8), flags: 0 }),
    fes: Fes.InvalidHeaderField,
    fei: 1,
    after: 8,
  },
  // Header digest
  {
    name: 'a wrong header digest',
    options: hdgst,
    bytes: spoiled,
    fes: Fes.HeaderDigestError,
    fei: digestAt(spoiled, 72),
    after: 76,
  },
  ...[3, 4, 5, 8, 12, 71].map((at): Case => {
    const bytes = flip(frame('CapsuleCmd', { options: hdgst, data: pattern(8) }), at, 0x20);
    return {
      name: `a flipped bit in byte ${at} is a header digest error`,
      options: hdgst,
      bytes,
      fes: Fes.HeaderDigestError,
      fei: digestAt(bytes, 72),
      after: 76,
    };
  }),
  {
    name: 'a wrong header digest of an R2T',
    peer: 'controller',
    options: hdgst,
    bytes: frame('R2T', { options: hdgst, spoilHeader: 0x80000000 }),
    fes: Fes.HeaderDigestError,
    fei: digestAt(frame('R2T', { options: hdgst, spoilHeader: 0x80000000 }), 24),
    after: 28,
  },
  // DATAL
  {
    name: 'DATAL other than the data of H2CData',
    bytes: frame('H2CData', { data: pattern(8), fields: { datal: 4 } }),
    fes: Fes.InvalidHeaderField,
    fei: 16,
    after: 24,
  },
  {
    name: 'DATAL FFFFFFFFh',
    bytes: frame('H2CData', { data: pattern(8), fields: { datal: 0xffffffff } }),
    fes: Fes.InvalidHeaderField,
    fei: 16,
    after: 24,
  },
  {
    name: 'DATAL of a C2HData without data',
    peer: 'controller',
    bytes: frame('C2HData', { fields: { datal: 4 } }),
    fes: Fes.InvalidHeaderField,
    fei: 16,
    after: 24,
  },
  // Limits
  {
    name: 'more in-capsule data than IOCCSZ',
    limits: { maxCapsuleData: 512 },
    bytes: frame('CapsuleCmd', { data: pattern(513) }),
    fes: Fes.InvalidHeaderField,
    fei: 4,
    after: 8,
  },
  {
    name: 'an H2CData longer than MAXH2CDATA',
    limits: { maxData: 4096 },
    bytes: frame('H2CData', { data: pattern(4100) }),
    fes: Fes.LimitExceeded,
    fei: 0,
    after: 8,
  },
];
function frameWithPlen(plen: number): Uint8Array {
  const made = frame('CapsuleCmd', { pdo: 72 });
  new DataView(made.buffer).setUint32(4, plen, true);
  return made;
}

t.test('malformed PDUs end with the FES and FEI of the specification, as soon as it can be told', (t) => {
  for (const {
    name,
    peer = 'host',
    options = {},
    bytes,
    fes,
    fei,
    early = false,
    after = 8,
    limits,
  } of cases) {
    for (const step of [bytes.length, 1]) {
      const { receiver } = listen(peer, options);
      if (!early) receiver.push(first(peer));
      Object.assign(receiver, limits);
      let at = 0;
      const fault = faultOf(() => {
        for (; at < bytes.length; at += step) receiver.push(bytes.subarray(at, at + step));
      });
      t.match(fault, { fes, fei: fei >>> 0, silent: false }, name);
      if (step === 1) t.equal(at + 1, after, `${name}: after ${after} bytes`);
      t.equal(receiver.headerBytes, Math.min(after, 128), `${name}: what a TermReq can quote`);
    }
  }
  t.end();
});

t.test('a TermReq that is malformed is not answered with another', (t) => {
  for (const [plen, hlen] of [
    [23, 24],
    [153, 24],
    [0xffffffff, 24],
    [24, 23],
    [24, 128],
    [0, 24],
  ] as const)
    for (const early of [true, false]) {
      const { receiver } = listen('host');
      if (!early) receiver.push(icreq);
      const fault = faultOf(() => receiver.push(H2CTermReq.bytes({ type: PduType.H2CTermReq, hlen, plen })));
      t.match(fault, { silent: true }, `PLEN ${plen} HLEN ${hlen}`);
    }
  for (const plen of [24, 25, 152]) {
    const { receiver, pdus } = listen('host');
    receiver.push(
      concat(
        H2CTermReq.bytes({ type: PduType.H2CTermReq, hlen: 24, plen, fes: 2, fei: 0x12345678 }),
        pattern(plen - 24),
      ),
    );
    t.equal(pdus[0]?.data.length, plen - 24, `PLEN ${plen}, before ICReq`);
    const header = pdus[0]?.header ?? new Uint8Array(24);
    t.match(H2CTermReq.decode(new DataView(header.buffer)), { fes: 2, fei: 0x12345678 });
  }
  t.end();
});

t.test('a data digest that is wrong is told, and the connection goes on', (t) => {
  const options = { dataDigest: true };
  const { receiver, pdus } = listen('host', options);
  receiver.push(
    concat(
      icreq,
      frame('CapsuleCmd', { options, data: pattern(100), spoilData: 1 }),
      frame('H2CData', { options, data: pattern(100), spoilData: 0x80000000 }),
      frame('CapsuleCmd', { options, data: pattern(100) }),
      frame('CapsuleCmd', { options }),
    ),
  );
  t.same(
    pdus.map((pdu) => pdu.digestOk),
    [true, false, false, true, true],
  );
  t.end();
});

t.test('what real hosts do and is tolerated', (t) => {
  const { receiver, pdus } = listen('host');
  receiver.push(icreq);
  receiver.push(frame('CapsuleCmd', { pdo: 72 }));
  receiver.push(frame('CapsuleCmd', { pdo: 255 }));
  t.same(
    pdus.slice(1).map((pdu) => pdu.data.length),
    [0, 0],
    'PDO without data is not looked at',
  );
  receiver.push(frame('CapsuleCmd', { pdo: 0, data: pattern(1024) }));
  t.same(pdus[3]?.data, Buffer.from(pattern(1024)), 'PDO 0 in a capsule: right after the header');
  receiver.push(frame('CapsuleCmd', { flags: Flag.ddgst }));
  receiver.push(frame('CapsuleCmd', { flags: 0xf0 }));
  t.equal(pdus.length, 6, 'flags that mean nothing here are ignored');
  receiver.push(frame('CapsuleCmd', { data: pattern(8), pdo: 76 + 4 * 10, plen: 76 + 40 + 8 }));
  t.equal(pdus[6]?.data.length, 8, 'more padding than needed');
  t.end();
});
