/**
 * A disk that outlives the processes that use it: what everybody sees (the page cache), what is on stable storage, and
 * the changes that are in the one and not yet in the other.
 *
 * - A process that dies leaves a change under way whole, half done or not done at all.
 * - A power cut loses any of the unsynced changes, block by block, but never tears a block.
 * - A failed sync loses what it should have made stable; the next one may report success all the same.
 *
 * It checks ORDER.1 by itself: nobody may use bytes that a change is under way to.
 */
import type { MachineClock, SimClock } from './clock.ts';
import { SimFile } from './file.ts';
import type { SimRandom } from './random.ts';
import type { SimTrace } from './trace.ts';

/** What can go wrong with the next calls. */
export type DiskFault =
  'read EIO' | 'read short' | 'write EIO' | 'write ENOSPC' | 'sync EIO' | 'punch ENOTSUP' | 'send EFAULT';

export interface DiskOptions {
  /** Bytes. */
  readonly size: number;
  /** What a power cut never tears, bytes: a block of the namespace. */
  readonly blockSize: number;
  /** Microseconds that a call takes: at least, at most so many more, and more for a sync. */
  readonly latency: number;
  readonly jitter: number;
  readonly syncLatency: number;
  /** One in so many reads finds everything in memory; 0: none. */
  readonly residentOneIn: number;
  readonly canPunch: boolean;
}

/** Bytes that were changed; without `bytes`, a hole. */
export interface Change {
  readonly offset: number;
  readonly length: number;
  readonly bytes: Uint8Array | undefined;
  /** When it was complete, microseconds. */
  readonly at: number;
}

/** A call under way. */
export class Access {
  readonly offset: number;
  readonly length: number;
  /** What a change will put there; undefined: a read. */
  readonly take: (() => Uint8Array | undefined) | undefined;
  /** The part that is changed early, and what it was before. */
  early = 0;
  before = new Uint8Array(0);

  constructor(offset: number, length: number, take?: () => Uint8Array | undefined) {
    this.offset = offset;
    this.length = length;
    this.take = take;
  }

  get name(): string {
    return `${this.take === undefined ? 'a read' : 'a change'} of bytes ${this.offset}+${this.length}`;
  }
}

export class SimDisk {
  readonly name: string;
  readonly clock: SimClock;
  readonly random: SimRandom;
  readonly trace: SimTrace;
  readonly options: DiskOptions;
  seen: Uint8Array;
  stable: Uint8Array;
  unsynced: Change[] = [];
  /** By block: when it was read last, microseconds. */
  readAt: Float64Array;
  readonly accesses = new Set<Access>();
  /** Calls that will fail, and calls that did. */
  readonly #armed = new Map<DiskFault, number>();
  readonly struck = new Map<DiskFault, number>();
  /** When a sync failed, microseconds, until the power is cut: nothing may be called durable after it (DISK.2). */
  failedAt: number | undefined = undefined;
  /** Files that are open. */
  handles = 0;
  onViolation: (rule: string, text: string) => void = () => undefined;
  /** A call was answered. */
  onTouched: () => void = () => undefined;

  constructor(name: string, clock: SimClock, random: SimRandom, trace: SimTrace, options: DiskOptions) {
    this.name = name;
    this.clock = clock;
    this.random = random;
    this.trace = trace;
    this.options = options;
    this.seen = new Uint8Array(options.size);
    this.stable = new Uint8Array(options.size);
    this.readAt = new Float64Array(options.size / options.blockSize).fill(-1);
  }

  open(process: MachineClock): SimFile {
    this.handles++;
    return new SimFile(this, process);
  }

  // ---- faults

  /** The next `count` calls of the kind go wrong. */
  arm(fault: DiskFault, count: number): void {
    this.trace.note(`will fail: ${fault}`, this.name, count);
    this.#armed.set(fault, (this.#armed.get(fault) ?? 0) + count);
  }

  heal(): void {
    this.#armed.clear();
  }

