import t from 'tap';
import { AnaState } from '../../src/nvme/ana-log.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { BLOCK, UUID } from '../doubles/fake-controller.ts';
import type { Outcome } from '../doubles/host-world.ts';
import { Multipath, RECOVERY } from '../doubles/multipath.ts';

const OTHER_UUID = '0b2f8f6c-6e0b-4cc1-8f8e-0d5e7c8a9b11';
const block = (value: number): Uint8Array => new Uint8Array(BLOCK).fill(value);
const statuses = (outcomes: readonly Outcome[]): (number | undefined)[] =>
  outcomes.map(({ status }) => status);
const once = (outcomes: readonly Outcome[]): boolean => outcomes.every(({ calls }) => calls === 1);
const delayed = (delayedRemoval: number) => ({ heads: { delayedRemoval } });

// ---- QUIESCE

t.test('QUIESCE.1 handing over is one step: accepted, busy, not ready, gone', (t) => {
  const m = new Multipath({ sides: 1, options: { queueEntries: 16 } });
  const path = m.path(m.a);
  m.a.holding = true;
  const writes = Array.from({ length: 20 }, (_, i) => m.world.write(m.head, i, block(i)));
  t.equal(
    m.a.controller.ioConnections[0]?.queue.waiting,
    5,
    'busy: taken, and in line for a slot (QUIESCE.7)',
  );
  m.down(m.a);
  t.strictSame(statuses(writes), Array(20).fill(undefined));
  t.equal(path.is, 'waiting', 'not ready');
  m.a.controller.disconnect('disconnected', () => undefined);
  m.world.settle();
  t.equal(path.is, 'gone');
  t.ok(once(writes));
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('QUIESCE.2 1,000 writers on a stalled path do not keep another from becoming usable', (t) => {
  const m = new Multipath({ ana: [AnaState.Optimized, AnaState.Inaccessible] });
  m.a.holding = true;
  const before = Array.from({ length: 1000 }, (_, i) => m.world.write(m.head, i, block(1)));
  m.world.settle();
  m.b.setAna(AnaState.Optimized);
  t.equal(m.path(m.b).is, 'optimized');
  m.a.setAna(AnaState.Inaccessible);
  const after = Array.from({ length: 1000 }, (_, i) => m.world.write(m.head, 2000 + i, block(2)));
  m.world.settle();
  t.ok(
    after.every(({ status }) => status === 0),
    'the writers go on over the other path',
  );
  t.ok(before.every(({ status }) => status === undefined));
  m.a.release();
  m.world.settle();
  t.ok(before.every(({ status }) => status === 0));
  t.strictSame(m.stop(), []);
  t.end();
});

t.test(
  'QUIESCE.3 I/O that waits goes on as soon as a path is usable, and is told after it is visible',
  (t) => {
    const m = new Multipath({ ana: [AnaState.Inaccessible, AnaState.Inaccessible] });
    const reads = Array.from({ length: 50 }, (_, i) => m.world.read(m.head, i, 1));
    m.world.advance(60_000);
    t.strictSame(m.head.traffic.waiting, { requeued: 50, held: 0, delayed: 0 });
    m.b.setAna(AnaState.NonOptimized);
    m.world.settle();
    t.strictSame(statuses(reads), Array(50).fill(0));
    t.strictSame(m.stop(), []);
    t.end();
  },
);

t.test('QUIESCE.5 a path that reconnects refuses at once, for hours', (t) => {
  const m = new Multipath({ options: { recovery: { ...RECOVERY, ctrlLossTmo: Infinity } } });
  m.down(m.a);
  m.world.advance(3_600_000);
  t.equal(m.a.controller.state.now, 'connecting');
  const write = m.world.write(m.head, 0, block(7));
  m.world.settle();
  t.equal(write.status, 0);
  t.equal(m.b.fake.disk[0], 7);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test(
  'QUIESCE.6 a live path that is looked at anew is not ready, and a reset under traffic does not spin',
  (t) => {
    const m = new Multipath({ sides: 1 });
    let answer: (() => void) | undefined;
    m.a.fake.script = ({ name, on, cid }) => {
      if (name !== 'Identify 2' || answer !== undefined) return false;
      answer = () => {
        on.data(cid, m.a.fake.identified(2, 0)!);
        on.respond(cid);
      };
      return true;
    };
    m.a.controller.reset('test');
    const reads = Array.from({ length: 10 }, (_, i) => m.world.read(m.head, i, 1));
    m.world.advance(2000);
    t.equal(m.a.controller.state.now, 'live');
    t.match(m.path(m.a).classified, { is: 'waiting', why: /being looked at/ });
    t.strictSame(statuses(reads), Array(10).fill(undefined));
    answer?.();
    m.world.settle();
    t.strictSame(statuses(reads), Array(10).fill(0));
    t.strictSame(m.stop(), []);
    t.end();
  },
);

t.test('QUIESCE.8 the number of queues changes 2 → 1 → 2 between connections; no I/O is lost', (t) => {
  const m = new Multipath({ sides: 1, options: { ioQueues: 2, heads: { writeFailover: 'immediate' } } });
  for (const queues of [1, 2]) {
    m.a.holding = true;
    const writes = Array.from({ length: 300 }, (_, i) => m.world.write(m.head, i, block(queues)));
    m.world.settle();
    m.a.fake.maxQueues = queues;
    m.a.commands.length = 0;
    m.a.holding = false;
    m.a.fake.cut();
    m.world.advance(2000);
    t.equal(m.a.controller.ioConnections.length, queues);
    t.ok(writes.every(({ status, calls }) => status === 0 && calls === 1));
  }
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('QUIESCE.10 an ANA change is applied while I/O hangs, a rescan runs, and a command times out', (t) => {
  const m = new Multipath({ ana: [AnaState.Optimized, AnaState.NonOptimized], limits: { ioTimeout: 5000 } });
  m.a.holding = true;
  const hung = m.world.read(m.head, 0, 1);
  m.world.settle();
  const script = m.a.fake.script;
  m.a.fake.script = (command) => command.name === 'Identify 2' || script(command);
  m.a.rescan();
  m.a.setAna(AnaState.Inaccessible);
  t.equal(m.path(m.a).ana, AnaState.Inaccessible);
  const read = m.world.read(m.head, 1, 1);
  m.world.settle();
  t.equal(read.status, 0);
  m.world.advance(20_000);
  t.equal(hung.status, 0, 'timed out on the one, repeated on the other');
  m.a.fake.script = script;
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('QUIESCE.11 an ANA log that is read during setup is applied only when the controller is live', (t) => {
  const m = new Multipath({ ana: [AnaState.Optimized, AnaState.NonOptimized] });
  const path = m.path(m.a);
  m.down(m.a);
  m.a.setAna(AnaState.NonOptimized, false);
  m.up(m.a);
  const seen: unknown[] = [];
  const script = m.a.fake.script;
  m.a.fake.script = (command) => {
    if (/Log Page 12|Set Features|Identify 2/.test(command.name))
      seen.push([command.name, m.a.controller.state.now, path.ana, path.is]);
    return script(command);
  };
  m.world.advance(1000);
  t.strictSame(seen, [
    ['Get Log Page 12', 'connecting', undefined, 'waiting'],
    ['Set Features 7', 'connecting', undefined, 'waiting'],
    ['Set Features 11', 'connecting', undefined, 'waiting'],
    ['Get Log Page 12', 'live', AnaState.NonOptimized, 'waiting'],
    ['Identify 2', 'live', AnaState.NonOptimized, 'waiting'],
  ]);
  t.equal(path.is, 'non-optimized');
  t.strictSame(m.stop(), []);
  t.end();
});

t.test(
  'QUIESCE.13 what never left goes elsewhere at once, what may have left as GHOST.2 says; each ends once',
  (t) => {
    const m = new Multipath({ options: { queueEntries: 16, kato: 5000 } });
    m.a.holding = true;
    const writes = Array.from({ length: 20 }, (_, i) => m.world.write(m.head, i, block(1)));
    const reads = Array.from({ length: 5 }, (_, i) => m.world.read(m.head, i, 1));
    m.world.settle();
    m.down(m.a);
    t.strictSame(statuses(writes), [...Array<undefined>(15).fill(undefined), ...Array<number>(5).fill(0)]);
    t.ok(reads.every(({ status }) => status === 0));
    t.equal(m.head.traffic.waiting.held, 15);
    m.world.advance(60_000);
    t.ok([...writes, ...reads].every(({ status, calls }) => status === 0 && calls === 1));
    t.strictSame(m.stop(), []);
    t.end();
  },
);

// ---- HEAD

t.test(
  'HEAD.1 delayed_removal_secs is for each head, 0 at first, and may change with paths and without',
  (t) => {
    const m = new Multipath({ sides: 1 });
    t.equal(m.head.delayedRemoval, 0);
    for (const bad of [-1, 0.5, NaN, Infinity, 2 ** 31]) t.throws(() => m.head.setDelayedRemoval(bad));
    m.head.setDelayedRemoval(5);
    const { head } = m;
    m.a.controller.disconnect('disconnected', () => undefined);
    m.world.settle();
    head.setDelayedRemoval(100);
    m.world.advance(4999);
    t.notOk(head.gone);
    m.world.advance(1);
    t.ok(head.gone, 'the new value is for the next loss of the last path');
    t.strictSame(m.stop(), []);
    t.end();
  },
);

t.test('HEAD.2 with 0 the last path takes the head along, and I/O that waits fails', (t) => {
  const m = new Multipath({ sides: 1 });
  const { head } = m;
  m.down(m.a);
  const read = m.world.read(head, 0, 1);
  m.world.settle();
  t.equal(read.status, undefined);
  m.a.controller.disconnect('disconnected', () => undefined);
  t.ok(head.gone);
  t.equal(read.status, Status.HostPathError);
  t.equal(m.world.read(head, 0, 1).status, Status.HostPathError);
  t.strictSame(m.stop(), []);
  t.end();
});

const losses: [string, (m: Multipath) => void][] = [
  ['an explicit disconnect', (m) => m.a.controller.disconnect('disconnected', () => undefined)],
  [
    'ctrl_loss_tmo',
    (m) => {
      m.down(m.a);
      m.world.advance(3000);
    },
  ],
  [
    'the namespace goes',
    (m) => {
      m.a.fake.namespaces.length = 0;
      m.a.rescan();
    },
  ],
];
for (const [name, lose] of losses)
  t.test(`HEAD.3 the last path goes by ${name}: the head stays, and I/O waits`, (t) => {
    const recovery = { reconnectDelay: 1000, ctrlLossTmo: 3000 };
    const m = new Multipath({ sides: 1, options: { recovery, ...delayed(50) } });
    const { head } = m;
    const { name: was } = head;
    lose(m);
    m.world.settle();
    t.equal(head.paths.length, 0);
    t.equal(head.state.now, 'orphaned');
    const read = m.world.read(head, 0, 1);
    m.world.advance(49_000);
    t.equal(read.status, undefined);
    t.equal(head.name, was);
    m.world.advance(2000);
    t.equal(read.status, Status.HostPathError, 'HEAD.5 it fails once');
    t.ok(head.gone);
    t.equal(m.world.read(head, 0, 1).status, Status.HostPathError, 'HEAD.5 later I/O fails at once');
    t.ok(once([read]));
    t.strictSame(m.stop(), []);
    t.end();
  });

t.test('HEAD.4 a path with the same identity joins the same head, and the timer is harmless', (t) => {
  const m = new Multipath({ sides: 1, options: delayed(5) });
  const { head } = m;
  m.a.controller.disconnect('disconnected', () => undefined);
  m.world.settle();
  const write = m.world.write(head, 3, block(9));
  m.world.advance(4000);
  const again = m.world.up({ recovery: RECOVERY });
  t.equal(again.head, head);
  t.equal(write.status, 0);
  t.equal(m.a.fake.disk[3 * BLOCK], 9);
  t.strictSame(head.state.timers(), []);
  m.world.advance(10_000);
  t.notOk(head.gone);
  t.equal(head.name, 'nvme0n1');
  t.equal(again.controller.name, 'nvme1', 'NUM.5');
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('HEAD.5 with the head its number goes, and with the last head the subsystem (NUM.7)', (t) => {
  const m = new Multipath({ sides: 1, options: delayed(5) });
  m.a.controller.disconnect('disconnected', () => undefined);
  m.world.advance(4999);
  t.strictSame(m.world.registry.taken, [0], 'the subsystem is referred to by its head');
  t.equal(m.world.registry.controllers.size, 0);
  m.world.advance(1);
  t.strictSame(m.world.leftovers(), []);
  t.end();
});

t.test('HEAD.6 5 s: a write fails after them; with a reconnect after 1 s it succeeds', (t) => {
  for (const reconnect of [false, true]) {
    const m = new Multipath({ sides: 1, options: delayed(5) });
    const { head } = m;
    m.a.controller.disconnect('disconnected', () => undefined);
    m.world.settle();
    const write = m.world.write(head, 0, block(1));
    m.world.advance(1000);
    if (reconnect) m.world.up({ recovery: RECOVERY });
    m.world.advance(3999);
    t.equal(write.status, reconnect ? 0 : undefined);
    m.world.advance(1);
    t.equal(write.status, reconnect ? 0 : Status.HostPathError);
    t.equal(head.gone, !reconnect);
    t.strictSame(m.stop(), []);
  }
  t.end();
});

t.test(
  'HEAD.7 another identity under the same NSID gets a head of its own, the old one goes on waiting',
  (t) => {
    const m = new Multipath({ sides: 1, options: delayed(5) });
    const { head } = m;
    const { subsystem } = head;
    m.a.fake.namespaces[0]!.ids = { uuid: OTHER_UUID };
    m.a.rescan();
    t.equal(head.state.now, 'orphaned');
    const [old, fresh] = [m.world.read(head, 0, 1), m.world.read(subsystem.head(1)!, 0, 1)];
    m.world.settle();
    t.strictSame(statuses([old, fresh]), [undefined, 0]);
    t.strictSame(
      subsystem.heads.map((each) => [each.name, each.nsid, each.info.uuid]),
      [
        ['nvme0n1', 1, UUID],
        ['nvme0n2', 1, OTHER_UUID],
      ],
    );
    m.a.fake.namespaces[0]!.ids = { uuid: UUID };
    m.a.rescan();
    m.world.settle();
    t.equal(old.status, 0, 'the old identity is back');
    m.world.advance(6000);
    t.strictSame(subsystem.heads, [head]);
    t.strictSame(m.stop(), []);
    t.end();
  },
);

t.test('HEAD.8 a private namespace that returns is not a duplicate of the head that waits for it', (t) => {
  const m = new Multipath({
    sides: 1,
    options: delayed(5),
    prepare: (fake) => (fake.namespaces[0]!.shared = false),
  });
  const { head } = m;
  m.a.controller.disconnect('disconnected', () => undefined);
  m.world.advance(1000);
  m.a.fake.cntlid = 2;
  t.equal(m.world.up({ recovery: RECOVERY }).head, head);
  t.equal(head.paths.length, 1);
  m.a.fake.cntlid = 3;
  m.world.up({ recovery: RECOVERY });
  t.equal(head.paths.length, 1, 'a second path at the same time is one');
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('HEAD.9 flapping at 0.9 of the time for an hour: no removal, one timer, nothing is kept', (t) => {
  const m = new Multipath({ sides: 1, options: delayed(10) });
  const { head } = m;
  let { controller } = m.a;
  for (let i = 0; i < 400; i++) {
    controller.disconnect('disconnected', () => undefined);
    m.world.settle();
    t.equal(m.world.env.clock.timers.length, 1);
    m.world.advance(9000);
    controller = m.world.up({ recovery: RECOVERY }).controller;
  }
  t.notOk(head.gone);
  t.equal(head.paths.length, 1);
  t.strictSame(m.world.registry.taken.length, 2);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('HEAD.10 a path at the very tick of the timer: the head has it, or a new head has', (t) => {
  for (const first of ['path', 'timer'] as const) {
    const m = new Multipath({ sides: 1, options: delayed(5) });
    const { head } = m;
    const { subsystem } = head;
    const back = (): void => {
      m.world.connect({ recovery: RECOVERY });
    };
    if (first === 'path') m.world.env.clock.timer('test', 5000, back);
    m.a.controller.disconnect('disconnected', () => undefined);
    m.world.settle();
    if (first === 'timer') m.world.env.clock.timer('test', 5000, back);
    m.world.advance(5000);
    m.world.settle();
    const now = m.world.registry.subsystem(subsystem.nqn)!.heads;
    t.equal(now.length, 1);
    t.equal(now[0]!.paths.length, 1);
    t.notOk(now[0]!.gone);
    t.equal(head.paths.length, head.gone ? 0 : 1);
    t.strictSame(m.stop(), []);
  }
  t.end();
});

t.test('HEAD.11 set to 0 while it waits: I/O fails at once, and the head goes', (t) => {
  const m = new Multipath({ sides: 1, options: delayed(100) });
  const { head } = m;
  m.a.controller.disconnect('disconnected', () => undefined);
  m.world.settle();
  const write = m.world.write(head, 0, block(1));
  head.setDelayedRemoval(0);
  t.equal(write.status, Status.HostPathError);
  t.ok(head.gone);
  t.equal(m.world.write(head, 0, block(1)).status, Status.HostPathError);
  t.strictSame(m.world.leftovers(), []);
  t.end();
});

t.test('HEAD.12 stopping while a removal is pending removes at once', (t) => {
  const m = new Multipath({ sides: 1, options: delayed(100) });
  const { head } = m;
  m.a.controller.disconnect('disconnected', () => undefined);
  m.world.settle();
  const write = m.world.write(head, 0, block(1));
  let stops = 0;
  m.world.registry.stop(() => stops++);
  t.equal(stops, 1);
  t.ok(head.gone);
  t.equal(write.status, Status.HostPathError);
  t.strictSame(m.world.leftovers(), []);

  const other = new Multipath({ sides: 1, options: delayed(100) });
  t.strictSame(other.stop(), [], 'and a head whose last path goes by the stop does not wait');
  t.end();
});

t.test(
  'HEAD.13 fast_io_fail_tmo, then ctrl_loss_tmo, then delayed removal: I/O fails, the head is kept',
  (t) => {
    const recovery = { reconnectDelay: 1000, fastIoFailTmo: 2000, ctrlLossTmo: 5000 };
    const m = new Multipath({ sides: 1, options: { recovery, ...delayed(10) } });
    const { head } = m;
    m.down(m.a);
    const read = m.world.read(head, 0, 1);
    m.world.advance(1999);
    t.equal(read.status, undefined, 'a controller that may return: I/O waits');
    m.world.advance(1);
    t.equal(read.status, Status.HostPathError, 'failed fast, though the controller still reconnects');
    t.equal(m.world.read(head, 0, 1).status, Status.HostPathError);
    m.world.advance(3000);
    t.equal(head.state.now, 'orphaned');
    t.equal(m.world.read(head, 0, 1).status, Status.HostPathError, 'the head is kept, not the I/O');
    m.up(m.a);
    m.world.connect({ recovery });
    t.notOk(head.gone);
    const after = m.world.read(head, 0, 1);
    m.world.settle();
    t.equal(after.status, 0, 'until a path is usable again');
    t.strictSame(m.stop(), []);
    t.end();
  },
);

t.test('HEAD.13 another path that has not failed fast keeps I/O waiting', (t) => {
  const recovery = { reconnectDelay: 1000, fastIoFailTmo: 2000, ctrlLossTmo: 600_000 };
  const m = new Multipath({ options: { recovery } });
  m.down(m.a);
  m.world.advance(5000);
  t.equal(m.path(m.a).is, 'failed');
  m.down(m.b);
  const read = m.world.read(m.head, 0, 1);
  m.world.advance(1999);
  t.equal(read.status, undefined);
  m.world.advance(1);
  t.equal(read.status, Status.HostPathError);
  m.up(m.a);
  m.world.advance(2000);
  t.equal(m.path(m.a).is, 'optimized');
  t.strictSame(m.stop(), []);
  t.end();
});

// ---- statuses

t.test('a status of the path: another path at once, and that one rests', (t) => {
  const m = new Multipath();
  m.a.holding = true;
  const write = m.world.write(m.head, 0, block(4));
  m.world.settle();
  m.a.refuse(Status.InternalPathError);
  t.equal(write.status, 0);
  t.equal(m.b.fake.disk[0], 4);
  t.match(m.path(m.a).classified, { is: 'waiting', why: /refused/ });
  m.world.advance(100);
  t.equal(m.path(m.a).is, 'optimized');
  t.strictSame(m.stop(), []);
  t.end();
});

t.test(
  'LIFE.6 a namespace that is disabled for a while costs no I/O, and is not asked without a pause',
  (t) => {
    const m = new Multipath({ sides: 1 });
    let asked = 0;
    m.a.fake.script = ({ name, on, cid }) => {
      if (name !== 'Write') return false;
      asked++;
      on.respond(cid, Status.InternalPathError);
      return true;
    };
    const write = m.world.write(m.head, 0, block(1));
    m.world.advance(10_000);
    t.equal(write.status, undefined);
    t.ok(asked > 10 && asked < 200, `${asked} times`);
    m.a.fake.script = () => false;
    m.world.advance(100);
    t.equal(write.status, 0);
    t.strictSame(m.stop(), []);
    t.end();
  },
);

t.test('DNR ends it; other statuses are repeated a few times, after the delay that CRD selects', (t) => {
  const m = new Multipath({
    sides: 1,
    prepare: (fake) => (fake.identify = { crdt1: 1, crdt2: 20, crdt3: 0 }),
  });
  const answer = (status: number): void => {
    m.a.refuse(status);
    m.world.settle();
  };
  t.ok(m.a.fake.log.includes('q0 Set Features 22'), 'ACRE: the controller may ask for delays');
  m.a.holding = true;
  const final = m.world.write(m.head, 0, block(1));
  m.world.settle();
  answer(Status.WriteFault | DNR);
  t.equal(final.status, Status.WriteFault | DNR);

  const tried = m.world.write(m.head, 0, block(1));
  m.world.settle();
  for (let i = 0; i < 5; i++) answer(Status.WriteFault);
  t.equal(tried.status, undefined);
  answer(Status.WriteFault);
  t.equal(tried.status, Status.WriteFault);

  const slow = m.world.write(m.head, 0, block(1));
  m.world.settle();
  answer(Status.NamespaceNotReady | (2 << 11));
  m.world.advance(1999);
  t.strictSame([m.a.commands.length, m.head.traffic.waiting.delayed], [0, 1]);
  m.world.advance(1);
  t.equal(m.a.commands.length, 1);
  answer(0);
  t.equal(slow.status, 0);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('an I/O that waits can be given up, whatever it waits for', (t) => {
  const m = new Multipath({
    sides: 1,
    options: { kato: 5000 },
    prepare: (fake) => (fake.identify = { crdt1: 99 }),
  });
  m.a.holding = true;
  const [later, lost] = [m.world.write(m.head, 0, block(1)), m.world.write(m.head, 1, block(1))];
  m.world.settle();
  const [first] = m.a.commands;
  first!.on.respond(first!.cid, Status.NamespaceNotReady | (1 << 11));
  m.world.settle();
  m.down(m.a);
  const path = m.world.read(m.head, 0, 1);
  t.strictSame(m.head.traffic.waiting, { requeued: 1, held: 1, delayed: 1 });
  for (const { io } of [later, lost, path]) io.abandon();
  t.strictSame(statuses([later, lost, path]), [
    Status.AbortedByHost,
    Status.AbortedByHost,
    Status.HostPathError,
  ]);
  t.ok(once([later, lost, path]));
  t.strictSame(m.head.traffic.waiting, { requeued: 0, held: 0, delayed: 0 });
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('I/O that is split is cut anew for the path that it takes', (t) => {
  const m = new Multipath({
    prepare: (fake, index) => {
      if (index === 1) fake.identify = { mdts: 1 };
    },
  });
  m.a.holding = true;
  const data = Uint8Array.from({ length: 40 * BLOCK }, (_, i) => i * 7);
  const write = m.world.write(m.head, 10, data);
  const read = m.world.read(m.head, 0, 64);
  m.world.settle();
  t.equal(m.a.commands.length, 2);
  m.a.refuse(Status.InternalPathError);
  t.strictSame(statuses([write, read]), [0, 0]);
  t.strictSame(m.b.fake.disk.subarray(10 * BLOCK, 50 * BLOCK), data);
  t.equal(m.b.fake.log.filter((line) => line === 'q1 Write').length, 3, '8 KiB each');
  t.strictSame(m.stop(), []);
  t.end();
});
