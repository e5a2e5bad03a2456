/** What is fuzzed, and what may come of it. A subject throws when something else came. */
import { CaptureError, Stream, packets, segment } from '../../scripts/pcap.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { decodeAnaLog, encodeAnaLog } from '../../src/nvme/ana-log.ts';
import { Conversation } from '../../src/nvme/conversation.ts';
import { DecodeError } from '../../src/nvme/decode-error.ts';
import { addressText } from '../../src/nvme/discovery.ts';
import { eventName, eventOf } from '../../src/nvme/event.ts';
import { formatCqe, formatPdu, formatSqe } from '../../src/nvme/format.ts';
import {
  decodeControllerList,
  decodeNamespaceIds,
  decodeNsidList,
  encodeControllerList,
  encodeNamespaceIds,
  encodeNsidList,
} from '../../src/nvme/identify-lists.ts';
import { MAX_NQN, isStandardNqn, nqnProblem } from '../../src/nvme/nqn.ts';
import { decodeReservationReport, encodeReservationReport } from '../../src/nvme/reservation.ts';
import { CommonHeader, Fes, Flag, PDUS, ProtocolFault, Receiver, crc32c } from '../../src/pdu/index.ts';
import type { Role } from '../../src/pdu/pdus.ts';
import { STRUCTURES } from '../layout/structures.ts';
import { CAPTURES, captured, connections, type CapturedPdu } from '../vectors/vectors.ts';
import { fuzzNbd } from './nbd.ts';
import { mutate, pieces, type Dice } from './random.ts';
import { fuzzTarget } from './target.ts';

export interface Subject {
  readonly name: string;
  /** `note` is told the input before it is used, so that a failure can show it. */
  run(dice: Dice, note: (input: Uint8Array) => void): void;
}

const check = (good: boolean, message: string): void => {
  if (!good) throw new Error(message);
};
const same = (a: unknown, b: unknown): boolean => text(a) === text(b);
const text = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'bigint' ? `${part}n` : part === Infinity ? '∞' : part,
  );

const CONVERSATIONS: readonly CapturedPdu[][] = CAPTURES.flatMap((name) => connections(captured(name)));

/** A stream of some captured PDUs of one role, beginning as a connection does more often than not. */
function traffic(dice: Dice, role: Role): Uint8Array[] {
  const own = dice.pick(CONVERSATIONS).filter((pdu) => pdu.role === role && pdu.bytes.length < 9000);
  const start = dice.below(own.length);
  const chosen = own.slice(start, start + 1 + dice.below(6)).map(({ bytes }) => bytes);
  return dice.oneIn(8) ? chosen : [own[0]!.bytes, ...chosen];
}

/** Makes the digests of a changed PDU right again where that is possible, so that the change is looked at. */
function redigest(bytes: Uint8Array, dataToo: boolean): void {
  if (bytes.length < 8) return;
  const view = viewOf(bytes);
  const info = PDUS[view.getUint8(0)];
  if (info?.digest !== true) return;
  const flags = view.getUint8(1);
  if (flags & Flag.hdgst && bytes.length >= info.hlen + 4)
    view.setUint32(info.hlen, crc32c(bytes.subarray(0, info.hlen), 0), true);
  const pdo = view.getUint8(3);
  if (dataToo && flags & Flag.ddgst && pdo >= info.hlen && bytes.length >= pdo + 4)
    view.setUint32(bytes.length - 4, crc32c(bytes.subarray(pdo, bytes.length - 4), 0), true);
}

/** Lengths and flags that almost agree. */
function bend(dice: Dice, given: Uint8Array): Uint8Array {
  const bytes = given.slice();
  const view = viewOf(bytes);
  const plen = view.getUint32(4, true);
  const near = dice.below(17) - 8;
  switch (dice.below(5)) {
    case 0:
      view.setUint32(4, Math.max(0, plen + near), true);
      break;
    case 1:
      view.setUint8(3, view.getUint8(3) + near);
      break;
    case 2:
      view.setUint8(3, plen + near);
      break;
    case 3:
      view.setUint32(4, Math.max(0, view.getUint8(3) + near), true);
      break;
    case 4:
      view.setUint8(1, view.getUint8(1) ^ (1 << dice.below(4)));
      break;
  }
  return bytes;
}

