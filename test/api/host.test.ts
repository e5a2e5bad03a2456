import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  NvmeError,
  createHost,
  type ConnectOptions,
  type HostOptions,
  type NvmeHost,
} from '../../src/api/index.ts';
import { Flag } from '../../src/pdu/pdus.ts';
import { Status } from '../../src/nvme/status.ts';
import { DiscoveryEntry, DiscoveryHeader } from '../../src/nvme/discovery.ts';
import { asksForTls, discoveryRecord } from '../../src/api/discovery.ts';
import { memoryEnv, type MemoryEnv } from '../../src/runtime/memory/env.ts';
import { FakeController, SUBNQN, UUID, type FakeCommand } from '../doubles/fake-controller.ts';
import { settled, until } from '../doubles/turns.ts';

const OPTIONS: ConnectOptions = {
  traddr: '127.0.0.1',
  subnqn: SUBNQN,
  nr_io_queues: 1,
  keep_alive_tmo: 0,
};
const HOSTID = '11111111-2222-3333-4444-555555555555';
const HOSTNQN = `nqn.2014-08.org.nvmexpress:uuid:${HOSTID}`;

class World {
  readonly env: MemoryEnv = memoryEnv();
  readonly fake = new FakeController(this.env);
  readonly host: NvmeHost;
  constructor(options: HostOptions = {}) {
    this.host = createHost({
      env: this.env,
      etc: '/nonexistent',
      hostnqn: HOSTNQN,
      hostid: HOSTID,
      ...options,
    });
  }

  /**
   * Lets the world go on until something is so; without `ms` time stands still. Who the host is, is all that comes from
   * the real world (files): it is awaited first, so that everything after it is a matter of turns.
   */
  async until(reached: () => boolean, ms = 0): Promise<void> {
    await this.#identified();
    await until(this.env, reached, ms);
  }

  async #identified(): Promise<void> {
    await settled(this.env, this.host.identity()).catch(() => undefined);
  }

  /** Lets the world go on until the promise is settled. */
  async run<T>(promise: Promise<T>, ms = 0): Promise<T> {
    promise.catch(() => undefined);
    await this.#identified();
    return settled(this.env, promise, ms);
  }

  async connect(options: Partial<ConnectOptions> = {}) {
    return this.run(this.host.connect({ ...OPTIONS, ...options }));
  }
}

/** The promise rejects with an NvmeError. */
async function rejects(
  t: Test,
  promise: Promise<unknown>,
  code: string,
  message?: RegExp,
): Promise<NvmeError> {
  try {
    await promise;
  } catch (error) {
    if (!(error instanceof NvmeError)) throw error;
    t.equal(error.code, code, error.message);
    if (message) t.match(error.message, message);
    return error;
  }
  throw new Error(`not rejected, ${code} expected`);
}

t.test('connect, read, write, flush, zeroes, deallocate, close', async (t) => {
  const world = new World();
  const subsystem = await world.connect({ hdr_digest: true, data_digest: true });
  t.match(subsystem, { name: 'nvme-subsys0', nqn: SUBNQN, serial: 'FAKE', model: 'fake controller' });
  t.strictSame(world.host.subsystems, [subsystem]);
  const disk = subsystem.head(1);
  t.equal(disk, subsystem.heads[0], 'the same object');
  t.match(disk, { name: 'nvme0n1', nsid: 1, blockSize: 512, blocks: 8192, size: 8192 * 512, uuid: UUID });
  t.equal(disk.wwid, `uuid.${UUID}`);
  const data = Uint8Array.from({ length: 4096 }, (_, i) => i & 0xff);
  await world.run(disk.write(4, data));
  await world.run(disk.write(12, [data.subarray(0, 100), data.subarray(100)], { fua: true }));
  t.strictSame(await world.run(disk.read(4, 8)), data);
  const into = new Uint8Array(4096);
  await world.run(disk.readInto(12, [into.subarray(0, 1000), into.subarray(1000)]));
  t.strictSame(into, data);
  await world.run(disk.flush());
  await world.run(disk.writeZeroes(0, 8, { deallocate: true }));
  await world.run(disk.deallocate(0, 8));
  await world.run(
    disk.deallocate([
      { slba: 0, blocks: 8 },
      { slba: 100, blocks: 1 },
    ]),
  );
  await world.run(disk.deallocate([]));
  t.equal(world.fake.log.filter((line) => line === 'q1 Dataset Management').length, 2);
  await world.run(world.host.close());
  await world.run(world.host.close());
  await rejects(t, world.connect(), 'ECANCELED');
  await rejects(t, disk.read(0, 1), 'NVME_HOST_PATH_ERROR');
  t.strictSame(world.env.clock.timers, []);
});

