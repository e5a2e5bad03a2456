// The host daemon: what it is told over its control socket, what it keeps, and that it always ends.
import * as fs from 'node:fs';
import { type Socket, connect as connectSocket, createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createTarget, type NvmeTarget } from '../../src/api/target.ts';
import { request } from '../../src/daemon/control-client.ts';
import { type HostdOptions, type RunningHostd, startHostd } from '../../src/daemon/hostd.ts';
import { withHead } from '../../src/daemon/head-client.ts';
import type { ConnectedShown } from '../../src/daemon/host-methods.ts';
import type { HostShown } from '../../src/daemon/host-show.ts';
import type { Why } from '../../src/initiator/why.ts';
import { must } from '../../src/runtime/assert.ts';
import { freePort } from '../doubles/ports.ts';

const NQN = 'nqn.2024-01.test:a';
const MiB = 1024 * 1024;
/** Of controllers that are to stay connected even when the machine stops for a while. */
const PATIENT = { keep_alive_tmo: 60 };

type Result = Readonly<Record<string, unknown>>;

/** A daemon with a folder of its own; its socket's path is short wherever the tests are. */
class World {
  readonly folder = fs.mkdtempSync(join(tmpdir(), 'hostd-'));
  log = '';
  running: RunningHostd | undefined;

