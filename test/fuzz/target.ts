/**
 * The target as a whole, fuzzed: a live Admin queue and I/O queue are told changed and made-up things in pieces.
 * Whatever they do, nothing may throw, the target's books must balance, and another host must not notice.
 */
import { IoOpcode } from '../../src/nvme/opcode.ts';
import { CopyRange } from '../../src/nvme/sqe.ts';
import { concat } from '../../src/layout/bytes.ts';
import { CapsuleCmd, H2CData, H2CTermReq, ICReq, PduType } from '../../src/pdu/pdus.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { NQN, TargetWorld } from '../doubles/target-world.ts';
import { WireHost, inCapsule, rw } from '../doubles/wire-host.ts';
import { mutate, pieces, type Dice } from './random.ts';

function capsule(dice: Dice): Uint8Array {
  const withData = dice.oneIn(2);
  const sqe = dice.oneIn(3)
    ? dice.bytes(64)
    : rw(
        dice.pick([...Object.values(IoOpcode)]),
        dice.edge(),
        1 + dice.below(300),
        withData ? inCapsule(512) : undefined,
      );
  sqe[1] = dice.oneIn(8) ? dice.below(256) : dice.pick([0x40, 0x40, 0x40, 0x41, 0x42]);
  sqe[2] = dice.below(256);
  if (dice.oneIn(3)) sqe[0] = dice.pick([0x02, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18, 0x7f]);
  if (sqe[0] === 0x7f) sqe[4] = dice.pick([0, 1, 4, 5, 6, 8]);
  const data = withData ? (sqe[0] === IoOpcode.Copy ? copyRanges(dice) : dice.bytes(512)) : new Uint8Array(0);
  return wrap(sqe, data);
}

function wrap(sqe: Uint8Array, data: Uint8Array): Uint8Array {
  const pdu = new Uint8Array(72 + data.length);
  pdu.set([PduType.CapsuleCmd, 0, 72, data.length > 0 ? 72 : 0]);
  viewOf(pdu).setUint32(4, pdu.length, true);
  pdu.set(sqe, CapsuleCmd.sqe.offset);
  pdu.set(data, 72);
  return pdu;
}

/** 512 bytes of source ranges, most of them such as there are. */
function copyRanges(dice: Dice): Uint8Array {
  const ranges = Array.from({ length: 16 }, () =>
    CopyRange.bytes({ slba: dice.oneIn(8) ? dice.edge() : dice.below(2048), nlb: 1 + dice.below(64) }),
  );
  return concat(ranges);
}

/** A Compare and Write, with data in capsules and not; sometimes something comes between, or one is missing. */
function fusedPair(dice: Dice): Uint8Array {
  const slba = dice.below(64);
  const blocks = dice.oneIn(8) ? 1 + dice.below(300) : 1;
  const half = (fuse: number): Uint8Array => {
    const inside = blocks === 1 && dice.oneIn(2);
    const opc = fuse === 1 ? IoOpcode.Compare : IoOpcode.Write;
    const at = dice.oneIn(16) ? dice.below(64) : slba;
    const sqe = rw(opc, at, blocks, inside ? inCapsule(512) : undefined, dice.below(2));
    sqe[1] = 0x40 | fuse;
    sqe[2] = dice.below(256);
    return wrap(sqe, inside ? new Uint8Array(512) : new Uint8Array(0));
  };
  const halves = [half(1), half(2)];
  if (dice.oneIn(8)) halves.splice(1, 0, capsule(dice));
  if (dice.oneIn(8)) halves.splice(dice.below(halves.length), 1);
  return concat([new Uint8Array(0), ...halves]);
}

