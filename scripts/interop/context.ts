/** What a scenario has to work with, and what is looked at when it is over. */
import { spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHost, type HostOptions, type NvmeHost } from '../../src/api/host.ts';
import { HOST_ADDRESS, type Guest } from './guest.ts';
import { Journal } from './journal.ts';
import { LinuxTarget, type LinuxTargetOptions } from './linux-target.ts';
import { TestTarget, type TestTargetOptions } from './test-target.ts';
import { say } from './tool.ts';
import type { Wire } from './wire.ts';

export interface ContextOptions {
  readonly guest: Guest;
  /** Ends the guest as a power failure does, and gives another one. */
  readonly reboot: () => Promise<Guest>;
  /** The ports of 127.0.0.1 that lead to nvmet's. */
  readonly forwards: readonly number[];
  /** The compiled command line. */
  readonly cli: string;
  readonly full: boolean;
}

export interface Ended {
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** How our host calls itself. */
export const HOST_UUID = '0e5d5b1c-33c7-4f0a-9c55-6f9f3c7a1d22';
export const HOST_NQN = `nqn.2014-08.org.nvmexpress:uuid:${HOST_UUID}`;

export class Context {
  readonly full: boolean;
  readonly journal = new Journal();
  /** For files; gone afterwards. */
  readonly folder = mkdtempSync(join(tmpdir(), 'nvmetcp-interop-'));
  /** Every relay there was. */
  readonly wires: Wire[] = [];
  /** TermReqs are part of the scenario. */
  mayTerminate = false;
  #guest: Guest;
  readonly #options: ContextOptions;
  readonly #targets: TestTarget[] = [];
  readonly #hosts: NvmeHost[] = [];
  readonly #ends: (() => Promise<void>)[] = [];

  constructor(options: ContextOptions) {
    this.#options = options;
    this.#guest = options.guest;
    this.full = options.full;
  }

  get guest(): Guest {
    return this.#guest;
  }

  /** The guest's power fails under everything, without a word to anybody; it starts anew. */
  async reboot(): Promise<void> {
    for (const wire of this.wires) wire.vanish();
    this.#guest = await this.#options.reboot();
  }

  /** Something for the record. */
  note(text: string): void {
    this.journal.note(text);
  }

  /** Something for whoever runs it. */
  say(text: string): void {
    say(`     ${text}`);
  }

  check(condition: boolean, otherwise: string): void {
    if (!condition) throw new Error(otherwise);
  }

  equal<T>(actual: T, expected: T, what: string): void {
    if (actual !== expected) throw new Error(`${what} is ${String(actual)} and not ${String(expected)}`);
  }

  /** Runs when the scenario is over, last first. */
  later(end: () => Promise<void>): void {
    this.#ends.push(end);
  }

  /** Polls until it is so. */
  async until(what: string, seconds: number, so: () => boolean): Promise<void> {
    const end = Date.now() + seconds * 1000;
    while (!so()) {
      if (Date.now() > end) throw new Error(`after ${seconds} s still not so: ${what}`);
      await pause(50);
    }
  }

  // ---- the two ends

  /** Our target, in this process. */
  async target(options: TestTargetOptions = {}): Promise<TestTarget> {
    // Each has files of its own.
    const folder = mkdtempSync(join(this.folder, 'target-'));
    const target = await TestTarget.start(options, folder, this.journal);
    this.#targets.push(target);
    this.wires.push(target.wire);
    this.later(() => target.stop());
    return target;
  }

  /** Text of a step that connects the kernel to it: sets `ctrl` and `disk`. */
  connect(target: { readonly nqn: string; readonly port: number }, options = ''): string {
    return (
      `ctrl=$(connect ${target.nqn} ${HOST_ADDRESS} ${target.port} ${options}) || fail "$ctrl"\n` +
      `disk=$(disk ${target.nqn}) || fail "$disk"\n`
    );
  }

  /** nvmet in the guest. */
  async linux(options: LinuxTargetOptions = {}): Promise<LinuxTarget> {
    const target = await LinuxTarget.start(() => this.guest, this.#options.forwards, options);
    this.wires.push(...target.wires);
    this.later(() => target.stop());
    return target;
  }

  /** Our host, in this process. */
  host(options: HostOptions = {}): NvmeHost {
    const host = createHost({ hostnqn: HOST_NQN, hostid: HOST_UUID, logger: this.journal, ...options });
    this.#hosts.push(host);
    this.later(() => host.close());
    return host;
  }

  /** Our command line, run to its end; rejects unless it ends with 0. */
  async cli(args: readonly string[], input?: Uint8Array): Promise<Ended> {
    const ended = await this.tryCli(args, input);
    if (ended.status !== 0)
      throw new Error(`nvmetcp ${args.join(' ')}: status ${ended.status}\n${ended.stderr}`);
    return ended;
  }

  tryCli(args: readonly string[], input?: Uint8Array): Promise<Ended> {
    this.note(`nvmetcp ${args.join(' ')}`);
    const child = spawn(process.execPath, [this.#options.cli, ...args], {
      stdio: 'pipe',
      env: { ...process.env, NVMETCP_STATE: join(this.folder, 'state') },
    });
    const stdout: Buffer[] = [];
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
    return new Promise((resolve) => {
      child.on('close', (status) => {
        clearTimeout(timer);
        resolve({ status, stdout: Buffer.concat(stdout), stderr });
      });
    });
  }

  /** The command line, for children that a scenario runs itself. */
  get program(): string {
    return this.#options.cli;
  }

  // ---- the end

  /** What nobody has to ask for: everything let go, no promise broken, nothing left. Rejects otherwise. */
  async finish(): Promise<void> {
    for (const host of this.#hosts) await within(60, 'disconnecting our host', host.close());
    await this.guest.run('tidy', 60);
    for (const target of this.#targets) {
      const left = (): string =>
        `${target.left.connections} connections, ${target.left.controllers} controllers`;
      const empty = (): boolean => target.left.connections === 0 && target.left.controllers === 0;
      await this.until('the kernel has disconnected, and our target has let go', 60, empty).catch(
        (error: unknown) => {
          throw new Error(`our target still has ${left()}`, { cause: error });
        },
      );
      target.target.invariants();
      const [broken] = target.durability.violations;
      if (broken !== undefined) throw new Error(broken);
    }
    const terminations = this.wires.reduce((sum, { traffic }) => sum + traffic.terminations, 0);
    if (terminations > 0 && !this.mayTerminate) throw new Error(`${terminations} TermReqs were sent`);
  }

  /** Ends what still runs, whatever happened. Gives what went wrong with that. */
  async close(): Promise<string[]> {
    const faults: string[] = [];
    for (const end of this.#ends.reverse())
      try {
        await within(60, 'the end', end());
      } catch (error) {
        faults.push(error instanceof Error ? error.message : String(error));
      }
    await rm(this.folder, { recursive: true, force: true });
    return faults;
  }
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Rejects when the promise takes longer. */
export async function within<T>(seconds: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} takes more than ${seconds} s`)), seconds * 1000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
