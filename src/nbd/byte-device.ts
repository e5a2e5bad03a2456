/**
 * A disk that takes any offset and length, over one that takes whole blocks: programs that write files through FUSE
 * ask for odd ones. Whole blocks pass through. The blocks at the edges of anything else are read, changed and written
 * back; meanwhile nothing else changes the disk through here, or what it wrote beside them would be lost.
 */
import { Fifo } from '../runtime/fifo.ts';
import { assert } from '../runtime/assert.ts';
import type { BlockDevice, Cancel, Done, Extent, Problem } from './device.ts';
import { Errno } from './protocol.ts';

/** One step of a change that is made of several. */
type Step = (done: Done) => Cancel;

const CANCELLED: Problem = { errno: Errno.EIO, message: 'the client has gone' };
const NOTHING: Cancel = () => undefined;

/** A change in line: `start` takes its turn. */
interface Waiting {
  readonly alone: boolean;
  readonly start: () => void;
}

export class ByteDevice implements BlockDevice {
  readonly device: BlockDevice;
  /** Changes under way, and whether the one that there is wants to be alone. */
  #changing = 0;
  #alone = false;
  readonly #line = new Fifo<Waiting>();

  constructor(device: BlockDevice) {
    this.device = device;
  }

  get size(): number {
    return this.device.size;
  }
  get blockSize(): number {
    return this.device.blockSize;
  }
  get readOnly(): boolean {
    return this.device.readOnly;
  }
  open(): () => void {
    return this.device.open?.() ?? NOTHING;
  }
  /** Changes that are under way or wait. */
  get busy(): number {
    return this.#changing + this.#line.length;
  }

