/**
 * A head: the namespace as a disk, whichever controllers lead to it. It makes commands of an I/O, chooses a path for
 * each, and puts their answers together.
 *
 *     submit(io) → command → select() → path.submit(request) → … → requestDone → io.owner.ioDone
 */
import { DNR, Status } from '../nvme/status.ts';
import { assert } from '../runtime/assert.ts';
import { type BlockRange, deallocate, flush, readWrite, writeZeroes } from './commands.ts';
import type { Controller } from './controller.ts';
import type { Io } from './io.ts';
import type { NamespaceInfo } from './namespace.ts';
import { wwid } from './namespace.ts';
import { cut } from './parts.ts';
import { Path } from './path.ts';
import { Request } from './request.ts';
import { select } from './select.ts';
import type { Subsystem } from './subsystem.ts';

/** NLB is 16 bits and 0's based. */
const MOST_BLOCKS = 65536;
/** The length of a range is 32 bits. */
const MOST_RANGE = 2 ** 32 - 1;
/** Requests that are kept to be used again. */
const SPARE = 256;

export class Head {
  readonly subsystem: Subsystem;
  /** The M of nvmeNnM: allocated by the subsystem, the same for as long as the head lives (NUM.9). */
  readonly instance: number;
  /** Never used again, unlike the name (NUM.11). */
  readonly id: number;
  readonly paths: Path[] = [];
  /** As the first path told it; size and write protection follow the paths. */
  info: NamespaceInfo;
  /** The last path is gone, and the head with it. */
  gone = false;
  /** I/O that is not over, and the commands of it that are under way. */
  inFlight = 0;
  #running = 0;

  readonly #spare: Request[] = [];

  constructor(subsystem: Subsystem, instance: number, id: number, info: NamespaceInfo) {
    this.subsystem = subsystem;
    this.instance = instance;
    this.id = id;
    this.info = info;
  }

  get name(): string {
    return `nvme${this.subsystem.instance}n${this.instance}`;
  }
  get nsid(): number {
    return this.info.nsid;
  }
  /** Bytes. */
  get blockSize(): number {
    return this.info.blockSize;
  }
  get blocks(): number {
    return this.info.blocks;
  }
  get wwid(): string {
    return wwid(this.info, this.subsystem);
  }

  // ---- paths

  addPath(controller: Controller, info: NamespaceInfo): Path {
    const path = new Path(this, controller, info);
    this.paths.push(path);
    return path;
  }

  /** Commands on their way through it end by their connection, not by this. */
  removePath(path: Path): void {
    path.gone = true;
    const at = this.paths.indexOf(path);
    assert(at >= 0, `${path.name} is a path of ${this.name}`);
    this.paths.splice(at, 1);
  }

  // ---- I/O

  /** Takes the I/O; `ioDone` follows, never inside this call unless nothing can be sent. */
  submit(io: Io): void {
    assert(io.head === undefined, 'an I/O is submitted once');
    io.head = this;
    this.inFlight++;
    const outside =
      io.kind === 'deallocate' ? io.ranges.some((range) => this.#outside(range)) : this.#outside(io);
    if (outside) io.failed(Status.LbaOutOfRange | DNR);
    if (io.kind === 'deallocate') io.ranges = this.#splitRanges(io.ranges);
    this.#advance(io);
  }

  /** No range longer than every path takes. */
  #splitRanges(ranges: readonly BlockRange[]): readonly BlockRange[] {
    const most = Math.min(MOST_RANGE, ...this.paths.map(({ controller }) => controller.maxRangeBlocks));
    if (ranges.every(({ blocks }) => blocks <= most)) return ranges;
    const split: BlockRange[] = [];
    for (const { slba, blocks } of ranges)
      for (let at = 0; at < blocks; at += most)
        split.push({ slba: slba + at, blocks: Math.min(most, blocks - at) });
    return split;
  }

