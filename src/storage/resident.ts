/**
 * Which pages of a file the page cache holds, as far as is known: those that were just read or written, and what was
 * asked for a whole stretch at a time, off the hot path. What is known may be out of date. A page that has left in the
 * meantime costs whoever sends it a wait for the disk, and is never wrong.
 *
 * One bit for each page of a stretch in which something was read or written: 32 KiB for each GiB of 4 KiB pages.
 */
import { assert } from '../runtime/assert.ts';

/** Bytes of a stretch. */
const STRETCH = 2 ** 27;

export class Resident {
  readonly pageSize: number;
  /** Pages of a stretch; a multiple of 32. */
  readonly #pages: number;
  readonly #stretches = new Map<number, Uint32Array>();
  /** The stretch that was found last: the next look is mostly at the same. */
  #last = -1;
  #words: Uint32Array = new Uint32Array(0);
  /** Those that were not asked for in this round. */
  #round: number[] = [];

  constructor(pageSize: number) {
    this.pageSize = pageSize;
    this.#pages = STRETCH / pageSize;
    assert(this.#pages % 32 === 0, 'a stretch has whole words of pages');
  }

  /** Bytes of one stretch. */
  readonly stretch = STRETCH;

  /** Bytes of memory that it takes. */
  get memory(): number {
    return (this.#stretches.size * this.#pages) / 8;
  }

  /** Whether all of the range is in memory. `length` is not 0. */
  has(offset: number, length: number): boolean {
    const last = Math.floor((offset + length - 1) / this.pageSize);
    for (let page = Math.floor(offset / this.pageSize); page <= last;) {
      const words = this.#find(Math.floor(page / this.#pages));
      if (words === undefined) return false;
      const bit = page % 32;
      const count = Math.min(32 - bit, last - page + 1);
      const mask = maskOf(bit, count);
      if ((words[(page % this.#pages) >>> 5]! & mask) >>> 0 !== mask) return false;
      page += count;
    }
    return true;
  }

  /** The range was read or written: every page that it touches is in memory. */
  add(offset: number, length: number): void {
    this.#set(Math.floor(offset / this.pageSize), Math.floor((offset + length - 1) / this.pageSize), true);
  }

  /** Nothing is known of the pages that the range touches. */
  remove(offset: number, length: number): void {
    const first = Math.floor(offset / this.pageSize);
    const last = Math.floor((offset + length - 1) / this.pageSize);
    if (last - first < this.#pages) {
      this.#set(first, last, false);
      return;
    }
    // A hole over a whole disk should not count its way through it.
    for (const index of this.#stretches.keys()) {
      const [from, to] = [
        Math.max(first, index * this.#pages),
        Math.min(last, (index + 1) * this.#pages - 1),
      ];
      if (from <= to) this.#set(from, to, false);
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.#stretches.clear();
    this.#last = -1;
    this.#round = [];
  }

  /** The stretch to be asked for next, its first byte; each in its turn. Undefined: nothing was read or written yet. */
  next(): number | undefined {
    if (this.#round.length === 0) this.#round = [...this.#stretches.keys()];
    const index = this.#round.shift();
    return index === undefined ? undefined : index * STRETCH;
  }

  /** The answer: a byte for each page from `offset`, of which bit 0 says that it is in memory. */
  learn(offset: number, pages: Uint8Array): void {
    assert(offset % STRETCH === 0 && pages.length <= this.#pages, 'what is learned is a stretch');
    const words = this.#stretches.get(offset / STRETCH);
    if (words === undefined) return;
    words.fill(0);
    for (let i = 0; i < pages.length; i++) if ((pages[i]! & 1) === 1) words[i >>> 5]! |= 1 << (i % 32);
  }

  #find(index: number): Uint32Array | undefined {
    if (index === this.#last) return this.#words;
    const words = this.#stretches.get(index);
    if (words === undefined) return undefined;
    this.#last = index;
    this.#words = words;
    return words;
  }

  #set(first: number, last: number, is: boolean): void {
    for (let page = first; page <= last;) {
      const index = Math.floor(page / this.#pages);
      const bit = page % 32;
      const count = Math.min(32 - bit, last - page + 1);
      let words = this.#find(index);
      if (words === undefined && is) this.#stretches.set(index, (words = new Uint32Array(this.#pages / 32)));
      if (words !== undefined) {
        const at = (page % this.#pages) >>> 5;
        const mask = maskOf(bit, count);
        words[at] = is ? words[at]! | mask : words[at]! & ~mask;
      }
      page += count;
    }
  }
}

/** `count` bits from `bit` on, 1 to 32 of them. */
const maskOf = (bit: number, count: number): number =>
  (count === 32 ? 0xffffffff : ((1 << count) - 1) << bit) >>> 0;
