/**
 * One operation on a volume, from submission to completion. A command slot owns one and uses it again and again, so
 * the steady state allocates nothing. Storage lends: the slices of a finished read belong to the volume, and go back
 * to it by `volume.giveBack(op)` once the socket has taken them.
 */
import type { IoError } from '../runtime/ports.ts';
import type { Borrower } from './lending.ts';
import type { Place } from './ranges.ts';
import type { SlabSharer } from './slabs.ts';

/** `barrier`: waits for the changes of its bytes that are under way, holds off others, and is over after a sync. */
export type OperationKind = 'read' | 'write' | 'zero' | 'deallocate' | 'copy' | 'flush' | 'barrier';

/** Bytes to be copied. */
export interface Source {
  readonly offset: number;
  readonly length: number;
}

export interface OperationOwner {
  /** The operation is over; `op.error` says how. Called exactly once per submission, perhaps inside `submit`. */
  operationDone(op: Operation): void;
}

/**
 * Where an operation stands, and who wakes it:
 * - `idle`: with its owner
 * - `range`: waits for earlier operations that conflict; the last of them to end wakes it
 * - `slab`: a read waits for memory; whoever gives some back wakes it
 * - `lent`: has its range, and waits until no socket has a slice of it; the last that is given back wakes it
 * - `ready`: woken; the volume starts it in this same event
 * - `file`: handed to the file; its completion wakes it
 * - `sync`: a flush, or a written FUA write, waits for a sync of the file
 * - `held`: over for its owner, who still keeps its range (`hold`), until he submits it again or releases it
 */
export type OperationStage = 'idle' | 'range' | 'slab' | 'lent' | 'ready' | 'file' | 'sync' | 'held';

/** Somebody who is told that the memory which a read waited for is there. */
export interface SlabUser {
  ready(op: Operation): void;
}

export class Operation {
  /**
   * May be replaced while the operation runs: an owner that goes away leaves somebody here who gives back what a read
   * was lent. The operation keeps its range until the file is done with it, whoever owns it.
   */
  owner: OperationOwner;
  kind: OperationKind = 'read';
  /** Bytes; multiples of the block size. Not to be changed while the operation is not idle. */
  offset = 0;
  length = 0;
  /** Write: the payload, in order, owned by the submitter until `operationDone`. Read: what storage lends. */
  readonly parts: Uint8Array[] = [];
  /** Write, zero, copy: complete only when the data is on stable storage (FUA). */
  fua = false;
  /** Zero: the space may be given up (DEAC). */
  deallocate = false;
  /**
   * Copy: what is put, one after the other, to where `offset` is; in all as long as `length`. Sources may overlap each
   * other, but not where they go.
   */
  sources: readonly Source[] = [];
  /**
   * Keep the range, against readers too, after success: the next submission of this operation (inside the same
   * bytes) runs under it, before everybody who waits; or `volume.release(op)` ends it. This is what makes a fused
   * Compare and Write atomic. An operation that fails holds nothing.
   */
  hold = false;
  /**
   * Read: on whose account the memory is lent, so that nobody takes it all; not to be changed while he holds some.
   * Undefined: on nobody's, and the whole budget is open to it.
   */
  sharer: SlabSharer | undefined = undefined;
  /**
   * Read: it may be answered with the file's own memory, which nobody but a socket may look at: `borrower` has it, until
   * `giveBack`.
   */
  mayBeLent = false;
  borrower: Borrower | undefined = undefined;
  error: IoError | undefined = undefined;

  // What follows is storage's own.

  stage: OperationStage = 'idle';

  /** ranges.ts: what it covers in bytes, whether it conflicts with readers, and its number in the order of arrival. */
  from = 0;
  to = 0;
  modifies = false;
  arrival = 0;
  /** Where it stands in line, and in how many of these places it waits. Without places it has no range. */
  readonly places: Place[] = [];
  waitsIn = 0;

  /** slabs.ts: the memory behind `parts` of a read; whom to tell when it is there, while it waits for it. */
  readonly slabs: Uint8Array[] = [];
  slabUser: SlabUser | undefined = undefined;

  /** lending.ts: `parts` are the file's own memory, which bytes of it, and its neighbours in the ledger. */
  lent = false;
  lentFrom = 0;
  lentTo = 0;
  lentBefore: Operation | undefined = undefined;
  lentAfter: Operation | undefined = undefined;
  /** lending.ts: who waits for it to be given back, since when; for how many of them it waits itself. */
  readonly lentWaiters: Operation[] = [];
  awaitedSince = 0;
  waitsLent = 0;

  /** reader.ts: calls to the file that are not answered, and the first thing that went wrong. */
  pending = 0;
  failed: IoError | undefined = undefined;

  /** copy-ranges.ts: the ranges of its sources, and how many of all its ranges it still waits for. */
  readonly guards: Operation[] = [];
  ungranted = 0;
  /** copy-ranges.ts: it is nothing but a range of this copy. */
  guardOf: Operation | undefined = undefined;

  /** copier.ts: sources that are copied as a whole. */
  copied = 0;

  /** eraser.ts, copier.ts: the next byte to erase or to write, and whether to stop before it. */
  position = 0;
  stopping = false;

  constructor(owner: OperationOwner) {
    this.owner = owner;
  }
}