interface Outcome {
  pdus: string[];
  fault: string | undefined;
}

interface Setting {
  peer: Role;
  headerDigest: boolean;
  dataDigest: boolean;
  alignment: number;
  maxCapsuleData: number;
  maxData: number;
}

function receive(setting: Setting, chunks: Iterable<Uint8Array>): Outcome {
  const outcome: Outcome = { pdus: [], fault: undefined };
  let announced = 0;
  let delivered = 0;
  let crc = 0;
  const receiver = new Receiver(
    setting.peer,
    {
      onHeader(_type, _header, dataLength) {
        announced = dataLength;
        delivered = crc = 0;
        check(
          dataLength >= 0 && dataLength <= Math.max(setting.maxCapsuleData, setting.maxData, 128),
          `${dataLength} bytes of data`,
        );
      },
      onData(chunk, start, end) {
        check(start < end && end <= chunk.length, `slice ${start} to ${end} of ${chunk.length}`);
        delivered += end - start;
        crc = crc32c(chunk.subarray(start, end), crc);
      },
      onPdu(type, header, digestOk) {
        check(announced === delivered, `${announced} bytes announced, ${delivered} delivered`);
        const info = PDUS[type];
        check(info?.sentBy === setting.peer, `type ${type} from a ${setting.peer}`);
        check(CommonHeader.type.get(header, 0) === type, 'the header is another PDU’s');
        outcome.pdus.push(`${type} ${announced} ${crc} ${String(digestOk)}`);
        if (type <= 1)
          Object.assign(receiver, {
            headerDigest: setting.headerDigest,
            dataDigest: setting.dataDigest,
            alignment: setting.alignment,
          });
      },
    },
    crc32c,
  );
  receiver.maxCapsuleData = setting.maxCapsuleData;
  receiver.maxData = setting.maxData;
  try {
    for (const chunk of chunks) receiver.push(chunk);
  } catch (error) {
    if (!(error instanceof ProtocolFault)) throw error;
    check(error.fes >= Fes.InvalidHeaderField && error.fes <= Fes.UnsupportedParameter, `FES ${error.fes}`);
    check(error.fei >>> 0 === error.fei, `FEI ${error.fei}`);
    check(receiver.headerBytes > 0 && receiver.headerBytes <= 128, `${receiver.headerBytes} header bytes`);
    outcome.fault = error.message;
  }
  return outcome;
}

const receiver: Subject = {
  name: 'receiver',
  run(dice, note) {
    const peer = dice.pick(['host', 'controller'] as const);
    const digests = dice.oneIn(4) ? undefined : dice.below(2) === 1;
    const setting: Setting = {
      peer,
      headerDigest: digests ?? dice.oneIn(2),
      dataDigest: digests ?? dice.oneIn(2),
      alignment: dice.oneIn(3) ? 4 * (1 + dice.below(32)) : 4,
      maxCapsuleData: dice.pick([0, 512, 8192, 16384]),
      maxData: dice.pick([4096, 131072, 0x7fffffff]),
    };
    const own = traffic(dice, dice.oneIn(12) ? dice.pick(['host', 'controller']) : peer);
    const changed = own.map((bytes, i) => {
      const first = i === 0 && own.length > 1;
      if (dice.oneIn(first ? 6 : 2)) {
        const other = dice.oneIn(2) ? bend(dice, bytes) : mutate(dice, bytes, 2);
        if (dice.oneIn(2)) redigest(other, dice.oneIn(2));
        return other;
      }
      return bytes;
    });
    const stream = dice.oneIn(30) ? dice.bytes(dice.below(400)) : Uint8Array.from(Buffer.concat(changed));
    note(stream);
    const whole = receive(setting, [stream]);
    const split = receive(setting, pieces(dice, stream));
    check(same(whole, split), `in one piece ${text(whole)}, in many ${text(split)}`);
  },
};

