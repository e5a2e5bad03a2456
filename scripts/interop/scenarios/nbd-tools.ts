/** NBD clients as Debian ships them → `nvmetcp nbd` → `nvmetcp targetd`, all of them processes of this machine. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { pause } from '../context.ts';
import type { LocalContext, LocalNbd, LocalScenario, LocalTarget } from '../local.ts';
import { noise, sameBytes } from '../pattern.ts';

const MiB = 1024 * 1024;
const FIO = [
  '--name=nbd',
  '--ioengine=nbd',
  '--verify=crc32c',
  '--verify_fatal=1',
  '--verify_state_save=0',
  '--randrepeat=0',
];

async function up(
  context: LocalContext,
  ...disks: readonly string[]
): Promise<{ target: LocalTarget; nbd: LocalNbd }> {
  const target = await context.target(...disks);
  return { target, nbd: await context.nbd(target) };
}

const info: LocalScenario = {
  name: 'nbdinfo',
  shows: 'size, features, block sizes, list and map, of disks of 512 and 4,096 bytes, and a read-only one',
  async run(context) {
    await writeFile(context.path('ro.img'), new Uint8Array(MiB));
    const target = await context.target(
      '--mem',
      '64M',
      '--mem',
      '32M,lba=4096',
      '--file',
      `${context.path('ro.img')},ro`,
    );
    for (const [nsid, size, readOnly] of [
      [1, MiB, true],
      [2, 64 * MiB, false],
      [3, 32 * MiB, false],
    ] as const) {
      const { uri } = await context.nbd(target, '--nsid', String(nsid));
      const text = await context.tool('nbdinfo', '--json', uri);
      const { exports } = JSON.parse(text) as { exports: Record<string, unknown>[] };
      const [found] = exports;
      const expected: Record<string, unknown> = {
        'export-size': size,
        is_read_only: readOnly,
        is_rotational: false,
        can_flush: true,
        can_fua: true,
        can_multi_conn: true,
        can_df: true,
        can_trim: !readOnly,
        can_zero: !readOnly,
        can_fast_zero: false,
        block_size_minimum: 1,
        block_size_preferred: 4096,
      };
      for (const [key, value] of Object.entries(expected)) context.equal(found?.[key], value, key);
      const map = await context.tool('nbdinfo', '--map', uri);
      context.check(new RegExp(`^\\s*0\\s+${size}\\s+0\\s+data`).test(map), `the map: ${map}`);
      const list = await context.tool('nbdinfo', '--list', uri);
      context.check(list.includes('export="nvme0n'), `the list: ${list}`);
      if (readOnly) {
        const { status, output } = await context.tryTool('qemu-io', '-f', 'raw', '-c', 'write 0 512', uri);
        context.check(status !== 0, `a read-only disk was written: ${output}`);
      }
    }
  },
};

const copy: LocalScenario = {
  name: 'nbdcopy',
  shows: 'in over several connections, flushed, out again, and the bytes are the same',
  async run(context) {
    for (const disk of ['64M', '64M,lba=4096']) {
      const { nbd } = await up(context, '--mem', disk);
      const [from, back] = [context.path('from.img'), context.path('back.img')];
      const data = new Uint8Array(64 * MiB);
      data.set(noise(40 * MiB), 3 * MiB);
      await writeFile(from, data);
      await context.tool('nbdcopy', '--flush', '--connections=4', from, nbd.uri);
      await context.tool('nbdcopy', '--connections=4', nbd.uri, back);
      sameBytes(await readFile(back), data, `what nbdcopy read (${disk})`);
      await context.tool('nbdcopy', '--synchronous', nbd.uri, back);
      sameBytes(await readFile(back), data, `what nbdcopy --synchronous read (${disk})`);
    }
  },
};

const qemu: LocalScenario = {
  name: 'qemu-img',
  shows: 'info, convert in and out, compare, and qemu-io with odd offsets, zeroes, discards, FUA',
  async run(context) {
    for (const disk of ['64M', '64M,lba=4096']) {
      const { nbd } = await up(context, '--mem', disk);
      const { uri } = nbd;
      const raw = context.path('from.raw');
      const data = new Uint8Array(64 * MiB);
      data.set(noise(10 * MiB), 1000);
      await writeFile(raw, data);
      const told = JSON.parse(await context.tool('qemu-img', 'info', '--output=json', uri)) as Record<
        string,
        unknown
      >;
      context.equal(told['virtual-size'], 64 * MiB, 'virtual-size');
      await context.tool('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', raw, uri);
      await context.tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', raw, uri);
      await context.tool(
        'qemu-img',
        'convert',
        '-f',
        'raw',
        '-O',
        'qcow2',
        '-W',
        '-m',
        '16',
        uri,
        context.path('c.qcow2'),
      );
      await context.tool('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', context.path('c.qcow2'), uri);
      const commands = [
        'write -P 7 1000 3000',
        'read -P 7 1000 3000',
        'write -P 9 4095 2',
        'read -P 7 1000 3000',
        'read -P 9 4095 2',
        'write -z 4100 1000000',
        'read -P 0 4100 1000000',
        'write -z -u 2097153 100',
        'read -P 0 2097153 100',
        'discard 8M 1M',
        'write -f -P 3 5M 64k',
        'read -P 3 5M 64k',
        'flush',
        'aio_write -P 1 16M 32M',
        'aio_flush',
        'read -P 1 16M 32M',
      ];
      const said = await context.tool(
        'qemu-io',
        '-f',
        'raw',
        ...commands.flatMap((each) => ['-c', each]),
        uri,
      );
      context.check(!/failed|error/i.test(said), said);
    }
  },
};

const fuse: LocalScenario = {
  name: 'nbdfuse',
  shows: 'the disk as a file: read, written at odd places, synced',
  missing() {
    try {
      accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
    } catch {
      return 'there is no /dev/fuse here';
    }
    return undefined;
  },
  async run(context) {
    const { nbd } = await up(context, '--mem', '16M,lba=4096');
    const file = context.path('disk.img');
    await writeFile(file, '');
    const mount = context.background('nbdfuse', file, nbd.uri);
    try {
      for (let turns = 0; statSync(file).size !== 16 * MiB; turns++) {
        context.check(!mount.over && turns < 200, `nbdfuse: ${mount.output}`);
        await pause(50);
      }
      const data = noise(100_001);
      const handle = await open(file, 'r+');
      await handle.write(data, 0, data.length, 12_345);
      await handle.sync();
      const back = new Uint8Array(data.length);
      await handle.read(back, 0, back.length, 12_345);
      sameBytes(back, data, 'what was written at 12,345');
      const before = new Uint8Array(12_345);
      await handle.read(before, 0, before.length, 0);
      context.check(
        before.every((byte) => byte === 0),
        'what is before it changed',
      );
      await handle.close();
    } finally {
      await context.tool('fusermount3', '-u', file);
    }
    context.equal(await mount.ended(), 0, 'how nbdfuse ended');
  },
};

const fio: LocalScenario = {
  name: 'nbd-fio',
  shows:
    'verified I/O of many sizes over two connections, while the target stands still for two seconds, twice',
  async run(context) {
    const { target, nbd } = await up(context, '--mem', '128M');
    await context.tool(
      'fio',
      ...FIO,
      `--uri=${nbd.uri}`,
      '--rw=randrw',
      '--bsrange=512-128k',
      '--blockalign=512',
      '--iodepth=16',
      '--size=32M',
      '--verify_backlog=64',
    );
    const job = context.tool(
      'fio',
      ...FIO,
      `--uri=${nbd.uri}`,
      '--rw=randwrite',
      '--bs=4k',
      '--iodepth=32',
      '--numjobs=2',
      '--size=32M',
      '--offset_increment=64M',
      '--verify_backlog=256',
      '--time_based',
      '--runtime=8',
      '--group_reporting',
    );
    for (let times = 0; times < 2; times++) {
      await pause(1500);
      target.process.child.kill('SIGSTOP');
      await pause(2000);
      target.process.child.kill('SIGCONT');
    }
    await job;
  },
};

const loss: LocalScenario = {
  name: 'nbd-loss',
  shows: 'the target is killed under verified I/O and comes back: clients see time, no error',
  async run(context) {
    const target = await context.target('--file', `${context.path('disk.img')},size=64M`);
    const nbd = await context.nbd(target, '--keep-alive-tmo', '1', '--reconnect-delay', '1');
    const load = ['--rw=randrw', '--bs=4k', '--iodepth=32', '--size=24M', '--rate_iops=600,600'];
    const job = context.tool('fio', ...FIO, `--uri=${nbd.uri}`, ...load, '--verify_backlog=64');
    await Promise.race([pause(2000), job]);
    await target.process.ends('SIGKILL');
    await pause(1500);
    const next = await context.again(target);
    await job;
    await context.tool('nbdinfo', nbd.uri);
    context.equal(await nbd.process.ends('SIGTERM'), 0, 'the exit code after SIGTERM');
    context.equal(await next.process.ends('SIGTERM'), 0, 'the exit code of the target');
  },
};

const resize: LocalScenario = {
  name: 'nbd-resize',
  shows:
    'the disk grows under a client that stays connected: it goes on, and whoever comes anew sees the new size',
  async run(context) {
    const disk = context.path('disk.img');
    const target = await context.target('--file', `${disk},size=64M`);
    const { uri } = await context.nbd(target);
    const size = async (): Promise<number> => Number(await context.tool('nbdinfo', '--size', uri));
    const sizes = async (): Promise<readonly unknown[]> => {
      const told = await context.tool('qemu-img', 'info', '--output=json', uri);
      const { 'virtual-size': virtual } = JSON.parse(told) as Record<string, unknown>;
      return [await size(), virtual];
    };
    const io = (...commands: readonly string[]): readonly string[] => [
      ...['-f', 'raw', ...commands.flatMap((each) => ['-c', each]), uri],
    ];
    const grown = context.path('grown');
    const talk =
      `echo write -P 5 1M 64k; until [ -e ${grown} ]; do sleep 0.1; done; ` +
      'echo read -P 5 1M 64k; echo write -P 6 63M 64k; echo flush; echo quit';
    const stays = context.background('sh', '-c', `(${talk}) | stdbuf -oL qemu-io -f raw '${uri}'`);
    await stays.says(/wrote 65536/);
    context.equal((await sizes()).join(), [64 * MiB, 64 * MiB].join(), 'the sizes before');
    const grow = [context.cli, 'target', 'resize', '1', '96M', '--state', target.state];
    await context.tool(process.execPath, ...grow);
    for (let turns = 0; (await size()) !== 96 * MiB; turns++) {
      context.check(turns < 100, 'a new client does not see the new size');
      await pause(50);
    }
    context.equal((await sizes()).join(), [96 * MiB, 96 * MiB].join(), 'the sizes after');
    context.check(!stays.over, 'the client that was connected has gone before it grew');
    await writeFile(grown, '');
    const said = await context.tool('qemu-io', ...io('write -P 7 80M 1M', 'read -P 7 80M 1M'));
    context.check(!/failed|error/i.test(said), said);
    context.equal(await stays.ended(), 0, 'how the client that stayed ended');
    context.check(!/failed|error/i.test(stays.output), stays.output);
    await context.tool('qemu-io', ...io('read -P 5 1M 64k', 'read -P 6 63M 64k', 'read -P 7 80M 1M'));
  },
};

const ends: LocalScenario = {
  name: 'nbd-ends',
  shows: 'clients that are killed, a socket that was left, an end that waits for nobody',
  async run(context) {
    const { target, nbd } = await up(context, '--mem', '256M');
    const { socket, uri } = nbd;
    context.equal(statSync(socket).mode & 0o777, 0o600, 'the mode of the socket');
    const second = await context.tryTool(
      process.execPath,
      context.cli,
      'nbd',
      ...target.flags,
      '--socket',
      socket,
    );
    context.check(second.status === 1 && /answers/.test(second.output), `a second one: ${second.output}`);
    for (let times = 0; times < 5; times++) {
      const client = context.background('nbdcopy', uri, 'null:');
      await pause(100 + 50 * times);
      await client.ends('SIGKILL');
    }
    await context.tool('nbdinfo', uri);
    const idle = context.background('nbdcopy', '--requests=4', uri, context.path('copy.img'));
    await pause(200);
    context.equal(await nbd.process.ends('SIGINT'), 0, 'the exit code after SIGINT');
    context.check(!existsSync(socket), 'the socket is still there');
    await idle.ends('SIGKILL');

    const left = await context.nbdAt(target, socket);
    context.equal(await left.process.ends('SIGKILL'), 'SIGKILL', 'how it ended');
    context.check(existsSync(socket), 'a killed process leaves its socket');
    const next = await context.nbdAt(target, socket);
    await context.tool('nbdinfo', next.uri);
    // The target hangs: the end does not wait for it longer than it says.
    target.process.child.kill('SIGSTOP');
    context.background('qemu-io', '-f', 'raw', '-c', 'read 0 1M', next.uri);
    await pause(500);
    context.equal(await next.process.ends('SIGINT'), 0, 'the exit code while the target hangs');
  },
};

export const NBD_TOOLS: readonly LocalScenario[] = [info, copy, qemu, fuse, fio, loss, resize, ends];
