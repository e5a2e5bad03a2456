// The control socket of a running daemon: what operators change is live, checked, kept, and touches nothing else.
import * as fs from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { createHost } from '../../src/api/host.ts';
import { parseDocument } from '../../src/config/schema.ts';
import { request } from '../../src/daemon/control-client.ts';
import { Lines } from '../../src/daemon/control-protocol.ts';
import { socketPath } from '../../src/daemon/socket-path.ts';
import type { ConnectionShown, TargetShown } from '../../src/daemon/show.ts';
import { type RunningTargetd, type TargetdOptions, startTargetd } from '../../src/daemon/targetd.ts';
import { must } from '../../src/runtime/assert.ts';

const MiB = 1024 * 1024;
const A = 'nqn.2024-01.test:a';
const B = 'nqn.2024-01.test:b';
const HOST = 'nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555';
/** Of a host that is to stay connected even when the machine stops for a while. */
const PATIENT = { keep_alive_tmo: 60 };
/** What hosts make of a target all the time, of their own accord: I/O, and the answers to what they are told. */
const OF_HOSTS = new Set([
  ...['queues', 'asyncEventRequests', 'errors', 'inFlight'],
  ...['reads', 'writes', 'bytesRead', 'bytesWritten'],
]);

type Result = Readonly<Record<string, unknown>>;

class World {
  readonly folder: string;
  log = '';
  #running: RunningTargetd | undefined;

  constructor(t: Test) {
    this.folder = t.testdir();
    t.teardown(() => this.stop());
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async start(more: Partial<TargetdOptions> = {}): Promise<RunningTargetd> {
    await this.stop();
    this.log = '';
    const options: TargetdOptions = {
      listen: ['127.0.0.1:0'],
      namespaces: [{ memory: MiB }],
      hosts: [],
      nqn: more.config === undefined ? A : undefined,
      folder: this.path('state'),
      logLevel: 'info',
      logFormat: 'text',
      command: 'nvmetcp',
      ...more,
    };
    this.#running = await startTargetd(options, (line) => (this.log += line));
    return this.#running;
  }

  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    running?.stop('a test');
    await running?.finished;
  }

  get socket(): string {
    return this.path('state/target.sock');
  }

  async ask(method: string, params: object = {}, progress?: (value: unknown) => void): Promise<Result> {
    return (await request(this.socket, method, params, progress)) as Result;
  }

  async show(): Promise<TargetShown> {
    return (await this.ask('show')) as unknown as TargetShown;
  }

  get document() {
    return parseDocument(fs.readFileSync(this.path('state/target.json'), 'utf8'));
  }

  /** What is there, to be the same after something that fails; but for what hosts do meanwhile. */
  async everything(): Promise<object> {
    const quiet = JSON.stringify(await this.show(), (key, value: unknown) =>
      OF_HOSTS.has(key) ? undefined : value,
    );
    const shown = JSON.parse(quiet) as object;
    return { document: this.document, shown, files: fs.readdirSync(this.folder) };
  }
}

const portOf = (shown: TargetShown, id: number): number =>
  Number(must(shown.ports.find((port) => port.id === id)?.listening, 'it listens').split(':')[1]);

