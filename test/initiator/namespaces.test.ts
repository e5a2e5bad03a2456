import t from 'tap';
import { place, type KnownHead } from '../../src/initiator/namespace-identity.ts';
import type { NamespaceInfo } from '../../src/initiator/namespace.ts';
import { Status } from '../../src/nvme/status.ts';
import { Cns } from '../../src/nvme/identify.ts';
import { IndependentIdNamespace } from '../../src/nvme/identify-namespace.ts';
import { UUID, type FakeController } from '../doubles/fake-controller.ts';
import { Multipath, RECOVERY } from '../doubles/multipath.ts';

const OTHER_UUID = '0b2f8f6c-6e0b-4cc1-8f8e-0d5e7c8a9b11';
const INFO: NamespaceInfo = {
  nsid: 1,
  uuid: UUID,
  nguid: undefined,
  eui64: undefined,
  csi: 0,
  shared: true,
  blockSize: 512,
  blocks: 100,
  used: 100,
  anagrpid: 0,
  readOnly: false,
};
const HEAD: KnownHead = {
  name: 'nvme0n1',
  info: INFO,
  sameSubsystem: true,
  shared: true,
  paths: 1,
  viaThis: false,
};
const head = (change: Partial<KnownHead> = {}, info: Partial<NamespaceInfo> = {}): KnownHead => ({
  ...HEAD,
  ...change,
  info: { ...INFO, ...info },
});
const NO_IDS = { uuid: undefined };

const rows: [string, Partial<NamespaceInfo>, readonly KnownHead[], 'join' | 'own head' | RegExp, boolean?][] =
  [
    ['nobody knows it', {}, [], 'own head'],
    ['HEAD.4 its head waits for a path', {}, [head({ paths: 0 })], 'join'],
    [
      'HEAD.8 its head waits, and it is private',
      { shared: false },
      [head({ paths: 0, shared: false })],
      'join',
    ],
    ['its head waits, with another block size', { blockSize: 4096 }, [head({ paths: 0 })], 'own head'],
    [
      'another subsystem has its UUID',
      {},
      [head({ sameSubsystem: false })],
      /duplicate IDs: nvme0n1 of another/,
    ],
    ['another subsystem had its UUID', {}, [head({ sameSubsystem: false, paths: 0 })], 'own head'],
    ['this controller shows it twice', {}, [head({ viaThis: true })], /duplicate IDs/],
    ['both shared', {}, [head()], 'join'],
    ['both shared, no identifiers', NO_IDS, [head({}, NO_IDS)], 'join'],
    ['both shared, another block size', { blockSize: 4096 }, [head()], /block size is 4096/],
    ['it is not shared', { shared: false }, [head()], /duplicate unshared namespace/],
    ['the head is not shared', {}, [head({ shared: false })], /duplicate unshared namespace/],
    ['private, no identifiers', { ...NO_IDS, shared: false }, [head({ shared: false }, NO_IDS)], 'own head'],
    [
      'another identity under its NSID',
      { uuid: OTHER_UUID },
      [head()],
      /IDs do not match for shared namespace 1/,
    ],
    ['the same, NSIDs are not unique', { uuid: OTHER_UUID }, [head()], 'own head', false],
    ['HEAD.7 the same, that head waits', { uuid: OTHER_UUID }, [head({ paths: 0 })], 'own head'],
    ['an identifier less than before', { uuid: undefined, nguid: 'aa' }, [head()], /do not match/],
    ['its UUID under another NSID', { nsid: 2 }, [head()], /duplicate IDs: nvme0n1 has them/],
    ['the same, that head waits', { nsid: 2 }, [head({ paths: 0 })], 'own head'],
    [
      'one head waits, another has the NSID',
      {},
      [head({}, { uuid: OTHER_UUID }), head({ paths: 0 })],
      'join',
    ],
  ];
for (const [name, info, known, expected, unique = true] of rows)
  t.test(`identity: ${name}`, (t) => {
    const placed = place({ ...INFO, ...info }, unique, known);
    if (expected instanceof RegExp) t.match(placed, { refuse: expected });
    else t.equal(typeof placed === 'string' ? placed : 'join', expected);
    t.end();
  });

t.test(
  'IDs that change on one controller after the other: refused, then taken when the old one is gone',
  (t) => {
    const m = new Multipath();
    const { head: old } = m;
    const { subsystem } = old;
    m.a.fake.namespaces = [{ nsid: 1, blocks: 8192, ids: { uuid: OTHER_UUID } }];
    m.a.rescan();
    t.strictSame(
      old.paths.map(({ controller }) => controller.name),
      ['nvme1'],
      'identifiers changed: that path goes',
    );
    t.match(subsystem.sides.get(m.a.controller)?.refused.get(1)?.why, /IDs do not match/);
    m.b.fake.namespaces = m.a.fake.namespaces;
    m.b.rescan();
    t.ok(old.gone);
    t.equal(subsystem.heads.length, 1);
    t.equal(subsystem.heads[0]!.paths.length, 2);
    t.equal(subsystem.heads[0]!.info.uuid, OTHER_UUID);
    t.strictSame(m.stop(), []);
    t.end();
  },
);

