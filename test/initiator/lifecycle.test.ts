import t from 'tap';
import { Event, eventDword } from '../../src/nvme/event.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { GetLogPage } from '../../src/nvme/sqe.ts';
import { Numbers } from '../../src/initiator/numbers.ts';
import { DiscoveryReader, type DiscoveryLog } from '../../src/initiator/discovery.ts';
import type { Failure } from '../../src/initiator/failure.ts';
import { DISCOVERY_NQN } from '../../src/nvme/nqn.ts';
import { DiscoveryEntry, DiscoveryHeader } from '../../src/nvme/discovery.ts';
import { SeededRandom } from '../../src/runtime/memory/random.ts';
import { HostWorld } from '../doubles/host-world.ts';
import { UUID } from '../doubles/fake-controller.ts';

const OTHER_UUID = '0b2f8f6c-6e0b-4cc1-8f8e-0d5e7c8a9b11';
const count = (world: HostWorld, what: string): number =>
  world.fake.log.filter((line) => line === what).length;
const namespaceChanged = eventDword(Event.NamespaceAttributeChanged);

// ---- numbers

t.test('NUM.1 the lowest free number is given out, and is free when the last holder lets go (NUM.7)', (t) => {
  const numbers = new Numbers(0);
  t.strictSame(
    [numbers.take('controller'), numbers.take('controller'), numbers.take('controller')],
    [0, 1, 2],
  );
  numbers.hold(1, 'subsystem');
  numbers.release(1, 'controller');
  t.equal(numbers.take('controller'), 3, '1 is still held');
  numbers.release(1, 'subsystem');
  t.equal(numbers.take('controller'), 1);
  t.strictSame(numbers.taken, [0, 1, 2, 3]);
  t.end();
});

