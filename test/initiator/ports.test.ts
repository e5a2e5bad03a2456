import t, { type Test } from 'tap';
import { describePorts, describeTimers } from '../../src/initiator/describe.ts';
import type { Controller } from '../../src/initiator/controller.ts';
import type { ControllerOptions } from '../../src/initiator/controller-options.ts';
import { isHere, sourceAddress } from '../../src/initiator/interfaces.ts';
import type { RemotePort } from '../../src/initiator/port.ts';
import type { Net } from '../../src/runtime/ports.ts';
import { HostWorld } from '../doubles/host-world.ts';

const recovery = { reconnectDelay: 10_000, ctrlLossTmo: 600_000 };
const ADDRESS = { host: '127.0.0.1', port: 4420 };

function up(options: Partial<ControllerOptions> = {}) {
  const world = new HostWorld();
  const { controller, head } = world.up({ recovery, ...options });
  return { world, controller, head, remote: controller.association!.remote };
}

function stop(t: Test, world: HostWorld): void {
  let stopped = false;
  world.registry.stop(() => (stopped = true));
  world.advance(1000);
  t.ok(stopped);
  for (const remote of world.registry.ports.remotes)
    world.registry.ports.removeRemote(remote, () => undefined);
  for (const local of [...world.registry.ports.locals.values()])
    world.registry.ports.removeLocal(local, () => undefined);
  t.strictSame(world.leftovers(), []);
}

/** Unregisters; gives whether it is over. */
function remove(world: HostWorld, remote: RemotePort): { done: number } {
  const told = { done: 0 };
  world.registry.ports.removeRemote(remote, () => told.done++);
  return told;
}

/** Passes calls on, and counts them. */
function counting(net: Net): { net: Net; calls: () => number } {
  let calls = 0;
  return {
    calls: () => calls,
    net: {
      listen: (...rest) => net.listen(...rest),
      connect: (options, done) => {
        calls++;
        return net.connect(options, (error, transport) => {
          if (transport !== undefined)
            for (const name of ['write', 'pause', 'resume', 'end', 'close', 'reset'] as const) {
              const call = (transport[name] as (...rest: unknown[]) => void).bind(transport);
              Object.assign(transport, {
                [name]: (...rest: unknown[]) => {
                  calls++;
                  call(...rest);
                },
              });
            }
          done(error, transport);
        });
      },
    },
  };
}

t.test(
  'PORT.1 associations are counted, once each; the first and the last of a port drive the local port',
  (t) => {
    const world = new HostWorld();
    const { controller: a } = world.up({ recovery });
    world.fake.cntlid = 2;
    const { controller: b } = world.up({ recovery });
    const { remote } = a.association!;
    t.equal(b.association?.remote, remote);
    const counts = (): number[] => [remote.activeControllers, remote.local.activeRemotePorts];
    t.strictSame(counts(), [2, 1]);
    a.disconnect('disconnected', () => undefined);
    t.strictSame(counts(), [2, 1], 'until its last connection is dead');
    world.settle();
    t.strictSame(counts(), [1, 1]);
    t.match(describePorts(world.registry), [
      {
        traddr: '127.0.0.1',
        trsvcid: '4420',
        activeControllers: 1,
        activeRemotePorts: 1,
        controllers: ['nvme1'],
      },
    ]);
    b.recover({ code: 'EIO', message: 'test' });
    world.settle();
    t.strictSame(counts(), [0, 0]);
    world.advance(10_000);
    t.strictSame(counts(), [1, 1]);
    b.disconnect('disconnected', () => undefined);
    world.settle();
    t.strictSame(counts(), [0, 0]);
    t.strictSame(world.leftovers(), [], 'a port that nobody registered goes with its last controller');
    t.end();
  },
);

t.test(
  'PORT.2 a port is unregistered as soon as nothing is active, whatever is open, queued or timed',
  (t) => {
    const { world, controller, head, remote } = up();
    world.fake.script = ({ on }) => on.qid !== 0;
    const read = world.read(head, 0, 1);
    world.settle();
    const told = remove(world, remote);
    t.equal(told.done, 0);
    world.settle();
    t.equal(told.done, 1);
    t.equal(remote.state, 'gone');
    t.equal(controller.state.now, 'connecting');
    t.ok(describeTimers(controller).length > 0);
    t.ok(read.calls <= 1);
    let local = 0;
    world.registry.ports.removeLocal(remote.local, () => local++);
    t.equal(local, 1, 'its count is 0: at once');
    stop(t, world);
    t.end();
  },
);

