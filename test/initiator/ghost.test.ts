import t from 'tap';
import { why } from '../../src/initiator/why.ts';
import { GHOST1_MARK } from '../../src/nvme/identify-controller.ts';
import { IoOpcode } from '../../src/nvme/opcode.ts';
import { Status } from '../../src/nvme/status.ts';
import { BLOCK, type FakeController } from '../doubles/fake-controller.ts';
import { Multipath, type MultipathOptions } from '../doubles/multipath.ts';

const block = (value: number, count = 1): Uint8Array => new Uint8Array(count * BLOCK).fill(value);
const KATO = 5000;
const CQT = 1000;
/** Says that it closes a connection only when nothing of it executes any more. */
const keepsGhost1 = (fake: FakeController): void => {
  const vs = new Uint8Array(1024);
  vs.set(GHOST1_MARK);
  fake.identify = { vs };
};
/** The target closes every connection of the first path, and takes none any more. */
const leave = ({ a }: Multipath): void => {
  for (const each of a.fake.connections) each.transport.end();
  a.fake.onInitialize = ({ transport }) => transport.reset();
};
/** Two paths; the first holds what it is sent. */
const lostPath = (more: MultipathOptions = {}): Multipath => {
  const m = new Multipath({
    ...more,
    options: { kato: KATO, ...more.options },
    prepare: (fake, index) => {
      fake.identify = { cqt: CQT };
      more.prepare?.(fake, index);
    },
  });
  m.a.holding = true;
  return m;
};

