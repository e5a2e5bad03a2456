/** A controller that behaves for a while and then sends what a seed makes up. */
import t from 'tap';
import { SeededRandom } from '../../src/runtime/memory/random.ts';
import { Status } from '../../src/nvme/status.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { PDUS, PduType } from '../../src/pdu/pdus.ts';
import { HostWorld, type Outcome } from '../doubles/host-world.ts';
import type { FakeCommand } from '../doubles/fake-controller.ts';

const SEEDS = 300;
const TYPES = [PduType.CapsuleResp, PduType.C2HData, PduType.R2T, PduType.C2HTermReq, PduType.ICResp, 0x0a];

/** A PDU that is nearly right: mostly for a command that exists, mostly of the right shape. */
function nearly(random: SeededRandom, command: FakeCommand): Uint8Array {
  const odd = (of: number): boolean => random.below(of) === 0;
  const { CapsuleResp, C2HData, R2T } = PduType;
  const fits = command.name === 'Read' ? C2HData : command.name === 'Write' ? R2T : CapsuleResp;
  const type = odd(3) ? TYPES[random.below(odd(4) ? TYPES.length : 3)]! : fits;
  const hlen = PDUS[type]?.hlen ?? 24;
  const length = type === PduType.C2HData ? random.below(8) * 256 : 0;
  const bytes = new Uint8Array(hlen + length);
  const view = viewOf(bytes);
  bytes[0] = type;
  bytes[1] = type === PduType.C2HData ? random.below(4) * 4 : 0;
  bytes[2] = hlen;
  bytes[3] = length > 0 ? hlen : 0;
  view.setUint32(4, bytes.length, true);
  const cid = odd(8) ? random.below(65_536) : command.cid;
  const number = (): number => (odd(4) ? random.u32() : random.below(8) * 256);
  if (type === PduType.CapsuleResp) {
    view.setUint16(20, cid, true);
    view.setUint16(22, odd(2) ? 0 : random.below(65_536), true);
  } else if (type === PduType.C2HData || type === PduType.R2T) {
    view.setUint16(8, cid, true);
    view.setUint32(12, odd(2) ? 0 : number(), true);
    view.setUint32(16, type === PduType.R2T ? number() : length, true);
  }
  if (odd(6)) bytes[random.below(Math.min(bytes.length, 24))] = random.below(256);
  return odd(12) ? random.bytes(random.below(200)) : bytes;
}

t.test('whatever a controller sends, every I/O ends once, in time, and nothing is left', (t) => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = new SeededRandom(seed);
    const world = new HostWorld({}, { split: [1 + random.below(64), 1 + random.below(2000)] });
    const { head } = world.up({ ioQueues: 1 + random.below(2), queueEntries: 16 });
    const guard = new Uint8Array(8192).fill(0x55);
    world.fake.script = (command) => {
      for (let i = random.below(4); i > 0; i--) command.on.raw(nearly(random, command));
      return random.below(3) > 0;
    };
    const outcomes: Outcome[] = [];
    for (let i = 0; i < 30; i++) {
      const kind = random.below(4);
      const buffer = guard.subarray(2048, 2048 + 512 * (1 + random.below(4)));
      if (kind === 0) outcomes.push(world.read(head, random.below(64), buffer.length / 512, buffer));
      else if (kind === 1)
        outcomes.push(world.write(head, random.below(64), new Uint8Array(512 << random.below(7))));
      else if (kind === 2) outcomes.push(world.submit(head, 'flush'));
      else outcomes.push(world.submit(head, 'deallocate', { ranges: [{ slba: 1, blocks: 5 }] }));
      if (random.below(4) === 0) outcomes[random.below(outcomes.length)]!.io.abandon();
      world.advance(random.below(200));
    }
    world.advance(40_000);
    for (const { controller } of head.paths) controller.disconnect('disconnected', () => undefined);
    world.fake.script = () => false;
    world.advance(10_000);
    for (const { calls, status } of outcomes)
      if (calls !== 1 || status === undefined) t.fail(`seed ${seed}: an I/O ended ${calls} times`);
    const left = world.leftovers();
    if (left.length > 0) t.fail(`seed ${seed}: ${left.join(', ')}`);
    const touched = guard.findIndex((byte, i) => byte !== 0x55 && (i < 2048 || i >= 4096));
    if (touched >= 0) t.fail(`seed ${seed}: byte ${touched} outside the buffer was written`);
  }
  t.pass(`${SEEDS} seeds`);
  t.end();
});

t.test('a command that is answered by a protocol fault each time is not repeated for ever', (t) => {
  const world = new HostWorld({ retries: 3 });
  const { head } = world.up({ recovery: { reconnectDelay: 1000, ctrlLossTmo: Infinity } });
  world.fake.script = ({ on, cid, name }) => {
    if (name !== 'Read') return false;
    on.data(cid, new Uint8Array(1024));
    on.respond(cid);
    return true;
  };
  const read = world.read(head, 0, 1);
  world.advance(30_000);
  t.strictSame([read.status, read.calls, read.io.unknown], [Status.AbortedByHost, 1, false]);
  t.equal(world.fake.log.filter((line) => line === 'q1 Read').length, 4, 'once, and three times more');
  world.fake.script = () => false;
  const next = world.read(head, 0, 1);
  world.advance(30_000);
  t.equal(next.status, 0, 'and the path is good for others');
  head.paths[0]!.controller.disconnect('disconnected', () => undefined);
  world.advance(10_000);
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('whatever a controller answers while it is set up, the attempt ends in time', (t) => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = new SeededRandom(seed);
    const world = new HostWorld();
    world.fake.script = ({ on, cid, name, length }) => {
      if (random.below(6) > 0 || name === 'Async Event Request') return false;
      const what = random.below(3);
      if (what === 0 && length > 0 && name.startsWith('Identify')) on.data(cid, random.bytes(length));
      on.respond(cid, what === 1 ? random.below(0x8000) : 0, random.u32(), random.u32());
      return true;
    };
    const attempt = world.connect();
    world.advance(300_000);
    if (!attempt.done) t.fail(`seed ${seed}: no answer`);
    world.fake.script = () => false;
    attempt.controller.disconnect('disconnected', () => undefined);
    world.advance(70_000);
    const left = world.leftovers();
    if (left.length > 0) t.fail(`seed ${seed}: ${left.join(', ')}`);
  }
  t.pass(`${SEEDS} seeds`);
  t.end();
});
