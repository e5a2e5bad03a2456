/**
 * Admin commands (NVMe Base 2.1, section 5). Discovery controllers have the same ones, with fewer features, logs and
 * CNS values.
 */
import { viewOf } from '../layout/struct.ts';
import { FeatureCapabilities, FeatureSelect } from '../nvme/features.ts';
import { AdminOpcode } from '../nvme/opcode.ts';
import { Abort, GetFeatures, GetLogPage, SetFeatures, logLength } from '../nvme/sqe.ts';
import { IDENTIFY_SIZE } from '../nvme/identify.ts';
import { DNR, Status } from '../nvme/status.ts';
import { findFeature } from './features.ts';
import type { Command } from './command.ts';
import { LATER, type Handler } from './handler.ts';
import { identify } from './identify.ts';
import { IO } from './io.ts';
import { namespaceAttachment } from './namespace-attachment.ts';
import { has, logPages, readPage, retains } from './logs.ts';

const LOGS = logPages(() => ({ admin: ADMIN, io: IO }));
const BROADCAST_NSID = 0xffffffff;

const getLogPage: Handler = {
  name: 'Get Log Page',
  transfer: 'out',
  check(command) {
    const page = LOGS.get(GetLogPage.lid.get(command.view, 0));
    if (page === undefined || !has(page, command.queue.controller!)) return Status.InvalidLogPage | DNR;
    command.length = logLength(command.view, 0);
    if (command.length > command.queue.connection.target.limits.maxTransfer)
      return command.invalid(GetLogPage.numdl.offset);
    // No log page takes an index instead of an offset: IOS is clear in log 00h.
    if (GetLogPage.cdw14.ot.get(command.view, 0) === 1) return command.invalid(GetLogPage.cdw14.offset, 23);
    const offset = GetLogPage.lpo.get(command.view, 0);
    return offset % 4 === 0 || offset === Infinity ? 0 : command.invalid(GetLogPage.lpo.offset);
  },
  execute(command) {
    const controller = command.queue.controller!;
    const lid = GetLogPage.lid.get(command.view, 0);
    const offset = GetLogPage.lpo.get(command.view, 0);
    const page = LOGS.get(lid)!;
    const piece = readPage(page, controller, command, offset, command.length);
    if (piece === undefined) {
      command.complete(Status.InvalidField | DNR);
      return;
    }
    if (page.once === true || !retains(command)) {
      page.read?.(controller);
      controller.asyncEvents.logRead(lid);
    }
    command.respond(piece);
  },
};

const identifyCommand: Handler = {
  name: 'Identify',
  transfer: 'out',
  check(command) {
    command.length = IDENTIFY_SIZE;
    return 0;
  },
  execute(command) {
    const answer = identify(command);
    if (typeof answer === 'number') command.complete(answer);
    else command.respond(answer);
  },
};

const abort: Handler = {
  name: 'Abort',
  transfer: 'none',
  check: () => 0,
  execute(command) {
    const controller = command.queue.controller!;
    const sqid = Abort.sqid.get(command.view, 0);
    const queue = sqid === 0 ? controller.admin : controller.ioQueues.get(sqid);
    const aborted = queue?.stopping.abort(Abort.abortCid.get(command.view, 0)) === true;
    // Bit 0 of dword 0: the command was not aborted.
    command.dw0 = aborted ? 0 : 1;
    command.complete(0);
  },
};

/** The feature and its namespace, or a status. */
function checkFeature(command: Command): number {
  const controller = command.queue.controller!;
  const feature = findFeature(controller, SetFeatures.fid.get(command.view, 0));
  if (feature === undefined) return command.invalid(SetFeatures.fid.offset);
  const { nsid, opcode } = command;
  const all = nsid === BROADCAST_NSID;
  const attachment = controller.attachments.get(nsid);
  if (feature.perNamespace) {
    if (attachment !== undefined) return attachment.anaRefusal;
    return all && opcode === AdminOpcode.SetFeatures ? 0 : Status.InvalidNamespace | DNR;
  }
  if (nsid === 0 || all) return 0;
  if (attachment === undefined) return Status.InvalidNamespace | DNR;
  // Asked through a namespace, the controller's value is told; but it cannot be set so.
  return opcode === AdminOpcode.SetFeatures ? Status.FeatureNotNamespaceSpecific | DNR : 0;
}

