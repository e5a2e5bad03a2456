/**
 * The numbers in names like nvme0: the lowest free one is given out, and it is free again when the last who holds it
 * let go. A controller holds its own, a subsystem that of its first controller (NUM.1, NUM.7).
 */
import { assert } from '../runtime/assert.ts';

export type NumberHolder = 'controller' | 'subsystem' | 'head';

export class Numbers {
  readonly #first: number;
  /** Who holds each number. */
  readonly #held = new Map<number, NumberHolder[]>();

  constructor(first: number) {
    this.#first = first;
  }

  take(holder: NumberHolder): number {
    let number = this.#first;
    while (this.#held.has(number)) number++;
    this.#held.set(number, [holder]);
    return number;
  }

  /** One more holds a number that is taken. */
  hold(number: number, holder: NumberHolder): void {
    const held = this.#held.get(number);
    assert(held !== undefined, `number ${number} is taken before it is held`);
    held.push(holder);
  }

  release(number: number, holder: NumberHolder): void {
    const held = this.#held.get(number);
    const at = held?.indexOf(holder) ?? -1;
    assert(held !== undefined && at >= 0, `number ${number} is released by the ${holder} that holds it`);
    held.splice(at, 1);
    if (held.length === 0) this.#held.delete(number);
  }

  /** Numbers that are not free. */
  get taken(): readonly number[] {
    return [...this.#held.keys()].sort((a, b) => a - b);
  }
}
