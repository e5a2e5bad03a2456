/**
 * A volume: whole blocks in one file, and the rules for everybody who uses them. An operation goes
 *
 *     submit → its range (ranges.ts) → memory, for a read (reader.ts) → the file → a sync, with FUA (flush.ts) → done
 *
 * or, a read whose blocks are in memory and may be lent as they are, from its range to the end at once (lending.ts),
 * and keeps its range until the end, so that what conflicts runs in the order of arrival, whoever asked and whether
 * or not he is still there (ORDER.1, GHOST.1). What must run later stands in `#ready` and is started by the one loop
 * in `#settle`, never from inside another operation's completion.
 */
import type { Env, FileIo, IoDone, IoError } from '../runtime/ports.ts';
import type { Operation } from './operation.ts';
import type { Slabs } from './slabs.ts';
import { Copier } from './copier.ts';
import { VolumeCounters } from './counters.ts';
import { Eraser } from './eraser.ts';
import { Fifo } from '../runtime/fifo.ts';
import { FlushEpochs } from './flush.ts';
import { REFUSED } from './refused.ts';
import { Ranges } from './ranges.ts';
import { Reader } from './reader.ts';
import { granted, isAwaited, leaveSources, takeRanges } from './copy-ranges.ts';
import { Lending, type LendingLimits } from './lending.ts';
import { assert } from '../runtime/assert.ts';
import { machine } from '../runtime/machine.ts';
import { sift } from './sift.ts';
import type { Turn } from './turn.ts';
import { WritePolicy } from './write-policy.ts';
import { Writer } from './writer.ts';

const STATES = {
  online: ['failed', 'closing'],
  /** A sync failed: reads go on, nothing else ever succeeds (DISK.2). */
  failed: ['closing'],
  /** Waits for the last operation, then for the file to close. */
  closing: ['closed'],
  closed: [],
} as const;

export interface VolumeOptions {
  /** Bytes: 512, 4096, … */
  readonly blockSize: number;
  readonly readOnly: boolean;
  /** Shared by all volumes. */
  readonly slabs: Slabs;
  /** Shared by all volumes; writes go together until it ends. */
  readonly turn?: Turn | undefined;
  /** Shared by all volumes. Undefined: its own, which knows nothing of the system. */
  readonly writes?: WritePolicy | undefined;
  /** Undefined: reads are copied, always. */
  readonly lending?: LendingLimits | undefined;
}

export class Volume {
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly state;
  readonly counters = new VolumeCounters();
  /** The volume turned failed (once). */
  onFailed: ((error: IoError) => void) | undefined = undefined;
  /** `refresh` found another size, in bytes; may be called from inside it. */
  onResize: ((size: number) => void) | undefined = undefined;

  readonly #file: FileIo;
  readonly #slabs: Slabs;
  readonly #ranges = new Ranges();
  readonly #flush: FlushEpochs;
  readonly #eraser: Eraser;
  readonly #copier: Copier;
  readonly #writer: Writer;
  readonly #lending: Lending | undefined;
  readonly #reader: Reader;
  readonly #ready = new Fifo<Operation>();
  #size = 0;
  #inFlight = 0;
  #failure: IoError | undefined = undefined;
  #settling = false;
  #closers: IoDone[] = [];
  #fileClosing = false;

  /** Takes over `file`, which is open; `close` closes it. */
  constructor(env: Pick<Env, 'clock' | 'trace'>, file: FileIo, options: VolumeOptions) {
    assert(options.readOnly || !file.readOnly, 'a volume that can be written needs a file that can');
    this.blockSize = options.blockSize;
    this.readOnly = options.readOnly;
    this.state = machine(env, `volume ${file.path}`, STATES, 'online');
    this.#file = file;
    this.#slabs = options.slabs;
    this.#flush = new FlushEpochs(file, this);
    this.#eraser = new Eraser(file, this);
    this.#copier = new Copier(file, options.slabs, this);
    this.#writer = new Writer(env.clock, file, options.writes ?? new WritePolicy(), options.turn, this);
    const map = options.lending && file.map();
    this.#lending = map && new Lending(env.clock, map, options.lending, this);
    this.#reader = new Reader(file, options.slabs, this.#lending, this);
    this.#size = this.#wholeBlocks();
  }

  /** Names the file, the same by whatever path it was opened. */
  get id(): string {
    return this.#file.id;
  }

  get path(): string {
    return this.#file.path;
  }

  /** What was in it, in memory, for another volume when this one is closed; undefined: its file is found by its path. */
  reopened(): FileIo | undefined {
    return this.#file.reopened?.();
  }

  /** Bytes in whole blocks. */
  get size(): number {
    return this.#size;
  }

  get blocks(): number {
    return this.#size / this.blockSize;
  }

  /** Whether deallocated blocks are given up and read as zeroes; false: deallocation does nothing (DLFEAT). */
  get canPunch(): boolean {
    return !this.readOnly && this.#eraser.canPunch;
  }

  /** Why the volume is failed, until it is opened anew. */
  get failure(): IoError | undefined {
    return this.#failure;
  }