t.test('what cannot be is refused before anything is sent', async (t) => {
  const world = new World();
  const disk = (await world.connect()).head(1);
  const sent = world.fake.log.length;
  await rejects(t, disk.read(-1, 1), 'EINVAL');
  await rejects(t, disk.read(0.5, 1), 'EINVAL');
  await rejects(t, disk.read(0, 0), 'EINVAL');
  await rejects(t, disk.write(0, new Uint8Array(100)), 'EINVAL', /multiple of the block size, 512/);
  await rejects(t, disk.write(0, []), 'EINVAL');
  await rejects(t, disk.readInto(0, new Uint8Array(0)), 'EINVAL');
  const error = await rejects(t, disk.read(8192, 1), 'NVME_LBA_OUT_OF_RANGE');
  t.equal(error.status, Status.LbaOutOfRange | 0x4000);
  await rejects(t, disk.read(0, Number.MAX_SAFE_INTEGER), 'NVME_LBA_OUT_OF_RANGE');
  await rejects(t, disk.deallocate(8000, 1000), 'NVME_LBA_OUT_OF_RANGE');
  t.equal(world.fake.log.length, sent);
  const wrong: [Partial<ConnectOptions>, RegExp][] = [
    [{ traddr: '' }, /traddr/],
    [{ trsvcid: 'x' }, /trsvcid/],
    [{ trsvcid: 65536 }, /trsvcid/],
    [{ subnqn: 'x' }, /subnqn/],
    [{ subnqn: 'nqn.2014-08.org.nvmexpress.discovery' }, /discover\(\)/],
    [{ queue_size: 15 }, /queue_size 15 .* 16 to 1024/],
    [{ queue_size: 1025 }, /queue_size/],
    [{ nr_io_queues: 0 }, /nr_io_queues/],
    [{ nr_write_queues: -1 }, /nr_write_queues/],
    [{ nr_io_queues: 65_533, nr_write_queues: 2 }, /nr_write_queues 2 .* 0 to 1$/],
    [{ keep_alive_tmo: -1 }, /keep_alive_tmo/],
    [{ ctrl_loss_tmo: -2 }, /ctrl_loss_tmo/],
    [{ reconnect_delay: 0 }, /reconnect_delay/],
    [{ hostid: 'x' }, /hostid/],
    [{ hostnqn: 'nqn.2024-01.x:ö', hostid: UUID }, /ASCII/],
  ];
  for (const [options, message] of wrong) await rejects(t, world.connect(options), 'EINVAL', message);
});

t.test('a status is an NvmeError with its name and number', async (t) => {
  const world = new World();
  const disk = (await world.connect()).head(1);
  for (const [status, code] of [
    [Status.NamespaceWriteProtected | 0x4000, 'NVME_NAMESPACE_WRITE_PROTECTED'],
    [0x1c7, 'NVME_STATUS_1C7'],
  ] as const) {
    world.fake.script = ({ on, cid }) => (on.respond(cid, status), true);
    const error = await rejects(t, world.run(disk.flush()), code, /flush on nvme0n1/);
    t.equal(error.status, status);
  }
});

