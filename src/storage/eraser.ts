/**
 * Write Zeroes and Deallocate (DISK.4), piece by piece, so that one over a whole disk can be stopped and never sits
 * in the kernel for long. What the file cannot do is remembered: then zeroes are written, and a deallocation, which
 * is advice, does nothing.
 */
import type { FileIo, IoError } from '../runtime/ports.ts';
import type { Operation } from './operation.ts';
import { REFUSED } from './refused.ts';

const MIB = 1024 * 1024;
/** Read by everybody, written by nobody. */
const ZEROES = new Uint8Array(MIB);
/** Bytes per call. */
const PIECE = { punch: 1024 * MIB, zero: 1024 * MIB, write: ZEROES.length };

export interface EraserUser {
  changed(op: Operation, error: IoError | undefined): void;
}

export class Eraser {
  readonly #file: FileIo;
  readonly #user: EraserUser;
  #canPunch: boolean;
  #canZero = true;

  constructor(file: FileIo, user: EraserUser) {
    this.#file = file;
    this.#user = user;
    this.#canPunch = file.canPunch;
  }

  /** Whether deallocated blocks are given up and read as zeroes (DLFEAT). */
  get canPunch(): boolean {
    return this.#canPunch;
  }

  /** Erases `op`'s bytes; `changed` follows, never from inside, except where there is nothing to do. */
  run(op: Operation): void {
    op.position = op.offset;
    op.stopping = false;
    this.#next(op);
  }

  #next(op: Operation): void {
    const left = op.offset + op.length - op.position;
    const method = this.#method(op);
    if (left === 0 || method === undefined || op.stopping) {
      this.#user.changed(op, left > 0 && op.stopping ? REFUSED.ECANCELED : undefined);
      return;
    }
    // It has been cut since it began.
    if (op.offset + op.length > this.#file.size) {
      this.#user.changed(op, REFUSED.ETRUNC);
      return;
    }
    const length = Math.min(left, PIECE[method]);
    const done = (error: IoError | undefined): void => this.#pieceDone(op, method, length, error);
    if (method === 'punch') this.#file.punch(op.position, length, done);
    else if (method === 'zero') this.#file.zero(op.position, length, done);
    else this.#file.write(op.position, [length === MIB ? ZEROES : ZEROES.subarray(0, length)], done);
  }

  #method(op: Operation): keyof typeof PIECE | undefined {
    if (this.#canPunch && (op.kind === 'deallocate' || op.deallocate)) return 'punch';
    if (op.kind === 'deallocate') return undefined;
    return this.#canZero ? 'zero' : 'write';
  }

  #pieceDone(op: Operation, method: keyof typeof PIECE, length: number, error: IoError | undefined): void {
    if (error?.code === 'ENOTSUP' && method !== 'write') {
      if (method === 'punch') this.#canPunch = false;
      else this.#canZero = false;
      this.#next(op);
    } else if (error) this.#user.changed(op, error);
    else {
      op.position += length;
      this.#next(op);
    }
  }
}
