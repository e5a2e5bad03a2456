/**
 * A read. With structured replies it is answered in pieces, as they come from the disk, and with holes for what is
 * known to be zeroes; otherwise as a whole, once all of it is there.
 */
import type { Cancel, Extent, Problem } from './device.ts';
import { CHUNK_DONE, CommandFlag, Errno } from './protocol.ts';
import { dataChunk, holeChunk, simpleReply } from './replies.ts';
import type { Request } from './request.ts';
import type { Sent } from './sender.ts';

/** Asking what is a hole pays from here on. */
const WORTH_ASKING = 65_536;

/** Nobody hears of it. */
const GONE: Problem = { errno: Errno.EIO, message: 'the client has gone' };

export class Read {
  readonly request: Request;
  /** A piece is answered as soon as it is there. */
  readonly #piecewise: boolean;

  constructor(request: Request) {
    this.request = request;
    this.#piecewise = request.connection.structured && !request.has(CommandFlag.df);
  }

  start(): void {
    const { request } = this;
    const { device } = request.connection;
    const { offset, length } = request;
    if (!this.#piecewise || !device.knowsStatus || length < WORTH_ASKING) {
      this.#begin([{ length, hole: false, zero: false }]);
      return;
    }
    const asked = device.status(offset, length, (problem, extents) => {
      // Who cannot tell is read.
      this.#begin(problem === undefined ? whole(extents, length) : [{ length, hole: false, zero: false }]);
    });
    request.cancels.push(asked);
  }

  /** The extents are as long as the read. */
  #begin(extents: readonly Extent[]): void {
    const { request } = this;
    const { server } = request.connection;
    const most = this.#piecewise ? server.limits.readChunk : Infinity;
    const pieces: Piece[] = [];
    let at = request.offset;
    for (const { length, zero } of extents) {
      const step = zero ? length : most;
      for (let done = 0; done < length; done += step)
        pieces.push(new Piece(this, at + done, Math.min(step, length - done), zero));
      at += length;
    }
    request.running = pieces.length;
    for (const piece of pieces) piece.start();
  }

  /** A piece is there, or is not to be had. */
  pieceDone(piece: Piece, problem: Problem | undefined): void {
    const { request } = this;
    const { sender, structured } = request.connection;
    request.problem ??= problem;
    request.running--;
    const last = request.running === 0 && request.problem === undefined;
    if (request.problem !== undefined) piece.drop();
    else {
      const flags = last ? CHUNK_DONE : 0;
      request.answered = last;
      if (!structured) simpleReply(sender, request, 0);
      if (piece.buffer === undefined) holeChunk(sender, request, flags, piece.offset, piece.length);
      else {
        if (structured) dataChunk(sender, request, flags, piece.offset, piece.buffer);
        else sender.payload(piece.buffer);
        sender.notify(piece);
      }
    }
    if (request.running === 0) request.connection.requests.answer(request);
  }
}

/** A part of a read, with its buffer unless it is a hole. */
class Piece implements Sent {
  readonly #read: Read;
  readonly offset: number;
  readonly length: number;
  buffer: Uint8Array | undefined = undefined;

  constructor(read: Read, offset: number, length: number, hole: boolean) {
    this.#read = read;
    this.offset = offset;
    this.length = length;
    if (!hole) this.buffer = read.request.connection.server.buffers.take(length);
  }

  start(): void {
    const { connection, cancels, problem: failed } = this.#read.request;
    if (this.buffer === undefined || failed !== undefined || connection.lost) {
      this.#read.pieceDone(this, connection.lost ? GONE : undefined);
      return;
    }
    const cancel: Cancel = connection.device.read(this.offset, [this.buffer], (problem) => {
      this.#read.pieceDone(this, problem);
    });
    cancels.push(cancel);
  }

  drop(): void {
    if (this.buffer !== undefined) this.#read.request.connection.server.buffers.giveBack(this.buffer);
    this.buffer = undefined;
  }

  /** The socket has it. */
  sent(): void {
    this.drop();
  }
}

/** The extents, and after them what they leave out of `length` bytes, as in use. */
function whole(extents: readonly Extent[], length: number): Extent[] {
  const made: Extent[] = [];
  let left = length;
  for (const extent of extents) {
    const bytes = Math.min(extent.length, left);
    if (bytes > 0) made.push({ ...extent, length: bytes });
    left -= bytes;
  }
  if (left > 0) made.push({ length: left, hole: false, zero: false });
  return made;
}