const structures: Subject = {
  name: 'structures',
  run(dice, note) {
    const layout = dice.pick(STRUCTURES);
    const bytes = dice.bytes(layout.size);
    note(bytes);
    const view = viewOf(bytes);
    layout.format(view);
    check(Buffer.compare(layout.bytes(layout.decode(view)), bytes) === 0, `${layout.structName} changed`);
  },
};

/** Something that a decoder might get: made of right parts, then changed, or noise. */
const hostile = (dice: Dice, right: Uint8Array): Uint8Array => {
  const cut = dice.oneIn(3) ? right.subarray(0, dice.below(right.length + 1)) : right;
  return dice.oneIn(6) ? dice.bytes(dice.below(300)) : dice.oneIn(8) ? cut.slice() : mutate(dice, cut);
};

function decoder<T>(
  name: string,
  right: (dice: Dice) => Uint8Array,
  decode: (bytes: Uint8Array) => T,
  again: (value: T) => unknown,
): Subject {
  return {
    name,
    run(dice, note) {
      const bytes = hostile(dice, right(dice));
      note(bytes);
      let value: T;
      try {
        value = decode(bytes);
      } catch (error) {
        if (error instanceof DecodeError) return;
        throw error;
      }
      check(same(value, again(value)), `${text(value)} became ${text(again(value))}`);
    },
  };
}

const rising = (dice: Dice, count: number, step: number): number[] => {
  let last = 0;
  return Array.from({ length: count }, () => (last += 1 + dice.below(step)));
};
const LIMITS = { anagrpmax: 128, nn: 1024 };

const decoders: readonly Subject[] = [
  decoder(
    'namespace list',
    (dice) => encodeNsidList(rising(dice, dice.below(1100), 9)),
    decodeNsidList,
    (nsids) => decodeNsidList(encodeNsidList(nsids)),
  ),
  decoder(
    'controller list',
    (dice) => encodeControllerList(rising(dice, dice.below(2100), 9)),
    decodeControllerList,
    (cntlids) => decodeControllerList(encodeControllerList(cntlids)),
  ),
  decoder(
    'namespace descriptors',
    (dice) =>
      encodeNamespaceIds({ eui64: dice.bytes(8), nguid: dice.bytes(16), csi: dice.below(256) }).subarray(
        0,
        64,
      ),
    decodeNamespaceIds,
    (ids) => decodeNamespaceIds(encodeNamespaceIds(ids)),
  ),
  decoder(
    'reservation report',
    (dice) =>
      encodeReservationReport({
        generation: dice.below(2 ** 31),
        rtype: dice.below(7),
        ptpl: dice.oneIn(2),
        registrants: Array.from({ length: dice.below(5) }, (_, i) => ({
          cntlid: dice.oneIn(2) ? undefined : dice.below(0xffef),
          holder: dice.oneIn(2),
          hostid: `0000000${i}-1111-2222-3333-444444444444`,
          rkey: BigInt(dice.below(2 ** 31)),
        })),
      }),
    decodeReservationReport,
    (report) => ({ ...decodeReservationReport(encodeReservationReport(report)), total: report.total }),
  ),
  decoder(
    'ANA log',
    (dice) => {
      const nsids = rising(dice, dice.below(30), 20);
      const groups = rising(dice, dice.below(6), 20).map((agid, i) => ({
        agid,
        chgcnt: dice.u32(),
        state: dice.pick([1, 2, 3, 4, 15] as const),
        nsids: nsids.slice(5 * i, 5 * i + 5),
      }));
      return encodeAnaLog({ chgcnt: dice.u32(), groups }, dice.oneIn(4));
    },
    (bytes) => decodeAnaLog(bytes, LIMITS),
    (log) => {
      // A change count past 2^53 - 1 cannot be written again.
      const plain = { ...log, chgcnt: 0, groups: log.groups.map((group) => ({ ...group, chgcnt: 0 })) };
      const back = decodeAnaLog(encodeAnaLog(plain, false), LIMITS);
      return {
        chgcnt: log.chgcnt,
        groups: back.groups.map((group, i) => ({ ...group, chgcnt: log.groups[i]!.chgcnt })),
      };
    },
  ),
];

