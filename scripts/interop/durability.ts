/**
 * Watches whether our target keeps its word: when a write with FUA is answered, its data has been synced, and when a
 * Flush is answered, everything that was answered before it came. Sees the files from inside and the answers on the wire.
 */
import { IoOpcode } from '../../src/nvme/opcode.ts';
import type { FileIo, FileSystem, IoDone, IoError, OpenOptions } from '../../src/runtime/ports.ts';
import type { IoCommand, Listener } from './traffic.ts';

/** Bytes that were written and not synced. */
interface Dirty {
  readonly from: number;
  readonly to: number;
  /** When the write was done. */
  readonly at: number;
}

export class Durability implements Listener {
  /** Broken words, for people. */
  readonly violations: string[] = [];
  /** Writes with FUA, and Flushes, that were answered with success. */
  checked = { fua: 0, flush: 0 };
  syncs = 0;
  readonly #blockSize: number;
  #dirty: Dirty[] = [];
  #time = 0;

  constructor(blockSize: number) {
    this.#blockSize = blockSize;
  }

  files(real: FileSystem): FileSystem {
    return {
      open: (
        path: string,
        options: OpenOptions,
        done: (error: IoError | undefined, file?: FileIo) => void,
      ) => {
        real.open(path, options, (error, file) => done(error, file && this.#watch(file)));
      },
      memory: (size) => real.memory(size),
    };
  }

  /** The same file, but for three calls that are seen. */
  #watch(file: FileIo): FileIo {
    const written = (offset: number, parts: readonly Uint8Array[]): void => {
      const length = parts.reduce((sum, part) => sum + part.length, 0);
      this.#dirty.push({ from: offset, to: offset + length, at: ++this.#time });
    };
    const seen = {
      writeNow: (offset: number, parts: readonly Uint8Array[]): ReturnType<FileIo['writeNow']> => {
        const result = file.writeNow(offset, parts);
        if (result !== 'later') written(offset, parts);
        return result;
      },
      write: (offset: number, parts: readonly Uint8Array[], done: IoDone): void => {
        file.write(offset, parts, (error) => {
          written(offset, parts);
          done(error);
        });
      },
      sync: (done: IoDone): void => {
        const until = ++this.#time;
        file.sync((error) => {
          this.syncs++;
          if (error === undefined) this.#dirty = this.#dirty.filter(({ at }) => at > until);
          done(error);
        });
      },
    };
    return new Proxy(file, {
      get: (target, name) => {
        if (name === 'write' || name === 'writeNow' || name === 'sync') return seen[name];
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }

  command(): number {
    return ++this.#time;
  }

  response({ opcode, slba, blocks, fua, note }: IoCommand, status: number): void {
    if (status !== 0) return;
    if (opcode === IoOpcode.Write && fua) {
      this.checked.fua++;
      const from = slba * this.#blockSize;
      const to = from + blocks * this.#blockSize;
      if (this.#dirty.some((range) => range.from < to && range.to > from))
        this.#broken(
          `a write with FUA (${blocks} blocks at ${slba}) was answered before its data was synced`,
        );
    }
    if (opcode === IoOpcode.Flush) {
      this.checked.flush++;
      if (this.#dirty.some(({ at }) => at < note))
        this.#broken('a Flush was answered before what had been written was synced');
    }
  }

  #broken(what: string): void {
    if (this.violations.length < 10) this.violations.push(what);
  }
}
