// The commands as processes, against a daemon.
import * as fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Daemon, build, nvmetcp } from '../doubles/nvmetcp.ts';

build();
const folder = t.testdir({ host: {} });
const disk = join(folder, 'disk');
const HOST = ['-q', 'nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555'];
const daemon = await Daemon.start([
  ...['--state', join(folder, 'target'), '--listen', '127.0.0.1:0'],
  ...['--file', `${disk},size=4M,lba=4096`, '--mem', '1M'],
]);
t.teardown(async () => {
  await daemon.ends('SIGTERM');
});
// Connections that nothing ends but the command, even when the machine stops for a while.
const to = [...daemon.flags, ...HOST, '-k', '60'];
const json = ['-o', 'json'];
const run = (command: string, ...args: string[]) => nvmetcp([command, ...to, ...args]);
const parsed = async (command: string, ...args: string[]): Promise<unknown> => {
  const { stdout, stderr, code } = await run(command, ...args, ...json);
  t.match({ stderr, code }, { stderr: '', code: 0 });
  return JSON.parse(String(stdout));
};

t.test('help with examples for each command, version, exit codes', async (t) => {
  const commands = ['targetd', 'discover', 'id-ctrl', 'id-ns', 'list-ns', 'read', 'write', 'flush', 'bench'];
  const helps = await Promise.all(commands.map((command) => nvmetcp([command, '--help'])));
  helps.forEach(({ code, stdout, stderr }, i) => {
    t.match({ code, stderr }, { code: 0, stderr: '' }, commands[i] ?? '');
    t.match(String(stdout), new RegExp(`Examples?:\\n {2}(echo hello \\| )?nvmetcp ${commands[i] ?? ''}`));
  });
  for (const letter of ['-a', '-s', '-n', '-q', '-I', '-i', '-Q', '-g', '-G', '-k'])
    t.match(String(helps[2]?.stdout), new RegExp(`^ {2}${letter}, --`, 'm'), letter);
  const { version } = JSON.parse(fs.readFileSync('package.json', 'utf8')) as { version: string };
  const [asked, none, unknown, missing, all] = await Promise.all([
    nvmetcp(['--version']),
    nvmetcp([]),
    nvmetcp(['frobnicate']),
    nvmetcp(['id-ctrl', '-a', '127.0.0.1']),
    nvmetcp(['--help']),
  ]);
  t.match(asked, { code: 0, stderr: '' });
  t.equal(String(asked.stdout), `${version}\n`);
  t.equal(none.code, 2);
  t.match(unknown, { code: 2, stderr: /^nvmetcp: unknown command 'frobnicate'\n$/ });
  t.match(missing, { code: 2, stderr: /^nvmetcp: required option '-n, --nqn <nqn>' not specified\n$/ });
  t.match(String(all.stdout), /Exit codes: 0 done, 1 the operation failed, 2 wrong flags/);
});

t.test('identify and discover print what nvme-cli prints, as text and as JSON', async (t) => {
  t.match(await parsed('id-ctrl'), {
    mn: 'nvme-tcp',
    cntrltype: 1,
    subnqn: daemon.nqn,
    nn: 1024,
    sqes: 0x66,
    cqes: 0x44,
  });
  t.match(await parsed('id-ns'), {
    nsze: 1024,
    nlbaf: 0,
    lbafs: [{ ms: 0, ds: 12, rp: 0 }],
    nguid: /^[0-9a-f]{32}$/,
  });
  t.match(await parsed('id-ns', '--nsid', '2'), { nsze: 2048, lbafs: [{ ms: 0, ds: 9, rp: 0 }] });
  t.same(await parsed('list-ns'), { nsid_list: [{ nsid: 1 }, { nsid: 2 }] });
  const found = await nvmetcp(['discover', ...daemon.flags.slice(0, 4), ...HOST, ...json]);
  t.match(JSON.parse(String(found.stdout)), {
    genctr: Number,
    records: [
      { subtype: 'current discovery subsystem', traddr: '127.0.0.1' },
      {
        trtype: 'tcp',
        adrfam: 'ipv4',
        subtype: 'nvme subsystem',
        trsvcid: String(daemon.port),
        subnqn: daemon.nqn,
      },
    ],
  });
  t.match(
    String((await run('id-ctrl', '-g', '-G')).stdout),
    /^NVME Identify Controller:\n[^]*^cmic +: 0x.* multipleControllers/m,
  );
  t.match(String((await run('id-ns')).stdout), /^nsze +: 1024\n[^]*^lbafs 0: ms 0, ds 12, rp 0$/m);
  t.equal(String((await run('list-ns')).stdout), '[   0]:0x1\n[   1]:0x2\n');
});