const names: Subject = {
  name: 'names',
  run(dice, note) {
    const start = dice.pick(['', 'nqn.', 'nqn.2014-08.org.nvmexpress:uuid:', 'nqn.2014-08.org.example:disk']);
    const codes = Array.from({ length: dice.below(dice.oneIn(4) ? 260 : 20) }, () =>
      dice.oneIn(9) ? dice.below(0x10000) : 0x20 + dice.below(0x60),
    );
    const name = start + String.fromCharCode(...codes);
    note(new TextEncoder().encode(name));
    const problem = nqnProblem(name);
    check(problem === undefined || problem.length > 0, 'a problem without words');
    const bytes = new TextEncoder().encode(name).length;
    check(problem !== undefined || (bytes <= MAX_NQN && bytes > 4), `${bytes} bytes and no problem`);
    check(problem === undefined || !isStandardNqn(name), 'standard and a problem');
    addressText(name);
    eventName(eventOf(dice.u32()));
  },
};

const conversation: Subject = {
  name: 'text',
  run(dice, note) {
    const talk = new Conversation();
    const pdus = dice.pick(CONVERSATIONS);
    const start = dice.below(pdus.length);
    for (const { bytes } of pdus.slice(start, start + 1 + dice.below(8))) {
      const header = new Uint8Array(128);
      const given = dice.oneIn(2) ? mutate(dice, bytes) : bytes;
      note(given);
      header.set(given.subarray(0, 128));
      const info = PDUS[dice.oneIn(10) ? dice.below(256) : (header[0] ?? 0)];
      if (info === undefined) continue;
      talk.pdu(info.type, viewOf(header), given.subarray(Math.min(given.length, info.hlen)));
      formatPdu(viewOf(given));
    }
    const noise = dice.bytes(64 + dice.below(64));
    note(noise);
    formatSqe(dice.oneIn(2), viewOf(noise));
    formatCqe(viewOf(noise));
    formatPdu(viewOf(noise.subarray(0, dice.below(noise.length))));
  },
};

/** One packet of a classic capture with a PDU in it, for the reader of captures. */
function capture(dice: Dice): Uint8Array {
  const payload = dice.pick(dice.pick(CONVERSATIONS)).bytes.subarray(0, 300);
  const made = new Uint8Array(24 + 16 + 14 + 20 + 20 + payload.length);
  const view = viewOf(made);
  view.setUint32(0, dice.pick([0xd4c3b2a1, 0xa1b2c3d4, 0x4d3cb2a1]), false);
  const little = made[0] !== 0xa1;
  view.setUint32(20, dice.pick([1, 1, 101, 113, 276, 0]), little);
  view.setUint32(32, made.length - 40, little);
  view.setUint16(52, 0x0800);
  view.setUint8(54, 0x45);
  view.setUint16(56, made.length - 54);
  view.setUint8(63, 6);
  view.setUint8(86, 0x50);
  made.set(payload, 94);
  return made;
}

const captures: Subject = {
  name: 'captures',
  run(dice, note) {
    const file = dice.oneIn(20) ? dice.bytes(dice.below(200)) : mutate(dice, capture(dice));
    note(file);
    try {
      const stream = new Stream();
      let packetCount = 0;
      for (const packet of packets(file)) {
        check(++packetCount < 1000, 'packets without end');
        const found = segment(packet);
        if (found !== undefined) stream.push(found);
      }
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
    }
  },
};

export const SUBJECTS: readonly Subject[] = [
  receiver,
  receiver,
  receiver,
  structures,
  ...decoders,
  names,
  conversation,
  captures,
  { name: 'target', run: fuzzTarget },
  { name: 'nbd', run: fuzzNbd },
];