t.test('every verb is live, and what it says comes back after a restart', async (t) => {
  const world = new World(t);
  await world.start();
  const steps: [string, object, object][] = [
    [
      'add-namespace',
      { file: world.path('a'), size: '1M', blockSize: 4096, nsid: 7 },
      { nsid: 7, size: MiB },
    ],
    ['add-subsystem', { nqn: B, serial: 'S', hosts: [HOST] }, { changes: [`+ subsystem ${B}: for ${HOST}`] }],
    [
      'add-namespace',
      {
        subsystem: B,
        file: world.path('b'),
        size: 2 * MiB,
        anagrpid: 3,
        shared: false,
        eui64: '00:11:22:33:44:55:66:77',
      },
      { nsid: 1 },
    ],
    ['add-port', { address: '127.0.0.1:0', id: 5, subsystems: [B] }, { port: { id: 5, state: 'listening' } }],
    ['add-listener', { port: 5, subsystem: A }, { changes: [`+ ${A} on port 5`] }],
    ['remove-listener', { port: 5, subsystem: A }, { changes: [`- ${A} on port 5`] }],
    ['add-host', { subsystem: B, host: 'nqn.x' }, {}],
    [
      'set-subsystem',
      { subsystem: B, ioQueues: 2, firmware: 'v2' },
      { changes: [`~ subsystem ${B}: I/O queues: 2; its hosts connect again, firmware v2`] },
    ],
    ['set-subsystem', { subsystem: B, firmware: null }, { changes: [`~ subsystem ${B}: firmware as built`] }],
    ['set-port', { port: 5, inlineDataSize: 8192, maxQueueSize: 64 }, { changes: { length: 2 } }],
    ['set-port', { port: 5, maxQueueSize: null }, { changes: { length: 2 } }],
    ['remove-host', { subsystem: B, host: HOST }, { changes: [`~ subsystem ${B}: for nqn.x`] }],
    ['allow-any-host', { subsystem: A, allow: false }, { changes: [`~ subsystem ${A}: for no host`] }],
    ['set-ana', { port: 5, anagrpid: 3, state: 'non-optimized' }, {}],
    ['move-namespace', { subsystem: A, nsid: 7, anagrpid: 2 }, { changes: [/ANA group 2/] }],
    ['mask-namespace', { subsystem: A, nsid: 7, hosts: [HOST] }, {}],
    ['disable-namespace', { subsystem: B, nsid: 1 }, { changes: [/disabled/] }],
    ['enable-namespace', { subsystem: B, nsid: 1 }, { changes: [/enabled/] }],
    ['resize-namespace', { subsystem: B, nsid: 1, size: '3M' }, { size: 3 * MiB }],
    ['disable-namespace', { subsystem: B, nsid: 1 }, {}],
    [
      'add-referral',
      { port: 1, name: 'r', address: '10.0.0.9:8009', id: 3 },
      { changes: ['~ port 1: refers to 10.0.0.9:8009'] },
    ],
    ['add-referral', { port: 1, name: 'gone', address: '10.0.0.8:8009' }, {}],
    ['remove-referral', { port: 1, name: 'gone' }, { changes: ['~ port 1: refers to 10.0.0.9:8009'] }],
    ['release-namespace', { subsystem: B, nsid: 1 }, {}],
    ['log-level', { level: 'warn' }, {}],
  ];
  for (const [method, params, result] of steps) t.match(await world.ask(method, params), result, method);
  const shown = await world.show();
  t.match(shown, {
    subsystems: [
      {
        nqn: A,
        hosts: [],
        namespaces: [{ nsid: 1 }, { nsid: 7, blockSize: 4096, anagrpid: 2, hosts: [HOST] }],
      },
      {
        nqn: B,
        hosts: ['nqn.x'],
        ports: [5],
        ioQueues: 2,
        firmware: '0.1.0',
        ana: true,
        namespaces: [{ nsid: 1, eui64: '0011223344556677', size: 3 * MiB, state: 'disabled', shared: false }],
      },
    ],
    ports: [
      { id: 1, referrals: [{ name: 'r', address: '10.0.0.9:8009', id: 3 }] },
      { id: 5, subsystems: [B], inlineDataSize: 8192, ana: [{ grpid: 3, state: 'non-optimized' }] },
    ],
    pending: [],
  });
  await world.start({ namespaces: [], nqn: A });
  const again = await world.show();
  const kept = ({ subsystems }: TargetShown) =>
    subsystems.map(({ nqn, serial, ioQueues, hosts, namespaces }) => ({
      nqn,
      serial,
      ioQueues,
      hosts,
      // Memory and ports that the system chose go with the process.
      namespaces: namespaces
        .filter((each) => !('size' in each) || !each.path.startsWith('memory:'))
        .map((each) => ({ ...each, reads: 0, writes: 0, bytesRead: 0, bytesWritten: 0 })),
    }));
  t.same(kept(again), kept(shown));
  for (const [method, params] of [
    ['enable-namespace', { subsystem: B, nsid: 1 }],
    ['remove-namespace', { subsystem: A, nsid: 7 }],
    ['remove-subsystem', { nqn: B }],
  ] as const)
    await world.ask(method, params);
  t.match((await world.show()).subsystems, [{ nqn: A, namespaces: [] }]);
  t.same(world.document.subsystems.length, 1);
});

