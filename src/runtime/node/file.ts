import * as fs from 'node:fs';
import type { FileIo, FileMap, IoDone, IoError } from '../ports.ts';
import { IoFailure, ioError } from './errors.ts';
import { Lock } from './lock.ts';
import { NodeFileMap } from './file-map.ts';
import type { Syscalls } from './syscalls.ts';
import { assert } from '../assert.ts';

/** Parts per system call; the kernel takes no more (IOV_MAX). */
const MOST_PARTS = 1024;
/** File systems whose pages are memory: nothing waits for a disk. statfs(2). */
const TMPFS = 0x01021994;
const RAMFS = 0x858458f6;

/** Major and minor number as makedev(3) packs them. */
function deviceName(rdev: bigint): string {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}

/** The same for every name of one file; a block device is the same by whatever node it is reached. */
export const fileIdOf = (stats: fs.BigIntStats): string =>
  stats.isBlockDevice() ? `block:${deviceName(stats.rdev)}` : `${stats.dev}:${stats.ino}`;

/** A number in the device's folder in /sys; a partition shares its disk's queue. 0 where there is none. */
function sysNumber(device: string, ...names: readonly string[]): number {
  for (const name of names) {
    try {
      return Number(fs.readFileSync(`/sys/dev/block/${device}/${name}`, 'utf8'));
    } catch {
      // The next one, then.
    }
  }
  return 0;
}

function sizeOf(stats: fs.BigIntStats): number {
  // The kernel counts in 512 bytes here, whatever the device's blocks are.
  return stats.isBlockDevice() ? sysNumber(deviceName(stats.rdev), 'size') * 512 : Number(stats.size);
}

/** mincore(2) calls every page resident to those who neither own the file nor may write it. */
function mayAsk(path: string, stats: fs.BigIntStats): boolean {
  if (Number(stats.uid) === process.geteuid?.()) return true;
  try {
    // access(2) would ask for the real user, and not for whom the kernel asks.
    fs.closeSync(fs.openSync(path, fs.constants.O_WRONLY));
    return true;
  } catch {
    return false;
  }
}

/** Both locks on a file: names and, where there is FFI, flock (see lock.ts). */
export class FileLock {
  readonly #lock: Lock;

  private constructor(lock: Lock) {
    this.#lock = lock;
  }

  /** flock goes with the descriptor. Fails with EBUSY. */
  static take(
    fd: number,
    stats: fs.BigIntStats,
    path: string,
    shared: boolean,
    syscalls: Syscalls | undefined,
  ): Promise<FileLock> {
    return new Promise((resolve, reject) => {
      Lock.take(fileIdOf(stats), shared, (error, lock) => {
        if (!lock) {
          reject(new IoFailure(error?.code ?? 'EBUSY', `${path}: ${error?.message ?? 'in use'}`));
          return;
        }
        const refused = syscalls?.lock(fd, shared);
        if (!refused) {
          resolve(new FileLock(lock));
          return;
        }
        const code = refused.code === 'EAGAIN' ? 'EBUSY' : refused.code;
        lock.release(() => reject(new IoFailure(code, `${path}: in use by another process`)));
      });
    });
  }

  release(): Promise<void> {
    return new Promise((resolve) => this.#lock.release(resolve));
  }
}

export interface NodeFileOptions {
  readonly fd: number;
  readonly path: string;
  readonly stats: fs.BigIntStats;
  readonly lock: FileLock;
  readonly readOnly: boolean;
  readonly syscalls: Syscalls | undefined;
}

/** An open regular file or block device. Made by `NodeFiles.open`. */
export class NodeFile implements FileIo {
  readonly id: string;
  readonly path: string;
  readonly readOnly: boolean;
  readonly diskless: boolean;
  readonly canPunch: boolean;
  size: number;
  readonly #fd: number;
  readonly #lock: FileLock;
  readonly #syscalls: Syscalls | undefined;
  /** What the system says of pages in memory is true. */
  readonly #mayAsk: boolean;
  /** The page cache can be asked (RWF_NOWAIT), until it turns out that it cannot. */
  #canAsk: boolean;

  constructor(options: NodeFileOptions) {
    const { fd, path, stats, syscalls } = options;
    this.#fd = fd;
    this.#lock = options.lock;
    this.#syscalls = syscalls;
    this.path = path;
    this.id = fileIdOf(stats);
    this.readOnly = options.readOnly;
    this.size = sizeOf(stats);
    const type = stats.isFile() ? fs.statfsSync(path).type : 0;
    this.diskless = type === TMPFS || type === RAMFS;
    this.#mayAsk = mayAsk(path, stats);
    this.#canAsk = syscalls !== undefined && !this.diskless;
    this.canPunch = !this.readOnly && syscalls !== undefined && this.#tryPunch(stats, syscalls);
  }

