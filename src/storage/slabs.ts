/**
 * Memory that reads are answered from. Slabs come in powers of two from 4 KiB; a read longer than the largest takes
 * several. All volumes of a process share one pool with one budget; a read that finds it spent waits its turn until
 * slabs are given back.
 *
 * Memory is held until a host has read what it asked for, so those that do not read would take everything from the
 * others. Two rules are against that. A read is *modest* when it is the first of its sharer (a connection), or leaves
 * him with no more than one largest slab:
 *
 *     - the last eighth of the budget is for modest reads
 *     - modest reads are served before all others; among equals, it is one read for each sharer in turn
 *
 * Nobody starves: whoever is not modest holds something, and becomes modest when his host has read it. And the read
 * whose turn it is keeps its turn until there is enough for it: smaller ones behind it do not take what it waits for.
 */
import type { Operation, SlabUser } from './operation.ts';
import { Fifo } from '../runtime/fifo.ts';
import { assert, must } from '../runtime/assert.ts';
import { empty } from '../runtime/empty.ts';
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

/** Somebody who reads: what he holds, and his reads that wait, in their order. One for each connection. */
export class SlabSharer {
  /** Bytes. */
  held = 0;
  readonly waiting = new Fifo<Operation>();
}

export class Slabs {
  /** What a waiting read is shown to wait for. */
  readonly name = 'read buffers';
  readonly budget: number;
  readonly largest: number;
  readonly #allocate: (size: number) => Uint8Array;
  /** By size class. */
  readonly #free: Uint8Array[][] = [];
  /** Bytes at the end of the budget that are for modest reads. */
  readonly #reserve: number;
  /** Reads that nobody is named for: one sharer, to whom the whole budget is open. */
  readonly #nobody = new SlabSharer();
  /** Those with reads that wait; who is served goes to the end. */
  readonly #line: SlabSharer[] = [];
  #waiting = 0;
  #inUse = 0;
  #allocated = 0;
  #granting = false;

  constructor(options: SlabOptions) {
    this.budget = options.budget;
    this.largest = options.largest ?? 256 * 1024;
    this.#reserve = Math.floor(this.budget / 8);
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
    return this.#waiting;
  }

  /** Makes `op.parts` cover `op.length` bytes. False: not now, `user.ready(op)` follows when they do. */
  take(op: Operation, user: SlabUser): boolean {
    const sharer = op.sharer ?? this.#nobody;
    const modest = this.#isModest(op);
    const isBehind =
      sharer.waiting.length > 0 ||
      this.#line.some((other) => !modest || this.#isModest(other.waiting.peek()!));
    if (!isBehind && this.#fits(op)) {
      this.#lend(op);
      return true;
    }
    op.slabUser = user;
    this.#waiting++;
    if (sharer.waiting.length === 0) this.#line.push(sharer);
    sharer.waiting.push(op);
    return false;
  }

  /** None of `ops` waits any more, or keeps what it was lent. */
  forget(ops: Iterable<Operation>): void {
    const sharers = new Set<SlabSharer>();
    for (const op of ops) {
      if (op.slabUser) {
        op.slabUser = undefined;
        this.#waiting--;
        sharers.add(op.sharer ?? this.#nobody);
      }
      this.#takeBack(op);
    }
    for (const sharer of sharers) {
      sift(sharer.waiting, (op) => op.slabUser !== undefined);
      if (sharer.waiting.length === 0) this.#line.splice(this.#line.indexOf(sharer), 1);
    }
    // One of them may have been the large one in front of small ones.
    this.#grant();
  }

  /** Takes back what `op` was lent, if anything, and leaves it without parts. */
  giveBack(op: Operation): void {
    if (op.slabs.length === 0) return;
    this.#takeBack(op);
    this.#grant();
  }

  /** With `sharers`, all that there are, their sums are checked too. */
  invariants(sharers?: Iterable<SlabSharer>): void {
    let free = 0;
    for (const list of this.#free) for (const slab of list) free += slab.length;
    assert(this.#allocated === this.#inUse + free, 'every slab is lent or free');
    let waiting = 0;
    for (const sharer of this.#line) waiting += sharer.waiting.length;
    assert(this.#waiting === waiting, 'whoever waits is counted');
    assert(
      this.#line.every((sharer) => sharer.waiting.length > 0) &&
        new Set(this.#line).size === this.#line.length,
      'whoever has reads that wait is in line, once',
    );
    const op = this.#next();
    assert(!op || this.#granting || !this.#fits(op), 'nobody waits for memory that is there');
    if (!sharers) return;
    let held = this.#nobody.held;
    for (const sharer of sharers) held += sharer.held;
    assert(held === this.#inUse, 'what is lent is held by somebody');
  }

  #takeBack(op: Operation): void {
    if (op.slabs.length === 0) return;
    const sharer = op.sharer ?? this.#nobody;
    for (const slab of op.slabs) {
      sharer.held -= slab.length;
      this.#inUse -= slab.length;
      if (this.#allocated > this.budget) this.#allocated -= slab.length;
      else this.#free[classOf(slab.length)]!.push(slab);
    }
    empty(op.slabs);
    empty(op.parts);
  }

  /** Bytes of the slabs that `op` takes. */
  #need(op: Operation): number {
    const rest = op.length % this.largest;
    return op.length - rest + (rest === 0 ? 0 : SMALLEST * 2 ** classOf(rest));
  }

  #isModest(op: Operation): boolean {
    const { sharer } = op;
    return sharer === undefined || sharer.held === 0 || sharer.held + this.#need(op) <= this.largest;
  }

  #fits(op: Operation): boolean {
    const limit = this.#isModest(op) ? this.budget : this.budget - this.#reserve;
    return this.#inUse === 0 || this.#inUse + this.#need(op) <= limit;
  }

  /** The read whose turn it is. */
  #next(): Operation | undefined {
    const modest = this.#line.find((sharer) => this.#isModest(sharer.waiting.peek()!));
    return (modest ?? this.#line[0])?.waiting.peek();
  }

  #lend(op: Operation): void {
    assert(op.slabs.length === 0, 'what a read was lent is given back before the next');
    empty(op.parts);
    const sharer = op.sharer ?? this.#nobody;
    for (let left = op.length; left > 0;) {
      const length = Math.min(left, this.largest);
      const slab = this.#slab(classOf(length));
      sharer.held += slab.length;
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
    // A read that gets its memory may be over at once and give it back from inside `ready`.
    if (this.#granting) return;
    this.#granting = true;
    for (let op = this.#next(); op && this.#fits(op); op = this.#next()) {
      const sharer = op.sharer ?? this.#nobody;
      sharer.waiting.shift();
      this.#waiting--;
      this.#line.splice(this.#line.indexOf(sharer), 1);
      if (sharer.waiting.length > 0) this.#line.push(sharer);
      this.#lend(op);
      const user = must(op.slabUser, 'a waiting read has somebody to tell');
      op.slabUser = undefined;
      user.ready(op);
    }
    this.#granting = false;
  }
}
