/**
 * The ranges of a copy: where it writes, and each of its sources, for which a guard stands in line, an operation that is
 * nothing else. A copy takes all of them in one event, so of two copies that are in each other's way one is behind the
 * other in every line, and neither waits for what the other has.
 */
import { assert } from '../runtime/assert.ts';
import type { Fifo } from '../runtime/fifo.ts';
import { Operation } from './operation.ts';
import type { Ranges } from './ranges.ts';

/** False: it waits for some of them, and `granted` is told of each. Its guards are in flight from here on. */
export function takeRanges(ranges: Ranges, op: Operation): boolean {
  assert(op.guards.length === 0 && !op.hold, 'a copy begins without ranges, and keeps none');
  op.ungranted = 1;
  op.copied = 0;
  for (const { offset, length } of op.sources) {
    assert(
      offset + length <= op.offset || offset >= op.offset + op.length,
      'a copy does not write to what it reads',
    );
    const guard = new Operation(op.owner);
    guard.offset = offset;
    guard.length = length;
    guard.guardOf = op;
    op.guards.push(guard);
    if (!ranges.add(guard)) op.ungranted++;
    else guard.stage = 'ready';
  }
  if (ranges.add(op)) op.ungranted--;
  return op.ungranted === 0;
}

/** Whether `op`, which is ready, is one of the ranges that a copy waited for; else it is an operation that may run. */
export const isAwaited = (op: Operation): boolean =>
  // A copy that has all of its ranges waited for what was lent.
  op.guardOf !== undefined || (op.kind === 'copy' && op.ungranted > 0);

/** A range is there that a copy waited for: the copy, once it has all of them. */
export function granted(op: Operation): Operation | undefined {
  const copy = op.guardOf ?? op;
  if (--copy.ungranted === 0) return copy;
  copy.stage = 'range';
  return undefined;
}

/** Gives up those of its sources; whoever waited for one of them goes to `ready`. */
export function leaveSources(ranges: Ranges, op: Operation, ready: Fifo<Operation>): void {
  for (const guard of op.guards) {
    guard.stage = 'idle';
    ranges.remove(guard, ready);
  }
  op.guards.length = 0;
}
