/** The LIFE rules: what outlives what, who sees what, and who is told. */
import t from 'tap';
import { FaultyFile } from '../doubles/faulty-file.ts';
import { NQN, TargetWorld } from '../doubles/target-world.ts';
import { type NvmHost, whoIs } from '../doubles/nvm-host.ts';
import { inTransport, rw, WireHost } from '../doubles/wire-host.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { ConnectData } from '../../src/nvme/fabrics.ts';
import { Event } from '../../src/nvme/event.ts';
import { Cns } from '../../src/nvme/identify.ts';
import { IdController } from '../../src/nvme/identify-controller.ts';
import { IdNamespace, IndependentIdNamespace } from '../../src/nvme/identify-namespace.ts';
import { decodeNamespaceIds } from '../../src/nvme/identify-lists.ts';
import { AnaState } from '../../src/nvme/ana-log.ts';
import { IoOpcode } from '../../src/nvme/opcode.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { type Meeting, meet } from '../../src/target/attachment.ts';
import { describeTarget } from '../../src/target/describe.ts';
import { factsDocument } from '../../src/target/facts.ts';
import type { Namespace } from '../../src/target/namespace.ts';

const large = (opc: number, nsid: number, blocks: number): Uint8Array => {
  const sqe = rw(opc, 0, blocks, inTransport(blocks * 512));
  viewOf(sqe).setUint32(4, nsid, true);
  return sqe;
};
const largeWrite = (nsid: number, blocks: number): Uint8Array => large(IoOpcode.Write, nsid, blocks);
const largeRead = (nsid: number, blocks: number): Uint8Array => large(IoOpcode.Read, nsid, blocks);

const GONE = Status.InvalidNamespace | DNR;

/** Closes every connection's host side that the target has closed, so that the last of it can end. */
const finish = (world: TargetWorld, ...hosts: NvmHost[]): void => {
  for (const { admin, queue } of hosts)
    for (const { ended, transport } of [admin, queue]) if (ended) transport.end();
  world.settle();
};

const disabled = (world: TargetWorld, namespace: Namespace): void => {
  namespace.disable(() => undefined);
  world.settle();
  if (namespace.state.now !== 'disabled') throw new Error(`it is ${namespace.state.now}`);
};

t.test('LIFE.1 losing a controller never deletes, detaches, closes or resets a namespace', (t) => {
  const file = new FaultyFile(2 ** 20);
  file.resident = true;
  const world = new TargetWorld({}, { file: () => file });
  const a = world.host('A');
  const b = world.host('B');
  a.send(IoOpcode.Write, 1, 0, new Uint8Array(512).fill(7));
  a.leave();
  file.run();
  world.settle();
  t.equal(world.subsystem.controllers.size, 1);
  t.same(b.active, [1]);
  t.equal(b.read(1).data[0], 7, 'what it was told to write is there');
  b.leave();
  t.equal(world.subsystem.controllers.size, 0);
  t.equal(world.namespace.state.now, 'enabled');
  t.same(
    file.log.filter((call) => call.startsWith('close')),
    [],
  );
  t.end();
});

t.test('LIFE.2 a namespace needs no controller to be created, resized or removed', (t) => {
  const world = new TargetWorld();
  const file = new FaultyFile(2 ** 16);
  const made = world.target.addNamespace(world.subsystem, file, {
    nsid: 2,
    uuid: '6b2f8f6c-6e0b-4cc1-8f8e-000000000099',
    blockSize: 512,
    readOnly: false,
  });
  file.truncate(2 ** 17);
  made.volume?.refresh(() => undefined);
  file.run();
  t.equal(made.blocks, 256);
  let closed = false;
  world.target.removeNamespace(made, () => (closed = true));
  file.run();
  t.ok(closed);
  t.same([...world.subsystem.namespaces.keys()], [1]);
  t.end();
});

t.test('LIFE.3 whether a controller gets a namespace: a row each', (t) => {
  const [a, b] = [whoIs('A'), whoIs('B')];
  const common: Meeting = {
    ...a,
    detached: false,
    full: false,
    shared: true,
    hosts: undefined,
    owner: undefined,
    taken: false,
  };
  const rows: [string, Partial<Meeting>, ReturnType<typeof meet>][] = [
    ['shared', {}, 'attach'],
    ['shared, and others have it', { taken: true }, 'attach'],
    ['shared, detached from this controller', { detached: true }, 'detached'],
    ['masked', { hosts: new Set([b.hostnqn]) }, 'masked'],
    ['not masked', { hosts: new Set([a.hostnqn]) }, 'attach'],
    ['masked and detached', { hosts: new Set(), detached: true }, 'masked'],
    ['private, nobody’s', { shared: false }, 'attach'],
    ['private, its host’s', { shared: false, owner: a }, 'attach'],
    ['private, another host’s', { shared: false, owner: b }, 'another host’s'],
    [
      'private, same NQN, another Host ID',
      { shared: false, owner: { ...a, hostid: b.hostid } },
      'another host’s',
    ],
    ['private, its host’s, on another controller', { shared: false, owner: a, taken: true }, 'taken'],
    ['one too many', { full: true }, 'full'],
  ];
  for (const [name, change, verdict] of rows) t.equal(meet({ ...common, ...change }), verdict, name);
  t.end();
});

