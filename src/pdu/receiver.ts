/**
 * Bytes → PDUs. The header is copied into a scratch of its own, so that it never straddles chunks; payload is never
 * copied: the handler gets slices of the chunks. What can be said of a PDU by itself is checked here (type, HLEN, PDO,
 * PLEN, digests); what depends on the connection's state is the handler's.
 *
 *     common header (8 bytes) → header (HLEN, digest) → padding up to PDO → payload → data digest
 */
import { Fes, ProtocolFault, invalidField, sequenceError } from './fault.ts';
import { C2HData, CommonHeader, Flag, H2CData, PDUS, PduType, type PduInfo, type Role } from './pdus.ts';

export interface PduHandler {
  /** The header is complete and its digest is right. `dataLength` bytes of payload follow. Throw ProtocolFault to refuse. */
  onHeader(type: number, header: DataView, dataLength: number): void;
  /** Payload of the PDU announced last: `chunk[start, end)`. The slice may be kept; the chunk is not written again. */
  onData(chunk: Uint8Array, start: number, end: number): void;
  /** The PDU is complete. `digestOk` is false when its data digest does not match the payload. */
  onPdu(type: number, header: DataView, digestOk: boolean): void;
}

/** A TermReq carries at most this much of the offending PDU's header. */
const MAX_TERM_DATA = 128;
const LONGEST = 24 + MAX_TERM_DATA;
const DIGEST = 4;
/** Bytes of a chunk with more than a few headers. */
const MANY = 256;

export class Receiver {
  readonly #peer: Role;
  readonly #handler: PduHandler;
  readonly #crc32c: (bytes: Uint8Array, previous: number) => number;

  /** As negotiated by ICReq and ICResp. */
  headerDigest = false;
  dataDigest = false;
  /** Payload starts at a multiple of this (CPDA or HPDA as we told the peer). */
  alignment = 4;
  /** The most in-capsule data that a CapsuleCmd may carry. */
  maxCapsuleData = 8192;
  /** The most payload in one H2CData or C2HData PDU. */
  maxData = 0xffffffff;

