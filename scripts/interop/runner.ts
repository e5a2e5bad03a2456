/** One kernel's share of a run: the guest is booted, and again when a scenario has ruined it; each scenario by itself. */
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Context, within } from './context.ts';
import { keep } from './failure.ts';
import { type Accelerator, Guest, accelerator } from './guest.ts';
import type { Image } from './image.ts';
import type { Kernel } from './kernels.ts';
import { GUEST_PORTS } from './linux-target.ts';
import type { Scenario } from './scenario.ts';
import { LabError, say } from './tool.ts';

export interface RunnerOptions {
  readonly kernel: Kernel;
  readonly image: Image;
  readonly full: boolean;
  /** The package: test/interop/guest is in it, and the compiled code in dist. */
  readonly root: string;
  /** For what is kept of failures, and, while it runs, the guest's files. */
  readonly folder: string;
}

export interface Result {
  readonly scenario: { readonly name: string; readonly direction: string };
  readonly kernel: string;
  readonly ms: number;
  /** Undefined: it passed. */
  readonly reason: string | undefined;
}

const SECONDS = 300;
/** Emulation now and then breaks a kernel that is about to patch itself, long before anything of ours is involved. */
const BOOTS = 3;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export class Runner {
  readonly #options: RunnerOptions;
  #guest: Guest | undefined = undefined;
  /** The same for every guest: who knows them goes on with the next one. */
  #forwards: readonly number[] = [];
  #accelerator: Accelerator = accelerator();
  #boots = 0;
  /** Takes what nobody caught. */
  #uncaught: (error: unknown) => void = raise;

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  async run(scenarios: readonly Scenario[]): Promise<Result[]> {
    const uncaught = (error: unknown): void => this.#uncaught(error);
    process.on('uncaughtException', uncaught);
    process.on('unhandledRejection', uncaught);
    const stop = (): void => {
      void this.#clear().then(() => process.exit(130));
    };
    for (const signal of SIGNALS) process.on(signal, stop);
    removeLeftOvers(this.#options.folder);
    const results: Result[] = [];
    try {
      for (const scenario of scenarios) results.push(await this.#one(scenario));
      return results;
    } finally {
      process.off('uncaughtException', uncaught);
      process.off('unhandledRejection', uncaught);
      for (const signal of SIGNALS) process.off(signal, stop);
      await this.#clear();
    }
  }

  async #clear(): Promise<void> {
    await this.#guest?.stop();
    rmSync(this.#runFolder, { recursive: true, force: true });
  }

  get #runFolder(): string {
    return join(this.#options.folder, `run-${process.pid}`);
  }

  async #one(scenario: Scenario): Promise<Result> {
    const { kernel, root, full, folder } = this.#options;
    // Of kernels that the scenario has ended.
    const complaints: string[] = [];
    const context = new Context({
      guest: await this.#ready(),
      reboot: async () => {
        complaints.push(...(this.#guest?.complaints() ?? []));
        await this.#guest?.stop();
        return this.#ready();
      },
      forwards: this.#forwards,
      cli: join(root, 'dist/src/cli/main.js'),
      full,
    });
    const started = Date.now();
    let reason: string | undefined;
    try {
      await within(scenario.seconds ?? SECONDS, scenario.name, this.#guarded(scenario, context));
    } catch (error) {
      reason = why(error);
    }
    // Once more what everybody has to end with: after a failure, so that the next one finds a clean guest.
    const stray: string[] = [];
    this.#uncaught = (error) => stray.push(why(error));
    const faults = [...(await context.close()), ...stray];
    this.#uncaught = raise;
    if (reason === undefined && faults.length > 0) reason = faults.join('\n');
    const { guest } = context;
    if (reason !== undefined && guest.alive) {
      const clean = await guest.step('tidy', 30).catch(() => undefined);
      if (clean?.status !== 0) await guest.stop();
    }
    complaints.push(...guest.complaints());
    if (complaints.length > 0)
      reason = [reason, 'the kernel complained:', ...complaints.slice(0, 10)].filter(Boolean).join('\n');
    const ms = Date.now() - started;
    const mark = reason === undefined ? 'ok  ' : 'FAIL';
    say(
      `${mark} ${kernel.name.padEnd(5)} ${scenario.name.padEnd(18)} ${(ms / 1000).toFixed(1).padStart(6)} s`,
    );
    if (reason !== undefined) {
      const name = `${new Date().toISOString().replaceAll(/[:.]/g, '-')}-${kernel.name}-${scenario.name}`;
      const lines = keep({
        folder: join(folder, 'failures', name),
        reason,
        console: guest.console,
        journal: context.journal.lines,
        wires: context.wires,
        dump: join(root, 'dist/scripts/dump.js'),
      });
      for (const line of lines) say(`     ${line}`);
      // A kernel that complained is not what the next scenario should be tested against.
      if (complaints.length > 0) await guest.stop();
    }
    return { scenario, kernel: kernel.name, ms, reason };
  }

  /** The scenario with its end; an exception that nobody catches, in our target say, ends it too. */
  #guarded(scenario: Scenario, context: Context): Promise<void> {
    const broken = new Promise<never>((_, reject) => {
      this.#uncaught = reject;
    });
    const all = async (): Promise<void> => {
      await scenario.run(context);
      await context.finish();
    };
    return Promise.race([all(), broken]);
  }

  /** The guest; booted when there is none. */
  async #ready(): Promise<Guest> {
    if (this.#guest?.alive === true) return this.#guest;
    const folder = join(this.#runFolder, String(++this.#boots));
    mkdirSync(folder, { recursive: true });
    for (let left = BOOTS; ; left--) {
      try {
        this.#guest = await this.#boot(folder);
        return this.#guest;
      } catch (error) {
        if (!(error instanceof LabError)) throw error;
        const why = error.message.split('\n')[0] ?? '';
        if (this.#accelerator === 'kvm') say(`KVM does not work here, going on without: ${why}`);
        else if (left > 1) say(`${why}; it is booted again`);
        else throw error;
        this.#accelerator = 'tcg';
      }
    }
  }

  async #boot(folder: string): Promise<Guest> {
    const { image, root } = this.#options;
    const started = Date.now();
    if (this.#forwards.length === 0) this.#forwards = await Promise.all(GUEST_PORTS.map(freePort));
    const guest = await Guest.boot({
      image,
      folder,
      accelerator: this.#accelerator,
      scripts: join(root, 'test/interop/guest'),
      forwards: GUEST_PORTS.map((to, i) => ({ from: this.#forwards[i]!, to })),
    });
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    say(`Linux ${guest.release} is up after ${seconds} s (${this.#accelerator})`);
    return guest;
  }
}

/** Of runs that were killed. */
function removeLeftOvers(folder: string): void {
  for (const name of readdirSync(folder)) {
    const pid = /^run-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(folder, name), { recursive: true, force: true });
  }
}

function raise(error: unknown): never {
  throw error;
}

function why(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Steps say all there is to say; a fault of the code needs its place.
  const plain = error.constructor === Error && error.cause === undefined;
  return plain ? error.message : (error.stack ?? error.message);
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

/** Bytes of a file, or of a folder and what is below it. Other runs have files there that come and go: 0. */
export function sizeOf(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isDirectory() !== true) return (stat?.blocks ?? 0) * 512;
  try {
    return readdirSync(path).reduce((sum, entry) => sum + sizeOf(join(path, entry)), 0);
  } catch {
    return 0;
  }
}
