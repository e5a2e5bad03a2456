/**
 * The owner of ranges of one volume (ORDER.1). Two operations conflict when they overlap and at least one of them
 * modifies; operations that conflict run in the order of arrival, all others pass each other freely.
 *
 * How: an operation that arrives counts the earlier ones in its way (`blockers`) and puts itself on each one's list of
 * `followers`. One that ends takes itself off its followers' counts; a count that reaches zero sets its operation
 * free. Everybody waits for *all* earlier conflicting operations, running or waiting, so nobody is overtaken.
 *
 * To find the operations in the way without looking at all of them, the volume is cut into granules. A granule's
 * operations are in one bucket of a fixed table:
 *
 *     granule   0      1      2      3      4      5
 *     bytes  |------|------|------|------|------|------|
 *     a         [=====]                                      in the buckets of 0 and 1
 *     b                   [==========]                       in those of 2 and 3: a and b never meet
 *     c            [====]                                    meets a in bucket 1
 *
 * Several granules may share a bucket; that costs a look and nothing else, as the bytes are compared in any case.
 * An operation over more granules than `WIDE` (a whole disk, say) is in one short list instead, which every arrival
 * looks through; it looks itself through everything in flight.
 *
 * Costs: O(1) where nothing overlaps; O(n) for one of n operations that queue up on the same blocks.
 */
import type { Fifo } from '../runtime/fifo.ts';
import type { Operation } from './operation.ts';
import { assert } from '../runtime/assert.ts';

/** Bytes. */
const GRANULE = 32 * 1024;
/** Granules; with 32 KiB, wide is what spans more than 1 MiB. */
const WIDE = 33;
/** A power of two. */
const BUCKETS = 2048;

const conflict = (a: Operation, b: Operation): boolean =>
  a.from < b.to && b.from < a.to && (a.modifies || b.modifies);

const granuleOf = (byte: number): number => Math.floor(byte / GRANULE);

/** Neighbouring granules, and granules a power of two apart, come into different buckets. */
const bucketOf = (granule: number): number => Math.imul(granule, 0x9e3779b1) >>> 21;

const isWide = (op: Operation): boolean => granuleOf(op.to - 1) - granuleOf(op.from) >= WIDE;

/** The order within a bucket means nothing: the last one fills the gap. */
function takeOut(list: Operation[], op: Operation): void {
  const at = list.indexOf(op);
  assert(at >= 0, 'an operation is where it was put');
  const last = list.pop()!;
  if (last !== op) list[at] = last;
}

export class Ranges {
  readonly #buckets: Operation[][] = Array.from({ length: BUCKETS }, () => []);
  readonly #wide: Operation[] = [];
  readonly #all: Operation[] = [];
  #arrivals = 0;
  #modifying = 0;
  #waiting = 0;

  /** Operations that have a range or wait for one. */
  get count(): number {
    return this.#all.length;
  }