t.test('a namespace of another subsystem with the same UUID is not used', (t) => {
  const m = new Multipath();
  const { controller } = m.world.connect({
    subnqn: 'nqn.2024-01.test:another',
    address: { host: '127.0.0.1', port: m.b.fake.port },
    recovery: RECOVERY,
  });
  t.strictSame(controller.subsystem?.heads, []);
  t.match(controller.subsystem?.sides.get(controller)?.refused.get(1)?.why, /another subsystem/);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('a path that tells another size is not ready until all tell the same', (t) => {
  const m = new Multipath();
  m.a.fake.namespaces[0]!.blocks = 8100;
  m.a.rescan();
  t.equal(m.head.blocks, 8100);
  t.strictSame([m.path(m.a).is, m.path(m.b).is], ['optimized', 'waiting']);
  const far = m.world.read(m.head, 8099, 1);
  m.world.settle();
  t.equal(far.status, 0);
  m.b.fake.namespaces = m.a.fake.namespaces;
  m.b.rescan();
  t.equal(m.path(m.b).is, 'optimized');
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('a namespace that vanishes from one controller takes only that path', (t) => {
  const m = new Multipath();
  const reads = Array.from({ length: 20 }, (_, i) => m.world.read(m.head, i, 1));
  m.a.fake.namespaces = [];
  m.a.rescan();
  m.world.settle();
  t.strictSame(m.head.paths.length, 1);
  const after = m.world.read(m.head, 0, 1);
  m.world.settle();
  t.ok([...reads, after].every(({ status }) => status === 0));
  m.b.fake.namespaces = [];
  const { head: last } = m;
  m.b.rescan();
  t.ok(last.gone);
  t.equal(m.world.read(last, 0, 1).status, Status.HostPathError);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('a namespace that is shown and not used: why is told, until it is used or gone', (t) => {
  const m = new Multipath({ sides: 1 });
  const { subsystem } = m.a.controller;
  const [namespace] = m.a.fake.namespaces;
  t.equal(subsystem?.whyNot(1), undefined);
  namespace!.change = { lbaf: [{ ms: 8, lbads: 9 }] };
  m.a.rescan();
  t.equal(subsystem?.head(1), undefined);
  t.match(subsystem?.whyNot(1), /^its format has metadata/);
  t.equal(subsystem?.whyNot(2), undefined, 'nobody shows it');
  m.a.fake.namespaces = [{ ...namespace!, change: {} }];
  m.a.rescan();
  t.ok(subsystem?.head(1));
  t.equal(subsystem?.whyNot(1), undefined);
  m.a.fake.namespaces = [];
  m.a.rescan();
  t.equal(subsystem?.whyNot(1), undefined);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('LIFE.6 a namespace of which nothing can be said for the moment keeps its paths', (t) => {
  const wholes = {
    'its descriptors cannot be had': (fake: FakeController, wrong: boolean) => {
      fake.script = ({ name, on, cid }) => {
        if (!wrong || name !== 'Identify 3') return false;
        on.respond(cid, Status.InternalError);
        return true;
      };
    },
    'it cannot be identified': (fake: FakeController, wrong: boolean) => {
      fake.script = ({ name, on, cid }) => {
        if (!wrong || name !== 'Identify 0') return false;
        on.respond(cid, Status.InternalError);
        return true;
      };
    },
    'it is not ready': (fake: FakeController, wrong: boolean) => {
      const page = IndependentIdNamespace.bytes({ nstat: { ready: wrong ? 0 : 1 } });
      fake.pages.set(Cns.CsIndependentNamespace, page);
    },
  };
  for (const [name, spoil] of Object.entries(wholes)) {
    const m = new Multipath({
      sides: 1,
      prepare: (fake) => {
        fake.version = 0x00020000;
      },
    });
    const { head, a } = m;
    spoil(a.fake, true);
    a.rescan();
    m.world.settle();
    t.equal(m.path(a).is, 'optimized', `${name}: it was looked at in this association`);
    m.down(a);
    m.up(a);
    m.world.advance(RECOVERY.reconnectDelay);
    t.equal(a.controller.state.now, 'live');
    t.equal(m.path(a).is, 'waiting', `${name}: nobody knows what is there after a reconnect`);
    const read = m.world.read(head, 0, 1);
    m.world.settle();
    t.equal(read.status, undefined);
    spoil(a.fake, false);
    a.rescan();
    m.world.settle();
    t.equal(read.status, 0);
    t.equal(m.head, head);
    t.strictSame(m.stop(), []);
  }
  t.end();
});
