import t from 'tap';
import { AnaState } from '../../src/nvme/ana-log.ts';
import { Status } from '../../src/nvme/status.ts';
import { why, type Why } from '../../src/initiator/why.ts';
import { BLOCK } from '../doubles/fake-controller.ts';
import { Multipath } from '../doubles/multipath.ts';

const block = (): Uint8Array => new Uint8Array(BLOCK);
const told = (m: Multipath, head = m.head): Why => {
  const data = why(head);
  t.strictSame(JSON.parse(JSON.stringify(data)), JSON.parse(JSON.stringify(data)));
  return data;
};

t.test('why: a healthy head says where I/O goes', (t) => {
  const m = new Multipath({ ana: [AnaState.NonOptimized, AnaState.Optimized] });
  const data = told(m);
  t.equal(data.verdict, 'goes by nvme0c1n1, as numa says');
  t.match(data.paths, [
    { name: 'nvme0c0n1', usable: true, is: 'non-optimized', anaState: 'non-optimized', anaGroup: 1 },
    { name: 'nvme0c1n1', usable: true, is: 'optimized', anaState: 'optimized', controllerState: 'live' },
  ]);
  t.strictSame(data.waiting, { requeued: 0, held: 0, delayed: 0 });
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('why: a lost path, held writes, and the timers that act next', (t) => {
  const m = new Multipath({ options: { kato: 5000 } });
  m.a.holding = true;
  m.world.write(m.head, 10, new Uint8Array(4 * BLOCK));
  m.world.settle();
  m.down(m.a);
  m.world.write(m.head, 12, block());
  m.world.advance(400);
  const data = told(m);
  t.match(data.paths[0], {
    usable: false,
    is: 'waiting',
    why: 'its controller is not live',
    controllerState: 'connecting',
    reason: /reset|lost|closed/,
  });
  t.match(data.paths[0]?.timers[0], { of: 'nvme0', name: 'reconnect', inMs: 600 });
  t.match(data.held, [
    { controller: 'nvme0', ranges: [{ slba: 10, blocks: 4 }], freeInMs: 2 * 5000 + 10_000 - 400 },
  ]);
  t.strictSame(data.waiting, { requeued: 0, held: 2, delayed: 0 });
  t.ok(data.timers.some(({ then }) => then.includes('lets the writes go elsewhere')));
  t.ok(data.timers.every(({ inMs }, i) => i === 0 || inMs >= data.timers[i - 1]!.inMs));
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('why: I/O that waits for a path, for a delay, or for nothing any more', (t) => {
  const recovery = { reconnectDelay: 1000, fastIoFailTmo: 3000, ctrlLossTmo: 5000 };
  const m = new Multipath({
    sides: 1,
    options: { recovery, heads: { delayedRemoval: 10 } },
    prepare: (fake) => (fake.identify = { crdt1: 50 }),
  });
  const { head } = m;
  m.a.holding = true;
  m.world.write(head, 0, block());
  m.world.settle();
  m.a.refuse(Status.NamespaceNotReady | (1 << 11));
  t.match(told(m).timers[0], { name: 'a command is repeated', inMs: 5000 });
  m.down(m.a);
  m.world.read(head, 0, 1);
  t.match(told(m), {
    verdict: /waits: no path is usable, but 1 may be again/,
    waiting: { requeued: 1, delayed: 1 },
  });
  m.world.advance(3000);
  t.match(told(m), { verdict: /fails: fast_io_fail_tmo is over/, inFlight: 0 });
  m.world.advance(2000);
  t.match(told(m, head), { verdict: /fails: fast_io_fail_tmo was over when/, state: 'orphaned', paths: [] });
  t.match(told(m, head).timers, [{ name: 'delayed removal', inMs: 10_000 }]);
  m.world.advance(10_000);
  t.match(told(m, head), { verdict: 'fails: the head is gone', state: 'gone' });
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('why: ANA states, transitions, sizes and identities that are in the way', (t) => {
  const m = new Multipath({ sides: 3, ana: [AnaState.Optimized, AnaState.Optimized, AnaState.Optimized] });
  m.a.setAna(AnaState.Change);
  m.b.fake.namespaces[0]!.blocks = 100;
  const third = m.sides[2]!;
  m.b.rescan();
  third.fake.namespaces = [
    { ...third.fake.namespaces[0]!, ids: { uuid: '0b2f8f6c-6e0b-4cc1-8f8e-0d5e7c8a9b11' } },
  ];
  third.rescan();
  const data = told(m);
  t.match(data.paths, [
    { is: 'waiting', why: 'ANA change', anaState: 'change' },
    { is: 'optimized', why: 'ANA optimized' },
  ]);
  t.match(data.refused, [{ controller: 'nvme2', why: /IDs do not match/ }]);
  t.match(data.paths[0]?.timers[0], {
    name: 'ANATT of group 1',
    inMs: 10_000,
    then: /resets the controller/,
  });
  t.strictSame(m.stop(), []);
  t.end();
});
