// `nvmetcp hostd` and `nvmetcp host` as processes, against a target of two ports.
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { Daemon, build, nvmetcp } from '../doubles/nvmetcp.ts';

build();
const folder = fs.mkdtempSync(join(tmpdir(), 'host-'));
const NQN = 'nqn.2024-01.test:a';
const HOST = ['-q', 'nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555'];
const target = await Daemon.start([
  ...['--state', join(folder, 'target'), '--nqn', NQN],
  ...['--listen', '127.0.0.1:0', '--listen', '127.0.0.1:0', '--mem', '4M'],
]);
const ports = [...target.stdout.matchAll(/127\.0\.0\.1:(\d+)/g)].map(([, port]) => port ?? '');
const host = await Daemon.host(['--state', join(folder, 'host'), ...HOST]);
t.teardown(async () => {
  await host.ends('SIGTERM');
  await target.ends('SIGTERM');
  fs.rmSync(folder, { recursive: true, force: true });
});
const at = ['--state', join(folder, 'host')];
const run = (...args: string[]) => nvmetcp(['host', ...args, ...at]);
const parsed = async (...args: string[]): Promise<unknown> => {
  const { stdout, stderr, code } = await run(...args, '-o', 'json');
  t.match({ stderr, code }, { stderr: '', code: 0 });
  return JSON.parse(String(stdout));
};

t.test('help with an example for each command', async (t) => {
  const verbs = ['connect', 'connect-all', 'disconnect', 'disconnect-all', 'list', 'list-subsys'];
  const more = [
    'show-topology',
    'why',
    'events',
    'set',
    'reset',
    'rescan',
    'log-level',
    'port list',
    'port add',
  ];
  const all = [...verbs, ...more, 'port remove'];
  const helps = await Promise.all(all.map((verb) => nvmetcp(['host', ...verb.split(' '), '--help'])));
  helps.forEach(({ code, stdout }, i) => {
    t.equal(code, 0);
    t.match(String(stdout), new RegExp(`Examples?:\\n {2}nvmetcp host ${all[i] ?? ''}`));
  });
  for (const letter of [
    '-t',
    '-a',
    '-s',
    '-w',
    '-n',
    '-q',
    '-I',
    '-i',
    '-W',
    '-Q',
    '-k',
    '-c',
    '-l',
    '-F',
    '-d',
    '-D',
    '-g',
  ])
    if (letter !== '-t') t.match(String(helps[0]?.stdout), new RegExp(`^ {2}${letter}, --`, 'm'), letter);
});