t.test('a change with an error changes nothing, and says what is wrong and where', async (t) => {
  const world = new World(t);
  await world.start();
  await world.ask('add-namespace', { file: world.path('a'), size: '1M' });
  const shown = await world.show();
  const taken = `127.0.0.1:${portOf(shown, 1)}`;
  const before = await world.everything();
  const config = (subsystems: object[], ports: object[] = []) => ({
    config: JSON.stringify({ subsystems, ports }),
  });
  const make = (name: string, nsid: number) => ({ nsid, device: { path: world.path(name) }, size: '1M' });
  const listen = (portid: number, address: string) => {
    const [traddr, trsvcid] = address.split(':');
    return { portid, addr: { traddr, trsvcid }, subsystems: [A] };
  };
  const blocked = createServer().listen(0, '127.0.0.1');
  await once(blocked, 'listening');
  t.teardown(() => blocked.close());
  const { port } = blocked.address() as { port: number };
  const rows: [string, object, { code: string; message: RegExp; path?: string }][] = [
    ['nonsense', {}, { code: 'ENOSYS', message: /no method "nonsense"/ }],
    ['show', { all: true }, { code: 'EINVAL', message: /^all is not known$/, path: 'all' }],
    [
      'add-subsystem',
      { nqn: 'b' },
      { code: 'EINVAL', message: /^nqn "b" does not begin with "nqn\."$/, path: 'nqn' },
    ],
    ['add-subsystem', { nqn: A }, { code: 'EEXIST', message: /a subsystem .* already/ }],
    ['add-namespace', { file: 'a' }, { code: 'EINVAL', message: /file is not an absolute path/ }],
    [
      'add-namespace',
      { file: world.path('a') },
      { code: 'EBUSY', message: /in use already, as namespace 2/ },
    ],
    ['add-namespace', { file: world.path('none') }, { code: 'ENOENT', message: /there is no such file/ }],
    [
      'add-namespace',
      { file: world.path('new'), size: '1M', nsid: 9999 },
      { code: 'EINVAL', message: /NSIDs go up to/ },
    ],
    ['add-port', { address: taken }, { code: 'EADDRINUSE', message: /the address is in use/ }],
    ['add-port', { address: '192.0.2.1:4420' }, { code: 'EADDRNOTAVAIL', message: /no interface/ }],
    ['remove-namespace', { nsid: 9 }, { code: 'ENOENT', message: /no namespace 9/ }],
    [
      'set-ana',
      { port: 1, state: 'good' },
      { code: 'EINVAL', message: /^state cannot be "good"; /, path: 'state' },
    ],
    ['kick', { cntlid: 9 }, { code: 'ENOENT', message: /no controller 9/ }],
    ['drain-port', { port: 9 }, { code: 'ENOENT', message: /no port 9/ }],
    ['apply', { config: '{' }, { code: 'EINVAL', message: /^not JSON: / }],
    [
      'apply',
      config([{ nqn: A, namespace: [] }]),
      { code: 'EINVAL', message: /is not known/, path: 'subsystems[0].namespace' },
    ],
    [
      'apply',
      config([{ nqn: A, namespaces: [make('made', 3), make('dir/none', 4)] }]),
      { code: 'ENOENT', message: /its folder does not exist/ },
    ],
    [
      'apply',
      config(
        [{ nqn: A, namespaces: [make('made', 3)] }],
        [listen(7, '127.0.0.1:0'), listen(8, `127.0.0.1:${port}`)],
      ),
      { code: 'EADDRINUSE', message: /the address is in use/ },
    ],
  ];
  for (const [method, params, error] of rows) {
    await t.rejects(world.ask(method, params), error, `${method} ${JSON.stringify(params)}`);
    t.same(await world.everything(), before);
  }
});