t.test('PORT.3 after the teardown the controller calls the transport no more', (t) => {
  const world = new HostWorld();
  const counted = counting(world.env.net);
  world.registry.ports.addLocal('', counted.net);
  const { controller } = world.up({ recovery: { ...recovery, fastIoFailTmo: 30_000 }, kato: 5000 });
  t.ok(counted.calls() > 5);
  const told = remove(world, controller.association!.remote);
  world.settle();
  t.equal(told.done, 1);
  const before = counted.calls();
  world.advance(599_000);
  t.equal(counted.calls(), before);
  t.equal(controller.state.now, 'connecting');
  world.advance(1000);
  t.equal(controller.state.now, 'dead');
  t.equal(counted.calls(), before);
  stop(t, world);
  t.end();
});

t.test('PORT.4 a reconnect timer that fires without its port starts again; it is no attempt', (t) => {
  const { world, controller, remote } = up();
  remove(world, remote);
  world.advance(95_000);
  t.equal(controller.state.now, 'connecting');
  t.equal(controller.attempts, 0);
  t.ok(controller.state.has('reconnect'));
  t.equal(controller.reason?.code, 'ENETDOWN');
  stop(t, world);
  t.end();
});

t.test('PORT.4 a first connect through a port that is away fails at once', (t) => {
  const { world, controller, remote } = up();
  remove(world, remote);
  world.settle();
  const attempt = world.connect();
  t.equal(attempt.reason?.code, 'ENETDOWN');
  t.strictSame([...world.registry.controllers], [controller]);
  stop(t, world);
  t.end();
});

t.test('PORT.5 unregister while an association is made aborts the connect, then counts down', (t) => {
  for (const step of ['TCP', 'Connect', 'Identify 1', 'Set Features 7']) {
    const { world, controller, remote } = up();
    for (const each of world.fake.connections) each.transport.reset();
    world.settle();
    if (step === 'TCP') world.env.net.connect = () => ({ cancel: () => undefined });
    world.fake.script = ({ name }) => name === step;
    world.advance(10_000);
    t.equal(remote.activeControllers, 1, step);
    const told = remove(world, remote);
    world.settle();
    t.equal(told.done, 1, step);
    t.equal(remote.activeControllers, 0);
    t.equal(controller.state.now, 'connecting');
    t.ok(controller.suspended);
    stop(t, world);
  }
  t.end();
});

t.test('PORT.6 after unregister it is suspended: connecting, its heads and timers as they were', (t) => {
  const { world, controller, head, remote } = up({ recovery: { ...recovery, fastIoFailTmo: 30_000 } });
  remove(world, remote);
  world.settle();
  t.ok(controller.suspended);
  t.ok(controller.mayReturn);
  t.strictSame(controller.subsystem?.heads, [head]);
  t.equal(head.paths.length, 1);
  t.strictSame(
    describeTimers(controller).map(({ name }) => name),
    ['reconnect', 'fast_io_fail_tmo', 'ctrl_loss_tmo'],
  );
  world.advance(30_000);
  t.ok(controller.failedFast);
  stop(t, world);
  t.end();
});

t.test('PORT.7 a port that returns is taken at once: same head, same name, as if a link had bounced', (t) => {
  const { world, controller, head, remote } = up();
  remove(world, remote);
  world.advance(3000);
  const again = world.registry.ports.addRemote('', ADDRESS);
  world.settle();
  t.equal(controller.state.now, 'live', 'without waiting for reconnect_delay');
  t.equal(controller.association?.remote, again);
  t.not(again.id, remote.id, 'NUM.11');
  t.equal(controller.name, 'nvme0');
  t.strictSame(controller.subsystem?.heads, [head]);
  world.fake.connections.splice(0, 2);
  const read = world.read(head, 0, 1);
  world.settle();
  t.equal(read.status, 0);
  stop(t, world);
  t.end();
});

t.test('PORT.7 a local port that returns brings its suspended controllers back, and no others', (t) => {
  const { world, controller, remote } = up({ localHost: '10.0.0.1' });
  world.fake.cntlid = 2;
  const { controller: other } = world.up({ recovery });
  const ended = other.association;
  let gone = 0;
  world.registry.ports.removeLocal(remote.local, () => gone++);
  world.settle();
  t.equal(gone, 1);
  t.ok(controller.suspended);
  t.equal(other.association, ended, 'another local port is untouched');
  world.fake.cntlid = 3;
  world.registry.ports.addLocal('10.0.0.1');
  world.settle();
  t.equal(controller.state.now, 'live');
  stop(t, world);
  t.end();
});

