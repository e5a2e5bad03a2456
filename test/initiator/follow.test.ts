import t, { type Test } from 'tap';
import { Event, eventDword } from '../../src/nvme/event.ts';
import { DISCOVERY_NQN } from '../../src/nvme/nqn.ts';
import { destinations, type Destination } from '../../src/initiator/destination.ts';
import { Follower, type FollowOptions } from '../../src/initiator/follow.ts';
import { DiscoveryEntry, Subtype } from '../../src/nvme/discovery.ts';
import type { ControllerOptions } from '../../src/initiator/controller-options.ts';
import { Registry } from '../../src/initiator/registry.ts';
import { memoryEnv } from '../../src/runtime/memory/env.ts';
import { FakeController, fakeDiscovery } from '../doubles/fake-controller.ts';
import { OPTIONS } from '../doubles/host-world.ts';

type Record = Parameters<typeof DiscoveryEntry.bytes>[0];
const nvm = (port: number, subnqn = `nqn.2024-01.test:${port}`): Record => ({
  trtype: 3,
  adrfam: 1,
  subtype: Subtype.Nvm,
  traddr: '127.0.0.1',
  trsvcid: String(port),
  subnqn,
});
const referral = (port: number): Record => ({ ...nvm(port, DISCOVERY_NQN), subtype: Subtype.Referral });

const recovery = { reconnectDelay: 1000, ctrlLossTmo: Infinity };

/** Services and subsystems by their port. */
class World {
  readonly env = memoryEnv(1);
  readonly registry: Registry;
  readonly fakes = new Map<number, FakeController>();
  readonly logs = new Map<number, Record[]>();
  genctr = 1;

  constructor(limits: ConstructorParameters<typeof Registry>[1] = {}) {
    this.registry = new Registry(this.env, limits);
  }

  fake(port: number): FakeController {
    const fake = new FakeController(this.env, port);
    fake.identify = { subnqn: `nqn.2024-01.test:${port}` };
    fake.namespaces = [];
    this.fakes.set(port, fake);
    return fake;
  }

  service(port: number, ...records: Record[]): FakeController {
    const fake = this.fake(port);
    this.logs.set(port, records);
    fakeDiscovery(
      fake,
      () => this.logs.get(port)!,
      () => this.genctr,
    );
    return fake;
  }

  /** The log changes, and the host is told. */
  change(port: number, ...records: Record[]): void {
    this.logs.set(port, records);
    this.genctr++;
    this.fakes.get(port)!.event(eventDword(Event.DiscoveryLogChange));
    this.advance(0);
  }

  options({ kind, address, subnqn }: Destination): ControllerOptions {
    const discovery = kind === 'service' ? { ioQueues: 0, kato: 30_000 } : {};
    return { ...OPTIONS, address, subnqn, recovery, keepTrying: true, ...discovery };
  }

  follow(port: number, options: Partial<FollowOptions> = {}): Follower {
    const address = { host: '127.0.0.1', port };
    const follower = new Follower(this.registry, {
      service: this.options({ kind: 'service', address, subnqn: DISCOVERY_NQN }),
      connect: (to) => this.options(to),
      disconnectAfter: Infinity,
      ...options,
    });
    follower.start();
    this.advance(0);
    return follower;
  }

  advance(ms: number): void {
    this.env.clock.advance(ms);
    this.registry.invariants();
  }

  /** Ports of the live controllers, services as negative numbers. */
  get live(): number[] {
    return [...this.registry.controllers]
      .filter(({ state }) => state.is('live'))
      .map(({ options, discovery }) => (discovery ? -options.address.port : options.address.port))
      .sort((a, b) => a - b);
  }

  end(t: Test, follower: Follower): void {
    let stopped = false;
    follower.stop(() => (stopped = true));
    this.advance(0);
    t.ok(stopped);
    this.registry.stop(() => undefined);
    this.advance(60_000);
    t.strictSame([...this.registry.controllers], []);
    t.strictSame(this.registry.taken, []);
    t.strictSame(this.env.clock.timers, []);
  }
}