  constructor(t: Test) {
    t.teardown(async () => {
      await this.stop();
      fs.rmSync(this.folder, { recursive: true, force: true });
    });
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async start(more: Partial<HostdOptions> = {}): Promise<void> {
    await this.stop();
    this.log = '';
    const options: HostdOptions = {
      folder: this.folder,
      nbd: this.path('nbd'),
      // Nothing of this machine.
      etc: this.path('etc'),
      logLevel: 'info',
      logFormat: 'text',
      command: 'nvmetcp',
      ...more,
    };
    this.running = await startHostd(options, (line) => (this.log += line));
  }

  async stop(): Promise<number | undefined> {
    const { running } = this;
    this.running = undefined;
    running?.stop('a test');
    return running?.finished;
  }

  async ask(method: string, params: object = {}, progress?: (value: unknown) => void): Promise<Result> {
    return (await request(this.path('host.sock'), method, params, progress, 'hostd')) as Result;
  }

  async connect(target: NvmeTarget, port = 0, more: object = {}): Promise<ConnectedShown> {
    const params = { ...PATIENT, ...to(target, port), ...more };
    return (await this.ask('connect', params)) as unknown as ConnectedShown;
  }

  async show(): Promise<HostShown> {
    return (await this.ask('show')) as unknown as HostShown;
  }

  async states(): Promise<string[]> {
    const { subsystems, connecting } = await this.show();
    const all = [...subsystems.flatMap(({ controllers }) => controllers), ...connecting];
    return all.map(({ name, state }) => `${name} ${state}`);
  }

  /** When it is so. */
  async until(found: () => boolean): Promise<void> {
    while (!found()) await setTimeout(5);
  }

  /** When every controller has lost its target, and waits for its next attempt or makes it. */
  lost(): Promise<void> {
    const { controllers } = must(this.running, 'it runs').keeper.registry;
    return this.until(() => [...controllers].every(({ state }) => state.is('connecting')));
  }

  /** Controllers that are live, and looked at. */
  usable(count: number): () => boolean {
    return () => {
      const { controllers } = must(this.running, 'it runs').keeper.registry;
      return [...controllers].filter(({ usable }) => usable).length === count;
    };
  }

  get document(): { connections: Result[]; following: Result[] } {
    return JSON.parse(fs.readFileSync(this.path('hostd.json'), 'utf8')) as {
      connections: Result[];
      following: Result[];
    };
  }
}

function to(target: NvmeTarget, port = 0): { traddr: string; trsvcid: string; subnqn: string } {
  const [traddr = '', trsvcid = ''] = must(target.addresses[port], 'it listens').split(':');
  return { traddr, trsvcid, subnqn: target.nqn };
}

async function target(t: Test, listen: string[] = ['127.0.0.1:0', '127.0.0.1:0']): Promise<NvmeTarget> {
  const made = await createTarget({ listen, nqn: NQN, serial: 'S', namespaces: [{ memory: MiB }] });
  t.teardown(() => made.close({ force: true }));
  return made;
}

t.test('connect twice is the same as once; what is connected is there again after a restart', async (t) => {
  const world = new World(t);
  const made = await target(t);
  await world.start();
  t.match(await world.connect(made, 0, { iopolicy: 'round-robin' }), {
    device: 'nvme0',
    subsystem: 'nvme-subsys0',
    state: 'live',
    already: false,
  });
  const queues = { nr_io_queues: 1, nr_write_queues: 2 };
  t.match(await world.connect(made, 1, { reconnect_delay: 1, ...queues }), {
    device: 'nvme1',
    already: false,
  });
  t.match(await world.connect(made, 1), { device: 'nvme1', already: true });
  t.match(await world.connect(made, 1, { duplicate_connect: true }), { device: 'nvme2', already: false });
  t.match(await world.ask('disconnect', { device: 'nvme2' }), { disconnected: ['nvme2'] });
  const kept = {
    connections: [
      { ...to(made, 0), iopolicy: 'round-robin' },
      { ...to(made, 1), reconnect_delay: 1, ...queues },
    ],
    following: [],
  };
  t.match(world.document, kept);
  const before = await world.show();
  t.equal(await world.stop(), 0);
  t.match(world.document, kept, 'stopping forgets nothing');

  await world.start();
  await world.until(world.usable(2));
  const after = await world.show();
  t.match(after, { hostnqn: before.hostnqn, hostid: before.hostid });
  const divided = after.subsystems[0]?.controllers.find(({ trsvcid }) => trsvcid === to(made, 1).trsvcid);
  t.match(divided?.association, { ioQueues: 3, readQueues: 1 });
  t.match(after.subsystems, [
    {
      nqn: NQN,
      iopolicy: 'round-robin',
      controllers: [{ state: 'live' }, { state: 'live' }],
      heads: [{ wwid: before.subsystems[0]?.heads[0]?.wwid, paths: { length: 2 } }],
    },
  ]);
  t.match(await world.ask('disconnect', { nqn: NQN }), { disconnected: { length: 2 } });
  t.same(await world.states(), []);
  t.match(world.document, { connections: [] });
});

t.test('a target that is away at the start is connected when it is there', async (t) => {
  const world = new World(t);
  // Nobody else gets it while nobody listens there.
  const address = `127.0.0.1:${await freePort()}`;
  const first = await target(t, [address]);
  await world.start();
  await world.connect(first, 0, { reconnect_delay: 1, ctrl_loss_tmo: -1 });
  await world.stop();
  await first.close();
  await world.start();
  await world.until(() => /attempt failed/.test(world.log));
  t.same(await world.states(), ['nvme0 connecting']);
  t.match(await world.ask('numbers'), { numbers: [{ number: 0, controller: { name: 'nvme0' } }] });
  await target(t, [address]);
  await world.until(world.usable(1));
  t.same(await world.states(), ['nvme0 live']);
});

t.test('a first connect that fails fails at once, and is not kept; with keep_trying it is', async (t) => {
  const world = new World(t);
  await world.start();
  const nobody = { traddr: '127.0.0.1', trsvcid: String(await freePort()), subnqn: NQN };
  await t.rejects(world.ask('connect', nobody), { code: 'ECONNREFUSED' });
  t.same(await world.states(), []);
  t.notOk(fs.existsSync(world.path('hostd.json')));
  t.match(await world.ask('connect', { ...nobody, keep_trying: true }), { device: 'nvme0', already: false });
  t.match(world.document, { connections: [nobody] });
  t.match(await world.ask('disconnect-all'), { disconnected: 1 });
  t.match(world.document, { connections: [] });
});

t.test('disconnect works in any state: nobody answers, or the path is dead', async (t) => {
  const world = new World(t);
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => void sockets.add(socket.on('error', () => undefined)));
  silent.listen(0, '127.0.0.1');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  await once(silent, 'listening');
  const { port } = silent.address() as { port: number };
  await world.start();
  const accepted = once(silent, 'connection');
  const waiting = world.ask('connect', { traddr: '127.0.0.1', trsvcid: String(port), subnqn: NQN });
  waiting.catch(() => undefined);
  await accepted;
  t.match(await world.ask('disconnect', { device: 'nvme0' }), { disconnected: ['nvme0'] });
  await t.rejects(waiting, { code: 'ECANCELED' });
  t.same(await world.states(), []);

  const made = await target(t);
  await world.connect(made);
  await made.close({ force: true });
  await world.lost();
  t.same(await world.states(), ['nvme0 connecting']);
  t.match(await world.ask('disconnect', { nqn: NQN }), { disconnected: ['nvme0'] });
  t.same(await world.states(), []);
});

