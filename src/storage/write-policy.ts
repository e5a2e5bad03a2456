/**
 * Which writes are done at once, in the thread that everything else needs too, and which in another one. Into the page
 * cache a write takes some microseconds, less than what it costs to hand it to another thread and back. But the kernel
 * holds up whoever writes when too much waits for the disk; so
 *
 *     - at once as long as what is dirty, in the whole system, stays below where the kernel begins to write it out
 *       (it holds nobody up before it is some way past that)
 *     - nothing at once for a while after a write that took long, or several that took rather long, whatever the
 *       reason: a tenth of a second, twice as long each time it happens again, up to two seconds. The bound is well
 *       above what a process waits for its turn on a busy machine, where another thread would wait as well
 *     - files that no disk is behind are asked nothing of this: what takes long there is a process that waits for its
 *       turn, and the next write would not be quicker in another thread
 *     - pages that are not in memory are written as a whole, or not at once: a part would wait for the rest to be read
 */

/** What waits for the disks, in the whole system, and from where on the kernel begins to write it out; bytes. */
export interface Dirty {
  readonly bytes: number;
  readonly limit: number;
}

/** How often the system is asked, ms. */
const LOOK = 50;
/** A write that takes longer was held up, ms; so were several whose mean, the latest counting most, is this long. */
const SLOW = 25;
const SLOW_MEAN = 4;
const WEIGHT = 1 / 8;
const SHORTEST = 100;
const LONGEST = 2000;
/** Without another one for so long, ms, the next slow write is the first again. */
const FORGET = 10_000;
/** A longer write would hold up everybody else in any case, bytes. */
const MOST = 2 ** 20;

export class WritePolicy {
  readonly #dirty: () => Dirty | undefined;
  #lookedAt = -Infinity;
  /** Bytes that may be dirtied before the next look. */
  #left = 0;
  #slowUntil = -Infinity;
  #pause = SHORTEST;
  #mean = 0;

  /** Undefined: nobody can tell, or nothing is ever held up. */
  constructor(dirty: () => Dirty | undefined = () => undefined) {
    this.#dirty = dirty;
  }

  /** Whether `length` bytes may be written at once; `took` follows if they were. */
  atOnce(now: number, length: number): boolean {
    if (length > MOST || now < this.#slowUntil) return false;
    if (now - this.#lookedAt >= LOOK) {
      const dirty = this.#dirty();
      this.#left = dirty === undefined ? Infinity : dirty.limit - dirty.bytes;
      this.#lookedAt = now;
    }
    return length <= this.#left;
  }

  /** `length` bytes were written at once; it is over `now`, and took `ms`. */
  took(now: number, ms: number, length: number): void {
    this.#left -= length;
    this.#mean += (ms - this.#mean) * WEIGHT;
    if (ms <= SLOW && this.#mean <= SLOW_MEAN) return;
    this.#mean = 0;
    if (now - this.#slowUntil > FORGET) this.#pause = SHORTEST;
    this.#slowUntil = now + this.#pause;
    this.#pause = Math.min(2 * this.#pause, LONGEST);
  }
}
