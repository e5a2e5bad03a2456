/**
 * System calls that Node does not offer, through the optional package `koffi`. Everything here may be missing: the
 * package is not installed or does not load, the C library lacks a function, or NVMETCP_NO_FFI=1 is in the
 * environment. Callers do without: no holes are punched, locks are sockets only, reads go through the thread pool.
 */
import { createRequire } from 'node:module';
import type { IoDone, IoError } from '../ports.ts';
import { constants } from 'node:os';

type Native<Result = number> = ((...args: unknown[]) => Result) & { async(...args: unknown[]): void };
interface Koffi {
  load(path: string | null): {
    func<Result = number>(name: string, result: string, parameters: readonly string[]): Native<Result>;
  };
  errno(): number;
  address(memory: Uint8Array | number | bigint): number | bigint;
  view(memory: number | bigint, length: number): ArrayBuffer;
}

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const ZERO_RANGE = 16;
const RWF_NOWAIT = 8;
const PROT_READ = 1;
const MAP_SHARED = 1;
const MAP_FAILED = 2n ** 64n - 1n;
const SC_PAGESIZE = 30;

const errnoNames = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));
// One number, two names; ours is ENOTSUP.
errnoNames.set(constants.errno.EOPNOTSUPP, 'ENOTSUP');

/** A part of a file as memory. User space must not look at it: past the file's end, that ends the process. */
export interface Mapping {
  readonly bytes: Uint8Array;
  readonly address: number | bigint;
}

export class Syscalls {
  readonly #koffi: Koffi;
  readonly #flock: Native;
  readonly #fallocate: Native;
  readonly #preadv2: Native | undefined;
  readonly #copyFileRange: Native | undefined;
  readonly #mmap: Native<number | bigint>;
  readonly #munmap: Native;
  readonly #mincore: Native;
  /** What `mmap` and `mincore` count in, bytes. */
  readonly pageSize: number;
  /** One `struct iovec`, used again and again: the calls that take it are over when they return. */
  readonly #iovec = new Uint8Array(16);
  readonly #iovecWords = new Uint32Array(this.#iovec.buffer);
  /** Where the memory of an ArrayBuffer is; it does not move while the buffer lives. */
  readonly #addresses = new WeakMap<ArrayBufferLike, number>();

  private constructor(koffi: Koffi) {
    const libc = koffi.load(null);
    this.#koffi = koffi;
    this.#flock = libc.func('flock', 'int', ['int', 'int']);
    this.#fallocate = libc.func('fallocate', 'int', ['int', 'int', 'int64_t', 'int64_t']);
    const pointers = ['void *', 'size_t', 'int', 'int', 'int', 'int64_t'];
    this.#mmap = libc.func<number | bigint>('mmap', 'void *', pointers);
    this.#munmap = libc.func('munmap', 'int', ['void *', 'size_t']);
    this.pageSize = libc.func('sysconf', 'long', ['int'])(SC_PAGESIZE);
    this.#mincore = libc.func('mincore', 'int', ['void *', 'size_t', 'void *']);
    const optional = (name: string, parameters: readonly string[]): Native | undefined => {
      try {
        return libc.func(name, 'int64_t', parameters);
      } catch {
        return undefined;
      }
    };
    this.#preadv2 = optional('preadv2', ['int', 'void *', 'int', 'int64_t', 'int']);
    const offset = '_Inout_ int64_t *';
    this.#copyFileRange = optional('copy_file_range', ['int', offset, 'int', offset, 'size_t', 'uint']);
  }

  /** Undefined where there are none. */
  static load(): Syscalls | undefined {
    const wanted = process.platform === 'linux' && process.env['NVMETCP_NO_FFI'] !== '1';
    if (!wanted) return undefined;
    try {
      return new Syscalls(createRequire(import.meta.url)('koffi') as Koffi);
    } catch {
      return undefined;
    }
  }

  /** A lock of the open file, gone with it, however the process ends. EAGAIN: somebody else has it. */
  lock(fd: number, shared: boolean): IoError | undefined {
    const result = this.#flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB);
    return result === 0 ? undefined : this.#error('flock');
  }

  punch(fd: number, offset: number, length: number, done: IoDone): void {
    this.#fallocateLater(fd, PUNCH_HOLE | KEEP_SIZE, offset, length, done);
  }

