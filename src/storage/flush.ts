/**
 * Flush epochs (DISK.1, DISK.2). A sync covers what was written before it *started*, so whoever asks while one runs
 * joins the next one, and everybody who asked meanwhile shares that:
 *
 *     a asks ──► sync ───────────────► a done
 *                   b asks   c asks    └► sync ─────────────► b, c done
 *
 * After a failed sync nothing is ever synced again: the kernel may report the next one as successful although data
 * was lost.
 */
import type { FileIo, IoError } from '../runtime/ports.ts';
import type { Operation } from './operation.ts';

export interface FlushUser {
  /** A sync failed: nothing that was written since the last good one can be trusted. Comes before `finish`. */
  syncFailed(error: IoError): void;
  /** Everything that was complete when `op` joined is on stable storage, or `error`. */
  finish(op: Operation, error: IoError | undefined): void;
}

export class FlushEpochs {
  readonly #file: FileIo;
  readonly #user: FlushUser;
  #failure: IoError | undefined = undefined;
  #running = false;
  /** Whom the running sync serves, and who joins the next one. */
  #current: Operation[] = [];
  #next: Operation[] = [];
  /** Syncs that were asked of the file so far. */
  syncs = 0;

  constructor(file: FileIo, user: FlushUser) {
    this.#file = file;
    this.#user = user;
  }

  /** Operations that wait for this sync or the next. */
  get waiting(): readonly Operation[] {
    return [...this.#current, ...this.#next];
  }

  /** `op` is to be told when everything that is complete now is durable. */
  join(op: Operation): void {
    if (this.#failure) this.#user.finish(op, this.#failure);
    else {
      this.#next.push(op);
      this.#start();
    }
  }

  /** Drops those of `ops` that no running sync serves; returns them. */
  forget(ops: ReadonlySet<Operation>): Operation[] {
    if (ops.size === 0) return [];
    const forgotten = this.#next.filter((op) => ops.has(op));
    this.#next = this.#next.filter((op) => !ops.has(op));
    return forgotten;
  }

  #start(): void {
    if (this.#running || this.#next.length === 0) return;
    [this.#current, this.#next] = [this.#next, this.#current];
    this.#running = true;
    this.syncs++;
    this.#file.sync((error) => this.#done(error));
  }

  #done(error: IoError | undefined): void {
    const served = this.#current;
    this.#current = [];
    if (error) {
      this.#failure = error;
      // Nobody in the next epoch can be helped either.
      served.push(...this.#next);
      this.#next = [];
      this.#user.syncFailed(error);
    }
    // Whoever joins from inside `finish` still makes the next sync.
    for (const op of served) this.#user.finish(op, error);
    this.#running = false;
    this.#start();
  }
}
