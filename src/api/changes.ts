/** What happens to the objects of a host, as something to iterate over. */
import type { Journal, JournalKind } from '../initiator/journal.ts';
import { Fifo } from '../runtime/fifo.ts';
import { abortError, invalid } from './failure.ts';

/** Something happened to an object of the host. */
export interface HostEvent {
  /** `controller state`, `path changed`, `head removed`, …: the object's kind, and what happened to it. */
  readonly kind: JournalKind;
  /** 1, 2, 3 … in the order in which it happened; never used again. */
  readonly sequence: number;
  /** When it happened, in milliseconds since 1970. */
  readonly time: number;
  /** `nvme3`: may be another object's name later. */
  readonly name: string;
  /** That of the object: `controller.id`, `disk.id`, …; never used again. */
  readonly id: number;
  /** One line for a person: `connecting: connection reset`. */
  readonly what: string;
}

/** Events that are missing here, because nobody took them in time: look at the objects themselves. */
export interface EventsDropped {
  readonly kind: 'dropped';
  /** How many. */
  readonly count: number;
}

export type HostChange = HostEvent | EventsDropped;

export interface ChangesOptions {
  /** Ends it: what is waited for rejects with code ABORT_ERR, and events that were not taken are gone. */
  readonly signal?: AbortSignal | undefined;
  /** Begins with what came after the event of this number, as far as it is kept; 0: with all of it. Default: from now on. */
  readonly since?: number | undefined;
  /** Events that are kept until they are taken; then the oldest are dropped. Default 1024. */
  readonly buffer?: number | undefined;
}

interface Waiter {
  readonly resolve: (result: IteratorResult<HostChange, undefined>) => void;
  readonly reject: (error: Error) => void;
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** Events of a host, in order. It listens from the moment it is made until `return` (`break`), the signal, or the host's end. */
export class HostChanges implements AsyncIterableIterator<HostChange, undefined> {
  readonly #events = new Fifo<HostEvent>();
  readonly #waiters = new Fifo<Waiter>();
  readonly #limit: number;
  readonly #signal: AbortSignal | undefined;
  readonly #unlisten: () => void;
  readonly #among: Set<HostChanges>;
  #dropped = 0;
  #ended = false;
  #aborted = false;

  /** Made by `host.changes()`. It is `among` the others until it ends. */
  constructor(journal: Journal, { signal, since, buffer = 1024 }: ChangesOptions, among: Set<HostChanges>) {
    if (!Number.isSafeInteger(buffer) || buffer < 1)
      throw invalid(`buffer ${buffer} is not a count of events`);
    if (since !== undefined && (!Number.isSafeInteger(since) || since < 0))
      throw invalid(`since ${since} is not the number of an event`);
    this.#limit = buffer;
    this.#signal = signal;
    this.#among = among;
    if (since !== undefined) {
      const kept = journal.since(since);
      this.#dropped = Math.max(0, journal.sequence - since - kept.length);
      for (const entry of kept) this.#tell({ ...entry, time: entry.wall });
    }
    this.#unlisten = journal.listen((entry) => this.#tell({ ...entry, time: entry.wall }));
    among.add(this);
    if (signal?.aborted === true) this.#abort();
    else signal?.addEventListener('abort', this.#abort, { once: true });
  }

  /** The next one, as soon as there is one. Rejects with ABORT_ERR, once, after the signal. */
  next(): Promise<IteratorResult<HostChange, undefined>> {
    if (this.#aborted) {
      this.#aborted = false;
      return Promise.reject(abortError(this.#signal!, 'changes'));
    }
    if (this.#dropped > 0) {
      const count = this.#dropped;
      this.#dropped = 0;
      return Promise.resolve({ done: false, value: { kind: 'dropped', count } });
    }
    const value = this.#events.shift();
    if (value !== undefined) return Promise.resolve({ done: false, value });
    if (this.#ended) return Promise.resolve(DONE);
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  /** Ends it. What `break` in a `for await` calls. */
  return(): Promise<IteratorReturnResult<undefined>> {
    this.#aborted = false;
    this.#discard();
    this.end();
    return Promise.resolve(DONE);
  }

  /** Nothing more will come; what was not taken yet still may be. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#unlisten();
    this.#signal?.removeEventListener('abort', this.#abort);
    this.#among.delete(this);
    for (let waiter = this.#waiters.shift(); waiter; waiter = this.#waiters.shift()) waiter.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** Inside the call that records it: only a promise is resolved here. */
  #tell({ kind, sequence, time, name, id, what }: HostEvent): void {
    const value: HostEvent = { kind, sequence, time, name, id, what };
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      waiter.resolve({ done: false, value });
      return;
    }
    this.#events.push(value);
    if (this.#events.length <= this.#limit) return;
    this.#events.shift();
    this.#dropped++;
  }

  readonly #abort = (): void => {
    this.#discard();
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#aborted = true;
    else waiter.reject(abortError(this.#signal!, 'changes'));
    this.end();
  };

  #discard(): void {
    this.#events.clear();
    this.#dropped = 0;
  }
}
