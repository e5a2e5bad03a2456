/** The features of reservations, both of a namespace (Base 2.1, sections 5.1.25.1.29 and 5.1.25.1.30). */
import { DNR, Status } from '../nvme/status.ts';
import type { Attachment } from './attachment.ts';
import type { Command } from './command.ts';
import type { Controller } from './controller.ts';
import type { Feature } from './features.ts';
import { LATER } from './handler.ts';

/** The namespace that the command names, or all that the controller has. */
function named({ attachments }: Controller, { nsid }: Command): Attachment[] {
  const one = attachments.get(nsid);
  return one === undefined ? [...attachments.values()] : [one];
}

const MASK = 0b1110;

/** FID 82h: which notifications a controller does not get. */
export const reservationMask: Feature = {
  perNamespace: true,
  initial: 0,
  get: ({ features }, _, { nsid }) => features.reservationMasks.get(nsid) ?? 0,
  set(controller, mask, command) {
    if ((mask & ~MASK) !== 0) return Status.InvalidField | DNR;
    for (const { namespace } of named(controller, command))
      controller.features.reservationMasks.set(namespace.nsid, mask);
    return 0;
  },
};

/** FID 83h: Persist Through Power Loss. Answered when that is kept itself. */
export const reservationPersistence: Feature = {
  perNamespace: true,
  initial: 0,
  get: ({ attachments }, _, { nsid }) => (attachments.get(nsid)?.namespace.reservations.state.ptpl ? 1 : 0),
  set(controller, cdw11, command) {
    if (cdw11 >>> 0 > 1) return Status.InvalidField | DNR;
    let left = 1;
    let problem = 0;
    const done = (status: number): void => {
      problem ||= status;
      if (--left === 0) command.complete(problem);
    };
    for (const { namespace } of named(controller, command)) {
      left++;
      const request = {
        hostid: controller.hostid,
        action: { name: 'persist', ptpl: cdw11 === 1 } as const,
        started: () => undefined,
        done,
      };
      namespace.reservations.submit(request, request);
    }
    done(0);
    return LATER;
  },
};
