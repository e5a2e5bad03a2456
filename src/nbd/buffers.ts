/** Read buffers, used again and again: a fresh one of this size costs more than the read that fills it. */
import { assert } from '../runtime/assert.ts';

/** The smallest buffer. */
const LEAST = 4096;

export class Buffers {
  readonly #most: number;
  /** By the power of two that is their length. */
  readonly #spare = new Map<number, Uint8Array[]>();
  #spareBytes = 0;
  /** Buffers that are lent. */
  lent = 0;

  /** Keeps up to `most` bytes that nobody uses. */
  constructor(most: number) {
    this.#most = most;
  }

  get spareBytes(): number {
    return this.#spareBytes;
  }

  /** `length` bytes with anything in them; at least 1. */
  take(length: number): Uint8Array {
    const size = length <= LEAST ? LEAST : 2 ** Math.ceil(Math.log2(length));
    const found = this.#spare.get(size)?.pop();
    if (found !== undefined) this.#spareBytes -= size;
    this.lent++;
    const whole = found ?? new Uint8Array(size);
    return length === size ? whole : whole.subarray(0, length);
  }

  /** One that `take` gave, whole. */
  giveBack(buffer: Uint8Array): void {
    this.lent--;
    assert(this.lent >= 0, 'a buffer is given back once');
    const whole = buffer.byteLength === buffer.buffer.byteLength ? buffer : new Uint8Array(buffer.buffer);
    if (this.#spareBytes + whole.length > this.#most) return;
    this.#spareBytes += whole.length;
    const spare = this.#spare.get(whole.length);
    if (spare === undefined) this.#spare.set(whole.length, [whole]);
    else spare.push(whole);
  }
}
