/** Linux host → our daemon: it is stopped and started again, and the kernel's disk stays the same. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Context } from '../context.ts';
import { FROM_LINUX, type Scenario } from '../scenario.ts';
import { Wire } from '../wire.ts';

const NQN = 'nqn.2024-01.test.interop:daemon';

interface Daemon {
  readonly child: ChildProcess;
  /** Where it listens. */
  readonly port: number;
}

/** Resolves when it listens. */
function startDaemon(context: Context, listen: number): Promise<Daemon> {
  const disk = join(context.folder, 'daemon.img');
  const args = ['targetd', '--nqn', NQN, '--listen', `127.0.0.1:${listen}`, '--state'];
  const child = spawn(
    process.execPath,
    [context.program, ...args, join(context.folder, 'daemon'), '--file', `${disk},size=32M`],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let said = '';
  return new Promise((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => context.note(text.trimEnd()));
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      const port = /listens on 127\.0\.0\.1:(\d+)/.exec(said)?.[1];
      if (port !== undefined) resolve({ child, port: Number(port) });
    });
    child.on('error', reject);
    child.on('exit', (status) => reject(new Error(`targetd ended with status ${status}\n${said}`)));
  });
}

/** The exit code, of an orderly end. */
async function stopDaemon(context: Context, { child }: Daemon): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
  context.equal(await ended, 0, 'the exit code of targetd');
  clearTimeout(timer);
}

const daemon: Scenario = {
  name: 'daemon',
  shows:
    'targetd is stopped by SIGTERM under fio and started again; the kernel finds the same disk and goes on',
  direction: FROM_LINUX,
  async run(context) {
    let running = await startDaemon(context, 0);
    context.later(() => stopDaemon(context, running));
    const { port } = running;
    const wire = await Wire.open({ to: port });
    context.wires.push(wire);
    context.later(() => wire.close());
    const target = { nqn: NQN, port: wire.port };
    await context.guest.run(`${context.connect(target, '-c 1 -l 60')} verify $disk 512`);
    const job = context.guest.run(
      `fio_verify $(disk ${NQN}) --size=2m --verify_backlog=64 --time_based --runtime=10`,
      100,
    );
    const busy = (): boolean => wire.traffic.reads > 100;
    await Promise.race([context.until('fio reads', 30, busy), job]);
    await stopDaemon(context, running);
    const before = wire.traffic.ioQueues;
    running = await startDaemon(context, port);
    await context.until('the kernel has reconnected', 30, () => wire.traffic.ioQueues >= before + 2);
    context.note(await job);
    await context.guest.run(`disconnect ${NQN}`);
    await stopDaemon(context, running);
  },
};

export const LINUX_STAYS: readonly Scenario[] = [daemon];
