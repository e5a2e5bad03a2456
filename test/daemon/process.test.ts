// The daemon as a process: signals, crashes, locks against other processes.
import * as fs from 'node:fs';
import { type Socket, connect } from 'node:net';
import { join } from 'node:path';
import { once } from 'node:events';
import t from 'tap';
import { createHost } from '../../src/api/host.ts';
import { NvmeError } from '../../src/api/error.ts';
import { parseDocument } from '../../src/config/schema.ts';
import { request } from '../../src/daemon/control-client.ts';
import type { TargetShown } from '../../src/daemon/show.ts';
import { Daemon, build, nvmetcp } from '../doubles/nvmetcp.ts';

const MiB = 1024 * 1024;
const LISTEN = ['--listen', '127.0.0.1:0'];
build();

const read = (path: string): Record<string, unknown> =>
  JSON.parse(fs.readFileSync(path, 'utf8')) as Record<string, unknown>;

t.test('start, stop, start again; what it prints; whoever comes second is refused', async (t) => {
  const state = t.testdir();
  const first = await Daemon.start(['--state', state, ...LISTEN]);
  t.match(
    first.stdout,
    /^nqn\.2014-08\.org\.nvmexpress:uuid:\S+ listens on 127\.0\.0\.1:\d+\n {2}namespace 1: 1 GiB, 512-byte/,
  );
  t.match(first.stdout, /\n {2}node \S*main\.js id-ctrl -a 127\.0\.0\.1 -s \d+ -n nqn\.\S+\n/);
  t.match(first.stdout, /\n {2}node \S*main\.js bench -a 127\.0\.0\.1 -s \d+ -n nqn\.\S+\n/);
  t.match(first.stdout, /\n {2}sudo nvme connect -t tcp -a 127\.0\.0\.1 -s \d+ -n nqn\.\S+\n$/);
  t.equal(first.stderr, '', 'nothing to warn of');

  const [folder, file, port] = await Promise.all([
    nvmetcp(['targetd', '--state', state]),
    nvmetcp(['targetd', '--state', join(state, 'b'), '--file', join(state, 'disk.img')]),
    nvmetcp(['targetd', '--state', join(state, 'c'), '--mem', '1M', '--listen', `127.0.0.1:${first.port}`]),
  ]);
  t.match(folder, {
    code: 2,
    stderr: /^nvmetcp targetd: the state folder \S+ is in use by another target\n$/,
  });
  t.match(file, { code: 2, stderr: /^nvmetcp targetd: \S+disk\.img: is in use by another process .*\n$/ });
  t.match(port, {
    code: 2,
    stderr: /^nvmetcp targetd: cannot listen on 127\.0\.0\.1 port \d+: the address is in use\n$/,
  });
  t.notOk(fs.existsSync(join(state, 'c/target.json')));

  const kept = read(join(state, 'target.json'));
  t.equal(await first.ends('SIGTERM'), 0);
  t.match(first.stderr, /info {2}SIGTERM: stops\n$/);
  const second = await Daemon.start([...LISTEN], { NVMETCP_STATE: state });
  t.same([second.nqn, read(join(state, 'target.json'))], [first.nqn, kept]);
  // Killed, not stopped: no lock stays behind.
  t.equal(await second.ends('SIGKILL'), 'SIGKILL');
  const third = await Daemon.start(['--state', state, ...LISTEN, '--log-format', 'json']);
  t.equal(third.nqn, first.nqn);
  t.equal(await third.ends('SIGINT'), 0);
  t.match(JSON.parse(third.stderr), { level: 'info', msg: 'SIGINT: stops' });
});