  #outside({ slba, blocks }: BlockRange): boolean {
    return slba + blocks > this.blocks;
  }

  /** Makes commands, a few at a time, until nothing is left of it; ends it when all of them are over. */
  #advance(io: Io): void {
    const { pieces } = this.subsystem.registry.limits;
    while (io.status === 0 && io.started < io.total && io.running.length < pieces) {
      const path = select(this.paths);
      if (path === 'fail') {
        io.failed(Status.HostPathError);
        break;
      }
      const request = this.#spare.pop() ?? new Request(io);
      request.owner = io;
      const count = this.#build(io, request, path);
      request.timeout = path.controller.ioTimeout;
      if (!path.submit(request)) {
        this.#recycle(request);
        io.failed(Status.HostPathError);
        break;
      }
      io.started += count;
      io.running.push(request);
      this.#running++;
    }
    if (io.running.length > 0 || io.over) return;
    io.over = true;
    this.inFlight--;
    io.owner.ioDone(io);
  }

  /** The next command of the I/O; gives the number of blocks, or ranges, that it covers. */
  #build(io: Io, request: Request, path: Path): number {
    const { nsid, blockSize } = this.info;
    const { controller } = path;
    const slba = io.slba + io.started;
    const left = io.total - io.started;
    switch (io.kind) {
      case 'flush':
        flush(request, nsid);
        return 1;
      case 'zeroes': {
        const most = io.deallocate ? controller.maxZeroesDeallocate : controller.maxZeroes;
        const blocks = Math.max(1, Math.min(left, MOST_BLOCKS, Math.floor(most / blockSize)));
        writeZeroes(request, nsid, slba, blocks, io);
        return blocks;
      }
      case 'deallocate': {
        const ranges = someRanges(io.ranges, io.started, controller.maxRanges, controller.maxDeallocate);
        deallocate(request, nsid, ranges);
        return ranges.length;
      }
      case 'read':
      case 'write': {
        const blocks = Math.max(
          1,
          Math.min(left, MOST_BLOCKS, Math.floor(controller.maxTransfer / blockSize)),
        );
        readWrite(request, io.kind === 'write', nsid, slba, blocks, io.fua);
        request.direction = io.kind === 'write' ? 'out' : 'in';
        request.length = blocks * blockSize;
        cut(io.buffers, io.started * blockSize, request.length, request.parts);
        return blocks;
      }
    }
  }

  /** A command of the I/O is over. */
  requestDone(io: Io, request: Request): void {
    const at = io.running.indexOf(request);
    assert(at >= 0, `${this.name}: a command ends once`);
    io.running[at] = io.running.at(-1)!;
    io.running.pop();
    this.#running--;
    if (request.status !== 0) io.failed(request.status);
    this.#recycle(request);
    this.#advance(io);
  }

  /** See `Io.abandon`. */
  abandon(io: Io): void {
    for (const request of [...io.running]) request.queue?.abandon(request);
    this.#advance(io);
  }

  #recycle(request: Request): void {
    request.parts.length = 0;
    if (this.#spare.length < SPARE) this.#spare.push(request);
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    assert(this.inFlight >= 0 && this.#running >= 0, `${this.name}: something ended twice`);
    assert(this.#running === 0 || this.inFlight > 0, `${this.name}: a command without its I/O`);
    assert(!this.gone || this.paths.length === 0, `${this.name}: gone, but it has a path`);
    for (const path of this.paths) assert(!path.gone, `${path.name}: gone, but still there`);
  }
}

/** As many ranges from `start` as one command takes; at least one. */
function someRanges(
  ranges: readonly BlockRange[],
  start: number,
  most: number,
  mostBlocks: number,
): BlockRange[] {
  const taken: BlockRange[] = [];
  let blocks = 0;
  for (const range of ranges.slice(start, start + most)) {
    blocks += range.blocks;
    if (taken.length > 0 && blocks > mostBlocks) break;
    taken.push(range);
  }
  return taken;
}
