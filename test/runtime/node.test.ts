import * as fs from 'node:fs';
import type { FileIo, IoError, Listener, Transport, TransportEvents } from '../../src/runtime/ports.ts';
import { assert, must } from '../../src/runtime/assert.ts';
import { type ChildProcess, fork } from 'node:child_process';
import type { Asked } from '../doubles/node-process.ts';
import { Operation } from '../../src/storage/operation.ts';
import { Slabs } from '../../src/storage/slabs.ts';
import { Volume } from '../../src/storage/volume.ts';
import { crc32c } from '../../src/runtime/crc32c.ts';
import { fileURLToPath } from 'node:url';
import { freePort } from '../doubles/ports.ts';
import { join } from 'node:path';
import { networkInterfaces } from 'node:os';
import { nodeEnv } from '../../src/runtime/node/env.ts';
import { once } from 'node:events';
import t from 'tap';

const env = nodeEnv();
const folder = t.testdir();

interface Opened {
  error?: IoError | undefined;
  file?: FileIo | undefined;
}
const open = (path: string, readOnly = false, createSize?: number): Promise<Opened> =>
  new Promise((resolve) =>
    env.files.open(path, { readOnly, createSize }, (error, file) => resolve({ error, file })),
  );
const mustOpen = async (path: string, readOnly = false, createSize?: number): Promise<FileIo> => {
  const { error, file } = await open(path, readOnly, createSize);
  return must(file, `${path}: ${error?.message}`);
};
const close = (file: FileIo): Promise<IoError | undefined> => new Promise((resolve) => file.close(resolve));
const write = (file: FileIo, offset: number, parts: Uint8Array[]): Promise<IoError | undefined> =>
  new Promise((resolve) => file.write(offset, parts, resolve));
const read = (file: FileIo, offset: number, into: Uint8Array): Promise<number> =>
  new Promise((resolve) => file.read(offset, into, (_error, bytes) => resolve(bytes)));

/** Other processes, which take seconds to start: one as it comes, one without FFI. */
class Other {
  readonly process: ChildProcess;

  constructor(env: object) {
    const path = fileURLToPath(new URL('../doubles/node-process.ts', import.meta.url));
    this.process = fork(path, { env: { ...process.env, ...env } });
  }

  /** A code, or `ok`. */
  async ask(asked: Asked): Promise<string> {
    const answer = once(this.process, 'message') as Promise<[string]>;
    this.process.send(asked);
    return (await answer)[0];
  }

  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await once(this.process, 'exit');
  }
}
const others = { native: new Other({ NVMETCP_NO_FFI: '0' }), plain: new Other({ NVMETCP_NO_FFI: '1' }) };

t.test('DISK.3: a file is created sparse, with its size, once, and private', async (t) => {
  const path = join(folder, 'created');
  const file = await mustOpen(path, false, 2 ** 40);
  t.equal(file.size, 2 ** 40);
  t.equal(fs.statSync(path).blocks, 0);
  t.equal(fs.statSync(path).mode & 0o777, 0o600);
  await close(file);
  const again = await mustOpen(path, false, 4096);
  t.equal(again.size, 2 ** 40);
  await close(again);
});

t.test('a file on tmpfs is known to have no disk behind it, and one on a disk to have one', async (t) => {
  const kinds = new Map(
    fs
      .readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .map((line) => line.split(' '))
      .map(([, at = '', kind = '']) => [at, kind]),
  );
  const folders = ['/dev/shm', folder].filter((at) => at === folder || kinds.get(at) === 'tmpfs');
  for (const at of folders) {
    const place = fs.mkdtempSync(join(at, 'diskless-'));
    const file = await mustOpen(join(place, 'file'), false, 4096);
    const { type } = fs.statfsSync(place);
    t.equal(file.diskless, type === 0x01021994 || type === 0x858458f6, at);
    if (at !== folder) t.equal(file.diskless, true);
    await close(file);
    fs.rmSync(place, { recursive: true });
  }
});

t.test('what is not a file or a block device is refused by name', async (t) => {
  t.equal((await open(folder)).error?.code, 'EISDIR');
  t.equal((await open(join(folder, 'missing'))).error?.code, 'ENOENT');
  t.equal((await open('/dev/null')).error?.code, 'ENOTSUP');
});

