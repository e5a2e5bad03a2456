/** Scenarios that need no kernel of their own: programs of this machine against our processes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pause, within } from './context.ts';
import type { Result } from './runner.ts';
import { LabError, say, whereIs } from './tool.ts';

export const FROM_NBD = 'NBD clients → our host';

export interface LocalScenario {
  /** What --only takes. */
  readonly name: string;
  /** What it shows, for --list. */
  readonly shows: string;
  /** Why it cannot run here; it is then left out, and that is said. */
  readonly missing?: () => string | undefined;
  /** Rejects when something is not as it should be. */
  readonly run: (context: LocalContext) => Promise<void>;
}

const SECONDS = 180;

/** One of our processes. */
export class OurProcess {
  readonly child: ChildProcess;
  output = '';
  readonly #closed: Promise<void>;

  constructor(child: ChildProcess) {
    this.child = child;
    const take = (chunk: Buffer): void => {
      this.output += chunk.toString();
    };
    child.stdout?.on('data', take);
    child.stderr?.on('data', take);
    this.#closed = new Promise((resolve) => child.on('close', () => resolve()));
  }

  get over(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Resolves when it has said that. */
  async says(what: RegExp): Promise<void> {
    for (let turns = 0; !what.test(this.output); turns++) {
      if (this.over || turns > 600) throw new Error(`it did not say ${String(what)}:\n${this.output}`);
      await pause(50);
    }
  }

  /** Its exit code, or the signal that ended it. */
  ends(signal: NodeJS.Signals): Promise<number | string> {
    this.child.kill(signal);
    return this.ended();
  }

  async ended(): Promise<number | string> {
    await within(60, `the end of ${this.child.spawnfile}`, this.#closed);
    return this.child.exitCode ?? this.child.signalCode ?? '';
  }
}

/** A target in a process of its own, and how to connect to it. */
export interface LocalTarget {
  readonly process: OurProcess;
  readonly flags: readonly string[];
  readonly state: string;
}

/** `nvmetcp nbd`. */
export interface LocalNbd {
  readonly process: OurProcess;
  readonly socket: string;
  readonly uri: string;
}

export class LocalContext {
  /** For files; gone afterwards. Short, because it holds sockets. */
  readonly folder = mkdtempSync(join(tmpdir(), 'nbd-'));
  /** The compiled command line. */
  readonly cli: string;
  readonly #processes: OurProcess[] = [];
  #count = 0;

  constructor(cli: string) {
    this.cli = cli;
  }

  check(condition: boolean, otherwise: string): void {
    if (!condition) throw new Error(otherwise);
  }

  equal<T>(actual: T, expected: T, what: string): void {
    if (actual !== expected) throw new Error(`${what} is ${String(actual)} and not ${String(expected)}`);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  #start(args: readonly string[]): OurProcess {
    const child = spawn(process.execPath, [this.cli, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NVMETCP_STATE: this.path('state') },
    });
    const made = new OurProcess(child);
    this.#processes.push(made);
    return made;
  }

  /** `nvmetcp targetd` with these disks. */
  async target(...disks: readonly string[]): Promise<LocalTarget> {
    const state = this.path(`target-${++this.#count}`);
    const process = this.#start(['targetd', '--listen', '127.0.0.1:0', '--state', state, ...disks]);
    await process.says(/nvme connect/);
    const line = /(-a \S+ -s \d+ -n \S+)/.exec(process.output)?.[1];
    if (line === undefined) throw new Error(`it does not say how to connect:\n${process.output}`);
    return { process, flags: line.split(' '), state };
  }

  /** A target that has ended, anew at the same place. */
  async again({ flags, state }: LocalTarget): Promise<LocalTarget> {
    const process = this.#start(['targetd', '--listen', `127.0.0.1:${flags[3] ?? ''}`, '--state', state]);
    await process.says(/nvme connect/);
    return { process, flags, state };
  }

  async nbd(target: LocalTarget, ...more: readonly string[]): Promise<LocalNbd> {
    const socket = this.path(`disk-${++this.#count}`);
    return this.nbdAt(target, socket, ...more);
  }

  async nbdAt(target: LocalTarget, socket: string, ...more: readonly string[]): Promise<LocalNbd> {
    const process = this.#start(['nbd', ...target.flags, '--socket', socket, ...more]);
    await process.says(/nbdcopy/);
    return { process, socket, uri: `nbd+unix:///?socket=${socket}` };
  }

  /** A program of this machine, run to its end; its output. Rejects unless it ends with 0. */
  async tool(program: string, ...args: readonly string[]): Promise<string> {
    const { status, output } = await this.tryTool(program, ...args);
    if (status === 0) return output;
    throw new Error(`${program} ${args.join(' ')}: status ${String(status)}\n${output}`);
  }

  tryTool(program: string, ...args: readonly string[]): Promise<{ status: number | null; output: string }> {
    const child = this.background(program, ...args);
    return new Promise((resolve) => {
      child.child.on('close', (status) => resolve({ status, output: child.output }));
    });
  }

  /** A program that is not waited for; killed at the end. */
  background(program: string, ...args: readonly string[]): OurProcess {
    const child = spawn(whereIs(program) ?? program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: this.folder,
    });
    child.on('error', () => undefined);
    const made = new OurProcess(child);
    this.#processes.push(made);
    return made;
  }

  /** Ends what still runs. */
  async close(): Promise<void> {
    for (const each of this.#processes.reverse()) {
      each.child.kill('SIGCONT');
      if (!each.over) await each.ends('SIGKILL').catch(() => undefined);
    }
    await rm(this.folder, { recursive: true, force: true });
  }

  /** What our processes said, for a failure. */
  get said(): string {
    return this.#processes.map(({ child, output }) => `${child.spawnargs.join(' ')}\n${output}`).join('\n');
  }
}

/** Runs them, one after the other. `cli`: the compiled command line. */
export async function runLocal(
  scenarios: readonly LocalScenario[],
  cli: string,
  insist: boolean,
): Promise<Result[]> {
  const results: Result[] = [];
  for (const scenario of scenarios) {
    const missing = scenario.missing?.();
    if (missing !== undefined) {
      if (insist) throw new LabError(`${scenario.name}: ${missing}`);
      say(`left out: ${scenario.name}, ${missing}`);
      continue;
    }
    const context = new LocalContext(cli);
    const started = Date.now();
    let reason: string | undefined;
    try {
      await within(SECONDS, scenario.name, scenario.run(context));
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
      say(`${reason}\n${context.said}`);
    }
    await context.close();
    const ms = Date.now() - started;
    say(
      `${reason === undefined ? 'ok  ' : 'FAIL'} ${'here'.padEnd(5)} ${scenario.name.padEnd(18)} ` +
        `${(ms / 1000).toFixed(1).padStart(6)} s`,
    );
    results.push({ scenario: { name: scenario.name, direction: FROM_NBD }, kernel: 'none', ms, reason });
  }
  return results;
}