  /** How many of them wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Whether a read of `op`'s bytes could run now; registers nothing. For one that is over before it can be in a way. */
  isClear(op: Operation): boolean {
    if (this.#modifying === 0) return true;
    this.#measure(op);
    if (isWide(op)) return !this.#all.some((other) => conflict(other, op));
    for (let granule = granuleOf(op.from); granule <= granuleOf(op.to - 1); granule++) {
      for (const other of this.#buckets[bucketOf(granule)]!) if (conflict(other, op)) return false;
    }
    for (const other of this.#wide) if (conflict(other, op)) return false;
    return true;
  }

  /** `op` arrives. True: it may run at once. False: its stage is `range`, until a `remove` makes it `ready`. */
  add(op: Operation): boolean {
    assert(op.place < 0 && op.length > 0, 'an operation arrives once, and covers something');
    this.#measure(op);
    op.arrival = ++this.#arrivals;
    op.metBy = 0;
    op.blockers = this.#meetEarlier(op);
    if (op.blockers > 0) {
      this.#waiting++;
      op.stage = 'range';
    }

    op.place = this.#all.push(op) - 1;
    if (op.modifies) this.#modifying++;
    if (isWide(op)) this.#wide.push(op);
    else {
      for (let granule = granuleOf(op.from); granule <= granuleOf(op.to - 1); granule++) {
        const bucket = this.#buckets[bucketOf(granule)]!;
        // Two granules of one operation may share a bucket; it is in there once.
        if (bucket.at(-1) !== op && !bucket.includes(op)) bucket.push(op);
      }
    }
    return op.blockers === 0;
  }

  /** `op` ends, or gives up waiting: those who waited for it alone are pushed to `freed`, in order of arrival. */
  remove(op: Operation, freed: Fifo<Operation>): void {
    if (op.blockers > 0) this.#forgetWaiting(op);

    const last = this.#all.pop()!;
    if (last !== op) {
      last.place = op.place;
      this.#all[op.place] = last;
    }
    op.place = -1;
    if (op.modifies) this.#modifying--;
    if (isWide(op)) takeOut(this.#wide, op);
    else {
      for (let granule = granuleOf(op.from); granule <= granuleOf(op.to - 1); granule++) {
        const bucket = this.#buckets[bucketOf(granule)]!;
        if (bucket.includes(op)) takeOut(bucket, op);
      }
    }

    for (const follower of op.followers) {
      if (--follower.blockers > 0) continue;
      this.#waiting--;
      follower.stage = 'ready';
      freed.push(follower);
    }
    op.followers.length = 0;
  }

  /** For tests and the simulator; O(n²). */
  invariants(): void {
    let waiting = 0;
    for (const [place, op] of this.#all.entries()) {
      const blockers = this.#all.filter((other) => other.arrival < op.arrival && conflict(other, op));
      assert(op.place === place, 'an operation knows its place');
      assert(op.blockers === blockers.length, 'an operation waits for every earlier one that conflicts');
      assert(
        blockers.every((blocker) => blocker.followers.includes(op)),
        'every blocker knows its followers',
      );
      if (op.blockers > 0) waiting++;
    }
    assert(this.#waiting === waiting, 'the count of waiting operations is true');
    assert(this.#modifying === this.#all.filter((op) => op.modifies).length, 'so is that of modifying ones');
    assert(this.#wide.length === this.#all.filter(isWide).length, 'wide operations are in their list');
    if (this.#all.length === 0) {
      assert(
        this.#buckets.every((bucket) => bucket.length === 0),
        'nothing stays behind in a bucket',
      );
    }
  }

  #measure(op: Operation): void {
    op.from = op.offset;
    op.to = op.offset + op.length;
    op.modifies = op.kind !== 'read' || op.hold;
  }

  /** Makes `op` a follower of everything in its way; says how many there are. */
  #meetEarlier(op: Operation): number {
    if (this.#all.length === 0 || (this.#modifying === 0 && !op.modifies)) return 0;
    if (isWide(op)) return this.#meet(this.#all, op);
    let met = this.#meet(this.#wide, op);
    for (let granule = granuleOf(op.from); granule <= granuleOf(op.to - 1); granule++) {
      met += this.#meet(this.#buckets[bucketOf(granule)]!, op);
    }
    return met;
  }

  #meet(others: readonly Operation[], op: Operation): number {
    let met = 0;
    for (const other of others) {
      // `metBy`: the same one may be met again in another granule.
      if (other.metBy === op.arrival || !conflict(other, op)) continue;
      other.metBy = op.arrival;
      other.followers.push(op);
      met++;
    }
    return met;
  }

  #forgetWaiting(op: Operation): void {
    for (const other of this.#all) {
      if (other.arrival >= op.arrival || !conflict(other, op)) continue;
      other.followers.splice(other.followers.indexOf(op), 1);
    }
    op.blockers = 0;
    this.#waiting--;
  }
}