t.test('errors of connecting have the system’s names', async (t) => {
  const world = new World();
  await rejects(t, world.connect({ trsvcid: 4444 }), 'ECONNREFUSED');
  world.fake.onInitialize = () => undefined;
  await rejects(t, world.run(world.host.connect(OPTIONS), 1000), 'ETIMEDOUT');
  world.fake.onInitialize = (on) => on.raw([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
  await rejects(t, world.run(world.host.connect(OPTIONS), 1000), 'EPROTO');
  world.fake.onInitialize = (on) => on.transport.close();
  await rejects(t, world.run(world.host.connect(OPTIONS), 1000), 'ECONNRESET');
  const subsystem = await (async () => {
    world.fake.onInitialize = undefined;
    return world.connect();
  })();
  t.throws(() => subsystem.head(7), { code: 'ENODEV', message: /no namespace 7, only 1/ });
});

t.test('connecting twice to the same place is connecting once, unless told otherwise', async (t) => {
  const world = new World();
  const [a, b] = await world.run(Promise.all([world.host.connect(OPTIONS), world.host.connect(OPTIONS)]));
  t.equal(a, b);
  t.equal(await world.connect(), a);
  t.equal(a.controllers.length, 1);
  world.fake.cntlid = 2;
  t.equal(await world.connect({ duplicate_connect: true }), a, 'the same subsystem');
  t.strictSame(
    a.controllers.map(({ name, cntlid, state }) => [name, cntlid, state]),
    [
      ['nvme0', 1, 'live'],
      ['nvme1', 2, 'live'],
    ],
  );
  t.strictSame(a.heads[0]?.paths, [
    { name: 'nvme0c0n1', controller: 'nvme0', usable: true },
    { name: 'nvme0c1n1', controller: 'nvme1', usable: true },
  ]);
  await world.run(a.disconnect());
  t.strictSame(world.host.subsystems, []);
  t.not(await world.connect(), a, 'another one, and the number is free again');
});

t.test('several ways: one controller for each, and those that fail are tried on', async (t) => {
  const world = new World();
  const second = new FakeController(world.env, 4421);
  second.cntlid = 2;
  const ways = [4421, 4499].map((trsvcid) => ({ traddr: '127.0.0.1', trsvcid, preferred: trsvcid === 4421 }));
  const subsystem = await world.connect({ ways, iopolicy: 'preferred', reconnect_delay: 1 });
  const [disk] = subsystem.heads;
  t.strictSame(
    disk?.paths.map(({ usable }) => usable),
    [true, true],
  );
  t.match(
    disk?.why(),
    { verdict: /goes by nvme0c1n1/, iopolicy: 'preferred', writeFailover: 'safe' },
    'preferred',
  );
  const third = new FakeController(world.env, 4499);
  third.cntlid = 3;
  await world.until(() => disk?.paths.length === 3, 100);
  await rejects(t, world.run(world.host.connect({ ...OPTIONS, trsvcid: 1, ways: [] })), 'ECONNREFUSED');
  const nowhere = [{ traddr: '127.0.0.1', trsvcid: 2 }];
  await rejects(t, world.run(world.host.connect({ ...OPTIONS, trsvcid: 1, ways: nowhere })), 'ECONNREFUSED');
  await world.run(world.host.close());
});

t.test('how paths are used: options that are checked, and may change', async (t) => {
  const world = new World();
  const wrong: Partial<ConnectOptions>[] = [
    { iopolicy: 'fastest' as 'numa' },
    { write_failover: 'never' as 'safe' },
    { delayed_removal_secs: -1 },
    { delayed_removal_secs: 0.5 },
    { delayed_removal_secs: 2 ** 31 },
  ];
  for (const each of wrong)
    await rejects(t, world.run(world.host.connect({ ...OPTIONS, ...each })), 'EINVAL');
  const subsystem = await world.connect({ delayed_removal_secs: 7 });
  const disk = subsystem.head(1);
  t.strictSame(subsystem.options, { iopolicy: 'numa', write_failover: 'safe', delayed_removal_secs: 7 });
  t.equal(disk.delayedRemovalSecs, 7);
  subsystem.set({ iopolicy: 'queue-depth', delayed_removal_secs: 5 });
  t.match(disk.why(), { iopolicy: 'queue-depth', delayedRemovalSecs: 5, writeFailover: 'safe' });
  disk.delayedRemovalSecs = 3;
  t.throws(() => (disk.delayedRemovalSecs = NaN), { code: 'EINVAL' });
  t.throws(() => subsystem.set({ iopolicy: '' as 'numa' }), { code: 'EINVAL' });
  await world.run(subsystem.disconnect());
  t.match(disk.why(), { state: 'orphaned', verdict: /waits: there is no path/ });
  const reading = disk.read(0, 1);
  reading.catch(() => undefined);
  await rejects(t, world.run(reading, 1000), 'NVME_HOST_PATH_ERROR');
});

t.test('compare and raw commands; an outcome that nobody knows has a code of its own', async (t) => {
  const world = new World();
  const disk = (await world.connect({ reconnect_delay: 1 })).head(1);
  await world.run(disk.compare(0, new Uint8Array(512)));
  const report = { opcode: 0x0e, dwords: [15], direction: 'in', changes: false, repeatable: true } as const;
  const answer = new Uint8Array(64);
  world.fake.script = ({ name, on, cid, length }) => {
    if (name !== 'Reservation Report') return false;
    on.data(cid, new Uint8Array(length).fill(9));
    on.respond(cid, 0, 7, 8);
    return true;
  };
  t.strictSame(await world.run(disk.command(report, answer)), { dw0: 7, dw1: 8 });
  t.equal(answer[63], 9);
  world.fake.script = ({ on }) => on.qid !== 0;
  const doubtful: Promise<unknown>[] = [
    disk.compare(0, new Uint8Array(512)),
    disk.write(0, new Uint8Array(512)),
    disk.command({ ...report, changes: true, repeatable: false }, answer),
  ];
  world.env.clock.settle();
  world.fake.cut();
  for (const each of doubtful) each.catch(() => undefined);
  for (const each of doubtful) {
    const error = await rejects(t, world.run(each, 100), 'OUTCOME_UNKNOWN', /may have been carried out/);
    t.equal(error.status, Status.AbortedByHost);
  }
  await world.run(world.host.close(), 100);
});

t.test('AbortSignal: a connect that waits is given up', async (t) => {
  const world = new World();
  world.fake.onInitialize = () => undefined;
  const abort = new AbortController();
  const connecting = world.host.connect({ ...OPTIONS, signal: abort.signal });
  connecting.catch(() => undefined);
  await world.until(() => world.fake.connections.length > 0);
  abort.abort(new Error('enough'));
  const error = await rejects(t, world.run(connecting), 'ABORT_ERR');
  t.match(error.cause, { message: 'enough' });
  t.strictSame(world.env.clock.timers, []);
  await rejects(t, world.run(world.host.connect({ ...OPTIONS, signal: abort.signal })), 'ABORT_ERR');
});

t.test('AbortSignal: an I/O is left, its buffer is the caller’s again, its CID is not', async (t) => {
  const world = new World();
  const disk = (await world.connect()).head(1);
  const commands: FakeCommand[] = [];
  world.fake.script = (command) => commands.push(command) > 0;
  const abort = new AbortController();
  const buffer = new Uint8Array(512);
  const reading = disk.readInto(0, buffer, { signal: abort.signal });
  world.env.clock.settle();
  abort.abort();
  await rejects(t, reading, 'ABORT_ERR');
  const [{ on, cid }] = commands as [FakeCommand];
  on.data(cid, new Uint8Array(512).fill(1), 0, Flag.last);
  on.respond(cid);
  world.env.clock.settle();
  t.equal(buffer[0], 0);
  await rejects(t, disk.flush({ signal: abort.signal }), 'ABORT_ERR');
  t.equal(commands.length, 1, 'a signal that was aborted before: nothing is sent');
  world.fake.script = () => false;
  await world.run(disk.read(0, 1, { signal: new AbortController().signal }));
});

t.test('admin commands: decoded and raw', async (t) => {
  const world = new World();
  const [controller] = (await world.connect()).controllers;
  t.match(controller, {
    traddr: '127.0.0.1',
    trsvcid: '4420',
    subnqn: SUBNQN,
    hostnqn: HOSTNQN,
    hostid: HOSTID,
  });
  t.strictSame(controller!.queues, { count: 1, entries: 128 });
  const identified = await world.run(controller!.identify());
  t.equal(identified.value.mn, 'fake controller');
  t.equal(identified.bytes.length, 4096);
  t.equal((await world.run(controller!.identifyNamespace(1))).value.nsze, 8192);
  t.equal((await world.run(controller!.identifyDescriptors(1))).value.uuid, UUID);
  t.strictSame(await world.run(controller!.listNamespaces()), [1]);
  t.equal((await world.run(controller!.getLogPage(2, 512))).length, 512);
  t.equal(await world.run(controller!.getFeature(6)), 0);
  await rejects(t, controller!.getLogPage(2, 3), 'EINVAL');
  await rejects(t, world.run(controller!.identifyNamespace(9)), 'NVME_INVALID_FIELD');
  await rejects(t, controller!.identifyNamespace(-1), 'EINVAL');
  world.fake.pages.set(2, new Uint8Array(4096).fill(1));
  await rejects(t, world.run(controller!.listNamespaces()), 'EPROTO');
  await world.run(controller!.disconnect());
  t.equal(controller!.state, 'dead');
});

t.test('records that let in nobody without TLS: where it is required, or named without saying more', (t) => {
  const asks = (secureChannel: number, sectype: number): boolean =>
    asksForTls(discoveryRecord(DiscoveryEntry.bytes({ treq: { secureChannel, disableSqFlow: 1 }, sectype })));
  t.strictSame(
    [0, 1, 2].map((channel) => [0, 1, 2].map((type) => asks(channel, type))),
    [
      [false, true, true],
      [true, true, true],
      [false, false, false],
    ],
  );
  t.end();
});

t.test('discover: records in the words of nvme-cli', async (t) => {
  const world = new World();
  world.fake.identify = { cntrltype: 2, kas: 0 };
  world.fake.logPage = (_lid, offset, length) => {
    const all = new Uint8Array(2048);
    all.set(DiscoveryHeader.bytes({ genctr: 7, numrec: 1 }));
    const entry = {
      trtype: 3,
      adrfam: 1,
      subtype: 2,
      treq: { disableSqFlow: 1 },
      portid: 1,
      cntlid: 0xffff,
      asqsz: 32,
    };
    all.set(DiscoveryEntry.bytes({ ...entry, trsvcid: '4420', subnqn: SUBNQN, traddr: '127.0.0.1' }), 1024);
    return all.slice(offset, offset + length);
  };
  const found = await world.run(world.host.discover({ traddr: '127.0.0.1', trsvcid: 4420 }));
  t.strictSame(found, {
    genctr: 7,
    records: [
      {
        trtype: 'tcp',
        adrfam: 'ipv4',
        subtype: 'nvme subsystem',
        treq: 'not specified, sq flow control disable supported',
        portid: 1,
        trsvcid: '4420',
        subnqn: SUBNQN,
        traddr: '127.0.0.1',
        eflags: 'none',
        sectype: 'none',
        cntlid: 0xffff,
        asqsz: 32,
      },
    ],
  });
  t.ok(
    world.fake.connections.every(({ gone }) => gone),
    'and leaves',
  );
  t.strictSame(world.host.subsystems, []);
  t.strictSame(world.env.clock.timers, []);
});

t.test('an identity is generated once and kept in the state folder; a clash of two is refused', async (t) => {
  const state = await mkdtemp(join(tmpdir(), 'nvme-tcp-host-'));
  t.teardown(() => rm(state, { recursive: true }));
  const first = await createHost({ state, etc: '/nonexistent' }).identity();
  t.match(first.hostnqn, /^nqn\.2014-08\.org\.nvmexpress:uuid:[0-9a-f-]{36}$/);
  t.equal(first.hostnqn.slice(-36), first.hostid);
  t.strictSame(await createHost({ state, etc: '/nonexistent' }).identity(), first);
  t.strictSame(JSON.parse(await readFile(join(state, 'host.json'), 'utf8')), first);

  const world = new World();
  await world.connect();
  await rejects(
    t,
    world.connect({ hostnqn: 'nqn.2024-01.x:other', hostid: HOSTID }),
    'EINVAL',
    /one NQN, one ID/,
  );
});

t.test('a host is closed while it connects: the attempt is rejected, nothing is left', async (t) => {
  const world = new World();
  world.fake.onInitialize = () => undefined;
  const connecting = world.host.connect(OPTIONS);
  connecting.catch(() => undefined);
  await world.until(() => world.fake.connections.length > 0);
  await world.run(world.host.close());
  await rejects(t, connecting, 'ECANCELED');
  t.strictSame(world.env.clock.timers, []);
});
