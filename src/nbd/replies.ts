/** Replies, put into a sender. Each is whole: nothing is sent of one that may still fail. */
import type { Extent } from './device.ts';
import { ALLOCATION_ID } from './options.ts';
import {
  CHUNK_DONE,
  Chunk,
  ChunkType,
  DataChunk,
  ErrorChunk,
  ExtentDescriptor,
  ExtentFlag,
  HoleChunk,
  Magic,
  SimpleReply,
  StatusChunk,
} from './protocol.ts';
import type { Request } from './request.ts';
import type { Sender } from './sender.ts';

/** `error` 0: it is done; the data of a read follows. */
export function simpleReply(sender: Sender, request: Request, error: number): void {
  const at = sender.begin(SimpleReply.size);
  const { view } = sender;
  SimpleReply.magic.set(view, at, Magic.simpleReply);
  SimpleReply.error.set(view, at, error);
  SimpleReply.cookieHigh.set(view, at, request.cookieHigh);
  SimpleReply.cookieLow.set(view, at, request.cookieLow);
}

/** Begins a chunk whose header has `size` bytes, followed by `more` bytes of payload; its offset in the sender's view. */
function begin(
  sender: Sender,
  request: Request,
  type: number,
  flags: number,
  size: number,
  more: number,
): number {
  const at = sender.begin(size);
  const { view } = sender;
  Chunk.magic.set(view, at, Magic.chunk);
  Chunk.flags.set(view, at, flags);
  Chunk.type.set(view, at, type);
  Chunk.cookieHigh.set(view, at, request.cookieHigh);
  Chunk.cookieLow.set(view, at, request.cookieLow);
  Chunk.length.set(view, at, size - Chunk.size + more);
  return at;
}

export function doneChunk(sender: Sender, request: Request): void {
  begin(sender, request, ChunkType.None, CHUNK_DONE, Chunk.size, 0);
}

export function dataChunk(
  sender: Sender,
  request: Request,
  flags: number,
  offset: number,
  data: Uint8Array,
): void {
  const at = begin(sender, request, ChunkType.OffsetData, flags, DataChunk.size, data.length);
  DataChunk.offset.set(sender.view, at, offset);
  sender.payload(data);
}

export function holeChunk(
  sender: Sender,
  request: Request,
  flags: number,
  offset: number,
  length: number,
): void {
  const at = begin(sender, request, ChunkType.OffsetHole, flags, HoleChunk.size, 0);
  HoleChunk.offset.set(sender.view, at, offset);
  HoleChunk.holeSize.set(sender.view, at, length);
}

export function errorChunk(sender: Sender, request: Request, error: number, message: string): void {
  const text = new TextEncoder().encode(message).subarray(0, 1024);
  const at = begin(sender, request, ChunkType.Error, CHUNK_DONE, ErrorChunk.size, text.length);
  ErrorChunk.error.set(sender.view, at, error);
  ErrorChunk.messageLength.set(sender.view, at, text.length);
  sender.payload(text);
}

export function statusReply(
  sender: Sender,
  request: Request,
  flags: number,
  extents: readonly Extent[],
): void {
  const list = new Uint8Array(extents.length * ExtentDescriptor.size);
  const view = new DataView(list.buffer);
  extents.forEach(({ length, hole, zero }, i) => {
    ExtentDescriptor.length.set(view, i * ExtentDescriptor.size, length);
    ExtentDescriptor.flags.set(
      view,
      i * ExtentDescriptor.size,
      (hole ? ExtentFlag.hole : 0) | (zero ? ExtentFlag.zero : 0),
    );
  });
  const at = begin(sender, request, ChunkType.BlockStatus, flags, StatusChunk.size, list.length);
  StatusChunk.context.set(sender.view, at, ALLOCATION_ID);
  sender.payload(list);
}