t.test('LIFE.3 CC.EN attaches what is visible; those that run learn by event', (t) => {
  const world = new TargetWorld();
  const a = world.host('A');
  a.listen();
  world.add(2);
  world.add(3, { hosts: [whoIs('B').hostnqn] });
  world.add(5);
  t.same(a.events(), [Event.NamespaceAttributeChanged], 'one event until the log is read');
  t.same(a.changes, [2, 5], 'not what is masked');
  t.same(a.active, [1, 2, 5]);
  t.same(world.host('B').active, [1, 2, 3, 5]);
  world.subsystem.mask(world.namespace, [whoIs('B').hostnqn]);
  world.settle();
  t.same(a.events(), [Event.NamespaceAttributeChanged]);
  t.same(a.changes, [1]);
  t.same(a.active, [2, 5]);
  t.same(a.allocated, [2, 5], 'what is masked is not even allocated for this host');
  t.equal(a.read(1).status, GONE);
  world.subsystem.mask(world.namespace, undefined);
  world.settle();
  t.same(a.changes, [1]);
  t.equal(a.read(1).status, 0);
  t.end();
});

t.test('LIFE.4 a private namespace is the host’s that it was first attached to', async (t) => {
  await t.test('over CC.EN cycles, reconnects and restarts, on one controller at a time', (t) => {
    const world = new TargetWorld();
    const secret = world.add(2, { shared: false });
    const a = world.host('A');
    world.settle();
    t.same(secret.owner, whoIs('A'));
    t.same(a.active, [1, 2]);
    t.equal(IdNamespace.nmic.shared.get(viewOf(a.identify(Cns.Namespace, 2).data), 0), 0);
    t.equal(a.write(2), 0);
    const b = world.host('B');
    t.same(b.active, [1], 'another host never');
    t.equal(b.read(2).status, GONE);
    const again = world.host('A');
    t.same(again.active, [1], 'not two controllers of its host');
    again.listen();
    a.reset();
    t.same(again.events(), [Event.NamespaceAttributeChanged], 'it goes to the one that runs');
    t.same(again.active, [1, 2]);
    t.same(a.active, [1]);
    again.leave();
    finish(world, a);
    t.same(a.active, [1, 2], 'and back when that one is gone');
    a.leave();
    t.same(world.host('B').active, [1]);
    const last = world.host('A');
    t.not(last.cntlid, a.cntlid);
    t.same(last.active, [1, 2]);

    // A restart knows it from the facts.
    const text = world.env.store.documents.get(factsDocument(secret.uuid));
    t.match(JSON.parse(text!), { version: 1, owner: whoIs('A') });
    const later = new TargetWorld();
    later.env.store.documents.set(factsDocument(secret.uuid), text!);
    later.target.facts.load(secret.uuid, (error, facts) => {
      t.equal(error, undefined);
      later.add(2, { shared: false, uuid: secret.uuid, facts });
    });
    later.settle();
    t.same(later.host('B').active, [1]);
    t.same(later.host('A').active, [1, 2]);
    t.end();
  });

  await t.test('only an operator or Namespace Attachment releases it; "detached" survives resets', (t) => {
    const world = new TargetWorld();
    const secret = world.add(2, { shared: false });
    const a = world.host('A');
    const b = world.host('B');
    b.listen();
    world.subsystem.release(secret);
    world.settle();
    t.same(secret.owner, whoIs('B'), 'who runs gets it');
    t.same(b.events(), [Event.NamespaceAttributeChanged]);
    t.same(a.active, [1]);
    t.same(b.active, [1, 2]);
    t.equal(b.attach(2, [b.cntlid], true), 0);
    t.equal(secret.owner?.hostnqn, undefined, 'A had been detached by the release');
    b.reset();
    t.same(b.active, [1], 'a reset does not bring it back');
    t.equal(b.attach(2, [b.cntlid]), 0);
    t.same(b.active, [1, 2]);
    t.end();
  });

  await t.test(
    'Namespace Attachment of a private one is answered when its owner is on stable storage',
    (t) => {
      const world = new TargetWorld();
      world.add(2, { shared: false });
      const a = world.host('A');
      world.env.store.failNext = { code: 'ENOSPC', message: 'no space' };
      t.equal(a.attach(2, [a.cntlid], true), Status.InternalError, 'not kept: it is said');
      t.equal(a.attach(2, [a.cntlid]), 0);
      t.equal(world.target.facts.saving, 0);
      t.same(a.active, [1, 2]);
      t.end();
    },
  );

  await t.test('no I/O before the owner is on stable storage, and none at all when it cannot be', (t) => {
    const world = new TargetWorld();
    const secret = world.add(2, { shared: false });
    world.env.store.failNext = { code: 'ENOSPC', message: 'no space' };
    const a = world.host('A');
    t.same(secret.owner, undefined);
    t.same(a.active, [1]);
    a.reset();
    t.same(secret.owner, whoIs('A'));
    secret.ownerSaved = false;
    secret.update();
    t.equal(secret.attachments.get(a.cntlid)?.refusal, Status.InternalPathError);
    t.end();
  });

  t.test('facts that cannot be understood are an error, not "nobody’s"', (t) => {
    const world = new TargetWorld();
    const { documents } = world.env.store;
    let code: string | undefined;
    for (const text of ['{', '[]', 'null', '{"version":2}']) {
      documents.set(factsDocument('x'), text);
      world.target.facts.load('x', (error) => (code = error?.code));
      world.settle();
      t.equal(code, 'EBADMSG', text);
    }
    t.throws(() => world.add(9, { facts: { owner: null } }), RangeError);
    t.notOk(world.subsystem.namespaces.has(9));
    t.end();
  });

  t.test('saves of one namespace run one after the other; those that wait are one', (t) => {
    const world = new TargetWorld();
    const { env, target } = world;
    const { facts } = target;
    const told: string[] = [];
    const writes: string[] = [];
    const write = env.store.write.bind(env.store);
    env.store.write = (name, text, done) => {
      writes.push(text);
      write(name, text, done);
    };
    facts.save('x', { owner: 1 }, () => void told.push('one'));
    facts.save('x', { owner: 2 }, () => void told.push('two'));
    facts.save('x', { owner: 3 }, () => void told.push('three'));
    facts.save('y', { owner: 4 }, () => void told.push('other'));
    world.settle();
    t.same(told, ['one', 'other', 'two', 'three']);
    t.equal(writes.length, 3);
    t.match(env.store.documents.get(factsDocument('x')), /"owner": 3/);
    t.equal(facts.saving, 0);
    t.end();
  });

  t.test('what is removed for good is not brought back by a save that waited', (t) => {
    const { env, target } = new TargetWorld();
    const { facts } = target;
    const told: string[] = [];
    facts.save('x', { owner: 1 }, () => void told.push('one'));
    facts.save('x', { owner: 2 }, () => void told.push('two'));
    facts.remove('x', () => void told.push('removed'));
    env.clock.settle();
    t.same(told, ['one', 'two', 'removed']);
    t.notOk(env.store.documents.has(factsDocument('x')));
    t.equal(facts.saving, 0);
    t.end();
  });
});

