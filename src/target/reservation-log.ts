/**
 * Reservation Notification log of one controller (LID 80h; Base 2.1, section 5.1.12.1.32): a queue of pages, each read
 * once, the oldest first.
 */
import { ReservationLog as Page } from '../nvme/logs.ts';
import { Fifo } from '../runtime/fifo.ts';

/** Pages that are kept. */
export const RESERVATION_LOG_PAGES = 64;
/** What NALP can tell. */
const MOST_AVAILABLE = 255;
const LAST_COUNT = 0xffffffffffffffffn;

interface Entry {
  lpc: bigint;
  readonly type: number;
  readonly nsid: number;
}

export class ReservationLog {
  /** LPC of the last notification; 0: none since the controller was reset. */
  #count = 0n;
  readonly #pages = new Fifo<Entry>();
  #last: Entry | undefined = undefined;

  /** Notifications since the controller was reset, also those that were lost. */
  get count(): bigint {
    return this.#count;
  }

  /** `type` is a `ReservationLogType`. One for which there is no room is lost, and seen in the last page's count. */
  add(type: number, nsid: number): void {
    this.#count = this.#count === LAST_COUNT ? 1n : this.#count + 1n;
    if (this.#pages.length === RESERVATION_LOG_PAGES) this.#last!.lpc = this.#count;
    else this.#pages.push((this.#last = { lpc: this.#count, type, nsid }));
  }

  /** The oldest page; all zeroes when there is none. */
  encode(): Uint8Array {
    const page = this.#pages.peek();
    if (page === undefined) return Page.bytes({});
    const { lpc, type, nsid } = page;
    const nalp = Math.min(this.#pages.length - 1, MOST_AVAILABLE);
    return Page.bytes({ lpc, rnlpt: type, nalp, nsid });
  }

  /** The oldest page was read. */
  read(): void {
    this.#pages.shift();
  }

  /** A controller reset. */
  reset(): void {
    this.#count = 0n;
    this.#pages.clear();
    this.#last = undefined;
  }
}
