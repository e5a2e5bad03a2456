/**
 * One I/O on a head, as its user sees it: any length, any number of buffers. The head makes commands of it, as many
 * as the path's limits ask for, and `owner.ioDone` is called once, when the last of them is over.
 */
import { Status } from '../nvme/status.ts';
import type { BlockRange, RawCommand } from './commands.ts';
import type { Head } from './head.ts';
import type { Piece } from './pieces.ts';
import type { Request, RequestOwner } from './request.ts';

export type IoKind = 'read' | 'write' | 'flush' | 'zeroes' | 'deallocate' | 'compare' | 'command';

export interface IoOwner {
  /** `io.status` is 0, or the status of the first command that failed; the buffers belong to the owner again. */
  ioDone(io: Io): void;
}

/** Kinds that change blocks. What `command` does, it says itself. */
const CHANGES: ReadonlySet<IoKind> = new Set(['write', 'zeroes', 'deallocate']);

export class Io implements RequestOwner {
  readonly owner: IoOwner;
  readonly kind: IoKind;
  /** Not for flush, deallocate and command. `blocks` is a count. */
  readonly slba: number;
  readonly blocks: number;
  /** Where data is read into or written from, in order; in all `blocks` blocks. */
  readonly buffers: readonly Uint8Array[];
  /** Deallocate: in order; the head splits those that are too long for one command. */
  readonly ranges: readonly BlockRange[];
  /** Write, zeroes: complete only when it is on stable storage. */
  readonly fua: boolean;
  /** Zeroes: the blocks may be given up. */
  readonly deallocate: boolean;
  /** Command: what is sent as it is, as one command. */
  readonly command: RawCommand | undefined;
  /** Blocks, of deallocate over all ranges; a flush or a command is one. */
  readonly total: number;
  /** It changes media, reservations or the namespace. */
  readonly changes: boolean;
  /** Carried out twice it ends as it does once. */
  readonly repeatable: boolean;
  status = 0;
  /** It failed, and a part of it may have been carried out, or may yet be: nobody can tell. */
  unknown = false;
  /** Given up by its owner: no more commands are made of it. */
  abandoned = false;
  /** Dwords 0 and 1 of the last answer. */
  dw0 = 0;
  dw1 = 0;

  // What follows is the head's own.

  head: Head | undefined = undefined;
  /** Blocks that commands were made of. */
  started = 0;
  /** Commands that are under way. */
  readonly running: Request[] = [];
  /** Parts that are to be sent again. */
  readonly again: Piece[] = [];
  /** Parts that wait, for other reasons than a path. */
  waiting = 0;
  /** A command of it may have left this host. */
  sent = false;
  over = false;

  constructor(
    owner: IoOwner,
    kind: IoKind,
    what: Partial<Pick<Io, 'slba' | 'blocks' | 'buffers' | 'ranges' | 'fua' | 'deallocate' | 'command'>> = {},
  ) {
    this.owner = owner;
    this.kind = kind;
    this.slba = what.slba ?? 0;
    this.blocks = what.blocks ?? 0;
    this.buffers = what.buffers ?? [];
    this.ranges = what.ranges ?? [];
    this.fua = what.fua ?? false;
    this.deallocate = what.deallocate ?? false;
    this.command = what.command;
    this.total =
      kind === 'flush' || kind === 'command'
        ? 1
        : kind === 'deallocate'
          ? this.ranges.reduce((sum, { blocks }) => sum + blocks, 0)
          : this.blocks;
    this.changes = this.command?.changes ?? CHANGES.has(kind);
    this.repeatable = this.command?.repeatable ?? kind !== 'compare';
  }

  requestDone(request: Request): void {
    this.head!.traffic.requestDone(this, request);
  }

  /** A command ended with an error; the first one counts. */
  failed(status: number): void {
    if (this.status === 0) this.status = status;
  }

  /** The owner gives up: `ioDone` comes as soon as his buffers are not needed any more, with 371h if anything was sent. */
  abandon(): void {
    if (this.over || this.abandoned) return;
    this.abandoned = true;
    if (this.status === 0)
      this.status = this.sent || this.running.length > 0 ? Status.AbortedByHost : Status.HostPathError;
    this.head?.traffic.abandon(this);
  }
}
