/** Where a command's data is, as its SGL says: in the capsule, or on its way through the transport. */
import { DPTR, Sgl, SglId } from '../nvme/sqe.ts';
import { DNR, Status } from '../nvme/status.ts';
import type { Command } from './command.ts';
import type { Handler } from './handler.ts';

/** The SGL must describe room for, or the place of, all of the data. */
export function checkSgl(command: Command, transfer: Handler['transfer']): number {
  const id = command.view.getUint8(DPTR + 15);
  const length = Sgl.length.get(command.view, DPTR);
  if (id !== SglId.transport && !(id === SglId.inCapsule && transfer === 'in'))
    return Status.SglTypeInvalid | DNR;
  if (length < command.length) return Status.DataSglLengthInvalid | DNR;
  if (id === SglId.transport) {
    if (command.capsuleData > 0) return Status.SglTypeInvalid | DNR;
    return 0;
  }
  const offset = Sgl.address.get(command.view, DPTR);
  if (offset !== 0 && offset >= command.capsuleData) return Status.SglOffsetInvalid | DNR;
  if (offset + command.length > command.capsuleData) return Status.DataSglLengthInvalid | DNR;
  cut(command.op.parts, offset, command.length);
  command.received = command.length;
  return 0;
}

/** Keeps `length` bytes from `offset` of the gathered parts. */
function cut(parts: Uint8Array[], offset: number, length: number): void {
  if (offset === 0 && parts.length === 1 && parts[0]!.length === length) return;
  let skip = offset;
  let left = length;
  let kept = 0;
  for (const part of parts) {
    const from = Math.min(skip, part.length);
    skip -= from;
    const take = Math.min(left, part.length - from);
    left -= take;
    if (take > 0) parts[kept++] = part.subarray(from, from + take);
  }
  parts.length = kept;
}