t.test('reads and writes go on until all is done', async (t) => {
  const file = await mustOpen(join(folder, 'bytes'), false, 8192);
  // More parts than one system call takes, one of them empty.
  const parts = Array.from({ length: 2048 }, (_, i) => new Uint8Array(i === 5 ? 0 : 3).fill(i % 251));
  t.equal(await write(file, 100, parts), undefined);
  const all = Buffer.concat(parts);
  const bytes = new Uint8Array(all.length);
  t.equal(await read(file, 100, bytes), all.length);
  t.ok(all.equals(bytes));
  t.equal(await read(file, 8000, bytes), 192, 'the file ends');
  const now = file.readNow(100, bytes.fill(0));
  t.ok(now === -1 || (now === bytes.length && all.equals(bytes)), 'at once, or not at all');
  const shared = new Uint8Array(8192).subarray(4000, 4100);
  t.ok([-1, 100].includes(file.readNow(200, shared)));
  t.ok(shared[0] === 0 || shared.every((byte, i) => byte === all[100 + i]));
  t.equal(file.readNow(8000, bytes), -1, 'the end is left to `read`');
  t.throws(() => file.write(8190, [new Uint8Array(3)], () => undefined), { name: 'AssertionFailure' });

  fs.truncateSync(join(folder, 'bytes'), 4096);
  await new Promise((resolve) => file.refresh(resolve));
  t.equal(file.size, 4096);
  await close(file);
});

t.test('DISK.4: holes and zeroes, or ENOTSUP', async (t) => {
  const file = await mustOpen(join(folder, 'holes'), false, 65536);
  await write(file, 0, [new Uint8Array(65536).fill(1)]);
  const punched = await new Promise<IoError | undefined>((resolve) => file.punch(4096, 4096, resolve));
  const zeroed = await new Promise<IoError | undefined>((resolve) => file.zero(16384, 4096, resolve));
  t.equal(punched === undefined, file.canPunch);
  const bytes = new Uint8Array(65536);
  await read(file, 0, bytes);
  t.strictSame(
    [0, 4096, 8191, 8192, 16384, 20480].map((at) => bytes[at]),
    [1, punched ? 1 : 0, punched ? 1 : 0, 1, zeroed ? 1 : 0, 1],
  );
  if (punched) t.equal(punched.code, 'ENOTSUP');
  if (zeroed) t.equal(zeroed.code, 'ENOTSUP');
  t.equal(file.size, 65536);
  await close(file);
});

t.test('a file copies inside itself, or says that it cannot', async (t) => {
  const file = await mustOpen(join(folder, 'copied'), false, 3 * 2 ** 20);
  const bytes = Uint8Array.from({ length: 2 ** 20 }, (_, i) => (i * 7) & 255);
  await write(file, 0, [bytes]);
  const error = await new Promise<IoError | undefined>((resolve) =>
    file.copy(4096, 2 ** 20 + 512, 2 ** 20 - 8192, resolve),
  );
  if (error) t.equal(error.code, 'ENOTSUP');
  else {
    const into = new Uint8Array(2 ** 20 - 8192);
    await read(file, 2 ** 20 + 512, into);
    t.ok(Buffer.compare(into, bytes.subarray(4096, 4096 + into.length)) === 0);
  }
  await close(file);
});