  /** Operations submitted and not over, and those that still hold their range. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** What operations wait for, to be shown. */
  get waits(): { readonly range: number; readonly sync: number } {
    return { range: this.#ranges.waiting, sync: this.#flush.waiting.length };
  }

  /** Bytes of the file's own memory that sockets have. */
  get lent(): number {
    return this.#lending?.bytes ?? 0;
  }

  /**
   * Runs `op`; `op.owner.operationDone(op)` follows, perhaps from inside. `op.error` then has a code of the file (EIO,
   * ENOSPC, …) or: EFAILED, the volume is failed; EROFS; ETRUNC, the file ends before; ESHUTDOWN, the volume closes;
   * ECANCELED, stopped by `cancel` half-way.
   */
  submit(op: Operation): void {
    assert(op.stage === 'idle' || op.stage === 'held', 'an operation is submitted when the last one is over');
    assert(
      op.slabs.length === 0 && !op.lent,
      'what a read was lent is given back before the next submission',
    );
    op.error = undefined;
    op.failed = undefined;
    if (op.stage === 'held') {
      const inside = op.offset >= op.from && op.offset + op.length <= op.to && op.kind !== 'flush';
      assert(inside, 'an operation that holds a range stays inside it');
      this.#start(op);
      return;
    }
    this.#inFlight++;
    const state = this.state.now;
    if (state === 'closing' || state === 'closed') this.finish(op, REFUSED.ESHUTDOWN);
    else if (op.kind === 'flush') this.#start(op);
    else if (op.kind === 'copy') this.#submitCopy(op);
    // A read that nothing stands in the way of is often over before it could stand in anybody's way.
    else if (op.kind === 'read' && !op.hold && this.#ranges.isClear(op)) this.#start(op);
    else if (op.kind === 'write' && this.#writtenNow(op)) return;
    else if (this.#ranges.add(op)) this.#start(op);
  }

  /** A write that is alone is often over before anybody else could come: then it needs no range. */
  #writtenNow(op: Operation): boolean {
    if (op.hold || op.fua || this.#ranges.count > 0 || this.#lending?.mayHave(op) === true) return false;
    if (this.#refusal(op) !== undefined) return false;
    const error = this.#writer.now(op);
    if (error === 'later') return false;
    this.finish(op, error);
    return true;
  }

  #submitCopy(op: Operation): void {
    const isWhole = takeRanges(this.#ranges, op);
    this.#inFlight += op.guards.length;
    if (isWhole) this.#start(op);
    else op.stage = 'range';
  }

  /** Takes back what a read was lent. */
  giveBack(op: Operation): void {
    if (op.lent) this.#lending!.giveBack(op);
    else this.#slabs.giveBack(op);
  }

  /** A socket could not read what `op` was lent: the file was cut behind our back, or its disk fails. */
  lentFault(op: Operation): void {
    const lending = this.#lending!;
    lending.suspend(op);
    this.refresh(() => lending.resume());
  }

  /** Ends the hold of a held operation. */
  release(op: Operation): void {
    assert(op.stage === 'held', 'only what is held can be released');
    this.#leave(op);
    this.#settle();
  }

  /**
   * Drops an operation that was not handed to the file yet; true: it is idle again and `operationDone` is not called.
   * False: it goes on, and `operationDone` comes; a zero or deallocate that runs in pieces stops before the next one,
   * with ECANCELED.
   */
  cancel(op: Operation): boolean {
    return this.cancelAll([op]).length > 0;
  }

  /**
   * As `cancel`, for any number of this volume's operations at once: returns those that were dropped. None of them is
   * started in the meantime because another one went, and it costs no more than one look at all who wait.
   */
  cancelAll(ops: Iterable<Operation>): Operation[] {
    const waiting = new Set<Operation>();
    const flushes = new Set<Operation>();
    for (const op of ops) {
      if (op.stage === 'file') op.stopping = true;
      else if (op.stage === 'range' || op.stage === 'slab' || op.stage === 'lent' || op.stage === 'ready')
        waiting.add(op);
      else if (op.stage === 'sync' && op.kind === 'flush') flushes.add(op);
    }
    const dropped = [...waiting, ...this.#flush.forget(flushes)];
    for (const op of dropped) this.#leave(op);
    // One of them may have become ready because another one left.
    sift(this.#ready, (op) => op.stage === 'ready');
    this.#lending?.forget(waiting);
    // Only now, as the memory may be for somebody who starts at once.
    this.#slabs.forget(dropped);
    this.#settle();
    return dropped;
  }

  /** Looks at the file's size again; `onResize` follows when it has changed. */
  refresh(done: IoDone): void {
    this.#file.refresh((error) => {
      const before = this.#size;
      if (!error) this.#size = this.#wholeBlocks();
      if (this.#size !== before) this.onResize?.(this.#size);
      done(error);
    });
  }

  /**
   * Refuses new operations, waits for the last one, and for what is lent of the file's own memory; closes the file.
   * Copies may be given back later.
   */
  close(done: IoDone): void {
    if (this.state.is('closed')) {
      done(undefined);
      return;
    }
    this.#closers.push(done);
    if (!this.state.is('closing')) this.state.to('closing', 'close was asked for');
    this.#settle();
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    this.#ranges.invariants();
    this.#slabs.invariants();
    this.#lending?.invariants();
    const flushes = this.#flush.waiting.filter((op) => op.kind === 'flush').length;
    assert(
      this.#inFlight === this.#ranges.count + flushes,
      'whatever is in flight has a range or is a flush',
    );
    assert(
      this.#flush.waiting.every((op) => op.stage === 'sync'),
      'whoever waits for a sync says so',
    );
    assert(this.#settling || this.#ready.length === 0, 'whatever can run, runs');
    assert(!this.state.is('closed') || this.#inFlight === 0, 'nothing is in flight in a closed volume');
  }

  /** Slabs, Lending: the memory that `op` waited for is there, or nothing of what it changes is lent any more. */
  ready(op: Operation): void {
    op.stage = 'ready';
    this.#ready.push(op);
    this.#settle();
  }

  /** Lending. */
  drained(): void {
    this.#settle();
  }

  /** FlushEpochs. */
  syncFailed(error: IoError): void {
    this.#failure = error;
    if (this.state.is('online')) this.state.to('failed', `sync: ${error.message}`);
    this.onFailed?.(error);
  }

  /** Writer. */
  isInMemory(offset: number, length: number): boolean {
    return this.#lending?.isInMemory(offset, length) ?? false;
  }

  /** Reader: a read that has to wait needs a range after all. Nothing has come between `isClear` and here. */
  stay(op: Operation, stage: 'slab' | 'file'): void {
    op.stage = stage;
    if (op.places.length === 0)
      assert(this.#ranges.add(op), 'nothing was in the way of this read a moment ago');
  }

  /** Writer, Copier, Eraser: the file has done what was asked of it, or not. */
  changed(op: Operation, error: IoError | undefined): void {
    if (error || !op.fua || op.kind === 'deallocate') this.finish(op, error);
    else this.#sync(op);
  }

  /** Reader, FlushEpochs, and whoever else: `op` is over. */
  finish(op: Operation, error: IoError | undefined): void {
    // Whatever the file said of it: after a lost sync nothing that was written meanwhile can be vouched for.
    if (!error && this.#failure && op.kind !== 'read') error = REFUSED.EFAILED;
    op.error = error;
    if (error && op.kind === 'read') this.#slabs.giveBack(op);
    this.counters.count(op);
    this.#lending?.over(op);
    if (op.hold && !error && op.kind !== 'flush') op.stage = 'held';
    else this.#leave(op);
    op.owner.operationDone(op);
    this.#settle();
  }

  #start(op: Operation): void {
    const refusal = this.#refusal(op);
    if (refusal) this.finish(op, refusal);
    else if (op.kind === 'read') this.#reader.read(op);
    else if (this.readOnly && (op.kind === 'flush' || op.kind === 'barrier')) this.finish(op, undefined);
    else if (op.kind === 'flush' || op.kind === 'barrier') this.#sync(op);
    else if (this.#lending?.isInTheWay(op) === true) op.stage = 'lent';
    else {
      op.stage = 'file';
      if (op.kind === 'write') this.#writer.write(op);
      else if (op.kind === 'copy') this.#copier.run(op);
      else this.#eraser.run(op);
    }
  }

  /** Looked at when the operation starts: the volume may have failed or shrunk while it waited. */
  #refusal(op: Operation): IoError | undefined {
    if (op.kind === 'flush' || op.kind === 'barrier') return undefined;
    if (op.kind !== 'read' && this.readOnly) return REFUSED.EROFS;
    if (op.kind !== 'read' && this.#failure) return REFUSED.EFAILED;
    let past = op.offset + op.length > this.#size;
    for (const { to } of op.guards) past ||= to > this.#size;
    return past ? REFUSED.ETRUNC : undefined;
  }

  #sync(op: Operation): void {
    op.stage = 'sync';
    this.#flush.join(op);
  }

  /** `op` is over: its range goes, and those who waited for it become ready. */
  #leave(op: Operation): void {
    op.stage = 'idle';
    this.#inFlight--;
    if (op.places.length > 0) this.#ranges.remove(op, this.#ready);
    if (op.guards.length === 0) return;
    this.#inFlight -= op.guards.length;
    leaveSources(this.#ranges, op, this.#ready);
  }

  /** Starts what is ready; closes the file behind the last operation, and the last slice. */
  #settle(): void {
    if (this.#settling) return;
    this.#settling = true;
    for (let op = this.#ready.shift(); op; op = this.#ready.shift()) {
      const whole = isAwaited(op) ? granted(op) : op;
      if (whole !== undefined) this.#start(whole);
    }
    this.#settling = false;

    if (this.#inFlight > 0 || this.state.now !== 'closing' || this.#fileClosing) return;
    if (this.#lending?.drain() === false) return;
    this.#fileClosing = true;
    this.#lending?.close();
    this.#file.close((error) => {
      this.state.to('closed', 'the file is closed');
      for (const done of this.#closers.splice(0)) done(error);
    });
  }

  #wholeBlocks(): number {
    return this.#file.size - (this.#file.size % this.blockSize);
  }
}
