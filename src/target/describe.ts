/**
 * What a target is at this moment, as plain data for people and for JSON, in both directions (LIFE.12): subsystem →
 * namespaces → controllers that have them, and subsystem → controllers → queues → connection.
 */
import { anaStateName } from '../nvme/ana-log.ts';
import { reservationTypeName } from '../nvme/reservation.ts';
import { statusName } from '../nvme/status.ts';
import { hex } from '../layout/field.ts';
import type { Address } from '../runtime/ports.ts';
import type { Controller } from './controller.ts';
import type { Namespace, Owner } from './namespace.ts';
import type { Port } from './port.ts';
import type { Queue } from './queue.ts';
import { isHolder, type Reservation } from './reservation.ts';
import type { Subsystem } from './subsystem.ts';
import type { Target } from './target.ts';

export interface TargetInfo {
  readonly discovery: {
    readonly nqn: string;
    readonly genctr: number;
    readonly controllers: ControllerInfo[];
  };
  readonly subsystems: SubsystemInfo[];
  readonly ports: PortInfo[];
}

export interface SubsystemInfo {
  readonly nqn: string;
  readonly serial: string;
  readonly model: string;
  readonly firmware: string;
  /** False: one controller at a time. */
  readonly shared: boolean;
  /** Whether hosts are told of Asymmetric Namespace Access. */
  readonly ana: boolean;
  /** That a controller may have. */
  readonly ioQueues: number;
  readonly cntlids: readonly [number, number];
  /** Undefined: every host. */
  readonly hosts: readonly string[] | undefined;
  /** PORTIDs through which it is reached. */
  readonly ports: readonly number[];
  readonly namespaces: NamespaceDescription[];
  readonly controllers: ControllerInfo[];
}

export interface NamespaceDescription {
  readonly nsid: number;
  readonly uuid: string;
  /** Hexadecimal digits. */
  readonly nguid: string;
  readonly eui64: string | undefined;
  /** enabled, disabling, disabled, removed */
  readonly state: string;
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  readonly blockSize: number;
  readonly writeProtected: boolean;
  readonly shared: boolean;
  readonly anagrpid: number;
  readonly hosts: readonly string[] | undefined;
  readonly owner: Owner | undefined;
  readonly reservation: ReservationInfo;
  /** Operations with storage. */
  readonly inFlight: number;
  readonly reads: number;
  readonly writes: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly errors: number;
  /** Who has it, and how I/O fares there. */
  readonly attachments: readonly {
    readonly cntlid: number;
    readonly host: string;
    readonly ana: string;
    /** Why every I/O is refused. */
    readonly refused: string | undefined;
  }[];
}

export interface ReservationInfo {
  /** `none`, or what is held. */
  readonly type: string;
  readonly generation: number;
  /** It survives a restart. */
  readonly persistent: boolean;
  readonly registrants: readonly {
    readonly hostid: string;
    /** Hexadecimal. */
    readonly key: string;
    readonly holder: boolean;
  }[];
}

export interface ControllerInfo {
  readonly cntlid: number;
  readonly host: string;
  readonly hostid: string;
  /** disabled, ready, shutdown, failed, gone */
  readonly state: string;
  readonly portid: number;
  /** Milliseconds; 0: none. */
  readonly kato: number;
  /** Outstanding Asynchronous Event Requests. */
  readonly asyncEventRequests: number;
  readonly errors: number;
  readonly namespaces: readonly number[];
  readonly queues: QueueInfo[];
}

export interface QueueInfo {
  readonly qid: number;
  readonly entries: number;
  /** Commands not answered, and of those the ones with storage. */
  readonly outstanding: number;
  readonly executing: number;
  /** Write data granted to the host, bytes. */
  readonly granted: number;
  readonly connection: {
    readonly id: number;
    readonly state: string;
    readonly local: Address;
    readonly remote: Address;
    readonly headerDigest: boolean;
    readonly dataDigest: boolean;
    /** Bytes on their way to the host. */
    readonly pending: number;
    /** Bytes since it was accepted, with every header. */
    readonly received: number;
    readonly sent: number;
  };
}

