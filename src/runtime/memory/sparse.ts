import { assert } from '../assert.ts';

const CHUNK = 256 * 1024;
/** Where there are many reads: each buffer that a socket is given slices of costs it cache misses of its own. */
export const LARGE_CHUNK = 2 * 1024 * 1024;
/** What is not there reads as this; written by nobody. */
const HOLE = new Uint8Array(LARGE_CHUNK);

/** Bytes of any length, up to 2^53, that cost nothing where nothing was written. */
export class SparseBytes {
  size: number;
  readonly #chunk: number;
  readonly #chunks = new Map<number, Uint8Array>();

  /** `chunk`: bytes that are taken, and given up, together; at most 2 MiB. */
  constructor(size: number, chunk = CHUNK) {
    assert(chunk <= LARGE_CHUNK, 'a hole is as long as a chunk');
    this.size = size;
    this.#chunk = chunk;
  }

  /** Bytes of memory that are taken. */
  get allocated(): number {
    return this.#chunks.size * this.#chunk;
  }

  /** Fills `into`, as far as there are bytes; says how many. */
  read(offset: number, into: Uint8Array): number {
    const length = Math.max(0, Math.min(into.length, this.size - offset));
    this.#walk(offset, length, (index, from, to, at) => {
      const chunk = this.#chunks.get(index);
      if (chunk) into.set(from === 0 && to === this.#chunk ? chunk : chunk.subarray(from, to), at);
      else into.fill(0, at, at + to - from);
    });
    return length;
  }

  /** Adds the bytes of a range as they are, uncopied: they change with it. False: it is not all there. */
  slice(offset: number, length: number, parts: Uint8Array[]): boolean {
    if (offset + length > this.size) return false;
    this.#walk(offset, length, (index, from, to) => {
      parts.push((this.#chunks.get(index) ?? HOLE).subarray(from, to));
    });
    return true;
  }

  /** Throws a RangeError when memory is spent. */
  write(offset: number, bytes: Uint8Array): void {
    assert(offset + bytes.length <= this.size, 'a write stays inside');
    this.#walk(offset, bytes.length, (index, from, to, at) => {
      let chunk = this.#chunks.get(index);
      if (!chunk) this.#chunks.set(index, (chunk = new Uint8Array(this.#chunk)));
      chunk.set(at === 0 && to - from === bytes.length ? bytes : bytes.subarray(at, at + to - from), from);
    });
  }

  /** The range reads as zeroes; whole chunks in it are given up. */
  punch(offset: number, length: number): void {
    const end = offset + Math.min(length, Math.max(0, this.size - offset));
    const first = Math.floor(offset / this.#chunk);
    const last = Math.floor((end - 1) / this.#chunk);
    const clear = (index: number): void => {
      const from = Math.max(0, offset - index * this.#chunk);
      const to = Math.min(this.#chunk, end - index * this.#chunk);
      if (from === 0 && to === this.#chunk) this.#chunks.delete(index);
      else this.#chunks.get(index)?.fill(0, from, to);
    };
    // Whichever is fewer: a hole over a huge empty disk should not count its way through it.
    if (last - first > this.#chunks.size) {
      for (const index of [...this.#chunks.keys()]) if (index >= first && index <= last) clear(index);
    } else for (let index = first; index <= last; index++) clear(index);
  }

  /** Copies between ranges that do not overlap. Holes become holes where they fill chunks, else zeroes. */
  copy(from: number, to: number, length: number): void {
    assert(from + length <= this.size && to + length <= this.size, 'a copy stays inside');
    this.#walk(from, length, (index, begin, end, at) => {
      const chunk = this.#chunks.get(index);
      if (chunk) this.write(to + at, chunk.subarray(begin, end));
      else this.punch(to + at, end - begin);
    });
  }

  /** Cuts off what is past `size`, or adds zeroes. */
  resize(size: number): void {
    if (size < this.size) this.punch(size, this.size - size);
    this.size = size;
  }

  /** Visits the chunks of a range: `from` and `to` inside the chunk, `at` inside the range. */
  #walk(
    offset: number,
    length: number,
    visit: (index: number, from: number, to: number, at: number) => void,
  ): void {
    for (let at = 0; at < length;) {
      const index = Math.floor((offset + at) / this.#chunk);
      const from = offset + at - index * this.#chunk;
      const to = Math.min(this.#chunk, from + length - at);
      visit(index, from, to, at);
      at += to - from;
    }
  }
}