  zero(fd: number, offset: number, length: number, done: IoDone): void {
    this.#fallocateLater(fd, ZERO_RANGE | KEEP_SIZE, offset, length, done);
  }

  get canCopy(): boolean {
    return this.#copyFileRange !== undefined;
  }

  /** Copies up to `length` bytes inside a file, in a thread of its own; file systems that can share the space do so. */
  readonly copy = (
    fd: number,
    from: number,
    to: number,
    length: number,
    done: (error: IoError | undefined, bytes: number) => void,
  ): void => {
    this.#copyFileRange!.async(
      fd,
      [from],
      fd,
      [to],
      length,
      0,
      (thrown: Error | null, result: number | bigint) => {
        const bytes = Number(result);
        if (thrown) done({ code: 'EIO', message: thrown.message }, 0);
        else if (bytes >= 0) done(undefined, bytes);
        else {
          const error = this.#error('copy_file_range');
          // Block devices, and file systems that do not know the call, are not copied this way.
          const unable = ['EINVAL', 'ENOSYS', 'EXDEV', 'ENOTSUP'].includes(error.code);
          done(unable ? { ...error, code: 'ENOTSUP' } : error, 0);
        }
      },
    );
  };

  /** Whether holes can be punched in this regular file; tried past its end, where nothing is. */
  canPunch(fd: number, size: number): boolean {
    return this.#fallocate(fd, PUNCH_HOLE | KEEP_SIZE, Math.ceil(size / 65536) * 65536, 4096) === 0;
  }

  /** Reads what the page cache has, without waiting: bytes read; -1: not all is there; -2: never, for this file. */
  readNow(fd: number, offset: number, into: Uint8Array): number {
    if (!this.#preadv2) return -2;
    const address = this.#addressOf(into.buffer) + into.byteOffset;
    this.#iovecWords[0] = address % 2 ** 32;
    this.#iovecWords[1] = address / 2 ** 32;
    this.#iovecWords[2] = into.length;
    const bytes = this.#preadv2(fd, this.#iovec, 1, offset, RWF_NOWAIT);
    if (bytes >= 0) return bytes;
    return this.#koffi.errno() === constants.errno.EAGAIN ? -1 : -2;
  }

  /**
   * Maps a part of a file, which may end before it does; undefined when the system has no more mappings to give. At
   * most 1 GiB at once: a view of more than 4 GiB ends the process on Node 20.
   */
  map(fd: number, offset: number, length: number): Mapping | undefined {
    const address = this.#mmap(null, length, PROT_READ, MAP_SHARED, fd, offset);
    if (address === 0 || BigInt(address) === MAP_FAILED) return undefined;
    return { address, bytes: Buffer.from(this.#koffi.view(address, length)) };
  }

  /** Nobody may have a slice of it any more. */
  unmap({ address, bytes }: Mapping): void {
    this.#munmap(address, bytes.length);
  }

  /** Which pages are in memory: a byte for each, of which bit 0 counts. In a thread of its own. */
  resident(
    mapping: Mapping,
    offset: number,
    length: number,
    done: (pages: Uint8Array | undefined) => void,
  ): void {
    const pages = new Uint8Array(Math.ceil(length / this.pageSize));
    const address = BigInt(mapping.address) + BigInt(offset);
    this.#mincore.async(address, length, pages, (thrown: Error | null, result: number) => {
      done(thrown === null && result === 0 ? pages : undefined);
    });
  }

  #addressOf(buffer: ArrayBufferLike): number {
    let address = this.#addresses.get(buffer);
    if (address === undefined) {
      address = Number(this.#koffi.address(new Uint8Array(buffer)));
      this.#addresses.set(buffer, address);
    }
    return address;
  }

  /** In a thread of its own: a hole over a large file takes its time. */
  #fallocateLater(fd: number, mode: number, offset: number, length: number, done: IoDone): void {
    this.#fallocate.async(fd, mode, offset, length, (thrown: Error | null, result: number) => {
      if (thrown) done({ code: 'EIO', message: thrown.message });
      else done(result === 0 ? undefined : this.#error('fallocate'));
    });
  }

  #error(call: string): IoError {
    const code = errnoNames.get(this.#koffi.errno()) ?? 'EIO';
    return { code, message: `${call}: ${code}` };
  }
}