t.test('blocks go in and come out, through pipes and files', async (t) => {
  const data = Buffer.alloc(5 * 4096, 'block by block ');
  const image = join(folder, 'image');
  fs.writeFileSync(image, data);
  t.match(await run('write', '--slba', '3', '--data', image, '--fua'), {
    code: 0,
    stderr: 'wrote 5 blocks of 4096 bytes at 3\n',
  });
  const out = await run('read', '--slba', '3', '--blocks', '5');
  t.match(out, { code: 0, stderr: '' });
  t.ok(out.stdout.equals(data));
  const whole = join(folder, 'whole');
  t.match(await run('read', '--blocks', '1024', '--data', whole), { code: 0 });
  t.ok(fs.readFileSync(whole).equals(fs.readFileSync(disk)), 'more than one command can carry');

  t.match(await nvmetcp(['write', ...to, '--slba', '9', '--pad', '--nsid', '2'], { input: 'hello' }), {
    code: 0,
  });
  const hello = await run('read', '--slba', '9', '--nsid', '2');
  t.same(hello.stdout, Buffer.concat([Buffer.from('hello'), Buffer.alloc(507)]));
  const limited = await nvmetcp(['write', ...to, '--blocks', '1', '--slba', '20'], { input: data });
  t.match(limited, { code: 0, stderr: 'wrote 1 block of 4096 bytes at 20\n' });
  t.match(await run('flush'), { code: 0, stderr: '' });
});

