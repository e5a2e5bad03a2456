/** The demonstration: steps that are done to a stage while verified I/O runs, and what is to be seen of it. */
import type { NvmeDisk, Why } from '../../src/api/index.ts';
import { Load } from '../../src/cli/load.ts';
import { nodeCrypto } from '../../src/runtime/node/crypto.ts';
import { OurStage } from './our-stage.ts';
import { PORTS, type PortId, type Stage } from './stage.ts';

/** What there is to see at one moment. */
export interface View {
  readonly step: number;
  readonly steps: number;
  readonly title: string;
  /** Seconds since the beginning. */
  readonly seconds: number;
  /** Whose target it is. */
  readonly target: string;
  readonly disk: string;
  readonly why: Why;
  /** Completed since the beginning; blocks whose content was right. */
  readonly operations: number;
  readonly verified: number;
  /** I/O that failed, or read what it must not; the first one ends the demonstration. */
  readonly failed: number;
  readonly lines: readonly { readonly port: string; readonly whole: boolean; readonly bytes: number }[];
}

interface Step {
  readonly title: string;
  readonly act?: (play: Play) => Promise<void> | void;
  /** What is so afterwards, and still when it has been looked at: a loss in between is waited for. */
  readonly so: (play: Play) => boolean;
  readonly what?: string;
  /** Seconds to look at it. */
  readonly look: number;
}

const is =
  (id: PortId, ...classes: string[]) =>
  (play: Play) =>
    classes.includes(play.classOf(id));

const bothOptimized = (play: Play): boolean => PORTS.every((id) => is(id, 'optimized')(play));

const steps = (window: number): readonly Step[] => [
  { title: 'two paths: reads and writes take turns on them', so: bothOptimized, look: 3 },
  {
    title:
      'path 1 is cut: all goes by path 2; writes that may have left wait until the target cannot do them any more',
    act: async (play) => {
      play.stage.line(1).cut();
      await play.until(is(1, 'waiting'));
    },
    so: (play) => is(1, 'waiting')(play) && play.why.held.length === 0,
    what: 'what is held is free',
    look: 1,
  },
  {
    title: 'path 1 is back',
    act: (play) => play.stage.line(1).mend(),
    so: is(1, 'optimized'),
    look: 2,
  },
  {
    title: 'ANA: path 2 is non-optimized, path 1 has it all',
    act: (play) => play.stage.ana(2, 'non-optimized'),
    so: is(2, 'non-optimized'),
    look: 2,
  },
  {
    title: 'ANA: path 1 is inaccessible, path 2 is better than none',
    act: (play) => play.stage.ana(1, 'inaccessible'),
    so: is(1, 'waiting'),
    look: 2,
  },
  {
    title: 'ANA: both are inaccessible, I/O waits',
    act: (play) => play.stage.ana(2, 'inaccessible'),
    so: ({ why }) => why.waiting.requeued > 0,
    what: 'I/O waits',
    look: 1.5,
  },
  {
    title: 'ANA: both are optimized, what waited goes on',
    act: async (play) => {
      await play.stage.ana(1, 'optimized');
      await play.stage.ana(2, 'optimized');
    },
    so: bothOptimized,
    look: 2,
  },
  {
    title: `controllers, paths and ports are removed, all of them; the disk is kept for ${window} s`,
    act: (play) => play.stage.removeAll(),
    so: ({ why }) => why.paths.length === 0 && why.waiting.requeued > 0,
    what: 'I/O waits',
    look: 3,
  },
  {
    title: 'they are added again in time: it is the same disk, and what waited goes on',
    act: async (play) => {
      const disk: NvmeDisk = await play.stage.addAll();
      if (disk.id !== play.stage.disk.id) throw new Error('it is another disk');
    },
    so: bothOptimized,
    look: 2,
  },
];

/** Milliseconds in which a step has to happen, however slow the machine is. */
const PATIENCE = 60_000;

export class Play {
  readonly stage: Stage;
  readonly #load: Load;
  readonly #pace: number;
  readonly #steps: readonly Step[];
  readonly #began = performance.now();
  #step = 0;
  #failed: Error | undefined = undefined;

  /** `pace`: how long each step is looked at, 1: as long as it says. The stage is the play's from now on. */
  constructor(stage: Stage, pace: number) {
    this.stage = stage;
    this.#steps = steps(stage.window);
    this.#pace = pace;
    this.#load = new Load(stage.disk, nodeCrypto(), {
      kind: 'randrw',
      blocks: 1,
      depth: 24,
      from: 0,
      count: stage.disk.blocks,
      seed: 1,
      checkSeed: true,
      verify: true,
    });
  }

  /** With our own target. */
  static async open(pace: number): Promise<Play> {
    return new Play(await OurStage.open(), pace);
  }

  /**
   * Plays all of it, and tells of each step when it has been looked at. Rejects when an I/O failed, when data was wrong,
   * or when a step does not happen; the stage is gone then as well.
   */
  async run(told: (view: View, operations: number) => void): Promise<View> {
    const running = this.#load.run().catch((error: unknown) => {
      this.#failed = error instanceof Error ? error : new Error(String(error));
    });
    try {
      for (const [i, step] of this.#steps.entries()) {
        this.#step = i;
        const before = this.operations;
        await step.act?.(this);
        await this.until(step.so, step.what);
        const end = performance.now() + step.look * this.#pace * 1000;
        await this.until(() => performance.now() >= end);
        await this.until(step.so, step.what);
        told(this.view, this.operations - before);
      }
      this.#load.stop();
      await running;
      if (this.#failed !== undefined) throw this.#failed;
      await this.stage.disk.flush();
      await this.#load.check();
      return this.view;
    } finally {
      this.#load.stop();
      await this.stage.close();
    }
  }

  get why(): Why {
    return this.stage.disk.why();
  }

  get operations(): number {
    return this.#load.reads.operations + this.#load.writes.operations;
  }

  /** `optimized`, `waiting`, …; of the path over the line to this port. */
  classOf(id: PortId): string {
    const port = String(this.stage.line(id).port);
    return this.why.paths.find(({ trsvcid }) => trsvcid === port)?.is ?? 'gone';
  }

  get view(): View {
    const { target, disk, lines } = this.stage;
    return {
      step: this.#step + 1,
      steps: this.#steps.length,
      title: this.#steps[this.#step]!.title,
      seconds: (performance.now() - this.#began) / 1000,
      target,
      disk: disk.name,
      why: this.why,
      operations: this.operations,
      verified: this.#load.verified,
      failed: this.#failed === undefined ? 0 : 1,
      lines: lines.map(({ port, whole, bytes }) => ({ port: String(port), whole, bytes })),
    };
  }

  /** Waits until it is so. Rejects when I/O fails meanwhile. */
  async until(reached: (play: this) => boolean, what = 'the paths are so'): Promise<void> {
    const latest = performance.now() + PATIENCE;
    for (;;) {
      if (this.#failed !== undefined) throw this.#failed;
      if (reached(this)) return;
      if (performance.now() > latest)
        throw new Error(`${PATIENCE / 1000} s, and it is not so that ${what}: ${this.why.verdict}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
