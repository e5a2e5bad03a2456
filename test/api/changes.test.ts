/** `host.changes` and `host.follow`, in a world without time. */
import t, { type Test } from 'tap';
import {
  createHost,
  type ChangesOptions,
  type FollowOptions,
  type HostChange,
  type HostChanges,
  type HostOptions,
  type NvmeHost,
} from '../../src/api/index.ts';
import { Event, eventDword } from '../../src/nvme/event.ts';
import { DISCOVERY_NQN } from '../../src/nvme/nqn.ts';
import { DiscoveryEntry, Subtype } from '../../src/nvme/discovery.ts';
import { memoryEnv } from '../../src/runtime/memory/env.ts';
import { FakeController, SUBNQN, fakeDiscovery } from '../doubles/fake-controller.ts';
import { settled, until } from '../doubles/turns.ts';

type Record = Parameters<typeof DiscoveryEntry.bytes>[0];
const HOSTID = '11111111-2222-3333-4444-555555555555';
const IDENTITY = { hostnqn: `nqn.2014-08.org.nvmexpress:uuid:${HOSTID}`, hostid: HOSTID };
const AT = { traddr: '127.0.0.1', nr_io_queues: 1, keep_alive_tmo: 0 };

class World {
  readonly env = memoryEnv();
  readonly fake = new FakeController(this.env);
  readonly host: NvmeHost;

  constructor(limits: HostOptions['limits'] = {}) {
    this.host = createHost({ env: this.env, etc: '/nonexistent', ...IDENTITY, limits });
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return settled(this.env, promise);
  }

  until(reached: () => boolean): Promise<void> {
    return until(this.env, reached);
  }

  connect() {
    return this.run(this.host.connect({ ...AT, subnqn: SUBNQN }));
  }
}

/** All that is left, of changes that are over. */
async function rest(changes: HostChanges): Promise<HostChange[]> {
  const found: HostChange[] = [];
  for await (const change of changes) found.push(change);
  return found;
}

const kinds = (changes: readonly HostChange[]): string[] => changes.map(({ kind }) => kind);

async function rejects(t: Test, promise: Promise<unknown>, code: string): Promise<void> {
  await t.rejects(promise, { name: 'NvmeError', code });
}

t.test('NUM.11 changes come in order, typed, with ids and numbers that are never used again', async (t) => {
  const world = new World();
  const changes = world.host.changes();
  const first = changes.next();
  const disk = (await world.connect()).head(1);
  const before = (await first).value;
  t.match(before, { kind: 'controller added', sequence: 1, name: 'nvme0', what: SUBNQN });
  await world.run(world.host.close());
  const after = await rest(changes);
  t.strictSame(
    after.map((change) => (change.kind === 'dropped' ? 0 : change.sequence)),
    after.map((_, i) => i + 2),
  );
  for (const kind of ['subsystem added', 'head added', 'path added', 'path changed', 'controller removed'])
    t.ok(kinds(after).includes(kind), kind);
  t.match(
    after.find(({ kind }) => kind === 'head added'),
    { name: disk.name, id: disk.id },
  );
  t.equal(kinds(after).at(-1), 'subsystem removed', 'the host is closed: it is over, and nothing is missing');
  t.strictSame(await rest(world.host.changes()), [], 'nothing happens to a closed host');
});

/** What there is now. */
async function takeAll(changes: HostChanges): Promise<HostChange[]> {
  changes.end();
  return rest(changes);
}

t.test('the buffer is bounded, and says how much it dropped', async (t) => {
  const world = new World();
  const changes = world.host.changes({ buffer: 2 });
  await world.connect();
  const all = await takeAll(world.host.changes({ since: 0 }));
  const [dropped, ...kept] = await takeAll(changes);
  t.strictSame(dropped, { kind: 'dropped', count: all.length - 2 });
  t.strictSame(kept, all.slice(-2));
  await world.run(world.host.close());
});

t.test('since: goes on after a number; what is not kept any more is said to be dropped', async (t) => {
  const world = new World();
  await world.connect();
  const all = await takeAll(world.host.changes({ since: 0 }));
  t.strictSame(await takeAll(world.host.changes({ since: 3 })), all.slice(3));
  t.strictSame(await takeAll(world.host.changes({ since: all.length })), []);
  await world.run(world.host.close());

  const short = new World({ journal: 2 });
  await short.connect();
  const [dropped, ...kept] = await takeAll(short.host.changes({ since: 0 }));
  t.match(dropped, { kind: 'dropped', count: all.length - 2 });
  t.equal(kept.length, 2);
  await short.run(short.host.close());
});

