import type { Clock, IoDone, IoError, StateStore } from '../ports.ts';

/** Documents in a map. A document counts as written when `done` is called. */
export class MemoryStore implements StateStore {
  readonly #clock: Clock;
  readonly documents = new Map<string, string>();
  /** What the next write fails with, once. */
  failNext: IoError | undefined = undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  read(name: string, done: (error: IoError | undefined, text: string | undefined) => void): void {
    this.#clock.defer(() => done(undefined, this.documents.get(name)));
  }

  write(name: string, text: string, done: IoDone): void {
    this.#clock.defer(() => {
      const error = this.failNext;
      this.failNext = undefined;
      if (!error) this.documents.set(name, text);
      done(error);
    });
  }

  remove(name: string, done: IoDone): void {
    this.#clock.defer(() => {
      this.documents.delete(name);
      done(undefined);
    });
  }
}
