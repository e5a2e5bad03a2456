/** The public promises of a head: the namespace as a disk, whichever controllers lead to it. */
import type { BlockRange, RawCommand } from '../initiator/commands.ts';
import type { Head } from '../initiator/head.ts';
import { Io, type IoKind, type IoOwner } from '../initiator/io.ts';
import { DNR, Status } from '../nvme/status.ts';
import { NvmeError } from './error.ts';
import { why, type Why } from '../initiator/why.ts';
import { delayedRemoval } from './connect-options.ts';
import { abortError, invalid, statusError, unknownError } from './failure.ts';
import { DiskReservations } from './reservations.ts';

export interface IoOptions {
  /**
   * Ends the wait. The promise rejects with code ABORT_ERR as soon as the buffers are not needed any more; a write that
   * was sent may still be carried out.
   */
  readonly signal?: AbortSignal | undefined;
}
export interface WriteOptions extends IoOptions {
  /** Resolve only when the data is on stable storage (Force Unit Access). */
  readonly fua?: boolean | undefined;
}
export interface WriteZeroesOptions extends WriteOptions {
  /** The controller may give the blocks up instead of writing zeroes (DEAC). */
  readonly deallocate?: boolean | undefined;
}
export type { BlockRange, RawCommand, Why };

/** What is under the promises, for this folder only. */
export let headOf: (disk: NvmeDisk) => Head;

/**
 * A disk. Positions and counts are in blocks of `blockSize` bytes, and `blocks` is always a count. Buffers belong to
 * the disk until the promise settles. Every method rejects with an NvmeError; I/O of any size is split as the
 * controller asks for, and a part of it may have been done when it fails. I/O goes by whichever path is usable, and
 * waits while none is but one may be again. Code OUTCOME_UNKNOWN: it may have been carried out, and nobody can tell.
 */
export class NvmeDisk {
  static {
    headOf = (disk) => disk.#head;
  }
  readonly #head: Head;

  /** Made by `subsystem.head()`. */
  constructor(head: Head) {
    this.#head = head;
  }

