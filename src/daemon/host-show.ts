/** What a host has, as plain data for people and programs: subsystems with their controllers, heads and paths. */
import { anaStateName } from '../nvme/ana-log.ts';
import type { Controller } from '../initiator/controller.ts';
import { type ControllerDescription, describeController } from '../initiator/describe.ts';
import type { WriteFailover } from '../initiator/failover.ts';
import type { Head, HeadState } from '../initiator/head.ts';
import type { HostIdentity } from '../initiator/identity.ts';
import type { Path } from '../initiator/path.ts';
import type { Registry } from '../initiator/registry.ts';
import type { IoPolicy, PathClass } from '../initiator/select.ts';
import type { Subsystem } from '../initiator/subsystem.ts';

export interface PathShown {
  readonly name: string;
  /** Never used again, unlike the name. */
  readonly id: number;
  readonly controller: string;
  readonly usable: boolean;
  readonly is: PathClass;
  /** `optimized`, …; undefined: not known, or the controller does not report ANA. */
  readonly anaState: string | undefined;
}

export interface HeadShown {
  readonly name: string;
  readonly id: number;
  readonly nsid: number;
  readonly state: HeadState;
  /** Bytes, but `blocks`. */
  readonly blockSize: number;
  readonly blocks: number;
  readonly size: number;
  readonly used: number;
  readonly uuid: string | undefined;
  readonly nguid: string | undefined;
  readonly eui64: string | undefined;
  readonly wwid: string;
  readonly readOnly: boolean;
  readonly delayedRemovalSecs: number;
  /** Its NBD socket, if there is one. */
  readonly nbd: string | undefined;
  /** The link to it whose name says which disk it is. */
  readonly link: string | undefined;
  readonly paths: readonly PathShown[];
}

export interface SubsystemShown {
  readonly name: string;
  readonly id: number;
  readonly nqn: string;
  readonly discovery: boolean;
  readonly serial: string;
  readonly model: string;
  readonly firmware: string;
  readonly iopolicy: IoPolicy;
  readonly writeFailover: WriteFailover;
  /** Of heads that are made from now on. */
  readonly delayedRemovalSecs: number;
  readonly controllers: readonly ControllerDescription[];
  readonly heads: readonly HeadShown[];
}

export interface HostShown extends HostIdentity {
  readonly subsystems: readonly SubsystemShown[];
  /** Those that have not been connected yet, so that nobody knows what they belong to. */
  readonly connecting: readonly ControllerDescription[];
}

/** Where a head is served. */
export interface Served {
  readonly nbd: string | undefined;
  readonly link: string | undefined;
}

export function showHost(
  registry: Registry,
  identity: HostIdentity,
  served: (head: Head) => Served,
): HostShown {
  return {
    hostnqn: identity.hostnqn,
    hostid: identity.hostid,
    subsystems: [...registry.subsystems].map((subsystem) => showSubsystem(subsystem, served)),
    connecting: [...registry.controllers]
      .filter((controller: Controller) => controller.subsystem === undefined)
      .map(describeController),
  };
}

function showSubsystem(subsystem: Subsystem, served: (head: Head) => Served): SubsystemShown {
  const { name, id, nqn, discovery, serial, model, firmware, settings } = subsystem;
  return {
    name,
    id,
    nqn,
    discovery,
    serial: serial.trim(),
    model: model.trim(),
    firmware: firmware.trim(),
    iopolicy: settings.iopolicy,
    writeFailover: settings.writeFailover,
    delayedRemovalSecs: settings.delayedRemoval,
    controllers: [...subsystem.controllers].map(describeController),
    heads: subsystem.heads.map((head) => showHead(head, served(head))),
  };
}

function showHead(head: Head, { nbd, link }: Served): HeadShown {
  const { name, id, nsid, blockSize, blocks, wwid, info } = head;
  const { uuid, nguid, eui64, readOnly } = info;
  return {
    name,
    id,
    nsid,
    state: head.state.now,
    blockSize,
    blocks,
    size: blocks * blockSize,
    used: info.used * blockSize,
    uuid,
    nguid,
    eui64,
    wwid,
    readOnly,
    delayedRemovalSecs: head.delayedRemoval,
    nbd,
    link,
    paths: head.paths.map(showPath),
  };
}

function showPath(path: Path): PathShown {
  const { name, id, controller, usable, is, ana } = path;
  const anaState = path.side.ana === undefined || ana === undefined ? undefined : anaStateName(ana);
  return { name, id, controller: controller.name, usable, is, anaState };
}
