import t from 'tap';
import { AnaGroupDescriptor, AnaLogHeader, AnaState, encodeAnaLog } from '../../src/nvme/ana-log.ts';
import { LogId } from '../../src/nvme/logs.ts';
import { GetLogPage } from '../../src/nvme/sqe.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { anaLogBytes } from '../../src/initiator/ana.ts';
import type { FakeController } from '../doubles/fake-controller.ts';
import { HostWorld } from '../doubles/host-world.ts';
import { Multipath } from '../doubles/multipath.ts';

const { Optimized, NonOptimized, Inaccessible, PersistentLoss, Change } = AnaState;
const logs = (fake: FakeController): number =>
  fake.log.filter((line) => line === 'q0 Get Log Page 12').length;

t.test('I/O follows the states: optimized, else non-optimized, else it waits', (t) => {
  const m = new Multipath({ ana: [Optimized, NonOptimized] });
  const goes = (): string => {
    const before = m.sides.map(({ fake }) => fake.log.length);
    const read = m.world.read(m.head, 0, 1);
    m.world.settle();
    const [a, b] = m.sides.map(({ fake }, i) => fake.log.length - before[i]!);
    return read.status === undefined ? 'waits' : a! > 0 ? 'a' : b! > 0 ? 'b' : 'fails';
  };
  t.equal(goes(), 'a');
  m.a.setAna(Inaccessible);
  t.equal(goes(), 'b');
  m.b.setAna(Optimized);
  m.a.setAna(NonOptimized);
  t.equal(goes(), 'b');
  m.b.setAna(Change);
  t.equal(goes(), 'a');
  m.a.setAna(Inaccessible);
  t.equal(goes(), 'waits');
  m.a.setAna(PersistentLoss);
  t.equal(goes(), 'waits', 'the other one may come back');
  m.b.setAna(Optimized);
  t.equal(goes(), 'b');
  m.b.setAna(PersistentLoss);
  t.equal(goes(), 'fails', 'persistent loss of all: nobody waits');
  t.equal(m.head.state.now, 'lost');
  m.a.setAna(Optimized);
  t.equal(goes(), 'a', 'though it must not, it comes back');
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('HEAD.3 persistent loss of the last path counts as its loss', (t) => {
  const m = new Multipath({ sides: 1, ana: [Optimized], options: { heads: { delayedRemoval: 5 } } });
  const { head } = m;
  m.a.setAna(PersistentLoss);
  const read = m.world.read(head, 0, 1);
  m.world.advance(4999);
  t.strictSame([read.status, head.state.now], [undefined, 'orphaned']);
  m.world.advance(1);
  t.strictSame([read.status, head.state.now], [Status.HostPathError, 'lost']);
  m.a.controller.disconnect('disconnected', () => undefined);
  t.ok(head.gone);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('an ANA status makes the log be read again; meanwhile the path is not taken', (t) => {
  const m = new Multipath({ ana: [Optimized, Optimized] });
  m.a.holding = true;
  const write = m.world.write(m.head, 0, new Uint8Array(512));
  m.world.settle();
  m.a.setAna(Inaccessible, false);
  const before = logs(m.a.fake);
  m.a.refuse(Status.AnaInaccessible);
  t.equal(write.status, 0, 'over the other path at once');
  t.equal(logs(m.a.fake), before + 1);
  m.world.advance(100);
  t.match(m.path(m.a).classified, { is: 'waiting', why: 'ANA inaccessible' });
  t.strictSame(m.stop(), []);
  t.end();
});

t.test(
  'a controller whose statuses and log contradict each other is asked now and then, not without a pause',
  (t) => {
    const m = new Multipath({ sides: 1, ana: [Optimized] });
    m.a.fake.script = ({ name, on, cid }) => {
      if (name !== 'Write') return false;
      on.respond(cid, Status.AnaTransition);
      return true;
    };
    const write = m.world.write(m.head, 0, new Uint8Array(512));
    m.world.advance(10_000);
    t.equal(write.status, undefined);
    const asked = m.a.fake.log.filter((line) => line === 'q1 Write').length;
    t.ok(asked >= 50 && asked <= 101, `${asked} times`);
    m.a.fake.script = () => false;
    m.world.advance(200);
    t.equal(write.status, 0);
    t.strictSame(m.stop(), []);
    t.end();
  },
);

t.test('events during a read make one more read', (t) => {
  const m = new Multipath({ sides: 1, ana: [Optimized] });
  const before = logs(m.a.fake);
  const waiting: (() => void)[] = [];
  const { fake } = m.a;
  fake.script = ({ name, on, cid, length }) => {
    if (name !== 'Get Log Page 12' || waiting.length > 0) return false;
    waiting.push(() => {
      on.data(cid, fake.logPage(12, 0, length));
      on.respond(cid);
    });
    return true;
  };
  for (let i = 0; i < 5; i++) m.a.setAna(i % 2 === 0 ? Inaccessible : Optimized);
  m.a.setAna(Inaccessible);
  waiting[0]!();
  m.world.settle();
  t.equal(logs(fake), before + 2);
  t.equal(m.path(m.a).ana, Inaccessible);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('ANATT: a group that stays in transition resets its controller, and only that one', (t) => {
  const m = new Multipath({ ana: [Optimized, Optimized], anatt: 7 });
  m.a.setAna(Change);
  m.world.advance(6999);
  t.equal(m.a.controller.connects, 1);
  m.world.advance(1);
  t.strictSame([m.a.controller.connects, m.b.controller.connects], [2, 1]);
  m.world.advance(7000);
  t.equal(m.a.controller.connects, 3, 'still in transition: once more');
  m.a.setAna(Optimized);
  m.world.advance(60_000);
  t.equal(m.a.controller.connects, 3);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('ANATT: each group has its own timer; a lost event does not cost a reset', (t) => {
  const m = new Multipath({
    sides: 1,
    ana: [Optimized],
    prepare: (fake) => fake.namespaces.push({ nsid: 2, blocks: 8, ids: {}, change: { anagrpid: 2 } }),
  });
  m.a.ana.set(2, Optimized);
  m.a.setAna(Optimized);
  m.a.ana.set(1, Change);
  m.a.chgcnt++;
  m.a.fake.event(0x0c0302);
  m.world.advance(6000);
  const timers = (): string[] =>
    m.world.env.clock.timers.map(({ name }) => name).filter((name) => name.includes('ANATT'));
  t.strictSame(timers(), ['nvme0: ANATT of group 1']);
  m.a.ana.set(2, Change);
  m.a.fake.event(0x0c0302);
  t.strictSame(timers(), ['nvme0: ANATT of group 1', 'nvme0: ANATT of group 2']);
  m.a.ana.set(1, Optimized);
  m.a.chgcnt++;
  m.world.advance(4000);
  t.equal(m.a.controller.connects, 1, 'nobody told, so the log was read before the reset');
  t.equal(m.path(m.a).ana, Optimized);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('a group in transition that no namespace is in is nobody’s business', (t) => {
  const m = new Multipath({ sides: 1, ana: [Optimized] });
  m.a.ana.set(5, Change);
  m.a.fake.event(0x0c0302);
  m.world.advance(100_000);
  t.equal(m.a.controller.connects, 1);
  t.strictSame(m.stop(), []);
  t.end();
});

/** What is wrong with a log, and what is said about it. */
const bad: [string, (log: Uint8Array) => Uint8Array | undefined, RegExp][] = [
  ['group 0', (log) => edit(log, 0, AnaGroupDescriptor.agid.offset, 0), /group 0/],
  [
    'a group past ANAGRPMAX',
    (log) => edit(log, 0, AnaGroupDescriptor.agid.offset, 9),
    /group 9, ANAGRPMAX is 8/,
  ],
  ['a state that is none', (log) => edit(log, 0, AnaGroupDescriptor.anas.offset, 7), /group 1 has state 7h/],
  ['a group twice', (log) => edit(log, 1, AnaGroupDescriptor.agid.offset, 1), /group 1 twice/],
  [
    'more groups than fit',
    (log) => edit(log, -1, AnaLogHeader.nagd.offset, 0xffff),
    /runs past the end|group 0/,
  ],
  [
    'more namespaces than fit',
    (log) => edit(log, 1, AnaGroupDescriptor.nnsidv.offset, 2 ** 31),
    /run past the end/,
  ],
];
function edit(log: Uint8Array, descriptor: number, offset: number, value: number): Uint8Array {
  const made = log.slice();
  const at = descriptor < 0 ? 0 : AnaLogHeader.size + descriptor * AnaGroupDescriptor.size;
  const view = new DataView(made.buffer);
  if (offset === AnaLogHeader.nagd.offset && descriptor < 0) view.setUint16(offset, value, true);
  else view.setUint32(at + offset, value, true);
  return made;
}
for (const [name, spoil, why] of bad)
  t.test(`an ANA log with ${name} is not believed: the states stay, and it is asked for again`, (t) => {
    const m = new Multipath({ sides: 1, ana: [Optimized] });
    const group = (agid: number) => ({ agid, chgcnt: 1, state: Inaccessible, nsids: [] });
    const good = encodeAnaLog({ chgcnt: 9, groups: [group(1), group(2)] }, false);
    m.a.fake.logPage = (_lid, _offset, length) => {
      const page = new Uint8Array(length);
      page.set(spoil(good)!.subarray(0, length));
      return page;
    };
    m.a.fake.event(0x0c0302);
    t.equal(m.path(m.a).is, 'optimized');
    const told = m.world.env.trace.events.filter(({ what }) => what === 'the ANA log is not used');
    t.equal(told.length, 1);
    t.match(told[0]?.fields['why'], why);
    m.world.advance(10_000);
    t.ok(m.world.env.trace.events.length < 60, 'with a pause in between');
    m.a.fake.logPage = (lid, _, length) => {
      const page = new Uint8Array(length);
      if (lid === 12) page.set(good);
      return page;
    };
    m.world.advance(1000);
    t.equal(m.path(m.a).is, 'waiting');
    t.strictSame(m.stop(), []);
    t.end();
  });

t.test('a controller that never has a log to believe has no usable path; others are not concerned', (t) => {
  const m = new Multipath({
    ana: [Optimized, Optimized],
    prepare: (fake, index) => {
      if (index === 0) fake.script = () => false;
    },
  });
  const wrong = new Uint8Array(16).fill(0xff);
  m.a.fake.logPage = (_lid, _offset, length) => {
    const page = new Uint8Array(length);
    page.set(wrong);
    return page;
  };
  m.a.controller.reset('test');
  m.world.advance(5000);
  t.equal(m.path(m.a).is, 'waiting');
  t.match(m.a.controller.reason, { code: 'EPROTO', message: /^ANA log: / }, 'its attempts fail, as in Linux');
  t.equal(m.path(m.b).is, 'optimized');
  t.strictSame(m.stop(), []);
  t.end();
});

t.test(
  'a controller whose ANA log is wrong, or will never be there, is not connected: the user hears why',
  (t) => {
    for (const [status, reason] of [
      [0, /^ANA log: group 65535, ANAGRPMAX is/],
      [Status.InvalidLogPage | DNR, /Get Log Page, ANA.*Invalid Log Page/],
    ] as const) {
      const world = new HostWorld();
      world.fake.identify = {
        cmic: { multipleControllers: 1, ana: 1 },
        anatt: 10,
        anagrpmax: 8,
        nanagrpid: 8,
      };
      world.fake.script = ({ on, cid, name, view, length }) => {
        if (!name.startsWith('Get Log Page') || GetLogPage.lid.get(view, 0) !== LogId.Ana) return false;
        const log = new Uint8Array(length);
        log[AnaLogHeader.nagd.offset] = 1;
        log.fill(0xff, AnaLogHeader.size, AnaLogHeader.size + 2);
        if (status === 0) on.data(cid, log);
        on.respond(cid, status);
        return true;
      };
      const attempt = world.connect();
      t.match(attempt.reason?.message, reason);
      t.strictSame(world.leftovers(), []);
    }
    t.end();
  },
);

t.test('a namespace that comes is in a state that nobody told: the log is read again', (t) => {
  const m = new Multipath({ sides: 1, ana: [Optimized] });
  const { subsystem } = m.head;
  m.a.setAna(Inaccessible);
  const [namespace] = m.a.fake.namespaces;
  m.a.fake.namespaces = [];
  m.a.rescan();
  m.a.setAna(Optimized, false);
  m.a.fake.namespaces = [namespace!];
  m.a.rescan();
  t.equal(subsystem.heads[0]?.paths[0]?.is, 'optimized');
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('a namespace that went and came back between two looks: the log is read again', (t) => {
  const m = new Multipath({ sides: 1, ana: [Optimized] });
  m.a.setAna(Inaccessible);
  t.equal(m.head.paths[0]?.is, 'waiting');
  // While it was away nobody told of its group.
  m.a.setAna(Optimized, false);
  m.a.rescan();
  t.equal(m.head.paths[0]?.is, 'optimized');
  t.strictSame(m.stop(), []);
  t.end();
});

const CAPABILITIES = { anagrpmax: 128, nanagrpid: 128, nn: 1024, mnan: 1024, anatt: 10 };
const capabilities: [Partial<typeof CAPABILITIES>, number | RegExp][] = [
  [{}, 16 + 128 * 32 + 1024 * 4],
  [{ mnan: 0 }, 16 + 128 * 32 + 1024 * 4],
  [{ mnan: 8 }, 16 + 128 * 32 + 8 * 4],
  [{ mnan: 1025 }, /MNAN 1025 is more than NN/],
  [{ nanagrpid: 0 }, /NANAGRPID 0/],
  [{ nanagrpid: 129 }, /NANAGRPID 129/],
  [{ nn: 0xffffffff, mnan: 0 }, /more than one command can read/],
  [{ nanagrpid: 0xffffffff, anagrpmax: 0xffffffff }, /more than one command can read/],
];
for (const [change, expected] of capabilities)
  t.test(`ANA of a controller with ${JSON.stringify(change)}`, (t) => {
    const bytes = anaLogBytes({ ...CAPABILITIES, ...change }, 65_536);
    if (typeof expected === 'number') t.equal(bytes, expected);
    else t.match(bytes, expected);
    t.end();
  });

t.test('a namespace in no group is as good as any; one whose group the log does not have is not', (t) => {
  const m = new Multipath({
    sides: 1,
    ana: [Optimized],
    prepare: (fake) =>
      fake.namespaces.push(
        { nsid: 2, blocks: 8, ids: {}, change: { anagrpid: 0 } },
        { nsid: 3, blocks: 8, ids: {}, change: { anagrpid: 4 } },
      ),
  });
  const { heads } = m.head.subsystem;
  t.strictSame(
    heads.map(({ nsid, paths }) => [nsid, paths[0]?.is]),
    [
      [1, 'optimized'],
      [2, 'optimized'],
      [3, 'waiting'],
    ],
  );
  t.strictSame(m.stop(), []);
  t.end();
});
