import t from 'tap';
import { describeNumbers } from '../../src/initiator/describe.ts';
import type { Controller } from '../../src/initiator/controller.ts';
import { Journal } from '../../src/initiator/journal.ts';
import { SeededRandom } from '../../src/runtime/memory/random.ts';
import { HostWorld } from '../doubles/host-world.ts';

const NQNS = ['nqn.2024-01.test:a', 'nqn.2024-01.test:b', 'nqn.2024-01.test:c'];
const recovery = { reconnectDelay: 1000, ctrlLossTmo: 5000 };

t.test(
  'NUM.2 NUM.3 NUM.4 the first controller gives its number to the subsystem, the second has its own',
  (t) => {
    const world = new HostWorld();
    const a = world.up({ recovery }).controller;
    t.strictSame(
      [a.name, a.subsystem?.name, a.subsystem?.heads[0]?.name],
      ['nvme0', 'nvme-subsys0', 'nvme0n1'],
    );
    world.fake.cntlid = 2;
    const b = world.up({ recovery }).controller;
    t.strictSame([b.name, b.subsystem?.name], ['nvme1', 'nvme-subsys0']);
    t.end();
  },
);

t.test(
  'NUM.5 a reconnect keeps the number; a disconnect and a new connect never gets the subsystem’s',
  (t) => {
    const world = new HostWorld();
    const a = world.up({ recovery }).controller;
    world.fake.cntlid = 2;
    world.up({ recovery });
    a.reset('test');
    world.fake.cntlid = 3;
    world.settle();
    t.equal(a.state.now, 'live');
    t.equal(a.name, 'nvme0', 'the same object goes on');
    a.disconnect('disconnected', () => undefined);
    world.settle();
    world.fake.cntlid = 4;
    t.equal(world.up({ recovery }).controller.name, 'nvme2');
    t.end();
  },
);

t.test(
  'NUM.6 no sequence of connects, losses, failures and disconnects gives a number of another subsystem',
  (t) => {
    for (let seed = 1; seed <= 100; seed++) {
      const world = new HostWorld();
      const random = new SeededRandom(seed);
      const below = (limit: number): number => random.bytes(1)[0]! % limit;
      let cntlid = 0;
      let broken = '';
      world.fake.script = ({ name, on }) => {
        if (name === 'Connect' && on.qid === 0) world.fake.cntlid = ++cntlid;
        if (broken !== '' && name === broken) on.transport.reset();
        return broken !== '' && name === broken;
      };
      const owners = new Map<number, string>();
      for (let step = 0; step < 60; step++) {
        const controllers = [...world.registry.controllers];
        const one: Controller | undefined = controllers[below(Math.max(1, controllers.length))];
        broken = ['', '', '', 'Connect', 'Identify 1', 'Set Features 7', 'Identify 2'][below(7)]!;
        switch (below(6)) {
          case 0:
          case 1: {
            const subnqn = NQNS[below(3)]!;
            world.connect({ subnqn, recovery, keepTrying: below(3) === 0 });
            break;
          }
          case 2:
            one?.disconnect('disconnected', () => undefined);
            break;
          case 3:
            one?.recover({ code: 'EIO', message: 'test' });
            break;
          case 4:
            one?.reset('test');
            break;
          default:
            world.advance(below(8) * 1000);
        }
        for (let steps = below(60); steps > 0; steps--) world.env.clock.step();
        // The registry's invariants hold NUM.6; a subsystem's number and a head's name never change (NUM.9).
        world.registry.invariants();
        for (const subsystem of world.registry.subsystems) {
          t.equal(owners.get(subsystem.id) ?? subsystem.name, subsystem.name);
          owners.set(subsystem.id, subsystem.name);
          for (const head of subsystem.heads)
            t.match(head.name, new RegExp(`^nvme${subsystem.instance}n\\d+$`));
        }
      }
      broken = '';
      world.registry.stop(() => undefined);
      world.advance(60_000);
      t.strictSame(world.leftovers(), [], `seed ${seed}`);
    }
    t.end();
  },
);

t.test(
  'NUM.7 a number is free when the last of its owners is gone: a handle that is open is one of them',
  (t) => {
    const world = new HostWorld();
    const { controller } = world.up({ recovery });
    const subsystem = controller.subsystem!;
    const release = subsystem.hold();
    const another = subsystem.hold();
    another();
    another();
    controller.disconnect('disconnected', () => undefined);
    world.settle();
    t.equal(controller.state.now, 'dead');
    t.strictSame(world.registry.taken, [0]);
    t.notOk(subsystem.gone);
    world.fake.cntlid = 2;
    const other = world.up({ recovery, subnqn: NQNS[0]! }).controller;
    t.equal(other.name, 'nvme1', 'nobody else becomes nvme0');
    release();
    t.ok(subsystem.gone);
    t.strictSame(world.registry.taken, [1]);
    t.end();
  },
);