  /** Whether this call is one that goes wrong. */
  strikes(fault: DiskFault): boolean {
    const left = this.#armed.get(fault) ?? 0;
    if (left === 0) return false;
    this.#armed.set(fault, left - 1);
    this.struck.set(fault, (this.struck.get(fault) ?? 0) + 1);
    this.trace.note(`fails: ${fault}`, this.name);
    return true;
  }

  /** Fills `into` with what everybody sees. */
  read(offset: number, into: Uint8Array): number {
    into.set(this.seen.subarray(offset, offset + into.length));
    const { blockSize } = this.options;
    this.readAt.fill(
      this.clock.micros,
      Math.floor(offset / blockSize),
      Math.ceil((offset + into.length) / blockSize),
    );
    return into.length;
  }

  // ---- one call, from its beginning to its end

  begin(access: Access): Access {
    const end = access.offset + access.length;
    for (const other of this.accesses)
      if (other.offset < end && access.offset < other.offset + other.length && (other.take ?? access.take))
        this.onViolation('ORDER.1', `${this.name}: ${access.name} begins while ${other.name} is under way`);
    this.accesses.add(access);
    return access;
  }

  /** Half of a change is there at once. */
  startChange(access: Access): void {
    access.early = this.#half(access.length);
    access.before = this.seen.slice(access.offset, access.offset + access.early);
    this.put(this.seen, access.offset, access.early, access.take!());
  }

  /** The change is over: whole, or as far as it got. */
  endChange(access: Access, outcome: 'whole' | 'half' | 'none'): void {
    const { offset, early, before, take } = access;
    this.accesses.delete(access);
    const length =
      outcome === 'whole'
        ? access.length
        : early % this.options.blockSize === 0 && outcome === 'half'
          ? early
          : 0;
    if (length === 0) {
      this.seen.set(before, offset);
      return;
    }
    const data = take!();
    const bytes = data && new Uint8Array(data.subarray(0, length));
    this.put(this.seen, offset, length, bytes);
    this.unsynced.push({ offset, length, bytes, at: this.clock.micros });
  }

  /** Half of the blocks, or half of one. */
  #half(length: number): number {
    const { blockSize } = this.options;
    return length > blockSize ? Math.floor(length / blockSize / 2) * blockSize : Math.floor(length / 2);
  }

  put(to: Uint8Array, offset: number, length: number, bytes: Uint8Array | undefined): void {
    if (bytes === undefined) to.fill(0, offset, offset + length);
    else to.set(bytes.length === length ? bytes : bytes.subarray(0, length), offset);
  }

  /** A sync that covers `changes` is over. */
  endSync(changes: readonly Change[], failed: boolean): void {
    if (failed) this.failedAt ??= this.clock.micros;
    for (const { offset, length, bytes } of changes)
      if (!failed || this.random.oneIn(2)) this.put(this.stable, offset, length, bytes);
    const over = new Set(changes);
    this.unsynced = this.unsynced.filter((change) => !over.has(change));
  }

  // ---- the end of a process, and of the power

  processEnded(): void {
    for (const access of [...this.accesses]) {
      if (access.take === undefined) this.accesses.delete(access);
      else this.endChange(access, this.random.pick(['whole', 'half', 'none']));
    }
    this.handles = 0;
  }

  /** The power is cut after `processEnded`. */
  crash(): void {
    const { blockSize } = this.options;
    this.trace.note('loses power', this.name, this.unsynced.length);
    for (const { offset, length, bytes } of this.unsynced)
      for (let at = 0; at < length; at += blockSize)
        if (this.random.oneIn(2))
          this.put(this.stable, offset + at, Math.min(blockSize, length - at), bytes?.subarray(at));
    this.unsynced = [];
    this.failedAt = undefined;
    this.seen.set(this.stable);
  }

  /** The operator makes it larger. */
  resize(size: number): void {
    this.trace.note('has another size', this.name, size);
    const [seen, stable] = [this.seen, this.stable];
    this.seen = new Uint8Array(size);
    this.stable = new Uint8Array(size);
    this.seen.set(seen);
    this.stable.set(stable);
    const readAt = new Float64Array(size / this.options.blockSize).fill(-1);
    readAt.set(this.readAt);
    this.readAt = readAt;
  }
}