  #aligned(offset: number, length: number): boolean {
    const { blockSize } = this.device;
    return offset % blockSize === 0 && length % blockSize === 0;
  }
  #down(offset: number): number {
    return offset - (offset % this.device.blockSize);
  }
  #up(offset: number): number {
    return this.#down(offset + this.device.blockSize - 1);
  }

  read(offset: number, into: readonly Uint8Array[], done: Done): Cancel {
    const length = lengthOf(into);
    if (this.#aligned(offset, length)) return this.device.read(offset, into, done);
    const start = this.#down(offset);
    const end = offset + length;
    const parts = [new Uint8Array(offset - start), ...into, new Uint8Array(this.#up(end) - end)];
    return this.device.read(
      start,
      parts.filter((part) => part.length > 0),
      done,
    );
  }

  write(offset: number, parts: readonly Uint8Array[], fua: boolean, done: Done): Cancel {
    if (this.#aligned(offset, lengthOf(parts)))
      return this.#change(false, (over) => this.device.write(offset, parts, fua, over), done);
    return this.#change(true, inTurn(this.#patch(offset, parts, fua)), done);
  }

  /** Waits for nobody: what is under way is not covered anyway. */
  flush(done: Done): Cancel {
    return this.device.flush(done);
  }

  /** The whole blocks of the range: it is a hint. */
  trim(offset: number, length: number, fua: boolean, done: Done): Cancel {
    const start = this.#up(offset);
    const end = this.#down(offset + length);
    if (end <= start) {
      done(undefined);
      return NOTHING;
    }
    return this.#change(false, (over) => this.device.trim(start, end - start, fua, over), done);
  }

  zero(offset: number, length: number, keep: boolean, fua: boolean, done: Done): Cancel {
    if (this.#aligned(offset, length))
      return this.#change(false, (over) => this.device.zero(offset, length, keep, fua, over), done);
    const end = offset + length;
    const start = this.#up(offset);
    const stop = this.#down(end);
    if (stop <= start) return this.write(offset, [new Uint8Array(length)], fua, done);
    const steps: Step[] = [];
    if (offset < start) steps.push(...this.#patch(offset, [new Uint8Array(start - offset)], fua));
    steps.push((over) => this.device.zero(start, stop - start, keep, fua, over));
    if (stop < end) steps.push(...this.#patch(stop, [new Uint8Array(end - stop)], fua));
    return this.#change(true, inTurn(steps), done);
  }

  /** Without a source of its own, everything is in use. */
  status(
    offset: number,
    length: number,
    done: (problem: Problem | undefined, extents: readonly Extent[]) => void,
  ): Cancel {
    if (this.device.status === undefined) {
      done(undefined, [{ length, hole: false, zero: false }]);
      return NOTHING;
    }
    const start = this.#down(offset);
    const end = offset + length;
    return this.device.status(start, this.#up(end) - start, (problem, extents) => {
      done(problem, within(extents, offset - start, length));
    });
  }

  /** Whether `status` can say more than that. */
  get knowsStatus(): boolean {
    return this.device.status !== undefined;
  }

  /** Steps that write bytes which do not fill their first or last block. */
  #patch(offset: number, parts: readonly Uint8Array[], fua: boolean): Step[] {
    const { blockSize } = this.device;
    const end = offset + lengthOf(parts);
    const first = this.#down(offset);
    const last = this.#down(end);
    const head = new Uint8Array(blockSize);
    const tail = last === first ? head : new Uint8Array(blockSize);
    const steps: Step[] = [];
    if (offset > first || last === first) steps.push((over) => this.device.read(first, [head], over));
    if (end > last && last !== first) steps.push((over) => this.device.read(last, [tail], over));
    steps.push((over) => {
      const after = end > last ? tail.subarray(end - last) : new Uint8Array(0);
      const all = [head.subarray(0, offset - first), ...parts, after].filter((part) => part.length > 0);
      return this.device.write(first, all, fua, over);
    });
    return steps;
  }

  /** Carries a change out when its turn comes: in the order of asking, and by itself if it wants to be alone. */
  #change(alone: boolean, run: Step, done: Done): Cancel {
    let cancel: Cancel = NOTHING;
    const start = (): void => {
      this.#changing++;
      this.#alone = alone;
      cancel = run((problem) => {
        this.#changing--;
        this.#alone = false;
        done(problem);
        this.#next();
      });
    };
    if (this.#line.length === 0 && this.#free(alone)) {
      start();
      return cancel;
    }
    const waiting: Waiting = { alone, start };
    this.#line.push(waiting);
    return () => {
      if (!this.#line.remove(waiting)) {
        cancel();
        return;
      }
      done(CANCELLED);
      this.#next();
    };
  }

  #free(alone: boolean): boolean {
    return !this.#alone && (!alone || this.#changing === 0);
  }

  #next(): void {
    for (let first = this.#line.peek(); first && this.#free(first.alone); first = this.#line.peek()) {
      this.#line.shift();
      first.start();
    }
  }

  /** For tests, after an event. */
  invariants(): void {
    assert(!this.#alone || this.#changing === 1, 'a change that is alone has company');
    assert(this.#line.length === 0 || this.#changing > 0, 'changes wait for nobody');
  }
}

/** The steps as one: the first that fails ends it. */
function inTurn(steps: readonly Step[]): Step {
  return (done) => {
    let cancelled = false;
    let cancel: Cancel = NOTHING;
    const next = (at: number): void => {
      const step = steps[at];
      if (step === undefined) {
        done(undefined);
        return;
      }
      cancel = step((problem) => {
        if (problem !== undefined) done(problem);
        else if (cancelled && at + 1 < steps.length) done(CANCELLED);
        else next(at + 1);
      });
    };
    next(0);
    return () => {
      cancelled = true;
      cancel();
    };
  };
}

/** The part of the extents from `skip` on, `length` bytes at most. */
function within(extents: readonly Extent[], skip: number, length: number): Extent[] {
  const found: Extent[] = [];
  let before = skip;
  let left = length;
  for (const extent of extents) {
    const rest = Math.min(extent.length - before, left);
    before = Math.max(0, before - extent.length);
    if (rest <= 0) continue;
    found.push({ ...extent, length: rest });
    left -= rest;
  }
  return found;
}

export function lengthOf(parts: readonly Uint8Array[]): number {
  let length = 0;
  for (const part of parts) length += part.length;
  return length;
}
