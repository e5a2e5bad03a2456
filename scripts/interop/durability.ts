/**
 * Watches whether our target keeps its word: when a Write, Write Zeroes or Copy with FUA is answered, what it wrote has
 * been synced; when a Read, Compare or Verify with FUA is, what it looked at; and when a Flush is, everything that was
 * written before it came. Sees the files from inside and the answers on the wire.
 */
import { IoOpcode } from '../../src/nvme/opcode.ts';
import type { FileIo, FileSystem, IoDone, IoError, OpenOptions } from '../../src/runtime/ports.ts';
import type { IoCommand, Listener } from './traffic.ts';

/** What is answered with FUA only when it is synced. */
const WRITES = new Map<number, string>([
  [IoOpcode.Write, 'Write'],
  [IoOpcode.WriteZeroes, 'Write Zeroes'],
  [IoOpcode.Copy, 'Copy'],
]);
/** What looks, with FUA, at nothing that is not. */
const READS = new Map<number, string>([
  [IoOpcode.Read, 'Read'],
  [IoOpcode.Compare, 'Compare'],
  [IoOpcode.Verify, 'Verify'],
]);

/** Bytes that were written, zeroed, punched or copied to, and not synced. */
interface Dirty {
  readonly from: number;
  readonly to: number;
  /** When the write was done. */
  readonly at: number;
}

export class Durability implements Listener {
  /** Broken words, for people. */
  readonly violations: string[] = [];
  /** By opcode: commands with FUA, and Flushes, that were answered with success. */
  readonly checked = new Map<number, number>();
  syncs = 0;
  readonly #blockSize: number;
  readonly #pathOf: (nsid: number) => string;
  /** By the path of the file. */
  readonly #dirty = new Map<string, readonly Dirty[]>();
  #time = 0;

  /** `pathOf`: the file behind a namespace. */
  constructor(blockSize: number, pathOf: (nsid: number) => string) {
    this.#blockSize = blockSize;
    this.#pathOf = pathOf;
  }

  files(real: FileSystem): FileSystem {
    return {
      open: (
        path: string,
        options: OpenOptions,
        done: (error: IoError | undefined, file?: FileIo) => void,
      ) => {
        real.open(path, options, (error, file) => done(error, file && this.#watch(path, file)));
      },
      memory: (size) => real.memory(size),
    };
  }

  /** The same file, but for the calls that change something, which are seen. */
  #watch(path: string, file: FileIo): FileIo {
    const dirty = (): readonly Dirty[] => this.#dirty.get(path) ?? [];
    const changed = (offset: number, length: number): void => {
      this.#dirty.set(path, [...dirty(), { from: offset, to: offset + length, at: ++this.#time }]);
    };
    const written = (offset: number, parts: readonly Uint8Array[]): void =>
      changed(
        offset,
        parts.reduce((sum, part) => sum + part.length, 0),
      );
    const erasing =
      (how: 'punch' | 'zero') =>
      (offset: number, length: number, done: IoDone): void => {
        file[how](offset, length, (error) => {
          // Where it cannot be done nothing was, and zeroes are written instead.
          if (error?.code !== 'ENOTSUP') changed(offset, length);
          done(error);
        });
      };
    const seen = new Map<PropertyKey, unknown>(
      Object.entries({
        punch: erasing('punch'),
        zero: erasing('zero'),
        copy: (from: number, to: number, length: number, done: IoDone): void => {
          file.copy(from, to, length, (error) => {
            if (error?.code !== 'ENOTSUP') changed(to, length);
            done(error);
          });
        },
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
            if (error === undefined)
              this.#dirty.set(
                path,
                dirty().filter(({ at }) => at > until),
              );
            done(error);
          });
        },
      }),
    );
    return new Proxy(file, {
      get: (target, name) => {
        if (seen.has(name)) return seen.get(name);
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }

  command(): number {
    return ++this.#time;
  }

  response({ opcode, nsid, slba, blocks, fua, note }: IoCommand, status: number): void {
    if (status !== 0) return;
    const from = slba * this.#blockSize;
    const to = from + blocks * this.#blockSize;
    const all = this.#dirty.get(this.#pathOf(nsid)) ?? [];
    const dirty = (until: number): boolean =>
      all.some((range) => range.from < to && range.to > from && range.at < until);
    const where = `(${blocks} blocks at ${slba})`;
    const writes = fua ? WRITES.get(opcode) : undefined;
    const reads = fua ? READS.get(opcode) : undefined;
    if (writes !== undefined) {
      this.#count(opcode);
      if (dirty(Infinity))
        this.#broken(`a ${writes} with FUA ${where} was answered before its data was synced`);
    }
    if (reads !== undefined) {
      this.#count(opcode);
      if (dirty(note))
        this.#broken(`a ${reads} with FUA ${where} was answered before what was there was synced`);
    }
    if (opcode === IoOpcode.Flush) {
      this.#count(opcode);
      if (all.some(({ at }) => at < note))
        this.#broken('a Flush was answered before what had been written was synced');
    }
  }

  #count(opcode: number): void {
    this.checked.set(opcode, (this.checked.get(opcode) ?? 0) + 1);
  }

  #broken(what: string): void {
    if (this.violations.length < 10) this.violations.push(what);
  }
}