t.test('DISK.5', async (t) => {
  const path = join(folder, 'locked');
  const hard = join(folder, 'hard');
  const soft = join(folder, 'soft');
  await close(await mustOpen(path, false, 4096));
  fs.linkSync(path, hard);
  fs.symlinkSync(path, soft);

  t.test('a file is open once, by whatever name', async (t) => {
    const file = await mustOpen(path);
    for (const name of [path, hard, soft]) {
      t.equal((await open(name)).error?.code, 'EBUSY');
      t.equal((await open(name, true)).error?.code, 'EBUSY');
    }
    await close(file);
    const other = await mustOpen(hard);
    t.equal(other.id, file.id);
    await close(other);
  });

  for (const [name, other] of Object.entries(others)) {
    t.test(`readers share it, with another process too (${name})`, async (t) => {
      const files = [await mustOpen(path, true), await mustOpen(soft, true)];
      t.equal((await open(path)).error?.code, 'EBUSY');
      t.equal(await other.ask({ what: 'open', path: hard, readOnly: true }), 'ok');
      for (const file of files) await close(file);
      t.equal((await open(path)).error?.code, 'EBUSY', 'the other process reads it');
      t.equal(await other.ask({ what: 'close' }), 'ok');
      await close(await mustOpen(path));
    });

    t.test(`another process cannot have what this one writes (${name})`, async (t) => {
      const file = await mustOpen(path);
      t.equal(await other.ask({ what: 'open', path: soft }), 'EBUSY');
      t.equal(await other.ask({ what: 'open', path: soft, readOnly: true }), 'EBUSY');
      await close(file);
      const { stateFolder } = nodeEnv({ stateFolder: join(folder, name, 'state') });
      const lock = (): Promise<IoError | undefined> => new Promise((resolve) => stateFolder!.lock(resolve));
      t.equal(await lock(), undefined);
      t.equal((await lock())?.code, 'EBUSY');
      t.equal(await other.ask({ what: 'lock folder', path: stateFolder!.folder }), 'EBUSY');
      await new Promise<void>((resolve) => stateFolder!.unlock(resolve));
      t.equal(await other.ask({ what: 'lock folder', path: stateFolder!.folder }), 'ok');
      t.match(await lock(), { code: 'EBUSY', message: /state: in use by another process/ });
    });
  }

  t.test('without FFI everything works but holes', async (t) => {
    t.equal(await others.plain.ask({ what: 'open', path }), 'ok');
    t.equal(await others.plain.ask({ what: 'punch' }), 'ENOTSUP');
    t.equal(await others.plain.ask({ what: 'close' }), 'ok');
  });

  for (const [name, other] of Object.entries(others)) {
    t.test(`a lock goes with its process (${name})`, async (t) => {
      t.equal(await other.ask({ what: 'open', path }), 'ok');
      t.match((await open(path)).error, { code: 'EBUSY', message: /locked: in use by another process/ });
      await other.kill();
      await close(await mustOpen(path));
    });
  }
});

t.test('a volume over a real file keeps what it was given', async (t) => {
  const file = await mustOpen(join(folder, 'volume'), false, 65536);
  const volume = new Volume(env, file, {
    blockSize: 512,
    readOnly: false,
    slabs: new Slabs({ budget: 65536 }),
  });
  const run = (set: (op: Operation) => void): Promise<Operation> =>
    new Promise((resolve) => {
      const op = new Operation({ operationDone: resolve });
      set(op);
      volume.submit(op);
    });
  const written = await run((op) => {
    Object.assign(op, { kind: 'write', offset: 512, length: 1024, fua: true });
    op.parts.push(new Uint8Array(1000).fill(7), new Uint8Array(24).fill(8));
  });
  t.equal(written.error, undefined);
  await run((op) => Object.assign(op, { kind: 'zero', offset: 512, length: 512, deallocate: true }));
  const found = await run((op) => Object.assign(op, { kind: 'read', offset: 0, length: 65536 }));
  t.strictSame(
    [511, 1023, 1024, 1511, 1512, 1536].map((at) => found.parts[0]![at]),
    [0, 0, 7, 7, 8, 0],
  );
  volume.giveBack(found);
  volume.invariants();
  t.equal(await new Promise((resolve) => volume.close(resolve)), undefined);
});

t.test('DISK.3: state is private, replaced as a whole, and the last write asked for stays', async (t) => {
  const state = join(folder, 'state');
  const store = must(nodeEnv({ stateFolder: state }).stateFolder, 'a folder was named');
  const put = (text: string): Promise<IoError | undefined> =>
    new Promise((resolve) => store.write('config', text, resolve));
  const get = (name: string): Promise<string | undefined> =>
    new Promise((resolve) => store.read(name, (_error, text) => resolve(text)));
  t.equal(await get('config'), undefined);
  t.strictSame(await Promise.all([put('one'), put('two'), put('three')]), [undefined, undefined, undefined]);
  t.equal(await get('config'), 'three');
  t.equal(fs.statSync(state).mode & 0o777, 0o700);
  t.equal(fs.statSync(join(state, 'config')).mode & 0o777, 0o600);
  t.strictSame(fs.readdirSync(state), ['config']);

  // The new text cannot be written: the old one stays.
  fs.mkdirSync(join(state, 'config.new', 'x'), { recursive: true });
  t.match(await put('four'), { code: 'EISDIR' });
  t.equal(await get('config'), 'three');
  t.throws(() => store.write('../config', '', () => undefined), { name: 'AssertionFailure' });
});

t.test('an assertion leaves the last events in the state folder', (t) => {
  const state = join(folder, 'dump');
  const { trace } = nodeEnv({ stateFolder: state });
  for (let i = 0; i < 1001; i++) trace.event('info', `event ${i}`, { i });
  let path: string | undefined;
  try {
    assert(false, 'the sky fell');
  } catch (error) {
    path = trace.dump(error);
  }
  const text = fs.readFileSync(must(path, 'there is a folder'), 'utf8');
  t.notMatch(text, /event 0 /);
  t.match(text, /event 1 .*event 1000 {"i":1000}.*AssertionFailure: the sky fell/s);
  t.end();
});

