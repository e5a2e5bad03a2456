import type { FileIo, FileMap, IoDone, IoError } from '../../src/runtime/ports.ts';
import { SparseBytes } from '../../src/runtime/memory/sparse.ts';
import { assert } from '../../src/runtime/assert.ts';

export type Call = 'resident' | 'read' | 'write' | 'sync' | 'punch' | 'zero' | 'copy' | 'refresh' | 'close';

interface Pending {
  readonly call: Call;
  /** Does it, and tells the caller. */
  readonly finish: () => void;
}

/** Bytes that were written and not synced yet; without bytes, a hole. */
interface Change {
  readonly offset: number;
  readonly length: number;
  readonly bytes: Uint8Array | undefined;
}

function apply(to: SparseBytes, change: Change): void {
  if (change.bytes) to.write(change.offset, change.bytes);
  else to.punch(change.offset, change.length);
}

/**
 * A disk that can go wrong (DISK.6). Calls are answered when the test says so (`step`), in whatever order it likes; a
 * change happens at that moment. What was not synced is lost by `crash`.
 */
export class FaultyFile implements FileIo {
  /** Whether it can be mapped, in pages of 512 bytes; whether windows are left; which pages `resident` finds. */
  mappable = false;
  /** As on tmpfs. */
  diskless = false;
  /** Whether a write may be done at once. */
  atOnce = false;
  windows = true;
  inMemory: (page: number) => boolean = () => true;
  readonly id = 'faulty';
  readonly path = 'faulty';
  readonly readOnly = false;
  canPunch = true;
  size: number;
  /** Whether `readNow` finds everything in memory. */
  resident = false;
  /** Calls in the order they came (`write 0+512`) and ended (`write 0+512 ok`, `sync EIO`). */
  readonly log: string[] = [];
  readonly pending: Pending[] = [];
  /** What everybody sees, and what a crash leaves. */
  readonly seen: SparseBytes;
  readonly stable: SparseBytes;
  #unsynced: Change[] = [];
  readonly #failures = new Map<Call, IoError[]>();
  #shortBy = 0;

  constructor(size: number) {
    this.size = size;
    this.seen = new SparseBytes(size);
    this.stable = new SparseBytes(size);
  }

  /** The next calls of this kind fail, one for each code. */
  fail(call: Call, ...codes: readonly string[]): void {
    const errors = codes.map((code) => ({ code, message: `${call}: ${code}, injected` }));
    this.#failures.set(call, [...(this.#failures.get(call) ?? []), ...errors]);
  }

  /** The next read ends `bytes` short of what was asked for. */
  shorten(bytes: number): void {
    this.#shortBy = bytes;
  }

  /** Somebody cuts the file behind our back; `size` shows it after `refresh` only. */
  truncate(size: number): void {
    this.seen.resize(size);
  }

  /** Answers the pending call at `index`; false: there is none. */
  step(index = 0): boolean {
    const [pending] = this.pending.splice(index, 1);
    pending?.finish();
    return pending !== undefined;
  }

  /** Answers everything, oldest first, and what comes of it. */
  run(): void {
    while (this.step());
  }

  /** The machine loses power: nothing is answered any more, and what was not synced is gone. */
  crash(): void {
    this.pending.length = 0;
    this.#unsynced = [];
  }

  readNow(offset: number, into: Uint8Array): number {
    return this.resident ? this.seen.read(offset, into) : -1;
  }

  read(offset: number, into: Uint8Array, done: (error: IoError | undefined, bytes: number) => void): void {
    this.#later('read', `read ${offset}+${into.length}`, (error) => {
      const short = this.#shortBy;
      this.#shortBy = 0;
      const bytes = error ? 0 : this.seen.read(offset, short > 0 ? into.subarray(0, -short) : into);
      done(error, bytes);
    });
  }

  writeNow(offset: number, parts: readonly Uint8Array[]): IoError | 'later' | undefined {
    if (!this.atOnce) return 'later';
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const error = this.#failures.get('write')?.shift();
    this.log.push(`write now ${offset}+${length} ${error?.code ?? 'ok'}`);
    let at = offset;
    for (const part of error ? [] : parts) {
      this.#change({ offset: at, length: part.length, bytes: part.slice() });
      at += part.length;
    }
    return error;
  }

  write(offset: number, parts: readonly Uint8Array[], done: IoDone): void {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    assert(offset + length <= this.size, 'a write never makes the file longer');
    this.#later('write', `write ${offset}+${length}`, (error) => {
      let at = offset;
      // Looked at now, not when it was asked for: whoever changes the bytes too early is found out.
      for (const part of error ? [] : parts) {
        this.#change({ offset: at, length: part.length, bytes: part.slice() });
        at += part.length;
      }
      done(error);
    });
  }

  sync(done: IoDone): void {
    const covered = this.#unsynced.length;
    this.#later('sync', 'sync', (error) => {
      const changes = this.#unsynced.splice(0, covered);
      // A failed sync loses them for good: the kernel drops the pages and calls them clean.
      if (!error) for (const change of changes) apply(this.stable, change);
      done(error);
    });
  }

  punch(offset: number, length: number, done: IoDone): void {
    this.#erase('punch', offset, length, done);
  }

  zero(offset: number, length: number, done: IoDone): void {
    this.#erase('zero', offset, length, done);
  }

  copy(from: number, to: number, length: number, done: IoDone): void {
    this.#later('copy', `copy ${from}+${length} to ${to}`, (error) => {
      const bytes = new Uint8Array(length);
      this.seen.read(from, bytes);
      if (!error) this.#change({ offset: to, length, bytes });
      done(error);
    });
  }

  map(): FileMap | undefined {
    if (!this.mappable) return undefined;
    return {
      pinned: false,
      pageSize: 512,
      slice: (offset, length, parts) => this.windows && this.seen.slice(offset, length, parts),
      resident: (offset, length, done) => {
        this.#later('resident', `resident ${offset}+${length}`, (error) => {
          const count = Math.min(length, this.seen.size - offset) / 512;
          done(
            error
              ? undefined
              : Uint8Array.from({ length: count }, (_, i) => (this.inMemory(offset / 512 + i) ? 1 : 0)),
          );
        });
      },
      unmap: () => this.log.push('unmap'),
    };
  }

  refresh(done: IoDone): void {
    this.#later('refresh', 'refresh', (error) => {
      this.size = this.seen.size;
      done(error);
    });
  }

  close(done: IoDone): void {
    this.#later('close', 'close', done);
  }

  #erase(call: 'punch' | 'zero', offset: number, length: number, done: IoDone): void {
    this.#later(call, `${call} ${offset}+${length}`, (error) => {
      if (!error) this.#change({ offset, length, bytes: undefined });
      done(error);
    });
  }

  #change(change: Change): void {
    apply(this.seen, change);
    this.#unsynced.push(change);
  }

  #later(call: Call, text: string, finish: (error: IoError | undefined) => void): void {
    this.log.push(text);
    const done = (): void => {
      const error = this.#failures.get(call)?.shift();
      this.log.push(`${text} ${error?.code ?? 'ok'}`);
      finish(error);
    };
    this.pending.push({ call, finish: done });
  }
}