t.test('LIFE.13 apply makes only the difference: a host of what did not change sees nothing', async (t) => {
  const world = new World(t);
  for (const name of ['a', 'b']) fs.writeFileSync(world.path(name), Buffer.alloc(MiB, name));
  const subsystem = (nqn: string, file: string, more: object = {}) => ({
    nqn,
    attr: { allow_any_host: '1' },
    namespaces: [{ nsid: 1, device: { path: world.path(file) }, ...more }],
  });
  const config = (a: object, ...others: object[]) =>
    JSON.stringify({
      subsystems: [a, ...others],
      ports: [
        { portid: 1, addr: { traddr: '127.0.0.1', trsvcid: 0 }, subsystems: [A] },
        ...(others.length > 0
          ? [{ portid: 2, addr: { traddr: '127.0.0.1', trsvcid: '0' }, subsystems: [B] }]
          : []),
      ],
    });
  fs.writeFileSync(world.path('config.json'), config(subsystem(A, 'a')));
  const running = await world.start({ config: world.path('config.json'), listen: [], namespaces: [] });
  const host = createHost({ hostnqn: HOST });
  t.teardown(() => host.close());
  const disk = (
    await host.connect({
      ...PATIENT,
      traddr: '127.0.0.1',
      trsvcid: portOf(await world.show(), 1),
      subnqn: A,
    })
  ).head(1);
  const first = (await world.show()).subsystems[0];
  const more = config(subsystem(A, 'a', { ana_grpid: 1 }), subsystem(B, 'b'));
  t.match(await world.ask('plan', { config: more }), {
    changes: [`+ subsystem ${B}: every host may connect`, /\+ namespace 1/, /\+ port 2/],
  });
  t.match(await world.ask('apply', { config: more }), { changes: { length: 3 }, pending: [] });
  t.same(await world.ask('apply', { config: more }), { changes: [], unsupported: [], pending: [] });
  t.equal(Buffer.from(await disk.read(0, 1)).toString('latin1', 0, 3), 'aaa');
  t.match((await world.show()).subsystems[0], { namespaces: [{ uuid: first?.namespaces[0]?.uuid }] });
  t.same(
    (await world.show()).subsystems[0]?.controllers.map(({ cntlid }) => cntlid),
    first?.controllers.map(({ cntlid }) => cntlid),
    'the same controller',
  );
  // The file moves between subsystems: it is closed here before it is opened there.
  const swapped = config(subsystem(A, 'b', { size: '1M' }));
  await t.rejects(world.ask('apply', { config: JSON.stringify({}) }), {
    code: 'EBUSY',
    message: /has a controller/,
  });
  t.match(await world.ask('apply', { config: swapped }), { pending: [] });
  t.match((await world.show()).subsystems, [{ nqn: A, namespaces: [{ path: world.path('b') }] }]);
  // SIGHUP reads the file that it was started with.
  await running.reload();
  t.match((await world.show()).subsystems, [{ nqn: A, namespaces: [{ path: world.path('a') }] }]);
  fs.writeFileSync(world.path('config.json'), '{"subsystem": []}');
  const before = await world.everything();
  await running.reload();
  t.same(await world.everything(), before);
  t.match(
    world.log,
    /config\.json is not applied, nothing has changed: .*config\.json: subsystem is not known/,
  );
});

t.test('an address that is not there yet stays pending, is shown, and goes with its port', async (t) => {
  const world = new World(t);
  const config = (address: string) =>
    JSON.stringify({
      subsystems: [{ nqn: A, namespaces: [{ nsid: 1, memory: '1M' }] }],
      ports: [
        { portid: 1, addr: { traddr: '127.0.0.1', trsvcid: 0 }, subsystems: [A] },
        { portid: 2, addr: { traddr: address, trsvcid: 4420 }, subsystems: [A] },
      ],
    });
  fs.writeFileSync(world.path('config.json'), config('192.0.2.1'));
  await world.start({ config: world.path('config.json'), listen: [], namespaces: [] });
  t.match(
    world.log,
    /192\.0\.2\.1 port 4420: no interface of this machine has the address; it is tried again/,
  );
  t.match(await world.show(), {
    ports: [{ state: 'listening' }, { id: 2, state: 'pending', listening: undefined, why: /no interface/ }],
    pending: [{ what: /^\+ port 2, 192\.0\.2\.1:4420/, code: 'EADDRNOTAVAIL' }],
  });
  t.match(await world.ask('add-subsystem', { nqn: B }), {}, 'other changes go on');
  await world.ask('remove-port', { port: 2 });
  t.match((await world.show()).pending, []);
  t.notMatch(world.log, /is there now/);
});

