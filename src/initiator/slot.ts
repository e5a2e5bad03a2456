/**
 * A command slot of a queue: the place of one request from its capsule to its answer. The index is the low part of
 * the CID; the top four bits count how often the slot was used, so that an answer to an older command is recognised.
 *
 *     free → outstanding → answered, while the socket still has its data → free
 */
import { concat } from '../layout/bytes.ts';
import type { Sent } from '../pdu/sender.ts';
import type { Queue } from './queue.ts';
import { Request, type RequestOwner } from './request.ts';

/** Bits of a CID that are the index. */
export const INDEX_BITS = 12;
export const INDEX_MASK = 2 ** INDEX_BITS - 1;

/** Owns requests that nobody waits for any more. */
const NOBODY: RequestOwner = {
  requestDone() {
    // Its slot is free again: that was all.
  },
};

export class Slot implements Sent {
  readonly queue: Queue;
  readonly index: number;
  /** The CID of the present, or last, request. */
  cid: number;
  request: Request | undefined = undefined;

  /** In `Clock.now()` milliseconds. */
  deadline = Infinity;
  /** How often the keep-alive timer had looked when it was sent. */
  look = 0;
  answered = false;
  /** It was not answered in time, and the controller was asked to abort it. */
  aborting = false;
  /** Writes with data of ours that the socket still has. */
  unsent = 0;
  /** `out`: data handed to the socket, bytes. */
  granted = 0;
  /** `in`: the last C2HData PDU has come. */
  last = false;
  digestOk = true;
  /** The owner has given up, and gets his request back as soon as the socket has let go of it. */
  leaving = false;
  /** `in`: the part that is being filled, and how much of it. */
  #part = 0;
  #filled = 0;
  /** The data that comes is dropped. */
  #discard = false;

  constructor(queue: Queue, index: number) {
    this.queue = queue;
    this.index = index;
    this.cid = index;
  }

  /** A new use; the CID is another than last time. */
  begin(request: Request, now: number): void {
    this.request = request;
    this.cid = (this.cid + (1 << INDEX_BITS)) & 0xffff;
    this.deadline = now + request.timeout;
    this.answered = this.aborting = this.last = this.leaving = this.#discard = false;
    this.digestOk = true;
    this.granted = 0;
    this.#part = this.#filled = 0;
  }

  /** Puts payload where it belongs. The caller has checked that there is room. */
  land(request: Request, chunk: Uint8Array, start: number, end: number): void {
    request.received += end - start;
    if (this.#discard) return;
    for (let at = start; at < end;) {
      const part = request.parts[this.#part]!;
      const take = Math.min(end - at, part.length - this.#filled);
      part.set(at === 0 && take === chunk.length ? chunk : chunk.subarray(at, at + take), this.#filled);
      at += take;
      this.#filled += take;
      if (this.#filled === part.length) {
        this.#part++;
        this.#filled = 0;
      }
    }
  }

  /**
   * The owner's buffers are not needed any more: another request that owns what it needs takes the place. Gives the
   * request that is free to go.
   */
  replace(): Request {
    const request = this.request!;
    const ghost = new Request(NOBODY);
    ghost.begin(0);
    if (request.direction === 'out' && this.granted < request.length)
      // Not `slice`: of a `Buffer` it gives another view of the same memory.
      ghost.parts.push(concat(request.parts.map((part) => new Uint8Array(part))));
    ghost.direction = request.direction;
    ghost.length = request.length;
    ghost.received = request.received;
    ghost.exact = request.exact;
    ghost.place = 'sent';
    ghost.queue = this.queue;
    ghost.slot = this.index;
    this.#discard = true;
    this.leaving = false;
    this.request = ghost;
    return request;
  }

  sent(): void {
    this.unsent--;
    if (this.unsent === 0) this.queue.letGo(this);
  }
}
