/**
 * Writes, on their way to the file. Where one begins at the end of the one before it, those of one turn go together:
 *
 *     40+4   4+4   8+4   12+4      →      40+4   4+4   8+8
 *
 * and each call at once or in another thread (write-policy.ts; where there is no disk to wait for, always at once).
 * Nothing is merged that overlaps: ranges.ts sees to it.
 * A call that fails is done again write by write, so that each gets the answer that is its own.
 */
import type { Clock, FileIo, IoError } from '../runtime/ports.ts';
import type { Operation } from './operation.ts';
import { REFUSED } from './refused.ts';
import type { Turn } from './turn.ts';
import type { WritePolicy } from './write-policy.ts';

/** Bytes, and parts, of one call. */
const MOST = 2 ** 20;
const MOST_PARTS = 512;
/** What the page cache is made of, as far as writing a part of it is concerned. */
const PAGE = 4096;

export interface WriterUser {
  /** Whether what is around the range is in memory, so that a part of a page can be written without reading it. */
  isInMemory(offset: number, length: number): boolean;
  /** `op` is written, or not. */
  changed(op: Operation, error: IoError | undefined): void;
}

export class Writer {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #file: FileIo;
  readonly #policy: WritePolicy;
  readonly #turn: Turn | undefined;
  readonly #user: WriterUser;
  /** Of this turn, in order of arrival. */
  #batch: Operation[] = [];
  #spare: Operation[] = [];
  /** Where the last write ended. */
  #end = -1;
  /** When the last call was over, and in which turn. */
  #last = 0;
  #lastTurn = -1;
  /** Calls to the file so far. */
  calls = 0;

  constructor(
    clock: Pick<Clock, 'now'>,
    file: FileIo,
    policy: WritePolicy,
    turn: Turn | undefined,
    user: WriterUser,
  ) {
    this.#clock = clock;
    this.#file = file;
    this.#policy = policy;
    this.#turn = turn;
    this.#user = user;
  }

  /**
   * A write that nobody else is in the way of: it may be over when this returns, as undefined or with an error. `later`:
   * it needs its range, and `write`.
   */
  now(op: Operation): IoError | 'later' | undefined {
    const follows = op.offset === this.#end;
    if (follows && this.#turn?.open === true) return 'later';
    const result = this.#atOnce(op.offset, op.length, op.parts);
    if (result !== 'later') this.#end = op.offset + op.length;
    return result;
  }

  /** `changed(op)` follows, perhaps from inside. */
  write(op: Operation): void {
    const follows = op.offset === this.#end;
    this.#end = op.offset + op.length;
    if (!follows || this.#turn?.open !== true) {
      this.#issue(op, undefined, op.length, op.parts);
      return;
    }
    if (this.#batch.length === 0) this.#turn.wait(this);
    this.#batch.push(op);
  }

  turnEnds(): void {
    // What is over may be followed by others, which do not wait any more.
    const batch = this.#batch;
    this.#batch = this.#spare;
    this.#spare = [];
    for (let from = 0; from < batch.length;) {
      const to = endOfRun(batch, from);
      this.#issueRun(batch, from, to);
      from = to;
    }
    batch.length = 0;
    this.#spare = batch;
  }

  /** Writes `batch[from, to)`, each of which begins where the one before it ends. */
  #issueRun(batch: readonly Operation[], from: number, to: number): void {
    const first = batch[from]!;
    if (to - from === 1) {
      this.#issue(first, undefined, first.length, first.parts);
      return;
    }
    const ops = batch.slice(from, to);
    const last = batch[to - 1]!;
    const parts = ops.flatMap((op) => op.parts);
    this.#issue(first, ops, last.offset + last.length - first.offset, parts);
  }

  #issue(
    first: Operation,
    ops: readonly Operation[] | undefined,
    length: number,
    parts: readonly Uint8Array[],
  ): void {
    const error = this.#atOnce(first.offset, length, parts);
    if (error === 'later') this.#later(first, ops, parts);
    else this.#done(first, ops, error);
  }

  #atOnce(offset: number, length: number, parts: readonly Uint8Array[]): IoError | 'later' | undefined {
    if (this.#file.diskless) return length > MOST ? 'later' : this.#writeNow(offset, parts);
    // In one turn a write begins about when the last one was over: one look at the clock for each.
    const turn = this.#turn?.open === true ? this.#turn.count : -1;
    const before = turn >= 0 && turn === this.#lastTurn ? this.#last : this.#clock.now();
    if (!this.#isWhole(offset, length) || !this.#policy.atOnce(before, length)) return 'later';
    const error = this.#writeNow(offset, parts);
    if (error === 'later') return error;
    this.#last = this.#clock.now();
    this.#lastTurn = turn;
    this.#policy.took(this.#last, this.#last - before, length);
    return error;
  }

  #writeNow(offset: number, parts: readonly Uint8Array[]): IoError | 'later' | undefined {
    const error = this.#file.writeNow(offset, parts);
    if (error !== 'later') this.calls++;
    return error;
  }

  #later(first: Operation, ops: readonly Operation[] | undefined, parts: readonly Uint8Array[]): void {
    this.calls++;
    this.#file.write(first.offset, parts, (error) => this.#done(first, ops, error));
  }

  #isWhole(offset: number, length: number): boolean {
    return (offset % PAGE === 0 && length % PAGE === 0) || this.#user.isInMemory(offset, length);
  }

  #done(first: Operation, ops: readonly Operation[] | undefined, error: IoError | undefined): void {
    if (ops === undefined) this.#user.changed(first, error);
    else if (error === undefined) for (const op of ops) this.#user.changed(op, undefined);
    else
      for (const op of ops)
        // It may have been cut since then.
        if (op.offset + op.length > this.#file.size) this.#user.changed(op, REFUSED.ETRUNC);
        else this.#file.write(op.offset, op.parts, (own) => this.#user.changed(op, own));
  }
}

/** Up to where each write begins at the end of the one before it. */
function endOfRun(batch: readonly Operation[], from: number): number {
  let { length } = batch[from]!;
  let count = batch[from]!.parts.length;
  let to = from + 1;
  for (; to < batch.length; to++) {
    const [before, op] = [batch[to - 1]!, batch[to]!];
    length += op.length;
    count += op.parts.length;
    if (op.offset !== before.offset + before.length || length > MOST || count > MOST_PARTS) break;
  }
  return to;
}
