/** Asynchronous events (NVMe Base 2.1, section 5.1.2.1): what the completion of an Asynchronous Event Request says. */
import { bits8 } from '../layout/bits.ts';
import { reserved, u16, u32, u8 } from '../layout/field.ts';
import { struct } from '../layout/struct.ts';
import { LogId, logName } from './logs.ts';

/** Asynchronous Event Type (AET). */
export const EventType = {
  Error: 0,
  Smart: 1,
  Notice: 2,
  Immediate: 3,
  OneShot: 4,
  IoCommandSet: 6,
  Vendor: 7,
} as const;

/** Asynchronous Event Information (AEI) of each type. */
export const ErrorEvent = {
  InvalidDoorbellRegister: 0,
  InvalidDoorbellValue: 1,
  DiagnosticFailure: 2,
  PersistentInternalError: 3,
  TransientInternalError: 4,
  FirmwareImageLoad: 5,
} as const;
export const SmartEvent = {
  SubsystemReliability: 0,
  TemperatureThreshold: 1,
  SpareBelowThreshold: 2,
} as const;
export const NoticeEvent = {
  NamespaceAttributeChanged: 0x00,
  FirmwareActivationStarting: 0x01,
  TelemetryLogChanged: 0x02,
  AnaChange: 0x03,
  PredictableLatencyLogChange: 0x04,
  LbaStatusInformation: 0x05,
  EnduranceGroupLogChange: 0x06,
  ReachabilityGroupChange: 0x07,
  ReachabilityAssociationChange: 0x08,
  AllocatedNamespaceAttributeChanged: 0x09,
  ZoneDescriptorChanged: 0xef,
  DiscoveryLogChange: 0xf0,
  HostDiscoveryLogChange: 0xf1,
  CrossControllerResetCompleted: 0xf4,
  LostHostCommunication: 0xf5,
} as const;
export const ImmediateEvent = { NormalShutdown: 0, TemperatureHysteresis: 1 } as const;
export const IoCommandSetEvent = {
  ReservationLogAvailable: 0,
  SanitizeCompleted: 1,
  SanitizeUnexpectedDeallocation: 2,
} as const;

/** Completion of an Asynchronous Event Request: the fields of a CQE, with what dwords 0 and 1 mean here. */
export const EventResponse = struct('EventResponse', 16, {
  aet: [0, bits8({ aet: [0, 2] }, 'Asynchronous Event Type (AET)')],
  aei: [1, u8('Asynchronous Event Information (AEI)')],
  lid: [2, u8('Log Page Identifier (LID)')],
  rsvd3: [3, reserved(1)],
  evntsp: [4, u32('Event Specific Parameter (EVNTSP)')],
  sqhd: [8, u16('SQ Head Pointer (SQHD)')],
  rsvd10: [10, reserved(2)],
  cid: [12, u16('Command Identifier (CID)')],
  status: [14, u16('Status')],
});

export interface AsyncEvent {
  readonly type: number;
  readonly info: number;
  /** The log page to read (without RAE) for the event to be reported again; 0: none, but for errors. */
  readonly lid: number;
}

export const eventDword = ({ type, info, lid }: AsyncEvent): number =>
  ((lid << 16) | (info << 8) | type) >>> 0;
export const eventOf = (dw0: number): AsyncEvent => ({
  type: dw0 & 7,
  info: (dw0 >>> 8) & 0xff,
  lid: (dw0 >>> 16) & 0xff,
});

const notice = (info: number, lid: number): AsyncEvent => ({ type: EventType.Notice, info, lid });
/** The events that we send and understand. */
export const Event = {
  NamespaceAttributeChanged: notice(NoticeEvent.NamespaceAttributeChanged, LogId.ChangedNamespaces),
  AnaChange: notice(NoticeEvent.AnaChange, LogId.Ana),
  DiscoveryLogChange: notice(NoticeEvent.DiscoveryLogChange, LogId.Discovery),
  LostHostCommunication: notice(NoticeEvent.LostHostCommunication, LogId.LostHost),
  CrossControllerResetCompleted: notice(
    NoticeEvent.CrossControllerResetCompleted,
    LogId.CrossControllerReset,
  ),
  NormalShutdown: { type: EventType.Immediate, info: ImmediateEvent.NormalShutdown, lid: 0 },
  PersistentInternalError: {
    type: EventType.Error,
    info: ErrorEvent.PersistentInternalError,
    lid: LogId.Error,
  },
  SpareBelowThreshold: { type: EventType.Smart, info: SmartEvent.SpareBelowThreshold, lid: LogId.Smart },
  ReservationLogAvailable: {
    type: EventType.IoCommandSet,
    info: IoCommandSetEvent.ReservationLogAvailable,
    lid: LogId.Reservation,
  },
} as const satisfies Record<string, AsyncEvent>;

const INFO: ReadonlyMap<number, Record<string, number>> = new Map<number, Record<string, number>>([
  [EventType.Error, ErrorEvent],
  [EventType.Smart, SmartEvent],
  [EventType.Notice, NoticeEvent],
  [EventType.Immediate, ImmediateEvent],
  [EventType.IoCommandSet, IoCommandSetEvent],
]);

/** `Notice: Ana Change (read log Asymmetric Namespace Access)`. */
export function eventName({ type, info, lid }: AsyncEvent): string {
  const typeName = Object.entries(EventType).find(([, code]) => code === type)?.[0] ?? `event type ${type}`;
  const known = Object.entries(INFO.get(type) ?? {}).find(([, code]) => code === info)?.[0];
  const infoName = known?.replaceAll(/(?<=[a-z])(?=[A-Z])/g, ' ') ?? `${info.toString(16)}h`;
  return `${typeName}: ${infoName}${lid === 0 ? '' : ` (read log ${logName(lid)})`}`;
}
