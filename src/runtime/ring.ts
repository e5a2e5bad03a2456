import { assert } from './assert.ts';

/** Remembers the last `capacity` items; an older one makes room for a newer one. */
export class Ring<T> {
  readonly capacity: number;
  readonly #slots: T[] = [];
  /** Where the next item goes; once the ring is full, also where the oldest one is. */
  #next = 0;
  #seen = 0;

  constructor(capacity: number) {
    assert(capacity > 0, 'a ring holds at least one item');
    this.capacity = capacity;
  }

  /** How many were ever pushed. */
  get seen(): number {
    return this.#seen;
  }

  push(item: T): void {
    this.#slots[this.#next] = item;
    this.#next = (this.#next + 1) % this.capacity;
    this.#seen++;
  }

  /** What is remembered, oldest first. */
  items(): T[] {
    if (this.#seen < this.capacity) return [...this.#slots];
    return [...this.#slots.slice(this.#next), ...this.#slots.slice(0, this.#next)];
  }
}
