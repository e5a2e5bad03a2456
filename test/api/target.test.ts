// createTarget: what a program that embeds a target is promised. Real files and sockets.
import * as fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { NvmeError, createHost, createTarget } from '../../src/api/index.ts';
import { must } from '../../src/runtime/assert.ts';

const MiB = 1024 * 1024;
const LISTEN = ['127.0.0.1:0'];
const HOSTNQN = 'nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555';

t.test('namespaces come, grow and go while a host is connected', async (t) => {
  const file = join(t.testdir(), 'disk');
  const target = await createTarget({ listen: LISTEN, namespaces: [{ memory: '1M' }] });
  t.teardown(() => target.close({ force: true }));
  const [traddr, trsvcid] = must(target.addresses[0], 'it listens').split(':');
  const host = createHost({ hostnqn: HOSTNQN });
  t.teardown(() => host.close());
  // Whatever the machine does meanwhile.
  const to = { traddr: traddr ?? '', trsvcid, subnqn: target.nqn, keep_alive_tmo: 0 };
  const subsystem = await host.connect(to);
  const [controller] = subsystem.controllers;
  const listed = () => must(controller, 'it is connected').listNamespaces();
  t.same(await listed(), [1]);

  const added = await target.addNamespace({ file, size: MiB, blockSize: 4096, nsid: 5 });
  t.match(added, { nsid: 5, path: file, size: MiB, blockSize: 4096, readOnly: false });
  t.same(await listed(), [1, 5]);
  t.match(await target.resize(5, '2M'), { size: 2 * MiB });
  t.equal((await must(controller, 'it is connected').identifyNamespace(5)).value.nsze, 512);
  fs.truncateSync(file, 4 * MiB);
  t.match(await target.refresh(5), { size: 4 * MiB });
  await target.removeNamespace(5);
  t.same(await listed(), [1]);
  t.ok(fs.existsSync(file), 'the file stays');
  t.match(await target.addNamespace({ file }), { nsid: 2, size: 4 * MiB }, 'and is not locked any more');

  await t.rejects(target.addNamespace({ file }), { code: 'EBUSY' });
  await t.rejects(target.removeNamespace(9), { code: 'ENOENT' });
  await t.rejects(target.resize(2, 1000), { code: 'EINVAL' });
  for (const wrong of [{}, { size: MiB }, { path: file }, { file, memory: MiB }])
    await t.rejects(target.addNamespace(wrong as never), { code: 'EINVAL', message: /either file/ });
  await t.rejects(target.resize(1, MiB), { code: 'ENOTSUP' });
  fs.renameSync(file, `${file}.moved`);
  await t.rejects(target.resize(2, MiB), { code: 'ENOTSUP', message: /is not its file/ });
  await host.close();
  await Promise.all([target.close(), target.close()]);
  await t.rejects(target.addNamespace({ memory: MiB }), { code: 'ESHUTDOWN' });
});

t.test('LIFE.10 with a state folder identities are constant, without one they are not', async (t) => {
  const state = t.testdir();
  const namespaces = [{ file: join(state, 'a'), size: MiB }, { memory: MiB }];
  const seen = [];
  for (let i = 0; i < 2; i++) {
    const target = await createTarget({ listen: LISTEN, state, serial: 'S1', namespaces });
    const discovery = fs.readFileSync(join(state, 'discovery.json'), 'utf8');
    seen.push({ nqn: target.nqn, uuid: target.namespaces[0]?.uuid, discovery });
    await t.rejects(createTarget({ listen: LISTEN, state }), { code: 'EBUSY' }, 'the folder is locked');
    await target.close();
  }
  t.same(seen[0], seen[1]);
  fs.writeFileSync(join(state, 'discovery.json'), '{"version":1}');
  await t.rejects(createTarget({ listen: LISTEN, state }), {
    code: 'EINVAL',
    message: /discovery.json: "nqn" is missing/,
  });
  fs.rmSync(join(state, 'discovery.json'));
  await t.rejects(createTarget({ listen: LISTEN, state, serial: 'S2' }), {
    code: 'EINVAL',
    message: /its serial is S1, not S2/,
  });
  const without = await createTarget({ listen: LISTEN, namespaces });
  t.not(without.nqn, seen[0]?.nqn);
  t.not(without.namespaces[0]?.uuid, seen[0]?.uuid);
  await without.close();
});

t.test('what cannot start leaves nothing behind', async (t) => {
  const state = t.testdir({ folder: {} });
  const namespaces = [{ file: join(state, 'a'), size: MiB }];
  const rows: [string, Parameters<typeof createTarget>[0]][] = [
    ['EINVAL', { listen: ['nowhere'] }],
    ['EINVAL', { listen: LISTEN, nqn: 'x' }],
    ['EINVAL', { listen: LISTEN, serial: 'a serial number that is long' }],
    ['EINVAL', { listen: LISTEN, model: '\u00e9' }],
    ['EINVAL', { listen: LISTEN, hosts: [''] }],
    ['EISDIR', { listen: LISTEN, namespaces: [...namespaces, { file: join(state, 'folder') }] }],
    ['EADDRNOTAVAIL', { listen: ['192.0.2.1:4420'] }],
  ];
  for (const [code, options] of rows) {
    const error: unknown = await createTarget({ ...options, state }).catch((thrown: unknown) => thrown);
    t.ok(error instanceof NvmeError);
    t.match(error, { code });
  }
  t.notOk(fs.existsSync(join(state, 'a')));
  const target = await createTarget({ listen: LISTEN, state, namespaces });
  t.match(target.namespaces, [{ nsid: 1 }]);
  await target.close();
});
