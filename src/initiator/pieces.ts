/**
 * Parts of an I/O, and the commands that are made of them. A part is counted in blocks (a flush, or a command that is
 * sent as it is, is one), so that it can be cut anew for the limits of whichever path it takes.
 */
import { type BlockRange, compare, deallocate, flush, raw, readWrite, writeZeroes } from './commands.ts';
import type { Association } from './association.ts';
import type { Io } from './io.ts';
import { cut } from './parts.ts';
import type { Request } from './request.ts';
import type { Timer } from '../runtime/ports.ts';

/** NLB is 16 bits and 0's based. */
const MOST_BLOCKS = 65536;
/** The length of a range is 32 bits. */
const MOST_RANGE = 2 ** 32 - 1;

/** A part of an I/O that is to be sent again, or waits to be sent. */
export interface Piece {
  readonly io: Io;
  start: number;
  count: number;
  /** How often it was repeated because of its status. */
  readonly retries: number;
  /** It left on this association and was not answered; undefined: nothing of it can be carried out. */
  readonly lostOn: Association | undefined;
  /** Until it may be repeated. */
  timer: Timer | undefined;
}

/** What a path allows in one command. */
export interface PieceLimits {
  /** Bytes. */
  readonly maxTransfer: number;
  readonly maxZeroes: number;
  readonly maxZeroesDeallocate: number;
  /** Ranges of one command, blocks of one range, blocks of all. */
  readonly maxRanges: number;
  readonly maxRangeBlocks: number;
  readonly maxDeallocate: number;
}

/** Makes a command of up to `left` blocks from `start`; gives how many it covers. */
export function build(
  io: Io,
  start: number,
  left: number,
  request: Request,
  namespace: { readonly nsid: number; readonly blockSize: number },
  limits: PieceLimits,
): number {
  const { nsid, blockSize } = namespace;
  const slba = io.slba + start;
  const most = (bytes: number): number =>
    Math.max(1, Math.min(left, MOST_BLOCKS, Math.floor(bytes / blockSize)));
  switch (io.kind) {
    case 'flush':
      flush(request, nsid);
      return 1;
    case 'command':
      raw(request, nsid, io.command!, io.buffers);
      return 1;
    case 'zeroes': {
      const blocks = most(io.deallocate ? limits.maxZeroesDeallocate : limits.maxZeroes);
      writeZeroes(request, nsid, slba, blocks, io);
      return blocks;
    }
    case 'deallocate': {
      const ranges = someRanges(io.ranges, start, left, limits);
      deallocate(request, nsid, ranges);
      return ranges.reduce((sum, { blocks }) => sum + blocks, 0);
    }
    case 'read':
    case 'write':
    case 'compare': {
      const blocks = most(limits.maxTransfer);
      if (io.kind === 'compare') compare(request, nsid, slba, blocks);
      else readWrite(request, io.kind === 'write', nsid, slba, blocks, io.fua);
      request.direction = io.kind === 'read' ? 'in' : 'out';
      request.length = blocks * blockSize;
      cut(io.buffers, start * blockSize, request.length, request.parts);
      return blocks;
    }
  }
}

/** The ranges, cut, that one command takes of the `left` blocks from `start` on; at least one. */
function someRanges(
  ranges: readonly BlockRange[],
  start: number,
  left: number,
  { maxRanges, maxRangeBlocks, maxDeallocate }: PieceLimits,
): BlockRange[] {
  const longest = Math.min(MOST_RANGE, maxRangeBlocks);
  const taken: BlockRange[] = [];
  let skip = start;
  let room = left;
  let sum = 0;
  for (const range of ranges) {
    if (skip >= range.blocks) {
      skip -= range.blocks;
      continue;
    }
    for (let at = skip; at < range.blocks && room > 0;) {
      const blocks = Math.min(
        range.blocks - at,
        longest,
        room,
        taken.length === 0 ? maxDeallocate : Infinity,
      );
      if (taken.length === maxRanges || (taken.length > 0 && sum + blocks > maxDeallocate)) return taken;
      taken.push({ slba: range.slba + at, blocks });
      at += blocks;
      room -= blocks;
      sum += blocks;
    }
    if (room === 0) break;
    skip = 0;
  }
  return taken;
}

/** The blocks that a part covers. */
export function extent(io: Io, start: number, count: number): readonly BlockRange[] {
  if (io.kind === 'flush' || io.kind === 'command') return [];
  if (io.kind === 'deallocate')
    return someRanges(io.ranges, start, count, {
      maxTransfer: Infinity,
      maxZeroes: Infinity,
      maxZeroesDeallocate: Infinity,
      maxRanges: Infinity,
      maxRangeBlocks: Infinity,
      maxDeallocate: Infinity,
    });
  return [{ slba: io.slba + start, blocks: count }];
}