t.test('set while connected: counts at once, for the loss that lasts too, and after a restart', async (t) => {
  const world = new World(t);
  const made = await target(t, ['127.0.0.1:0']);
  await world.start();
  await world.connect(made, 0, { reconnect_delay: 100 });
  await made.close({ force: true });
  await world.lost();
  const whyNow = async (): Promise<Why> => (await world.ask('why', { head: 'nvme0n1' })) as unknown as Why;
  t.match(await whyNow(), {
    verdict: /^waits/,
    paths: [{ name: 'nvme0c0n1', usable: false, controllerState: 'connecting' }],
    timers: [{ name: 'reconnect', then: 'connects the controller again' }, { name: 'ctrl_loss_tmo' }],
  });
  const settings = { ctrl_loss_tmo: 50, fast_io_fail_tmo: 40 };
  t.match(await world.ask('set', { device: 'nvme0', ...settings }), {
    warnings: [/^reconnect_delay \(100 s\) is not below ctrl_loss_tmo \(50 s\)/],
  });
  t.match((await whyNow()).timers, [
    { name: 'fast_io_fail_tmo', then: /^fails the I\/O/ },
    { name: 'ctrl_loss_tmo', then: 'gives the controller up' },
    { name: 'reconnect' },
  ]);
  const heads = { iopolicy: 'queue-depth', write_failover: 'immediate', delayed_removal_secs: 60 };
  await world.ask('set', { device: 'nvme0n1', ...heads });
  t.match(await whyNow(), { iopolicy: 'queue-depth', writeFailover: 'immediate', delayedRemovalSecs: 60 });
  t.match(world.document.connections, [
    { ...settings, iopolicy: 'queue-depth', write_failover: 'immediate', delayed_removal_secs: undefined },
  ]);
  await world.ask('set', { device: 'nvme-subsys0', delayed_removal_secs: 30 });
  t.match(world.document.connections, [{ delayed_removal_secs: 30 }]);
  const rows: [object, { code: string; message: RegExp }][] = [
    [
      { device: 'nvme9', ctrl_loss_tmo: 1 },
      { code: 'ENOENT', message: /no nvme9/ },
    ],
    [{ device: 'nvme0' }, { code: 'EINVAL', message: /nothing to set/ }],
    [
      { device: 'nvme0', ctrl_loss_tmo: -2 },
      { code: 'EINVAL', message: /ctrl_loss_tmo/ },
    ],
    [
      { device: 'nvme0', iopolicy: 'best' },
      { code: 'EINVAL', message: /iopolicy cannot be "best"/ },
    ],
  ];
  for (const [params, error] of rows) await t.rejects(world.ask('set', params), error);
});

t.test(
  'PORT.2 PORT.6 PORT.7 a port is taken away and comes back: the same head, and no I/O is lost',
  async (t) => {
    const world = new World(t);
    const made = await target(t, ['127.0.0.1:0']);
    await world.start();
    await world.connect(made);
    const { traddr, trsvcid } = to(made);
    const port = { traddr, trsvcid: Number(trsvcid) };
    t.match(await world.ask('port-remove', port), { ports: [] });
    t.same(await world.states(), ['nvme0 connecting']);
    t.match(await world.ask('why', { head: 'nvme0n1' }), { paths: [{ reason: /was unregistered/ }] });
    await t.rejects(world.ask('port-remove', port), { code: 'ENOENT' });
    t.match(world.document, { removedPorts: [{ local: '', ...port }] });
    await world.start();
    t.same(await world.states(), ['nvme0 connecting'], 'it stays away over a restart');
    t.match(await world.ask('port-list'), { ports: [] });
    t.match(await world.ask('port-add', port), { ports: [{ registered: true, controllers: ['nvme0'] }] });
    await world.until(world.usable(1));
    t.match(await world.ask('list'), { Devices: [{ DevicePath: 'nvme0n1' }] });
    t.notOk('removedPorts' in world.document);
  },
);

