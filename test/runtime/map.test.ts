/** Files as memory: real mappings, real sockets. Whatever happens to the file, the process must live. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { createHost } from '../../src/api/host.ts';
import type { NvmeDisk } from '../../src/api/disk.ts';
import { nodeEnv } from '../../src/runtime/node/env.ts';
import { NodeFiles } from '../../src/runtime/node/files.ts';
import { NodeFileMap } from '../../src/runtime/node/file-map.ts';
import { Syscalls } from '../../src/runtime/node/syscalls.ts';
import type { FileIo, FileMap, Transport } from '../../src/runtime/ports.ts';
import type { Limits } from '../../src/target/limits.ts';
import { Target } from '../../src/target/target.ts';
import { connectCapsule, enableCapsule, icReq } from '../../scripts/bench/encoded.ts';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { ReadWrite } from '../../src/nvme/sqe.ts';
import { CapsuleResp, ICResp } from '../../src/pdu/pdus.ts';
import { inTransport } from '../doubles/wire-host.ts';
import t from 'tap';

const BLOCK = 4096;
const GIB = 2 ** 30;
const syscalls = Syscalls.load();
if (syscalls === undefined) t.pass('koffi is not here: nothing is mapped');

const env = nodeEnv();

function openFile(path: string, readOnly = false): Promise<FileIo> {
  return new Promise((resolve, reject) => {
    env.files.open(path, { readOnly }, (error, file) => {
      if (file) resolve(file);
      else reject(new Error(error?.message));
    });
  });
}
const closeFile = (file: FileIo): Promise<void> => new Promise((resolve) => file.close(() => resolve()));

const askResident = (map: FileMap, offset: number, length: number): Promise<Uint8Array | undefined> =>
  new Promise((resolve) => map.resident(offset, length, resolve));

/** Two ends of a real connection. */
function pair(): Promise<[Transport, Transport]> {
  return new Promise((resolve, reject) => {
    let both = (): void => undefined;
    let server: Transport | undefined;
    env.net.listen(
      { host: '127.0.0.1', port: 0 },
      (accepted) => {
        server = accepted;
        both();
      },
      (error, listener) => {
        if (!listener) {
          reject(new Error(error?.message));
          return;
        }
        env.net.connect({ to: listener.address }, (refused, client) => {
          if (!client) {
            reject(new Error(refused?.message));
            return;
          }
          // Either end may be told first.
          both = () => {
            const accepted = server;
            if (accepted !== undefined) listener.close(() => resolve([accepted, client]));
          };
          both();
        });
      },
    );
  });
}

if (syscalls !== undefined) {
  t.test('a file is mapped in windows of 1 GiB, and a range may lie in two of them', (t) => {
    const path = join(t.testdir(), 'file');
    fs.writeFileSync(path, '');
    fs.truncateSync(path, 2 * GIB);
    const fd = fs.openSync(path, 'r+');
    fs.writeSync(fd, 'left', GIB - 4);
    fs.writeSync(fd, 'right', GIB);
    const map = new NodeFileMap({ fd, syscalls });
    const parts: Uint8Array[] = [];
    t.ok(map.slice(GIB - 4, 9, parts));
    t.equal(Buffer.concat(parts).toString(), 'leftright');
    map.unmap();
    t.notOk(map.slice(0, 1, parts), 'nothing is mapped any more');
    fs.closeSync(fd);
    t.end();
  });

  t.test('when no mapping is left, nothing more is mapped, and nothing is half mapped', (t) => {
    const path = join(t.testdir(), 'file');
    fs.writeFileSync(path, '');
    fs.truncateSync(path, 2 * GIB);
    const fd = fs.openSync(path, 'r');
    const map = new NodeFileMap({ fd, syscalls, mostWindows: 1 });
    const parts: Uint8Array[] = [];
    t.notOk(map.slice(GIB - 4, 8, parts));
    t.strictSame(parts, []);
    t.ok(map.slice(0, 8, parts));
    map.unmap();
    fs.closeSync(fd);
    t.end();
  });

  t.test('the system says which pages are in memory', async (t) => {
    const path = join(t.testdir(), 'file');
    fs.writeFileSync(path, new Uint8Array(8 * syscalls.pageSize).fill(1));
    const file = await openFile(path);
    const map = file.map()!;
    const pages = (await askResident(map, 0, 8 * syscalls.pageSize))!;
    t.equal(pages.length, 8);
    t.ok(pages.every((page) => (page & 1) === 1));
    map.unmap();
    await closeFile(file);
  });

  t.test('a socket that is to send what was cut off says so, closes, and nothing else happens', async (t) => {
    const path = join(t.testdir(), 'file');
    fs.writeFileSync(path, new Uint8Array(64 * BLOCK).fill(1));
    const file = await openFile(path);
    const map = file.map()!;
    const [server, client] = await pair();
    const parts: Uint8Array[] = [];
    map.slice(0, 64 * BLOCK, parts);
    fs.truncateSync(path, BLOCK);
    const said: string[] = [];
    const closed = new Promise<void>((resolve) => {
      server.start({
        data: () => undefined,
        end: () => undefined,
        faulted: () => said.push('faulted'),
        closed: (error) => {
          said.push(`closed ${error ?? ''}`);
          resolve();
        },
      });
    });
    client.start({ data: () => undefined, end: () => client.close(), closed: () => undefined });
    server.write(parts, () => said.push('done'));
    await closed;
    t.strictSame(said.slice(0, 2), ['faulted', 'done']);
    t.match(said[2], /^closed EFAULT/);
    map.unmap();
    await closeFile(file);
  });
}

