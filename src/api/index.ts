/** `nvme-tcp`: the public API. */
export { NvmeError } from './error.ts';
export { createHost, NvmeHost, type DiscoveryResult, type HostOptions } from './host.ts';
export type {
  AddressOptions,
  ConnectOptions,
  HeadOptions,
  RecoveryOptions,
  WayOptions,
} from './connect-options.ts';
export {
  HostChanges,
  type ChangesOptions,
  type EventsDropped,
  type HostChange,
  type HostEvent,
} from './changes.ts';
export { NvmeFollowing, type FollowOptions, type FollowedOptions, type FollowedPlace } from './following.ts';
export type { DiscoveryRecord } from './discovery.ts';
export {
  NvmeDisk,
  type BlockRange,
  type IoOptions,
  type RawCommand,
  type Why,
  type WriteOptions,
  type WriteZeroesOptions,
} from './disk.ts';
export { DiskReservations, type PreemptOptions, type RegisterOptions } from './reservations.ts';
export { ReservationType, type ReservationReportData, type ReportedRegistrant } from '../nvme/reservation.ts';
export { NvmeController, type Answer, type LogPageOptions } from './host-controller.ts';
export type { ControllerDescription, TimerDescription } from '../initiator/describe.ts';
export { NvmeNbd, type NbdCloseOptions, type NbdOptions } from './nbd.ts';
export { NvmeSubsystem } from './host-subsystem.ts';
export type { HostIdentity } from '../initiator/identity.ts';
export { createTarget, NvmeTarget, type TargetOptions } from './target.ts';
export type { FileNamespace, MemoryNamespace, NamespaceRequest } from '../config/request.ts';
export type { NamespaceInfo } from './target-parts.ts';
