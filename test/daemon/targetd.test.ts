// The daemon's life in this process: what it keeps, what it refuses, what it says. Real files, real sockets.
import * as fs from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { createHost } from '../../src/api/host.ts';
import { NvmeError } from '../../src/api/error.ts';
import type { NamespaceRequest } from '../../src/config/request.ts';
import type { FileEntry, TargetDocument } from '../../src/config/document.ts';
import { type NamespaceInfo, type TargetParts, describe } from '../../src/api/target-parts.ts';
import { stateFolder } from '../../src/daemon/folder.ts';
import { reachable } from '../../src/daemon/banner.ts';
import { asText, createLogger } from '../../src/daemon/log.ts';
import { type RunningTargetd, type TargetdOptions, startTargetd } from '../../src/daemon/targetd.ts';
import type { Subsystem } from '../../src/target/subsystem.ts';
import { must } from '../../src/runtime/assert.ts';
import { freePort } from '../doubles/ports.ts';

const MiB = 1024 * 1024;
const HOST = 'nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555';

/** The first, and mostly the only one. */
const main = ({ target }: TargetParts): Subsystem => must([...target.subsystems.values()][0], 'a subsystem');

/** A state folder with a daemon that is started again and again. */
class World {
  readonly #t: Test;
  readonly folder: string;
  log = '';
  #running: RunningTargetd | undefined;

  /** `inside`: a second one in the same test, in a folder of its own. */
  constructor(t: Test, inside?: World) {
    this.#t = t;
    this.folder = inside === undefined ? t.testdir() : inside.path('second');
    t.teardown(() => this.#end());
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** A file of 1 MiB that has data in it. */
  file(name: string): string {
    fs.writeFileSync(this.path(name), Buffer.alloc(MiB, name));
    return this.path(name);
  }

  get document(): TargetDocument {
    return JSON.parse(fs.readFileSync(this.path('state/target.json'), 'utf8')) as TargetDocument;
  }

  /** Of its first subsystem, in the document. */
  get entries(): readonly FileEntry[] {
    return (this.document.subsystems[0]?.namespaces ?? []) as readonly FileEntry[];
  }

  async start(
    namespaces: readonly NamespaceRequest[] = [],
    more: Partial<TargetdOptions> = {},
  ): Promise<RunningTargetd> {
    await this.stop();
    this.log = '';
    this.#running = await startTargetd(
      {
        listen: ['127.0.0.1:0'],
        namespaces,
        hosts: [],
        folder: this.path('state'),
        logLevel: 'info',
        logFormat: 'text',
        command: 'nvmetcp',
        ...more,
      },
      (line) => (this.log += line),
    );
    return this.#running;
  }

  async stop(): Promise<void> {
    this.#t.equal(await this.#end(), 0, 'it ends in order');
  }

  async #end(): Promise<number> {
    const running = this.#running;
    this.#running = undefined;
    running?.stop('a test');
    return running?.finished ?? 0;
  }

