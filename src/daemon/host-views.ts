/**
 * What a host has, with the keys of nvme-cli 2.13: `nvme list`, `nvme list-subsys`, `nvme show-topology`, all with
 * `-o json`. What nvme-cli does not know is under one key of our own, `nvmetcp`. Programs that read nvme-cli's read this.
 */
import type { ControllerDescription } from '../initiator/describe.ts';
import type { HeadShown, HostShown, PathShown, SubsystemShown } from './host-show.ts';

interface OfHost {
  readonly HostNQN: string;
  readonly HostID: string;
}

/** `nvme list -o json`. */
export interface SimpleDevice {
  readonly NameSpace: number;
  readonly DevicePath: string;
  /** Of the character device; there is none. */
  readonly GenericPath: string;
  readonly Firmware: string;
  readonly ModelNumber: string;
  readonly SerialNumber: string;
  readonly UsedBytes: number;
  readonly MaximumLBA: number;
  readonly PhysicalSize: number;
  readonly SectorSize: number;
  readonly nvmetcp: OwnHead;
}

/** What only we say of a head. */
type OwnHead = Pick<
  HeadShown,
  'id' | 'state' | 'wwid' | 'uuid' | 'readOnly' | 'delayedRemovalSecs' | 'nbd' | 'link'
>;

export interface ListedNamespace {
  readonly NameSpace: string;
  readonly Generic: string;
  readonly NSID: number;
  readonly UsedBytes: number;
  readonly MaximumLBA: number;
  readonly PhysicalSize: number;
  readonly SectorSize: number;
  readonly nvmetcp: OwnHead;
}

export interface ListedController {
  readonly Controller: string;
  readonly Cntlid: string;
  readonly SerialNumber: string;
  readonly ModelNumber: string;
  readonly Firmware: string;
  readonly Transport: string;
  readonly Address: string;
  readonly Slot: string;
  /** Of controllers without multipath; there are none. */
  readonly Namespaces: readonly [];
  readonly Paths: readonly { readonly Path: string; readonly ANAState: string }[];
  readonly nvmetcp: ControllerDescription;
}

export interface ListedSubsystem {
  readonly Subsystem: string;
  readonly SubsystemNQN: string;
  readonly Controllers: readonly ListedController[];
  readonly Namespaces: readonly ListedNamespace[];
}

/** `nvme list -v -o json`. */
export interface VerboseList {
  readonly Devices: readonly (OfHost & { readonly Subsystems: readonly ListedSubsystem[] })[];
}

export interface ShownPath {
  readonly Name: string;
  readonly Transport: string;
  readonly Address: string;
  readonly State: string;
}

interface OwnSubsystem {
  readonly id: number;
  readonly write_failover: string;
  readonly delayed_removal_secs: number;
}

/** What both lists say of a subsystem; with `-v` more of it. */
interface NamedSubsystem {
  readonly Name: string;
  readonly NQN: string;
  readonly IOPolicy: string;
  readonly Model?: string;
  readonly Serial?: string;
  readonly Firmware?: string;
  readonly Type?: 'nvm' | 'discovery';
}

/** `nvme list-subsys -o json`. */
export type SubsystemList = readonly (OfHost & {
  readonly Subsystems: readonly (NamedSubsystem & {
    readonly Paths: readonly ShownPath[];
    readonly nvmetcp: OwnSubsystem;
  })[];
})[];

/** `nvme show-topology -o json`. */
export type Topology = readonly (OfHost & {
  readonly Subsystems: readonly (NamedSubsystem & {
    readonly Namespaces: readonly {
      readonly NSID: number;
      readonly Paths: readonly (ShownPath & {
        readonly ANAState: string;
        readonly nvmetcp: Omit<PathShown, 'anaState'>;
      })[];
      readonly nvmetcp: OwnHead & { readonly name: string };
    }[];
    readonly nvmetcp: OwnSubsystem;
  })[];
})[];

/** As Linux writes it in the attribute `address`. */
export function addressOf({ traddr, trsvcid, hostTraddr, hostIface }: ControllerDescription): string {
  const own = hostTraddr === undefined ? '' : `,host_traddr=${hostTraddr}`;
  const device = hostIface === undefined ? '' : `,host_iface=${hostIface}`;
  return `traddr=${traddr},trsvcid=${trsvcid}${own}${device}`;
}

/** Without ANA every path is as good as an optimized one, and Linux says so. */
const anaOf = (path: PathShown): string => path.anaState ?? 'optimized';

const sizes = ({ size, used, blocks, blockSize }: HeadShown) => ({
  UsedBytes: used,
  MaximumLBA: blocks,
  PhysicalSize: size,
  SectorSize: blockSize,
});

function ownHead(head: HeadShown): OwnHead {
  const { id, state, wwid, uuid, readOnly, delayedRemovalSecs, nbd, link } = head;
  return { id, state, wwid, uuid, readOnly, delayedRemovalSecs, nbd, link };
}