t.test('reset and rescan; events are told as they happen', async (t) => {
  const world = new World(t);
  const made = await target(t);
  await world.start();
  await world.connect(made);
  const told: { kind: string; what: string }[] = [];
  const following = world.ask('events', { follow: true }, (value) => told.push(value as (typeof told)[0]));
  following.catch(() => undefined);
  t.match(await world.ask('reset', { device: 'nvme0' }), { reset: ['nvme0'] });
  await world.until(world.usable(1));
  await made.addNamespace({ memory: MiB });
  await world.until(() =>
    (world.running?.keeper.registry.journal.since(0) ?? []).some(({ name }) => name === 'nvme0n2'),
  );
  t.match(await world.ask('rescan', { device: 'nvme-subsys0' }), { rescanned: ['nvme0'] });
  const { events } = (await world.ask('events')) as { events: unknown[] };
  // They come on a connection of their own, and more of them may come.
  await world.until(() => told.length >= events.length);
  t.same(told.slice(0, events.length), events);
  t.ok(told.some(({ kind, what }) => kind === 'controller state' && what.startsWith('resetting')));
  t.match(await world.ask('list', { verbose: true }), {
    Devices: [{ Subsystems: [{ Namespaces: [{ NSID: 1 }, { NSID: 2 }] }] }],
  });
});

t.test('connect-all: once, or followed: what is named later is connected too', async (t) => {
  const world = new World(t);
  const made = await target(t);
  await world.start();
  const { traddr, trsvcid } = to(made);
  t.match(await world.ask('connect-all', { ...PATIENT, traddr, trsvcid }), {
    connected: [{ device: /nvme\d/, already: false }, { already: false }],
    failed: [],
    follows: false,
  });
  t.match(await world.ask('connect-all', { traddr, trsvcid, subnqn: 'nqn.2024-01.test:b' }), {
    connected: [],
  });
  t.match(world.document.connections, { length: 2 });
  t.match(await world.ask('connect-all', { ...PATIENT, traddr, trsvcid, persistent: true }), {
    connected: [{ already: true }, { already: true }],
    follows: true,
  });
  t.match(await world.ask('connect-all', { ...PATIENT, traddr, trsvcid, persistent: true }), {
    follows: false,
  });
  await world.until(() => /discovery/.test(JSON.stringify(world.running?.keeper.registry.journal.since(0))));
  await world.stop();
  t.match(world.document.following, [{ traddr, trsvcid }]);
  await world.start();
  await world.until(world.usable(3));
  t.match(await world.ask('following'), { following: [{ services: [{ traddr }] }] });
  await world.ask('disconnect', { nqn: 'nqn.2014-08.org.nvmexpress.discovery' });
  t.match(world.document, { connections: { length: 2 }, following: [] });
  await world.ask('disconnect-all');
  t.same(await world.states(), []);
});

t.test('HEAD.9 an NBD export comes and goes with its head, the delay of its removal included', async (t) => {
  const world = new World(t);
  const made = await target(t);
  await world.start();
  await world.connect(made, 0, { delayed_removal_secs: 3600 });
  const socket = world.path('nbd/nvme0n1.sock');
  const exports = () => /NBD export head=nvme0n1/.test(world.log);
  await world.until(exports);
  t.ok(fs.existsSync(socket));
  t.match(await world.show(), { subsystems: [{ heads: [{ nbd: socket }] }] });
  await world.ask('disconnect', { nqn: NQN });
  t.match(await world.show(), {
    subsystems: [{ controllers: [], heads: [{ state: 'orphaned', nbd: socket }] }],
  });
  const client = connectSocket(socket);
  t.teardown(() => client.destroy());
  await once(client, 'data');
  const closed = once(client, 'close');
  await world.ask('set', { device: 'nvme0n1', delayed_removal_secs: 0 });
  t.match(await world.show(), { subsystems: [] });
  await closed;
  await world.connect(made);
  await world.until(() => fs.existsSync(socket));
  t.pass('the next head of that name has its socket');
});