t.test('what the log names is connected; what appears later as well, by an event', (t) => {
  const world = new World();
  world.fake(1);
  world.fake(2);
  world.service(8009, nvm(1));
  const follower = world.follow(8009);
  t.strictSame(world.live, [-8009, 1]);
  world.change(8009, nvm(1), nvm(2));
  t.strictSame(world.live, [-8009, 1, 2]);
  t.match(follower.describe(), {
    services: [{ name: 'nvme0', trsvcid: '8009', genctr: 2 }],
    followed: [
      { name: 'nvme1', why: 'a log names it' },
      { name: 'nvme2', why: 'a log names it' },
    ],
  });
  world.end(t, follower);
  t.end();
});

t.test('what disappears is kept', (t) => {
  const world = new World();
  world.fake(1);
  world.service(8009, nvm(1));
  const follower = world.follow(8009);
  world.change(8009);
  world.advance(1_000_000);
  t.strictSame(world.live, [-8009, 1]);
  t.equal(follower.describe().followed[0]?.why, 'no log names it, it is kept');
  world.end(t, follower);
  t.end();
});

t.test('what disappears is disconnected after a while, unless it returns', (t) => {
  const world = new World();
  world.fake(1);
  world.fake(2);
  world.service(8009, nvm(1), nvm(2));
  const follower = world.follow(8009, { disconnectAfter: 10_000 });
  world.change(8009);
  world.advance(5000);
  world.change(8009, nvm(2));
  world.advance(4999);
  t.strictSame(world.live, [-8009, 1, 2]);
  t.equal(follower.describe().followed[0]?.why, 'no log names it, it will be disconnected');
  world.advance(1);
  t.strictSame(world.live, [-8009, 2]);
  world.advance(100_000);
  t.strictSame(world.live, [-8009, 2]);
  t.equal(follower.describe().followed.length, 1);
  world.end(t, follower);
  t.end();
});

t.test('what somebody else connected is followed, and never disconnected', (t) => {
  const world = new World();
  world.fake(1);
  world.service(8009, nvm(1));
  world.registry.connect(
    {
      ...world.options({
        kind: 'subsystem',
        address: { host: '127.0.0.1', port: 1 },
        subnqn: nvm(1).subnqn!,
      }),
    },
    () => undefined,
  );
  world.advance(0);
  const follower = world.follow(8009, { disconnectAfter: 1000 });
  world.change(8009);
  world.advance(10_000);
  t.strictSame(world.live, [-8009, 1]);
  world.end(t, follower);
  t.end();
});

t.test('what somebody disconnected is left alone until it has been away from the log', (t) => {
  const world = new World();
  world.fake(1);
  world.service(8009, nvm(1));
  const follower = world.follow(8009);
  [...world.registry.controllers]
    .find(({ discovery }) => !discovery)!
    .disconnect('disconnected', () => undefined);
  world.advance(100_000);
  t.strictSame(world.live, [-8009]);
  t.equal(follower.describe().followed[0]?.why, 'somebody disconnected it');
  world.change(8009);
  world.change(8009, nvm(1));
  t.strictSame(world.live, [-8009, 1]);
  world.end(t, follower);
  t.end();
});

t.test('referrals are followed without loops, and left when nobody refers to them', (t) => {
  const world = new World();
  for (const port of [1, 2, 3]) world.fake(port);
  world.service(8001, nvm(1), referral(8002), referral(8001));
  world.service(8002, nvm(2), referral(8003), referral(8001));
  world.service(8003, nvm(3), referral(8002), referral(8003));
  const follower = world.follow(8001);
  t.strictSame(world.live, [-8003, -8002, -8001, 1, 2, 3]);
  world.change(8001, nvm(1));
  t.strictSame(world.live, [-8001, 1, 2, 3], '8002 and 8003 hold each other, and are left all the same');
  world.end(t, follower);
  t.end();
});

t.test('a chain of referrals, and a log of many records, end at a limit', (t) => {
  const world = new World({ discoveryServices: 3, followed: 4 });
  for (let port = 1; port <= 6; port++) world.fake(port);
  for (let port = 8001; port <= 8006; port++) world.service(port, referral(port + 1));
  world.logs.set(8002, [referral(8003), ...[1, 2, 3, 4, 5, 6].map((port) => nvm(port))]);
  const follower = world.follow(8001);
  t.strictSame(world.live, [-8003, -8002, -8001, 1, 2, 3, 4]);
  world.end(t, follower);
  t.end();
});

