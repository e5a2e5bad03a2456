/**
 * The numbers in names like nvme0: the lowest free one is given out, and it is free again when the last who holds it
 * let go. A controller holds its own, a subsystem that of its first controller (NUM.1, NUM.7).
 */
import { assert } from '../runtime/assert.ts';

export class Numbers {
  readonly #first: number;
  /** How many hold each number. */
  readonly #held = new Map<number, number>();

  constructor(first: number) {
    this.#first = first;
  }

  take(): number {
    let number = this.#first;
    while (this.#held.has(number)) number++;
    this.#held.set(number, 1);
    return number;
  }

  /** One more holds a number that is taken. */
  hold(number: number): void {
    const held = this.#held.get(number);
    assert(held !== undefined, `number ${number} is taken before it is held`);
    this.#held.set(number, held + 1);
  }

  release(number: number): void {
    const held = this.#held.get(number);
    assert(held !== undefined, `number ${number} is released by who holds it`);
    if (held === 1) this.#held.delete(number);
    else this.#held.set(number, held - 1);
  }

  /** Numbers that are not free. */
  get taken(): readonly number[] {
    return [...this.#held.keys()].sort((a, b) => a - b);
  }
}
