/**
 * The dice of a simulation. Everything that is drawn comes from here, in integers. A stream forked by name depends on
 * the seed and the name alone, so a draw that is added in one place changes nothing in any other.
 */
import type { Random } from '../../src/runtime/ports.ts';

/** FNV-1a, 32 bits. */
export function hashText(text: string, hash = 0x811c9dc5): number {
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** splitmix32. */
export class SimRandom implements Random {
  readonly #seed: number;
  #state: number;

  constructor(seed: number) {
    this.#seed = this.#state = seed >>> 0;
  }

  /** A stream of its own. */
  fork(name: string): SimRandom {
    return new SimRandom(hashText(name, this.#seed ^ 0x5bd1e995));
  }

  /** 0 … 2^32 - 1. */
  u32(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /** 0 … `limit` - 1. */
  below(limit: number): number {
    return this.u32() % limit;
  }

  /** `low` … `high`, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True once in `count` times; never for 0. */
  oneIn(count: number): boolean {
    return count > 0 && this.below(count) === 0;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let i = 0; i < count; i++) bytes[i] = this.u32();
    return bytes;
  }
}
