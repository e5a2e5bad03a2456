/** Cancel (Base 2.1, section 7.1): as Abort, but on the queue of the commands themselves. */
import { Cancel } from '../nvme/sqe.ts';
import { DNR, IoStatus, Status } from '../nvme/status.ts';
import { namespace } from './blocks.ts';
import type { Command } from './command.ts';
import type { Handler } from './handler.ts';

/** ACODE. */
const CancelAction = { one: 0, many: 1 } as const;
const BROADCAST_NSID = 0xffffffff;

const checkCancelled = (command: Command): number =>
  command.nsid === BROADCAST_NSID ? 0 : namespace(command);

export const cancel: Handler = {
  name: 'Cancel',
  transfer: 'none',
  check(command) {
    const { view, queue, cid, nsid } = command;
    const one = Cancel.cancelCid.get(view, 0);
    const action = Cancel.cdw11.acode.get(view, 0);
    if (Cancel.sqid.get(view, 0) !== queue.qid || action > CancelAction.many)
      return Status.InvalidField | DNR;
    if (action === CancelAction.many)
      return one === 0xffff ? checkCancelled(command) : Status.InvalidField | DNR;
    if (one === cid) return IoStatus.InvalidCommandId | DNR;
    return nsid === 0 ? Status.InvalidNamespace | DNR : 0;
  },
  execute(command) {
    const { view, queue, nsid } = command;
    const one = Cancel.cancelCid.get(view, 0);
    const many = Cancel.cdw11.acode.get(view, 0) === CancelAction.many;
    const isMeant = (other: Command): boolean =>
      other !== command && (nsid === BROADCAST_NSID || other.nsid === nsid) && (many || other.cid === one);
    const { now, later } = queue.stopping.cancel(isMeant);
    // Dword 0: commands that were aborted, and those that are when their data has come.
    command.dw0 = Math.min(now, 0xffff) + Math.min(later, 0xffff) * 0x10000;
    command.complete(0);
  },
};