t.test(
  'NUM.2 a link by the disk’s own name stays the same over restarts; it comes and goes with the head',
  async (t) => {
    const world = new World(t);
    const made = await target(t);
    const byId = world.path('nbd/by-id');
    const names = (): string[] => fs.readdirSync(byId);
    await world.start();
    t.same(names(), []);
    await world.connect(made);
    const [name = ''] = await (async () => {
      await world.until(() => names().length === 1);
      return names();
    })();
    const head = (await world.show()).subsystems[0]?.heads[0];
    t.equal(name, `nvme-${head?.wwid ?? ''}.sock`);
    t.match(name, /^nvme-uuid\.[0-9a-f-]{36}\.sock$/, 'as in /dev/disk/by-id');
    t.equal(fs.readlinkSync(join(byId, name)), '../nvme0n1.sock');
    t.match(await world.ask('list'), { Devices: [{ nvmetcp: { link: join(byId, name) } }] });
    const client = connectSocket(join(byId, name));
    await once(client, 'data');
    client.destroy();
    await world.stop();
    t.same(names(), [], 'the daemon is gone, and so is its socket');

    // Another disk gets the name nvme0n1 after the restart; a dead daemon's link would lead to it.
    fs.symlinkSync('../nvme0n1.sock', join(byId, 'nvme-uuid.00000000-0000-4000-8000-000000000000.sock'));
    fs.writeFileSync(join(byId, 'mine'), '');
    const other = await createTarget({
      listen: ['127.0.0.1:0'],
      nqn: 'nqn.2024-01.test:b',
      namespaces: [{ memory: MiB }],
    });
    t.teardown(() => other.close({ force: true }));
    await made.close({ force: true });
    await world.start();
    t.same(names(), ['mine']);
    await world.connect(other);
    await world.until(() => names().length === 2);
    const [first] = (await world.show()).subsystems.filter(({ nqn }) => nqn === other.nqn);
    t.same(names(), ['mine', `nvme-${first?.heads[0]?.wwid ?? ''}.sock`]);
    await world.ask('disconnect-all');
    await world.until(() => names().length === 1);
  },
);

t.test(
  'a disk of the daemon for another process: by its name or wwid, over whichever paths there are',
  async (t) => {
    const world = new World(t);
    const made = await target(t);
    await world.start();
    const control = world.path('host.sock');
    await world.connect(made, 0, { reconnect_delay: 1 });
    await world.connect(made, 1, { reconnect_delay: 1 });
    await world.until(() => fs.existsSync(world.path('nbd/nvme0n1.sock')));
    const wwid = (await world.show()).subsystems[0]?.heads[0]?.wwid ?? '';
    const data = Uint8Array.from({ length: MiB / 2 }, (_, i) => i * 7);
    await withHead(control, 'nvme0n1', async (disk) => {
      t.match(disk, { name: 'nvme0n1', blockSize: 512, blocks: MiB / 512 });
      await disk.write(8, [data.subarray(0, 512), data.subarray(512)], { fua: true });
      await disk.flush();
      await world.ask('reset', { device: 'nvme0' });
      t.ok(Buffer.from(await disk.read(8, data.length / 512)).equals(data), 'path loss shows as time only');
      const many = await Promise.all(Array.from({ length: 100 }, (_, i) => disk.read(8 + i, 1)));
      many.forEach((each, i) => t.ok(Buffer.from(each).equals(data.subarray(i * 512, (i + 1) * 512))));
      await t.rejects(disk.read(MiB / 512, 1), { code: 'EINVAL', message: /nvme0n1 has 2048/ });
      await t.rejects(disk.write(0, new Uint8Array(100)), { code: 'EINVAL', message: /block size, 512/ });
    });
    for (const name of [wwid, `nvme-${wwid}`, '/dev/nvme0n1'])
      t.equal(await withHead(control, name, (disk) => Promise.resolve(disk.name)), 'nvme0n1');
    const nothing = (): Promise<void> => Promise.resolve();
    await t.rejects(withHead(control, 'nvme9n1', nothing), { code: 'ENODEV', message: /only nvme0n1$/ });
    await t.rejects(withHead(world.path('none'), 'nvme0n1', nothing), { code: 'ENOENT' });
    await withHead(control, wwid, async (disk) => {
      await world.ask('disconnect-all');
      await t.rejects(disk.read(0, 1), { code: 'ECONNRESET' });
    });
    await world.start({ nbd: undefined });
    await world.connect(made);
    await t.rejects(withHead(control, wwid, nothing), { code: 'ENOTSUP', message: /--no-nbd/ });
  },
);

