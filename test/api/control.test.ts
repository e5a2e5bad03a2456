// TargetControl: a change is made as a whole, or not at all. Real files and sockets, state in memory.
import * as fs from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { TargetControl } from '../../src/api/target-control.ts';
import { type TargetParts, assemble, unlockFolder, withExports } from '../../src/api/target-parts.ts';
import { formatDocument } from '../../src/config/document.ts';
import {
  addHost,
  addNamespace,
  addPort,
  addSubsystem,
  enableNamespace,
  listenAt,
  namespaceOf,
  removeNamespace,
  removePort,
} from '../../src/config/edit.ts';
import { describeTarget } from '../../src/target/describe.ts';
import type { Namespace } from '../../src/target/namespace.ts';
import { Operation } from '../../src/storage/operation.ts';
import { must } from '../../src/runtime/assert.ts';
import { MemoryStore } from '../../src/runtime/memory/store.ts';
import { freePort } from '../doubles/ports.ts';

const MiB = 1024 * 1024;
const A = 'nqn.2024-01.test:a';
const B = 'nqn.2024-01.test:b';

async function start(t: Test): Promise<TargetParts & { store: MemoryStore; folder: string }> {
  const parts = await assemble({ folder: undefined });
  const { control, target, env } = parts;
  t.teardown(async () => {
    await control.stop();
    await new Promise<void>((resolve) => target.stop(resolve));
    await unlockFolder(env);
  });
  await control.change((document) => {
    const subsystem = (nqn: string) => ({ nqn, serial: 's', model: 'm', shared: true, namespaces: [] });
    const both = addSubsystem(subsystem(B))(addSubsystem(subsystem(A))(document));
    return { document: listenAt('127.0.0.1:0', A)(both) };
  });
  if (!(env.store instanceof MemoryStore)) throw new Error('state in memory');
  return { ...parts, store: env.store, folder: t.testdir() };
}

t.test('DISK.3 what cannot be persisted is not done: files and addresses are given back', async (t) => {
  const parts = await start(t);
  const { control, target, store, folder } = parts;
  const path = join(folder, 'disk');
  const address = `127.0.0.1:${await freePort()}`;
  const edit = async (document: Parameters<ReturnType<typeof listenAt>>[0]) => {
    const wanted = await withExports(parts, listenAt(address, B)(document), A, [{ file: path, size: MiB }]);
    return { ...wanted, document: addHost(A, 'nqn.x')(wanted.document) };
  };
  const before = [formatDocument(control.wanted), describeTarget(target)];
  store.failNext = { code: 'ENOSPC', message: 'the disk is full' };
  await t.rejects(control.change(edit), { code: 'ENOSPC' });
  t.same([formatDocument(control.wanted), describeTarget(target)], before);
  t.notOk(fs.existsSync(path), 'the file that was made is gone');
  t.equal((await control.change(edit)).length, 3, 'and the same change works now');
});

t.test('an address makes way for a wider one, and is back when that cannot be bound', async (t) => {
  const { control, target } = await start(t);
  const port = await freePort();
  await control.change((document) => ({ document: listenAt(`127.0.0.1:${port}`, A)(document) }));
  const wide = listenAt(`0.0.0.0:${port}`, A);
  const blocked = createServer().listen(port, '127.0.0.2');
  await once(blocked, 'listening');
  const ids = target.ports.list.map(({ id }) => id);
  await t.rejects(
    control.change((document) => ({ document: wide(document) })),
    { code: 'EADDRINUSE' },
  );
  t.same(
    target.ports.list.map(({ id }) => id),
    ids,
  );
  const socket = (await import('node:net')).connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.destroy();
  await new Promise((resolve) => blocked.close(resolve));
  t.match(await control.change((document) => ({ document: wide(document) })), [
    { kind: 'remove port' },
    { kind: 'add port' },
  ]);
});

t.test('changes are made one after the other, each on what the one before has left', async (t) => {
  const { control, folder, ...parts } = await start(t);
  const all = Array.from({ length: 20 }, (_, i) =>
    control.change((document) =>
      withExports({ control, ...parts }, document, A, [{ file: join(folder, String(i)), size: MiB }]),
    ),
  );
  await Promise.all(all);
  const nsids = [...must(parts.target.subsystems.get(A), 'it runs').namespaces.keys()];
  t.same(
    nsids,
    Array.from({ length: 20 }, (_, i) => i + 1),
  );
});