t.test('the fast CRC32C and the table agree at every length', (t) => {
  const bytes = env.random.bytes(4096);
  for (const length of [0, 1, 63, 64, 65, 127, 4096]) {
    const part = bytes.subarray(0, length);
    t.equal(env.crypto.crc32c(part, 0), crc32c(part, 0));
    t.equal(env.crypto.crc32c(part, 12345), crc32c(part, 12345));
  }
  t.equal(env.crypto.crc32c(new TextEncoder().encode('123456789'), 0), 0xe3069283);
  t.end();
});

t.test('deferred functions share a turn; timers fire, or not', async (t) => {
  const order: string[] = [];
  const deferred = new Promise<void>((resolve) => {
    env.clock.defer(() => {
      order.push('a');
      env.clock.defer(() => {
        order.push('c');
        resolve();
      });
    });
    env.clock.defer(() => order.push('b'));
  });
  env.clock.timer('never', 1, () => order.push('never')).cancel();
  await new Promise<void>((resolve) => {
    const before = env.clock.now();
    const timer = env.clock.timer('soon', 2, resolve);
    t.match(timer, { name: 'soon' });
    t.ok(timer.due >= before + 2);
  });
  await deferred;
  t.strictSame(order, ['a', 'b', 'c']);
});

t.test('a timer keeps the program from its end, unless it is said not to', (t) => {
  const running = (): number => process.getActiveResourcesInfo().filter((what) => what === 'Timeout').length;
  const before = running();
  const waits = env.clock.timer('waits', 60_000, () => undefined);
  t.equal(running(), before + 1);
  const other = env.clock.timer('does not', 60_000, () => undefined, false);
  t.equal(running(), before + 1);
  waits.cancel();
  other.cancel();
  t.equal(running(), before);
  t.end();
});

/** Records what happens on a transport; `until` waits for an event. */
class Watch implements TransportEvents {
  readonly transport: Transport;
  readonly events: string[] = [];
  bytes = 0;
  #waiting: { what: string; resolve: () => void }[] = [];

  constructor(transport: Transport) {
    this.transport = transport;
    transport.start(this);
  }

  data(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    this.#happened('data');
  }

  end(): void {
    this.#happened('end');
  }

  closed(error?: string): void {
    this.#happened('closed', error === undefined ? 'closed' : `closed ${error.slice(0, error.indexOf(':'))}`);
  }

  async until(what: 'end' | 'closed'): Promise<void> {
    if (!this.events.some((event) => event.startsWith(what))) await this.#next(what);
  }

  /** When so many bytes have come, in however many pieces. */
  async received(bytes: number): Promise<void> {
    while (this.bytes < bytes) await this.#next('data');
  }

  #next(what: string): Promise<void> {
    return new Promise<void>((resolve) => this.#waiting.push({ what, resolve }));
  }

  #happened(what: string, text = what): void {
    if (what !== 'data') this.events.push(text);
    for (const { resolve } of this.#waiting.filter((waiting) => waiting.what === what)) resolve();
    this.#waiting = this.#waiting.filter((waiting) => waiting.what !== what);
  }
}

async function connected(
  host = '127.0.0.1',
  port = 0,
): Promise<{ client: Watch; server: Watch; listener: Listener }> {
  let accepted: ((transport: Watch) => void) | undefined;
  const server = new Promise<Watch>((resolve) => (accepted = resolve));
  const listener = await new Promise<Listener>((resolve, reject) => {
    const accept = (transport: Transport): void => accepted?.(new Watch(transport));
    env.net.listen({ host, port }, accept, (error, made) => {
      if (made) resolve(made);
      else reject(new Error(error?.message));
    });
  });
  const client = await new Promise<Watch>((resolve, reject) => {
    env.net.connect({ to: listener.address, localHost: host }, (error, transport) => {
      if (transport) resolve(new Watch(transport));
      else reject(new Error(error?.message));
    });
  });
  return { client, server: await server, listener };
}
const stop = (listener: Listener): Promise<void> => new Promise((resolve) => listener.close(resolve));

/** What this machine has of them: a container may be without IPv6. */
const LOOPBACKS = Object.values(networkInterfaces()).flatMap((all = []) => all.map(({ address }) => address));

