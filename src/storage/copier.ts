/**
 * Copy, piece by piece: by the file itself where it can (which may share extents instead of moving bytes), else by
 * reading and writing with one buffer. Whoever comes here has all of its ranges (copy-ranges.ts).
 */
import type { FileIo, IoError } from '../runtime/ports.ts';
import { Operation, type Source } from './operation.ts';
import { REFUSED } from './refused.ts';
import type { Slabs } from './slabs.ts';

const MIB = 1024 * 1024;
/** Bytes per call: what the file copies, so that it can be stopped; and what goes through a buffer. */
const BY_FILE = 16 * MIB;
const BY_BUFFER = MIB / 4;

export interface CopierUser {
  changed(op: Operation, error: IoError | undefined): void;
}

const NOBODY = { operationDone: () => undefined };

export class Copier {
  readonly #file: FileIo;
  readonly #slabs: Slabs;
  readonly #user: CopierUser;
  #canCopy = true;

  constructor(file: FileIo, slabs: Slabs, user: CopierUser) {
    this.#file = file;
    this.#slabs = slabs;
    this.#user = user;
  }

  /** Copies `op.sources`, one after the other, to where `op` begins; `changed` follows, never from inside. */
  run(op: Operation): void {
    op.position = op.offset;
    op.copied = 0;
    op.stopping = false;
    this.#next(op, 0);
  }

  /** `done` bytes of the source that is being copied are there. */
  #next(op: Operation, done: number): void {
    let source = op.sources[op.copied];
    if (source !== undefined && done === source.length) {
      done = 0;
      source = op.sources[++op.copied];
    }
    if (source === undefined) this.#user.changed(op, undefined);
    else if (op.stopping) this.#user.changed(op, REFUSED.ECANCELED);
    // It has been cut since it began.
    else if (op.offset + op.length > this.#file.size) this.#user.changed(op, REFUSED.ETRUNC);
    else if (this.#canCopy) this.#byFile(op, source, done);
    else this.#byBuffer(op, source, done);
  }

  #byFile(op: Operation, source: Source, done: number): void {
    const length = Math.min(source.length - done, BY_FILE);
    this.#file.copy(source.offset + done, op.position, length, (error) => {
      if (error?.code === 'ENOTSUP') {
        this.#canCopy = false;
        this.#next(op, done);
      } else this.#pieceDone(op, done, length, error);
    });
  }

  /** The buffer is taken from the memory of reads, for this piece: who waits for some holds none. */
  #byBuffer(op: Operation, source: Source, done: number): void {
    const buffer = new Operation(NOBODY);
    buffer.sharer = op.sharer;
    buffer.length = Math.min(source.length - done, BY_BUFFER, this.#slabs.largest);
    const ready = (): void => {
      const { length } = buffer;
      const [part] = buffer.parts;
      const over = (error: IoError | undefined): void => {
        this.#slabs.giveBack(buffer);
        this.#pieceDone(op, done, length, error);
      };
      this.#file.read(source.offset + done, part!, (error, bytes) => {
        const cut = bytes < length || op.position + length > this.#file.size;
        if (error !== undefined || cut) over(error ?? REFUSED.ETRUNC);
        else this.#file.write(op.position, [part!], over);
      });
    };
    if (this.#slabs.take(buffer, { ready })) ready();
  }

  #pieceDone(op: Operation, done: number, length: number, error: IoError | undefined): void {
    if (error !== undefined) {
      this.#user.changed(op, error);
      return;
    }
    op.position += length;
    this.#next(op, done + length);
  }
}
