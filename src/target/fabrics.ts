/** Fabrics commands: Connect, Property Get and Set, Disconnect (NVMe Base 2.1, section 6). */
import { viewOf } from '../layout/struct.ts';
import {
  CNTLID_DYNAMIC,
  Connect,
  ConnectData,
  Disconnect,
  PropertyGet,
  PropertySet,
} from '../nvme/fabrics.ts';
import { nqnProblem } from '../nvme/nqn.ts';
import { FABRICS_OPCODE, FabricsType } from '../nvme/opcode.ts';
import { PROPERTY_SIZE, Property } from '../nvme/property.ts';
import { DNR, Status } from '../nvme/status.ts';
import type { Command } from './command.ts';
import { Controller } from './controller.ts';
import type { Handler } from './handler.ts';
import { grantedKato } from './limits.ts';
import type { Subsystem } from './subsystem.ts';

const NIL_UUID = '00000000-0000-0000-0000-000000000000';

/** What is wrong with a Connect: a field of the SQE or of the data (Invalid Parameter Offset and Attributes). */
class ConnectProblem {
  readonly status: number;
  readonly dw0: number;
  readonly why: string;
  constructor(why: string, status: number, dw0 = 0) {
    this.why = why;
    this.status = status;
    this.dw0 = dw0;
  }
}
const inSqe = (field: { offset: number }, why: string): ConnectProblem =>
  new ConnectProblem(why, Status.ConnectInvalidParameters | DNR, field.offset);
const inData = (field: { offset: number }, why: string): ConnectProblem =>
  new ConnectProblem(why, Status.ConnectInvalidParameters | DNR, 0x10000 | field.offset);

/** What a Connect says, decoded and checked for itself. */
interface ConnectRequest {
  readonly qid: number;
  readonly entries: number;
  readonly kato: number;
  readonly flowControl: boolean;
  readonly cntlid: number;
  readonly hostid: string;
  readonly hostnqn: string;
  readonly subsystem: Subsystem;
}

const connect: Handler = {
  name: 'Connect',
  transfer: 'in',
  check(command) {
    if (Connect.recfmt.get(command.view, 0) !== 0) return Status.ConnectIncompatibleFormat | DNR;
    command.length = ConnectData.size;
    return 0;
  },
  execute(command) {
    const request = read(command);
    const outcome =
      request instanceof ConnectProblem
        ? request
        : request.qid === 0
          ? connectAdmin(command, request)
          : connectIo(command, request);
    const { connection } = command.queue;
    if (outcome instanceof ConnectProblem) {
      connection.env.trace.event('warn', 'Connect refused', { from: connection.from, why: outcome.why });
      command.dw0 = outcome.dw0;
      command.complete(outcome.status);
      return;
    }
    connection.connected();
    command.dw0 = outcome.cntlid;
    command.complete(0);
  },
};

function read(command: Command): ConnectRequest | ConnectProblem {
  const { view: sqe, queue } = command;
  const { target, port } = queue.connection;
  const data = viewOf(command.data());
  const qid = Connect.qid.get(sqe, 0);
  const entries = Connect.sqsize.get(sqe, 0) + 1;
  const most = qid === 0 ? target.limits.queueEntries : port.queueEntries;
  if (entries === 1 || entries > most)
    return inSqe(Connect.sqsize, `SQSIZE ${entries - 1}, allowed are 1 to ${most - 1}`);
  const hostnqn = ConnectData.hostnqn.decode(data, 0);
  const hostProblem = nqnProblem(hostnqn);
  if (hostProblem !== undefined) return inData(ConnectData.hostnqn, `HOSTNQN: ${hostProblem}`);
  const hostid = ConnectData.hostid.decode(data, 0);
  if (hostid === NIL_UUID) return inData(ConnectData.hostid, 'HOSTID is zero');
  const subnqn = ConnectData.subnqn.decode(data, 0);
  const subsystem = target.find(subnqn);
  if (subsystem === undefined || !port.offers(subsystem))
    return inData(
      ConnectData.subnqn,
      `there is no subsystem ${printable(subnqn)}${subsystem === undefined ? '' : ` on port ${port.id}`}`,
    );
  if (!subsystem.admits(hostnqn))
    return new ConnectProblem(`host ${hostnqn} is not allowed on ${subnqn}`, Status.ConnectInvalidHost | DNR);
  const flowControl = Connect.cattr.disableSqFlow.get(sqe, 0) === 0;
  return {
    qid,
    entries,
    kato: Connect.kato.get(sqe, 0),
    flowControl,
    cntlid: ConnectData.cntlid.get(data, 0),
    hostid,
    hostnqn,
    subsystem,
  };
}

function connectAdmin(command: Command, request: ConnectRequest): Controller | ConnectProblem {
  const { subsystem, hostnqn, hostid } = request;
  const { queue } = command;
  if (request.cntlid !== CNTLID_DYNAMIC)
    return inData(
      ConnectData.cntlid,
      `CNTLID ${request.cntlid}: only the dynamic controller model is offered`,
    );
  if (!subsystem.shared && subsystem.controllers.size > 0)
    return new ConnectProblem(
      `${subsystem.nqn} takes one controller at a time, and has one`,
      Status.ConnectControllerBusy,
    );
  const cntlid = subsystem.allocateCntlid();
  if (cntlid === undefined) return new ConnectProblem('no CNTLID is free', Status.ConnectControllerBusy);
  const kato = grantedKato(request.kato);
  const controller = new Controller(subsystem, cntlid, queue, hostnqn, hostid, kato);
  subsystem.controllers.set(cntlid, controller);
  queue.attach(controller, 0, request.entries, request.flowControl, 0);
  const { connection } = queue;
  connection.env.trace.event('info', 'host connected', {
    host: hostnqn,
    hostid,
    from: connection.from,
    port: connection.port.id,
    subsystem: subsystem.nqn,
    cntlid,
    kato,
    digests:
      `${connection.sender.headerDigest ? 'header ' : ''}${connection.sender.dataDigest ? 'data' : ''}`.trim() ||
      'none',
  });
  return controller;
}

