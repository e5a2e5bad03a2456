/** Identify: what we say of ourselves, one row per CNS (NVMe Base 2.1, section 5.1.13). */
import { AnaState } from '../nvme/ana-log.ts';
import { CNTLID_DYNAMIC } from '../nvme/fabrics.ts';
import { Cns, Csi, IDENTIFY_SIZE } from '../nvme/identify.ts';
import { ControllerType, DiscoveryType, GHOST1_MARK, IdController } from '../nvme/identify-controller.ts';
import {
  IdNamespace,
  IndependentIdNamespace,
  NvmIdController,
  NvmIdNamespace,
} from '../nvme/identify-namespace.ts';
import {
  IdCommandSets,
  encodeControllerList,
  encodeNamespaceIds,
  encodeNsidList,
} from '../nvme/identify-lists.ts';
import { Identify } from '../nvme/sqe.ts';
import { DNR, Status } from '../nvme/status.ts';
import { viewOf } from '../layout/struct.ts';
import type { Command } from './command.ts';
import type { Controller } from './controller.ts';
import { ERROR_LOG_ENTRIES } from './error-log.ts';
import { EventEnable, ioEvents } from './features.ts';
import { LARGEST_BLOCK } from './atomicity.ts';
import { copyLimits } from './copy.ts';
import { ANA_TRANSITION_TIME, KATO_GRANULARITY, type Limits } from './limits.ts';
import type { Namespace } from './namespace.ts';

const BROADCAST_NSID = 0xffffffff;
/** MPSMIN is 4 KiB; sizes such as MDTS are powers of two of it. */
const PAGE = 4096;
/** RESCAP: persistence through power loss, all six types, and IEKEY as since NVMe 1.3. */
const RESERVATION_CAPABILITIES = 0xff;

/** MDTS and VSL. */
const mdts = (limits: Limits): number => Math.log2(limits.maxTransfer / PAGE);

/** A structure, or the status that says why there is none. */
type Answer = Uint8Array | number;
type Builder = (command: Command, controller: Controller) => Answer;

/** CNS 01h. */
function identifyController(_: Command, controller: Controller): Answer {
  const { subsystem, discovery, port } = controller;
  const { limits } = subsystem.target;
  const made = IdController.bytes({
    sn: subsystem.serial,
    mn: subsystem.model,
    fr: subsystem.firmware,
    rab: 6,
    ieee: Uint8Array.of(subsystem.ieeeOui, subsystem.ieeeOui >>> 8, subsystem.ieeeOui >>> 16),
    mdts: mdts(limits),
    cntlid: controller.cntlid,
    cntrltype: discovery ? ControllerType.Discovery : ControllerType.Io,
    dctype: discovery ? DiscoveryType.Direct : DiscoveryType.NotReported,
    acl: 4,
    aerl: limits.asyncEvents,
    frmw: { firstSlotReadOnly: 1, slots: 1, withoutReset: 0, multipleUpdateDetection: 0 },
    lpa: {
      smartPerNamespace: 0,
      effects: discovery ? 0 : 1,
      extended: 1,
      telemetry: 0,
      persistentEvent: 0,
      supportedPages: 1,
      telemetryArea4: 0,
    },
    elpe: ERROR_LOG_ENTRIES,
    npss: 1,
    kas: KATO_GRANULARITY / 100,
    subnqn: subsystem.nqn,
    maxcmd: discovery ? limits.queueEntries : port.queueEntries,
    sgls: {
      support: 1,
      keyed: 0,
      threshold: 0,
      bitBucket: 0,
      mptrContiguous: 0,
      longerThanData: 1,
      mptrSgl: 0,
      addressOffset: 1,
      transport: 1,
    },
  });
  // Hosts of ours may rely on our FIN (GHOST.1).
  made.set(GHOST1_MARK, IdController.vs.offset);
  const view = viewOf(made);
  view.setUint32(IdController.ver.offset, controller.version, true);
  view.setUint32(IdController.oaes.offset, discovery ? EventEnable.discoveryLog : ioEvents(subsystem), true);
  IdController.ctratt.hids.set(view, 0, 1);
  IdController.ctratt.tbkas.set(view, 0, 1);
  if (!discovery) identifyIoController(view, controller);
  return made;
}