  readonly #scratch = new Uint8Array(LONGEST + DIGEST);
  /** The header that is being, or was last, received. */
  readonly header = new DataView(this.#scratch.buffer);
  #info: PduInfo | undefined = undefined;
  #initialized = false;
  /** Bytes of the header in the scratch, and how many are wanted before something can be decided. */
  #have = 0;
  #want = 8;
  /** Bytes still to come of each part after the header. */
  #padding = 0;
  #data = 0;
  #digest = 0;
  #hasDigest = false;
  #crc = 0;
  #received = 0;

  constructor(peer: Role, handler: PduHandler, crc32c: (bytes: Uint8Array, previous: number) => number) {
    this.#peer = peer;
    this.#handler = handler;
    this.#crc32c = crc32c;
  }

  /** How much of the header is in `header`: what a TermReq may quote. */
  get headerBytes(): number {
    return Math.min(this.#have, MAX_TERM_DATA);
  }

  /** Set by a handler that wants nothing more: what is left of the chunk is dropped. */
  stopped = false;
  /** PDUs that were completed, ever. */
  completed = 0;

  /** Whether a PDU is only partly here. */
  get midPdu(): boolean {
    return this.#have > 0;
  }

  /** Takes what arrived, split anywhere. Throws ProtocolFault; nothing may be pushed after that. */
  push(chunk: Uint8Array): void {
    let at = 0;
    const length = chunk.length;
    // A view costs as much as it saves for a few headers.
    const words = length >= MANY ? new DataView(chunk.buffer, chunk.byteOffset, length) : undefined;
    while (at < length && !this.stopped) {
      if (this.#have < this.#want) {
        const take = Math.min(this.#want - this.#have, length - at);
        let i = 0;
        if (words !== undefined)
          for (; i + 4 <= take; i += 4) this.header.setUint32(this.#have + i, words.getUint32(at + i));
        for (; i < take; i++) this.#scratch[this.#have + i] = chunk[at + i]!;
        this.#have += take;
        at += take;
        if (this.#have < this.#want) return;
        if (this.#info === undefined) {
          this.#commonHeader();
          continue;
        }
        this.#headerComplete(this.#info);
      } else if (this.#padding > 0) {
        const take = Math.min(this.#padding, length - at);
        this.#padding -= take;
        at += take;
      } else if (this.#data > 0) {
        const take = Math.min(this.#data, length - at);
        if (this.#hasDigest) this.#crc = this.#crc32c(chunk.subarray(at, at + take), this.#crc);
        this.#handler.onData(chunk, at, at + take);
        this.#data -= take;
        at += take;
      } else {
        const take = Math.min(this.#digest, length - at);
        for (let i = 0; i < take; i++) this.#received |= chunk[at + i]! << (8 * (4 - this.#digest + i));
        this.#digest -= take;
        at += take;
      }
      if (this.#info !== undefined && this.#padding + this.#data + this.#digest === 0)
        this.#complete(this.#info);
    }
  }

  #complete(info: PduInfo): void {
    const digestOk = !this.#hasDigest || this.#received >>> 0 === this.#crc;
    if (info.type <= PduType.ICResp) this.#initialized = true;
    this.completed++;
    this.#handler.onPdu(info.type, this.header, digestOk);
    this.#info = undefined;
    this.#have = 0;
    this.#want = 8;
  }

  /** What the first eight bytes tell is checked before more is waited for. */
  #commonHeader(): void {
    const type = CommonHeader.type.get(this.header, 0);
    const info = PDUS[type];
    this.#checkSequence(type, info);
    if (info?.sentBy !== this.#peer)
      throw invalidField(
        CommonHeader.type.offset,
        `PDU type ${type.toString(16)}h is not sent by a ${this.#peer}`,
      );
    const hlen = CommonHeader.hlen.get(this.header, 0);
    const plen = CommonHeader.plen.get(this.header, 0);
    if (type === PduType.H2CTermReq || type === PduType.C2HTermReq) {
      if (hlen !== info.hlen || plen < info.hlen || plen > LONGEST)
        throw new ProtocolFault(Fes.InvalidHeaderField, 4, `${info.name} of ${plen} bytes`, true);
      this.#expect(info, 0, plen - hlen, false);
      return;
    }
    if (hlen !== info.hlen)
      throw invalidField(CommonHeader.hlen.offset, `${info.name} with HLEN ${hlen}, not ${info.hlen}`);
    const headerDigest = this.#headerDigested(info);
    if (info.digest && ((CommonHeader.flags.word(this.header, 0) & Flag.hdgst) !== 0) !== headerDigest)
      throw invalidField(CommonHeader.flags.offset, `HDGSTF of ${info.name} is not what was negotiated`);
    this.#expect(info, 0, 0, false);
    if (plen < this.#want)
      throw invalidField(CommonHeader.plen.offset, `${info.name} with PLEN ${plen}, less than ${this.#want}`);
    // With a header digest the rest is believed, and judged, only once the digest was right.
    if (!headerDigest) this.#lengths(info);
  }

  /** PLEN, PDO and DDGSTF of everything but a TermReq: what follows the header. */
  #lengths(info: PduInfo): void {
    const plen = CommonHeader.plen.get(this.header, 0);
    const headerEnd = this.#want;
    // Without data PDO is reserved; some hosts set it to the end of the header all the same.
    const hasData = info.data && plen > headerEnd;
    if (!hasData) {
      if (plen !== headerEnd)
        throw invalidField(CommonHeader.plen.offset, `${info.name} with PLEN ${plen}, not ${headerEnd}`);
      return;
    }
    let pdo = CommonHeader.pdo.get(this.header, 0);
    // One host leaves PDO 0 in a capsule with data, and means right after the header.
    if (pdo === 0 && info.type === PduType.CapsuleCmd) pdo = headerEnd;
    if (pdo < headerEnd || pdo % this.alignment !== 0)
      throw invalidField(
        CommonHeader.pdo.offset,
        `${info.name} with PDO ${pdo} (header ends at ${headerEnd}, alignment ${this.alignment})`,
      );
    if (((CommonHeader.flags.word(this.header, 0) & Flag.ddgst) !== 0) !== this.dataDigest)
      throw invalidField(CommonHeader.flags.offset, `DDGSTF of ${info.name} is not what was negotiated`);
    const length = plen - pdo - (this.dataDigest ? DIGEST : 0);
    if (length <= 0)
      throw invalidField(CommonHeader.plen.offset, `${info.name} with PLEN ${plen} and PDO ${pdo}`);
    if (info.type === PduType.CapsuleCmd && length > this.maxCapsuleData)
      throw invalidField(
        CommonHeader.plen.offset,
        `${length} bytes in a capsule, at most ${this.maxCapsuleData} allowed`,
      );
    if (info.type !== PduType.CapsuleCmd && length > this.maxData)
      throw new ProtocolFault(
        Fes.LimitExceeded,
        0,
        `${info.name} with ${length} bytes of data, at most ${this.maxData} allowed`,
      );
    this.#expect(info, pdo - headerEnd, length, this.dataDigest);
  }

  #headerDigested(info: PduInfo): boolean {
    return info.digest && this.headerDigest;
  }

  /** The first PDU initializes the connection and no later one does; a TermReq may come at any time. */
  #checkSequence(type: number, info: PduInfo | undefined): void {
    const initialize = this.#peer === 'host' ? PduType.ICReq : PduType.ICResp;
    const terminate = this.#peer === 'host' ? PduType.H2CTermReq : PduType.C2HTermReq;
    if (type === terminate || (type === initialize) !== this.#initialized) return;
    const name = info?.name ?? `PDU type ${type.toString(16)}h`;
    throw sequenceError(
      this.#initialized ? `a second ${name}` : `${name} before the connection is initialized`,
    );
  }

  #expect(info: PduInfo, padding: number, data: number, digest: boolean): void {
    this.#info = info;
    this.#want = info.hlen + (this.#headerDigested(info) ? DIGEST : 0);
    this.#padding = padding;
    this.#data = data;
    this.#hasDigest = digest;
    this.#digest = digest ? DIGEST : 0;
    this.#crc = 0;
    this.#received = 0;
  }

  #headerComplete(info: PduInfo): void {
    if (this.#headerDigested(info)) {
      const received = this.header.getUint32(info.hlen, true);
      if (received !== this.#crc32c(this.#scratch.subarray(0, info.hlen), 0))
        throw new ProtocolFault(Fes.HeaderDigestError, received, `in ${info.name}`);
      this.#lengths(info);
    }
    const data = this.#data;
    if (info.type === PduType.H2CData || info.type === PduType.C2HData) {
      const datal = info.type === PduType.H2CData ? H2CData.datal : C2HData.datal;
      if (datal.get(this.header, 0) !== data)
        throw invalidField(
          datal.offset,
          `${info.name} with DATAL ${datal.get(this.header, 0)}, but ${data} bytes of data`,
        );
    }
    this.#handler.onHeader(info.type, this.header, data);
  }
}
