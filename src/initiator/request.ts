/**
 * One command on its way: `queue.submit(request)` down, `owner.requestDone(request)` up, nothing in between. Whoever
 * makes one keeps it and uses it again; the steady state allocates none.
 *
 *     idle → waiting (no slot is free) → sent (in a slot) → idle
 *
 * The parts belong to the queue from `submit` to `requestDone`: data that is read lands directly in them, data that
 * is written leaves from them uncopied.
 */
import { viewOf } from '../layout/struct.ts';
import { empty } from '../runtime/empty.ts';
import { PSDT_SGL, SqeHead } from '../nvme/sqe.ts';
import type { Association } from './association.ts';
import type { Path } from './path.ts';
import type { Queue } from './queue.ts';

/** `in`: to the host; `out`: to the controller. */
export type Direction = 'none' | 'in' | 'out';

export interface RequestOwner {
  /** The command is over: `request.status`, `dw0` and `dw1` say how. Never called inside `submit`. */
  requestDone(request: Request): void;
}

export class Request {
  owner: RequestOwner;
  readonly sqe = new Uint8Array(64);
  readonly view = viewOf(this.sqe);

  direction: Direction = 'none';
  /** Where the data comes from or goes to, in order. */
  readonly parts: Uint8Array[] = [];
  /** The sum of `parts`, bytes. */
  length = 0;
  /** `in`: success with less data than `length` is a fault of the controller's. */
  exact = true;
  /** Milliseconds from sending to the answer; Infinity: for ever. */
  timeout = Infinity;
  /** May take the slot that is kept free for it (Keep Alive), and does not stand in line. */
  urgent = false;

  /** How it ended: 0, or a status of status.ts. 370h: never sent; 371h: sent, perhaps, and never answered. */
  status = 0;
  dw0 = 0;
  dw1 = 0;
  /** `in`: data that arrived, bytes. */
  received = 0;

  // What follows is the head's own: the part of an I/O that it is, and the way it went.

  start = 0;
  count = 0;
  /** How often this part was repeated because of its status. */
  retries = 0;
  path: Path | undefined = undefined;
  association: Association | undefined = undefined;

  // What follows is the queue's own.

  place: 'idle' | 'waiting' | 'sent' = 'idle';
  queue: Queue | undefined = undefined;
  /** Index of its slot. */
  slot = -1;

  constructor(owner: RequestOwner) {
    this.owner = owner;
  }

  /** A new command: everything is zero but opcode and PSDT (fabrics allow SGLs only). */
  begin(opcode: number): void {
    this.sqe.fill(0);
    SqeHead.opc.set(this.view, 0, opcode);
    SqeHead.flags.psdt.set(this.view, 0, PSDT_SGL);
    this.direction = 'none';
    empty(this.parts);
    this.length = 0;
    this.exact = true;
    this.timeout = Infinity;
    this.urgent = false;
    this.status = this.dw0 = this.dw1 = this.received = 0;
  }

  /** Adds a buffer to the data. */
  add(direction: Direction, part: Uint8Array): void {
    this.direction = direction;
    this.parts.push(part);
    this.length += part.length;
  }
}
