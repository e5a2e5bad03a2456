/** I/O commands that read, write, erase or look at blocks (NVM Command Set 1.1, section 3.3). */
import { isSame } from '../layout/bytes.ts';
import { viewOf } from '../layout/struct.ts';
import { DatasetManagement, DsmRange, ReadWrite, WriteZeroes } from '../nvme/sqe.ts';
import { DNR, Status } from '../nvme/status.ts';
import type { Command } from './command.ts';
import type { Handler } from './handler.ts';
import { flushThen } from './namespace.ts';

/** Finds the namespace, which the controller must have, in a state that lets I/O through. */
export function namespace(command: Command): number {
  const found = command.queue.controller!.attachments.get(command.nsid);
  if (found === undefined) return Status.InvalidNamespace | DNR;
  if (found.refusal !== 0) return found.refusal;
  command.attachment = found;
  command.namespace = found.namespace;
  command.volume = found.namespace.volume;
  return 0;
}

/** Finds the namespace and the range; an SLBA past 2^53 reads as Infinity and is out of range like any other. */
function blocks(command: Command): number {
  const status = namespace(command);
  if (status !== 0) return status;
  const { blockSize, blocks: size } = command.namespace!;
  const slba = ReadWrite.slba.get(command.view, 0);
  const count = ReadWrite.nlb.get(command.view, 0);
  if (slba + count > size) return Status.LbaOutOfRange | DNR;
  // Protection information is not offered, so PRACT and PRCHK have nothing to act on.
  command.op.offset = slba * blockSize;
  command.op.length = count * blockSize;
  return 0;
}

function transfer(command: Command): number {
  const status = blocks(command);
  if (status !== 0) return status;
  const { length } = command.op;
  if (length > command.queue.connection.target.limits.maxTransfer)
    return command.invalid(ReadWrite.nlb.offset);
  command.length = length;
  return 0;
}

export const readable = (command: Command): number => command.attachment!.readRefusal;
export const writable = (command: Command): number => command.attachment!.writeRefusal;

/** Without the volatile write cache every write is as if FUA were set. */
export const writeCache = (command: Command): boolean => command.queue.controller!.features.writeCache;

/** Hands the operation to the namespace's volume; `finish` answers. The gates may have closed since it was checked. */
export function submit(command: Command): void {
  const { op, attachment } = command;
  const gate =
    op.kind === 'read'
      ? attachment!.readRefusal
      : op.kind === 'flush'
        ? attachment!.flushRefusal
        : attachment!.writeRefusal;
  // Of several steps, those that come after an Abort or a Preempt are not done.
  const refused = command.problem || gate;
  if (refused === 0) command.volume!.submit(op);
  else command.complete(refused);
}

export function finish(command: Command): void {
  const { error, kind } = command.op;
  command.complete(error === undefined ? 0 : command.namespace!.statusOf(error, kind));
}

export const read: Handler = {
  name: 'Read',
  transfer: 'out',
  check: (command) => transfer(command) || readable(command),
  execute(command) {
    command.op.kind = 'read';
    // What waits for a sync before it is sent would keep others waiting.
    command.op.mayBeLent = ReadWrite.cdw12.fua.get(command.view, 0) === 0;
    submit(command);
  },
  done(command) {
    command.lent = command.op.error === undefined;
    const fua = !command.op.mayBeLent;
    if (!fua || !command.lent) finish(command);
    else syncThen(command, 0);
  },
};

/**
 * What is read with FUA is on stable storage: it is put there before the command is answered, with `status`. It may wait
 * for that in a namespace that cannot be written as well: one that is just being protected, or whose flush has failed.
 */
function syncThen(command: Command, status: number): void {
  const flush = flushThen(({ error }) => {
    command.complete(error === undefined ? status : command.namespace!.statusOf(error, 'flush'));
  });
  command.volume!.submit(flush);
}

export const compare: Handler = {
  name: 'Compare',
  transfer: 'in',
  check: (command) => transfer(command) || readable(command),
  execute(command) {
    const { op } = command;
    command.expected = op.parts.splice(0);
    op.kind = 'read';
    submit(command);
  },
  done(command) {
    const status = compared(command);
    const fua = ReadWrite.cdw12.fua.get(command.view, 0) === 1;
    if (fua && command.op.error === undefined) syncThen(command, status);
    else command.complete(status);
  },
};