t.test('SIGTERM with writes under way: what was acknowledged is in the file', async (t) => {
  const folder = t.testdir();
  const file = join(folder, 'disk');
  const daemon = await Daemon.start(['--state', folder, ...LISTEN, '--file', `${file},size=4M,lba=4096`]);
  const host = createHost({
    hostnqn: 'nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555',
  });
  t.teardown(() => host.close());
  // Without waiting for the target to come back.
  const subsystem = await host.connect({
    traddr: '127.0.0.1',
    trsvcid: daemon.port,
    subnqn: daemon.nqn,
    ctrl_loss_tmo: 0,
    // Nothing but the signal may end it.
    keep_alive_tmo: 0,
  });
  const disk = subsystem.head(1);
  const acknowledged = new Uint32Array(disk.blocks);
  let total = 0;
  let enough: () => void = () => undefined;
  const many = new Promise<void>((resolve) => (enough = resolve));
  const writer = async (first: number): Promise<unknown> => {
    try {
      for (let round = 1; ; round++)
        for (let block = first; block < disk.blocks; block += 32) {
          const data = new Uint8Array(4096);
          new Uint32Array(data.buffer).fill(round);
          await disk.write(block, data);
          acknowledged[block] = round;
          if (++total === 2000) enough();
        }
    } catch (error) {
      return error;
    }
  };
  const writers = Array.from({ length: 32 }, (_, i) => writer(i));
  await many;
  t.equal(await daemon.ends('SIGTERM'), 0);
  for (const error of await Promise.all(writers)) t.ok(error instanceof NvmeError);
  const words = new Uint32Array(new Uint8Array(fs.readFileSync(file)).buffer);
  const lost = [...acknowledged].filter((round, block) => {
    const found = words.subarray(block * 1024, (block + 1) * 1024);
    return found[0]! < round || found.some((word) => word !== found[0]);
  });
  t.same(lost, [], 'every block holds what was acknowledged last, or the write after it, whole');
});