/** A target over a real file, and a disk that reads from it over a real connection. */
async function serve(
  file: FileIo,
  limits: Partial<Limits> = {},
): Promise<{ target: Target; port: number; disk: () => Promise<NvmeDisk>; stop: () => Promise<void> }> {
  const target = new Target(env, limits);
  const subsystem = target.addSubsystem({ nqn: 'nqn.2024-01.test:map', serial: 'S', model: 'M' });
  target.addNamespace(subsystem, file, {
    nsid: 1,
    uuid: '00000000-0000-4000-8000-000000000001',
    blockSize: BLOCK,
    readOnly: false,
  });
  const port = await new Promise<number>((resolve, reject) => {
    target.ports.listen({ host: '127.0.0.1', port: 0 }, (error, made) => {
      if (made) resolve(made.address.port);
      else reject(new Error(error?.message));
    });
  });
  const hosts: ReturnType<typeof createHost>[] = [];
  return {
    target,
    port,
    disk: async () => {
      const host = createHost({
        hostnqn: 'nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555',
      });
      hosts.push(host);
      const found = await host.connect({
        traddr: '127.0.0.1',
        trsvcid: String(port),
        subnqn: subsystem.nqn,
        nr_io_queues: 1,
        ctrl_loss_tmo: 0,
        // Nothing that the machine does meanwhile ends it.
        keep_alive_tmo: 0,
      });
      return found.heads[0]!;
    },
    stop: async () => {
      await Promise.all(hosts.map((host) => host.close()));
      await new Promise<void>((resolve) => target.stop(resolve));
    },
  };
}

/** The next so many bytes of a socket that is not read otherwise, in however many pieces they come. */
async function take(socket: Socket, bytes: number): Promise<Buffer> {
  for (;;) {
    const taken = socket.read(bytes) as Buffer | null;
    if (taken !== null) return taken;
    await once(socket, 'readable');
  }
}

/** A host that asks for all of the blocks, and then reads nothing of what it gets. All of it is on its way. */
async function stalledReader(target: Target, port: number, blocks: number): Promise<Socket> {
  const nqn = 'nqn.2024-01.test:map';
  const open = async (qid: number, cntlid: number): Promise<{ socket: Socket; cntlid: number }> => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    const answer = (request: Uint8Array, { size }: { size: number }): Promise<Buffer> => {
      socket.write(request);
      return take(socket, size);
    };
    await answer(icReq(false), ICResp);
    const response = await answer(connectCapsule(nqn, qid, cntlid, 127, false), CapsuleResp);
    if (qid === 0) await answer(enableCapsule(false), CapsuleResp);
    return { socket, cntlid: response.readUInt16LE(8) };
  };
  const admin = await open(0, 0xffff);
  const io = await open(1, admin.cntlid);
  io.socket.on('close', () => admin.socket.destroy());
  for (let slba = 0; slba < blocks; slba += 64) {
    const sqe = ReadWrite.bytes({
      opc: 2,
      cid: slba / 64,
      nsid: 1,
      slba,
      nlb: 64,
      dptr: inTransport(64 * BLOCK),
    });
    sqe[1] = 0x40;
    io.socket.write(Buffer.concat([Buffer.from([4, 0, 72, 0, 72, 0, 0, 0]), sqe]));
  }
  const { localPort, bytesWritten } = io.socket;
  const isUnderWay = (): boolean =>
    [...target.ports.connections()].some(
      ({ transport, received, queue }) =>
        transport.remote.port === localPort && received === bytesWritten && queue.executing === 0,
    );
  while (!isUnderWay()) await new Promise((resolve) => setTimeout(resolve, 5));
  return io.socket;
}