export interface PortInfo {
  readonly id: number;
  readonly address: Address;
  /** Undefined: every subsystem. */
  readonly subsystems: readonly string[] | undefined;
  readonly ana: readonly { readonly anagrpid: number; readonly state: string }[];
  readonly connections: number;
}

export function describeTarget(target: Target): TargetInfo {
  const { discovery, genctr, ports, subsystems } = target;
  return {
    discovery: { nqn: discovery.nqn, genctr, controllers: controllersOf(discovery) },
    subsystems: [...subsystems.values()].map(describeSubsystem),
    ports: ports.list.map(describePort),
  };
}

export function describeSubsystem(subsystem: Subsystem): SubsystemInfo {
  const { nqn, serial, model, firmware, shared, ana, ioQueues, cntlids, hosts, target, namespaces } =
    subsystem;
  return {
    nqn,
    serial,
    model,
    firmware,
    shared,
    ana,
    ioQueues,
    cntlids: [cntlids.first, cntlids.last],
    hosts: hosts && [...hosts],
    ports: target.ports.list.filter((port) => port.offers(subsystem)).map(({ id }) => id),
    namespaces: [...namespaces.values()].map(describeNamespace),
    controllers: controllersOf(subsystem),
  };
}

const controllersOf = ({ controllers }: Subsystem): ControllerInfo[] =>
  [...controllers.values()].sort((a, b) => a.cntlid - b.cntlid).map(describeController);

export function describeNamespace(namespace: Namespace): NamespaceDescription {
  const { nsid, uuid, state, file, size, blockSize, writeProtected, shared, anagrpid } = namespace;
  const { hosts, owner, volume, attachments } = namespace;
  const { reads, writes, bytesRead, bytesWritten, errors } = namespace.counters;
  return {
    nsid,
    uuid,
    nguid: hex(namespace.nguid),
    eui64: namespace.eui64 && hex(namespace.eui64),
    state: state.now,
    path: file.path,
    size,
    blockSize,
    writeProtected,
    shared,
    anagrpid,
    hosts: hosts && [...hosts],
    owner,
    reservation: describeReservation(namespace.reservations.state),
    inFlight: volume?.inFlight ?? 0,
    reads,
    writes,
    bytesRead,
    bytesWritten,
    errors,
    attachments: [...attachments.values()].map(({ controller, refusal }) => ({
      cntlid: controller.cntlid,
      host: controller.hostnqn,
      ana: anaStateName(controller.port.ana.state(anagrpid)),
      refused: refusal === 0 ? undefined : statusName(refusal),
    })),
  };
}

function describeReservation(state: Reservation): ReservationInfo {
  const { rtype, generation, ptpl, registrants } = state;
  return {
    type: reservationTypeName(rtype),
    generation,
    persistent: ptpl,
    registrants: [...registrants].map(([hostid, rkey]) => ({
      hostid,
      key: rkey.toString(16),
      holder: isHolder(state, hostid),
    })),
  };
}

export function describeController(controller: Controller): ControllerInfo {
  const { cntlid, hostnqn, hostid, state, port, features, asyncEvents, errors, attachments } = controller;
  return {
    cntlid,
    host: hostnqn,
    hostid,
    state: state.now,
    portid: port.id,
    kato: features.kato,
    asyncEventRequests: asyncEvents.requests,
    errors: errors.count,
    namespaces: [...attachments.keys()].sort((a, b) => a - b),
    queues: [controller.admin, ...controller.ioQueues.values()].map(describeQueue),
  };
}

function describeQueue({ qid, entries, outstanding, executing, grants, connection }: Queue): QueueInfo {
  const { id, state, transport, sender } = connection;
  return {
    qid,
    entries,
    outstanding,
    executing,
    granted: grants.granted,
    connection: {
      id,
      state: state.now,
      local: transport.local,
      remote: transport.remote,
      headerDigest: sender.headerDigest,
      dataDigest: sender.dataDigest,
      pending: sender.pending,
      received: connection.received,
      sent: sender.total,
    },
  };
}

export function describePort({ id, address, subsystems, ana, connections }: Port): PortInfo {
  return {
    id,
    address,
    subsystems: subsystems && [...subsystems].map(({ nqn }) => nqn),
    ana: ana.told().map(([anagrpid, state]) => ({ anagrpid, state: anaStateName(state) })),
    connections: connections.size,
  };
}