  /** What is exported, by NSID. */
  get namespaces(): NamespaceInfo[] {
    return [...main(must(this.#running, 'it runs').parts).namespaces.values()].map(describe);
  }

  /** It does not start, for this reason, and leaves the state as it was. */
  async refuses(
    code: string,
    message: RegExp,
    namespaces: readonly NamespaceRequest[],
    more: Partial<TargetdOptions> = {},
  ): Promise<void> {
    const before = fs.existsSync(this.path('state/target.json')) ? this.document : undefined;
    const error: unknown = await this.start(namespaces, more).catch((thrown: unknown) => thrown);
    this.#t.ok(error instanceof NvmeError, String(message));
    this.#t.match(error, { code, message });
    this.#t.notMatch((error as Error).message, /\n/, 'one line');
    const after = fs.existsSync(this.path('state/target.json')) ? this.document : undefined;
    this.#t.same(after, before, 'nothing is persisted');
  }
}

t.test('without flags and state: a sparse disk of 1 GiB, whose identity survives', async (t) => {
  const world = new World(t);
  const first = await world.start();
  const [disk] = world.namespaces;
  t.match(disk, {
    nsid: 1,
    size: 1024 * MiB,
    blockSize: 512,
    readOnly: false,
    path: world.path('state/disk.img'),
  });
  t.equal(fs.statSync(world.path('state/disk.img')).blocks, 0, 'sparse');
  t.match(main(first.parts).nqn, /^nqn\.2014-08\.org\.nvmexpress:uuid:[0-9a-f-]{36}$/);
  t.match(main(first.parts).serial, /^[0-9a-f]{20}$/);
  t.equal(world.entries[0]?.uuid, disk?.uuid);
  const second = await world.start();
  t.equal(main(second.parts).nqn, main(first.parts).nqn);
  t.equal(main(second.parts).serial, main(first.parts).serial);
  t.same(world.namespaces, [disk]);
});

t.test('flags add what is missing, and never take away', async (t) => {
  const world = new World(t);
  await world.start([{ file: world.file('a') }], { hosts: [HOST] });
  const [a] = world.namespaces;
  await world.start([{ file: world.file('b'), blockSize: 4096, readOnly: true }]);
  t.same(world.namespaces[0], a);
  t.match(world.namespaces[1], { nsid: 2, blockSize: 4096, readOnly: true, path: world.path('b') });
  const both = world.namespaces;
  const { parts } = await world.start([{ file: world.path('b') }, { file: world.path('a') }]);
  t.same(world.namespaces, both, 'known files are known, whatever the order');
  t.same(main(parts).hosts, new Set([HOST]));
  t.same(world.document.ports, [], 'a port that the system chose is not kept');
});

t.test(
  'NSIDs follow the order of the flags; memory takes what is left, under a new name each time',
  async (t) => {
    const world = new World(t);
    const wanted = [{ memory: MiB }, { file: world.path('new'), size: '2M' }, { file: world.file('old') }];
    await world.start(wanted);
    t.same(
      world.namespaces.map(({ path }) => path),
      [world.path('new'), world.path('old'), undefined],
    );
    t.match(world.entries, [{ nsid: 1 }, { nsid: 2 }]);
    t.equal(world.entries.length, 2);
    const before = world.namespaces[2]?.uuid;
    await world.start([{ memory: MiB }, { file: world.file('third') }]);
    t.match(world.namespaces, [
      { nsid: 1 },
      { nsid: 2 },
      { nsid: 3, path: world.path('third') },
      { nsid: 4 },
    ]);
    t.not(world.namespaces[3]?.uuid, before);
  },
);

t.test('a renamed file is the same disk', async (t) => {
  const world = new World(t);
  await world.start([{ file: world.file('a') }]);
  const [a] = world.namespaces;
  await world.stop();
  fs.renameSync(world.path('a'), world.path('moved'));
  await world.start([{ file: world.path('moved') }]);
  t.same(world.namespaces, [{ ...a, path: world.path('moved') }]);
  t.match(world.entries, [{ nsid: 1, path: world.path('moved'), uuid: a?.uuid }]);
});

t.test('a file that is missing or in use: an error line, its NSID waits, the others live', async (t) => {
  const world = new World(t);
  await world.start([{ file: world.file('a') }, { file: world.file('b') }]);
  const [, b] = world.namespaces;
  await world.stop();
  fs.renameSync(world.path('a'), world.path('elsewhere'));
  await world.start([{ file: world.file('c') }]);
  t.match(world.namespaces, [b, { nsid: 3, path: world.path('c') }]);
  t.match(world.log, /error namespace 1 of \S+ is not exported: .*\/a: there is no such file/);
  t.equal(world.entries.length, 3);

  const other = new World(t, world);
  await other.start([{ memory: MiB }, { file: world.path('elsewhere') }]);
  await world.stop();
  fs.linkSync(world.path('elsewhere'), world.path('a'));
  await world.start();
  t.match(world.log, /namespace 1 of \S+ is not exported: .* is in use already/);
  await world.refuses('EBUSY', /in use already/, [{ file: world.path('a') }]);
  await other.stop();
  await world.start();
  t.match(world.namespaces, [{ nsid: 1 }, { nsid: 2 }, { nsid: 3 }], 'and back it is');
});

t.test('another file under a known name is another disk', async (t) => {
  const world = new World(t);
  await world.start([{ file: world.file('a') }, { memory: MiB }]);
  const entry = must(world.entries[0], 'it is kept');
  await world.stop();
  await world.refuses('EINVAL', /with blockSize 512, not 4096.*edit .*target\.json/, [
    { file: world.path('a'), blockSize: 4096 },
  ]);
  await world.refuses('EINVAL', /with readOnly false, not true/, [{ file: world.path('a'), readOnly: true }]);
  // The inode number of the old one is often given to the new one at once.
  fs.unlinkSync(world.path('a'));
  await world.refuses('ENOENT', /is namespace 1 of this target, and is missing: put it back/, [
    { file: world.path('a'), size: MiB },
  ]);
  t.notOk(fs.existsSync(world.path('a')), 'and is not made');
  world.file('a');
  const what = /is another file than the one that is namespace 1 .*set its "fileId" to ".*delete its entry/;
  await world.refuses('ESTALE', what, [{ file: world.path('a') }]);
  await world.start();
  t.match(world.log, what);
  t.same(world.namespaces, []);
  await world.stop();
  // The advice helps: the copy takes over the identity.
  const { ino, dev } = fs.statSync(world.path('a'));
  const known = world.document;
  const copied = { ...entry, born: undefined, fileId: `${dev}:${ino}` };
  fs.writeFileSync(
    world.path('state/target.json'),
    JSON.stringify({ ...known, subsystems: [{ ...known.subsystems[0], namespaces: [copied] }] }),
  );
  await world.start();
  t.match(world.namespaces, [{ nsid: 1, uuid: entry.uuid }]);
});

t.test('bad flags: one line, nothing started, nothing kept, nothing left behind', async (t) => {
  const world = new World(t);
  const good = world.file('good');
  const blocked = createServer().listen(0, '127.0.0.1');
  await once(blocked, 'listening');
  t.teardown(() => blocked.close());
  const port = (blocked.address() as { port: number }).port;
  fs.mkdirSync(world.path('dir'));
  fs.symlinkSync(good, world.path('link'));
  fs.writeFileSync(world.path('empty'), '');
  const rows: [string, RegExp, NamespaceRequest[], Partial<TargetdOptions>?][] = [
    [
      'ENOENT',
      /absent: there is no such file; it is made when its size is given/,
      [{ file: world.path('absent') }],
    ],
    ['ENOENT', /its folder does not exist/, [{ file: world.path('no/such'), size: MiB }]],
    ['EISDIR', /dir: is a folder/, [{ file: world.path('dir') }]],
    ['ENOTSUP', /neither a regular file nor a block device/, [{ file: '/dev/null' }]],
    ['EINVAL', /empty is empty/, [{ file: world.path('empty') }]],
    ['EEXIST', /good is given twice/, [{ file: good }, { file: good }]],
    ['EEXIST', /link is the same file as .*good/, [{ file: good }, { file: world.path('link') }]],
    ['EINVAL', /"1Q" is not a size/, [{ file: world.path('x'), size: '1Q' }]],
    ['EINVAL', /1000 B is not a whole number of 512-byte blocks/, [{ file: world.path('x'), size: 1000 }]],
    ['EINVAL', /not a whole number of 4096-byte blocks/, [{ memory: 512, blockSize: 4096 }]],
    ['EINVAL', /blocks have 512 or 4096 bytes, not 1024/, [{ file: good, blockSize: 1024 }]],
    ['EINVAL', /the UUID "no" is not a UUID/, [{ memory: MiB, uuid: 'no' }]],
    [
      'EEXIST',
      /namespace 7 exists/,
      [
        { file: good, nsid: 7 },
        { memory: MiB, nsid: 7 },
      ],
    ],
    ['EINVAL', /NSIDs go up to 1024/, [{ memory: MiB, nsid: 1025 }]],
    ['EISDIR', /dir: is a folder/, [{ file: world.path('made'), size: MiB }, { file: world.path('dir') }]],
    ['EINVAL', /"1.2.3:1" is not an address/, [], { listen: ['1.2.3:1'] }],
    [
      'EADDRINUSE',
      /the address is in use/,
      [{ file: world.path('made'), size: MiB }],
      { listen: [`127.0.0.1:${port}`] },
    ],
    ['EADDRNOTAVAIL', /no interface of this machine has the address/, [], { listen: ['192.0.2.1:4420'] }],
    ['EINVAL', /NQN .* does not begin with "nqn\."/, [], { nqn: 'disk' }],
    ['EINVAL', /the host NQN/, [], { hosts: ['me'] }],
    ['EACCES', /the state folder cannot be used/, [], { folder: join(good, 'state') }],
  ];
  for (const [code, message, namespaces, more] of rows) await world.refuses(code, message, namespaces, more);
  t.notOk(fs.existsSync(world.path('made')), 'a file that was made for nothing is gone');
  t.notOk(fs.existsSync(world.path('state/disk.img')));
});

t.test('the state is locked, checked, and belongs to one target', async (t) => {
  const world = new World(t);
  await world.start([{ memory: MiB }], { nqn: 'nqn.2024-01.org.example:a' });
  const second = new World(t, world);
  await second.refuses('EBUSY', /is in use by another target/, [], { folder: world.path('state') });
  await world.stop();
  await world.refuses('EINVAL', /belongs to another target: its nqn is .*:a, not .*:b/, [], {
    nqn: 'nqn.2024-01.org.example:b',
  });
  await world.start([], { nqn: 'nqn.2024-01.org.example:a' });
  t.match(world.log, /there is no namespace to export/);
  await world.stop();
  for (const [text, message] of [
    ['{', /target\.json: not JSON/],
    ['[]', /the document is not an object/],
    ['{"version": 3}', /version is 3, this program knows 1 and 2/],
    [JSON.stringify({ ...world.document, namespace: [] }), /namespace is not known/],
    [JSON.stringify({ ...world.document, subsystems: [{ nqn: 1 }] }), /subsystems\[0\]\.nqn is not a text/],
  ] as const) {
    fs.writeFileSync(world.path('state/target.json'), text);
    const error: unknown = await world.start().catch((thrown: unknown) => thrown);
    t.match(error, { code: 'EINVAL', message });
  }
});

t.test('addresses are kept, retried, and not bound twice', async (t) => {
  const world = new World(t);
  // Nobody else gets it while the daemon does not run.
  const port = await freePort();
  const kept = `127.0.0.1:${port}`;
  const { hello } = await world.start([{ memory: MiB }], { listen: [kept] });
  t.ok(hello.includes(`listens on ${kept}`));
  const { parts } = await world.start([{ memory: MiB }], { listen: ['127.0.0.1:0'] });
  t.equal(parts.target.ports.list.length, 2);
  await world.stop();
  const blocked = createServer().listen(port, '127.0.0.1');
  await once(blocked, 'listening');
  t.teardown(() => blocked.close());
  const { parts: without } = await world.start([{ memory: MiB }], { listen: ['127.0.0.1:0'] });
  t.equal(
    without.target.ports.list.length,
    1,
    'a kept address that is taken does not keep the daemon from starting',
  );
  t.match(world.log, /the address is in use; it is tried again every 5 s/);
  await world.stop();
  await world.refuses('EADDRINUSE', /the address is in use/, [], { listen: [] });
});

t.test('beyond loopback with every host allowed: a warning; --host admits one', async (t) => {
  const world = new World(t);
  const { hello } = await world.start([{ memory: MiB }], { listen: ['0.0.0.0:0'] });
  t.match(
    world.log,
    /warn {2}every host may connect: whoever reaches 0\.0\.0\.0:\d+ can read, change and erase.*--host NQN/,
  );
  t.notMatch(hello, /-a 0\.0\.0\.0/, 'an address that leads somewhere');
  const { parts, hello: text } = await world.start([{ memory: MiB }], {
    listen: ['0.0.0.0:0'],
    hosts: [HOST],
  });
  t.notMatch(world.log, /every host may connect/);
  t.ok(text.includes(` -q ${HOST}`));
  const port = must(parts.target.ports.list[0], 'it listens').address.port;
  const to = { traddr: '127.0.0.1', trsvcid: port, subnqn: main(parts).nqn };
  const stranger = createHost({ hostnqn: HOST.replace('11111111', '22222222') });
  await t.rejects(stranger.connect(to), { code: 'NVME_CONNECT_INVALID_HOST' });
  const friend = createHost({ hostnqn: HOST });
  t.equal((await friend.connect(to)).head(1).size, MiB);
  await Promise.all([stranger.close(), friend.close()]);
});

t.test('where state goes, and what the log looks like', (t) => {
  t.equal(stateFolder('x', { NVMETCP_STATE: '/y' }, 0), join(process.cwd(), 'x'));
  t.equal(stateFolder(undefined, { NVMETCP_STATE: '/y' }, 0), '/y');
  t.equal(stateFolder(undefined, {}, 0), '/var/lib/nvmetcp');
  t.equal(stateFolder(undefined, { XDG_STATE_HOME: '/z' }, 1000), '/z/nvmetcp');
  t.match(stateFolder(undefined, { XDG_STATE_HOME: 'z' }, 1000), /\.local\/state\/nvmetcp$/);
  let out = '';
  createLogger('info', 'json', (line) => (out += line)).warn({ host: 'a', n: 1 }, 'hello');
  t.match(JSON.parse(out), { level: 'warn', msg: 'hello', host: 'a', n: 1 });
  t.match(asText(out), /^\d\d:\d\d:\d\d\.\d{3} warn {2}hello host=a n=1\n$/);
  t.match(asText('{"level":"info","msg":"m","why":"a \\n\\u001b[b"}'), / m why="a \\n\\u001b\[b"\n$/);
  out = '';
  createLogger('warn', 'text', (line) => (out += line)).info({}, 'hello');
  t.equal(out, '');
  const at = { host: '0.0.0.0', port: 1 };
  t.same(reachable(at, {}), { host: '127.0.0.1', port: 1 });
  t.end();
});