for (const host of ['127.0.0.1', '::1'].filter((each) => LOOPBACKS.includes(each))) {
  t.test(`net: parts leave as one write, each side ends for itself, over ${host}`, async (t) => {
    const { client, server, listener } = await connected(host);
    t.equal(client.transport.local.host, host);
    t.strictSame(client.transport.remote, listener.address);
    t.strictSame(server.transport.remote, client.transport.local);
    let done = 0;
    client.transport.write([new Uint8Array(3), new Uint8Array(0), new Uint8Array(4)], () => done++);
    client.transport.end();
    await server.until('end');
    t.strictSame([server.bytes, done], [7, 1]);
    await new Promise<void>((resolve) => server.transport.write([new Uint8Array(5)], resolve));
    server.transport.end();
    await Promise.all([client.until('closed'), server.until('closed')]);
    t.equal(client.bytes, 5, 'the other half goes on after the end');
    t.strictSame(
      [client.events, server.events],
      [
        ['end', 'closed'],
        ['end', 'closed'],
      ],
    );
    await stop(listener);
  });
}

t.test('net: a write is done exactly once, also when the connection dies under it', async (t) => {
  for (const how of ['close', 'reset'] as const) {
    const { client, server, listener } = await connected();
    server.transport.pause();
    const done: number[] = [];
    const closedAfter = client.until('closed').then(() => done.length);
    for (let i = 0; i < 40; i++) {
      client.transport.write([new Uint8Array(500_000), new Uint8Array(500_000)], () => done.push(i));
    }
    await new Promise(setImmediate);
    t.ok(done.length < 40, 'the kernel does not take it all');
    client.transport[how]();
    await client.until('closed');
    t.equal(await closedAfter, 40, 'and all of them before `closed`');
    client.transport.write([new Uint8Array(1)], () => done.push(40));
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    t.strictSame(
      done,
      Array.from({ length: 41 }, (_, i) => i),
    );
    server.transport.resume();
    // To somebody with much left to read a reset may look like an end: what the last read left decides.
    await Promise.race([server.until('end'), server.until('closed')]);
    t.ok(server.events[0] === 'end' || how === 'reset', `${how}: ${server.events.join()}`);
    t.ok(server.events.every((event) => ['end', 'closed', 'closed ECONNRESET'].includes(event)));
    await stop(listener);
    server.transport.close();
  }
});

t.test('net: a reset is an error for the other side', async (t) => {
  const { client, server, listener } = await connected();
  client.transport.reset();
  await Promise.all([client.until('closed'), server.until('closed')]);
  t.strictSame([client.events, server.events], [['closed'], ['closed ECONNRESET']]);
  await stop(listener);
});

t.test('net: paused, nothing is delivered; resumed, everything', async (t) => {
  const { client, server, listener } = await connected();
  server.transport.pause();
  client.transport.write([new Uint8Array(1000)], () => undefined);
  // Something else makes the round trip meanwhile.
  await new Promise<void>((resolve) => server.transport.write([new Uint8Array(1)], resolve));
  await client.received(1);
  t.equal(server.bytes, 0);
  server.transport.resume();
  await server.received(1000);
  t.equal(server.bytes, 1000);
  client.transport.close();
  await server.until('end');
  server.transport.close();
  await server.until('closed');
  await stop(listener);
});

t.test('net: errors have one clear message', async (t) => {
  const { client, server, listener } = await connected('127.0.0.1', await freePort());
  const taken = await new Promise<IoError | undefined>((resolve) =>
    env.net.listen(listener.address, () => undefined, resolve),
  );
  const { host, port } = listener.address;
  t.match(taken, {
    code: 'EADDRINUSE',
    message: `cannot listen on ${host} port ${port}: the address is in use`,
  });
  const foreign = await new Promise<IoError | undefined>((resolve) =>
    env.net.listen({ host: '192.0.2.1', port: 0 }, () => undefined, resolve),
  );
  t.match(foreign, { code: 'EADDRNOTAVAIL', message: 'no interface of this machine has the address' });
  client.transport.close();
  server.transport.close();
  await stop(listener);
  const nobody = await new Promise<IoError | undefined>((resolve) =>
    env.net.connect({ to: listener.address }, resolve),
  );
  t.match(nobody, {
    code: 'ECONNREFUSED',
    message: `cannot connect to ${host} port ${port}: nobody listens there`,
  });
  env.net.connect({ to: { host: '192.0.2.1', port: 9 } }, () => t.fail('was given up')).cancel();
});
