/** Identify: what we say of ourselves, one row per CNS (NVMe Base 2.1, section 5.1.13). */
import { CNTLID_DYNAMIC } from '../nvme/fabrics.ts';
import { Cns, ControllerType, Csi, DiscoveryType, IDENTIFY_SIZE, IdController } from '../nvme/identify.ts';
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
import { EventEnable } from './features.ts';
import { KATO_GRANULARITY } from './limits.ts';
import type { Namespace } from './namespace.ts';

export const FIRMWARE = '0.1.0';
const BROADCAST_NSID = 0xffffffff;
/** MPSMIN is 4 KiB; sizes such as MDTS are powers of two of it. */
const PAGE = 4096;

/** A structure, or the status that says why there is none. */
type Answer = Uint8Array | number;
type Builder = (command: Command, controller: Controller) => Answer;

/** CNS 01h. */
function identifyController(_: Command, controller: Controller): Answer {
  const { subsystem, discovery } = controller;
  const { limits } = subsystem.target;
  const made = IdController.bytes({
    sn: subsystem.serial,
    mn: subsystem.model,
    fr: FIRMWARE,
    rab: 6,
    mdts: Math.log2(limits.maxTransfer / PAGE),
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
    maxcmd: limits.queueEntries,
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
  const view = viewOf(made);
  view.setUint32(IdController.ver.offset, controller.version, true);
  view.setUint32(
    IdController.oaes.offset,
    discovery ? EventEnable.discoveryLog : EventEnable.namespaceAttribute | EventEnable.anaChange,
    true,
  );
  IdController.ctratt.hids.set(view, 0, 1);
  IdController.ctratt.tbkas.set(view, 0, 1);
  if (!discovery) identifyIoController(view, controller);
  return made;
}

function identifyIoController(view: DataView, controller: Controller): void {
  const { limits } = controller.subsystem.target;
  const { cmic, sqes, cqes, oncs, vwc } = IdController;
  // Fixed for the subsystem's life (LIFE.11): several ports, several controllers, ANA.
  cmic.multiplePorts.set(view, 0, 1);
  cmic.multipleControllers.set(view, 0, 1);
  cmic.ana.set(view, 0, 1);
  sqes.min.set(view, 0, 6);
  sqes.max.set(view, 0, 6);
  cqes.min.set(view, 0, 4);
  cqes.max.set(view, 0, 4);
  IdController.nn.set(view, 0, limits.namespaces);
  IdController.mnan.set(view, 0, limits.namespaces);
  oncs.datasetManagement.set(view, 0, 1);
  oncs.writeZeroes.set(view, 0, 1);
  oncs.saveSelect.set(view, 0, 1);
  oncs.timestamp.set(view, 0, 1);
  vwc.present.set(view, 0, 1);
  // Flush with NSID FFFFFFFFh is not supported.
  vwc.broadcast.set(view, 0, 2);
  // AWUN, AWUPF and ACWU are 0's based: zero promises one block (ORDER.2).
  IdController.ioccsz.set(view, 0, (64 + limits.ioCapsuleData) / 16);
  IdController.iorcsz.set(view, 0, 1);
  IdController.msdbd.set(view, 0, 1);
  IdController.ofcs.disconnect.set(view, 0, 1);
  IdController.anatt.set(view, 0, 10);
  IdController.anagrpmax.set(view, 0, 1);
  IdController.nanagrpid.set(view, 0, 1);
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

/** The namespace that the command names. An NSID that could exist but does not is inactive: all zero. */
function find(command: Command, controller: Controller): Namespace | number | undefined {
  const { nsid } = command;
  if (nsid === 0 || nsid === BROADCAST_NSID || nsid > controller.subsystem.target.limits.namespaces)
    return Status.InvalidNamespace | DNR;
  return controller.subsystem.namespaces.get(nsid);
}

/** A builder for one namespace; inactive ones give zeroes, or a status where the specification wants one. */
const ofNamespace =
  (build: (namespace: Namespace) => Uint8Array, inactive: Answer = new Uint8Array(IDENTIFY_SIZE)): Builder =>
  (command, controller) => {
    const found = find(command, controller);
    if (found === undefined) return inactive;
    return typeof found === 'number' ? found : build(found);
  };

function identifyNamespace(namespace: Namespace): Uint8Array {
  const { blocks, volume } = namespace;
  const made = IdNamespace.bytes({
    nsze: blocks,
    ncap: blocks,
    nuse: blocks,
    nvmcap: BigInt(volume.size),
    nguid: namespace.nguid,
    anagrpid: namespace.anagrpid,
  });
  const view = viewOf(made);
  // Files are sparse: space is taken when it is written, and deallocating gives it back.
  IdNamespace.nsfeat.thinProvisioning.set(view, 0, volume.canPunch ? 1 : 0);
  IdNamespace.nmic.shared.set(view, 0, 1);
  if (volume.canPunch) {
    IdNamespace.dlfeat.read.set(view, 0, 1);
    IdNamespace.dlfeat.writeZeroes.set(view, 0, 1);
  }
  IdNamespace.nsattr.writeProtected.set(view, 0, namespace.writeProtected ? 1 : 0);
  // LBAF0: LBADS is its third byte.
  view.setUint8(IdNamespace.lbaf.offset + 2, Math.log2(namespace.blockSize));
  return made;
}

function identifyIndependent(namespace: Namespace): Uint8Array {
  const made = IndependentIdNamespace.bytes({ anagrpid: namespace.anagrpid });
  const view = viewOf(made);
  IndependentIdNamespace.nmic.shared.set(view, 0, 1);
  IndependentIdNamespace.nsattr.writeProtected.set(view, 0, namespace.writeProtected ? 1 : 0);
  IndependentIdNamespace.nstat.ready.set(view, 0, 1);
  return made;
}

/** The active NSIDs above the one named. */
function activeList(command: Command, controller: Controller): Answer {
  // FFFFFFFEh and FFFFFFFFh leave nothing above them.
  if (command.nsid >= 0xfffffffe) return Status.InvalidNamespace | DNR;
  return encodeNsidList([...controller.subsystem.namespaces.keys()].filter((nsid) => nsid > command.nsid));
}

/** Only the NVM command set is there. */
const nvmOnly =
  (build: Builder): Builder =>
  (command, controller) =>
    Identify.csi.get(command.view, 0) === Csi.Nvm ? build(command, controller) : Status.InvalidField | DNR;

function controllerList(command: Command, controller: Controller): Answer {
  const from = Identify.cntid.get(command.view, 0);
  const cntlids = [...controller.subsystem.controllers.keys()].filter(
    (cntlid) => cntlid >= from && cntlid < CNTLID_DYNAMIC,
  );
  return encodeControllerList(cntlids.sort((a, b) => a - b));
}

const CONTROLLER: ReadonlyMap<number, Builder> = new Map([[Cns.Controller, identifyController]]);

const ALL: ReadonlyMap<number, Builder> = new Map<number, Builder>([
  ...CONTROLLER,
  [Cns.Namespace, ofNamespace(identifyNamespace)],
  [Cns.ActiveNamespaces, activeList],
  [
    Cns.NamespaceDescriptors,
    ofNamespace(
      ({ uuid, nguid }) => encodeNamespaceIds({ nguid, uuid, csi: Csi.Nvm }),
      Status.InvalidNamespace | DNR,
    ),
  ],
  [Cns.CsNamespace, nvmOnly(ofNamespace(() => NvmIdNamespace.bytes({})))],
  [Cns.CsController, nvmOnly(() => NvmIdController.bytes({}))],
  [Cns.CsActiveNamespaces, nvmOnly(activeList)],
  [Cns.CsIndependentNamespace, ofNamespace(identifyIndependent)],
  [Cns.Controllers, controllerList],
  [Cns.CommandSets, () => IdCommandSets.bytes({ iocsc: [1n] })],
]);

export function identify(command: Command): Answer {
  const controller = command.queue.controller!;
  const builder = (controller.discovery ? CONTROLLER : ALL).get(Identify.cns.get(command.view, 0));
  return builder === undefined ? Status.InvalidField | DNR : builder(command, controller);
}
