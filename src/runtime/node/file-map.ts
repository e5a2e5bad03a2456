/** A file as memory, mapped in windows when they are first asked for. */
import type { FileMap } from '../ports.ts';
import type { Mapping, Syscalls } from './syscalls.ts';

/** Bytes; `koffi.view` of more than 4 GiB ends the process on Node 20. */
const WINDOW = 2 ** 30;
/** A system has 65,530 mappings for a process; those past this many GiB of one file are read instead. */
const MOST_WINDOWS = 4096;

export interface NodeFileMapOptions {
  readonly fd: number;
  readonly syscalls: Syscalls;
  /** Windows, if not 4096. */
  readonly mostWindows?: number | undefined;
}

export class NodeFileMap implements FileMap {
  readonly pinned = false;
  readonly pageSize: number;
  readonly #fd: number;
  readonly #syscalls: Syscalls;
  readonly #windows = new Map<number, Mapping>();
  #left: number;
  #last = -1;
  #bytes: Uint8Array = new Uint8Array(0);

  constructor({ fd, syscalls, mostWindows = MOST_WINDOWS }: NodeFileMapOptions) {
    this.#fd = fd;
    this.#syscalls = syscalls;
    this.#left = mostWindows;
    this.pageSize = syscalls.pageSize;
  }

  slice(offset: number, length: number, parts: Uint8Array[]): boolean {
    const index = Math.floor(offset / WINDOW);
    const at = offset - index * WINDOW;
    if (index !== this.#last) {
      const window = this.#window(index);
      if (window === undefined) return false;
      this.#last = index;
      this.#bytes = window.bytes;
    }
    const bytes = this.#bytes;
    const inside = Math.min(length, WINDOW - at);
    if (inside < length && !this.#rest(offset + inside, length - inside)) return false;
    parts.push(bytes.subarray(at, at + inside));
    if (inside < length) this.slice(offset + inside, length - inside, parts);
    return true;
  }

  resident(offset: number, length: number, done: (pages: Uint8Array | undefined) => void): void {
    const window = this.#window(Math.floor(offset / WINDOW));
    if (window === undefined) setImmediate(done, undefined);
    else this.#syscalls.resident(window, offset % WINDOW, length, done);
  }

  unmap(): void {
    for (const window of this.#windows.values()) this.#syscalls.unmap(window);
    this.#windows.clear();
    this.#last = -1;
    this.#left = 0;
  }

  /** Whether the windows that a range touches can be had. */
  #rest(offset: number, length: number): boolean {
    for (let at = Math.floor(offset / WINDOW); at * WINDOW < offset + length; at++)
      if (this.#window(at) === undefined) return false;
    return true;
  }

  #window(index: number): Mapping | undefined {
    const known = this.#windows.get(index);
    if (known !== undefined || this.#left === 0) return known;
    // The whole window, even where the file ends before: it may grow.
    const made = this.#syscalls.map(this.#fd, index * WINDOW, WINDOW);
    // The system has no more: it is not asked again.
    this.#left = made === undefined ? 0 : this.#left - 1;
    if (made !== undefined) this.#windows.set(index, made);
    return made;
  }
}