t.test('NUM.8 10,000 connects that fail leave the pool empty', (t) => {
  const world = new HostWorld();
  const steps = ['Connect', 'Property Get CAP', 'Identify 1', 'Set Features 7', ''];
  let at = 0;
  world.fake.script = ({ name, on }) => {
    if (name !== steps[at % steps.length]) return false;
    on.transport.reset();
    return true;
  };
  const { net } = world.env;
  const connect = net.connect.bind(net);
  let numbers = 0;
  net.connect = (options, done) => {
    if (steps[at % steps.length] !== '') return connect(options, done);
    world.env.clock.defer(() => done({ code: 'ECONNREFUSED', message: 'refused' }));
    return { cancel: () => undefined };
  };
  for (; at < 10_000; at++) {
    const { controller, reason } = world.connect({ recovery });
    if (reason === undefined) t.fail('it failed');
    numbers = Math.max(numbers, controller.instance);
    world.fake.connections.length = 0;
  }
  t.equal(numbers, 0, 'each of them was nvme0');
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('NUM.11 every event and object has an id that is never used again', (t) => {
  const world = new HostWorld();
  const ids = new Set<number>();
  for (let i = 0; i < 3; i++) {
    const { controller } = world.up({ recovery });
    t.equal(controller.name, 'nvme0');
    t.notOk(ids.has(controller.id));
    ids.add(controller.id);
    controller.disconnect('disconnected', () => undefined);
    world.settle();
  }
  const entries = world.registry.journal.since(0);
  const added = entries
    .filter(({ kind }) => kind === 'controller added')
    .map(({ name, id }) => ({ name, id }));
  const removed = entries
    .filter(({ kind }) => kind === 'controller removed')
    .map(({ name, id }) => ({ name, id }));
  t.equal(added.length, 3);
  t.strictSame(removed, added, 'what is removed is told by its id');
  t.equal(new Set(added.map(({ id }) => id)).size, 3);
  t.strictSame(
    entries.map(({ sequence }) => sequence),
    entries.map((_, i) => i + 1),
  );
  t.strictSame(world.registry.journal.since(entries.length - 1), entries.slice(-1));
  t.end();
});

t.test('NUM.11 nothing is told of an object before it was added, or after it was removed', (t) => {
  const world = new HostWorld();
  const { controller } = world.up({ recovery });
  controller.disconnect('disconnected', () => undefined);
  world.settle();
  const there = new Map<number, string>();
  for (const { kind, id, name } of world.registry.journal.since(0)) {
    if (kind.endsWith('added')) there.set(id, name);
    t.equal(there.get(id), name, `${kind} ${name}`);
    if (kind.endsWith('removed')) there.delete(id);
  }
  t.equal(there.size, 0);
  t.end();
});

t.test('the list of what happened is bounded, and heard by those who want to', (t) => {
  const world = new HostWorld();
  const journal = new Journal(world.env.clock, 3);
  const heard: number[] = [];
  const end = journal.listen(({ sequence }) => heard.push(sequence));
  for (let i = 0; i < 5; i++) journal.record('head added', 'nvme0n1', i, '');
  end();
  journal.record('head removed', 'nvme0n1', 9, '');
  t.strictSame(heard, [1, 2, 3, 4, 5]);
  t.strictSame(
    journal.since(0).map(({ sequence }) => sequence),
    [4, 5, 6],
  );
  t.end();
});

t.test(
  'NUM.12 introspection says who owns each number, and why a controller has another than its subsystem',
  (t) => {
    const world = new HostWorld();
    const a = world.up({ recovery }).controller;
    world.fake.cntlid = 2;
    const b = world.up({ recovery }).controller;
    a.disconnect('disconnected', () => undefined);
    world.settle();
    const waiting = world.registry.connect(
      { ...b.options, subnqn: NQNS[1]!, address: { host: 'nowhere', port: 1 } },
      () => undefined,
    );
    t.match(describeNumbers(world.registry), [
      {
        number: 0,
        subsystem: { name: 'nvme-subsys0', id: b.subsystem!.id },
        controller: undefined,
        why: /nvme-subsys0 has it from its first controller, which is gone; it lives for 1 controllers, 1 heads/,
      },
      {
        number: 1,
        subsystem: undefined,
        controller: { name: 'nvme1', id: b.id },
        why: /nvme-subsys0 has the number 0 of its first controller; nvme1 came later/,
      },
      {
        number: 2,
        controller: { name: 'nvme2', id: waiting!.id },
        why: /not known to belong to a subsystem yet/,
      },
    ]);
    const alone = new HostWorld();
    alone.up();
    t.match(describeNumbers(alone.registry), [
      { number: 0, why: /nvme0 was the first controller of nvme-subsys0/ },
    ]);
    t.end();
  },
);