t.test('a disk that is not there yet is pending, does not stop others, and comes', async (t) => {
  const parts = await start(t);
  const { control, target, folder } = parts;
  const path = join(folder, 'late');
  const entry = {
    nsid: 1,
    uuid: '00000000-0000-4000-8000-000000000001',
    path,
    blockSize: 512,
    readOnly: false,
    anagrpid: 1,
    enabled: true,
    shared: true,
  };
  const late = addNamespace(A, entry);
  await t.rejects(
    control.change((document) => ({ document: late(document) })),
    { code: 'ENOENT' },
  );
  t.same(control.pending, []);
  await control.change((document) => ({ document: late(document) }), { lenient: () => true });
  t.match(control.pending, [{ change: { nsid: 1 }, error: { code: 'ENOENT' } }]);
  t.match(await control.change((document) => ({ document: addHost(A, 'nqn.x')(document) })), { length: 1 });
  fs.writeFileSync(path, Buffer.alloc(MiB));
  // As the timer does, which is first when the machine stops for as long.
  const made = await control.change((document) => ({ document }));
  t.ok(made.every(({ kind }) => kind === 'add namespace'));
  t.same(control.pending, []);
  t.match(namespaceOf(control.wanted, A, 1), { fileId: /:/ }, 'what it is is known from now on');
  t.ok(target.subsystems.get(A)?.namespaces.has(1));
});

t.test('a file goes from one namespace to another in one change', async (t) => {
  const parts = await start(t);
  const { control, target, folder } = parts;
  const file = join(folder, 'disk');
  await control.change((document) => withExports(parts, document, A, [{ file, size: MiB }]));
  const entry = namespaceOf(control.wanted, A, 1);
  await control.change((document) => ({
    document: addNamespace(B, { ...entry, nsid: 5 })(removeNamespace(A, 1)(document)),
  }));
  t.same(control.pending, []);
  t.equal(target.subsystems.get(B)?.namespaces.get(5)?.uuid, entry.uuid);
});

t.test('what is known of a namespace goes with it, and stays while it only moves', async (t) => {
  const parts = await start(t);
  const { control, store, folder } = parts;
  await control.change((document) =>
    withExports(parts, document, A, [{ file: join(folder, 'disk'), size: MiB }]),
  );
  const entry = namespaceOf(control.wanted, A, 1);
  const name = `namespace-${entry.uuid}.json`;
  store.documents.set(name, '{"version":1}');
  await control.change((document) => ({
    document: addNamespace(B, entry)(removeNamespace(A, 1)(document)),
  }));
  t.ok(store.documents.has(name));
  await control.change((document) => ({ document: removeNamespace(B, 1)(document) }));
  t.notOk(store.documents.has(name));
  store.documents.set(name, '{"version":1,"owner":7}');
  await t.rejects(
    control.change((document) =>
      withExports(parts, document, A, [{ file: join(folder, 'disk'), uuid: entry.uuid }]),
    ),
    { code: 'EBADMSG', message: /its owner has neither/ },
    'facts that cannot be understood keep it from being exported',
  );
});

t.test(
  'LIFE.6 a namespace in memory is disabled and enabled, and keeps its data while the process lives',
  async (t) => {
    const parts = await start(t);
    const { control, target } = parts;
    const set = (enabled: boolean) =>
      control.change((document) => ({ document: enableNamespace(A, 1, enabled)(document) }));
    const namespace = (): Namespace => must(target.subsystems.get(A)?.namespaces.get(1), 'namespace 1');
    const run = (kind: 'read' | 'write', bytes?: Uint8Array): Promise<Operation> =>
      new Promise((resolve) => {
        const op = new Operation({ operationDone: resolve });
        op.kind = kind;
        op.length = 512;
        if (bytes) op.parts.push(bytes);
        must(namespace().volume, 'it is enabled').submit(op);
      });
    const first = async (): Promise<number | undefined> => {
      const op = await run('read');
      const byte = op.parts[0]?.[0];
      must(namespace().volume, 'it is enabled').giveBack(op);
      return byte;
    };
    await control.change((document) => withExports(parts, document, A, [{ memory: MiB, nsid: 1 }]));
    await run('write', new Uint8Array(512).fill(7));
    const { uuid } = namespace();
    for (let i = 0; i < 3; i++) {
      await set(false);
      t.match(describeTarget(target).subsystems[0], { namespaces: [{ state: 'disabled', size: MiB }] });
      await set(true);
      t.match(describeTarget(target).subsystems[0], { namespaces: [{ state: 'enabled', uuid }] });
      t.equal(await first(), 7);
    }
    const entry = namespaceOf(control.wanted, A, 1);
    await control.change((document) => ({ document: removeNamespace(A, 1)(document) }));
    await control.change((document) => ({
      document: addNamespace(A, { ...entry, enabled: false })(document),
    }));
    await set(true);
    t.equal(await first(), 0, 'another one begins empty, also when it begins disabled');
  },
);

t.test('a port takes another address under the same id', async (t) => {
  const { control, target } = await start(t);
  const id = must(target.ports.list[0], 'it listens').id;
  await control.change((document) => ({
    document: addPort({
      id,
      address: '127.0.0.1:0',
      enabled: true,
      subsystems: [B],
      ana: [{ grpid: 2, state: 'inaccessible' }],
      referrals: [],
    })(removePort(id)(document)),
  }));
  t.match(describeTarget(target).ports, [{ id, subsystems: [B] }]);
  t.ok(control instanceof TargetControl);
});