/** Data for an R2T that really came, or for none. */
function h2c(dice: Dice, host: WireHost): Uint8Array {
  const r2t = host.received.findLast(({ type }) => type === PduType.R2T);
  const length = r2t && !dice.oneIn(4) ? r2t.header.getUint32(16, true) : dice.below(5000);
  const data = new Uint8Array(Math.min(length, 2 ** 20));
  const header = H2CData.bytes({
    type: PduType.H2CData,
    flags: { last: dice.oneIn(8) ? 0 : 1 },
    hlen: 24,
    pdo: 24,
    plen: 24 + data.length,
    cccid: r2t?.header.getUint16(8, true) ?? dice.below(300),
    ttag: r2t?.header.getUint16(10, true) ?? dice.below(300),
    datao: r2t?.header.getUint32(12, true) ?? 0,
    datal: data.length,
  });
  return Uint8Array.from([...header, ...data]);
}

/** One PDU, right or not so right. */
function say(dice: Dice, host: WireHost): Uint8Array {
  const said = dice.oneIn(24)
    ? H2CTermReq.bytes({ type: PduType.H2CTermReq, hlen: 24, plen: 24, fes: dice.below(8) })
    : dice.oneIn(24)
      ? ICReq.bytes({ type: PduType.ICReq, hlen: 128, plen: 128 })
      : dice.oneIn(4)
        ? h2c(dice, host)
        : dice.oneIn(4)
          ? fusedPair(dice)
          : capsule(dice);
  return dice.oneIn(3) ? mutate(dice, said) : said;
}

export function fuzzTarget(dice: Dice, note: (input: Uint8Array) => void): void {
  const world = new TargetWorld({ maxH2cData: 65536, queueWriteBudget: 2 ** 20, connections: 16 });
  const options = {
    headerDigest: dice.oneIn(4),
    dataDigest: dice.oneIn(4),
    cattr: dice.below(2),
    sqsize: 1 + dice.below(64),
  };
  // A host that never came as far as Connect.
  const early = world.open();
  if (dice.oneIn(2)) early.initialize();
  early.raw(concat([say(dice, early), say(dice, early), say(dice, early)]));
  world.settle();
  const { admin, io } = world.up(options);
  const survivor = world.open();
  const cntlid = survivor.up(NQN);

  for (let turns = dice.below(24); turns > 0; turns--) {
    const host = dice.oneIn(4) ? admin : io;
    if (host.ended || host.gone) break;
    let input = say(dice, host);
    // Several in one segment: what comes behind the end of a connection is nobody's.
    while (dice.oneIn(4)) input = concat([input, say(dice, host)]);
    note(input);
    for (const piece of pieces(dice, input)) host.raw(piece);
    world.settle();
    if (dice.oneIn(16)) world.env.clock.advance(dice.below(3000));
  }
  if (dice.oneIn(2)) io.transport.reset();
  if (dice.oneIn(4)) admin.transport.end();
  world.settle();

  const queue = world.open();
  queue.ioUp(NQN, cntlid);
  const data = dice.bytes(512);
  const { status } = queue.response(queue.command(rw(IoOpcode.Write, 2040, 1, inCapsule(512)), data));
  // A made-up Set Features may have protected the namespace; nothing else refuses the write.
  if (status !== 0 && world.namespace.protection === 0) throw new Error(`a write ended with ${status}`);
  const read = queue.data(queue.command(rw(IoOpcode.Read, 2040, 1)));
  if (status === 0 && !read.every((byte, i) => byte === data[i]))
    throw new Error('another host was disturbed');

  world.target.stop(() => undefined);
  world.env.clock.advance(200_000);
  world.target.invariants();
  if (world.target.writeBudget.used !== 0)
    throw new Error(`${world.target.writeBudget.used} bytes of write budget leak`);
  if (world.target.capsuleBudget.used !== 0) throw new Error('in-capsule space leaks');
  if (world.target.slabs.inUse !== 0)
    throw new Error(`${world.target.slabs.inUse} bytes of read buffers leak`);
  const left = world.env.clock.timers.map(({ name }) => name);
  if (left.length > 0) throw new Error(`timers leak: ${left.join('; ')}`);
}