t.test('LIFE.5 active and allocated differ; Namespace Attachment moves between them', (t) => {
  const world = new TargetWorld({ namespaces: 16, attachments: 3 });
  world.add(2);
  world.add(4, { shared: false });
  const a = world.host('A');
  const other = world.host('A');
  const b = world.host('B');
  t.equal(b.attach(2, [b.cntlid], true), 0);
  t.same(b.active, [1]);
  t.same(b.allocated, [1, 2, 4]);
  t.same(b.identify(Cns.Namespace, 2).data, new Uint8Array(4096), 'inactive');
  const found = viewOf(b.identify(Cns.AllocatedNamespace, 2).data);
  t.equal(Number(IdNamespace.nsze.decode(found, 0)), 128, 'allocated');
  t.same(b.identify(Cns.AllocatedNamespace, 3).data, new Uint8Array(4096));
  t.equal(b.identify(Cns.AllocatedNamespace, 17).status, GONE);
  t.equal(b.identify(Cns.NamespaceDescriptors, 2).status, GONE);
  t.same(b.controllers(2), [a.cntlid, other.cntlid]);
  t.same(b.controllers(2, other.cntlid), [other.cntlid]);
  t.same(b.controllers(), [a.cntlid, other.cntlid, b.cntlid]);
  t.same(b.controllers(4), [a.cntlid]);
  t.equal(b.read(2).status, GONE);

  const refused = (status: number): number => status | DNR;
  t.equal(a.attach(2, [a.cntlid]), refused(Status.NamespaceAlreadyAttached));
  t.equal(b.attach(2, [b.cntlid], true), refused(Status.NamespaceNotAttached));
  t.equal(b.attach(4, [b.cntlid]), refused(Status.NamespaceIsPrivate), 'another host’s');
  t.equal(a.attach(4, [other.cntlid]), refused(Status.NamespaceIsPrivate), 'on another controller');
  t.equal(a.attach(4, [a.cntlid, other.cntlid]), refused(Status.NamespaceIsPrivate), 'to two');
  t.equal(a.attach(3, [a.cntlid]), GONE, 'no such namespace');
  t.equal(a.attach(0xffffffff, [a.cntlid]), GONE);
  t.equal(a.attach(2, []), refused(Status.ControllerListInvalid), 'nobody');
  t.equal(a.attach(2, [99]), refused(Status.ControllerListInvalid), 'no such controller');
  t.equal(a.attach(2, [a.cntlid, a.cntlid]), refused(Status.ControllerListInvalid), 'twice');
  t.equal(b.attach(2, [a.cntlid], true), refused(Status.ControllerListInvalid), 'another host’s controller');
  t.equal(b.attach(2, [b.cntlid, a.cntlid]), refused(Status.ControllerListInvalid));
  t.same(b.active, [1], 'all of the list or nothing');

  a.listen();
  t.equal(a.attach(4, [a.cntlid], true), 0);
  t.same(a.changes, [4]);
  t.same(a.active, [1, 2]);
  t.same(other.active, [1, 2, 4], 'it is nobody’s any more, so who runs gets it');
  world.add(5);
  world.add(6);
  t.same(a.active, [1, 2, 5], 'MAXCNA is 3');
  t.equal(a.attach(6, [a.cntlid]), refused(Status.NamespaceAttachmentLimitExceeded));
  t.equal(IdController.maxcna.get(viewOf(a.identify(Cns.Controller).data), 0), 3);

  world.target.ports.setAnaState(world.target.ports.list[0]!, 1, AnaState.PersistentLoss);
  t.equal(a.attach(6, [a.cntlid], true), refused(Status.NamespaceNotAttached));
  t.equal(a.attach(5, [a.cntlid], true), 0);
  t.equal(a.attach(6, [a.cntlid]), refused(Status.AnaAttachFailed));
  world.target.ports.setAnaState(world.target.ports.list[0]!, 1, AnaState.NonOptimized);
  b.listen();
  t.same(b.active, [1, 5, 6]);
  t.equal(b.attach(6, [b.cntlid], true), 0);
  t.same(b.events(), [Event.NamespaceAttributeChanged]);
  t.same(b.changes, [2, 5, 6], 'since it was read last');
  t.equal(b.attach(2, [b.cntlid]), 0);
  t.same(b.events(), [Event.NamespaceAttributeChanged]);
  t.equal(b.read(2).status, 0);
  world.settle();
  t.end();
});