t.test('what cannot be done: one line, and its exit code', async (t) => {
  const small = join(folder, 'small');
  fs.writeFileSync(small, 'x'.repeat(5000));
  const rows: [number, RegExp, string, ...string[]][] = [
    [
      2,
      /^nvmetcp write: 904 bytes do not fill a block of 4096; --pad fills it with zeroes\n$/,
      'write',
      '--data',
      small,
    ],
    [
      2,
      /^nvmetcp write: the data ends after 5000 bytes, --blocks asks for 8192\n$/,
      'write',
      '--data',
      small,
      '--blocks',
      '2',
    ],
    [
      2,
      /^nvmetcp write: 2 blocks at 1023 do not fit: .* 1024 blocks\n$/,
      'write',
      '--data',
      small,
      '--pad',
      '--slba',
      '1023',
    ],
    [1, /^nvmetcp read: .*LBA Out Of Range \(080h, DNR\)\n$/, 'read', '--slba', '1024'],
    [1, /^nvmetcp id-ns: Identify: Invalid Namespace.*\n$/, 'id-ns', '--nsid', '5000'],
    [1, /^nvmetcp flush: \S+ has no namespace 9, only 1, 2\n$/, 'flush', '--nsid', '9'],
    [2, /^nvmetcp bench: --bs 512 is not a multiple of the block size, 4096\n$/, 'bench', '--bs', '512'],
    [2, /^nvmetcp: option '--qd <count>' argument '0' is invalid\. .*\n$/, 'bench', '--qd', '0'],
    [2, /^nvmetcp id-ctrl: hostnqn .*\n$/, 'id-ctrl', '-q', 'me'],
    [
      2,
      /^nvmetcp id-ctrl: traddr "127\.0\.0\.1:4420" has a port in it.*\n$/,
      'id-ctrl',
      '-a',
      '127.0.0.1:4420',
    ],
    [
      2,
      /^nvmetcp read: \/nowhere\/x cannot be written: there is no such .*\n$/,
      'read',
      '--data',
      '/nowhere/x',
    ],
    [
      2,
      /^nvmetcp write: \/nowhere\/x cannot be read: there is no such .*\n$/,
      'write',
      '--data',
      '/nowhere/x',
    ],
    [2, /^nvmetcp write: there is no data\n$/, 'write', '--data', '/dev/null'],
    [
      1,
      /^nvmetcp nbd: cannot listen on \/nowhere\/x: no such file or folder\n$/,
      'nbd',
      '--socket',
      '/nowhere/x',
    ],
    [
      1,
      /^nvmetcp id-ctrl: .*Connect Invalid Parameters \(182h.*: no such subsystem is offered there\n$/,
      'id-ctrl',
      '-n',
      'nqn.2024-01.org.example:other',
    ],
    [
      1,
      /^nvmetcp id-ctrl: cannot connect to 127\.0\.0\.1 port 1: nobody listens there\n$/,
      'id-ctrl',
      '-s',
      '1',
    ],
  ];
  await Promise.all(
    rows.map(async ([code, stderr, command, ...args]) =>
      t.match(await run(command, ...args), { code, stderr }),
    ),
  );
  const debug = await nvmetcp(['id-ctrl', ...to, '-s', '1'], { env: { NVMETCP_DEBUG: '1' } });
  t.match(debug.stderr, /nobody listens there\nNvmeError: [^]*\n {4}at /);
});

t.test('bench measures every kind, and --verify finds what is wrong', async (t) => {
  // However little it gets done in the time: each of the eight does one operation.
  const quick = ['--time', '0.2', '--qd', '8'];
  const direction = {
    iops: Number,
    bandwidth: Number,
    latency_us: { p50: Number, p99: Number, 'p99.9': Number },
  };
  t.match(await parsed('bench', ...quick), { rw: 'randread', bs: 4096, qd: 8, read: direction });
  t.match(await parsed('bench', ...quick, '--rw', 'read', '--bs', '64k'), {
    rw: 'read',
    bs: 65536,
    read: direction,
  });
  const verified = ['--verify', 'crc32c', ...quick];
  // With this seed the first of them are reads and writes.
  const seed = ['--seed', '7'];
  for (const rw of ['randwrite', 'randrw'])
    t.match(await parsed('bench', '--rw', rw, ...verified, ...seed, '--bs', '8k'), {
      rw,
      write: direction,
      verified_blocks: Number,
    });

  // The first eight of these blocks are written in any case.
  const writes = ['--rw', 'write', ...verified, ...seed, '--blocks', '16'];
  t.match(await parsed('bench', ...writes), { seed: 7, write: direction });
  const check = ['--rw', 'read', ...verified, ...seed, '--blocks', '8'];
  const good = await run('bench', ...check);
  t.match(good, { code: 0, stderr: '' });
  t.match(
    String(good.stdout),
    /^read, 4 KiB, depth 8, \d+\.\d s\n +IOPS +bandwidth +p50 +p99 +p99\.9 +max\nread +[\d,]+ +\S+ .iB\/s .*\n[\d,]+ blocks verified \(CRC32C\), seed 7\n$/,
  );
  await nvmetcp(['write', ...to, '--slba', '5', '--pad'], { input: 'not what was there' });
  t.match(await run('bench', ...check), {
    code: 1,
    stderr: 'nvmetcp bench: verify: block 5 was not written by bench --verify\n',
  });
});

t.test('a host without a name gets one, which is kept', async (t) => {
  const env = { NVMETCP_STATE: join(folder, 'host') };
  const named = fs.existsSync('/etc/nvme/hostnqn');
  for (let i = 0; i < 2; i++)
    t.match(await nvmetcp(['list-ns', ...daemon.flags], { env }), { code: 0, stderr: '' });
  if (!named)
    t.match(JSON.parse(fs.readFileSync(join(folder, 'host/host.json'), 'utf8')), {
      hostnqn: /^nqn\..*:uuid:/,
    });
});