t.test(
  'PORT.8 the transport is unloaded and replaced while volumes are open; then everything goes in order',
  (t) => {
    const { world, controller, head, remote } = up();
    const { ports } = world.registry;
    ports.removeLocal(remote.local, () => undefined);
    world.settle();
    const counted = counting(world.env.net);
    ports.addLocal('', counted.net);
    world.settle();
    t.equal(controller.state.now, 'live');
    t.ok(counted.calls() > 0, 'the new sockets');
    t.strictSame(controller.subsystem?.heads, [head]);
    const { local } = controller.association!.remote;
    ports.removeLocal(local, () => undefined);
    world.settle();
    const { subsystem } = controller;
    world.advance(600_000);
    t.equal(controller.state.now, 'dead');
    t.ok(subsystem?.gone);
    t.strictSame(world.registry.taken, []);
    t.strictSame(world.leftovers(), []);
    t.end();
  },
);

t.test(
  'PORT.9 dev_loss_tmo runs from when the port goes, ctrl_loss_tmo from the loss; the earlier one counts',
  (t) => {
    for (const [devLossTmo, ctrlLossTmo, portAfter, dead] of [
      [30_000, 600_000, 0, 30_000],
      [30_000, Infinity, 5_000, 35_000],
      [30_000, 20_000, 5_000, 20_000],
      [Infinity, 20_000, 5_000, 20_000],
    ] as const) {
      const { world, controller, remote } = up({
        recovery: { reconnectDelay: 3000, ctrlLossTmo, devLossTmo },
      });
      world.env.net.connect = (_, done) => {
        world.env.clock.defer(() => done({ code: 'ECONNREFUSED', message: 'refused' }));
        return { cancel: () => undefined };
      };
      for (const each of world.fake.connections) each.transport.reset();
      world.settle();
      world.advance(portAfter);
      world.registry.ports.removeRemote(remote, () => undefined);
      world.advance(dead - portAfter - 1);
      t.equal(controller.state.now, 'connecting');
      world.advance(1);
      t.equal(controller.state.now, 'dead', `${devLossTmo} ${ctrlLossTmo}`);
      t.strictSame(world.leftovers(), []);
    }
    t.end();
  },
);

t.test('PORT.9 a port that returns stops dev_loss_tmo', (t) => {
  const { world, controller, remote } = up({ recovery: { ...recovery, devLossTmo: 20_000 } });
  remove(world, remote);
  world.advance(19_999);
  world.registry.ports.addRemote('', ADDRESS);
  world.advance(100_000);
  t.equal(controller.state.now, 'live');
  stop(t, world);
  t.end();
});

t.test('PORT.10 two unregisters end together; a register meanwhile is another generation', (t) => {
  const { world, controller, remote } = up();
  const { ports } = world.registry;
  const first = remove(world, remote);
  const second = remove(world, remote);
  t.equal(remote.state, 'unregistering');
  t.equal(remote.activeControllers, 1);
  const again = ports.addRemote('', ADDRESS);
  t.not(again, remote);
  t.strictSame([first.done, second.done], [0, 0], 'the old one still counts down');
  world.settle();
  t.strictSame([first.done, second.done], [1, 1]);
  t.equal(controller.state.now, 'live');
  t.equal(controller.association?.remote, again);
  t.equal(remove(world, remote).done, 1, 'a third one, of what is gone, at once');
  t.equal(controller.state.now, 'live', 'NUM.11 and it does not touch the new one');
  controller.reset('test');
  world.settle();
  t.equal(controller.state.now, 'live', 'the next association finds the new one, too');
  const third = ports.addRemote('', ADDRESS);
  t.equal(third, again, 'registering what is there changes nothing');
  const local = remote.local;
  let gone = 0;
  ports.removeLocal(local, () => gone++);
  ports.removeLocal(local, () => gone++);
  t.equal(remove(world, remote).done, 1, 'nor is what comes back with its local port kept away by it');
  ports.addLocal('');
  world.settle();
  t.equal(gone, 2);
  t.equal(controller.state.now, 'live');
  t.not(controller.association?.remote.local, local);
  ports.removeLocal(local, () => gone++);
  controller.reset('test');
  world.settle();
  t.strictSame([gone, controller.state.now], [3, 'live'], 'one that is gone takes nothing along');
  stop(t, world);
  t.end();
});