t.test(
  'LIFE.6 removing a namespace: 0Bh with DNR at once, what runs completes, then the file closes',
  (t) => {
    const file = new FaultyFile(2 ** 20);
    file.resident = true;
    const world = new TargetWorld({}, { file: () => file });
    const hosts = ['A', 'B', 'C'].map((name) => world.host(name));
    for (const host of hosts) host.listen();
    const [a] = hosts as [NvmHost];
    const running = a.send(IoOpcode.Write, 1, 0, new Uint8Array(512));
    let closed = false;
    world.target.removeNamespace(world.namespace, () => (closed = true));
    world.settle();
    for (const host of hosts) {
      t.equal(host.read(1).status, GONE);
      t.same(host.events(), [Event.NamespaceAttributeChanged]);
      t.same(host.changes, [1]);
      t.same(host.active, []);
    }
    t.notOk(closed, 'an operation runs');
    file.run();
    world.settle();
    t.equal(a.queue.response(running).status, 0);
    file.run();
    world.settle();
    t.ok(closed);
    t.equal(file.log.at(-1), 'close ok');
    t.end();
  },
);

t.test('LIFE.6 a write that was granted and not sent yet learns that its namespace is gone', (t) => {
  const world = new TargetWorld();
  const a = world.host('A');
  const { queue } = a;
  const cid = queue.command(largeWrite(1, 64));
  const [r2t] = queue.r2ts(cid);
  let closed = false;
  world.target.removeNamespace(world.namespace, () => (closed = true));
  world.settle();
  t.ok(closed, 'removal does not wait for a host');
  queue.h2c(cid, r2t!.ttag, 0, new Uint8Array(r2t!.r2tl));
  t.equal(queue.response(cid).status, GONE);
  t.end();
});

t.test('LIFE.6 removal waits for a host that does not read for a bounded time', (t) => {
  // Memory for one read: the second waits until the first host takes its data, or is thrown out.
  const limits = {
    maxTransfer: 65536,
    readBudget: 65536,
    namespaces: 64,
    stallTimeout: 20_000,
    terminateTimeout: 10_000,
  };
  const world = new TargetWorld(limits, { net: { capacity: 4096 } });
  const a = world.host('A', { kato: 0 });
  const b = world.host('B', { kato: 0 });
  a.queue.transport.pause();
  // The network takes the first.
  a.queue.command(largeRead(1, 128));
  a.queue.command(largeRead(1, 128));
  const waits = b.queue.command(largeRead(1, 128));
  let closed = false;
  world.target.removeNamespace(world.namespace, () => (closed = true));
  world.settle();
  t.notOk(closed);
  world.env.clock.advance(limits.stallTimeout + limits.terminateTimeout + 5000);
  world.settle();
  t.ok(closed);
  t.equal(b.queue.completion(waits)?.status ?? -1, 0, 'what ran completed');
  t.end();
});