t.test('a service that is lost says nothing: what it named stays; back again, its log is read anew', (t) => {
  const world = new World();
  world.fake(1);
  world.fake(2);
  const fake = world.service(8009, nvm(1));
  const follower = world.follow(8009, { disconnectAfter: 1000 });
  world.logs.set(8009, [nvm(2)]);
  for (const each of fake.connections.splice(0)) each.transport.reset();
  fake.events.length = 0;
  world.advance(999);
  t.strictSame(world.live, [1]);
  world.advance(1);
  t.strictSame(world.live, [-8009, 1, 2]);
  world.advance(1000);
  t.strictSame(world.live, [-8009, 2]);
  world.end(t, follower);
  t.end();
});

t.test('a log that does not stand still is tried ten times, then again later', (t) => {
  const world = new World();
  world.fake(1);
  world.fake(2);
  const fake = world.service(8009, nvm(1));
  const follower = world.follow(8009);
  const still = world.genctr;
  fakeDiscovery(
    fake,
    () => [nvm(1), nvm(2)],
    () => world.genctr++,
  );
  fake.log.length = 0;
  fake.event(eventDword(Event.DiscoveryLogChange));
  world.advance(0);
  // 16 bytes to unmask the event; then ten times head, records, head.
  t.equal(fake.log.filter((line) => line === 'q0 Get Log Page 112').length, 1 + 10 * 3);
  t.strictSame(world.live, [-8009, 1]);
  fakeDiscovery(
    fake,
    () => [nvm(1), nvm(2)],
    () => still + 100,
  );
  world.advance(1000);
  t.strictSame(world.live, [-8009, 1, 2]);
  world.end(t, follower);
  t.end();
});

t.test('what cannot be connected is tried again; a refusal with DNR as well, later', (t) => {
  const world = new World();
  world.service(8009, nvm(1));
  const follower = world.follow(8009);
  t.strictSame(world.live, [-8009]);
  world.fake(1);
  world.advance(1000);
  t.strictSame(world.live, [-8009, 1], 'by the controller itself');
  world.end(t, follower);
  const other = new World();
  const refusing = other.fake(1);
  let refuse = true;
  refusing.script = ({ name, on, cid }) => refuse && name === 'Connect' && (on.respond(cid, 0x4182), true);
  other.service(8009, nvm(1));
  const second = other.follow(8009);
  other.advance(29_000);
  t.strictSame(other.live, [-8009]);
  t.equal(second.describe().followed[0]?.why, 'it cannot be connected, and is tried again');
  refuse = false;
  other.advance(2000);
  t.strictSame(other.live, [-8009, 1]);
  other.end(t, second);
  t.end();
});

t.test('a service that is not there is tried for ever', (t) => {
  const world = new World();
  const follower = world.follow(8009);
  world.advance(1_000_000);
  world.fake(1);
  world.service(8009, nvm(1));
  world.advance(1000);
  t.strictSame(world.live, [-8009, 1]);
  world.end(t, follower);
  t.end();
});

t.test('records that lead nowhere are counted, and left out: other transports, TLS, ports and names', (t) => {
  const bad: Record[] = [
    { ...nvm(1), trtype: 1 },
    { ...nvm(1), sectype: 2 },
    { ...nvm(1), treq: { secureChannel: 1 } },
    { ...nvm(1), sectype: 2, treq: { secureChannel: 1 } },
    { ...nvm(1), trsvcid: '0' },
    { ...nvm(1), trsvcid: '70000' },
    { ...nvm(1), trsvcid: 'x' },
    { ...nvm(1), traddr: '' },
    { ...nvm(1), subnqn: '' },
  ];
  // TLS is offered there, and not required.
  const open: Record = { ...nvm(4), sectype: 2, treq: { secureChannel: 2 } };
  const log = {
    genctr: 1,
    records: [...bad, nvm(2), nvm(2), open, { ...nvm(3), subtype: 3 }].map((each) =>
      DiscoveryEntry.bytes(each),
    ),
  };
  const { found, unusable } = destinations(log);
  t.equal(unusable, bad.length);
  t.strictSame(found, [
    { kind: 'subsystem', address: { host: '127.0.0.1', port: 2 }, subnqn: 'nqn.2024-01.test:2' },
    { kind: 'subsystem', address: { host: '127.0.0.1', port: 4 }, subnqn: 'nqn.2024-01.test:4' },
  ]);
  t.end();
});