t.test('GHOST.2 reads, flushes, and what was never sent fail over at once', (t) => {
  const m = lostPath({ options: { queueEntries: 16 } });
  m.b.fake.disk.fill(3);
  const buffer = new Uint8Array(BLOCK);
  const read = m.world.read(m.head, 0, 1, buffer);
  const flush = m.world.submit(m.head, 'flush');
  const reads = Array.from({ length: 13 }, (_, i) => m.world.read(m.head, i, 1));
  const waits = m.world.write(m.head, 9, block(9));
  m.world.settle();
  m.down(m.a);
  t.strictSame([read.status, flush.status, waits.status], [0, 0, 0]);
  t.ok(reads.every(({ status }) => status === 0));
  t.equal(buffer[0], 3);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('GHOST.2 safe: a write that may have left is repeated after 2 × KATO + CQT, no sooner', (t) => {
  const m = lostPath();
  const kinds = [
    m.world.write(m.head, 0, block(1)),
    m.world.submit(m.head, 'zeroes', { slba: 10, blocks: 1 }),
    m.world.submit(m.head, 'deallocate', { ranges: [{ slba: 20, blocks: 1 }] }),
  ];
  m.world.settle();
  m.down(m.a);
  m.world.advance(2 * KATO + CQT - 1);
  t.ok(kinds.every(({ status }) => status === undefined));
  t.equal(m.b.fake.log.filter((line) => line.startsWith('q1 ') && line !== 'q1 Connect').length, 0);
  m.world.advance(1);
  t.ok(kinds.every(({ status }) => status === 0));
  t.equal(m.b.fake.disk[0], 1);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('GHOST.2 safe: three times KATO with TBKAS', (t) => {
  const m = lostPath({ prepare: (fake) => (fake.identify = { cqt: CQT, ctratt: { tbkas: 1 } }) });
  const write = m.world.write(m.head, 0, block(1));
  m.world.settle();
  m.down(m.a);
  m.world.advance(3 * KATO + CQT - 1);
  t.equal(write.status, undefined);
  m.world.advance(1);
  t.equal(write.status, 0);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('GHOST.2 safe: at once when a target that keeps GHOST.1 has closed', (t) => {
  const m = lostPath({ prepare: keepsGhost1 });
  const write = m.world.write(m.head, 0, block(1));
  m.world.settle();
  leave(m);
  m.world.advance(10);
  t.equal(write.status, 0);
  t.strictSame(m.stop(), []);
  t.end();
});

/** Steps until the first path's association is over; gives what the second path's socket got by then. */
function sentWhenOver(m: Multipath): number {
  const { association } = m.a.controller;
  const { sender } = m.b.controller.ioConnections[0]!;
  const before = sender.total;
  while (!association!.over && m.world.env.clock.step());
  return sender.total - before;
}

t.test('GHOST.2 what fails over leaves in the turn in which the old connections are dead', (t) => {
  for (const writeFailover of ['safe', 'immediate'] as const) {
    const m = lostPath({ options: { heads: { writeFailover } } });
    const sent = writeFailover === 'safe' ? m.world.read(m.head, 0, 1) : m.world.write(m.head, 0, block(1));
    m.world.settle();
    m.a.fake.onInitialize = ({ transport }) => transport.reset();
    for (const each of m.a.fake.connections) each.transport.reset();
    t.ok(sentWhenOver(m) > 0);
    m.world.settle();
    t.equal(sent.status, 0);
    t.strictSame(m.stop(), []);
  }
  t.end();
});

t.test('GHOST.2 safe: a write that is free goes in the next turn, without a timer', (t) => {
  const m = lostPath({ prepare: keepsGhost1 });
  const write = m.world.write(m.head, 0, block(1));
  m.world.settle();
  const { association } = m.a.controller;
  const { sender } = m.b.controller.ioConnections[0]!;
  leave(m);
  t.equal(sentWhenOver(m), 0);
  t.ok(association!.dead);
  const before = sender.total;
  const turns = m.world.env.clock.deferred;
  for (let i = 0; i < turns; i++) m.world.env.clock.step();
  t.ok(sender.total > before);
  m.world.settle();
  t.equal(write.status, 0);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('GHOST.2 safe: the same controller that connects again proves nothing', (t) => {
  const m = lostPath({ sides: 1 });
  const write = m.world.write(m.head, 0, block(1));
  m.world.settle();
  m.a.commands.length = 0;
  m.a.holding = false;
  m.a.fake.cut();
  m.world.advance(1500);
  t.equal(m.a.controller.state.now, 'live');
  t.equal(write.status, undefined);
  const read = m.world.read(m.head, 0, 1);
  m.world.settle();
  t.equal(read.status, 0);
  m.world.advance(2 * KATO + CQT);
  t.equal(write.status, 0);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('GHOST.2 immediate: the write is repeated at once', (t) => {
  const m = lostPath({ options: { heads: { writeFailover: 'immediate' } } });
  const write = m.world.write(m.head, 0, block(1));
  m.world.settle();
  m.down(m.a);
  t.equal(write.status, 0);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('GHOST.2 with KATO 0 time proves nothing: the outcome of the write is unknown', (t) => {
  const m = lostPath({ options: { kato: 0 } });
  const write = m.world.write(m.head, 0, block(1));
  const behind = m.world.write(m.head, 1, block(2));
  m.world.settle();
  m.down(m.a);
  m.world.advance(1);
  t.strictSame([write.status, write.io.unknown], [Status.AbortedByHost, true]);
  t.strictSame([behind.status, behind.io.unknown], [Status.AbortedByHost, true]);
  const after = m.world.write(m.head, 0, block(3));
  m.world.settle();
  t.equal(after.status, 0, 'nobody waits for ever');
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('GHOST.2 what is answered is over: a refused write is repeated at once', (t) => {
  const m = lostPath();
  const write = m.world.write(m.head, 0, block(1));
  m.world.settle();
  m.a.refuse(Status.AnaInaccessible);
  t.equal(write.status, 0);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('a controller that answers 371h does not speak for the host', (t) => {
  const m = lostPath();
  const write = m.world.write(m.head, 0, block(1));
  m.world.settle();
  m.a.refuse(Status.AbortedByHost);
  t.equal(write.status, 0, 'it is a status of the path');
  t.ok(m.head.traffic.ghosts.empty);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test(
  'GHOST.3 new writes to blocks of a held write wait behind it, in order; everything else goes on',
  (t) => {
    const m = lostPath();
    const held = m.world.write(m.head, 10, block(1, 4));
    m.world.settle();
    m.down(m.a);
    const order: number[] = [];
    m.b.fake.script = ({ name, view }) => {
      if (name === 'Write') order.push(view.getUint32(40, true));
      return false;
    };
    const behind = [
      m.world.write(m.head, 13, block(2)),
      m.world.write(m.head, 8, block(3, 3)),
      m.world.submit(m.head, 'deallocate', {
        ranges: [
          { slba: 0, blocks: 1 },
          { slba: 11, blocks: 1 },
        ],
      }),
    ];
    const free = [
      m.world.write(m.head, 14, block(4)),
      m.world.write(m.head, 6, block(5, 4)),
      m.world.read(m.head, 10, 4),
      m.world.submit(m.head, 'flush'),
    ];
    m.world.settle();
    t.ok(free.every(({ status }) => status === 0));
    t.ok(behind.every(({ status }) => status === undefined));
    t.equal(m.head.traffic.waiting.held, 4);
    m.world.advance(2 * KATO + CQT);
    t.ok([held, ...behind].every(({ status, calls }) => status === 0 && calls === 1));
    t.strictSame(order, [14, 6, 10, 13, 8]);
    t.equal(m.b.fake.disk[13 * BLOCK], 2, 'the newer data is there at the end');
    t.strictSame(m.stop(), []);
    t.end();
  },
);

t.test('GHOST.3 the blocks wait even when nobody waits for the lost write any more', (t) => {
  const m = lostPath();
  const lost = m.world.write(m.head, 0, block(1));
  m.world.settle();
  m.down(m.a);
  lost.io.abandon();
  t.equal(lost.status, Status.AbortedByHost);
  const newer = m.world.write(m.head, 0, block(2));
  m.world.advance(2 * KATO + CQT - 1);
  t.equal(newer.status, undefined);
  m.world.advance(1);
  t.equal(newer.status, 0);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('GHOST.3 a split write waits with its lost parts only', (t) => {
  const m = lostPath({ limits: { maxTransfer: BLOCK, pieces: 4 } });
  const write = m.world.write(m.head, 0, block(1, 8));
  m.world.settle();
  t.equal(m.a.commands.length, 4);
  m.down(m.a);
  t.equal(m.b.fake.disk[4 * BLOCK], 1, 'the parts that were never sent are written');
  t.equal(write.status, undefined);
  m.world.advance(2 * KATO + CQT);
  t.equal(write.status, 0);
  t.ok(m.b.fake.disk.subarray(0, 8 * BLOCK).every((byte) => byte === 1));
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('changed to immediate, held writes go at once', (t) => {
  const m = lostPath();
  const [held, behind] = [m.world.write(m.head, 0, block(1)), m.world.write(m.head, 0, block(2))];
  m.world.settle();
  m.down(m.a);
  m.head.subsystem.set({ writeFailover: 'immediate' });
  m.world.settle();
  t.strictSame([held.status, behind.status], [0, 0]);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('commands whose result changes when repeated end with an outcome that is unknown', (t) => {
  for (const writeFailover of ['safe', 'immediate'] as const) {
    const m = lostPath({ options: { heads: { writeFailover } } });
    const acquire = {
      opcode: IoOpcode.ReservationAcquire,
      dwords: [0, 0],
      direction: 'out' as const,
      changes: true,
      repeatable: false,
    };
    const commands = [
      m.world.submit(m.head, 'compare', { slba: 0, blocks: 1, buffers: [block(0)] }),
      m.world.submit(m.head, 'command', { command: acquire, buffers: [new Uint8Array(16)] }),
    ];
    m.world.settle();
    t.equal(m.a.commands.length, 2);
    m.down(m.a);
    for (const { status, io } of commands) t.strictSame([status, io.unknown], [Status.AbortedByHost, true]);
    t.strictSame(m.stop(), []);
  }
  t.end();
});

t.test(
  'GHOST.2 a raw command that changes nobody knows which blocks is not held: its outcome is unknown',
  (t) => {
    for (const writeFailover of ['safe', 'immediate'] as const) {
      const m = lostPath({ options: { heads: { writeFailover } } });
      const command = {
        opcode: 0x04,
        dwords: [],
        direction: 'none',
        changes: true,
        repeatable: true,
      } as const;
      const { io } = m.world.submit(m.head, 'command', { command });
      m.world.settle();
      m.down(m.a);
      t.ok(io.over);
      t.strictSame(
        [io.status, io.unknown],
        writeFailover === 'safe' ? [Status.AbortedByHost, true] : [0, false],
      );
      t.strictSame(m.stop(), []);
    }
    t.end();
  },
);

t.test('a Compare that was never sent goes another way', (t) => {
  const m = lostPath({ options: { queueEntries: 16 } });
  for (let i = 0; i < 15; i++) m.world.read(m.head, i, 1);
  const compare = m.world.submit(m.head, 'compare', { slba: 0, blocks: 1, buffers: [block(0)] });
  m.world.settle();
  m.down(m.a);
  t.equal(compare.status, 0);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('a held write ends when no path will come, and says that its outcome is unknown', (t) => {
  const m = lostPath({ sides: 1 });
  const write = m.world.write(m.head, 0, block(1));
  m.world.settle();
  m.down(m.a);
  const fresh = m.world.write(m.head, 0, block(2));
  m.a.controller.disconnect('disconnected', () => undefined);
  t.strictSame([write.status, write.io.unknown], [Status.AbortedByHost, true]);
  t.strictSame([fresh.status, fresh.io.unknown], [Status.HostPathError, false]);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test(
  'GHOST.3 what was written before a head went is waited for by the head that its namespace gets later',
  (t) => {
    for (const removal of [0, 3]) {
      const heads = { delayedRemoval: removal };
      const options = { kato: 5000, heads, recovery: { reconnectDelay: 1000, ctrlLossTmo: 0 } };
      const m = new Multipath({ sides: 1, options });
      const { world, a, head: before } = m;
      a.holding = true;
      const old = world.write(before, 10, new Uint8Array(4 * BLOCK).fill(1));
      world.settle();
      a.fake.cut();
      world.advance(removal * 1000 + 100);
      t.ok(before.gone);
      t.match(old, { status: Status.AbortedByHost, calls: 1, io: { unknown: true } });
      a.holding = false;
      const { head } = world.up(options);
      t.not(head, before);
      t.equal(head.wwid, before.wwid);
      const over = world.write(head, 12, new Uint8Array(BLOCK).fill(2));
      const beside = world.write(head, 14, new Uint8Array(BLOCK).fill(2));
      const read = world.read(head, 12, 1);
      world.settle();
      t.match([over.status, beside.status, read.status], [undefined, 0, 0], 'only those blocks wait');
      t.match(why(head), { waiting: { held: 1 }, held: [{ ranges: [{ slba: 10, blocks: 4 }] }] });
      world.advance(2 * 5000 + 10_000 - removal * 1000 - 200);
      t.equal(over.status, undefined);
      world.advance(200);
      t.equal(over.status, 0, '2 × KATO + CQT after nothing could be sent any more');
      t.equal(world.registry.departed.size, 0);
      t.strictSame(m.stop(), []);
    }
    t.end();
  },
);

t.test('GHOST.3 a program that has disconnected everything may end, whatever may still be written', (t) => {
  const m = lostPath({ sides: 1 });
  const write = m.world.write(m.head, 0, block(1));
  m.world.settle();
  m.down(m.a);
  m.a.controller.disconnect('disconnected', () => undefined);
  m.world.advance(1000);
  t.match(write, { status: Status.AbortedByHost, io: { unknown: true } });
  t.match(m.world.env.clock.timers, [{ name: /dead on the target/, holds: false }]);
  t.equal(m.world.registry.departed.size, 1, 'while it goes on, the next head still waits');
  t.strictSame(m.stop(), []);
  t.end();
});

t.test(
  'GHOST.3 what a head leaves is forgotten when its associations are dead, and when the host stops',
  (t) => {
    const options = { kato: 5000, recovery: { ctrlLossTmo: 0 } };
    for (const stops of [false, true]) {
      const m = new Multipath({ sides: 1, options });
      m.a.holding = true;
      m.world.write(m.head, 0, new Uint8Array(BLOCK));
      m.world.settle();
      m.a.fake.cut();
      m.world.advance(100);
      t.equal(m.world.registry.departed.size, 1);
      if (!stops) m.world.advance(20_000);
      else t.strictSame(m.stop(), []);
      t.equal(m.world.registry.departed.size, 0);
      t.strictSame(m.stop(), []);
    }
    t.end();
  },
);