t.test(
  'without koffi, and where the system does not tell what is in memory, nothing is mapped',
  async (t) => {
    const path = join(t.testdir(), 'file');
    fs.writeFileSync(path, new Uint8Array(16 * BLOCK).fill(7));
    const plain = await new Promise<FileIo>((resolve, reject) => {
      new NodeFiles(env.clock, undefined).open(path, { readOnly: false }, (error, file) => {
        if (file) resolve(file);
        else reject(new Error(error?.message));
      });
    });
    t.equal(plain.map(), undefined);
    const world = await serve(plain);
    const disk = await world.disk();
    t.ok((await disk.read(3, 2)).every((byte) => byte === 7));
    await disk.write(3, new Uint8Array(2 * BLOCK).fill(9));
    t.ok((await disk.read(3, 2)).every((byte) => byte === 9));
    await world.stop();

    // mincore(2) is only honest to whoever owns the file or may write it.
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid!(65534);
    try {
      const file = await openFile('/etc/passwd', true);
      t.equal(file.map(), undefined);
      await closeFile(file);
    } finally {
      if (isRoot) process.seteuid!(0);
    }
  },
);

t.test('a host that stops reading keeps nobody from writing the same blocks for long', async (t) => {
  const path = join(t.testdir(), 'file');
  const size = 2048 * BLOCK;
  fs.writeFileSync(path, new Uint8Array(size).fill(7));
  // More at once than any socket takes, so that a part of it stays lent.
  const world = await serve(await openFile(path), { lendAtOnce: size, sendBacklog: size, lendTimeout: 300 });
  const disk = await world.disk();
  for (let i = 0; i < 2048; i += 64) await disk.read(i, 64);
  const stalled = await stalledReader(world.target, world.port, 2048);
  await disk.write(0, new Uint8Array(BLOCK).fill(9));
  for (let i = 0; i < 2048; i += 32) await disk.write(i, new Uint8Array(BLOCK).fill(9));
  t.ok((await disk.read(0, 1)).every((byte) => byte === 9));
  stalled.destroy();
  await world.stop();
});

t.test('a file that is cut under load costs a connection at most; what is left can be read', async (t) => {
  const path = join(t.testdir(), 'file');
  const size = 256 * BLOCK;
  fs.writeFileSync(path, new Uint8Array(size).fill(7));
  const world = await serve(await openFile(path));
  const disk = await world.disk();
  for (let i = 0; i < 256; i++) await disk.read(i, 1);
  const read = async (): Promise<string> => {
    const slba = Math.floor(Math.random() * 256);
    try {
      const data = await disk.read(slba, 1);
      return data.every((byte) => byte === 7) ? 'good' : `torn at ${slba}`;
    } catch {
      return 'failed';
    }
  };
  const load = Array.from({ length: 512 }, read);
  fs.truncateSync(path, 16 * BLOCK);
  const results = await Promise.all([...load, ...Array.from({ length: 512 }, read)]);
  t.notOk(results.some((result) => result.startsWith('torn')));
  const after = await world.disk();
  t.ok((await after.read(3, 1)).every((byte) => byte === 7));
  await t.rejects(after.read(200, 1));
  await world.stop();
});

t.test('a file that is replaced under load is still the one that was opened', async (t) => {
  const folder = t.testdir();
  const path = join(folder, 'file');
  fs.writeFileSync(path, new Uint8Array(64 * BLOCK).fill(7));
  const world = await serve(await openFile(path));
  const disk = await world.disk();
  await disk.read(0, 64);
  const load = Array.from({ length: 64 }, (_, i) => disk.read(i, 1));
  fs.writeFileSync(join(folder, 'other'), new Uint8Array(64 * BLOCK).fill(8));
  fs.renameSync(join(folder, 'other'), path);
  for (const data of [...(await Promise.all(load)), await disk.read(5, 1)])
    t.ok(data.every((byte) => byte === 7));
  await world.stop();
});