t.test('a host that does not let go: the second signal does not wait for it', async (t) => {
  const daemon = await Daemon.start(['--state', t.testdir(), ...LISTEN, '--mem', '1M']);
  const socket: Socket = connect({ port: daemon.port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.resume();
  t.teardown(() => socket.destroy());
  // An ICReq, so that its answer tells that the daemon knows of the connection.
  const icreq = Buffer.alloc(128);
  icreq.set([0, 0, 128, 0, 128]);
  socket.write(icreq);
  await once(socket, 'data');
  daemon.child.kill('SIGTERM');
  await daemon.says(() => daemon.stderr.includes('connections to finish: 1; a second SIGTERM does not wait'));
  t.equal(await daemon.ends('SIGTERM'), 0);
  t.match(daemon.stderr, /warn {2}resets the connections that are left: a second SIGTERM/);
});

t.test('a fault of its own: the last events are written down, one line, exit 1', async (t) => {
  const state = t.testdir();
  const fault = 'process.once("SIGUSR2", () => { throw new Error("out of luck\\nor so"); })';
  const daemon = await Daemon.start(['--state', state, ...LISTEN, '--mem', '1M', '--listen', '0.0.0.0:0'], {
    NODE_OPTIONS: `--import ${JSON.stringify(`data:text/javascript,${encodeURIComponent(fault)}`)}`,
  });
  t.equal(await daemon.ends('SIGUSR2'), 1);
  // After what it warned of when it started.
  t.match(
    daemon.stderr,
    /^\S+ warn {2}every host may connect: .*\nnvmetcp targetd: a fault of its own, Error: out of luck; the last events are in \S+trace-\d+\.txt\n$/,
  );
  const path = /the last events are in (\S+)\n/.exec(daemon.stderr)?.[1] ?? '';
  t.match(fs.readFileSync(path, 'utf8'), /every host may connect[^]*out of luck[^]*at /);
});

t.test('wrong flags and state: one line, exit 2, no stack', async (t) => {
  const state = t.testdir({ broken: { 'target.json': '{"version":1,' } });
  const rows: [string[], RegExp][] = [
    [
      ['--file', 'a,lba=100'],
      /^nvmetcp: option '--file .*' argument 'a,lba=100' is invalid\. lba=100: blocks have 512 or 4096 bytes\.\n$/,
    ],
    [['--mem', 'lots'], /^nvmetcp: option '--mem .*It is not a size; 4096, 4k and 1G are\.\n$/],
    [['--file', join(state, 'absent')], /^nvmetcp targetd: \S+absent: there is no such file; .*\n$/],
    [['--nope'], /^nvmetcp: unknown option '--nope'\n$/],
    [
      ['--log-level', 'loud'],
      /^nvmetcp: option '--log-level .*Allowed choices are debug, info, warn, error\.\n$/,
    ],
    [['extra'], /^nvmetcp: too many arguments for 'targetd'\. .*\n$/],
    [['--state', join(state, 'broken')], /^nvmetcp targetd: \S+target\.json: not JSON: .*\n$/],
  ];
  await Promise.all(
    rows.map(async ([flags, stderr]) => {
      const own = flags.includes('--state') ? [] : ['--state', join(state, 'new')];
      t.match(await nvmetcp(['targetd', ...own, ...LISTEN, ...flags]), { code: 2, stderr });
    }),
  );
  t.notOk(fs.existsSync(join(state, 'new/target.json')));
});

t.test('DISK.5 a file that is exported cannot be exported again, whatever its name', async (t) => {
  const folder = t.testdir({ disk: 'x'.repeat(MiB) });
  fs.linkSync(join(folder, 'disk'), join(folder, 'link'));
  const daemon = await Daemon.start([
    '--state',
    join(folder, 'a'),
    ...LISTEN,
    '--file',
    join(folder, 'disk'),
  ]);
  const args = ['targetd', '--state', join(folder, 'b'), ...LISTEN, '--file', join(folder, 'link')];
  t.match(await nvmetcp(args), { code: 2, stderr: /link: is in use by another process/ });
  t.equal(await daemon.ends('SIGTERM'), 0);
});

t.test(
  'DISK.3 kill -9 in the middle of changes: what was acknowledged is there, nothing is half done',
  async (t) => {
    const folder = t.testdir();
    const state = join(folder, 'state');
    const main = 'nqn.2024-01.test:main';
    const kept = () => parseDocument(fs.readFileSync(join(state, 'target.json'), 'utf8')).subsystems;
    let count = 0;
    for (let round = 0; round < 6; round++) {
      const daemon = await Daemon.start(['--state', state, '--nqn', main, ...LISTEN, '--mem', '1M']);
      const socket = join(state, 'target.sock');
      const shown = (await request(socket, 'show', {})) as TargetShown;
      const before = kept();
      t.same(
        shown.subsystems.map(({ nqn, namespaces }) => [nqn, namespaces.length]),
        before.map(({ nqn, namespaces }) => [nqn, namespaces.length + (nqn === main ? 1 : 0)]),
        'it comes back as it is written',
      );
      const asked = new Map<string, object>();
      const acknowledged: string[] = [];
      const enough = 1 + Math.floor(Math.random() * 10);
      await Promise.all(
        Array.from({ length: 12 }, async (_, i) => {
          const remove = i % 3 === 2 ? before[1 + i]?.nqn : undefined;
          const nqn = remove ?? `nqn.2024-01.test:${++count}`;
          asked.set(nqn, { remove });
          try {
            if (remove === undefined) {
              await request(socket, 'add-subsystem', { nqn });
              await request(socket, 'add-namespace', { subsystem: nqn, file: join(folder, nqn), size: '1M' });
            } else await request(socket, 'remove-subsystem', { nqn });
            acknowledged.push(nqn);
            if (acknowledged.length === enough) daemon.child.kill('SIGKILL');
          } catch (error) {
            // Refused: the second of two requests came when nobody was there any more.
            t.match(error, { code: /^ECONN(RESET|REFUSED)$/ }, 'whether it was done nobody knows');
          }
        }),
      );
      t.equal(await daemon.ends('SIGKILL'), 'SIGKILL');
      const after = new Map(kept().map((subsystem) => [subsystem.nqn, subsystem]));
      for (const nqn of acknowledged)
        if (before.some((each) => each.nqn === nqn)) t.notOk(after.has(nqn), 'what was removed is gone');
        else t.match(after.get(nqn)?.namespaces, [{ nsid: 1, path: join(folder, nqn), fileId: /./ }]);
      for (const subsystem of before)
        if (!asked.has(subsystem.nqn)) t.same(after.get(subsystem.nqn), subsystem);
    }
  },
);