t.test('it ends with the signal, with break, and with the host; nothing is left behind', async (t) => {
  const world = new World();
  const stop = new AbortController();
  const waiting = world.host.changes({ signal: stop.signal });
  const next = waiting.next();
  const idle = world.host.changes({ signal: stop.signal });
  stop.abort();
  await rejects(t, next, 'ABORT_ERR');
  t.match(await waiting.next(), { done: true });
  await rejects(t, idle.next(), 'ABORT_ERR');
  t.match(await idle.next(), { done: true });
  await rejects(t, world.host.changes({ signal: stop.signal }).next(), 'ABORT_ERR');

  const broken = world.host.changes({ since: 0 });
  await world.connect();
  for await (const { kind } of broken) {
    t.equal(kind, 'controller added');
    break;
  }
  t.match(await broken.next(), { done: true });

  const last = world.host.changes().next();
  await world.run(world.host.close());
  t.match(await last, { value: { kind: 'controller state' } });
});

t.test('wrong options are EINVAL', (t) => {
  const { host } = new World();
  const wrong: ChangesOptions[] = [{ buffer: 0 }, { buffer: 1.5 }, { since: -1 }];
  for (const options of wrong)
    t.throws(() => host.changes(options), { name: 'NvmeError', code: 'EINVAL' }, JSON.stringify(options));
  t.end();
});

// ---- following

const nvm = (port: number, subnqn = SUBNQN): Record => ({
  trtype: 3,
  adrfam: 1,
  subtype: Subtype.Nvm,
  traddr: '127.0.0.1',
  trsvcid: String(port),
  subnqn,
});

class Discovery extends World {
  records: Record[] = [nvm(4420)];
  genctr = 1;
  readonly service = new FakeController(this.env, 8009);

  constructor() {
    super();
    fakeDiscovery(
      this.service,
      () => this.records,
      () => this.genctr,
    );
  }

  change(...records: Record[]): void {
    this.records = records;
    this.genctr++;
    this.service.event(eventDword(Event.DiscoveryLogChange));
  }

  follow(options: Partial<FollowOptions> = {}) {
    return this.run(this.host.follow({ traddr: '127.0.0.1', connect: { keep_alive_tmo: 0 }, ...options }));
  }

  get connected(): string[] {
    return this.host.subsystems.map(({ nqn }) => nqn);
  }
}

t.test(
  'follow: what the log names is connected, and disconnected when it is away for that long',
  async (t) => {
    const world = new Discovery();
    const following = await world.follow({ disconnect_after: 10 });
    await world.until(() => world.connected.length === 1);
    t.strictSame(world.connected, [SUBNQN]);
    t.match(following.services, [{ trsvcid: '8009', subnqn: DISCOVERY_NQN, genctr: 1 }]);
    t.match(following.followed, [{ trsvcid: '4420', subnqn: SUBNQN, why: 'a log names it' }]);
    world.change();
    await world.until(() => following.followed[0]?.why === 'no log names it, it will be disconnected');
    world.env.clock.advance(10_000);
    await world.until(() => world.connected.length === 0);
    await world.run(following.stop());
    await world.run(following.stop());
    await world.run(world.host.close());
    t.strictSame(world.env.clock.timers, []);
  },
);

t.test('follow: only what is asked for, and nothing that a log must not name', async (t) => {
  const world = new Discovery();
  world.records = [nvm(4420), nvm(4420, 'nqn.2024-01.test:other'), nvm(8009, DISCOVERY_NQN)];
  const following = await world.follow({ only: [SUBNQN, DISCOVERY_NQN] });
  await world.until(() => world.connected.length === 1);
  t.strictSame(
    following.followed.map(({ subnqn }) => subnqn),
    [SUBNQN],
  );
  await world.run(world.host.close());
  t.strictSame(world.env.clock.timers, [], 'it is left when the host is closed');
});

t.test('follow: a signal ends it, and keeps what is connected', async (t) => {
  const world = new Discovery();
  const stop = new AbortController();
  const following = await world.follow({ signal: stop.signal });
  await world.until(() => world.connected.length === 1);
  stop.abort();
  await world.run(following.stop());
  t.strictSame(following.services, []);
  t.strictSame(world.connected, [SUBNQN]);
  await world.run(world.host.close());
  await rejects(t, world.follow(), 'ECANCELED');
});

t.test('follow: wrong options are EINVAL before anything is connected', async (t) => {
  const world = new Discovery();
  const wrong: Partial<FollowOptions>[] = [
    { keep_alive_tmo: 0 },
    { disconnect_after: -2 },
    { traddr: '' },
    { connect: { nr_io_queues: 0 } },
    { connect: { reconnect_delay: 0 } },
  ];
  for (const options of wrong) await rejects(t, world.follow(options), 'EINVAL');
  t.strictSame(world.env.clock.timers, []);
});