t.test('PORT.10 unregister in the middle of a disconnect makes an end of politeness', (t) => {
  const { world, controller, remote } = up();
  world.fake.script = () => true;
  let gone = 0;
  controller.disconnect('disconnected', () => gone++);
  world.settle();
  t.equal(gone, 0, 'the shutdown is not answered');
  const told = remove(world, remote);
  world.settle();
  t.strictSame([gone, told.done], [1, 1]);
  stop(t, world);
  t.end();
});

t.test('PORT.11 stopping never hangs on an open volume, whatever state its controller is in', (t) => {
  for (const suspended of [true, false]) {
    const { world, head, remote } = up();
    world.fake.script = ({ on }) => on.qid !== 0;
    const read = world.read(head, 0, 1);
    world.settle();
    if (suspended) remove(world, remote);
    stop(t, world);
    t.equal(read.calls, 1);
  }
  t.end();
});

t.test('ports come and go at random: counts never go wrong, everything returns, nothing is left', (t) => {
  for (let seed = 1; seed <= 30; seed++) {
    const world = new HostWorld();
    const random = (below: number): number => world.env.random.bytes(1)[0]! % below;
    world.env.random.bytes(seed);
    const { ports } = world.registry;
    const controllers: Controller[] = [];
    for (let i = 0; i < 3; i++) {
      world.fake.cntlid = i + 1;
      controllers.push(world.up({ recovery: { ...recovery, ctrlLossTmo: Infinity } }).controller);
    }
    let cntlid = 10;
    world.fake.script = ({ name, on }) => {
      if (name === 'Connect' && on.controller.connections.indexOf(on) >= 0 && on.entries === 1)
        world.fake.cntlid = on.qid === 0 ? ++cntlid : world.fake.cntlid;
      return false;
    };
    for (let i = 0; i < 40; i++) {
      switch (random(5)) {
        case 0:
          for (const remote of ports.remotes) ports.removeRemote(remote, () => undefined);
          break;
        case 1:
          for (const local of [...ports.locals.values()]) ports.removeLocal(local, () => undefined);
          break;
        case 2:
          ports.addRemote('', ADDRESS);
          break;
        case 3:
          controllers[random(3)]!.reset('test');
          break;
        default:
          for (let steps = random(30); steps > 0; steps--) world.env.clock.step();
      }
      world.registry.invariants();
      if (random(3) === 0) world.advance(random(100) * 100);
    }
    ports.addLocal('');
    ports.addRemote('', ADDRESS);
    world.advance(60_000);
    t.ok(
      controllers.every(({ state }) => state.is('live')),
      `seed ${seed}: ${controllers.map(({ state }) => state.now).join()}`,
    );
    t.equal(
      ports.remotes.reduce((sum, { activeControllers }) => sum + activeControllers, 0),
      3,
    );
    world.registry.stop(() => undefined);
    world.advance(1000);
    for (const remote of ports.remotes) ports.removeRemote(remote, () => undefined);
    for (const local of [...ports.locals.values()]) ports.removeLocal(local, () => undefined);
    t.strictSame(world.leftovers(), []);
  }
  t.end();
});

// ---- interfaces

const ETH0 = { name: 'eth0', address: '10.0.0.1' };
const LO = { name: 'lo', address: '127.0.0.1' };

t.test(
  'PORT.6 PORT.7 a local port goes with its address, and its controllers connect at once when that is back',
  (t) => {
    for (const options of [
      { localHost: '10.0.0.1' },
      { localHost: undefined, localInterface: 'eth0' },
      { localHost: '10.0.0.1', localInterface: 'eth0' },
    ]) {
      const world = new HostWorld();
      const { interfaces, net } = world.env;
      const from: (string | undefined)[] = [];
      const connect = net.connect.bind(net);
      net.connect = (to, done) => {
        from.push(to.localHost);
        return connect(to, done);
      };
      interfaces.set([LO, ETH0]);
      const { controller, head } = world.up({
        ...options,
        recovery: { reconnectDelay: 60_000, devLossTmo: 90_000 },
      });
      t.strictSame([...new Set(from)], ['10.0.0.1'], 'it comes from there');
      t.equal(interfaces.watchers, 1);
      const read = world.read(head, 0, 1);
      interfaces.set([LO]);
      world.settle();
      t.ok(controller.suspended);
      t.match(controller.reason?.message, /local port|went with its address or interface/);
      t.strictSame(world.registry.ports.remotes, []);
      t.strictSame(world.registry.ports.away, [], 'nobody has removed it');
      t.equal(head.gone, false);
      world.advance(61_000);
      t.match(controller.reason, {
        code: 'ENETDOWN',
        message: /^no interface that is up has its local port, /,
      });
      const waits = world.read(head, 0, 1);
      interfaces.set([LO, { name: 'eth1', address: '10.0.0.7' }]);
      world.settle();
      t.ok(controller.suspended, 'another one is not it');
      interfaces.set([ETH0, LO]);
      world.settle();
      t.ok(controller.usable, 'at once, whatever the timer says');
      t.strictSame([read.status, waits.status], [0, 0]);
      t.ok(
        world.registry.journal.since(0).some(({ kind, what }) => kind === 'port added' && /again/.test(what)),
      );
      interfaces.set([LO]);
      world.advance(90_000);
      t.equal(controller.state.now, 'dead', 'PORT.9 dev_loss_tmo runs meanwhile');
      t.equal(interfaces.watchers, 0);
      t.strictSame(world.leftovers(), []);
    }
    t.end();
  },
);

