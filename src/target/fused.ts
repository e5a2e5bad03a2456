/**
 * The fused Compare and Write (NVMe Base 2.1, section 3.4.2; NVM Command Set 1.1, section 3.1): two commands, one right
 * behind the other on their queue, which run as one:
 *
 *     both have their data ─► read, and keep the range ─► the same? ─► write under that range ─► both are answered
 *                                                         not: the range goes, and the second is not done
 *
 * Nothing begins before the data of both is here, whichever of it comes first, so the range is never held for a host.
 * The operation of the first command does it all; until the write begins, the second may be dropped or aborted, and
 * the pair with it.
 */
import { ReadWrite } from '../nvme/sqe.ts';
import { DNR, Status } from '../nvme/status.ts';
import type { Command } from './command.ts';
import { compare, compared, write } from './blocks.ts';
import type { Handler } from './handler.ts';

/** FUSE: Base 2.1, figure of command dword 0. */
export const Fuse = { none: 0, first: 1, second: 2 } as const;

export class FusedPair {
  readonly first: Command;
  readonly second: Command;

  constructor(first: Command, second: Command) {
    this.first = first;
    this.second = second;
    first.pair = second.pair = this;
  }

  other(command: Command): Command {
    return command === this.first ? this.second : this.first;
  }

  /** They have nothing to do with each other any more. */
  part(): void {
    this.first.pair = this.second.pair = undefined;
  }
}

/** Whether the second command belongs to the first: the same blocks of the same namespace. */
export const matches = (first: Command, second: Command): boolean =>
  first.nsid === second.nsid && first.op.offset === second.op.offset && first.op.length === second.op.length;

const isReady = ({ phase, parked }: Command): boolean => phase === 'executing' && parked;

/** One of them has all of its data. */
function ready(command: Command): void {
  command.parked = true;
  const { pair } = command;
  if (pair === undefined || !isReady(pair.first) || !isReady(pair.second)) return;
  pair.first.parked = false;
  pair.first.op.hold = true;
  compare.execute(pair.first);
}

const fusedCompare: Handler = {
  ...compare,
  check(command) {
    const status = compare.check(command);
    if (status !== 0) return status;
    const { queue, namespace, op } = command;
    const unit = queue.connection.target.atomicity.compareAndWrite(namespace!.blockSize);
    return op.length > unit ? Status.AtomicWriteUnitExceeded | DNR : 0;
  },
  execute: ready,
  done(first) {
    const { op, pair } = first;
    if (op.kind === 'write') {
      const { error } = op;
      end(first, error === undefined ? 0 : first.namespace!.statusOf(error, 'write'));
      return;
    }
    const status = compared(first);
    op.hold = false;
    if (op.error !== undefined || status !== 0 || pair === undefined) {
      if (op.stage === 'held') first.volume!.release(op);
      first.complete(status);
      return;
    }
    const { second } = pair;
    // The gate may have closed since it was checked, or somebody preempted us.
    const refused = second.problem || second.attachment!.writeRefusal;
    if (refused !== 0) {
      first.volume!.release(op);
      end(first, refused);
      return;
    }
    op.kind = 'write';
    op.parts.push(...second.op.parts);
    // Compare with FUA looks at what is on stable storage: so it is, after this.
    op.fua = second.op.fua || ReadWrite.cdw12.fua.get(first.view, 0) === 1;
    second.parked = false;
    first.volume!.submit(op);
  },
};

/** Answers both: the blocks were what the host expects, and the write ended with `status`. */
function end(first: Command, status: number): void {
  const { pair } = first;
  pair?.part();
  first.complete(0);
  pair?.second.complete(status);
}

const fusedWrite: Handler = { ...write, execute: ready };

/** What runs a command of a pair; undefined: it cannot be in this place of one. */
export function fusedHandler(handler: Handler | undefined, fuse: number): Handler | undefined {
  if (handler === compare && fuse === Fuse.first) return fusedCompare;
  return handler === write && fuse === Fuse.second ? fusedWrite : undefined;
}