t.test('LIFE.6 disabled: 300h without DNR, no event, still active; enabled again it is the same', (t) => {
  const world = new TargetWorld();
  const a = world.host('A');
  a.listen();
  const cid = a.queue.command(largeWrite(1, 64));
  disabled(world, world.namespace);
  t.equal(a.read(1).status, Status.InternalPathError);
  t.equal(a.write(1), Status.InternalPathError);
  const [r2t] = a.queue.r2ts(cid);
  a.queue.h2c(cid, r2t!.ttag, 0, new Uint8Array(r2t!.r2tl));
  t.equal(a.queue.response(cid).status, Status.InternalPathError, 'granted before');
  t.same(a.active, [1]);
  t.equal(Number(IdNamespace.nsze.decode(viewOf(a.identify(Cns.Namespace, 1).data), 0)), 2048);
  t.same(a.events(), []);
  const b = world.host('B');
  t.same(b.active, [1], 'also for those who come meanwhile');
  const ready = (): number =>
    IndependentIdNamespace.nstat.ready.get(viewOf(b.identify(Cns.CsIndependentNamespace, 1).data), 0);
  t.equal(ready(), 0);
  disabled(world, world.namespace);
  world.target.enableNamespace(world.namespace, world.env.files.memory(2 ** 20), false);
  world.settle();
  t.equal(a.read(1).status, 0);
  t.same(a.events(), [Event.NamespaceAttributeChanged], 'whoever saw it not ready looks again');
  t.same(a.changes, [1]);
  t.throws(
    () => world.target.enableNamespace(world.namespace, world.env.files.memory(512), false),
    RangeError,
  );

  disabled(world, world.namespace);
  world.target.enableNamespace(world.namespace, world.env.files.memory(2 ** 19), false);
  world.settle();
  t.equal(ready(), 1);
  t.equal(Number(IdNamespace.nsze.decode(viewOf(a.identify(Cns.Namespace, 1).data), 0)), 1024);
  t.end();
});

t.test(
  'LIFE.7 a controller ends with its queues and requests; all else stays, and its host comes back',
  (t) => {
    const world = new TargetWorld();
    const port = world.target.ports.list[0]!;
    const a = world.host('A');
    const b = world.host('B');
    a.listen();
    world.target.ports.setAnaState(port, 1, AnaState.NonOptimized);
    world.subsystem.controllers.get(a.cntlid)!.remove('controller removed');
    world.settle();
    t.ok(a.gone);
    finish(world, a);
    t.equal(port.connections.size, 2);
    t.equal(port.ana.state(1), AnaState.NonOptimized);
    t.equal(b.read(1).status, 0);
    const again = world.host('A');
    t.not(again.cntlid, a.cntlid);
    t.same(again.active, [1]);
    world.settle();
    t.end();
  },
);

t.test('LIFE.7 an I/O queue whose connection goes alone takes nothing with it', (t) => {
  const world = new TargetWorld();
  const a = world.host('A');
  a.queue.transport.reset();
  world.settle();
  t.same(a.active, [1], 'the association goes on');
  const io = world.open();
  io.ioUp(NQN, a.cntlid, { who: whoIs('A') });
  t.equal(world.subsystem.controllers.get(a.cntlid)?.ioQueues.size, 1, 'and the queue may be made again');
  t.end();
});

t.test('LIFE.8 a thousand replugs beside I/O: no error on the survivor, identities constant', (t) => {
  const world = new TargetWorld();
  const survivor = world.host('A');
  const identity = (host: NvmHost): string => {
    const controller = viewOf(host.identify(Cns.Controller).data);
    const ids = decodeNamespaceIds(host.identify(Cns.NamespaceDescriptors, 1).data);
    const names = [IdController.sn, IdController.mn, IdController.subnqn].map((f) => f.decode(controller, 0));
    return JSON.stringify([names, ids]);
  };
  const before = identity(survivor);
  for (let i = 0; i < 1000; i++) {
    const host = world.host('B');
    if (survivor.write(1, i % 2048, i & 255) !== 0) t.fail('a write failed');
    if (i % 100 === 0) t.equal(identity(host), before);
    host.leave();
    if (survivor.read(1, i % 2048).data[0] !== (i & 255)) t.fail('a read failed');
    survivor.queue.received.length = 0;
  }
  t.equal(world.subsystem.controllers.size, 1);
  t.equal(identity(survivor), before);
  world.settle();
  t.end();
});

