/**
 * Blocks that a lost association may still write to: a write that left on it and was never answered may be carried out
 * by the target long after, from a send queue, the network, a receive buffer or its storage. Until that association is
 * known dead on the target, whatever changes one of these blocks waits (GHOST.2, GHOST.3); everything else goes on.
 */
import { assert } from '../runtime/assert.ts';
import type { BlockRange } from './commands.ts';

/** An association, as far as it matters here. */
export interface Mortal {
  /**
   * Calls `fn` once, in a turn of its own: `proved`, when nothing of it can be carried out any more; else when it is
   * over and nothing will ever prove that. Gives a function that takes the call back.
   */
  whenDead(fn: (proved: boolean) => void): () => void;
}

/** Runs of blocks, in order, without overlap. */
class Runs {
  readonly #from: number[] = [];
  readonly #to: number[] = [];

  get ranges(): BlockRange[] {
    return this.#from.map((slba, i) => ({ slba, blocks: this.#to[i]! - slba }));
  }

  /** The first run that ends after `block`. */
  #after(block: number): number {
    let low = 0;
    let high = this.#to.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#to[middle]! > block) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  add({ slba, blocks }: BlockRange): void {
    let from = slba;
    let to = slba + blocks;
    const first = this.#after(from - 1);
    let last = first;
    while (last < this.#from.length && this.#from[last]! <= to) {
      from = Math.min(from, this.#from[last]!);
      to = Math.max(to, this.#to[last]!);
      last++;
    }
    this.#from.splice(first, last - first, from);
    this.#to.splice(first, last - first, to);
  }

  overlaps({ slba, blocks }: BlockRange): boolean {
    const at = this.#after(slba);
    return at < this.#from.length && this.#from[at]! < slba + blocks;
  }
}

export class Ghosts<A extends Mortal> {
  readonly #runs = new Map<A, { readonly runs: Runs; readonly forget: () => void }>();
  readonly #freed: (association: A, proved: boolean) => void;

  /** `freed` is called when the blocks of an association are free again. */
  constructor(freed: (association: A, proved: boolean) => void) {
    this.#freed = freed;
  }

  /** Nothing is in anybody's way. */
  get empty(): boolean {
    return this.#runs.size === 0;
  }

  /** A write to these blocks left on `association` and was not answered. */
  add(association: A, ranges: readonly BlockRange[]): void {
    assert(ranges.length > 0, 'a ghost has blocks');
    const known = this.#runs.get(association);
    const runs = known?.runs ?? new Runs();
    for (const range of ranges) runs.add(range);
    if (known !== undefined) return;
    const forget = association.whenDead((proved) => {
      this.#runs.delete(association);
      this.#freed(association, proved);
    });
    this.#runs.set(association, { runs, forget });
  }

  /** Nobody waits any more. */
  clear(): void {
    for (const { forget } of this.#runs.values()) forget();
    this.#runs.clear();
  }

  /** Whether a change of these blocks has to wait. */
  cover(ranges: readonly BlockRange[]): boolean {
    if (this.#runs.size === 0) return false;
    for (const { runs } of this.#runs.values()) if (ranges.some((range) => runs.overlaps(range))) return true;
    return false;
  }

  /** For people: whose blocks they are. */
  list(): { readonly association: A; readonly ranges: readonly BlockRange[] }[] {
    return [...this.#runs].map(([association, { runs }]) => ({ association, ranges: runs.ranges }));
  }
}
