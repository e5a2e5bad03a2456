/**
 * Replies → one write per event-loop turn. Headers are built in a slab and neighbours leave as one part; payload is
 * handed over as it is, never copied. Whoever handles an event sets `hold` and calls `flush` at its end; what is
 * appended outside an event leaves at the end of the turn.
 *
 * The PDU sender gathers in the same way, and stays apart: framing and digests are part of how it cuts, on its hottest
 * path, and this package knows nothing of PDUs.
 */
import type { Clock, Transport } from '../runtime/ports.ts';

const SLAB = 8192;

/** Somebody who wants to know when the socket has taken (or given up) what he appended. */
export interface Sent {
  sent(): void;
}

export class Sender {
  readonly #clock: Clock;
  readonly #transport: Transport;
  /** While true, an event is being handled that will call `flush` at its end. */
  hold = false;
  #slab = new Uint8Array(0);
  /** Over the current slab; fields are set at the offset that `begin` gives. */
  view = new DataView(this.#slab.buffer);
  /** Where the next header goes, and where the headers that are not in `#parts` yet begin. */
  #end = 0;
  #start = 0;
  #parts: Uint8Array[] = [];
  #sent: Sent[] = [];
  #deferred = false;
  #dead = false;
  /** Writes that the transport has not taken. */
  #writes = 0;
  /** Bytes that were appended in this turn. */
  #bytes = 0;
  /** Bytes that the client has not taken: appended in this turn, or in the transport. */
  pending = 0;
  readonly #drained: () => void;

  /** `drained`: the transport has taken a write. */
  constructor(clock: Clock, transport: Transport, drained: () => void) {
    this.#clock = clock;
    this.#transport = transport;
    this.#drained = drained;
  }

  /** Nothing is on its way. */
  get idle(): boolean {
    return (
      this.#writes === 0 && this.#parts.length === 0 && this.#end === this.#start && this.#sent.length === 0
    );
  }

  /** Room for a header of `size` bytes (up to a few hundred), all zero; its offset in `view`. */
  begin(size: number): number {
    if (this.#slab.length - this.#end < size) {
      this.#cut();
      // What the socket still has is of the old slab.
      this.#slab = new Uint8Array(SLAB);
      this.view = new DataView(this.#slab.buffer);
      this.#start = this.#end = 0;
    }
    const at = this.#end;
    this.#end += size;
    this.#count(size);
    this.#schedule();
    return at;
  }

  /** Bytes that follow what was begun last. They belong to the sender until `sent`. */
  payload(part: Uint8Array): void {
    if (part.length === 0) return;
    this.#cut();
    this.#parts.push(part);
    this.#count(part.length);
    this.#schedule();
  }

  /** `who.sent()` is called once when everything appended so far has left our hands. */
  notify(who: Sent): void {
    this.#sent.push(who);
    this.#schedule();
  }

  flush(): void {
    this.#cut();
    const parts = this.#parts;
    const sent = this.#sent;
    if (parts.length === 0 && sent.length === 0) return;
    this.#parts = [];
    this.#sent = [];
    const bytes = this.#bytes;
    this.#bytes = 0;
    this.#writes++;
    const taken = (): void => {
      this.#writes--;
      this.pending -= bytes;
      for (const who of sent) who.sent();
      this.#drained();
    };
    if (this.#dead || parts.length === 0) taken();
    else this.#transport.write(parts, taken);
  }

  /** The transport is gone: from here on everything is dropped, and told so. */
  abandon(): void {
    this.#dead = true;
    this.flush();
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.pending += bytes;
  }

  /** The headers since the last cut become one part. */
  #cut(): void {
    if (this.#end > this.#start) this.#parts.push(this.#slab.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }

  #schedule(): void {
    if (this.hold || this.#deferred) return;
    this.#deferred = true;
    this.#clock.defer(() => {
      this.#deferred = false;
      this.flush();
    });
  }
}