function connectIo(command: Command, request: ConnectRequest): Controller | ConnectProblem {
  const { subsystem, qid } = request;
  const { queue } = command;
  const { target } = queue.connection;
  const controller = subsystem.controllers.get(request.cntlid);
  if (controller === undefined) return inData(ConnectData.cntlid, `there is no controller ${request.cntlid}`);
  // The Host ID may differ from the Admin queue's: a real client does that, and the Admin queue's counts.
  if (controller.hostnqn !== request.hostnqn)
    return inData(ConnectData.hostnqn, `controller ${request.cntlid} is another host's`);
  // The listener is the association's: what is said of a port, ANA states say, holds for all of its queues.
  if (controller.port !== queue.connection.port)
    return inData(ConnectData.cntlid, `controller ${request.cntlid} was connected through another port`);
  if (qid > controller.features.ioQueues || subsystem.discovery)
    return inSqe(
      Connect.qid,
      `QID ${qid}, allowed are ${subsystem.discovery ? 0 : controller.features.ioQueues}`,
    );
  if (!controller.ready)
    return new ConnectProblem('the controller is not enabled', Status.CommandSequenceError | DNR);
  if (controller.ioQueues.has(qid))
    return new ConnectProblem(`queue ${qid} exists`, Status.CommandSequenceError | DNR);
  const space = request.entries * controller.port.ioCapsuleData;
  if (!target.capsuleBudget.take(space))
    return new ConnectProblem(
      `no ${space} bytes left for the queue’s in-capsule data`,
      Status.ConnectControllerBusy,
    );
  queue.attach(controller, qid, request.entries, request.flowControl, space);
  controller.add(queue);
  return controller;
}

/** Bytes that each value of the size attribute asks for; the others are reserved (Base 2.1, section 6.6). */
const ASKED: readonly (number | undefined)[] = [4, 8];

/** Text of a peer's, fit for a log. */
const printable = (text: string): string => JSON.stringify(text.slice(0, 223));

const propertyGet: Handler = {
  name: 'Property Get',
  transfer: 'none',
  check(command) {
    const size = PROPERTY_SIZE.get(PropertyGet.ofst.get(command.view, 0));
    const asked = ASKED[PropertyGet.attrib.psz.get(command.view, 0)];
    return size !== undefined && size === asked && command.queue.qid === 0 ? 0 : Status.InvalidField | DNR;
  },
  execute(command) {
    const controller = command.queue.controller!;
    switch (PropertyGet.ofst.get(command.view, 0)) {
      case Property.CAP: {
        const cap = new DataView(new ArrayBuffer(8));
        controller.cap(cap);
        command.dw0 = cap.getUint32(0, true);
        command.dw1 = cap.getUint32(4, true);
        break;
      }
      case Property.VS:
        command.dw0 = controller.version;
        break;
      case Property.CC:
        command.dw0 = controller.cc;
        break;
      case Property.CSTS:
        command.dw0 = controller.csts;
        break;
      case Property.CRTO:
        command.dw0 = controller.crto;
        break;
    }
    command.complete(0);
  },
};

const propertySet: Handler = {
  name: 'Property Set',
  transfer: 'none',
  check(command) {
    const fits =
      PropertySet.ofst.get(command.view, 0) === Property.CC &&
      PropertySet.attrib.psz.get(command.view, 0) === 0 &&
      command.queue.qid === 0;
    return fits ? 0 : Status.InvalidField | DNR;
  },
  execute(command) {
    command.queue.controller!.setCc(command.view.getUint32(PropertySet.value.offset, true));
    command.complete(0);
  },
};

const disconnect: Handler = {
  name: 'Disconnect',
  transfer: 'none',
  check(command) {
    if (Disconnect.recfmt.get(command.view, 0) !== 0) return Status.ConnectIncompatibleFormat | DNR;
    return command.queue.qid === 0 ? Status.InvalidQueueType | DNR : 0;
  },
  execute(command) {
    command.complete(0);
    command.queue.connection.close('queue deleted by the host');
  },
};

/** Connect comes first, and once; then, but for fabrics commands, CC.EN. The status of what comes too early, or 0. */
export function outOfSequence(command: Command): number {
  const { controller, qid } = command.queue;
  const isFabrics = command.opcode === FABRICS_OPCODE;
  const isConnect = isFabrics && command.fctype === FabricsType.Connect;
  if (controller === undefined) return isConnect ? 0 : Status.CommandSequenceError | DNR;
  const waits = !controller.ready && (!isFabrics || qid !== 0);
  return isConnect || waits ? Status.CommandSequenceError | DNR : 0;
}

export const FABRICS: ReadonlyMap<number, Handler> = new Map([
  [FabricsType.PropertySet, propertySet],
  [FabricsType.Connect, connect],
  [FabricsType.PropertyGet, propertyGet],
  [FabricsType.Disconnect, disconnect],
]);