const setFeatures: Handler = {
  name: 'Set Features',
  transfer: 'in',
  check(command) {
    const status = checkFeature(command);
    if (status !== 0) return status;
    if (SetFeatures.sv.sv.get(command.view, 0) === 1) return Status.FeatureNotSaveable | DNR;
    command.length = findFeature(command.queue.controller!, SetFeatures.fid.get(command.view, 0))?.takes ?? 0;
    return 0;
  },
  execute(command) {
    const controller = command.queue.controller!;
    const feature = findFeature(controller, SetFeatures.fid.get(command.view, 0));
    const status =
      feature?.set?.(controller, SetFeatures.cdw11.get(command.view, 0), command) ??
      Status.FeatureNotChangeable | DNR;
    if (status === (Status.InvalidField | DNR)) command.invalid(SetFeatures.cdw11.offset);
    if (status !== LATER) command.complete(status);
  },
};

const getFeatures: Handler = {
  name: 'Get Features',
  transfer: 'out',
  check(command) {
    const status = checkFeature(command);
    if (status !== 0) return status;
    const select = GetFeatures.sel.sel.get(command.view, 0);
    if (select > FeatureSelect.Capabilities) return command.invalid(GetFeatures.sel.offset);
    if (select === FeatureSelect.Capabilities) return 0;
    const feature = findFeature(command.queue.controller!, GetFeatures.fid.get(command.view, 0));
    command.length = feature?.gives ?? 0;
    const refused = feature?.refuses?.(GetFeatures.cdw11.get(command.view, 0)) ?? 0;
    if (refused !== 0) command.invalid(GetFeatures.cdw11.offset);
    return refused;
  },
  execute(command) {
    const controller = command.queue.controller!;
    const feature = findFeature(controller, GetFeatures.fid.get(command.view, 0))!;
    const select = GetFeatures.sel.sel.get(command.view, 0);
    const cdw11 = GetFeatures.cdw11.get(command.view, 0);
    if (select === FeatureSelect.Capabilities) {
      command.dw0 = viewOf(
        FeatureCapabilities.bytes({
          caps: {
            saveable: 0,
            namespaceSpecific: feature.perNamespace ? 1 : 0,
            changeable: feature.set ? 1 : 0,
          },
        }),
      ).getUint32(0, true);
      command.complete(0);
      return;
    }
    // Nothing is saveable, so "saved" is "default".
    const current = select === FeatureSelect.Current;
    const { initial } = feature;
    if (current) command.dw0 = feature.get(controller, cdw11, command);
    else command.dw0 = typeof initial === 'number' ? initial : initial(controller, cdw11);
    if (feature.getData === undefined) command.complete(0);
    else if (current) command.respond(feature.getData(controller));
    else command.respond(feature.initialData?.(controller) ?? new Uint8Array(feature.gives ?? 0));
  },
};

const asyncEventRequest: Handler = {
  name: 'Asynchronous Event Request',
  transfer: 'none',
  check: () => 0,
  execute(command) {
    if (!command.queue.controller!.asyncEvents.request(command))
      command.complete(Status.AerLimitExceeded | DNR);
  },
};

const keepAlive: Handler = {
  name: 'Keep Alive',
  transfer: 'none',
  check: () => 0,
  // The command itself was the traffic that counts.
  execute(command) {
    command.complete(0);
  },
};

export const ADMIN: ReadonlyMap<number, Handler> = new Map([
  [AdminOpcode.GetLogPage, getLogPage],
  [AdminOpcode.Identify, identifyCommand],
  [AdminOpcode.Abort, abort],
  [AdminOpcode.SetFeatures, setFeatures],
  [AdminOpcode.GetFeatures, getFeatures],
  [AdminOpcode.AsyncEventRequest, asyncEventRequest],
  [AdminOpcode.NamespaceAttachment, namespaceAttachment],
  [AdminOpcode.KeepAlive, keepAlive],
]);