t.test('LIFE.12 connections and controllers are shown; kick ends one, in order or at once', async (t) => {
  const world = new World(t);
  await world.start();
  const host = createHost({ hostnqn: HOST });
  t.teardown(() => host.close());
  const to = { ...PATIENT, traddr: '127.0.0.1', trsvcid: portOf(await world.show(), 1), subnqn: A };
  const disk = (await host.connect(to)).head(1);
  await disk.write(0, new Uint8Array(512));
  const { connections } = (await world.ask('connections')) as unknown as { connections: ConnectionShown[] };
  t.match(connections, [
    { host: HOST, subsystem: A, portid: 1, state: 'ready', inFlight: 0, digests: 'none' },
  ]);
  const [one] = connections;
  t.ok(one && one.queues > 0 && one.depth > 0 && one.received > 512 && one.sent > 0);
  t.match((await world.show()).subsystems[0], {
    namespaces: [{ attachments: [{ cntlid: one?.cntlid, host: HOST, ana: 'optimized' }] }],
    controllers: [{ host: HOST, namespaces: [1], queues: [{ qid: 0 }, { qid: 1 }] }],
  });
  t.same(await world.ask('detach-namespace', { nsid: 1, cntlid: one?.cntlid }), {});
  await t.rejects(world.ask('detach-namespace', { nsid: 1, cntlid: one?.cntlid }), {
    code: 'EINVAL',
    message: /Not Attached/,
  });
  t.same(await world.ask('attach-namespace', { nsid: 1, cntlid: one?.cntlid }), {});
  await host.close();
  for (const abrupt of [false, true]) {
    const other = createHost({ hostnqn: HOST });
    t.teardown(() => other.close());
    await other.connect(to);
    const shown = (await world.ask('connections')) as unknown as { connections: ConnectionShown[] };
    const controller = must(shown.connections.at(-1), 'a controller');
    t.match(await world.ask('kick', { cntlid: controller.cntlid, abrupt }), { host: HOST });
    await other.close();
  }
  t.match(world.log, /controller removed .*why="controller removed"/);
});

t.test(
  'LIFE.4 whose a private namespace is outlives the daemon; release and attach are kept too',
  async (t) => {
    const world = new World(t);
    await world.start();
    await world.ask('add-namespace', { file: world.path('p'), size: '1M', nsid: 2, shared: false });
    /** What this host sees, once it is so many. */
    const sees = async (hostnqn: string, count: number): Promise<number[]> => {
      const host = createHost({ hostnqn, hostid: hostnqn.slice(-36) });
      t.teardown(() => host.close());
      const trsvcid = portOf(await world.show(), 1);
      const changes = host.changes();
      const controller = await host.connect({ ...PATIENT, traddr: '127.0.0.1', trsvcid, subnqn: A });
      // A new owner is kept first; then the host is told that the namespace is ready.
      while (controller.heads.length < count) await changes.next();
      const nsids = controller.heads.map(({ nsid }) => nsid).sort((a, b) => a - b);
      await host.close();
      return nsids;
    };
    const owner = async (): Promise<unknown> =>
      (await world.show()).subsystems[0]?.namespaces.flatMap((each) =>
        each.nsid === 2 && 'owner' in each && each.owner ? [each.owner.hostnqn] : [],
      );
    const OTHER = HOST.replace('1111', '9999');
    t.same(await sees(HOST, 2), [1, 2]);
    t.same(await sees(OTHER, 1), [1]);
    await world.start({ nqn: A });
    t.same(await owner(), [HOST], 'after a restart');
    t.same(await sees(OTHER, 1), [1]);
    t.same(await sees(HOST, 2), [1, 2]);
    await world.ask('release-namespace', { nsid: 2 });
    t.same(await owner(), []);
    await world.start({ nqn: A });
    t.same(await owner(), []);
    t.same(await sees(OTHER, 2), [1, 2], 'the first that comes');
    await world.start({ nqn: A });
    t.same(await owner(), [OTHER]);
    t.same(await sees(HOST, 1), [1]);
  },
);

