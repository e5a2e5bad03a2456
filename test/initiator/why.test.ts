import t from 'tap';
import { AnaState } from '../../src/nvme/ana-log.ts';
import { Status } from '../../src/nvme/status.ts';
import { why, type Why } from '../../src/initiator/why.ts';
import { whyText } from '../../src/cli/host-show.ts';
import { Identify } from '../../src/nvme/sqe.ts';
import { Cns } from '../../src/nvme/identify.ts';
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

/** The head's entries in the journal. */
const changes = ({ world, head }: Multipath): string[] =>
  world.registry.journal
    .since(0)
    .filter(({ kind, id }) => kind === 'head changed' && id === head.id)
    .map(({ what }) => what);

t.test('the journal tells when a disk cannot be used, and when it is usable again', (t) => {
  const m = new Multipath({ options: { recovery: { reconnectDelay: 1000, fastIoFailTmo: 5000 } } });
  t.strictSame(changes(m), ['usable']);
  m.down(m.a);
  t.strictSame(changes(m), ['usable'], 'the other path is there');
  m.down(m.b);
  t.strictSame(changes(m).slice(1), ['no path is usable: I/O waits']);
  m.world.advance(6000);
  t.strictSame(changes(m).slice(2), ['no path is usable: I/O fails']);
  m.up(m.b);
  m.world.advance(1000);
  t.strictSame(
    changes(m).slice(3),
    ['no path is usable: I/O waits', 'usable again'],
    'live, but not looked at yet; then it is',
  );
  t.strictSame(m.stop(), []);
  t.end();
});

/** Each thing that I/O can be stuck on: how to bring it about, and what is said of it, by `why` and as its text. */
interface Stuck {
  readonly name: string;
  readonly options?: ConstructorParameters<typeof Multipath>[0];
  readonly bring: (m: Multipath) => void;
  readonly data: object;
  readonly text: readonly RegExp[];
}

const { Inaccessible, Change, PersistentLoss, Optimized } = AnaState;
const SHARED = { sides: 1, ana: [Optimized] };

