import type { Clock, FileIo, FileMap, IoDone, IoError } from '../ports.ts';
import { SparseBytes } from './sparse.ts';
import { assert } from '../assert.ts';

export interface MemoryFileOptions {
  readonly id?: string | undefined;
  readonly path?: string | undefined;
  readonly readOnly?: boolean | undefined;
  /** Called when the file is closed. */
  readonly closed?: (() => void) | undefined;
}

/**
 * A file in memory: takes no more than what was written to it. Everything is done when it is called; completions come
 * later, through the clock, as a file's must.
 */
export class MemoryFile implements FileIo {
  readonly id: string;
  readonly path: string;
  readonly readOnly: boolean;
  readonly diskless = true;
  readonly canPunch = true;
  readonly bytes: SparseBytes;
  size: number;
  readonly #clock: Pick<Clock, 'defer'>;
  readonly #closed: (() => void) | undefined;
  #open = true;

  /** `bytes`: their number, or content that is shared with others. */
  constructor(clock: Pick<Clock, 'defer'>, bytes: number | SparseBytes, options: MemoryFileOptions = {}) {
    this.#clock = clock;
    this.bytes = typeof bytes === 'number' ? new SparseBytes(bytes) : bytes;
    this.size = this.bytes.size;
    this.id = options.id ?? 'memory';
    this.path = options.path ?? this.id;
    this.readOnly = options.readOnly ?? false;
    this.#closed = options.closed;
  }

  readNow(offset: number, into: Uint8Array): number {
    assert(this.#open, 'the file is open');
    return this.bytes.read(offset, into);
  }

  read(offset: number, into: Uint8Array, done: (error: IoError | undefined, bytes: number) => void): void {
    const bytes = this.readNow(offset, into);
    this.#clock.defer(() => done(undefined, bytes));
  }

  writeNow(offset: number, parts: readonly Uint8Array[]): IoError | undefined {
    return this.#try(() => this.#put(offset, parts));
  }

  write(offset: number, parts: readonly Uint8Array[], done: IoDone): void {
    this.#change(() => this.#put(offset, parts), done);
  }

  #put(offset: number, parts: readonly Uint8Array[]): void {
    let at = offset;
    for (const part of parts) {
      this.bytes.write(at, part);
      at += part.length;
    }
  }

  sync(done: IoDone): void {
    this.#change(() => undefined, done);
  }

  punch(offset: number, length: number, done: IoDone): void {
    this.#change(() => this.bytes.punch(offset, length), done);
  }

  zero(offset: number, length: number, done: IoDone): void {
    this.punch(offset, length, done);
  }

  copy(from: number, to: number, length: number, done: IoDone): void {
    this.#change(() => this.bytes.copy(from, to, length), done);
  }

  map(): FileMap {
    return {
      pinned: true,
      pageSize: 4096,
      slice: (offset, length, parts) => this.bytes.slice(offset, length, parts),
      resident: (_offset, _length, done) => this.#clock.defer(() => done(undefined)),
      unmap: () => undefined,
    };
  }

  refresh(done: IoDone): void {
    this.size = this.bytes.size;
    this.#clock.defer(() => done(undefined));
  }

  close(done: IoDone): void {
    assert(this.#open, 'a file is closed once');
    this.#open = false;
    this.#closed?.();
    this.#clock.defer(() => done(undefined));
  }

  reopened(): MemoryFile {
    assert(!this.#open, 'a file is opened again when it is closed');
    const { id, path, readOnly } = this;
    return new MemoryFile(this.#clock, this.bytes, { id, path, readOnly, closed: this.#closed });
  }

  #change(change: () => void, done: IoDone): void {
    const error = this.#try(change);
    this.#clock.defer(() => done(error));
  }

  #try(change: () => void): IoError | undefined {
    assert(this.#open && !this.readOnly, 'the file is open for writing');
    try {
      change();
      return undefined;
    } catch (thrown) {
      // The one thing that can go wrong in memory is that there is none.
      if (!(thrown instanceof RangeError)) throw thrown;
      return { code: 'ENOSPC', message: `out of memory: ${thrown.message}` };
    }
  }
}