const ownSubsystem = ({ id, writeFailover, delayedRemovalSecs }: SubsystemShown): OwnSubsystem => ({
  id,
  write_failover: writeFailover,
  delayed_removal_secs: delayedRemovalSecs,
});

/** The subsystems of each host that this daemon is: nearly always one. A subsystem without a controller is its own. */
function byHost(shown: HostShown): (OfHost & { readonly subsystems: SubsystemShown[] })[] {
  const hosts = new Map<string, OfHost & { readonly subsystems: SubsystemShown[] }>();
  const of = (HostNQN: string, HostID: string) => {
    const key = `${HostNQN} ${HostID}`;
    let found = hosts.get(key);
    if (found === undefined) hosts.set(key, (found = { HostNQN, HostID, subsystems: [] }));
    return found;
  };
  for (const subsystem of shown.subsystems) {
    const first = subsystem.controllers[0] ?? shown;
    of(first.hostnqn, first.hostid).subsystems.push(subsystem);
  }
  return [...hosts.values()];
}

export const simpleList = (shown: HostShown): { readonly Devices: readonly SimpleDevice[] } => ({
  Devices: shown.subsystems.flatMap(({ firmware, model, serial, heads }) =>
    heads.map((head) => ({
      NameSpace: head.nsid,
      DevicePath: head.name,
      GenericPath: '',
      Firmware: firmware,
      ModelNumber: model,
      SerialNumber: serial,
      ...sizes(head),
      nvmetcp: ownHead(head),
    })),
  ),
});

export const verboseList = (shown: HostShown): VerboseList => ({
  Devices: byHost(shown).map(({ HostNQN, HostID, subsystems }) => ({
    HostNQN,
    HostID,
    Subsystems: subsystems.map((subsystem) => ({
      Subsystem: subsystem.name,
      SubsystemNQN: subsystem.nqn,
      Controllers: subsystem.controllers.map((controller) => listedController(subsystem, controller)),
      Namespaces: subsystem.heads.map((head) => ({
        NameSpace: head.name,
        Generic: '',
        NSID: head.nsid,
        ...sizes(head),
        nvmetcp: ownHead(head),
      })),
    })),
  })),
});

function listedController(subsystem: SubsystemShown, controller: ControllerDescription): ListedController {
  const paths = subsystem.heads.flatMap((head) => head.paths);
  return {
    Controller: controller.name,
    Cntlid: String(controller.cntlid),
    SerialNumber: subsystem.serial,
    ModelNumber: subsystem.model,
    Firmware: subsystem.firmware,
    Transport: controller.transport,
    Address: addressOf(controller),
    Slot: '',
    Namespaces: [],
    Paths: paths
      .filter((path) => path.controller === controller.name)
      .map((path) => ({ Path: path.name, ANAState: anaOf(path) })),
    nvmetcp: controller,
  };
}

const shownPath = (controller: ControllerDescription): ShownPath => ({
  Name: controller.name,
  Transport: controller.transport,
  Address: addressOf(controller),
  State: controller.state,
});

function namedSubsystem(subsystem: SubsystemShown, verbose: boolean): NamedSubsystem {
  const { name, nqn, iopolicy, model, serial, firmware, discovery } = subsystem;
  const short = { Name: name, NQN: nqn, IOPolicy: iopolicy };
  if (!verbose) return short;
  return {
    ...short,
    Model: model,
    Serial: serial,
    Firmware: firmware,
    Type: discovery ? 'discovery' : 'nvm',
  };
}

export const subsystemList = (shown: HostShown, verbose = false): SubsystemList =>
  byHost(shown).map(({ HostNQN, HostID, subsystems }) => ({
    HostNQN,
    HostID,
    Subsystems: subsystems.map((subsystem) => ({
      ...namedSubsystem(subsystem, verbose),
      Paths: subsystem.controllers.map(shownPath),
      nvmetcp: ownSubsystem(subsystem),
    })),
  }));

export const topology = (shown: HostShown, verbose = false): Topology =>
  byHost(shown).map(({ HostNQN, HostID, subsystems }) => ({
    HostNQN,
    HostID,
    Subsystems: subsystems
      .filter(({ discovery }) => !discovery)
      .map((subsystem) => ({
        ...namedSubsystem(subsystem, verbose),
        Namespaces: subsystem.heads.map((head) => ({
          NSID: head.nsid,
          Paths: head.paths.flatMap((path) => {
            const controller = subsystem.controllers.find(({ name }) => name === path.controller);
            if (controller === undefined) return [];
            const { name, id, usable, is } = path;
            const own = { name, id, controller: controller.name, usable, is };
            return [{ ...shownPath(controller), ANAState: anaOf(path), nvmetcp: own }];
          }),
          nvmetcp: { name: head.name, ...ownHead(head) },
        })),
        nvmetcp: ownSubsystem(subsystem),
      })),
  }));