t.test('NUM.5 a reconnecting controller never takes the number its subsystem owns', (t) => {
  const world = new HostWorld();
  const a = world.up().controller;
  world.fake.cntlid = 2;
  const b = world.up().controller;
  t.strictSame([a.name, b.name, a.subsystem?.name], ['nvme0', 'nvme1', 'nvme-subsys0']);
  t.equal(a.subsystem, b.subsystem);
  a.disconnect('disconnected', () => undefined);
  world.settle();
  world.fake.cntlid = 3;
  const again = world.up().controller;
  t.equal(again.name, 'nvme2');
  t.equal(again.subsystem?.heads[0]?.name, 'nvme0n1');
  t.strictSame(
    again.subsystem?.heads[0]?.paths.map((path) => path.name),
    ['nvme0c1n1', 'nvme0c2n1'],
    'NUM.10',
  );
  t.not(again.id, a.id, 'NUM.11');
  world.registry.stop(() => undefined);
  world.settle();
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('NUM.6 no sequence of connects and disconnects gives a live number of another subsystem', (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SeededRandom(seed);
    const world = new HostWorld();
    for (let i = 0; i < 30; i++) {
      const live = [...world.registry.controllers];
      if (random.below(3) > 0 || live.length === 0) {
        world.fake.cntlid = i + 1;
        world.connect({ subnqn: `nqn.2024-01.test:fake${random.below(3)}` });
      } else live[random.below(live.length)]!.disconnect('disconnected', () => undefined);
      world.settle();
    }
    world.registry.stop(() => undefined);
    world.settle();
    t.strictSame(world.leftovers(), []);
  }
  t.end();
});

t.test('a second controller that cannot be one of the subsystem is refused', (t) => {
  const changes = [{ cntlid: 1 }, { sn: 'another' }, { mn: 'another' }, { cmic: {} }];
  for (const change of changes) {
    const world = new HostWorld();
    world.up();
    world.fake.cntlid = change.cntlid ?? 2;
    world.fake.identify = change;
    t.equal(world.connect().reason?.code, 'EPROTO', JSON.stringify(change));
    t.equal(world.registry.controllers.size, 1);
  }
  t.end();
});

t.test('a host identity that clashes with one in use is refused before anything is sent', (t) => {
  const world = new HostWorld();
  world.up();
  const before = world.fake.connections.length;
  let reason: Failure | undefined;
  const refused = world.registry.connect(
    { ...[...world.registry.controllers][0]!.options, hostid: OTHER_UUID },
    (why) => {
      reason = why;
    },
  );
  world.settle();
  t.equal(refused, undefined);
  t.equal(reason?.code, 'EINVAL');
  t.equal(world.fake.connections.length, before);
  t.end();
});

// ---- keep-alive

t.test('Keep Alive goes out every KATO/2; without an answer within KATO the association ends', (t) => {
  const world = new HostWorld();
  const { controller } = world.up({ kato: 4000 });
  world.advance(10_000);
  t.equal(count(world, 'q0 Keep Alive'), 5);
  world.fake.script = ({ name }) => name === 'Keep Alive';
  world.advance(5999);
  t.equal(controller.state.now, 'live');
  world.advance(1);
  t.equal(controller.state.now, 'dead');
  t.match(controller.reason?.message, /did not answer Keep Alive within 4 s/);
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('with TBKAS the timer looks every KATO/4 and traffic makes a Keep Alive unnecessary', (t) => {
  const world = new HostWorld();
  world.fake.identify = { ctratt: { tbkas: 1 } };
  const { head } = world.up({ kato: 4000 });
  world.advance(1000);
  const before = count(world, 'q0 Keep Alive');
  for (let i = 0; i < 20; i++) {
    world.read(head, 0, 1);
    world.advance(500);
  }
  t.equal(count(world, 'q0 Keep Alive'), before);
  world.advance(4000);
  t.ok(count(world, 'q0 Keep Alive') > before);
  t.end();
});

t.test('with TBKAS the answer to an old command is no traffic: the controller counts when it comes', (t) => {
  const world = new HostWorld();
  world.fake.identify = { ctratt: { tbkas: 1 } };
  const { head, controller } = world.up({ kato: 4000 });
  const held: (() => void)[] = [];
  world.fake.script = ({ name, on, cid }) => {
    if (name === 'Write') held.push(() => on.respond(cid));
    return name === 'Write';
  };
  // All of them went out at once; one is answered now and then.
  for (let i = 0; i < 20; i++) world.write(head, 0, new Uint8Array(head.blockSize));
  world.advance(1000);
  const before = count(world, 'q0 Keep Alive');
  for (let i = 0; i < 16; i++) {
    held.shift()?.();
    world.advance(500);
  }
  t.equal(controller.state.now, 'live');
  t.ok(count(world, 'q0 Keep Alive') - before >= 3, 'as if nothing was answered');
  for (const answer of held) answer();
  t.end();
});

t.test('KATO 0: no Keep Alive', (t) => {
  const world = new HostWorld();
  world.up();
  world.advance(100_000);
  t.equal(count(world, 'q0 Keep Alive'), 0);
  t.end();
});

t.test('a Keep Alive that is refused ends the association', (t) => {
  const world = new HostWorld();
  const { controller } = world.up({ kato: 1000 });
  world.fake.script = ({ name, on, cid }) => {
    if (name !== 'Keep Alive') return false;
    on.respond(cid, Status.KeepAliveExpired);
    return true;
  };
  world.advance(500);
  t.equal(controller.state.now, 'dead');
  t.equal(controller.reason?.status, Status.KeepAliveExpired);
  t.end();
});

t.test('keep-alive begins during a long setup, before the controller could miss it', (t) => {
  const world = new HostWorld();
  world.fake.script = ({ name }) => name === 'Set Features 7';
  world.connect({ kato: 2000 });
  world.advance(5000);
  t.equal(count(world, 'q0 Keep Alive'), 5);
  t.end();
});

// ---- events and namespaces

t.test('namespace changed: the next request, the log without RAE, then the namespaces again', (t) => {
  const world = new HostWorld();
  const { controller } = world.up();
  const raes: number[] = [];
  world.fake.script = ({ name, view }) => {
    if (name === 'Get Log Page 4') raes.push(view.getUint8(41) >> 7);
    return false;
  };
  world.fake.namespaces.push({ nsid: 5, blocks: 100, ids: { uuid: OTHER_UUID } });
  world.fake.log.length = 0;
  world.fake.event(namespaceChanged);
  t.strictSame(world.fake.log, [
    'q0 Async Event Request',
    'q0 Get Log Page 4',
    'q0 Identify 2',
    'q0 Identify 3',
    'q0 Identify 0',
    'q0 Identify 3',
    'q0 Identify 0',
  ]);
  t.strictSame(raes, [0]);
  const names = (): (string | number)[][] =>
    controller.subsystem!.heads.map((head) => [head.name, head.nsid, head.blocks]);
  t.strictSame(names(), [
    ['nvme0n1', 1, 8192],
    ['nvme0n2', 5, 100],
  ]);
  world.fake.namespaces.shift();
  world.fake.namespaces[0]!.blocks = 200;
  world.fake.event(namespaceChanged);
  t.strictSame(names(), [['nvme0n2', 5, 200]], 'NUM.9 the name stays; gone and resized ones are seen');
  world.fake.namespaces.push({ nsid: 9, blocks: 1, ids: {} });
  world.fake.event(namespaceChanged);
  t.strictSame(names()[0], ['nvme0n1', 9, 1], 'the lowest number that is free');
  t.end();
});

t.test('HEAD.2 I/O on a head whose namespace went fails at once', (t) => {
  const world = new HostWorld();
  const { head } = world.up();
  world.fake.namespaces.length = 0;
  world.fake.event(namespaceChanged);
  t.ok(head.gone);
  t.equal(world.read(head, 0, 1).status, Status.HostPathError);
  t.end();
});

t.test('HEAD.7 another identity under the same NSID is another head', (t) => {
  const world = new HostWorld();
  const { head, controller } = world.up();
  world.fake.namespaces[0]!.ids = { uuid: OTHER_UUID };
  world.fake.event(namespaceChanged);
  t.ok(head.gone);
  t.not(controller.subsystem?.head(1), head);
  t.equal(controller.subsystem?.head(1)?.info.uuid, OTHER_UUID);
  t.end();
});

t.test('events during a scan make one more scan, not one each', (t) => {
  const world = new HostWorld();
  world.up();
  const waiting: (() => void)[] = [];
  world.fake.script = ({ name, on, cid }) => {
    if (name !== 'Identify 2' || waiting.length > 0) return false;
    waiting.push(() => {
      on.data(cid, world.fake.identified(2, 0)!);
      on.respond(cid);
    });
    return true;
  };
  world.fake.log.length = 0;
  for (let i = 0; i < 5; i++) world.fake.event(namespaceChanged);
  waiting[0]!();
  world.settle();
  t.equal(count(world, 'q0 Identify 2'), 2);
  t.end();
});

t.test('events of other kinds are logged, their log is read, and the next one is asked for', (t) => {
  const world = new HostWorld();
  world.up();
  for (const [event, log] of [
    [Event.AnaChange, 'q0 Get Log Page 12'],
    [Event.PersistentInternalError, 'q0 Get Log Page 1'],
    [Event.SpareBelowThreshold, 'q0 Get Log Page 2'],
    [Event.NormalShutdown, undefined],
    [{ type: 7, info: 255, lid: 255 }, undefined],
  ] as const) {
    world.fake.log.length = 0;
    world.fake.event(eventDword(event));
    t.strictSame(world.fake.log, ['q0 Async Event Request', ...(log === undefined ? [] : [log])]);
  }
  t.end();
});

t.test('an Async Event Request that is refused is not sent again', (t) => {
  const world = new HostWorld();
  const { controller } = world.up();
  const waiting = world.fake.events.shift()!;
  waiting.on.respond(waiting.cid, Status.AerLimitExceeded);
  world.settle();
  t.equal(count(world, 'q0 Async Event Request'), 1);
  t.equal(controller.state.now, 'live');
  t.end();
});

t.test('a namespace that cannot be used is left out, with the reason in the log', (t) => {
  const world = new HostWorld();
  const formats = (lbads: number, ms = 0) => ({ lbaf: [{ lbads, ms }] });
  world.fake.namespaces = [
    { nsid: 1, blocks: 0, ids: {} },
    { nsid: 2, blocks: 10, ids: {}, change: formats(8) },
    { nsid: 3, blocks: 10, ids: {}, change: formats(255) },
    { nsid: 4, blocks: 10, ids: {}, change: formats(9, 8) },
    { nsid: 5, blocks: 10, ids: { csi: 2 } },
    { nsid: 6, blocks: 10, ids: {}, change: { nsze: 2n ** 60n } },
    { nsid: 7, blocks: 2 ** 50, ids: {} },
    { nsid: 8, blocks: 10, ids: {}, change: { flbas: { low: 15 } } },
    { nsid: 9, blocks: 10, ids: {}, change: formats(12) },
  ];
  const { controller } = world.up();
  t.strictSame(
    controller.subsystem?.heads.map(({ nsid, blockSize }) => [nsid, blockSize]),
    [[9, 4096]],
  );
  const left = world.env.trace.events.filter(({ what }) => what === 'namespace is not used');
  t.equal(left.length, 8);
  t.end();
});

t.test(
  'nonsense in the namespace list ends the controller, in the descriptors leaves the namespace out',
  (t) => {
    const list = new HostWorld();
    list.fake.pages.set(2, new Uint8Array(4096).fill(1));
    t.equal(list.connect().reason?.code, 'EPROTO');
    t.strictSame(list.leftovers(), []);
    const endless = new HostWorld();
    const page = new Uint8Array(4096);
    for (let i = 0; i < 1024; i++) new DataView(page.buffer).setUint32(4 * i, i + 1, true);
    endless.fake.pages.set(2, page);
    t.match(endless.connect().reason?.message, /is not above 1024/, 'the same page again and again');
    const ids = new HostWorld();
    ids.fake.pages.set(3, new Uint8Array(4096).fill(1));
    const { controller } = ids.up();
    t.strictSame(controller.subsystem?.heads, []);
    t.end();
  },
);

t.test('a namespace list of many pages is read up to the limit', (t) => {
  const world = new HostWorld({ namespaces: 1500 });
  world.fake.namespaces = Array.from({ length: 2000 }, (_, i) => ({ nsid: i + 1, blocks: 8, ids: {} }));
  const { controller } = world.up();
  t.equal(controller.subsystem?.heads.length, 1500);
  t.equal(count(world, 'q0 Identify 2'), 2);
  t.end();
});

t.test('a shared namespace seen through two controllers has two paths, a private one is refused', (t) => {
  for (const [shared, ids, paths] of [
    [true, { uuid: UUID }, [2]],
    [false, { uuid: UUID }, [1]],
    [false, {}, [1, 1]],
  ] as const) {
    const world = new HostWorld();
    world.fake.namespaces = [{ nsid: 1, blocks: 8192, ids, shared }];
    world.up();
    world.fake.cntlid = 2;
    const { controller } = world.up();
    t.strictSame(
      controller.subsystem?.heads.map((head) => head.paths.length),
      paths,
      'without identifiers nobody can tell that it is the same: two heads',
    );
  }
  t.end();
});

// ---- the end

t.test('disconnect: I/O queues, shutdown notification, CSTS.SHST, admin queue, without a reset', (t) => {
  const world = new HostWorld();
  const { controller } = world.up({ ioQueues: 2 });
  world.fake.log.length = 0;
  let gone = 0;
  controller.disconnect('disconnected', () => gone++);
  controller.disconnect('disconnected', () => gone++);
  world.settle();
  t.strictSame(world.fake.log, ['q0 Property Set CC', 'q0 Property Get CSTS']);
  t.equal(world.fake.cc, 0x464001);
  t.equal(gone, 2);
  t.ok(world.fake.connections.every(({ error, ended }) => error === undefined && ended));
  t.strictSame(world.leftovers(), []);
  controller.disconnect('disconnected', () => gone++);
  t.equal(gone, 3, 'afterwards at once');
  t.end();
});

t.test('disconnect ends in time whatever the controller does', (t) => {
  const bad: [string, (world: HostWorld) => void, number][] = [
    [
      'never complete',
      (world) =>
        (world.fake.script = ({ name, on, cid }) =>
          name.endsWith('CSTS') ? (on.respond(cid, 0, 1), true) : false),
      5000,
    ],
    ['silent', (world) => (world.fake.script = () => true), 5000],
    [
      'refuses',
      (world) => (world.fake.script = ({ on, cid }) => (on.respond(cid, Status.InternalError), true)),
      0,
    ],
    ['closes', (world) => (world.fake.script = ({ on }) => (on.transport.close(), true)), 0],
    ['resets', (world) => (world.fake.script = ({ on }) => (on.transport.reset(), true)), 0],
    [
      'talks nonsense',
      (world) => (world.fake.script = ({ on }) => (on.raw([9, 9, 9, 9, 9, 9, 9, 9]), true)),
      5000,
    ],
  ];
  for (const [name, spoil, ms] of bad) {
    const world = new HostWorld();
    const { controller } = world.up();
    spoil(world);
    let gone = false;
    controller.disconnect('disconnected', () => (gone = true));
    world.advance(ms);
    t.ok(gone, name);
    t.strictSame(world.leftovers(), []);
  }
  t.end();
});

t.test(
  'disconnect with I/O under way: 370h what was never sent, 371h what may have been carried out',
  (t) => {
    const world = new HostWorld();
    const { head, controller } = world.up({ queueEntries: 16 });
    world.fake.script = ({ on }) => on.qid !== 0;
    const writes = Array.from({ length: 20 }, () => world.write(head, 0, new Uint8Array(512)));
    world.settle();
    controller.disconnect('disconnected', () => undefined);
    world.settle();
    t.equal(writes.filter(({ status }) => status === Status.AbortedByHost).length, 15);
    t.equal(writes.filter(({ status }) => status === Status.HostPathError).length, 5);
    t.match(world.fake.io().error, /reset/);
    // What may have been carried out is kept for the next head until nobody can tell any more: at once without KATO.
    world.advance(1);
    t.strictSame(world.leftovers(), []);
    t.end();
  },
);

t.test('losing one I/O connection ends the association, and every I/O once', (t) => {
  const world = new HostWorld();
  const { head } = world.up({ ioQueues: 4 });
  world.fake.script = ({ on }) => on.qid !== 0;
  const reads = Array.from({ length: 40 }, (_, i) => world.read(head, i, 1));
  world.settle();
  world.fake.io(3).transport.close();
  world.settle();
  t.ok(reads.every(({ status, calls }) => status === Status.AbortedByHost && calls === 1));
  t.strictSame(world.leftovers(), []);
  t.end();
});

// ---- discovery

function discovery(
  records: number,
  genctr: () => number,
  limits: ConstructorParameters<typeof HostWorld>[0] = {},
  numrec = records,
): { world: HostWorld; reason: Failure | undefined; log: DiscoveryLog | undefined } {
  const world = new HostWorld(limits);
  world.fake.identify = { cntrltype: 2, kas: 0, ioccsz: 0, iorcsz: 0, sgls: {} };
  world.fake.logPage = (_lid, offset, length) => {
    const all = new Uint8Array(1024 * (records + 1));
    all.set(DiscoveryHeader.bytes({ genctr: genctr(), numrec }));
    for (let i = 0; i < records; i++)
      all.set(
        DiscoveryEntry.bytes({ trtype: 3, portid: i, traddr: '127.0.0.1', subnqn: `nqn.x:${i}` }),
        1024 * (i + 1),
      );
    return all.slice(offset, offset + length);
  };
  const { controller } = world.connect({ subnqn: DISCOVERY_NQN, ioQueues: 0 });
  const result: { reason: Failure | undefined; log: DiscoveryLog | undefined } = {
    reason: undefined,
    log: undefined,
  };
  new DiscoveryReader(controller, (reason, log) => {
    result.reason = reason;
    result.log = log;
  }).start();
  world.settle();
  return { world, ...result };
}

t.test('the discovery log: 20 bytes, the records in chunks, 20 bytes again', (t) => {
  const { world, log } = discovery(10, () => 5);
  t.equal(log?.genctr, 5);
  t.strictSame(
    log?.records.map((record) => new DataView(record.buffer, record.byteOffset).getUint16(4, true)),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
  t.equal(count(world, 'q0 Get Log Page 112'), 5);
  t.equal(world.registry.subsystems.size, 1, 'NUM.3 a subsystem of its own');
  t.end();
});

t.test('a discovery log that changes is read again, up to ten times', (t) => {
  let genctr = 1;
  const settles = discovery(2, () => (genctr < 6 ? genctr++ : 6));
  t.equal(settles.log?.records.length, 2);
  let moving = 1;
  const never = discovery(2, () => moving++);
  t.equal(never.reason?.code, 'EAGAIN');
  t.equal(count(never.world, 'q0 Get Log Page 112'), 30);
  t.end();
});

t.test('a discovery log that became shorter refuses records: it is read again if GENCTR has moved', (t) => {
  const refusing = (
    moves: boolean,
  ): { log?: DiscoveryLog | undefined; reason?: Failure | undefined; reads: number } => {
    let genctr = 1;
    const { world } = discovery(2, () => genctr);
    const [controller] = world.registry.controllers;
    let reads = 0;
    world.fake.script = ({ name, view, on, cid }) => {
      const beyond = name === 'Get Log Page 112' && GetLogPage.lpo.get(view, 0) >= 1024;
      if (!beyond || ++reads > 1) return false;
      if (moves) genctr = 2;
      on.respond(cid, Status.InvalidField | DNR);
      return true;
    };
    const told: { log?: DiscoveryLog | undefined; reason?: Failure | undefined } = {};
    new DiscoveryReader(controller!, (reason, log) => Object.assign(told, { reason, log })).start();
    world.settle();
    return { ...told, reads };
  };
  const moved = refusing(true);
  t.equal(moved.log?.records.length, 2);
  t.equal(moved.log?.genctr, 2);
  const refused = refusing(false);
  t.equal(refused.reason?.status, Status.InvalidField | DNR);
  t.equal(refused.reads, 1, 'a log that is as it was is not asked again');
  t.end();
});

t.test('an empty discovery log, and one that claims too much', (t) => {
  t.strictSame(discovery(0, () => 1).log?.records, []);
  t.equal(discovery(1, () => 1, {}, 2 ** 40).reason?.code, 'EPROTO');
  t.end();
});

t.test('a controller that is lost while its log is read says so', (t) => {
  const { world } = discovery(1, () => 1);
  const [controller] = world.registry.controllers;
  world.fake.script = ({ on }) => (on.transport.close(), true);
  let told: Failure | undefined;
  new DiscoveryReader(controller!, (reason) => (told = reason)).start();
  world.settle();
  t.equal(told?.code, 'ECONNRESET');
  t.end();
});

t.test('the wwid is UUID > NGUID > EUI-64 > vendor, serial, model and NSID', (t) => {
  const nguid = new Uint8Array(16).fill(0xab);
  const eui64 = new Uint8Array(8).fill(0xcd);
  const wwids = [{ uuid: UUID, nguid, eui64 }, { nguid, eui64 }, { eui64 }, {}].map((ids) => {
    const world = new HostWorld();
    world.fake.namespaces[0]!.ids = ids;
    return world.up().head.wwid;
  });
  t.strictSame(wwids.slice(0, 3), [`uuid.${UUID}`, `eui.${'ab'.repeat(16)}`, `eui.${'cd'.repeat(8)}`]);
  t.match(wwids[3], /^nvme\.0000-46414b45-[0-9a-f]+-00000001$/);
  t.end();
});
