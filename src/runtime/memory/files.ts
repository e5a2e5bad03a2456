import type { Clock, FileIo, FileSystem, IoError, OpenOptions } from '../ports.ts';
import { MemoryFile } from './file.ts';
import { SparseBytes } from './sparse.ts';

/** What a path leads to. */
interface Inode {
  readonly id: string;
  readonly bytes: SparseBytes;
  writers: number;
  readers: number;
}

/** Files in memory by path; a path may be a second name for a file (`link`). */
export class MemoryFiles implements FileSystem {
  readonly #clock: Clock;
  readonly #inodes = new Map<string, Inode>();
  #nextInode = 1;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Makes a file of `size` zero bytes and gives its content. */
  create(path: string, size: number): SparseBytes {
    const inode = { id: `1:${this.#nextInode++}`, bytes: new SparseBytes(size), writers: 0, readers: 0 };
    this.#inodes.set(path, inode);
    return inode.bytes;
  }

  /** Another name for the file at `path`. */
  link(path: string, name: string): void {
    const inode = this.#inodes.get(path);
    if (inode) this.#inodes.set(name, inode);
  }

  /** Paths that exist. */
  get paths(): string[] {
    return [...this.#inodes.keys()];
  }

  open(path: string, options: OpenOptions, done: (error: IoError | undefined, file?: FileIo) => void): void {
    if (!this.#inodes.has(path) && options.createSize !== undefined) this.create(path, options.createSize);
    const inode = this.#inodes.get(path);
    const busy = inode && (inode.writers > 0 || (!options.readOnly && inode.readers > 0));
    if (!inode || busy) {
      const error = busy
        ? { code: 'EBUSY', message: `${path}: in use` }
        : { code: 'ENOENT', message: `${path}: no such file` };
      this.#clock.defer(() => done(error));
      return;
    }

    const kind = options.readOnly ? 'readers' : 'writers';
    inode[kind]++;
    const closed = (): void => {
      inode[kind]--;
    };
    const { id, bytes } = inode;
    const file = new MemoryFile(this.#clock, bytes, { id, path, readOnly: options.readOnly, closed });
    this.#clock.defer(() => done(undefined, file));
  }

  memory(size: number): FileIo {
    return new MemoryFile(this.#clock, size, { id: `memory:${this.#nextInode++}` });
  }
}