/** The read of a Compare is over: the status; its memory is given back. */
export function compared(command: Command): number {
  const { op, expected, namespace, volume } = command;
  if (op.error !== undefined) return namespace!.statusOf(op.error, 'read');
  const same = isSame(op.parts, expected!);
  volume!.giveBack(op);
  return same ? 0 : Status.CompareFailure | DNR;
}

/** Reads everything, so that what cannot be read is found; its size is limited as that of Read is (VSL). */
export const verify: Handler = {
  name: 'Verify',
  transfer: 'none',
  check(command) {
    const status = transfer(command) || readable(command);
    command.length = 0;
    return status;
  },
  execute(command) {
    command.op.kind = 'read';
    submit(command);
  },
  done(command) {
    const { op, volume } = command;
    const fua = ReadWrite.cdw12.fua.get(command.view, 0) === 1;
    if (op.error !== undefined) {
      finish(command);
      return;
    }
    volume!.giveBack(op);
    if (fua) syncThen(command, 0);
    else command.complete(0);
  },
};

export const write: Handler = {
  name: 'Write',
  transfer: 'in',
  modifies: true,
  check(command) {
    const status = transfer(command);
    if (status !== 0) return status;
    command.op.fua = ReadWrite.cdw12.fua.get(command.view, 0) === 1 || !writeCache(command);
    return writable(command);
  },
  execute(command) {
    command.op.kind = 'write';
    submit(command);
  },
  done: finish,
};

export const flush: Handler = {
  name: 'Flush',
  transfer: 'none',
  check: (command) => namespace(command) || command.attachment!.flushRefusal,
  execute(command) {
    command.op.kind = 'flush';
    submit(command);
  },
  done: finish,
};

export const writeZeroes: Handler = {
  name: 'Write Zeroes',
  transfer: 'none',
  modifies: true,
  check(command) {
    const status = blocks(command);
    if (status !== 0) return status;
    command.op.fua = WriteZeroes.cdw12.fua.get(command.view, 0) === 1 || !writeCache(command);
    command.op.deallocate = WriteZeroes.cdw12.deac.get(command.view, 0) === 1;
    return writable(command);
  },
  execute(command) {
    command.op.kind = 'zero';
    submit(command);
  },
  done: finish,
};

/** Deallocate is advisory (DISK.4): one range after the other, each as the volume can. */
export const datasetManagement: Handler = {
  name: 'Dataset Management',
  transfer: 'in',
  modifies: true,
  check(command) {
    const status = namespace(command);
    if (status !== 0) return status;
    command.length = DatasetManagement.nr.get(command.view, 0) * DsmRange.size;
    if (DatasetManagement.cdw11.ad.get(command.view, 0) === 1) return writable(command);
    // Hints write nothing, but a reservation counts every Dataset Management among the writes.
    return command.attachment!.flushRefusal;
  },
  execute(command) {
    const ranges = viewOf(command.data());
    command.op.parts.length = 0;
    command.op.parts.push(new Uint8Array(ranges.buffer, ranges.byteOffset, ranges.byteLength));
    const { blocks: size } = command.namespace!;
    for (let at = 0; at < ranges.byteLength; at += DsmRange.size)
      if (DsmRange.slba.get(ranges, at) + DsmRange.length.get(ranges, at) > size) {
        command.complete(Status.LbaOutOfRange | DNR);
        return;
      }
    if (DatasetManagement.cdw11.ad.get(command.view, 0) === 0) command.complete(0);
    else deallocateNext(command);
  },
  done(command) {
    if (command.op.error !== undefined) finish(command);
    else deallocateNext(command);
  },
};

function deallocateNext(command: Command): void {
  const { op } = command;
  const ranges = viewOf(op.parts[0]!);
  while (command.step * DsmRange.size < ranges.byteLength) {
    const at = command.step++ * DsmRange.size;
    const { blockSize } = command.namespace!;
    op.offset = DsmRange.slba.get(ranges, at) * blockSize;
    op.length = DsmRange.length.get(ranges, at) * blockSize;
    if (op.length === 0) continue;
    op.kind = 'deallocate';
    submit(command);
    return;
  }
  command.complete(0);
}