function identifyIoController(view: DataView, controller: Controller): void {
  const { limits } = controller.subsystem.target;
  const { cmic, sqes, cqes, oncs, vwc, nwpc } = IdController;
  // Fixed for the subsystem's life (LIFE.11): several ports, several controllers, ANA.
  cmic.multiplePorts.set(view, 0, 1);
  cmic.multipleControllers.set(view, 0, controller.subsystem.shared ? 1 : 0);
  if (controller.subsystem.ana) identifyAna(view, limits);
  sqes.min.set(view, 0, 6);
  sqes.max.set(view, 0, 6);
  cqes.min.set(view, 0, 4);
  cqes.max.set(view, 0, 4);
  IdController.nn.set(view, 0, limits.namespaces);
  IdController.mnan.set(view, 0, limits.namespaces);
  IdController.maxcna.set(view, 0, limits.attachments);
  for (const command of [oncs.compare, oncs.verify, oncs.copy]) command.set(view, 0, 1);
  IdController.fuses.compareAndWrite.set(view, 0, 1);
  IdController.ocfs.format0.set(view, 0, 1);
  oncs.datasetManagement.set(view, 0, 1);
  oncs.writeZeroes.set(view, 0, 1);
  oncs.saveSelect.set(view, 0, 1);
  oncs.timestamp.set(view, 0, 1);
  oncs.reservations.set(view, 0, 1);
  vwc.present.set(view, 0, 1);
  // Flush with NSID FFFFFFFFh is not supported.
  vwc.broadcast.set(view, 0, 2);
  for (const state of [nwpc.writeProtect, nwpc.untilPowerCycle, nwpc.permanent]) state.set(view, 0, 1);
  const { atomicity } = controller.subsystem.target;
  IdController.awun.set(view, 0, atomicity.write(LARGEST_BLOCK));
  IdController.acwu.set(view, 0, atomicity.compareAndWrite(LARGEST_BLOCK) / LARGEST_BLOCK);
  // AWUPF is 0's based: zero promises one block (ORDER.2).
  IdController.ioccsz.set(view, 0, (64 + controller.port.ioCapsuleData) / 16);
  IdController.iorcsz.set(view, 0, 1);
  IdController.msdbd.set(view, 0, 1);
  IdController.ofcs.disconnect.set(view, 0, 1);
}

function identifyAna(view: DataView, limits: Limits): void {
  IdController.cmic.ana.set(view, 0, 1);
  IdController.anatt.set(view, 0, ANA_TRANSITION_TIME);
  IdController.anagrpmax.set(view, 0, limits.anaGroups);
  IdController.nanagrpid.set(view, 0, limits.anaGroups);
  const { anacap } = IdController;
  for (const state of [
    anacap.optimized,
    anacap.nonOptimized,
    anacap.inaccessible,
    anacap.persistentLoss,
    anacap.change,
  ])
    state.set(view, 0, 1);
}

/** Whether an NSID can be one of this subsystem's. */
const possible = ({ nsid }: Command, { subsystem }: Controller): boolean =>
  nsid !== 0 && nsid !== BROADCAST_NSID && nsid <= subsystem.target.limits.namespaces;

/** A namespace of the subsystem, attached or not, that the controller's host may see (LIFE.5). */
export const allocated = (nsid: number, { subsystem, hostnqn }: Controller): Namespace | undefined => {
  const namespace = subsystem.namespaces.get(nsid);
  return namespace?.hosts?.has(hostnqn) === false ? undefined : namespace;
};

/** A builder for an attached namespace; inactive ones give zeroes, or a status where the specification wants one. */
const ofNamespace =
  (
    build: (namespace: Namespace, controller: Controller) => Uint8Array,
    inactive: Answer = new Uint8Array(IDENTIFY_SIZE),
  ): Builder =>
  (command, controller) => {
    if (!possible(command, controller)) return Status.InvalidNamespace | DNR;
    const found = controller.attachments.get(command.nsid);
    return found === undefined ? inactive : build(found.namespace, controller);
  };

/** A builder for an allocated namespace; others give zeroes. */
const ofAllocated =
  (build: (namespace: Namespace, controller: Controller) => Uint8Array): Builder =>
  (command, controller) => {
    if (!possible(command, controller)) return Status.InvalidNamespace | DNR;
    const found = allocated(command.nsid, controller);
    return found === undefined ? new Uint8Array(IDENTIFY_SIZE) : build(found, controller);
  };

/** 0: there are no ANA groups. */
const toldGroup = ({ subsystem, anagrpid }: Namespace): number => (subsystem.ana ? anagrpid : 0);

function identifyNamespace(namespace: Namespace, controller: Controller): Uint8Array {
  const { blocks, blockSize, volume } = namespace;
  const { atomicity, limits } = controller.subsystem.target;
  const state = controller.port.ana.state(namespace.anagrpid);
  const made = IdNamespace.bytes({
    nsze: blocks,
    ncap: blocks,
    // How much is used cannot be told where the namespace cannot be reached.
    nuse: state === AnaState.Inaccessible || state === AnaState.PersistentLoss ? 0 : blocks,
    nvmcap: BigInt(namespace.size),
    nguid: namespace.nguid,
    ...(namespace.eui64 && { eui64: namespace.eui64 }),
    anagrpid: toldGroup(namespace),
  });
  const view = viewOf(made);
  // Files are sparse: space is taken when it is written, and deallocating gives it back.
  const canPunch = volume?.canPunch === true;
  IdNamespace.nsfeat.thinProvisioning.set(view, 0, canPunch ? 1 : 0);
  IdNamespace.nmic.shared.set(view, 0, namespace.shared ? 1 : 0);
  if (canPunch) {
    IdNamespace.dlfeat.read.set(view, 0, 1);
    IdNamespace.dlfeat.writeZeroes.set(view, 0, 1);
  }
  IdNamespace.nsattr.writeProtected.set(view, 0, namespace.writeProtected ? 1 : 0);
  IdNamespace.nsfeat.atomics.set(view, 0, 1);
  IdNamespace.nawun.set(view, 0, atomicity.write(blockSize));
  IdNamespace.nacwu.set(view, 0, Math.floor(atomicity.compareAndWrite(blockSize) / blockSize));
  const { mssrl, mcl } = copyLimits(limits, blockSize);
  IdNamespace.mssrl.set(view, 0, mssrl);
  IdNamespace.mcl.set(view, 0, mcl);
  IdNamespace.msrc.set(view, 0, limits.copyRanges);
  view.setUint8(IdNamespace.rescap.offset, RESERVATION_CAPABILITIES);
  // LBAF0: LBADS is its third byte.
  view.setUint8(IdNamespace.lbaf.offset + 2, Math.log2(namespace.blockSize));
  return made;
}

