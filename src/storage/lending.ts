/**
 * Reads that are answered with the file's own memory, uncopied: the ledger of what sockets have, and the rules without
 * which that is dangerous. A slice that a socket has cannot be taken back, and whatever is written to its bytes shows
 * up in what is sent. So:
 *
 *     - a slice is lent only while the borrower's socket has taken all that it was given, and so much at a time as it
 *       can be expected to take at once: then it is back before anything else happens; and only what is in memory
 *     - whoever is to change bytes that are lent waits until they are back. That has a bound: then the borrower, a host
 *       that does not read, is told that he is overdue, and gives everything back by closing his connection
 *     - nobody looks at what is lent but the kernel. What reads payload in user space (digests, TLS) never borrows
 *     - the file is unmapped when the ledger is empty
 *
 * Everything else, and everybody else, gets copies (slabs.ts).
 *
 * The ledger costs a read next to nothing: it is counted in the cells of 64 KiB that it touches, in a table of fixed
 * size; only whoever changes something in such a cell, or in one that shares its place in the table, looks at the list.
 */
import type { Clock, FileMap, Timer } from '../runtime/ports.ts';
import type { Operation } from './operation.ts';
import { Resident } from './resident.ts';
import { assert } from '../runtime/assert.ts';
import { empty } from '../runtime/empty.ts';

const CELL = 65_536;
/** A power of two. */
const CELLS = 256;
/** How often a stretch of pages is asked for, while there are reads, ms. */
const LOOK = 100;

/** A connection, as far as it borrows. */
export interface Borrower {
  /** Whether so many bytes may be lent to it now: see `mayBorrow`. */
  mayBorrow(length: number): boolean;
  /** Somebody has waited too long for what it has: it must give it back, at whatever cost. */
  overdue(): void;
}

/** What is known of a connection when it asks for a slice. */
export interface BorrowerState {
  /** Payload is read in user space on its way out: by a data digest, by TLS. */
  readonly readsPayload: boolean;
  /** Bytes that its socket was given and has not taken. */
  readonly backlog: number;
  /** Bytes that it will be given at the end of this turn. */
  readonly turn: number;
}

/** Whether `length` more bytes may be lent. `most`: what a socket can be expected to take at once. */
export function mayBorrow(
  { readsPayload, backlog, turn }: BorrowerState,
  length: number,
  most: number,
): boolean {
  return !readsPayload && backlog === 0 && turn + length <= most;
}

export interface LendingLimits {
  /** Bytes that may be lent at once. */
  readonly most: number;
  /** Milliseconds that anybody waits for what is lent before its borrower is overdue. */
  readonly wait: number;
}

export interface LendingUser {
  /** Nothing is in the way of `op` any more. */
  ready(op: Operation): void;
  /** `drain` was asked for, and everything is back. */
  drained(): void;
}

export class Lending {
  readonly #clock: Pick<Clock, 'now' | 'timer'>;
  readonly #map: FileMap;
  readonly #limits: LendingLimits;
  readonly #user: LendingUser;
  readonly #resident: Resident | undefined;
  readonly #cells = new Uint16Array(CELLS);
  /** Those who have something, in no order. */
  #first: Operation | undefined = undefined;
  #count = 0;
  #bytes = 0;
  /** Nothing is lent: a socket could not read what it had, until the file was looked at again. */
  #suspended = 0;
  #draining = false;
  #closed = false;
  #overdue: Timer | undefined = undefined;
  #look: Timer | undefined = undefined;
  #looking = false;
  #wanted = false;

  constructor(clock: Pick<Clock, 'now' | 'timer'>, map: FileMap, limits: LendingLimits, user: LendingUser) {
    this.#clock = clock;
    this.#map = map;
    this.#limits = limits;
    this.#user = user;
    this.#resident = map.pinned ? undefined : new Resident(map.pageSize);
  }

  /** Bytes that are lent. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Reads that have something. */
  get count(): number {
    return this.#count;
  }

