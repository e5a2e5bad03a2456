/**
 * The NBD server as a whole, fuzzed: clients say changed and made-up things in pieces, and leave whenever they like.
 * Whatever they do, nothing may throw, the server's books must balance, and another client must not notice.
 */
import { concat } from '../../src/layout/bytes.ts';
import { CommandType, Magic, Option, OptionHeader, RequestHeader } from '../../src/nbd/protocol.ts';
import { NbdWorld, counted, u16, u32 } from '../doubles/nbd-world.ts';
import { mutate, pieces, type Dice } from './random.ts';

const SIZE = 1 << 17;
const NAMES = ['', 'disk', 'nothing', '\ufffd', 'x'.repeat(5000)];
const QUERIES = ['base:allocation', 'base:', 'qemu:dirty-bitmap:x', ''];

function option(dice: Dice): Uint8Array {
  const kind = dice.oneIn(8) ? dice.u32() : dice.pick(Object.values(Option));
  const name = counted(dice.pick(NAMES));
  const data = dice.pick([
    () => new Uint8Array(0),
    () =>
      concat([name, u16(dice.below(3)), ...Array.from({ length: dice.below(3) }, () => u16(dice.below(5)))]),
    () => concat([name, u32(1), counted(dice.pick(QUERIES))]),
    () => dice.bytes(dice.below(40)),
  ])();
  const length = dice.oneIn(12) ? dice.u32() : data.length;
  return concat([OptionHeader.bytes({ magic: Magic.option, option: kind, length }), data]);
}

function request(dice: Dice): Uint8Array {
  const type = dice.oneIn(12) ? dice.below(65536) : dice.pick(Object.values(CommandType));
  const length = dice.oneIn(4) ? dice.below(600) : 512 * dice.below(dice.oneIn(10) ? 300 : 20);
  const offset = dice.oneIn(8) ? dice.u32() * 2 ** dice.below(21) : dice.below(SIZE);
  const header = RequestHeader.bytes({
    magic: Magic.request,
    flags: dice.oneIn(4) ? dice.below(64) : 0,
    type: type === CommandType.Disconnect && !dice.oneIn(10) ? CommandType.Flush : type,
    cookieLow: dice.u32(),
    offset,
    length: dice.oneIn(20) ? dice.u32() : length,
  });
  return type === CommandType.Write ? concat([header, new Uint8Array(length).fill(dice.u32())]) : header;
}

/** A handshake that works more often than not, then requests. */
function talk(dice: Dice): Uint8Array[] {
  const go = concat([counted(dice.oneIn(6) ? dice.pick(NAMES) : ''), u16(0)]);
  const context = concat([counted(''), u32(1), counted('base:allocation')]);
  const say = (kind: number, data: Uint8Array): Uint8Array =>
    concat([OptionHeader.bytes({ magic: Magic.option, option: kind, length: data.length }), data]);
  return [
    u32(dice.oneIn(20) ? dice.u32() : dice.below(4)),
    ...Array.from({ length: dice.below(4) }, () => option(dice)),
    ...(dice.oneIn(2) ? [say(Option.StructuredReply, new Uint8Array(0))] : []),
    ...(dice.oneIn(2) ? [say(Option.SetMetaContext, context)] : []),
    ...(dice.oneIn(10) ? [] : [say(Option.Go, go)]),
    ...Array.from({ length: dice.below(20) }, () => request(dice)),
  ];
}

export function fuzzNbd(dice: Dice, note: (input: Uint8Array) => void): void {
  const world = new NbdWorld({
    requests: 1 + dice.below(8),
    waitingRequests: dice.below(8),
    maxPayload: 131072,
  });
  world.disk.blockSize = dice.pick([512, 4096]);
  if (dice.oneIn(3))
    world.disk.knows((_, length) => [{ length: Math.ceil(length / 2), hole: true, zero: dice.oneIn(2) }]);
  const other = world.up();
  const said = talk(dice).map((each) => (dice.oneIn(12) ? mutate(dice, each, 2) : each));
  const stream = concat(said);
  note(stream);
  world.disk.manual = dice.oneIn(3);
  const client = world.connect();
  // The stream need not be one that a client could follow the answers to.
  client.deaf = true;
  const left = dice.oneIn(3) ? stream.subarray(0, dice.below(stream.length + 1)) : stream;
  for (const piece of pieces(dice, left)) {
    if (client.closed) break;
    client.transport.write([piece], () => undefined);
    if (dice.oneIn(20)) world.settle();
    if (world.disk.manual && dice.oneIn(6)) world.disk.waiting[0]?.finish();
  }
  world.settle();
  if (dice.oneIn(2)) client.transport.reset();
  else client.transport.close();
  world.settle();
  world.disk.manual = false;
  for (const operation of [...world.disk.waiting]) operation.finish();
  const data = new Uint8Array(700).fill(9);
  if (other.write(100, data).error !== 0) throw new Error('another client notices');
  if (Buffer.compare(other.read(100, 700).data, data) !== 0)
    throw new Error('another client reads something else');
  other.transport.close();
  world.env.clock.advance(120_000);
  const leftovers = world.leftovers();
  if (leftovers.length > 0) throw new Error(`left: ${leftovers.join(', ')}`);
}