function identifyIndependent(namespace: Namespace): Uint8Array {
  const made = IndependentIdNamespace.bytes({ anagrpid: toldGroup(namespace) });
  const view = viewOf(made);
  IndependentIdNamespace.nmic.shared.set(view, 0, namespace.shared ? 1 : 0);
  IndependentIdNamespace.nsattr.writeProtected.set(view, 0, namespace.writeProtected ? 1 : 0);
  view.setUint8(IndependentIdNamespace.rescap.offset, RESERVATION_CAPABILITIES);
  IndependentIdNamespace.nstat.ready.set(view, 0, namespace.usable ? 1 : 0);
  return made;
}

/** The active NSIDs above the one named. */
function activeList(command: Command, controller: Controller): Answer {
  // FFFFFFFEh and FFFFFFFFh leave nothing above them.
  if (command.nsid >= 0xfffffffe) return Status.InvalidNamespace | DNR;
  const nsids = [...controller.attachments.keys()].filter((nsid) => nsid > command.nsid);
  return encodeNsidList(nsids.sort((a, b) => a - b));
}

/** The NSIDs of the subsystem above the one named, attached or not. */
function allocatedList(command: Command, controller: Controller): Answer {
  if (command.nsid >= 0xfffffffe) return Status.InvalidNamespace | DNR;
  const nsids = [...controller.subsystem.namespaces.keys()];
  return encodeNsidList(
    nsids.filter((nsid) => nsid > command.nsid && allocated(nsid, controller) !== undefined),
  );
}

/** Only the NVM command set is there. */
const nvmOnly =
  (build: Builder): Builder =>
  (command, controller) =>
    Identify.csi.get(command.view, 0) === Csi.Nvm ? build(command, controller) : Status.InvalidField | DNR;

/** Of some CNTLIDs, those from the one named on. */
function controllersFrom(command: Command, cntlids: Iterable<number>): Answer {
  const from = Identify.cntid.get(command.view, 0);
  const listed = [...cntlids].filter((cntlid) => cntlid >= from && cntlid < CNTLID_DYNAMIC);
  return encodeControllerList(listed.sort((a, b) => a - b));
}

/** The controllers that a namespace is attached to. */
function attachedControllers(command: Command, controller: Controller): Answer {
  if (!possible(command, controller)) return Status.InvalidNamespace | DNR;
  return controllersFrom(command, allocated(command.nsid, controller)?.attachments.keys() ?? []);
}

const CONTROLLER: ReadonlyMap<number, Builder> = new Map([[Cns.Controller, identifyController]]);

const ALL: ReadonlyMap<number, Builder> = new Map<number, Builder>([
  ...CONTROLLER,
  [Cns.Namespace, ofNamespace(identifyNamespace)],
  [Cns.ActiveNamespaces, activeList],
  [
    Cns.NamespaceDescriptors,
    ofNamespace(
      ({ uuid, nguid, eui64 }) => encodeNamespaceIds({ ...(eui64 && { eui64 }), nguid, uuid, csi: Csi.Nvm }),
      Status.InvalidNamespace | DNR,
    ),
  ],
  [Cns.CsNamespace, nvmOnly(ofNamespace(() => NvmIdNamespace.bytes({})))],
  [
    Cns.CsController,
    nvmOnly((_, { subsystem }) => NvmIdController.bytes({ vsl: mdts(subsystem.target.limits) })),
  ],
  [Cns.CsActiveNamespaces, nvmOnly(activeList)],
  [Cns.CsIndependentNamespace, ofNamespace(identifyIndependent)],
  [Cns.AllocatedNamespaces, allocatedList],
  [Cns.AllocatedNamespace, ofAllocated(identifyNamespace)],
  [Cns.AttachedControllers, attachedControllers],
  [Cns.Controllers, (command, { subsystem }) => controllersFrom(command, subsystem.controllers.keys())],
  [Cns.CommandSets, () => IdCommandSets.bytes({ iocsc: [1n] })],
]);

export function identify(command: Command): Answer {
  const controller = command.queue.controller!;
  const builder = (controller.discovery ? CONTROLLER : ALL).get(Identify.cns.get(command.view, 0));
  return builder === undefined ? Status.InvalidField | DNR : builder(command, controller);
}
