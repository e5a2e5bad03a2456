/** Reservation commands (NVMe Base 2.1, sections 7.5 to 7.8): what the host sent, checked, as an action. */
import { viewOf } from '../layout/struct.ts';
import {
  AcquireAction,
  AcquireData,
  ChangePtpl,
  RegisterAction,
  RegisterData,
  ReleaseAction,
  ReleaseData,
  ReservationAcquire,
  ReservationRegister,
  ReservationRelease,
  ReservationReport,
  encodeReservationReport,
} from '../nvme/reservation.ts';
import { DNR, Status } from '../nvme/status.ts';
import type { Command } from './command.ts';
import type { Handler } from './handler.ts';
import type { Namespace } from './namespace.ts';
import { isHolder, type ReservationAction } from './reservation.ts';

const INVALID = Status.InvalidField | DNR;

/** The controller must have the namespace, in a state that lets I/O through; no operation of storage belongs to it. */
function namespace(command: Command): number {
  const found = command.queue.controller!.attachments.get(command.nsid);
  if (found === undefined) return Status.InvalidNamespace | DNR;
  command.attachment = found;
  command.namespace = found.namespace;
  return found.refusal;
}

/** A command that changes something: `length` bytes of data, and what they and the SQE ask for. */
function changing(
  name: string,
  length: number,
  /** Looks at the SQE alone. */
  check: (sqe: DataView) => number,
  action: (sqe: DataView, data: DataView) => ReservationAction,
): Handler {
  return {
    name,
    transfer: 'in',
    check(command) {
      command.length = length;
      return namespace(command) || check(command.view);
    },
    execute(command) {
      const { refusal } = command.attachment!;
      if (refusal === 0) ask(command, action(command.view, viewOf(command.data())));
      else command.complete(refusal);
    },
    forget: (command) => command.namespace!.reservations.withdraw(command),
  };
}

/** Stands in line; until its turn has come, the command may be dropped like any that has not started (GHOST.1). */
function ask(command: Command, action: ReservationAction): void {
  command.parked = true;
  command.namespace!.reservations.submit(command, {
    hostid: command.queue.controller!.hostid,
    action,
    started() {
      command.parked = false;
    },
    done(status) {
      command.complete(status);
    },
  });
}

/** CPTPL: 1 is reserved. */
const PTPL = new Map<number, boolean | undefined>([
  [ChangePtpl.Keep, undefined],
  [ChangePtpl.Clear, false],
  [ChangePtpl.Set, true],
]);

export const reservationRegister = changing(
  'Reservation Register',
  RegisterData.size,
  (sqe) => {
    const { rrega, cptpl } = ReservationRegister.cdw10;
    return rrega.get(sqe, 0) <= RegisterAction.Replace && PTPL.has(cptpl.get(sqe, 0)) ? 0 : INVALID;
  },
  (sqe, data) => {
    const { rrega, iekey, cptpl } = ReservationRegister.cdw10;
    const { crkey, nrkey } = RegisterData.decode(data);
    const ptpl = PTPL.get(cptpl.get(sqe, 0));
    const ignoreKey = iekey.get(sqe, 0) === 1;
    switch (rrega.get(sqe, 0)) {
      case RegisterAction.Register:
        return { name: 'register', nrkey, ptpl };
      case RegisterAction.Unregister:
        return { name: 'unregister', crkey, ignoreKey, ptpl };
      default:
        return { name: 'replace', crkey, nrkey, ignoreKey, ptpl };
    }
  },
);

export const reservationAcquire = changing(
  'Reservation Acquire',
  AcquireData.size,
  (sqe) => {
    const { racqa, iekey } = ReservationAcquire.cdw10;
    return racqa.get(sqe, 0) <= AcquireAction.PreemptAndAbort && iekey.get(sqe, 0) === 0 ? 0 : INVALID;
  },
  (sqe, data) => {
    const { crkey, prkey } = AcquireData.decode(data);
    const rtype = ReservationAcquire.cdw10.rtype.get(sqe, 0);
    const racqa = ReservationAcquire.cdw10.racqa.get(sqe, 0);
    if (racqa === AcquireAction.Acquire) return { name: 'acquire', crkey, rtype };
    return { name: 'preempt', crkey, prkey, rtype, abort: racqa === AcquireAction.PreemptAndAbort };
  },
);

export const reservationRelease = changing(
  'Reservation Release',
  // One key: a client that sends no more is right.
  ReleaseData.size,
  (sqe) => {
    const { rrela, iekey } = ReservationRelease.cdw10;
    return rrela.get(sqe, 0) <= ReleaseAction.Clear && iekey.get(sqe, 0) === 0 ? 0 : INVALID;
  },
  (sqe, data) => {
    const { crkey } = ReleaseData.decode(data);
    const { rrela, rtype } = ReservationRelease.cdw10;
    if (rrela.get(sqe, 0) === ReleaseAction.Clear) return { name: 'clear', crkey };
    return { name: 'release', crkey, rtype: rtype.get(sqe, 0) };
  },
);

/** It shows what is true and kept; a change that is on its way to stable storage is not yet. */
export const reservationReport: Handler = {
  name: 'Reservation Report',
  transfer: 'out',
  check(command) {
    const status = namespace(command);
    if (status !== 0) return status;
    // A fabrics host's identifier has 128 bits, which only the extended structure can tell.
    if (ReservationReport.cdw11.eds.get(command.view, 0) === 0) return Status.HostIdInconsistent | DNR;
    command.length = ReservationReport.numd.get(command.view, 0) * 4;
    return command.length > command.queue.connection.target.limits.maxTransfer ? INVALID : 0;
  },
  execute(command) {
    command.respond(report(command.namespace!));
  },
};

function report({ subsystem, reservations: { state } }: Namespace): Uint8Array {
  // A host with several controllers is shown with the one it had first.
  const cntlids = new Map<string, number>();
  for (const { hostid, cntlid } of subsystem.controllers.values())
    if (!cntlids.has(hostid)) cntlids.set(hostid, cntlid);
  return encodeReservationReport({
    generation: state.generation,
    rtype: state.rtype,
    ptpl: state.ptpl,
    registrants: [...state.registrants].map(([hostid, rkey]) => ({
      cntlid: cntlids.get(hostid),
      holder: isHolder(state, hostid),
      hostid,
      rkey,
    })),
  });
}
