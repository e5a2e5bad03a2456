/**
 * PDUs → one write per event-loop turn. Headers are built in a slab and neighbours leave as one part; payload is
 * handed over as it is, never copied. Nothing goes out before `flush()`, which whoever handles the event calls at its
 * end; what is appended outside an event flushes itself at the end of the turn.
 */
import type { Clock, Transport } from '../runtime/ports.ts';
import { CommonHeader, Flag, PDUS } from './pdus.ts';
import { assert, must } from '../runtime/assert.ts';

const SLAB = 8192;
const DIGEST = 4;
/** Header, digest and the largest padding (HPDA 31: 128 bytes) of one PDU, and the digest after its data. */
const MOST_PER_PDU = 128 + DIGEST + 128 + DIGEST;

/** Somebody who wants to know when the socket has taken (or given up) the payload he appended. */
export interface Sent {
  sent(): void;
}

export class Sender {
  readonly #clock: Clock;
  readonly #transport: Transport;
  readonly #crc32c: (bytes: Uint8Array, previous: number) => number;

  headerDigest = false;
  dataDigest = false;
  /** Payload starts at a multiple of this (CPDA or HPDA as the peer told us). */
  alignment = 4;
  /** While true, an event is being handled that will call `flush` at its end. */
  hold = false;

  #slab = new Uint8Array(0);
  /** Over the current slab; fields of a PDU are set at the offset that `begin` gives. */
  view = new DataView(this.#slab.buffer);
  /** Where the next header goes, and where the headers that are not in `#parts` yet begin. */
  #end = 0;
  #start = 0;
  #parts: Uint8Array[] = [];
  /** An empty array for the next write; missing while a write is being handed over. */
  #spare: Uint8Array[] | undefined = [];
  #sent: Sent[] = [];
  /** Who waits for the newest write in the transport. */
  #flying: Sent[] | undefined = undefined;
  #bytes = 0;
  #deferred = false;
  #dead = false;

  /** The PDU that is being built. */
  #at = 0;
  #hlen = 0;
  #digestHeader = false;
  #digestData = false;
  #padding = 0;
  #data = 0;

  /** Bytes that were handed to the transport and not taken yet. */
  backlog = 0;
  /** Bytes that were handed to the transport since the beginning. */
  total = 0;
  /** Called when the transport has taken a write; `backlog` is smaller now. */
  onDrain: (() => void) | undefined = undefined;

  constructor(clock: Clock, transport: Transport, crc32c: (bytes: Uint8Array, previous: number) => number) {
    this.#clock = clock;
    this.#transport = transport;
    this.#crc32c = crc32c;
  }

  /** Bytes that the peer has not taken: appended in this turn, or in the transport. */
  get pending(): number {
    return this.#bytes + this.backlog;
  }

  /**
   * Begins a PDU and gives the offset of its header in `view`, all zero but for the common header. `flags` without the
   * digest bits. Set its fields, `payload()` exactly `dataLength` bytes, then `end()`.
   */
  begin(type: number, flags: number, dataLength: number): number {
    const info = must(PDUS[type], 'a PDU type that exists');
    if (this.#slab.length - this.#end < MOST_PER_PDU) this.#newSlab();
    const at = this.#end;
    const digestHeader = info.digest && this.headerDigest;
    const headerEnd = info.hlen + (digestHeader ? DIGEST : 0);
    // A TermReq's data is part of nothing that is aligned or digested.
    const framed = dataLength > 0 && info.digest;
    const pdo = framed ? Math.ceil(headerEnd / this.alignment) * this.alignment : 0;
    const digestData = framed && this.dataDigest;
    const view = this.view;
    view.setUint8(at, type);
    view.setUint8(at + 1, flags | (digestHeader ? Flag.hdgst : 0) | (digestData ? Flag.ddgst : 0));
    view.setUint8(at + 2, info.hlen);
    view.setUint8(at + 3, pdo);
    const plen = (framed ? pdo : headerEnd) + dataLength + (digestData ? DIGEST : 0);
    CommonHeader.plen.set(view, at, plen);
    this.#at = at;
    this.#hlen = info.hlen;
    this.#digestHeader = digestHeader;
    this.#digestData = digestData;
    this.#padding = framed ? pdo - headerEnd : 0;
    this.#data = dataLength;
    this.#bytes += plen;
    return at;
  }

  /** Ends the PDU: its header goes out with digest and padding, then `payload` (in all `dataLength` bytes), then the digest. */
  end(payload?: readonly Uint8Array[]): void {
    let to = this.#at + this.#hlen;
    if (this.#digestHeader) {
      this.view.setUint32(to, this.#crc32c(this.#slab.subarray(this.#at, to), 0), true);
      to += DIGEST;
    }
    // A slab is used once, and is all zeroes until then.
    to += this.#padding;
    this.#end = to;
    if (this.#data > 0) {
      this.#cut();
      let crc = 0;
      let length = 0;
      for (const part of must(payload, 'payload as announced')) {
        if (part.length === 0) continue;
        this.#parts.push(part);
        length += part.length;
        if (this.#digestData) crc = this.#crc32c(part, crc);
      }
      assert(length === this.#data, 'payload as long as announced');
      if (this.#digestData) {
        this.view.setUint32(this.#end, crc, true);
        this.#end += DIGEST;
      }
    }
    this.#schedule();
  }

  /** `who.sent()` is called once when everything appended so far has left our hands. */
  notify(who: Sent): void {
    this.#sent.push(who);
    this.#schedule();
  }

  /** Hands what was appended to the transport, as one write. */
  flush(): void {
    if (this.#bytes === 0 && this.#sent.length === 0) return;
    this.#cut();
    const parts = this.#parts;
    const bytes = this.#bytes;
    const sent = this.#sent;
    this.#sent = [];
    if (bytes === 0 && this.#flying !== undefined) {
      // Nothing new: whoever asks waits for what is on its way already.
      this.#flying.push(...sent);
      return;
    }
    this.#bytes = 0;
    this.backlog += bytes;
    this.total += bytes;
    const taken = (): void => {
      this.backlog -= bytes;
      if (this.#flying === sent) this.#flying = undefined;
      for (const who of sent) who.sent();
      this.onDrain?.();
    };
    if (this.#dead || parts.length === 0) {
      parts.length = 0;
      taken();
      return;
    }
    // The transport may call `taken` before it returns, and that may append and flush again.
    this.#parts = this.#spare ?? [];
    this.#spare = undefined;
    this.#flying = sent;
    this.#transport.write(parts, taken);
    parts.length = 0;
    this.#spare = parts;
  }

  /** The transport is gone: from here on everything is dropped, and told so. */
  abandon(): void {
    this.#dead = true;
    this.flush();
  }

  /** The headers since the last cut become one part. */
  #cut(): void {
    if (this.#end > this.#start) this.#parts.push(this.#slab.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }

  #newSlab(): void {
    this.#cut();
    this.#slab = new Uint8Array(SLAB);
    this.view = new DataView(this.#slab.buffer);
    this.#start = this.#end = 0;
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
