/**
 * Memory that reads are answered from. Slabs come in powers of two from 4 KiB; a read longer than the largest takes
 * several. All volumes of a process share one pool with one budget; a read that finds it spent waits its turn, first
 * come, first served, until slabs are given back.
 */
import type { Operation, SlabUser } from './operation.ts';
import { Fifo } from '../runtime/fifo.ts';
import { assert, must } from '../runtime/assert.ts';
import { sift } from './sift.ts';

const SMALLEST = 4096;

export interface SlabOptions {
  /** Bytes that slabs may take in all. A single larger read still gets its memory, when it is the only one. */
  readonly budget: number;
  /** Bytes of the largest slab, a power of two; 256 KiB if not given. */
  readonly largest?: number | undefined;
  /** Makes `size` bytes, which need not be zeroed: what is lent was filled by a read, or is not lent. */
  readonly allocate?: ((size: number) => Uint8Array) | undefined;
}

/** 0 for 4 KiB and less, 1 for 8 KiB, … */
const classOf = (length: number): number => (length <= SMALLEST ? 0 : 20 - Math.clz32(length - 1));

export class Slabs {
  /** What a waiting read is shown to wait for. */
  readonly name = 'read buffers';
  readonly budget: number;
  readonly largest: number;
  readonly #allocate: (size: number) => Uint8Array;
  /** By size class. */
  readonly #free: Uint8Array[][] = [];
  readonly #waiting = new Fifo<Operation>();
  #inUse = 0;
  #allocated = 0;
  #granting = false;

  constructor(options: SlabOptions) {
    this.budget = options.budget;
    this.largest = options.largest ?? 256 * 1024;
    this.#allocate = options.allocate ?? ((size) => new Uint8Array(size));
    assert(
      this.largest === SMALLEST * 2 ** classOf(this.largest),
      'the largest slab is a power of two ≥ 4 KiB',
    );
    for (let i = 0; i <= classOf(this.largest); i++) this.#free.push([]);
  }

  /** Bytes lent out. */
  get inUse(): number {
    return this.#inUse;
  }

  /** Bytes lent out and kept for the next. */
  get allocated(): number {
    return this.#allocated;
  }

  /** Reads that wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Makes `op.parts` cover `op.length` bytes. False: not now, `user.slabReady(op)` follows when they do. */
  take(op: Operation, user: SlabUser): boolean {
    if (this.#waiting.length === 0 && this.#fits(op)) {
      this.#lend(op);
      return true;
    }
    op.slabUser = user;
    this.#waiting.push(op);
    return false;
  }

  /** None of `ops` waits any more, or keeps what it was lent. */
  forget(ops: Iterable<Operation>): void {
    let waited = false;
    for (const op of ops) {
      waited ||= op.slabUser !== undefined;
      op.slabUser = undefined;
      this.#takeBack(op);
    }
    if (waited) sift(this.#waiting, (op) => op.slabUser !== undefined);
    // One of them may have been the large one in front of small ones.
    this.#grant();
  }

  /** Takes back what `op` was lent, if anything, and leaves it without parts. */
  giveBack(op: Operation): void {
    if (op.slabs.length === 0) return;
    this.#takeBack(op);
    this.#grant();
  }

  invariants(): void {
    let free = 0;
    for (const list of this.#free) for (const slab of list) free += slab.length;
    assert(this.#allocated === this.#inUse + free, 'every slab is lent or free');
    const first = this.#waiting.peek();
    assert(
      first === undefined || this.#granting || !this.#fits(first),
      'nobody waits for memory that is there',
    );
  }

  #takeBack(op: Operation): void {
    if (op.slabs.length === 0) return;
    for (const slab of op.slabs) {
      this.#inUse -= slab.length;
      if (this.#allocated > this.budget) this.#allocated -= slab.length;
      else this.#free[classOf(slab.length)]!.push(slab);
    }
    op.slabs.length = 0;
    op.parts.length = 0;
  }

  #fits(op: Operation): boolean {
    const whole = op.length - (op.length % this.largest);
    const rest = op.length - whole;
    const need = whole + (rest === 0 ? 0 : SMALLEST * 2 ** classOf(rest));
    return this.#inUse === 0 || this.#inUse + need <= this.budget;
  }

  #lend(op: Operation): void {
    assert(op.slabs.length === 0, 'what a read was lent is given back before the next');
    op.parts.length = 0;
    for (let left = op.length; left > 0;) {
      const length = Math.min(left, this.largest);
      const slab = this.#slab(classOf(length));
      op.slabs.push(slab);
      op.parts.push(length === slab.length ? slab : slab.subarray(0, length));
      left -= length;
    }
  }

  #slab(sizeClass: number): Uint8Array {
    const size = SMALLEST * 2 ** sizeClass;
    this.#inUse += size;
    const kept = this.#free[sizeClass]!.pop();
    if (kept) return kept;
    this.#makeRoom(size);
    this.#allocated += size;
    return this.#allocate(size);
  }

  /** Lets go of free slabs of other sizes, the largest first, until `size` more bytes are within the budget. */
  #makeRoom(size: number): void {
    for (let i = this.#free.length - 1; i >= 0; i--) {
      while (this.#allocated + size > this.budget) {
        const slab = this.#free[i]!.pop();
        if (!slab) break;
        this.#allocated -= slab.length;
      }
    }
  }

  #grant(): void {
    // A read that gets its memory may be over at once and give it back from inside `slabReady`.
    if (this.#granting) return;
    this.#granting = true;
    for (let op = this.#waiting.peek(); op && this.#fits(op); op = this.#waiting.peek()) {
      this.#waiting.shift();
      this.#lend(op);
      const user = must(op.slabUser, 'a waiting read has somebody to tell');
      op.slabUser = undefined;
      user.slabReady(op);
    }
    this.#granting = false;
  }
}
