/** Copy (NVM Command Set 1.1, section 3.3.2): several ranges of a namespace, one after the other, to one place in it. */
import { viewOf } from '../layout/struct.ts';
import { Copy, CopyRange } from '../nvme/sqe.ts';
import { DNR, IoStatus, Status } from '../nvme/status.ts';
import type { Source } from '../storage/operation.ts';
import { finish, namespace, readable, submit, writable, writeCache } from './blocks.ts';
import type { Command } from './command.ts';
import type { Handler } from './handler.ts';
import type { Limits } from './limits.ts';

/** Descriptor format 0h: ranges of this namespace, without protection information. */
export const copy: Handler = {
  name: 'Copy',
  transfer: 'in',
  modifies: true,
  check(command) {
    const status = namespace(command);
    if (status !== 0) return status;
    if (Copy.descriptor.desfmt.get(command.view, 0) !== 0) return command.invalid(Copy.descriptor.offset);
    const count = Copy.nr.get(command.view, 0);
    if (count > command.queue.connection.target.limits.copyRanges)
      return IoStatus.CommandSizeLimitExceeded | DNR;
    command.length = count * CopyRange.size;
    command.op.fua = Copy.cdw12.fua.get(command.view, 0) === 1 || !writeCache(command);
    return readable(command) || writable(command);
  },
  execute(command) {
    const { op } = command;
    const status = prepareCopy(command);
    if (status !== 0) {
      command.complete(status);
      return;
    }
    op.kind = 'copy';
    submit(command);
  },
  done(command) {
    // Dword 0: the first source range that was not copied as a whole.
    if (command.op.error !== undefined) command.dw0 = command.op.copied;
    finish(command);
  },
};

/** Takes the source ranges out of the command's data; gives the status that refuses them, or 0. */
function prepareCopy(command: Command): number {
  const { op, view } = command;
  const { blockSize, blocks } = command.namespace!;
  const most = copyLimits(command.queue.connection.target.limits, blockSize);
  const ranges = viewOf(command.data());
  const sources: Source[] = [];
  let total = 0;
  for (let at = 0; at < ranges.byteLength; at += CopyRange.size) {
    const slba = CopyRange.slba.get(ranges, at);
    const count = CopyRange.nlb.get(ranges, at);
    total += count;
    if (count > most.mssrl || total > most.mcl) return IoStatus.CommandSizeLimitExceeded | DNR;
    if (slba + count > blocks) return Status.LbaOutOfRange | DNR;
    sources.push({ offset: slba * blockSize, length: count * blockSize });
  }
  const sdlba = Copy.sdlba.get(view, 0);
  if (sdlba + total > blocks) return Status.LbaOutOfRange | DNR;
  op.offset = sdlba * blockSize;
  op.length = total * blockSize;
  for (const { offset, length } of sources)
    if (offset < op.offset + op.length && op.offset < offset + length)
      return IoStatus.OverlappingIoRange | DNR;
  op.parts.length = 0;
  op.sources = sources;
  return 0;
}

/** Blocks of one source range and of all together (MSSRL, MCL). */
export function copyLimits({ maxCopy }: Limits, blockSize: number): { mssrl: number; mcl: number } {
  const mcl = Math.min(Math.floor(maxCopy / blockSize), 0xffffffff);
  return { mcl, mssrl: Math.min(mcl, 0xffff) };
}