t.test('PORT.4 a controller whose address is not there yet waits for it; a first connect says so', (t) => {
  const world = new HostWorld();
  world.env.interfaces.set([LO]);
  const first = world.connect({ localHost: '10.0.0.1' });
  t.match(first.reason, {
    code: 'ENETDOWN',
    message: 'no interface that is up has its local port, 10.0.0.1',
  });
  const waiting = world.connect({ localHost: '10.0.0.1', keepTrying: true, recovery: {} });
  t.ok(waiting.controller.suspended);
  world.env.interfaces.set([LO, ETH0]);
  world.settle();
  t.ok(waiting.controller.usable);
  waiting.controller.disconnect('disconnected', () => undefined);
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test(
  'PORT.10 a port that somebody removed does not come back with its address; one that was registered does',
  (t) => {
    const world = new HostWorld();
    const { ports } = world.registry;
    world.env.interfaces.set([LO, ETH0]);
    const { controller } = world.up({ localHost: '10.0.0.1', recovery: { reconnectDelay: 1000 } });
    ports.removeLocal(ports.locals.get('10.0.0.1')!, () => undefined);
    world.env.interfaces.set([LO]);
    world.env.interfaces.set([LO, ETH0]);
    world.advance(5000);
    t.ok(controller.suspended);
    t.strictSame(ports.away, [{ local: '10.0.0.1' }]);
    ports.addLocal('10.0.0.1');
    world.settle();
    t.ok(controller.usable);
    world.env.interfaces.set([LO]);
    world.settle();
    t.equal(ports.locals.has('10.0.0.1'), false);
    world.env.interfaces.set([LO, ETH0]);
    world.settle();
    t.equal(ports.locals.get('10.0.0.1')?.registered, true);
    t.ok(controller.usable);
    controller.disconnect('disconnected', () => undefined);
    world.settle();
    t.end();
  },
);

t.test('what an interface is, and which of its addresses is come from', (t) => {
  const all = [
    ETH0,
    { name: 'eth0', address: 'fe80::1' },
    { name: 'eth0', address: '2001:db8::1' },
    { name: 'eth1', address: '10.0.0.2' },
  ];
  const here: [string, boolean][] = [
    ['', true],
    ['10.0.0.1', true],
    ['10.0.0.3', false],
    ['127.0.0.9', true],
    ['a name', true],
    ['2001:DB8:0:0::1', true],
    ['2001:db8::2', false],
    ['%eth0', true],
    ['%eth2', false],
    ['10.0.0.1%eth0', true],
    ['10.0.0.1%eth1', false],
  ];
  for (const [name, expected] of here) t.equal(isHere(name, all), expected, name);
  t.equal(isHere('10.0.0.3', undefined), true, 'nobody can tell: the system will');
  const source: [string | undefined, string | undefined, string, string | undefined][] = [
    [undefined, undefined, '10.0.0.9', undefined],
    ['10.0.0.1', 'eth0', '10.0.0.9', '10.0.0.1'],
    [undefined, 'eth0', '10.0.0.9', '10.0.0.1'],
    [undefined, 'eth0', '2001:db8::9', '2001:db8::1'],
    [undefined, 'eth0', 'fe80::9', 'fe80::1'],
    [undefined, 'eth1', '2001:db8::9', undefined],
    [undefined, 'eth0', 'target.example', '10.0.0.1'],
  ];
  for (const [localHost, localInterface, to, expected] of source)
    t.equal(
      sourceAddress({ localHost, localInterface }, to, all),
      expected,
      `${localInterface ?? ''} to ${to}`,
    );
  t.end();
});
