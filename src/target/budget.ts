/**
 * Memory that is promised before it is used: in-capsule space when a queue is made, data when an R2T is granted.
 * Whoever finds too little left may stand in line; nobody passes him.
 */
import { assert } from '../runtime/assert.ts';

export interface Waiter {
  /** He still wants some. */
  readonly waits: boolean;
  /** He is the first in line and something was given back: `take` again, or stay where he is. */
  budgetFreed(): void;
}

export class Budget {
  /** Bytes. */
  readonly limit: number;
  used = 0;
  readonly #line = new Set<Waiter>();
  #waking = false;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Takes `bytes` if they are left and nobody else waits for some; otherwise `waiter`, if there is one, lines up. */
  take(bytes: number, waiter?: Waiter): boolean {
    const first = this.#first();
    if ((first !== undefined && first !== waiter) || this.used + bytes > this.limit) {
      if (waiter !== undefined) this.#line.add(waiter);
      return false;
    }
    if (waiter !== undefined) this.#line.delete(waiter);
    this.used += bytes;
    return true;
  }

  /** Leaves the line. */
  forget(waiter: Waiter): void {
    if (this.#line.delete(waiter)) this.#wake();
  }

  release(bytes: number): void {
    this.used -= bytes;
    this.#wake();
  }

  /** Bytes. */
  get left(): number {
    return this.limit - this.used;
  }

  get waiting(): number {
    return this.#line.size;
  }

  invariants(): void {
    for (const { waits } of this.#line) assert(waits, 'who stands in line for budget wants some');
  }

  #first(): Waiter | undefined {
    const { value } = this.#line.values().next();
    return value;
  }

  /** Asks the first in line until one of them cannot be served. */
  #wake(): void {
    if (this.#waking) return;
    this.#waking = true;
    for (let first = this.#first(); first !== undefined; first = this.#first()) {
      const before = this.used;
      first.budgetFreed();
      if (this.used === before && this.#first() === first) break;
    }
    this.#waking = false;
  }
}
