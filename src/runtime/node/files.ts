import * as fs from 'node:fs';
import type { Clock, FileIo, FileSystem, IoError, OpenOptions } from '../ports.ts';
import { FileLock, NodeFile } from './file.ts';
import { MemoryFile } from '../memory/file.ts';
import { LARGE_CHUNK, SparseBytes } from '../memory/sparse.ts';
import type { Syscalls } from './syscalls.ts';
import { dirname } from 'node:path';
import { IoFailure, ioError } from './errors.ts';
import { promisify } from 'node:util';

/** What /proc/vmstat counts in, bytes; where pages are larger, there is room for more than is thought. */
const PAGE = 4096;

const openFd = promisify(fs.open);
const closeFd = promisify(fs.close);
const fsync = promisify(fs.fsync);
const ftruncate = promisify(fs.ftruncate);
const fstat = promisify(fs.fstat) as (fd: number, options: { bigint: true }) => Promise<fs.BigIntStats>;
const stat = promisify(fs.stat) as (path: string, options: { bigint: true }) => Promise<fs.BigIntStats>;

/** Puts the entries of a folder on stable storage: a new or renamed file survives a power cut (DISK.3). */
export async function syncFolder(folder: string): Promise<void> {
  const fd = await openFd(folder, 'r');
  try {
    await fsync(fd);
  } finally {
    await closeFd(fd);
  }
}

/** Regular files and block devices of this machine. */
export class NodeFiles implements FileSystem {
  readonly #clock: Clock;
  readonly #syscalls: Syscalls | undefined;
  #memories = 0;

  constructor(clock: Clock, syscalls: Syscalls | undefined) {
    this.#clock = clock;
    this.#syscalls = syscalls;
  }

  open(path: string, options: OpenOptions, done: (error: IoError | undefined, file?: FileIo) => void): void {
    this.#open(path, options).then(
      (file) => done(undefined, file),
      (error: unknown) => done(ioError(error)),
    );
  }

  dirty(): { bytes: number; limit: number } | undefined {
    try {
      const text = fs.readFileSync('/proc/vmstat', 'latin1');
      const of = (name: string): number => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1]);
      const pages = of('nr_dirty') + of('nr_writeback');
      const limit = of('nr_dirty_background_threshold');
      return Number.isNaN(pages + limit) ? undefined : { bytes: pages * PAGE, limit: limit * PAGE };
    } catch {
      return undefined;
    }
  }

  memory(size: number): FileIo {
    const bytes = new SparseBytes(size, LARGE_CHUNK);
    return new MemoryFile(this.#clock, bytes, { id: `memory:${++this.#memories}` });
  }

  async #open(path: string, options: OpenOptions): Promise<FileIo> {
    if (options.createSize !== undefined) await create(path, options.createSize);
    // Looked at before it is opened: opening a pipe waits for its other end, a tape rewinds.
    const isBlock = kindOf(path, await stat(path, { bigint: true }));
    // O_EXCL without O_CREAT: refused when a block device is mounted or otherwise in use by the system.
    const exclusive = isBlock && !options.readOnly ? fs.constants.O_EXCL : 0;
    const fd = await openFd(
      path,
      (options.readOnly ? fs.constants.O_RDONLY : fs.constants.O_RDWR) | exclusive,
    );
    let lock: FileLock | undefined;
    try {
      const stats = await fstat(fd, { bigint: true });
      kindOf(path, stats);
      lock = await FileLock.take(fd, stats, path, options.readOnly, this.#syscalls);
      return new NodeFile({ fd, path, stats, lock, readOnly: options.readOnly, syscalls: this.#syscalls });
    } catch (error) {
      await lock?.release();
      await closeFd(fd);
      throw error;
    }
  }
}

/** Whether it is a block device; anything but that and a regular file is refused. */
function kindOf(path: string, stats: fs.BigIntStats): boolean {
  if (stats.isFile() || stats.isBlockDevice()) return stats.isBlockDevice();
  throw new IoFailure(
    stats.isDirectory() ? 'EISDIR' : 'ENOTSUP',
    `${path}: neither a regular file nor a block device`,
  );
}

/** Makes a sparse file unless there is one. */
async function create(path: string, size: number): Promise<void> {
  let fd: number;
  try {
    fd = await openFd(path, 'wx', 0o600);
  } catch (error) {
    if (ioError(error).code === 'EEXIST') return;
    throw error;
  }
  try {
    await ftruncate(fd, size);
    await fsync(fd);
    await syncFolder(dirname(path));
  } catch (error) {
    // Half a file would be taken for a whole one next time.
    fs.unlinkSync(path);
    throw error;
  } finally {
    await closeFd(fd);
  }
}