t.test('LIFE.9 deleting a subsystem is refused with controllers, unless forced; calls join', (t) => {
  const world = new TargetWorld();
  const { target, subsystem } = world;
  const a = world.host('A');
  const told: string[] = [];
  const remove = (name: string, force: boolean): string | undefined =>
    target.removeSubsystem(subsystem, force, () => void told.push(name));
  t.match(remove('refused', false), /1 controllers/);
  t.equal(subsystem.controllers.size, 1);
  t.equal(remove('one', true), undefined);
  t.equal(remove('two', false), undefined, 'joins the first');
  const late = world.open();
  late.initialize();
  world.settle();
  t.same(told, ['one', 'two']);
  t.ok(a.gone);
  t.equal(target.find(NQN), undefined);
  t.equal(late.response(late.connect(NQN)).status, Status.ConnectInvalidParameters | DNR);
  remove('three', true);
  t.same(told, ['one', 'two', 'three'], 'it is gone already');
  t.end();
});

t.test('LIFE.9 the name of a deleted subsystem is free at once, however long its storage takes', (t) => {
  const file = new FaultyFile(2 ** 20);
  const world = new TargetWorld({}, { file: () => file });
  const { target, subsystem } = world;
  const [port] = target.ports.list;
  port!.subsystems = new Set([subsystem]);
  const a = world.host('A');
  let gone = 0;
  t.equal(
    target.removeSubsystem(subsystem, true, () => gone++),
    undefined,
  );
  t.equal(target.find(NQN), undefined);
  const next = target.addSubsystem({ nqn: NQN, serial: 'x', model: 'y' });
  target.ports.addListener(next, port!);
  t.equal(
    target.removeSubsystem(subsystem, false, () => gone++),
    undefined,
    'still joins',
  );
  world.settle();
  t.ok(a.gone);
  t.equal(gone, 0, 'its last flush has not ended');
  a.leave();
  let stopped = false;
  target.stop(() => (stopped = true));
  world.settle();
  t.notOk(stopped, 'a target that stops waits for that file, too');
  while (file.pending.length > 0) {
    file.step();
    world.settle();
  }
  t.equal(gone, 2);
  t.ok(stopped);
  t.equal(target.find(NQN), next, 'what has the name now stays');
  t.ok(port!.offers(next));
  t.end();
});

t.test('LIFE.10 the lowest free NSID; duplicates of any identity are refused', (t) => {
  const world = new TargetWorld({ namespaces: 8 });
  world.add(2);
  world.add(4, { nguid: new Uint8Array(16).fill(4), eui64: new Uint8Array(8).fill(4) });
  t.equal(world.subsystem.freeNsid(), 3);
  const other = world.target.addSubsystem({ nqn: 'nqn.2024-01.test:two', serial: 'x', model: 'y' });
  const uuid = world.namespace.uuid;
  for (const [what, options] of [
    ['exists', { nsid: 2 }],
    ['from 1 to 8', { nsid: 9 }],
    ['from 1 to 8', { nsid: 0 }],
    ['UUID', { nsid: 5, uuid }],
    ['NGUID', { nsid: 5, nguid: new Uint8Array(16).fill(4) }],
    ['EUI-64', { nsid: 5, eui64: new Uint8Array(8).fill(4) }],
    ['ANA group 0', { nsid: 5, anagrpid: 0 }],
    ['ANA group 129', { nsid: 5, anagrpid: 129 }],
  ] as const)
    t.throws(() => world.add(options.nsid, options), new RegExp(what), what);
  t.throws(() => world.add(1, { uuid }, other), /UUID/, 'also in another subsystem');
  const ids = decodeNamespaceIds(world.host('A').identify(Cns.NamespaceDescriptors, 4).data);
  t.same(ids.eui64, new Uint8Array(8).fill(4));
  t.same(ids.nguid, new Uint8Array(16).fill(4));
  t.end();
});

t.test('LIFE.11 CMIC is fixed; all controllers tell the same SN, MN and SUBNQN', (t) => {
  const world = new TargetWorld();
  const a = viewOf(world.host('A').identify(Cns.Controller).data);
  world.listen('127.0.0.1', 4421);
  world.target.ports.setAnaState(world.target.ports.list[0]!, 1, AnaState.Inaccessible);
  const address = { host: '127.0.0.1', port: 4421 };
  const b = viewOf(world.host('B', { address }).identify(Cns.Controller).data);
  for (const field of [IdController.sn, IdController.mn, IdController.subnqn])
    t.equal(field.decode(a, 0), field.decode(b, 0));
  t.equal(a.getUint8(IdController.cmic.offset), 0b1011);
  t.equal(b.getUint8(IdController.cmic.offset), 0b1011);
  t.end();
});

