/**
 * Namespace Attachment, 15h (NVMe Base 2.1, section 5.1.20): a host attaches namespaces to its controllers and detaches
 * them. A host may name its own controllers only: what other hosts see is the operator's to decide.
 */
import { decodeControllerList } from '../nvme/identify-lists.ts';
import { DecodeError } from '../nvme/decode-error.ts';
import { IDENTIFY_SIZE } from '../nvme/identify.ts';
import { NamespaceAttachment } from '../nvme/sqe.ts';
import { DNR, Status } from '../nvme/status.ts';
import type { Command } from './command.ts';
import type { Controller } from './controller.ts';
import type { Handler } from './handler.ts';
import { allocated } from './identify.ts';

const ATTACH = 0;
const DETACH = 1;

export const namespaceAttachment: Handler = {
  name: 'Namespace Attachment',
  transfer: 'in',
  changesInventory: true,
  scope: 'subsystem',
  check(command) {
    const controller = command.queue.controller!;
    if (controller.discovery) return Status.InvalidOpcode | DNR;
    if (NamespaceAttachment.cdw10.sel.get(command.view, 0) > DETACH) return Status.InvalidField | DNR;
    if (allocated(command.nsid, controller) === undefined) return Status.InvalidNamespace | DNR;
    // The controller list.
    command.length = IDENTIFY_SIZE;
    return 0;
  },
  execute(command) {
    const { subsystem } = command.queue.controller!;
    const status = run(command, command.queue.controller!);
    const namespace = subsystem.namespaces.get(command.nsid);
    if (status !== 0 || namespace === undefined) command.complete(status);
    // What is answered is true after a restart as well: whose a private namespace is.
    else namespace.factsSettled((error) => command.complete(error === undefined ? 0 : Status.InternalError));
  },
};

/** All of the list or nothing: every controller is looked at before the first one is changed. */
function run(command: Command, controller: Controller): number {
  const namespace = allocated(command.nsid, controller);
  if (namespace === undefined) return Status.InvalidNamespace | DNR;
  // A reservation counts it among the writes (Base 2.1, figure 646).
  const conflict = namespace.reservations.gates(controller).write;
  if (conflict !== 0) return conflict;
  const controllers = named(command.data(), controller);
  if (controllers === undefined) return Status.ControllerListInvalid | DNR;
  const { subsystem } = controller;
  if (NamespaceAttachment.cdw10.sel.get(command.view, 0) === ATTACH) {
    if (!namespace.shared && controllers.length > 1) return Status.NamespaceIsPrivate | DNR;
    for (const each of controllers) {
      const refused = subsystem.attachRefusal(namespace, each);
      if (refused !== 0) return refused;
    }
    for (const each of controllers) subsystem.attach(namespace, each);
    return 0;
  }
  if (controllers.some(({ cntlid }) => !namespace.attachments.has(cntlid)))
    return Status.NamespaceNotAttached | DNR;
  for (const each of controllers) subsystem.detach(namespace, each);
  return 0;
}

/** The controllers in the list; undefined: it is no list, names nobody, or somebody who is not this host's. */
function named(list: Uint8Array, { subsystem, hostnqn }: Controller): Controller[] | undefined {
  let cntlids: number[];
  try {
    cntlids = decodeControllerList(list);
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
  const found: Controller[] = [];
  for (const cntlid of cntlids) {
    const each = subsystem.controllers.get(cntlid);
    if (each?.hostnqn !== hostnqn) return undefined;
    found.push(each);
  }
  return found.length === 0 ? undefined : found;
}
