/**
 * One I/O on a head, as its user sees it: any length, any number of buffers. The head makes commands of it, as many
 * as the path's limits ask for, and `owner.ioDone` is called once, when the last of them is over.
 */
import { Status } from '../nvme/status.ts';
import type { BlockRange } from './commands.ts';
import type { Head } from './head.ts';
import type { Request, RequestOwner } from './request.ts';

export type IoKind = 'read' | 'write' | 'flush' | 'zeroes' | 'deallocate';

export interface IoOwner {
  /** `io.status` is 0, or the status of the first command that failed; the buffers belong to the owner again. */
  ioDone(io: Io): void;
}

export class Io implements RequestOwner {
  readonly owner: IoOwner;
  readonly kind: IoKind;
  /** Not for flush and deallocate. `blocks` is a count. */
  readonly slba: number;
  readonly blocks: number;
  /** Where data is read into or written from, in order; in all `blocks` blocks. */
  readonly buffers: readonly Uint8Array[];
  /** Deallocate: in order; the head splits those that are too long for one command. */
  ranges: readonly BlockRange[];
  /** Write, zeroes: complete only when it is on stable storage. */
  readonly fua: boolean;
  /** Zeroes: the blocks may be given up. */
  readonly deallocate: boolean;
  status = 0;
  /** Given up by its owner: no more commands are made of it. */
  abandoned = false;

  // What follows is the head's own.

  head: Head | undefined = undefined;
  /** Blocks, or ranges, that commands were made of. */
  started = 0;
  /** Commands that are under way. */
  readonly running: Request[] = [];
  over = false;

  constructor(
    owner: IoOwner,
    kind: IoKind,
    what: Partial<Pick<Io, 'slba' | 'blocks' | 'buffers' | 'ranges' | 'fua' | 'deallocate'>> = {},
  ) {
    this.owner = owner;
    this.kind = kind;
    this.slba = what.slba ?? 0;
    this.blocks = what.blocks ?? 0;
    this.buffers = what.buffers ?? [];
    this.ranges = what.ranges ?? [];
    this.fua = what.fua ?? false;
    this.deallocate = what.deallocate ?? false;
  }

  /** Blocks, or ranges, in all; a flush is one. */
  get total(): number {
    return this.kind === 'flush' ? 1 : this.kind === 'deallocate' ? this.ranges.length : this.blocks;
  }

  requestDone(request: Request): void {
    this.head!.requestDone(this, request);
  }

  /** A command ended with an error; the first one counts. */
  failed(status: number): void {
    if (this.status === 0) this.status = status;
  }

  /** The owner gives up: `ioDone` comes as soon as his buffers are not needed any more, with 371h if anything was sent. */
  abandon(): void {
    if (this.over || this.abandoned) return;
    this.abandoned = true;
    if (this.status === 0) this.status = this.started === 0 ? Status.HostPathError : Status.AbortedByHost;
    this.head?.abandon(this);
  }
}
