/** Our host daemon, a process of its own, and its commands → the kernel's target. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Context, HOST_NQN, HOST_UUID, pause } from '../context.ts';
import { noise, sameBytes } from '../pattern.ts';
import { TO_LINUX, type Scenario } from '../scenario.ts';

const MiB = 1024 * 1024;
const UUID = '6f1f3c52-52d7-4f0b-9a53-0c8a3c1b7e11';
/** Of whichever number: that is its subsystem's, which is its first controller's (NUM.2). */
const DISK = `uuid.${UUID}`;

export const OUR_DAEMON: Scenario = {
  name: 'host-daemon',
  shows:
    'hostd and its commands: two paths, a way that goes and returns under a read, why, kill -9 of hostd, disconnect',
  direction: TO_LINUX,
  async run(context) {
    const linux = await context.linux({ ports: 2, uuid: UUID });
    let hostd = await started(context);
    context.later(() => stopped(hostd));
    const timers = ['--reconnect-delay', '1', '--keep-alive-tmo', '5', '--ctrl-loss-tmo', '-1'];
    for (const { port } of linux.wires)
      await host(context, 'connect', '-a', '127.0.0.1', '-s', String(port), '-n', linux.nqn, ...timers);
    await paths(context, 'live', 'live');

    const data = noise(8 * MiB);
    const [from, back] = [join(context.folder, 'from'), join(context.folder, 'back')];
    await writeFile(from, data);
    await context.cli(['write', '--head', DISK, '--data', from, '--fua']);
    const readBack = async (): Promise<void> => {
      await context.cli(['read', '--head', DISK, '--blocks', String(data.length / 512), '--data', back]);
      sameBytes(await readFile(back), data, 'what was read');
    };
    await readBack();
    const why = await host(context, 'why', 'nvme0n1');
    for (const path of ['nvme0c0n1', 'nvme0c1n1'])
      context.check(why.includes(path), `why says nothing about ${path}: ${why}`);

    await linux.down(0);
    await paths(context, 'connecting', 'live');
    await readBack();
    await linux.up(0);
    await paths(context, 'live', 'live');

    // It comes back with everything that it had.
    const ended = once(hostd, 'exit');
    hostd.kill('SIGKILL');
    await ended;
    hostd = await started(context);
    await paths(context, 'live', 'live');
    await readBack();

    await host(context, 'disconnect', '-n', linux.nqn);
    await paths(context);
  },
};

const host = async (context: Context, ...args: string[]): Promise<string> =>
  (await context.cli(['host', ...args])).stdout.toString();

/** Until the controllers of the one subsystem that there is are in these states. */
async function paths(context: Context, ...states: string[]): Promise<void> {
  const end = Date.now() + 30_000;
  for (;;) {
    const text = await host(context, 'list-subsys', '-o', 'json');
    const found = Array.from(text.matchAll(/"State": *"(\w+)"/g), ([, state]) => state);
    if (found.sort().join() === states.sort().join()) return;
    if (Date.now() > end) throw new Error(`the paths are not ${states.join(' and ')}: ${text}`);
    await pause(200);
  }
}

/** Resolves when it can be asked. */
async function started(context: Context): Promise<ChildProcess> {
  const state = join(context.folder, 'state');
  const args = ['hostd', '--state', state, '-q', HOST_NQN, '-I', HOST_UUID];
  const child = spawn(process.execPath, [context.program, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr.setEncoding('utf8').on('data', (text: string) => context.note(text.trimEnd()));
  const control = join(state, 'host.sock');
  const asked = async (): Promise<boolean> =>
    existsSync(control) && (await context.tryCli(['host', 'list'])).status === 0;
  const end = Date.now() + 30_000;
  while (!(await asked())) {
    if (child.exitCode !== null || Date.now() > end) throw new Error('hostd did not start');
    await pause(100);
  }
  return child;
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
  const [status] = (await ended) as [number | null];
  clearTimeout(timer);
  if (status !== 0) throw new Error(`hostd ended with ${String(status)}`);
}
