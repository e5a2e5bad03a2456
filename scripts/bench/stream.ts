/**
 * One connection of the load generator: sends commands that were encoded beforehand, and skips through what comes back
 * as fast as it can, so that it is not what is measured. It knows just enough of NVMe/TCP to connect a queue without SQ
 * flow control, where a read is answered by one C2HData PDU. Beside a bare server, which answers in order and knows no
 * CIDs, it does the same with the same bytes.
 */
import { connect, type Socket } from 'node:net';
import { Flag, PduType } from '../../src/pdu/pdus.ts';
import {
  Commands,
  connectCapsule,
  enableCapsule,
  icReq,
  identifyCapsule,
  COMMANDS,
  type Encoded,
} from './encoded.ts';
import { Latencies } from './numbers.ts';
import type { Work } from './work.ts';

const HEADER = 24;
/** Whatever is received is looked at before anything else is. */
const RECEIVED = new Uint8Array(1 << 18);
const RECEIVED_VIEW = new DataView(RECEIVED.buffer);

export interface Place {
  readonly port: number;
  /** Of the subsystem; undefined: a bare server. */
  readonly nqn?: string | undefined;
}

export class Stream {
  readonly latencies = new Latencies();
  done = 0;
  readonly #socket: Socket;
  readonly #place: Place;
  readonly #commands: Commands;
  readonly #depth: number;
  readonly #digests: boolean;
  readonly #host: number;
  readonly #started = new Float64Array(COMMANDS);
  #outstanding = 0;
  /** What is answered is followed by as much again. */
  #keeps = true;
  /** After a burst: everything is answered. */
  onQuiet: (() => void) | undefined = undefined;
  readonly #scratch = new DataView(new ArrayBuffer(HEADER));
  #have = 0;
  /** Of the PDU under way: bytes that are still to come, and whether it ends a command. */
  #skip = 0;
  #ends = false;
  #cid = 0;
  #asked = 0;
  #now = 0;
  /** Set while the queue is connected: gets the next PDU's header. */
  #setup: ((header: DataView) => void) | undefined = undefined;

  /** `host`: which of many hosts it is. */
  constructor(place: Place, work: Work, encoded: Encoded, first = 0, host = 0) {
    this.#place = place;
    this.#depth = work.depth;
    this.#digests = work.digests;
    this.#host = host;
    this.#commands = new Commands(encoded, first);
    const callback = (bytes: number): boolean => {
      this.#received(RECEIVED_VIEW, bytes);
      return true;
    };
    this.#socket = connect({
      port: place.port,
      host: '127.0.0.1',
      noDelay: true,
      onread: { buffer: RECEIVED, callback },
    });
    this.#socket.on('error', (error) => {
      throw error;
    });
    this.#socket.on('end', () => {
      throw new Error('the server has closed the connection');
    });
  }

  /** Connects the queue, and the controller with its Admin queue; gives the CNTLID. */
  async open(qid: number, cntlid: number): Promise<number> {
    const { nqn } = this.#place;
    if (nqn === undefined) return 0;
    await this.#answer(icReq(this.#digests));
    const header = await this.#answer(
      connectCapsule(nqn, qid, cntlid, this.#depth, this.#digests, this.#host),
    );
    if (qid === 0) await this.#answer(enableCapsule(this.#digests));
    return header.getUint16(8, true);
  }

  /** Identify Controller. */
  async identify(): Promise<void> {
    await this.#answer(identifyCapsule(this.#digests));
  }

  #answer(request: Uint8Array): Promise<DataView> {
    return new Promise((resolve) => {
      this.#setup = (header) => {
        this.#setup = undefined;
        resolve(header);
      };
      this.#socket.write(request);
    });
  }

  /** Keeps `depth` commands under way from here on. */
  run(): void {
    this.#keeps = true;
    this.#now = performance.now();
    this.#ask(this.#depth);
  }

  /** Sends `depth` commands; `onQuiet` follows when all of them are answered. */
  burst(): void {
    this.#keeps = false;
    this.#now = performance.now();
    this.#ask(this.#depth);
  }

  /** Sends no more, and waits for what is under way. */
  halt(): Promise<void> {
    this.#keeps = false;
    return new Promise((resolve) => {
      if (this.#outstanding === 0) resolve();
      else this.onQuiet = resolve;
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Counts from zero. */
  clear(): void {
    this.done = 0;
    this.latencies.clear();
  }

  readonly #begin = (cid: number): void => {
    this.#started[cid] = this.#now;
  };
  readonly #send = (bytes: Uint8Array): void => {
    this.#socket.write(bytes);
  };

  #ask(count: number): void {
    this.#outstanding += count;
    this.#commands.take(count, this.#begin, this.#send);
  }

  #received(view: DataView, length: number): void {
    this.#now = performance.now();
    let at = 0;
    let ended = 0;
    while (at < length) {
      if (this.#skip > 0) {
        const take = Math.min(this.#skip, length - at);
        this.#skip -= take;
        at += take;
      } else if (this.#have === 0 && length - at >= HEADER) {
        this.#header(view, at);
        at += HEADER;
      } else {
        this.#scratch.setUint8(this.#have++, view.getUint8(at++));
        if (this.#have < HEADER) continue;
        this.#have = 0;
        this.#header(this.#scratch, 0);
      }
      if (this.#skip === 0 && this.#have === 0 && this.#ends) {
        this.#ends = false;
        ended++;
        this.latencies.add((this.#now - this.#started[this.#cid]!) * 1000);
      }
    }
    this.done += ended;
    if (ended === 0) return;
    this.#outstanding -= ended;
    if (this.#keeps) this.#ask(ended);
    else if (this.#outstanding === 0) this.onQuiet?.();
  }

  #header(view: DataView, at: number): void {
    const type = view.getUint8(at);
    this.#skip = view.getUint32(at + 4, true) - HEADER;
    if (this.#setup !== undefined) {
      if (type === PduType.CapsuleResp) expectSuccess(view, at);
      if (type === PduType.C2HData && (view.getUint8(at + 1) & Flag.success) === 0) return;
      this.#setup(new DataView(view.buffer.slice(view.byteOffset + at, view.byteOffset + at + HEADER)));
      return;
    }
    if (type === PduType.R2T) {
      const [cid, tag] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
      for (const part of this.#commands.data(
        cid,
        tag,
        view.getUint32(at + 12, true),
        view.getUint32(at + 16, true),
      ))
        this.#socket.write(part);
      return;
    }
    if (type === PduType.CapsuleResp) expectSuccess(view, at);
    else if (type !== PduType.C2HData) throw new Error(`PDU of type ${type}`);
    this.#ends = type === PduType.CapsuleResp || (view.getUint8(at + 1) & Flag.success) !== 0;
    if (this.#place.nqn === undefined) this.#cid = this.#asked++ % COMMANDS;
    else this.#cid = view.getUint16(at + (type === PduType.CapsuleResp ? 20 : 8), true);
  }
}

function expectSuccess(view: DataView, at: number): void {
  const status = view.getUint16(at + 22, true) >> 1;
  if (status !== 0) throw new Error(`a command ended with status ${status.toString(16)}h`);
}
