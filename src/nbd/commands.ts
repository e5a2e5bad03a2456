/** The commands: type → what may be asked, and how it is carried out. */
import type { Extent, Problem } from './device.ts';
import { CHUNK_DONE, CommandFlag, CommandType, Errno } from './protocol.ts';
import { Read } from './read.ts';
import { statusReply } from './replies.ts';
import type { Request } from './request.ts';

export interface Command {
  readonly name: string;
  /** Flags that it may have. */
  readonly flags: number;
  /** Changes the disk. */
  readonly writes?: boolean;
  /** Data follows the header. */
  readonly payload?: boolean;
  /** Bytes that are held for it while it is under way. */
  readonly holds?: (request: Request) => number;
  /** What is wrong with it, beyond what `check` below says of all: `request.fail`. */
  readonly check?: (request: Request) => void;
  /** Not called for a length of 0. Ends in `connection.requests.answer(request)`. */
  readonly run: (request: Request) => void;
}

const { fua, noHole, df, reqOne } = CommandFlag;

const COMMANDS: Readonly<Record<number, Command>> = {
  [CommandType.Read]: {
    name: 'READ',
    flags: fua | df,
    holds: (request) => request.length,
    check(request) {
      const { connection } = request;
      if (request.has(df) && !connection.structured)
        request.fail(Errno.EINVAL, 'DF needs structured replies');
      if (request.length > connection.server.limits.maxPayload)
        request.fail(
          request.has(df) ? Errno.EOVERFLOW : Errno.EINVAL,
          `at most ${connection.server.limits.maxPayload} bytes at a time`,
        );
    },
    run: (request) => new Read(request).start(),
  },
  [CommandType.Write]: {
    name: 'WRITE',
    flags: fua,
    writes: true,
    payload: true,
    holds: (request) => request.length,
    check(request) {
      const { maxPayload } = request.connection.server.limits;
      if (request.length > maxPayload) request.fail(Errno.EINVAL, `at most ${maxPayload} bytes at a time`);
    },
    run(request) {
      const { offset, parts } = request;
      request.cancels.push(
        request.connection.device.write(offset, parts, request.has(fua), request.operationDone),
      );
    },
  },
  [CommandType.Flush]: {
    name: 'FLUSH',
    flags: fua,
    run(request) {
      request.cancels.push(request.connection.device.flush(request.operationDone));
    },
  },
  [CommandType.Trim]: {
    name: 'TRIM',
    flags: fua,
    writes: true,
    run(request) {
      const { offset, length } = request;
      request.cancels.push(
        request.connection.device.trim(offset, length, request.has(fua), request.operationDone),
      );
    },
  },
  [CommandType.WriteZeroes]: {
    name: 'WRITE_ZEROES',
    flags: fua | noHole,
    writes: true,
    run(request) {
      const { offset, length } = request;
      request.cancels.push(
        request.connection.device.zero(
          offset,
          length,
          request.has(noHole),
          request.has(fua),
          request.operationDone,
        ),
      );
    },
  },
  [CommandType.BlockStatus]: {
    name: 'BLOCK_STATUS',
    flags: fua | reqOne,
    check(request) {
      const { connection } = request;
      if (connection.allocationOf === undefined)
        request.fail(Errno.EINVAL, 'no metadata context was negotiated');
      if (request.length === 0) request.fail(Errno.EINVAL, 'an extent has at least one byte');
    },
    run: blockStatus,
  },
};

export const commandOf = (type: number): Command | undefined => COMMANDS[type];

/** What is wrong with a request: what is said of all of them, then what is of its command. */
export function check(request: Request, type: number): void {
  const { command, connection, offset, length } = request;
  if (command === undefined) {
    request.fail(Errno.EINVAL, `there is no command ${type}`);
    return;
  }
  if ((request.flags & ~command.flags) !== 0)
    request.fail(Errno.EINVAL, `flags ${request.flags.toString(16)}h of ${command.name}`);
  if (command.writes === true && connection.device.readOnly)
    request.fail(Errno.EPERM, 'the disk is read-only');
  command.check?.(request);
  if (type === CommandType.Flush) {
    if (offset !== 0 || length !== 0) request.fail(Errno.EINVAL, 'FLUSH is of everything');
  } else if (offset + length > connection.device.size)
    request.fail(
      command.writes === true ? Errno.ENOSPC : Errno.EINVAL,
      `the disk ends at ${connection.device.size}`,
    );
}

/** Whether there is nothing to do. */
export const isEmpty = (request: Request): boolean =>
  request.length === 0 && request.command?.name !== 'FLUSH';

function blockStatus(request: Request): void {
  const { connection, offset, length } = request;
  const one = request.has(reqOne);
  const done = (problem: Problem | undefined, extents: readonly Extent[]): void => {
    request.problem ??= problem;
    if (request.problem === undefined) {
      const most = one ? 1 : connection.server.limits.extents;
      statusReply(connection.sender, request, CHUNK_DONE, joined(extents, length, most));
      request.answered = true;
    }
    connection.requests.answer(request);
  };
  request.cancels.push(connection.device.status(offset, length, done));
}

/** Neighbours in the same state as one, `length` bytes at most; what is not told is in use. */
function joined(extents: readonly Extent[], length: number, most: number): Extent[] {
  const made: Extent[] = [];
  let left = length;
  for (const extent of extents) {
    const bytes = Math.min(extent.length, left);
    if (bytes === 0) continue;
    const last = made.at(-1);
    if (last?.hole === extent.hole && last.zero === extent.zero)
      made[made.length - 1] = { ...last, length: last.length + bytes };
    else if (made.length === most) break;
    else made.push({ ...extent, length: bytes });
    left -= bytes;
  }
  return made.length > 0 ? made : [{ length, hole: false, zero: false }];
}
