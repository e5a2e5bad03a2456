/** I/O that checks itself, for as long as something else goes on. */
import type { NvmeDisk } from '../../src/api/disk.ts';
import { NvmeError } from '../../src/api/error.ts';
import type { Context } from './context.ts';
import { noise, sameBytes } from './pattern.ts';

export interface LoadOptions {
  /** Each has one command under way. */
  readonly workers?: number;
  /** Blocks of a command. */
  readonly blocks?: number;
  /** Which errors of a command are as the rules say; what it wrote is then not known. Default: none. */
  readonly allows?: (error: NvmeError) => boolean;
}

/** Places of each worker; its own, so that it knows what has to be there. */
const PLACES = 16;

/** Workers that write noise, and read and compare what they wrote before. The first 1,024 blocks and more are theirs. */
export class Load {
  /** Commands that succeeded. */
  done = 0;
  /** Errors that were allowed. */
  readonly allowed: NvmeError[] = [];
  readonly #disk: NvmeDisk;
  readonly #options: LoadOptions;
  readonly #ended: Promise<void>;
  #stopping = false;
  #failure: Error | undefined = undefined;

  constructor(disk: NvmeDisk, options: LoadOptions = {}) {
    this.#disk = disk;
    this.#options = options;
    const workers = Array.from({ length: options.workers ?? 4 }, (_, i) => this.#worker(i));
    this.#ended = Promise.all(workers).then(
      () => undefined,
      (error: unknown) => {
        this.#failure = error instanceof Error ? error : new Error(String(error));
        this.#stopping = true;
      },
    );
  }

  /** Resolves when some more was done; rejects when a command failed. */
  async moves(context: Context, what: string, seconds = 60): Promise<void> {
    const before = this.done;
    await context.until(what, seconds, () => this.done > before + 40 || this.#failure !== undefined);
    this.check();
  }

  /** Throws what a command failed with, or found. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#ended;
    this.check();
  }

  async #worker(index: number): Promise<void> {
    const { blocks = 8 } = this.#options;
    const disk = this.#disk;
    const there: (Uint8Array | undefined)[] = [];
    for (let turn = 0; !this.#stopping; turn++) {
      const place = (turn * 7) % PLACES;
      const slba = (index * PLACES + place) * blocks;
      const known = there[place];
      if (known !== undefined) {
        const data = await this.#allowing(disk.read(slba, blocks));
        if (data !== undefined) sameBytes(data, known, `${blocks} blocks at ${slba} of ${disk.name}`);
      }
      const data = noise(blocks * disk.blockSize);
      const written = await this.#allowing(disk.write(slba, data).then(() => data));
      there[place] = written;
    }
  }

  async #allowing<T>(command: Promise<T>): Promise<T | undefined> {
    try {
      const result = await command;
      this.done++;
      return result;
    } catch (error) {
      if (!(error instanceof NvmeError) || this.#options.allows?.(error) !== true) throw error;
      this.allowed.push(error);
      return undefined;
    }
  }
}