  /** `nvme0n1`. */
  get name(): string {
    return this.#head.name;
  }
  /** Never used again, unlike the name. */
  get id(): number {
    return this.#head.id;
  }
  get nsid(): number {
    return this.#head.nsid;
  }
  /** Bytes. */
  get blockSize(): number {
    return this.#head.blockSize;
  }
  /** A count; it may change while the disk is in use. */
  get blocks(): number {
    return this.#head.blocks;
  }
  /** Bytes. */
  get size(): number {
    return this.#head.blocks * this.#head.blockSize;
  }
  get uuid(): string | undefined {
    return this.#head.info.uuid;
  }
  /** 32 hexadecimal digits. */
  get nguid(): string | undefined {
    return this.#head.info.nguid;
  }
  /** 16 hexadecimal digits. */
  get eui64(): string | undefined {
    return this.#head.info.eui64;
  }
  /** One name for the world: by UUID, else NGUID, else EUI-64, else the subsystem's serial and model. */
  get wwid(): string {
    return this.#head.wwid;
  }
  get readOnly(): boolean {
    return this.#head.info.readOnly;
  }
  /** The controllers' ways to it. */
  get paths(): { readonly name: string; readonly controller: string; readonly usable: boolean }[] {
    return this.#head.paths.map((path) => ({
      name: path.name,
      controller: path.controller.name,
      usable: path.usable,
    }));
  }
  /** Where its I/O goes, or what it waits for: each path, what is held back, and the timers that act next. */
  why(): Why {
    return why(this.#head);
  }
  /** `delayed_removal_secs`: seconds that it is kept, with its I/O waiting, when its last path is gone. */
  get delayedRemovalSecs(): number {
    return this.#head.delayedRemoval;
  }
  /** Counts from the next loss of the last path; 0 ends at once what waits now. Throws EINVAL. */
  set delayedRemovalSecs(seconds: number) {
    this.#head.setDelayedRemoval(delayedRemoval(seconds));
  }

  /** NVM Command Set 1.1, section 3.3.4. */
  async read(slba: number, blocks: number, options: IoOptions = {}): Promise<Uint8Array> {
    this.#checkRange('read', slba, blocks);
    const buffer = this.#allocate(blocks);
    await this.#run('read', { slba, blocks, buffers: [buffer] }, options);
    return buffer;
  }

  /** Reads into the caller's memory, whose length says how much: a multiple of the block size. */
  async readInto(
    slba: number,
    buffer: Uint8Array | readonly Uint8Array[],
    options: IoOptions = {},
  ): Promise<void> {
    const buffers = listOf(buffer);
    const blocks = this.#blocksOf('read', buffers);
    this.#checkRange('read', slba, blocks);
    await this.#run('read', { slba, blocks, buffers }, options);
  }

  /** Writes the data, which is not copied; in all a multiple of the block size. NVM Command Set 1.1, section 3.3.6. */
  async write(
    slba: number,
    data: Uint8Array | readonly Uint8Array[],
    options: WriteOptions = {},
  ): Promise<void> {
    const buffers = listOf(data);
    const blocks = this.#blocksOf('write', buffers);
    this.#checkRange('write', slba, blocks);
    await this.#run('write', { slba, blocks, buffers, fua: options.fua ?? false }, options);
  }

  /** Everything written before is on stable storage when it resolves. NVMe Base 2.1, section 7.2. */
  async flush(options: IoOptions = {}): Promise<void> {
    await this.#run('flush', {}, options);
  }

  /** NVM Command Set 1.1, section 3.3.8. */
  async writeZeroes(slba: number, blocks: number, options: WriteZeroesOptions = {}): Promise<void> {
    this.#checkRange('write zeroes', slba, blocks);
    const { fua = false, deallocate = false } = options;
    await this.#run('zeroes', { slba, blocks, fua, deallocate }, options);
  }

  /** Tells the controller that the blocks are not needed; what they read as afterwards is its own (Dataset Management). */
  async deallocate(slba: number, blocks: number, options?: IoOptions): Promise<void>;
  async deallocate(ranges: readonly BlockRange[], options?: IoOptions): Promise<void>;
  async deallocate(
    what: number | readonly BlockRange[],
    more: number | IoOptions = {},
    last: IoOptions = {},
  ): Promise<void> {
    const single = typeof what === 'number';
    const ranges = single ? [{ slba: what, blocks: more as number }] : what.map((range) => ({ ...range }));
    if (ranges.length === 0) return;
    for (const { slba, blocks } of ranges) this.#checkRange('deallocate', slba, blocks);
    await this.#run('deallocate', { ranges }, single ? last : (more as IoOptions));
  }

  /**
   * Compares the blocks with `data`; rejects with NVME_COMPARE_FAILURE when they differ (NVM Command Set 1.1, section
   * 3.3.1). Code OUTCOME_UNKNOWN: the path was lost meanwhile, and repeating it might give another result.
   */
  async compare(
    slba: number,
    data: Uint8Array | readonly Uint8Array[],
    options: IoOptions = {},
  ): Promise<void> {
    const buffers = listOf(data);
    const blocks = this.#blocksOf('compare', buffers);
    this.#checkRange('compare', slba, blocks);
    await this.#run('compare', { slba, blocks, buffers }, options);
  }

  /**
   * Sends one I/O command as it is, on whichever path is best: reservations, for example. `data` is what is sent, or
   * where the answer goes; it is not split. Resolves with dwords 0 and 1 of the completion. What it says about itself
   * decides what is done when its path is lost: not `repeatable`, it rejects with OUTCOME_UNKNOWN. When it fails, a part
   * of such a command may be done; it is not repeated then either.
   */
  async command(
    command: RawCommand,
    data: Uint8Array = new Uint8Array(0),
    options: IoOptions = {},
  ): Promise<{ readonly dw0: number; readonly dw1: number }> {
    const { dw0, dw1 } = await this.#run('command', { command, buffers: listOf(data) }, options);
    return { dw0, dw1 };
  }

  /** Reservations of the namespace. NVMe Base 2.1, section 8.1.22. */
  get reservations(): DiskReservations {
    return new DiskReservations((command, data, options) => this.command(command, data, options));
  }

  // ---- checks

  #checkRange(what: string, slba: number, blocks: number): void {
    if (!Number.isSafeInteger(slba) || slba < 0) throw invalid(`${what}: slba ${slba} is not a block number`);
    if (!Number.isSafeInteger(blocks) || blocks < 1)
      throw invalid(`${what}: ${blocks} is not a count of blocks`);
    if (slba + blocks > this.blocks && !this.#head.gone)
      throw statusError(
        `${what} of ${blocks} blocks at ${slba}, ${this.name} has ${this.blocks}`,
        Status.LbaOutOfRange | DNR,
      );
  }

  #blocksOf(what: string, buffers: readonly Uint8Array[]): number {
    const bytes = buffers.reduce((sum, { length }) => sum + length, 0);
    if (bytes === 0 || bytes % this.blockSize !== 0)
      throw invalid(`${what}: ${bytes} bytes are not a multiple of the block size, ${this.blockSize}`);
    return bytes / this.blockSize;
  }

  #allocate(blocks: number): Uint8Array {
    try {
      return new Uint8Array(blocks * this.blockSize);
    } catch (error) {
      const message = `read: no memory for ${blocks} blocks of ${this.blockSize} bytes`;
      throw new NvmeError(message, { code: 'ENOMEM', cause: error });
    }
  }

  #run(kind: IoKind, what: ConstructorParameters<typeof Io>[2], options: IoOptions): Promise<Io> {
    return new Promise((resolve, reject) => {
      new Wait(this.#head, kind, what, options.signal, resolve, reject).start();
    });
  }
}

const listOf = (data: Uint8Array | readonly Uint8Array[]): readonly Uint8Array[] =>
  data instanceof Uint8Array ? [data] : data.filter(({ length }) => length > 0);

/** One promise over one I/O. */
class Wait implements IoOwner {
  readonly #head: Head;
  readonly #io: Io;
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (io: Io) => void;
  readonly #reject: (error: NvmeError) => void;

  constructor(
    head: Head,
    kind: IoKind,
    what: ConstructorParameters<typeof Io>[2],
    signal: AbortSignal | undefined,
    resolve: (io: Io) => void,
    reject: (error: NvmeError) => void,
  ) {
    this.#head = head;
    this.#io = new Io(this, kind, what);
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    if (this.#signal?.aborted === true) {
      this.#reject(abortError(this.#signal, this.#what));
      return;
    }
    this.#signal?.addEventListener('abort', this.#abort, { once: true });
    this.#head.submit(this.#io);
  }

  readonly #abort = (): void => {
    this.#io.abandon();
  };

  get #what(): string {
    return `${this.#io.kind} on ${this.#head.name}`;
  }

  ioDone(io: Io): void {
    this.#signal?.removeEventListener('abort', this.#abort);
    if (io.status === 0) this.#resolve(io);
    else if (io.abandoned && this.#signal !== undefined) this.#reject(abortError(this.#signal, this.#what));
    else this.#reject((io.unknown ? unknownError : statusError)(this.#what, io.status));
  }
}