t.test('LIFE.12 introspection works both ways', (t) => {
  const world = new TargetWorld();
  const a = world.host('A');
  world.target.ports.setAnaState(world.target.ports.list[0]!, 1, AnaState.Inaccessible);
  const info = describeTarget(world.target);
  t.match(JSON.parse(JSON.stringify(info)), {
    subsystems: [
      {
        nqn: NQN,
        ports: [1],
        namespaces: [
          {
            nsid: 1,
            state: 'enabled',
            attachments: [{ cntlid: a.cntlid, ana: 'inaccessible', refused: /302h/ }],
          },
        ],
        controllers: [
          {
            cntlid: a.cntlid,
            host: whoIs('A').hostnqn,
            state: 'ready',
            namespaces: [1],
            queues: [
              { qid: 0, connection: { state: 'ready' } },
              { qid: 1, entries: 128, connection: { state: 'ready' } },
            ],
          },
        ],
      },
    ],
    ports: [{ id: 1, ana: [{ anagrpid: 1, state: 'inaccessible' }], connections: 2 }],
  });
  t.end();
});

t.test('LIFE.13 removing a port or a listener ends only the controllers that came through it', (t) => {
  const world = new TargetWorld();
  const { target, subsystem } = world;
  const second = world.listen('127.0.0.1', 4421);
  const third = world.listen('127.0.0.1', 4422, { subsystems: [] });
  const address = { host: '127.0.0.1', port: 4421 };
  const a = world.host('A');
  const b = world.host('B', { address });
  const lost = new Promise<void>((resolve) => target.ports.remove(second, resolve));
  world.settle();
  t.ok(b.gone);
  t.notOk(a.gone);
  t.equal(a.read(1).status, 0);
  t.equal(world.namespace.state.now, 'enabled');
  t.throws(() => WireHost.open(world.env, 4421), /refused/);
  t.equal([...target.ports.connections()].length, 4, 'those that end are not forgotten');
  finish(world, b);
  t.equal([...target.ports.connections()].length, 2);

  const on = (port: number): WireHost => {
    const host = WireHost.open(world.env, port);
    host.initialize();
    return host;
  };
  const connect = (host: WireHost): { status: number; dw0: number } => host.response(host.connect(NQN));
  t.match(connect(on(4422)), {
    status: Status.ConnectInvalidParameters | DNR,
    dw0: 0x10000 | ConnectData.subnqn.offset,
  });
  target.ports.addListener(subsystem, third);
  t.equal(connect(on(4422)).status, 0);
  const c = world.host('C', { address: { host: '127.0.0.1', port: 4422 } });
  const io = on(world.port);
  const cross = io.connect(NQN, { sqe: { qid: 2 }, data: { cntlid: c.cntlid, ...whoIs('C') } });
  t.equal(io.response(cross).status, Status.ConnectInvalidParameters | DNR, 'an association has one port');
  target.ports.removeListener(subsystem, third);
  world.settle();
  t.ok(c.gone);
  t.notOk(a.gone);
  target.ports.removeListener(subsystem, target.ports.list[0]!);
  world.settle();
  t.ok(a.gone);
  t.equal(subsystem.controllers.size, 0);
  return lost;
});

t.test('LIFE.14 a subsystem that is not shared takes one controller at a time', (t) => {
  const world = new TargetWorld();
  const nqn = 'nqn.2024-01.test:single';
  const single = world.target.addSubsystem({ nqn, serial: 'x', model: 'y', shared: false });
  world.add(1, { uuid: '6b2f8f6c-6e0b-4cc1-8f8e-000000000077' }, single);
  const a = world.host('A', { nqn });
  t.equal(IdController.cmic.multipleControllers.get(viewOf(a.identify(Cns.Controller).data), 0), 0);
  const second = world.open();
  second.initialize();
  t.equal(second.response(second.connect(nqn)).status, Status.ConnectControllerBusy);
  a.leave();
  t.equal(world.host('B', { nqn }).read(1).status, 0);
  t.end();
});

t.test('CNTLIDs come from the range of the subsystem', (t) => {
  const world = new TargetWorld();
  const nqn = 'nqn.2024-01.test:range';
  const options = { nqn, serial: 'x', model: 'y' };
  for (const [first, last] of [
    [0, 5],
    [5, 4],
    [1, 0xfff0],
  ] as const)
    t.throws(() => world.target.addSubsystem({ ...options, cntlids: { first, last } }), RangeError);
  world.target.addSubsystem({ ...options, cntlids: { first: 100, last: 101 } });
  const hosts = [1, 2].map(() => world.host('A', { nqn, adminOnly: true }));
  t.same(
    hosts.map(({ cntlid }) => cntlid),
    [100, 101],
  );
  const third = world.open();
  third.initialize();
  t.equal(third.response(third.connect(nqn)).status, Status.ConnectControllerBusy);
  hosts[0]!.leave();
  t.equal(world.host('A', { nqn, adminOnly: true }).cntlid, 100);
  t.end();
});

