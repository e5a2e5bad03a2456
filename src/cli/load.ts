/** The load of `bench`: so many reads and writes under way at any time, measured, and checked if asked for. */
import { NvmeError } from '../api/error.ts';
import type { Disk } from '../daemon/head-client.ts';
import type { Crypto } from '../runtime/ports.ts';
import { Histogram } from './histogram.ts';
import { Pattern } from './pattern.ts';

export const LOADS = ['randread', 'randwrite', 'read', 'write', 'randrw'] as const;
export type LoadKind = (typeof LOADS)[number];

export interface LoadOptions {
  readonly kind: LoadKind;
  /** Blocks of one operation. */
  readonly blocks: number;
  readonly depth: number;
  /** First block and count of what is used. */
  readonly from: number;
  readonly count: number;
  readonly seed: number;
  /** Whether reads check the seed: it was given, or this run writes. */
  readonly checkSeed: boolean;
  readonly verify: boolean;
}

/** What was done in one direction. Latencies in units of 100 ns. */
export class Tally {
  operations = 0;
  readonly latency = new Histogram();
}

/** An aligned piece of `blocks` blocks that this run has written. */
interface Unit {
  /** Writes begun, and the last one that was acknowledged. */
  begun: number;
  acknowledged: number;
}

export class Load {
  readonly reads = new Tally();
  readonly writes = new Tally();
  /** Blocks whose content was looked at and right. */
  verified = 0;
  readonly #disk: Disk;
  readonly #options: LoadOptions;
  readonly #pattern: Pattern;
  readonly #units: number;
  readonly #written = new Map<number, Unit>();
  /** Units with a write under way: what two of them leave behind, nobody could tell. */
  readonly #writing = new Set<number>();
  #next = 0;
  #random: number;
  #stopped = false;

  constructor(disk: Disk, crypto: Crypto, options: LoadOptions) {
    this.#disk = disk;
    this.#options = options;
    this.#pattern = new Pattern(crypto, disk.blockSize);
    this.#units = Math.floor(options.count / options.blocks);
    this.#random = options.seed | 1;
  }

  /** Runs until `stop`; rejects with the first error. */
  async run(): Promise<void> {
    const workers = Array.from({ length: this.#options.depth }, () => this.#work());
    try {
      await Promise.all(workers);
    } finally {
      this.#stopped = true;
      await Promise.allSettled(workers);
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Reads back everything that this run has written. */
  async check(): Promise<void> {
    const units = this.#written.keys();
    const work = async (): Promise<void> => {
      const buffer = new Uint8Array(this.#options.blocks * this.#disk.blockSize);
      for (const unit of units) {
        await this.#disk.readInto(this.#slba(unit), buffer);
        this.#verify(unit, buffer, this.#written.get(unit)?.acknowledged ?? 0);
      }
    };
    await Promise.all(Array.from({ length: this.#options.depth }, work));
  }

  async #work(): Promise<void> {
    const { kind, blocks, seed } = this.#options;
    const buffer = new Uint8Array(blocks * this.#disk.blockSize);
    this.#pattern.fill(buffer, 0, { seed, generation: 0 });
    while (!this.#stopped) {
      const writes = kind === 'write' || kind === 'randwrite' || (kind === 'randrw' && this.#draw(2) === 1);
      if (writes) await this.#write(buffer);
      else await this.#read(buffer);
    }
  }

  async #read(buffer: Uint8Array): Promise<void> {
    const unit = this.#choose();
    const oldest = this.#written.get(unit)?.acknowledged ?? 0;
    const before = performance.now();
    await this.#disk.readInto(this.#slba(unit), buffer);
    this.#count(this.reads, before);
    // In a run that writes, what it has not written yet may be anything.
    if (this.#options.verify && (oldest > 0 || this.#options.kind !== 'randrw'))
      this.#verify(unit, buffer, oldest);
  }

  async #write(buffer: Uint8Array): Promise<void> {
    const { verify, seed } = this.#options;
    let unit = this.#choose();
    for (let tries = 0; this.#writing.has(unit); tries++)
      unit = tries < 8 ? this.#choose() : (unit + 1) % this.#units;
    this.#writing.add(unit);
    const slba = this.#slba(unit);
    let state: Unit | undefined;
    if (verify) {
      state = this.#written.get(unit);
      if (!state) this.#written.set(unit, (state = { begun: 0, acknowledged: 0 }));
      this.#pattern.fill(buffer, slba, { seed, generation: ++state.begun });
    }
    const before = performance.now();
    await this.#disk.write(slba, buffer);
    this.#count(this.writes, before);
    if (state) state.acknowledged = state.begun;
    this.#writing.delete(unit);
  }

  #count(tally: Tally, before: number): void {
    tally.latency.record((performance.now() - before) * 10_000);
    tally.operations++;
  }

  #verify(unit: number, buffer: Uint8Array, oldest: number): void {
    const { checkSeed, seed, blocks, kind } = this.#options;
    const ours = this.#written.get(unit);
    const newest = kind === 'read' || kind === 'randread' ? Infinity : (ours?.begun ?? 0);
    const expected = { seed: checkSeed ? seed : undefined, oldest, newest };
    const problem = this.#pattern.problem(buffer, this.#slba(unit), expected);
    if (problem !== undefined) throw new NvmeError(`verify: ${problem}`, { code: 'EILSEQ' });
    this.verified += blocks;
  }

  #slba(unit: number): number {
    return this.#options.from + unit * this.#options.blocks;
  }

  #choose(): number {
    const { kind } = this.#options;
    if (kind === 'randread' || kind === 'randwrite' || kind === 'randrw') return this.#draw(this.#units);
    const unit = this.#next;
    this.#next = (unit + 1) % this.#units;
    return unit;
  }

  /** A number below `limit`: xorshift32, so that a seed repeats a run. */
  #draw(limit: number): number {
    this.#random ^= this.#random << 13;
    this.#random ^= this.#random >>> 17;
    this.#random ^= this.#random << 5;
    return Math.floor(((this.#random >>> 0) / 2 ** 32) * limit);
  }
}
