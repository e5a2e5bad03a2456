import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { HeadDevice } from '../../src/api/head-device.ts';
import { createHost } from '../../src/api/index.ts';
import { viewOf } from '../../src/layout/struct.ts';
import {
  CommandFlag,
  CommandType as Type,
  Errno,
  ExportNameReply,
  Magic,
  OptionHeader,
} from '../../src/nbd/protocol.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { DsmRange, ReadWrite, WriteZeroes } from '../../src/nvme/sqe.ts';
import { Status } from '../../src/nvme/status.ts';
import { memoryEnv } from '../../src/runtime/memory/env.ts';
import { MemoryTransport } from '../../src/runtime/memory/net.ts';
import { BLOCK, FakeController, SUBNQN, type FakeCommand } from '../doubles/fake-controller.ts';
import { settled } from '../doubles/turns.ts';
import { HOSTID, HOSTNQN, HostWorld } from '../doubles/host-world.ts';
import { NbdClient } from '../doubles/nbd-world.ts';

const DNR = 0x4000;

/** Short, wherever the tests are: a socket's path has a limit. */
function socketPath(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'nbd-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'disk.sock');
}

/** A head over a fake controller, served to a client, all in one small world. */
class World extends HostWorld {
  readonly server = new NbdServer(this.env);
  readonly head = this.up().head;

  constructor() {
    super();
    this.server.add(this.head.name, '', new HeadDevice(this.head));
    this.fake.log.length = 0;
  }

  client(): NbdClient {
    const [near, far] = MemoryTransport.pair(this.env.clock);
    this.server.accept(far);
    const client = new NbdClient(this.env, near);
    client.go();
    return client;
  }

  /** Answers every command of that name with a status. */
  refuse(name: string, status: number): void {
    this.fake.script = (command) => {
      if (command.name !== name) return false;
      command.on.respond(command.cid, status);
      return true;
    };
  }
}

const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 31) & 0xff);

t.test('NBD requests are commands of the head', (t) => {
  const world = new World();
  const seen: FakeCommand[] = [];
  world.fake.script = (command) => {
    seen.push(command);
    return false;
  };
  const client = world.client();
  t.equal(client.write(8 * BLOCK, bytes(40 * BLOCK), CommandFlag.fua).error, 0);
  t.equal(ReadWrite.cdw12.fua.get(seen[0]!.view, 0), 1);
  t.strictSame(client.read(8 * BLOCK, 40 * BLOCK).data, bytes(40 * BLOCK));
  t.equal(client.ask(Type.Flush, 0, 0).error, 0);
  t.equal(client.ask(Type.WriteZeroes, 0, 8 * BLOCK).error, 0);
  t.equal(
    client.ask(Type.WriteZeroes, 0, 8 * BLOCK, { flags: CommandFlag.noHole | CommandFlag.fua }).error,
    0,
  );
  t.equal(client.ask(Type.Trim, 8 * BLOCK, 8 * BLOCK).error, 0);
  t.equal(client.ask(Type.Trim, 8 * BLOCK, 8 * BLOCK, { flags: CommandFlag.fua }).error, 0);
  const io = seen.filter(({ on }) => on.qid > 0);
  t.strictSame(
    io.map(({ name }) => name),
    [
      'Write',
      'Read',
      'Flush',
      'Write Zeroes',
      'Write Zeroes',
      'Dataset Management',
      'Dataset Management',
      'Flush',
    ],
  );
  const zeroes = [io[3]!, io[4]!].map(({ view }) => WriteZeroes.cdw12.decode(view, 0));
  t.strictSame(
    zeroes.map(({ deac, fua }) => [deac, fua]),
    [
      [1, 0],
      [0, 1],
    ],
    'NO_HOLE keeps the space',
  );
  t.equal(DsmRange.slba.get(viewOf(io[5]!.data), 0), 8);
  t.equal(DsmRange.length.get(viewOf(io[5]!.data), 0), 8);
  t.end();
});

t.test('what a status means to a client', (t) => {
  const world = new World();
  const client = world.client();
  for (const [status, errno] of [
    [Status.CapacityExceeded, Errno.ENOSPC],
    [Status.NamespaceWriteProtected, Errno.EPERM],
    [Status.ReservationConflict, Errno.EPERM],
    [Status.AccessDenied, Errno.EPERM],
    [Status.LbaOutOfRange, Errno.EINVAL],
    [Status.WriteFault, Errno.EIO],
  ] as const) {
    world.refuse('Write', status | DNR);
    t.equal(client.write(0, bytes(BLOCK)).error, errno);
  }
  t.end();
});