t.test('the number of I/O queues changes live: hosts come back with what is allowed now', (t) => {
  const world = new TargetWorld();
  const { subsystem } = world;
  const other = world.target.addSubsystem({ nqn: 'nqn.x:two', serial: 'x', model: 'y', ioQueues: 3 });
  const a = world.host('A');
  const b = world.host('B', { nqn: other.nqn });
  const queues = (host: NvmHost): number =>
    world.target.find(host === b ? other.nqn : NQN)!.controllers.get(host.cntlid)!.features.ioQueues;
  t.same([queues(a), queues(b)], [64, 3]);
  subsystem.setIoQueues(64);
  t.notOk(a.gone, 'the same number is no change');
  subsystem.setIoQueues(1);
  world.settle();
  t.same([a.gone, b.gone], [true, false]);
  const again = world.host('A');
  t.equal(queues(again), 1);
  const second = world.open();
  second.initialize();
  const refused = second.response(
    second.connect(NQN, { sqe: { qid: 2 }, data: { cntlid: again.cntlid, ...whoIs('A') } }),
  );
  t.equal(refused.status, Status.ConnectInvalidParameters | DNR);
  subsystem.setIoQueues(undefined);
  world.settle();
  t.equal(queues(world.host('A')), 64);
  t.end();
});

t.test(
  'LIFE.10 the IEEE OUI is the subsystem’s, the least significant byte first; without one it is 0',
  (t) => {
    const world = new TargetWorld();
    const nqn = 'nqn.2024-01.test:oui';
    world.target.addSubsystem({ nqn, serial: 's', model: 'm', ieeeOui: 0x00a098 });
    const told = (host: NvmHost): Uint8Array =>
      host.identify(Cns.Controller).data.subarray(IdController.ieee.offset, IdController.ieee.offset + 3);
    t.same([...told(world.host('A', { nqn, adminOnly: true }))], [0x98, 0xa0, 0x00]);
    t.same([...told(world.host('A'))], [0, 0, 0]);
    t.end();
  },
);

t.test('firmware, in-capsule data and queue entries are what subsystem and port say', (t) => {
  const world = new TargetWorld();
  const port = world.listen('127.0.0.1', 4499, { ioCapsuleData: 4096, queueEntries: 32 });
  world.subsystem.setFirmware('v7');
  const told = (host: NvmHost) => {
    const view = viewOf(host.identify(Cns.Controller).data);
    const { fr, ioccsz, maxcmd } = IdController;
    return [fr.decode(view, 0), ioccsz.get(view, 0), maxcmd.get(view, 0)];
  };
  t.same(told(world.host('A')), ['v7', (64 + 16384) / 16, 1024]);
  const b = world.host('B', { address: port.address, adminOnly: true });
  t.same(told(b), ['v7', (64 + 4096) / 16, 32]);
  const io = WireHost.open(world.env, 4499);
  io.initialize();
  const refused = io.response(
    io.connect(NQN, { sqe: { qid: 1, sqsize: 32 }, data: { cntlid: b.cntlid, ...whoIs('B') } }),
  );
  t.equal(refused.status, Status.ConnectInvalidParameters | DNR);
  world.subsystem.setFirmware(undefined);
  t.same(told(b)[0], '0.1.0');
  t.end();
});

t.test('a host that is taken from the list is disconnected, no other', (t) => {
  const world = new TargetWorld();
  const a = world.host('A');
  const b = world.host('B');
  world.subsystem.setHosts([whoIs('B').hostnqn]);
  world.settle();
  t.ok(a.gone);
  t.notOk(b.gone);
  t.equal(b.read(1).status, 0);
  t.throws(() => world.host('A'), /4184/);
  world.subsystem.setHosts(undefined);
  t.equal(world.host('A').read(1).status, 0);
  t.end();
});

t.test('GHOST.1 the I/O of a removed port’s controllers keeps its blocks until it is finished', (t) => {
  const file = new FaultyFile(2 ** 20);
  file.resident = true;
  const world = new TargetWorld({}, { file: () => file });
  world.listen('127.0.0.1', 4421);
  const a = world.host('A');
  const b = world.host('B', { address: { host: '127.0.0.1', port: 4421 } });
  a.send(IoOpcode.Write, 1, 0, new Uint8Array(512).fill(1));
  const newer = b.send(IoOpcode.Write, 1, 0, new Uint8Array(512).fill(2));
  world.target.ports.remove(world.target.ports.list[0]!, () => undefined);
  world.settle();
  t.notOk(a.gone, 'its association is not over: something of it executes');
  t.notOk(b.queue.completion(newer));
  file.run();
  world.settle();
  t.ok(a.gone);
  file.run();
  world.settle();
  t.equal(b.queue.response(newer).status, 0);
  t.equal(b.read(1).data[0], 2);
  t.end();
});