t.test('drain: a host with nowhere to go keeps the port as it was; force does not ask', async (t) => {
  const world = new World(t);
  await world.start();
  const host = createHost({ hostnqn: HOST });
  t.teardown(() => host.close());
  const trsvcid = portOf(await world.show(), 1);
  await host.connect({ ...PATIENT, traddr: '127.0.0.1', trsvcid, subnqn: A });
  const told: unknown[] = [];
  // A time that is over before anything could be told in it.
  await t.rejects(
    world.ask('drain-port', { port: 1, timeout: 1e-9 }, (value) => told.push(value)),
    { code: 'ETIMEDOUT', message: /has no other path to nqn.*; port 1 is as before/ },
  );
  t.match(told[0], { remaining: [{ host: HOST, otherPath: false }] });
  t.match((await world.show()).ports, [{ state: 'listening' }]);
  t.match((await world.show()).subsystems[0]?.namespaces, [{ attachments: [{ ana: 'optimized' }] }]);
  t.match(await world.ask('drain-port', { port: 1, timeout: 0, force: true }), { cut: [{ host: HOST }] });
  t.match((await world.show()).ports, [{ state: 'disabled' }]);
  t.match(await world.ask('enable-port', { port: 1 }), { changes: [/\+ port 1/] });
});

t.test('drain: hosts move to their other path, the port is disabled, and no I/O fails', async (t) => {
  const world = new World(t);
  await world.start();
  await world.ask('add-port', { address: '127.0.0.1:0', id: 2 });
  const host = createHost({ hostnqn: HOST });
  t.teardown(() => host.close());
  const shown = await world.show();
  const at = (id: number) => ({
    ...PATIENT,
    traddr: '127.0.0.1',
    trsvcid: portOf(shown, id),
    subnqn: A,
  });
  const disk = (await host.connect(at(1))).head(1);
  await host.connect(at(2));
  let going = true;
  const writer = async (block: number): Promise<number> => {
    let writes = 0;
    for (; going; writes++) await disk.write(block, new Uint8Array(512).fill(writes));
    return writes;
  };
  const writers = [0, 1, 2, 3].map(writer);
  t.match(await world.ask('drain-port', { port: 1, timeout: 30 }), { cut: [] });
  t.match((await world.show()).ports, [
    { id: 1, state: 'disabled' },
    { id: 2, state: 'listening' },
  ]);
  t.match((await world.show()).subsystems[0]?.controllers, [{ host: HOST, portid: 2 }]);
  await disk.write(9, new Uint8Array(512));
  going = false;
  for (const writes of await Promise.all(writers)) t.ok(writes > 0);
  await world.ask('enable-port', { port: 1 });
  t.match((await world.show()).ports, [{ id: 1, state: 'listening', ana: [] }, { id: 2 }]);
});

t.test('what is no request is answered, and ends nothing but itself', async (t) => {
  const world = new World(t);
  await world.start();
  t.equal(fs.statSync(world.socket).mode & 0o777, 0o600, 'for its user only');
  const place = socketPath(world.socket);
  t.teardown(() => place.release());
  const socket = connect(place.path);
  const lines = new Lines(1e6);
  const answers: unknown[] = [];
  socket.on('data', (chunk) => {
    for (const line of lines.push(chunk) ?? []) answers.push(JSON.parse(line));
  });
  for (const text of [
    '{\n',
    '[]\n',
    '{"id":7}\n',
    '\n',
    '{"id":"x","method":"show","params":{"a":1}}\n',
    `{"id":9,"method":"show","params":${'['.repeat(100_000)}${']'.repeat(100_000)}}\n`,
    '{"id":8,"method":"log-l',
  ])
    socket.write(text);
  socket.write('evel","params":{"level":"info"}}\n');
  socket.end();
  await once(socket, 'close');
  t.match(answers, [
    { id: null, error: { code: 'EINVAL', message: /^not JSON/ } },
    { id: null, error: { code: 'EINVAL', message: /^the request is not an object/ } },
    { id: 7, error: { message: /^method is missing/, path: 'method' } },
    { id: 'x', error: { message: /^a is not known/, path: 'a' } },
    { id: null, error: { code: 'EINVAL', message: /^more than 100 lists/ } },
    { id: 8, result: {} },
  ]);
  t.equal(answers.length, 6);
  const flood = connect(place.path);
  flood.on('error', () => undefined);
  let reply = '';
  flood.on('data', (chunk) => (reply += String(chunk)));
  for (let i = 0; i < 20; i++) flood.write('x'.repeat(MiB));
  await once(flood, 'close');
  t.match(reply, /"code":"E2BIG"/);
  t.match(await world.show(), { subsystems: [{ nqn: A }] }, 'others are served');
  await world.stop();
  t.notOk(fs.existsSync(world.socket));
  await t.rejects(world.show(), {
    code: /ENOENT|ECONNREFUSED/,
    message: /no target listens on .*target\.sock/,
  });
});
