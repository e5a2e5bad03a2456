/**
 * Blocks of heads that are gone which a lost association may still write to. A head can go before its lost associations
 * are dead on the target; when its namespace returns, it gets another head, and what is written to that must not be
 * overwritten by what was written before (GHOST.3). So the next head of the same wwid takes these blocks over. An entry
 * goes when its associations are dead on the target, or when nobody can ever tell.
 */
import type { Association } from './association.ts';
import type { BlockRange } from './commands.ts';
import { Ghosts } from './ghost.ts';

export class Departed {
  readonly #byWwid = new Map<string, Ghosts<Association>>();
  #closed = false;

  /** Heads of whom something is kept. */
  get size(): number {
    return this.#byWwid.size;
  }

  keep(wwid: string, association: Association, ranges: readonly BlockRange[]): void {
    if (this.#closed) return;
    let ghosts = this.#byWwid.get(wwid);
    if (ghosts === undefined) {
      const made = new Ghosts<Association>(() => {
        if (made.empty && this.#byWwid.get(wwid) === made) this.#byWwid.delete(wwid);
      });
      this.#byWwid.set(wwid, (ghosts = made));
    }
    ghosts.add(association, ranges);
  }

  /** What a new head of that name has to know. It is the head's from now on. */
  take(wwid: string): { readonly association: Association; readonly ranges: readonly BlockRange[] }[] {
    const ghosts = this.#byWwid.get(wwid);
    if (ghosts === undefined) return [];
    this.#byWwid.delete(wwid);
    const list = ghosts.list();
    ghosts.clear();
    return list;
  }

  /** The host stops: nothing is kept any more, and no timer is left. */
  close(): void {
    this.#closed = true;
    for (const ghosts of this.#byWwid.values()) ghosts.clear();
    this.#byWwid.clear();
  }
}
