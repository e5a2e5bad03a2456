/**
 * Reads: answered with the file's own memory where that may be lent (lending.ts), else with a copy in memory of ours
 * (slabs.ts), at once as far as the file needs not wait for it. The first part that it would wait for, and all behind
 * it, are read in another thread.
 */
import type { FileIo, IoError } from '../runtime/ports.ts';
import type { Lending } from './lending.ts';
import type { Operation, SlabUser } from './operation.ts';
import { REFUSED } from './refused.ts';
import type { Slabs } from './slabs.ts';

export interface ReaderUser extends SlabUser {
  /** The read is not over at once: it waits for memory, and comes again when that is there, or for the file. */
  stay(op: Operation, stage: 'slab' | 'file'): void;
  /** The read is over. What `op.parts` are is its owner's until he gives it back. */
  finish(op: Operation, error: IoError | undefined): void;
}

export class Reader {
  readonly #file: FileIo;
  readonly #slabs: Slabs;
  readonly #lending: Lending | undefined;
  readonly #user: ReaderUser;

  constructor(file: FileIo, slabs: Slabs, lending: Lending | undefined, user: ReaderUser) {
    this.#file = file;
    this.#slabs = slabs;
    this.#lending = lending;
    this.#user = user;
  }

  /** `finish` follows, perhaps from inside; before that, perhaps, `stay`. */
  read(op: Operation): void {
    // What has waited for memory, and has it, is copied.
    if (op.mayBeLent && op.slabs.length === 0 && this.#lending?.lend(op) === true) {
      this.#user.finish(op, undefined);
      return;
    }
    if (op.slabs.length === 0 && !this.#slabs.take(op, this.#user)) {
      this.#user.stay(op, 'slab');
      return;
    }
    let offset = op.offset;
    let next = 0;
    for (; next < op.parts.length; next++) {
      const part = op.parts[next]!;
      const bytes = this.#file.readNow(offset, part);
      if (bytes < 0) break;
      if (bytes < part.length) {
        this.#user.finish(op, REFUSED.ETRUNC);
        return;
      }
      offset += part.length;
    }
    if (next === op.parts.length) this.#user.finish(op, undefined);
    else this.#later(op, next, offset);
  }

  /** Reads the parts from `next` on, which begin at `offset` of the file. */
  #later(op: Operation, next: number, offset: number): void {
    this.#user.stay(op, 'file');
    op.pending = op.parts.length - next;
    for (; next < op.parts.length; next++) {
      const part = op.parts[next]!;
      this.#file.read(offset, part, (error, bytes) => {
        op.failed ??= error ?? (bytes < part.length ? REFUSED.ETRUNC : undefined);
        if (--op.pending === 0) this.#user.finish(op, op.failed);
      });
      offset += part.length;
    }
  }
}
