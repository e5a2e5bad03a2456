// `nvmetcp target` and `nvmetcp doctor` as processes, against a daemon.
import * as fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Daemon, build, nvmetcp } from '../doubles/nvmetcp.ts';

build();
const folder = t.testdir();
const NQN = 'nqn.2024-01.test:main';
const state = ['--state', join(folder, 'state')];
const daemon = await Daemon.start([...state, '--nqn', NQN, '--listen', '127.0.0.1:0', '--mem', '1M']);
t.teardown(async () => {
  await daemon.ends('SIGTERM');
});
const target = (...args: string[]) => nvmetcp(['target', ...args, ...state]);

t.test('verbs change the target, and say what they did', async (t) => {
  const disk = join(folder, 'disk');
  const added = await target('add', 'namespace', disk, '--size', '2M', '--lba', '4096', '--group', '2');
  t.match({ ...added, stdout: String(added.stdout) }, { code: 0, stdout: 'namespace 2\n', stderr: '' });
  const rows: [string[], RegExp][] = [
    [
      ['add', 'subsystem', 'nqn.2024-01.test:b', '--port', '1', '--host', 'nqn.x'],
      /^\+ subsystem nqn.*:b: for nqn\.x\n\+ nqn.*:b on port 1\n$/,
    ],
    [
      ['ana', '1', 'non-optimized', '--group', '2'],
      /^~ port 1: ANA group 2 is non-optimized, was optimized\n$/,
    ],
    [
      ['set', 'subsystem', '-n', NQN, '--queues', '2'],
      /^~ subsystem nqn.*:main: I\/O queues: 2; its hosts connect again\n$/,
    ],
    [
      ['set', 'subsystem', '--queues', 'default', '-n', NQN],
      /^~ subsystem nqn.*:main: I\/O queues: all; its/,
    ],
    [['resize', '2', '4M', '-n', NQN], /^4194304 bytes\n$/],
    [
      ['add', 'referral', '1', 'other', '10.0.0.9:8009', '--id', '7'],
      /^~ port 1: refers to 10\.0\.0\.9:8009\n$/,
    ],
    [['show'], /\n└ refers to other, 10\.0\.0\.9:8009\n/],
    [['remove', 'referral', '1', 'other'], /^~ port 1: refers to nobody\n$/],
    [['remove', 'subsystem', 'nqn.2024-01.test:b'], /^- nqn.*:b on port 1\n- subsystem nqn.*:b\n$/],
    [['disable', 'namespace', '2'], /^~ namespace 2 of nqn.*:main: disabled\n$/],
    [['log-level', 'debug'], /^logs debug\n$/],
    [['connections'], /^no host is connected\n$/],
    [
      ['show'],
      /^subsystem nqn.*:main; .*\n├ namespace 1: 1 MiB.*\n└ namespace 2: 4 MiB, 4096-byte blocks, .*disk, disabled, ANA group 2.*\n\nport 1: 127\.0\.0\.1:\d+, listening, connections: 0\n├ nqn.*:main\n└ ANA group 2: non-optimized\n/,
    ],
  ];
  for (const [args, stdout] of rows) {
    const ran = await target(...args);
    t.match({ ...ran, stdout: String(ran.stdout) }, { code: 0, stdout, stderr: '' }, args.join(' '));
  }
  const shown = await target('show', '-o', 'json');
  t.match(JSON.parse(String(shown.stdout)), { subsystems: [{ nqn: NQN }], ports: [{ id: 1 }], pending: [] });
});

t.test('output that is more than a pipe, or a socket, holds is there to its end', async (t) => {
  const names = Array.from({ length: 4000 }, (_, i) => `nqn.2024-01.test:${String(i).padStart(200, 'n')}`);
  const subsystems = names.map((nqn) => ({ nqn, attr: {}, allowed_hosts: [], namespaces: [] }));
  const large = join(folder, 'large.json');
  fs.writeFileSync(large, JSON.stringify({ hosts: [], ports: [], subsystems }));
  const { code, stdout, stderr } = await target('plan', large);
  t.match({ code, stderr }, { code: 0, stderr: '' });
  t.ok(stdout.length > 900_000, `${stdout.length} bytes`);
  t.ok(stdout.includes(`${names.at(-1)}`));
});

t.test('save, plan, apply: a file that was saved changes nothing, another one what it says', async (t) => {
  const file = join(folder, 'config.json');
  t.match(await target('save', file), { code: 0, stderr: '' });
  t.equal(String((await target('plan', file)).stdout), 'nothing to change\n');
  const config = JSON.parse(fs.readFileSync(file, 'utf8')) as { hosts: object[] };
  fs.writeFileSync(
    file,
    JSON.stringify({ ...config, hosts: [{ nqn: 'nqn.x', dhchap_key: 'DHHC-1:…' }], subsystems: [] }),
  );
  const plan = await target('plan', file);
  t.match(
    { ...plan, stdout: String(plan.stdout) },
    {
      code: 0,
      stdout: /^(- .*\n)+$/,
      stderr: 'not supported: hosts[0].dhchap_key: hosts are not authenticated\n',
    },
  );
  t.match(await target('save', '--nvmet'), { code: 0, stderr: /^$|^left out: namespace/ });
});

t.test('what cannot be done: one line, and its exit code', async (t) => {
  const broken = join(folder, 'broken.json');
  fs.writeFileSync(broken, '{"subsystems":[{"nqn":"nqn.a","nsid":1}]}');
  const rows: [number, string[], RegExp][] = [
    [1, ['remove', 'namespace', '99'], /^nvmetcp target: there is no namespace 99 of \S+\n$/],
    [1, ['add', 'namespace', join(folder, 'none')], /^nvmetcp target: \S+none: there is no such file; .*\n$/],
    [2, ['add', 'namespace'], /^nvmetcp target: either a file or --mem is needed\n$/],
    [2, ['apply', broken], /^nvmetcp target: subsystems\[0\]\.nsid is not known\n$/],
    [2, ['apply', join(folder, 'absent')], /^nvmetcp target: \S+absent cannot be read: .*\n$/],
    [2, ['ana', '1', 'good'], /Allowed choices are optimized, non-optimized/],
    [2, ['resize', '0'], /It is not a number from 1 to/],
    [2, ['frobnicate'], /^nvmetcp: unknown command 'frobnicate'\n$/],
  ];
  for (const [code, args, stderr] of rows) t.match(await target(...args), { code, stderr }, args.join(' '));
  t.match(await nvmetcp(['target', 'show', '--state', join(folder, 'nowhere')]), {
    code: 1,
    stderr: /^nvmetcp target: no target listens on \S+target\.sock; .*\n$/,
  });
});

t.test('doctor says what this machine offers, and which target runs', async (t) => {
  const normal = await nvmetcp(['doctor', folder, ...state]);
  t.match(String(normal.stdout), /^ok {4}Node\.js .*\n/);
  t.match(String(normal.stdout), /target +runs, subsystems: 1, listens on 127\.0\.0\.1:\d+\n/);
  const json = await nvmetcp(['doctor', folder, ...state, '-o', 'json']);
  const { findings } = JSON.parse(String(json.stdout)) as { findings: { name: string; state: string }[] };
  t.equal(findings.find(({ name }) => name === 'locks')?.state, 'ok');
  t.same(
    fs.readdirSync(folder).filter((name) => name.includes('doctor')),
    [],
    'nothing stays behind',
  );
  t.match(await nvmetcp(['doctor', join(folder, 'absent'), ...state]), { code: 1 });
});