  /** Answers a read at once, if it may be: `op.parts` are its bytes, to be given back. False: it gets a copy. */
  lend(op: Operation): boolean {
    const { offset, length, borrower } = op;
    if (borrower === undefined || this.#suspended > 0 || this.#draining) return false;
    if (this.#bytes + length > this.#limits.most || !borrower.mayBorrow(length)) return false;
    this.#wantLook();
    if (this.#resident !== undefined && !this.#resident.has(offset, length)) return false;
    empty(op.parts);
    if (!this.#map.slice(offset, length, op.parts)) return false;
    op.lent = true;
    op.lentFrom = offset;
    op.lentTo = offset + length;
    op.lentBefore = undefined;
    op.lentAfter = this.#first;
    if (this.#first !== undefined) this.#first.lentBefore = op;
    this.#first = op;
    this.#count++;
    this.#bytes += length;
    this.#tally(op, 1);
    return true;
  }

  /** The socket has taken it, or never will. */
  giveBack(op: Operation): void {
    assert(op.lent, 'what is given back was lent');
    this.#tally(op, -1);
    if (op.lentBefore === undefined) this.#first = op.lentAfter;
    else op.lentBefore.lentAfter = op.lentAfter;
    if (op.lentAfter !== undefined) op.lentAfter.lentBefore = op.lentBefore;
    op.lentBefore = op.lentAfter = undefined;
    op.lent = false;
    empty(op.parts);
    this.#count--;
    this.#bytes -= op.lentTo - op.lentFrom;
    if (op.lentWaiters.length > 0)
      for (const waiter of op.lentWaiters.splice(0)) if (--waiter.waitsLent === 0) this.#user.ready(waiter);
    if (this.#draining && this.#count === 0) this.#user.drained();
  }

  /** Whether something of what `op` is to change may be lent. */
  mayHave(op: Operation): boolean {
    return this.#count > 0 && this.#mayOverlap(op);
  }

  /** Whether some of what `op` is to change is lent; if so, `ready(op)` follows. `op` keeps its range meanwhile. */
  isInTheWay(op: Operation): boolean {
    if (!this.mayHave(op)) return false;
    const [from, to] = [op.offset, op.offset + op.length];
    for (let lent = this.#first; lent !== undefined; lent = lent.lentAfter) {
      if (lent.lentFrom >= to || from >= lent.lentTo) continue;
      if (lent.lentWaiters.length === 0) lent.awaitedSince = this.#clock.now();
      lent.lentWaiters.push(op);
      op.waitsLent++;
    }
    if (op.waitsLent > 0) this.#watch();
    return op.waitsLent > 0;
  }

  /** None of `ops` waits any more. */
  forget(ops: ReadonlySet<Operation>): void {
    let waited = false;
    for (const op of ops) {
      waited ||= op.waitsLent > 0;
      op.waitsLent = 0;
    }
    if (!waited) return;
    for (let lent = this.#first; lent !== undefined; lent = lent.lentAfter)
      if (lent.lentWaiters.length > 0) {
        const left = lent.lentWaiters.filter((op) => !ops.has(op));
        lent.lentWaiters.splice(0, Infinity, ...left);
      }
  }

  /** As far as is known. */
  isInMemory(offset: number, length: number): boolean {
    return this.#resident === undefined || this.#resident.has(offset, length);
  }

  /** `op` is over: what it copied or wrote is in memory now; of what changed by other means that is not known. */
  over({ kind, offset, length, error, lent }: Operation): void {
    if (this.#resident === undefined || length === 0 || kind === 'flush' || kind === 'barrier') return;
    if (kind === 'read') {
      if (error === undefined && !lent) this.#resident.add(offset, length);
    } else if (kind === 'write') this.#resident.add(offset, length);
    else this.#resident.remove(offset, length);
  }

  /** A socket could not read what it had. Nothing is lent until `resume`, and that nothing of these pages. */
  suspend(op: Operation): void {
    this.#suspended++;
    this.#resident?.remove(op.lentFrom, op.lentTo - op.lentFrom);
  }

  resume(): void {
    this.#suspended--;
  }

  /** Lends nothing more; true: nothing is lent. Else `drained` follows, soon. */
  drain(): boolean {
    if (!this.#draining) {
      this.#draining = true;
      const now = this.#clock.now();
      for (let lent = this.#first; lent !== undefined; lent = lent.lentAfter)
        if (lent.lentWaiters.length === 0) lent.awaitedSince = now;
      if (this.#count > 0) this.#watch();
    }
    return this.#count === 0;
  }

  /** The end: after `drain`. */
  close(): void {
    assert(this.#count === 0, 'the file is unmapped when nothing of it is lent');
    this.#closed = true;
    this.#overdue?.cancel();
    this.#look?.cancel();
    this.#overdue = this.#look = undefined;
    // An answer that is still to come keeps the pages; it unmaps.
    if (!this.#looking) this.#map.unmap();
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    let count = 0;
    let bytes = 0;
    const cells = new Uint16Array(CELLS);
    for (let lent = this.#first; lent !== undefined; lent = lent.lentAfter) {
      count++;
      bytes += lent.lentTo - lent.lentFrom;
      for (let at = Math.floor(lent.lentFrom / CELL); at * CELL < lent.lentTo; at++) cells[at % CELLS]!++;
      assert(lent.lent && lent.slabs.length === 0, 'what is lent is not copied as well');
      for (const waiter of lent.lentWaiters)
        assert(waiter.waitsLent > 0 && waiter.stage === 'lent', 'whoever waits for something lent says so');
    }
    assert(count === this.#count && bytes === this.#bytes, 'what is lent is counted');
    assert(
      cells.every((number, i) => number === this.#cells[i]),
      'what is lent is counted where it is',
    );
  }

  #tally(op: Operation, by: number): void {
    for (let at = Math.floor(op.lentFrom / CELL); at * CELL < op.lentTo; at++) this.#cells[at % CELLS]! += by;
  }

  /** False: certainly not. */
  #mayOverlap(op: Operation): boolean {
    const first = Math.floor(op.offset / CELL);
    const last = Math.floor((op.offset + op.length - 1) / CELL);
    if (last - first >= CELLS) return true;
    for (let at = first; at <= last; at++) if (this.#cells[at % CELLS]! > 0) return true;
    return false;
  }

  /** Somebody waits: who keeps him waiting too long is told. */
  #watch(): void {
    this.#overdue ??= this.#clock.timer(
      'waits for blocks that are on their way to a host',
      this.#limits.wait,
      () => {
        this.#overdue = undefined;
        this.#remind();
      },
    );
  }

  #remind(): void {
    const late = this.#clock.now() - this.#limits.wait;
    const borrowers = new Set<Borrower>();
    let awaited = false;
    for (let lent = this.#first; lent !== undefined; lent = lent.lentAfter) {
      if (lent.lentWaiters.length === 0 && !this.#draining) continue;
      awaited = true;
      if (lent.awaitedSince <= late && lent.borrower !== undefined) borrowers.add(lent.borrower);
    }
    // Whoever is told may give back from inside.
    for (const borrower of borrowers) borrower.overdue();
    if (awaited && this.#count > 0) this.#watch();
  }

  /** While there are reads, one stretch after the other is asked for. */
  #wantLook(): void {
    this.#wanted = true;
    if (this.#resident === undefined || this.#look !== undefined || this.#looking || this.#closed) return;
    this.#look = this.#clock.timer('looks what is in memory', LOOK, () => {
      this.#look = undefined;
      this.#ask(this.#resident!);
    });
  }

  #ask(resident: Resident): void {
    const offset = this.#wanted ? resident.next() : undefined;
    this.#wanted = false;
    if (offset === undefined) return;
    this.#looking = true;
    this.#map.resident(offset, resident.stretch, (pages) => {
      this.#looking = false;
      if (this.#closed) this.#map.unmap();
      else if (pages !== undefined) resident.learn(offset, pages);
    });
  }
}