  readNow(offset: number, into: Uint8Array): number {
    if (this.diskless) return this.#readMemory(offset, into);
    if (!this.#canAsk || !this.#syscalls) return -1;
    const bytes = this.#syscalls.readNow(this.#fd, offset, into);
    if (bytes === -2) this.#canAsk = false;
    // Fewer bytes: the rest is not in memory, or not there at all. `read` will see.
    return bytes === into.length ? bytes : -1;
  }

  read(offset: number, into: Uint8Array, done: (error: IoError | undefined, bytes: number) => void): void {
    let at = 0;
    const next = (error: NodeJS.ErrnoException | null, bytes: number): void => {
      if (error) {
        done(ioError(error), at);
        return;
      }
      at += bytes;
      if (bytes === 0 || at === into.length) {
        done(undefined, at);
        return;
      }
      fs.read(this.#fd, into, at, into.length - at, offset + at, next);
    };
    fs.read(this.#fd, into, 0, into.length, offset, next);
  }

  writeNow(offset: number, parts: readonly Uint8Array[]): IoError | 'later' | undefined {
    const [first] = parts;
    if (first === undefined || parts.length > MOST_PARTS) return 'later';
    let length = 0;
    for (const part of parts) length += part.length;
    assert(offset + length <= this.size, 'a write never makes the file longer');
    try {
      const written =
        parts.length === 1
          ? fs.writeSync(this.#fd, first, 0, length, offset)
          : fs.writevSync(this.#fd, parts, offset);
      // Short: the disk is nearly full, say. The rest, or what is wrong with it, is the other call's.
      return written === length ? undefined : 'later';
    } catch (error) {
      return ioError(error);
    }
  }

  write(offset: number, parts: readonly Uint8Array[], done: IoDone): void {
    const first = parts[0];
    const length =
      first && parts.length === 1 ? first.length : parts.reduce((sum, part) => sum + part.length, 0);
    assert(offset + length <= this.size, 'a write never makes the file longer');
    if (!first) return void setImmediate(done, undefined);
    if (parts.length > 1) {
      this.#writeMany(offset, parts, done);
      return;
    }
    fs.write(this.#fd, first, 0, length, offset, (error, written) => {
      if (!error && written === length) done(undefined);
      else this.#goOn(error, written, offset, parts, done);
    });
  }

  sync(done: IoDone): void {
    fs.fdatasync(this.#fd, answer(done));
  }

  punch(offset: number, length: number, done: IoDone): void {
    if (!this.#syscalls) {
      notSupported(done);
      return;
    }
    this.#syscalls.punch(this.#fd, offset, length, done);
  }

  zero(offset: number, length: number, done: IoDone): void {
    if (!this.#syscalls) {
      notSupported(done);
      return;
    }
    this.#syscalls.zero(this.#fd, offset, length, done);
  }

  copy(from: number, to: number, length: number, done: IoDone): void {
    if (!this.#syscalls?.canCopy) {
      notSupported(done);
      return;
    }
    const { copy } = this.#syscalls;
    const next = (at: number): void => {
      copy(this.#fd, from + at, to + at, length - at, (error, bytes) => {
        if (error) done(error);
        else if (bytes === 0) done({ code: 'EIO', message: `${this.path}: the file ends before the copy` });
        else if (at + bytes < length) next(at + bytes);
        else done(undefined);
      });
    };
    next(0);
  }

  map(): FileMap | undefined {
    return this.#mayAsk && this.#syscalls
      ? new NodeFileMap({ fd: this.#fd, syscalls: this.#syscalls })
      : undefined;
  }

  refresh(done: IoDone): void {
    fs.fstat(this.#fd, { bigint: true }, (error, stats) => {
      if (error) {
        done(ioError(error));
        return;
      }
      this.size = sizeOf(stats);
      done(undefined);
    });
  }

  close(done: IoDone): void {
    fs.close(this.#fd, (error) => {
      void this.#lock.release().then(() => done(error ? ioError(error) : undefined));
    });
  }

  #readMemory(offset: number, into: Uint8Array): number {
    try {
      return fs.readSync(this.#fd, into, 0, into.length, offset);
    } catch {
      return -1;
    }
  }

  #tryPunch(stats: fs.BigIntStats, syscalls: Syscalls): boolean {
    if (!stats.isBlockDevice()) return syscalls.canPunch(this.#fd, this.size);
    const limit = 'queue/write_zeroes_max_bytes';
    return sysNumber(deviceName(stats.rdev), limit, `../${limit}`) > 0;
  }

  #writeMany(offset: number, parts: readonly Uint8Array[], done: IoDone): void {
    fs.writev(this.#fd, parts.slice(0, MOST_PARTS), offset, (error, written) => {
      this.#goOn(error, written, offset, parts, done);
    });
  }

  /** After a system call that wrote `written` bytes of `parts`: writes what is left. */
  #goOn(
    error: NodeJS.ErrnoException | null,
    written: number,
    offset: number,
    parts: readonly Uint8Array[],
    done: IoDone,
  ): void {
    if (error) {
      done(ioError(error));
      return;
    }
    let taken = written;
    let whole = 0;
    while (whole < parts.length && taken >= parts[whole]!.length) taken -= parts[whole++]!.length;
    if (whole === parts.length) {
      done(undefined);
      return;
    }
    if (written === 0) {
      done({ code: 'EIO', message: `${this.path}: the file takes no more bytes` });
      return;
    }
    const rest = [parts[whole]!.subarray(taken), ...parts.slice(whole + 1)];
    this.#writeMany(offset + written, rest, done);
  }
}

const answer =
  (done: IoDone) =>
  (error: NodeJS.ErrnoException | null): void =>
    done(error ? ioError(error) : undefined);

function notSupported(done: IoDone): void {
  setImmediate(done, { code: 'ENOTSUP', message: 'needs the optional package koffi' });
}
