/** One open file on a simulated disk, for one process. */
import { concat } from '../../src/layout/bytes.ts';
import { assert } from '../../src/runtime/assert.ts';
import type { FileIo, FileMap, IoDone, IoError } from '../../src/runtime/ports.ts';
import type { MachineClock } from './clock.ts';
import { Access, type SimDisk } from './disk.ts';
import { type Mapping, lend } from './lent.ts';

const injected = (call: string, code: string): IoError => ({ code, message: `${call}: ${code}, injected` });

export class SimFile implements FileIo {
  readonly disk: SimDisk;
  readonly id: string;
  readonly path: string;
  readonly readOnly = false;
  readonly diskless = false;
  size: number;
  readonly #process: MachineClock;
  #open = true;

  /** Made by `SimDisk.open`. */
  constructor(disk: SimDisk, process: MachineClock) {
    this.disk = disk;
    this.id = this.path = disk.name;
    this.size = disk.seen.length;
    this.#process = process;
  }

  get canPunch(): boolean {
    return this.disk.options.canPunch;
  }

  readNow(offset: number, into: Uint8Array): number {
    const { disk } = this;
    assert(this.#open, 'the file is open');
    if (!disk.random.oneIn(disk.options.residentOneIn)) return -1;
    disk.accesses.delete(disk.begin(new Access(offset, into.length)));
    return disk.read(offset, into);
  }

  /** The first half is read early and the second late: a change in between would be seen by half. */
  read(offset: number, into: Uint8Array, done: (error: IoError | undefined, bytes: number) => void): void {
    const { disk } = this;
    const access = disk.begin(new Access(offset, into.length));
    const half = into.length >> 1;
    disk.read(offset, into.subarray(0, half));
    this.#later('read', 0, () => {
      disk.accesses.delete(access);
      if (disk.strikes('read EIO')) done(injected('read', 'EIO'), 0);
      else if (disk.strikes('read short')) done(undefined, half);
      else done(undefined, half + disk.read(offset + half, into.subarray(half)));
    });
  }

  writeNow(offset: number, parts: readonly Uint8Array[]): IoError | 'later' | undefined {
    const { disk } = this;
    if (!disk.random.oneIn(2)) return 'later';
    const bytes = concat(parts);
    const access = disk.begin(new Access(offset, bytes.length, () => bytes));
    disk.startChange(access);
    const code = disk.strikes('write EIO') ? 'EIO' : disk.strikes('write ENOSPC') ? 'ENOSPC' : undefined;
    disk.endChange(access, code === undefined ? 'whole' : 'half');
    return code === undefined ? undefined : injected('write', code);
  }

  /** The parts are looked at early and late: whoever changes them before the answer is found out. */
  write(offset: number, parts: readonly Uint8Array[], done: IoDone): void {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    this.#change('write', offset, length, done, () => concat(parts));
  }

  punch(offset: number, length: number, done: IoDone): void {
    if (!this.canPunch || this.disk.strikes('punch ENOTSUP'))
      this.#process.defer(() => done(injected('punch', 'ENOTSUP')));
    else this.#change('punch', offset, length, done, () => undefined);
  }

  zero(offset: number, length: number, done: IoDone): void {
    this.punch(offset, length, done);
  }

  /** By the disk itself where it can punch holes too; else the other side reads and writes. */
  copy(from: number, to: number, length: number, done: IoDone): void {
    const { disk } = this;
    if (!this.canPunch) {
      this.#process.defer(() => done(injected('copy', 'ENOTSUP')));
      return;
    }
    const source = disk.begin(new Access(from, length));
    const over: IoDone = (error) => {
      disk.accesses.delete(source);
      done(error);
    };
    this.#change('copy', to, length, over, () => disk.seen.slice(from, from + length));
  }

  #change(
    call: string,
    offset: number,
    length: number,
    done: IoDone,
    take: () => Uint8Array | undefined,
  ): void {
    const { disk } = this;
    assert(this.#open, 'the file is open');
    assert(offset + length <= disk.seen.length, 'a change stays inside');
    const access = disk.begin(new Access(offset, length, take));
    disk.startChange(access);
    this.#later(call, 0, () => {
      const code = disk.strikes('write EIO') ? 'EIO' : disk.strikes('write ENOSPC') ? 'ENOSPC' : undefined;
      disk.endChange(access, code === undefined ? 'whole' : 'half');
      done(code === undefined ? undefined : injected(call, code));
    });
  }

  sync(done: IoDone): void {
    const { disk } = this;
    const covered = [...disk.unsynced];
    this.#later('sync', disk.options.syncLatency, () => {
      const failed = disk.strikes('sync EIO');
      disk.endSync(covered, failed);
      done(failed ? injected('sync', 'EIO') : undefined);
    });
  }

  /**
   * What is lent is the disk's own memory: sockets copy late, so whoever changes it too early is found out. What is in
   * memory is anybody's guess.
   */
  map(): FileMap | undefined {
    const { disk } = this;
    const { residentOneIn, blockSize } = disk.options;
    if (residentOneIn === 0) return undefined;
    const mapping: Mapping = { disk, mapped: true };
    return {
      pinned: false,
      pageSize: blockSize,
      slice: (offset, length, parts) => {
        assert(this.#open && mapping.mapped, 'the file is mapped');
        if (offset + length > disk.seen.length) return false;
        parts.push(lend(disk.seen.subarray(offset, offset + length), mapping));
        return true;
      },
      resident: (offset, length, done) => {
        this.#later('resident', 0, () => {
          const count = Math.max(0, Math.min(length, disk.seen.length - offset)) / blockSize;
          done(Uint8Array.from({ length: count }, () => (disk.random.oneIn(residentOneIn) ? 1 : 0)));
        });
      },
      unmap: () => {
        mapping.mapped = false;
      },
    };
  }

  refresh(done: IoDone): void {
    this.#later('refresh', 0, () => {
      this.size = this.disk.seen.length;
      done(undefined);
    });
  }

  close(done: IoDone): void {
    assert(this.#open, 'a file is closed once');
    this.#open = false;
    this.disk.handles--;
    this.#process.defer(() => done(undefined));
  }

  #later(call: string, more: number, fn: () => void): void {
    const { disk } = this;
    const process = this.#process;
    const { latency, jitter } = disk.options;
    const micros = latency + more + (jitter === 0 ? 0 : disk.random.below(jitter));
    process.clock.after(`${disk.name}: ${call}`, micros, () => {
      if (process.dead) return;
      disk.trace.note(call, disk.name);
      fn();
      disk.onTouched();
    });
  }
}