t.test(
  'PORT.11 the daemon ends although an NBD client keeps a volume open, with I/O on a dead path',
  async (t) => {
    const world = new World(t);
    const made = await target(t);
    await world.start();
    await world.connect(made);
    const socket = world.path('nbd/nvme0n1.sock');
    await world.until(() => fs.existsSync(socket));
    const client = connectSocket(socket);
    client.on('error', () => undefined);
    t.teardown(() => client.destroy());
    await once(client, 'data');
    // Client flags, EXPORT_NAME of the default export, then a read.
    const hello = Buffer.alloc(4 + 16);
    hello.writeUInt32BE(3, 0);
    hello.write('IHAVEOPT', 4, 'latin1');
    hello.writeUInt32BE(1, 12);
    client.write(hello);
    await once(client, 'data');
    await made.close({ force: true });
    await world.until(() => !world.usable(1)());
    const read = Buffer.alloc(28);
    read.writeUInt32BE(0x25609513, 0);
    read.writeUInt32BE(4096, 24);
    client.write(read);
    for (;;) if (((await world.ask('why', { head: 'nvme0n1' })) as unknown as Why).inFlight > 0) break;
    t.equal(await world.stop(), 0);
    t.match(world.document, { connections: { length: 1 } });
  },
);

t.test('what cannot start says why, and changes nothing', async (t) => {
  const world = new World(t);
  await world.start();
  const other = new World(t);
  await t.rejects(other.start({ folder: world.folder, control: other.path('c') }), {
    code: 'EBUSY',
    message: /in use by another host daemon/,
  });
  await t.rejects(other.start({ control: world.path('host.sock') }), { code: 'EADDRINUSE' });
  const broken = { version: 1, connections: [{ traddr: 'a', subnqn: NQN, queue_size: 3 }], following: [] };
  const text = JSON.stringify(broken);
  fs.writeFileSync(other.path('hostd.json'), text);
  await t.rejects(other.start(), { code: 'EINVAL', message: /hostd\.json: connections\[0\]\.queue_size/ });
  fs.writeFileSync(other.path('hostd.json'), text.replace('"queue_size":3', '"traddr":""'));
  await t.rejects(other.start(), {
    code: 'EINVAL',
    message: /hostd\.json: connections\[0\]\.traddr is empty/,
  });
  fs.writeFileSync(other.path('hostd.json'), text.replace('"queue_size":3', '"trsvcid":"x"'));
  await t.rejects(other.start(), { code: 'EINVAL', message: /trsvcid "x" is not a port/ });
  t.match(fs.readFileSync(other.path('hostd.json'), 'utf8'), /"x"/);
  await t.rejects(world.ask('connect', { traddr: 'a', subnqn: 'x' }), {
    code: 'EINVAL',
    message: /subnqn "x"/,
  });
  await t.rejects(world.ask('connect', { traddr: 'a', subnqn: NQN, nope: 1 }), {
    message: /nope is not known/,
  });
  await t.rejects(world.ask('disconnect', {}), { code: 'EINVAL' });
  await t.rejects(world.ask('why', { head: 'nvme0n1' }), { code: 'ENOENT' });
});
