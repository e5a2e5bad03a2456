/**
 * What happened to the objects of a host, in order: a bounded list, and whoever wants to hear. Names are recycled;
 * each entry carries the object's id, and a number of its own, neither of which is ever used again (NUM.11).
 */
import type { Clock } from '../runtime/ports.ts';
import { Fifo } from '../runtime/fifo.ts';

export type JournalKind =
  | 'controller added'
  | 'controller removed'
  | 'controller state'
  | 'controller setting'
  | 'subsystem added'
  | 'subsystem removed'
  | 'head added'
  | 'head removed'
  | 'head changed'
  | 'path added'
  | 'path removed'
  | 'path changed'
  | 'port added'
  | 'port removed'
  | 'discovery';

export interface JournalEntry {
  /** 1, 2, 3 … */
  readonly sequence: number;
  /** In `Clock.now()` milliseconds, and since 1970. */
  readonly at: number;
  readonly wall: number;
  readonly kind: JournalKind;
  /** `nvme3`: may be another object's name later. */
  readonly name: string;
  /** The object's, never used again. */
  readonly id: number;
  /** One line for a person. */
  readonly what: string;
}

export class Journal {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #entries = new Fifo<JournalEntry>();
  readonly #listeners = new Set<(entry: JournalEntry) => void>();
  #sequence = 0;

  /** Keeps the last `limit` entries. */
  constructor(clock: Clock, limit: number) {
    this.#clock = clock;
    this.#limit = limit;
  }

  record(kind: JournalKind, name: string, id: number, what: string): void {
    const { now, wall } = { now: this.#clock.now(), wall: this.#clock.wall() };
    const entry: JournalEntry = { sequence: ++this.#sequence, at: now, wall, kind, name, id, what };
    this.#entries.push(entry);
    if (this.#entries.length > this.#limit) this.#entries.shift();
    for (const listener of this.#listeners) listener(entry);
  }

  /** Hears every entry from now on, inside the call that records it; gives a function that ends it. */
  listen(listener: (entry: JournalEntry) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Entries after that number, as far as they are kept. */
  since(sequence: number): JournalEntry[] {
    return [...this.#entries].filter((entry) => entry.sequence > sequence);
  }

  get sequence(): number {
    return this.#sequence;
  }
}
