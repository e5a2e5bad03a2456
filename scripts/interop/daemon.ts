/** Our daemon as a process of its own, with a relay before it that stays while it goes and comes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Context } from './context.ts';
import { Wire } from './wire.ts';

export class Daemon {
  readonly nqn = 'nqn.2024-01.test.interop:daemon';
  readonly wire: Wire;
  readonly #context: Context;
  #child: ChildProcess;
  /** Where it listens. */
  readonly #listen: number;

  private constructor(context: Context, child: ChildProcess, listen: number, wire: Wire) {
    this.#context = context;
    this.#child = child;
    this.#listen = listen;
    this.wire = wire;
  }

  /** It listens. */
  static async start(context: Context): Promise<Daemon> {
    const { child, port } = await spawned(context, 0);
    const wire = await Wire.open({ to: port });
    context.wires.push(wire);
    const made = new Daemon(context, child, port, wire);
    context.later(async () => {
      await made.stop();
      await wire.close();
    });
    return made;
  }

  /** The port that hosts connect to. */
  get port(): number {
    return this.wire.port;
  }

  /** An orderly end. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
    this.#context.equal(await ended, 0, 'the exit code of targetd');
    clearTimeout(timer);
  }

  /** No end at all: it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  /** After `stop` or `kill`: resolves when the kernel has reconnected as well. */
  async again(): Promise<void> {
    const before = this.wire.traffic.ioQueues;
    ({ child: this.#child } = await spawned(this.#context, this.#listen));
    const back = (): boolean => this.wire.traffic.ioQueues >= before + 2;
    await this.#context.until('the kernel has reconnected', 60, back);
  }
}

/** Resolves when it listens. */
function spawned(context: Context, listen: number): Promise<{ child: ChildProcess; port: number }> {
  const disk = join(context.folder, 'daemon.img');
  const args = ['targetd', '--nqn', 'nqn.2024-01.test.interop:daemon', '--listen', `127.0.0.1:${listen}`];
  const state = ['--state', join(context.folder, 'daemon'), '--file', `${disk},size=32M`];
  const child = spawn(process.execPath, [context.program, ...args, ...state], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
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