t.test('connect, look, set, disconnect: as with nvme-cli', async (t) => {
  const to = (i: number): string[] => ['-t', 'tcp', '-a', '127.0.0.1', '-s', ports[i] ?? '', '-n', NQN];
  // Connections that nothing ends but a command, even when the machine stops for a while.
  const patient = ['-k', '60'];
  t.equal(
    String((await run('connect', ...to(0), ...patient, '-c', '2', '-l', '600')).stdout),
    'connecting to device: nvme0\n',
  );
  t.match(await parsed('connect', ...to(1), ...patient, '-i', '1', '-Q', '64'), {
    device: 'nvme1',
    nvmetcp: { already: false },
  });
  const again = await run('connect', ...to(1));
  t.match(again, { code: 0 });
  t.match(String(again.stdout), /^already connected: nvme1 to /);
  t.match(await parsed('list'), {
    Devices: [{ NameSpace: 1, DevicePath: 'nvme0n1', PhysicalSize: 4194304 }],
  });
  t.match(await parsed('list', '-v'), {
    Devices: [{ Subsystems: [{ Subsystem: 'nvme-subsys0', Controllers: [{}, {}] }] }],
  });
  t.match(await parsed('list-subsys'), [
    { Subsystems: [{ NQN, Paths: [{ State: 'live' }, { State: 'live' }] }] },
  ]);
  t.match(await parsed('show-topology'), [{ Subsystems: [{ Namespaces: [{ NSID: 1, Paths: [{}, {}] }] }] }]);
  t.match(String((await run('list')).stdout), /\nnvme0n1 /);
  const set = await run('set', 'nvme0', '--fast_io_fail_tmo', '700');
  t.match(set, {
    code: 0,
    stderr: /^warning: fast_io_fail_tmo \(700 s\) is larger than ctrl_loss_tmo \(600 s\)/,
  });
  await run('set', 'nvme-subsys0', '--iopolicy', 'round-robin');
  t.match(
    String((await run('why', 'nvme0n1')).stdout),
    /goes by nvme0c0n1 or nvme0c1n1, as round-robin says\n/,
  );
  t.match(String((await run('events')).stdout), /^\S+Z controller added nvme0 #\d+: nqn/);
  t.match(String((await run('port', 'list')).stdout), /\nany +127\.0\.0\.1 port \d+ +online/);
  t.match(await parsed('rescan', 'nvme0'), { rescanned: ['nvme0'] });
  t.match(String((await run('reset', 'nvme1')).stdout), /^reset: nvme1\n/);
  t.equal(String((await run('disconnect', '-n', NQN)).stdout), `NQN:${NQN} disconnected 2 controller(s)\n`);
  t.match(
    String((await run('connect-all', '-a', '127.0.0.1', '-s', ports[0] ?? '')).stdout),
    /^nvme\d to .*\nnvme\d to /,
  );
  t.equal(String((await run('disconnect-all')).stdout), 'disconnected 2 controller(s)\n');
});

t.test('one line that says what is wrong, and the exit code', async (t) => {
  const rows: [number, RegExp, string[]][] = [
    [1, /^nvmetcp host: there is no nvme9;/, ['why', 'nvme9', ...at]],
    [
      1,
      /^nvmetcp host: no host daemon listens on \S+; "nvmetcp hostd" starts one/,
      ['list', '--control', join(folder, 'none')],
    ],
    [2, /^nvmetcp: required option '-n, --nqn <nqn>' not specified\n/, ['connect', '-a', '127.0.0.1']],
    [2, /^nvmetcp host: subnqn "x"/, ['connect', '-a', '127.0.0.1', '-n', 'x', ...at]],
    [2, /Allowed choices are numa, round-robin/, ['set', 'nvme0', '--iopolicy', 'x', ...at]],
  ];
  for (const [code, stderr, args] of rows)
    t.match(await nvmetcp(['host', ...args]), { code, stderr }, args.join(' '));
});

t.test('read, write and bench by several ways at once', async (t) => {
  const ways = [...['-a', '127.0.0.1'], ...ports.flatMap((port) => ['-s', port]), '-n', NQN, ...HOST];
  t.match(await nvmetcp(['write', ...ways, '--pad', '--slba', '3'], { input: 'hello' }), { code: 0 });
  const { code, stdout } = await nvmetcp(['read', ...ways, '--slba', '3', '--iopolicy', 'round-robin']);
  t.equal(code, 0);
  t.equal(stdout.toString('latin1', 0, 5), 'hello');
});

t.test('read, write and bench through the daemon: its disk, its paths', async (t) => {
  await run('connect', '-a', '127.0.0.1', '-s', ports[0] ?? '', '-n', NQN, '-k', '60');
  const disk = ['--head', 'nvme0n1', ...at];
  const wrote = { code: 0, stderr: 'wrote 1 block of 512 bytes at 8\n' };
  t.match(await nvmetcp(['write', ...disk, '--slba', '8', '--pad', '--fua'], { input: 'by head' }), wrote);
  const { code, stdout } = await nvmetcp(['read', ...disk, '--slba', '8']);
  t.equal(code, 0);
  t.equal(stdout.toString('latin1', 0, 7), 'by head');
  // With this seed the first operations are reads and writes: something is written however short the time was.
  const seed = ['--seed', '7'];
  const load = ['--rw', 'randrw', '--verify', 'crc32c', '--qd', '8', '--time', '0.3', ...seed, '-o', 'json'];
  const measured = await nvmetcp(['bench', ...disk, ...load]);
  t.match({ code: measured.code, stderr: measured.stderr }, { code: 0, stderr: '' });
  t.match(JSON.parse(String(measured.stdout)), { write: { iops: Number } });
  const rows: [number, RegExp, string[]][] = [
    [1, /^nvmetcp read: the host daemon has no nvme7n1, only nvme0n1\n$/, ['--head', 'nvme7n1', ...at]],
    [2, /required option '-a, --traddr <address>' not specified, nor --head/, ['--slba', '0']],
    [2, /--head names a disk of the host daemon/, ['--head', 'nvme0n1', '-a', '127.0.0.1', ...at]],
  ];
  for (const [exit, stderr, args] of rows) t.match(await nvmetcp(['read', ...args]), { code: exit, stderr });
});