const STUCK: readonly Stuck[] = [
  {
    name: 'no path: the controller waits for its next attempt',
    options: { sides: 1 },
    bring: (m) => {
      m.down(m.a);
      m.world.read(m.head, 0, 1);
    },
    data: {
      verdict: 'waits: no path is usable, but 1 may be again',
      waiting: { requeued: 1 },
      paths: [{ why: 'its controller is not live', controllerState: 'connecting', reason: /./ }],
      timers: [{ of: 'nvme0', name: 'reconnect', inMs: 1000 }, { name: 'ctrl_loss_tmo' }],
    },
    text: [/waits for a path: 1/, /next: nvme0: reconnect in 1\.0 s: connects the controller again$/],
  },
  {
    name: 'no path: its transport port is gone',
    options: { sides: 1 },
    bring: (m) => {
      const [remote] = m.world.registry.ports.remotes;
      m.world.registry.ports.removeRemote(remote!, () => undefined);
      m.world.settle();
    },
    data: { paths: [{ reason: /^its transport port, any to 127\.0\.0\.1 port 4420, was unregistered/ }] },
    text: [/not usable: its controller is not live; its transport port, .* was unregistered/],
  },
  {
    name: 'ANA inaccessible',
    options: SHARED,
    bring: (m) => m.a.setAna(Inaccessible),
    data: {
      verdict: 'waits: no path is usable, but 1 may be again',
      paths: [{ is: 'waiting', why: 'ANA inaccessible', anaState: 'inaccessible', anaGroup: 1 }],
    },
    text: [/live, ANA group 1 inaccessible\n {4}not usable: ANA inaccessible;/],
  },
  {
    name: 'ANA change: ANATT is what ends it',
    options: SHARED,
    bring: (m) => m.a.setAna(Change),
    data: {
      paths: [{ why: 'ANA change' }],
      timers: [{ name: 'ANATT of group 1', inMs: 10_000, then: /^reads the ANA log, and resets/ }],
    },
    text: [/next: nvme0: ANATT of group 1 in 10\.0 s: reads the ANA log, and resets the controller/],
  },
  {
    name: 'ANA persistent loss: nobody waits',
    options: SHARED,
    bring: (m) => m.a.setAna(PersistentLoss),
    data: { state: 'lost', verdict: 'fails: no path will be usable again', paths: [{ is: 'gone' }] },
    text: [/^nvme0n1, lost: I\/O fails: no path will be usable again\n/],
  },
  {
    name: 'a write is held for blocks that a lost association may still write',
    options: { options: { kato: 5000 } },
    bring: (m) => {
      m.a.holding = true;
      m.world.write(m.head, 10, new Uint8Array(4 * BLOCK));
      m.world.settle();
      m.down(m.a);
      m.world.write(m.head, 12, block());
    },
    data: {
      verdict: /^goes by nvme0c1n1/,
      waiting: { requeued: 0, held: 2, delayed: 0 },
      held: [{ controller: 'nvme0', ranges: [{ slba: 10, blocks: 4 }], freeInMs: 20_000 }],
    },
    text: [
      /for blocks that a lost association may still write: 2/,
      /\n {2}4 blocks wait for an association of nvme0, free in 20\.0 s: writes left on it/,
    ],
  },
  {
    name: 'frozen: live again, and its namespaces are being looked at',
    options: { sides: 1 },
    bring: (m) => {
      m.a.fake.script = ({ on, name, view }) =>
        on.qid === 0 && name.startsWith('Identify') && Identify.cns.get(view, 0) !== Cns.Controller;
      m.a.controller.reset('asked for');
      m.world.settle();
    },
    data: {
      verdict: 'waits: no path is usable, but 1 may be again',
      paths: [{ controllerState: 'live', why: 'its namespaces are being looked at' }],
    },
    text: [/, live\n {4}not usable: its namespaces are being looked at/],
  },
  {
    name: 'fast_io_fail_tmo is over: I/O fails, the controller goes on',
    options: { sides: 1, options: { recovery: { reconnectDelay: 1000, fastIoFailTmo: 2000 } } },
    bring: (m) => {
      m.down(m.a);
      m.world.advance(2500);
    },
    data: {
      verdict: 'fails: fast_io_fail_tmo is over on every path that may return',
      paths: [{ is: 'failed', why: 'fast_io_fail_tmo is over' }],
    },
    text: [/not usable: fast_io_fail_tmo is over;/, /next: nvme0: reconnect in /],
  },
  {
    name: 'the removal timer: no controller is left',
    options: { sides: 1, options: { heads: { delayedRemoval: 7 } } },
    bring: (m) => {
      m.a.controller.disconnect('disconnected', () => undefined);
      m.world.advance(100);
    },
    data: {
      state: 'orphaned',
      verdict: 'waits: there is no path, and the head is kept for delayed_removal_secs',
      timers: [
        { of: 'nvme0n1', name: 'delayed removal', then: 'removes the head, and fails the I/O that waits' },
      ],
    },
    text: [/next: nvme0n1: delayed removal in [67]\.\d s: removes the head, and fails the I\/O that waits$/],
  },
  {
    name: 'IDs do not match for a shared namespace',
    bring: (m) => {
      const { fake } = m.b;
      fake.namespaces = [{ ...fake.namespaces[0]!, ids: { uuid: '0b2f8f6c-6e0b-4cc1-8f8e-0d5e7c8a9b11' } }];
      m.b.rescan();
    },
    data: {
      paths: { length: 1 },
      refused: [{ controller: 'nvme1', why: /^IDs do not match for shared namespace 1/ }],
    },
    text: [
      /\n {2}nvme1 shows the namespace, but IDs do not match for shared namespace 1, which is nvme0n1\n?/,
    ],
  },
  {
    name: 'another size than the head has',
    bring: (m) => {
      m.b.fake.namespaces[0]!.blocks = 100;
      m.b.rescan();
    },
    data: { paths: [{ why: 'it tells another size than the head has' }, { usable: true }] },
    text: [/nvme0c0n1 .*\n {4}not usable: it tells another size than the head has/],
  },
  {
    name: 'a path that refused a command rests',
    options: { sides: 1 },
    bring: (m) => {
      m.a.holding = true;
      m.world.read(m.head, 0, 1);
      m.world.settle();
      m.a.refuse(Status.InternalPathError);
    },
    data: {
      paths: [{ why: 'it refused a command a moment ago' }],
      waiting: { requeued: 1 },
      timers: [{ name: 'is tried again', inMs: 100 }],
    },
    text: [/next: nvme0c0n1: is tried again in 0\.1 s: lets commands take the path again that refused one/],
  },
  {
    name: 'a command waits for the delay that the controller asked for',
    options: { sides: 1, prepare: (fake) => (fake.identify = { crdt1: 50 }) },
    bring: (m) => {
      m.a.holding = true;
      m.world.write(m.head, 0, block());
      m.world.settle();
      m.a.refuse(Status.NamespaceNotReady | (1 << 11));
    },
    data: { waiting: { delayed: 1 }, timers: [{ name: 'a command is repeated', inMs: 5000 }] },
    text: [/for its delay: 1\n/, /next: nvme0n1: a command is repeated in 5\.0 s: sends a command again/],
  },
  {
    name: 'a controller does not answer: the time-out of its oldest command acts next',
    options: { sides: 1 },
    bring: (m) => {
      m.a.holding = true;
      m.world.read(m.head, 0, 1);
      m.world.advance(10_000);
    },
    data: { inFlight: 1, paths: [{ usable: true, inFlight: 1 }], timers: [{ name: 'oldest command' }] },
    text: [/commands under way: 1\n/, /next: .*oldest command in 20\.0 s: asks the controller to abort/],
  },
];

for (const { name, options, bring, data, text } of STUCK)
  t.test(`why: ${name}`, (t) => {
    const m = new Multipath(options);
    const { head } = m;
    bring(m);
    t.match(told(m, head), data);
    const said = whyText(why(head));
    for (const line of text) t.match(said, line);
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