t.test(
  'a controller without Write Zeroes is written zeroes; one without deallocation keeps its blocks',
  (t) => {
    const world = new World();
    const client = world.client();
    world.fake.disk.fill(1);
    world.refuse('Write Zeroes', Status.InvalidOpcode | DNR);
    t.equal(client.ask(Type.WriteZeroes, BLOCK, 3000 * BLOCK).error, 0);
    t.ok(world.fake.disk.subarray(BLOCK, 3001 * BLOCK).every((byte) => byte === 0));
    t.strictSame([world.fake.disk[BLOCK - 1], world.fake.disk[3001 * BLOCK]], [1, 1]);
    world.refuse('Write Zeroes', Status.WriteFault | DNR);
    t.equal(client.ask(Type.WriteZeroes, 0, BLOCK).error, Errno.EIO, 'other errors are told');

    world.fake.log.length = 0;
    world.refuse('Dataset Management', Status.InvalidOpcode | DNR);
    t.equal(client.ask(Type.Trim, 0, BLOCK).error, 0);
    t.equal(client.ask(Type.Trim, 0, BLOCK, { flags: CommandFlag.fua }).error, 0);
    t.strictSame(world.fake.log, ['q1 Dataset Management', 'q1 Dataset Management', 'q1 Flush']);
    world.refuse('Dataset Management', Status.WriteFault | DNR);
    t.equal(client.ask(Type.Trim, 0, BLOCK, { flags: CommandFlag.fua }).error, Errno.EIO);
    t.end();
  },
);

t.test('who leaves takes along what the controller has not answered', (t) => {
  const world = new World();
  world.fake.script = (command) => command.on.qid > 0;
  const client = world.client();
  client.send(Type.Read, 0, 8 * BLOCK);
  client.send(Type.Write, 0, BLOCK, { data: bytes(BLOCK) });
  client.send(Type.WriteZeroes, 0, BLOCK);
  client.send(Type.Trim, 0, BLOCK);
  t.equal(world.head.inFlight, 4);
  client.transport.close();
  world.settle();
  t.equal(world.head.inFlight, 0);
  t.equal(world.server.connections.size, 0);
  t.equal(world.server.buffers.lent, 0);
  t.end();
});

t.test('NUM.7 a subsystem and its number stay until the last NBD client of its disks has left', (t) => {
  const world = new World();
  const { registry } = world;
  const { subsystem } = world.head;
  const clients = [world.client(), world.client()];
  for (const controller of [...registry.controllers]) controller.disconnect('disconnected', () => undefined);
  world.settle();
  t.ok(world.head.gone);
  t.equal(clients[0]!.read(0, BLOCK).error, Errno.EIO);
  for (const client of clients) {
    t.notOk(subsystem.gone);
    t.strictSame(registry.taken, [0]);
    client.transport.close();
    world.settle();
  }
  t.ok(subsystem.gone);
  t.strictSame(registry.taken, []);
  t.end();
});

/** A host of its own, connected to a fake controller; its world goes on while `run` waits. */
async function connected(namespaces: FakeController['namespaces'] = []) {
  const env = memoryEnv();
  const fake = new FakeController(env);
  fake.namespaces.push(...namespaces);
  const host = createHost({ env, etc: '/nonexistent', hostnqn: HOSTNQN, hostid: HOSTID });
  const run = <T>(promise: Promise<T>): Promise<T> => settled(env, promise);
  const options = { traddr: '127.0.0.1', subnqn: SUBNQN, nr_io_queues: 1, keep_alive_tmo: 0 };
  return { host, run, subsystem: await run(host.connect(options)) };
}

t.test('host.serveNbd: a private socket, exports by name, an end in order', async (t) => {
  const { host, run, subsystem } = await connected([
    { nsid: 2, blocks: 16, ids: { uuid: '6b2f8f6c-6e0b-4cc1-8f8e-0d5e7c8a9b11' } },
  ]);
  const path = socketPath(t);
  const served = await run(host.serveNbd(subsystem.heads, { path }));
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.strictSame(served.exports, [
    { name: 'nvme0n1', size: 8192 * BLOCK, clients: 0 },
    { name: 'nvme0n2', size: 16 * BLOCK, clients: 0 },
  ]);
  t.equal(served.uri('nvme0n2'), `nbd+unix:///nvme0n2?socket=${path}`);
  await t.rejects(run(host.serveNbd(subsystem.heads, { path })), { code: 'EADDRINUSE' });

  const sizeOf = (name: string): Promise<{ socket: Socket; size: number | bigint }> =>
    new Promise((resolve) => {
      const socket = connect(path);
      const length = Buffer.byteLength(name);
      socket.write(Uint8Array.of(0, 0, 0, 3));
      socket.write(OptionHeader.bytes({ magic: Magic.option, option: 1, length }));
      socket.write(name);
      let came = Buffer.alloc(0);
      socket.on('data', (chunk) => {
        came = Buffer.concat([came, chunk]);
        if (came.length < 28) return;
        resolve({ socket, size: ExportNameReply.exportSize.get(viewOf(came), 18) });
      });
    });
  const { socket, size } = await run(sizeOf('nvme0n2'));
  t.equal(size, 16 * BLOCK);
  t.strictSame(
    served.exports.map(({ clients }) => clients),
    [0, 1],
  );
  const ended = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  await run(host.close());
  await run(ended);
  await run(served.ended);
  t.notOk(existsSync(path));
});

t.test('a disk that is gone is not served any more', async (t) => {
  const { host, run, subsystem } = await connected();
  const served = await run(host.serveNbd(subsystem.heads, { path: socketPath(t) }));
  await run(subsystem.disconnect());
  await run(served.ended);
  t.strictSame(served.exports, []);
  await run(host.close());
});
