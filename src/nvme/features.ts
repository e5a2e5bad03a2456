/** Features (NVMe Base 2.1, section 5.1.25.1): identifiers, and the dwords and data of those that we know. */
import { bits16, bits32, bits8 } from '../layout/bits.ts';
import { bytes, reserved, u16, u32, u8 } from '../layout/field.ts';
import { struct } from '../layout/struct.ts';

/** Feature Identifier (FID). */
export const FeatureId = {
  Arbitration: 0x01,
  PowerManagement: 0x02,
  LbaRangeType: 0x03,
  TemperatureThreshold: 0x04,
  ErrorRecovery: 0x05,
  VolatileWriteCache: 0x06,
  NumberOfQueues: 0x07,
  InterruptCoalescing: 0x08,
  InterruptVector: 0x09,
  WriteAtomicity: 0x0a,
  AsyncEventConfiguration: 0x0b,
  AutonomousPowerState: 0x0c,
  HostMemoryBuffer: 0x0d,
  Timestamp: 0x0e,
  KeepAliveTimer: 0x0f,
  ThermalManagement: 0x10,
  NonOperationalPowerState: 0x11,
  HostBehavior: 0x16,
  IoCommandSetProfile: 0x19,
  SoftwareProgress: 0x80,
  HostIdentifier: 0x81,
  ReservationMask: 0x82,
  ReservationPersistence: 0x83,
  WriteProtection: 0x84,
} as const;

const FEATURE_NAMES: ReadonlyMap<number, string> = new Map([
  [FeatureId.Arbitration, 'Arbitration'],
  [FeatureId.PowerManagement, 'Power Management'],
  [FeatureId.LbaRangeType, 'LBA Range Type'],
  [FeatureId.TemperatureThreshold, 'Temperature Threshold'],
  [FeatureId.ErrorRecovery, 'Error Recovery'],
  [FeatureId.VolatileWriteCache, 'Volatile Write Cache'],
  [FeatureId.NumberOfQueues, 'Number of Queues'],
  [FeatureId.InterruptCoalescing, 'Interrupt Coalescing'],
  [FeatureId.InterruptVector, 'Interrupt Vector Configuration'],
  [FeatureId.WriteAtomicity, 'Write Atomicity Normal'],
  [FeatureId.AsyncEventConfiguration, 'Asynchronous Event Configuration'],
  [FeatureId.AutonomousPowerState, 'Autonomous Power State Transition'],
  [FeatureId.HostMemoryBuffer, 'Host Memory Buffer'],
  [FeatureId.Timestamp, 'Timestamp'],
  [FeatureId.KeepAliveTimer, 'Keep Alive Timer'],
  [FeatureId.ThermalManagement, 'Host Controlled Thermal Management'],
  [FeatureId.NonOperationalPowerState, 'Non-Operational Power State Config'],
  [FeatureId.HostBehavior, 'Host Behavior Support'],
  [FeatureId.IoCommandSetProfile, 'I/O Command Set Profile'],
  [FeatureId.SoftwareProgress, 'Software Progress Marker'],
  [FeatureId.HostIdentifier, 'Host Identifier'],
  [FeatureId.ReservationMask, 'Reservation Notification Mask'],
  [FeatureId.ReservationPersistence, 'Reservation Persistence'],
  [FeatureId.WriteProtection, 'Namespace Write Protection Config'],
]);
export const featureName = (fid: number): string => FEATURE_NAMES.get(fid) ?? `feature ${fid.toString(16)}h`;

/** Select (SEL) of Get Features. */
export const FeatureSelect = { Current: 0, Default: 1, Saved: 2, Capabilities: 3 } as const;
/** CQE dword 0 of Get Features with SEL 3. */
export const FeatureCapabilities = struct('FeatureCapabilities', 4, {
  caps: [0, bits32({ saveable: [0], namespaceSpecific: [1], changeable: [2] }, 'Capabilities')],
});

// Below: dword 11 of Set Features, and dword 0 of the completion of Get Features (and of Set Features, for queues).

/** FID 01h. */
export const Arbitration = struct('Arbitration', 4, {
  ab: [0, bits8({ ab: [0, 2] }, 'Arbitration Burst (AB)')],
  lpw: [1, u8('Low Priority Weight (LPW)')],
  mpw: [2, u8('Medium Priority Weight (MPW)')],
  hpw: [3, u8('High Priority Weight (HPW)')],
});
/** FID 02h. */
export const PowerManagement = struct('PowerManagement', 4, {
  power: [0, bits32({ ps: [0, 4], wh: [5, 7] }, 'Power State (PS), Workload Hint (WH)')],
});
/** FID 04h. `thsel` 0: over temperature, 1: under temperature. */
export const TemperatureThreshold = struct('TemperatureThreshold', 4, {
  tmpth: [0, u16('Temperature Threshold (TMPTH), K')],
  select: [
    2,
    bits16(
      { tmpsel: [0, 3], thsel: [4, 5], tmpthh: [6, 8] },
      'Threshold Temperature and Type Select (TMPSEL, THSEL)',
    ),
  ],
});
/** FID 05h, of a namespace. */
export const ErrorRecovery = struct('ErrorRecovery', 4, {
  tler: [0, u16('Time Limited Error Recovery (TLER), 100 ms')],
  dulbe: [2, bits16({ dulbe: [0] }, 'Deallocated or Unwritten Logical Block Error Enable (DULBE)')],
});
/** FID 06h. */
export const VolatileWriteCache = struct('VolatileWriteCache', 4, {
  wce: [0, bits32({ wce: [0] }, 'Volatile Write Cache Enable (WCE)')],
});
/** FID 07h, as asked for in dword 11 and as allocated in dword 0 of the completion. FFFFh on the wire is not allowed. */
export const NumberOfQueues = struct('NumberOfQueues', 4, {
  nsq: [0, u16('Number of I/O Submission Queues (NSQR, NSQA), 0’s based', 1)],
  ncq: [2, u16('Number of I/O Completion Queues (NCQR, NCQA), 0’s based', 1)],
});
/** FID 0Ah. */
export const WriteAtomicity = struct('WriteAtomicity', 4, {
  dn: [0, bits32({ dn: [0] }, 'Disable Normal (DN)')],
});
/** FID 0Bh. The bits above 7 are those of Identify Controller OAES. */
export const AsyncEventConfiguration = struct('AsyncEventConfiguration', 4, {
  events: [
    0,
    bits32(
      {
        smart: [0, 7],
        namespaceAttribute: [8],
        firmwareActivation: [9],
        telemetryLog: [10],
        anaChange: [11],
        predictableLatency: [12],
        lbaStatus: [13],
        enduranceGroup: [14],
        normalShutdown: [15],
        temperatureHysteresis: [16],
        reachabilityGroups: [17],
        allocatedNamespaceAttribute: [19],
        crossControllerReset: [20],
        lostHost: [21],
        zoneDescriptor: [27],
        discoveryLog: [31],
      },
      'Asynchronous Event Configuration',
    ),
  ],
});
/** FID 0Fh. */
export const KeepAliveTimer = struct('KeepAliveTimer', 4, {
  kato: [0, u32('Keep Alive Timeout (KATO), ms')],
});
/** FID 82h, of a namespace. */
export const ReservationMask = struct('ReservationMask', 4, {
  mask: [
    0,
    bits32(
      { regpre: [1], resrel: [2], respre: [3] },
      'Registration Preempted, Reservation Released, Reservation Preempted',
    ),
  ],
});
/** FID 83h, of a namespace. */
export const ReservationPersistence = struct('ReservationPersistence', 4, {
  ptpl: [0, bits32({ ptpl: [0] }, 'Persist Through Power Loss (PTPL)')],
});
/** FID 84h, of a namespace. */
export const WriteProtection = struct('WriteProtection', 4, {
  wps: [0, bits32({ wps: [0, 2] }, 'Write Protection State (WPS)')],
});
export const WriteProtectionState = { None: 0, Protected: 1, UntilPowerCycle: 2, Permanent: 3 } as const;

// Below: data of Set and Get Features.

/** FID 0Eh: milliseconds since 1970-01-01 UTC, 48 bits in two pieces. */
export const TimestampData = struct('TimestampData', 8, {
  low: [0, u32('Timestamp (TMSTMP), ms, low')],
  high: [4, u16('Timestamp (TMSTMP), ms, high')],
  attributes: [
    6,
    bits8(
      { synch: [0], origin: [1, 3] },
      'Synch; Timestamp Origin: 0 cleared by a reset, 1 set by Set Features',
    ),
  ],
  rsvd7: [7, reserved(1)],
});
/** FID 16h. */
export const HostBehaviorData = struct('HostBehaviorData', 512, {
  acre: [0, u8('Advanced Command Retry Enable (ACRE)')],
  etdas: [1, u8('Extended Telemetry Data Area 4 Supported (ETDAS)')],
  lbafee: [2, u8('LBA Format Extension Enable (LBAFEE)')],
  hdisns: [3, u8('Host Dispersed Namespace Support (HDISNS)')],
  cdfe: [4, bits16({ format2: [2], format3: [3], format4: [4] }, 'Copy Descriptor Formats Enable (CDFE)')],
  rsvd6: [6, reserved(506)],
});
/** FID 81h with dword 11 EXHID = 1, the only form that fabrics know. */
export const HostIdentifierData = struct('HostIdentifierData', 16, {
  hostid: [0, bytes(16, 'Extended Host Identifier (HOSTID)')],
});
/** FID 81h, dword 11. */
export const HostIdentifier = struct('HostIdentifier', 4, {
  exhid: [0, bits32({ exhid: [0] }, 'Enable Extended Host Identifier (EXHID)')],
});

/** A feature's dword as its structure; undefined when we know none. */
export const featureDword = (fid: number): { format(view: DataView, at?: number): string } | undefined =>
  DWORDS.get(fid);
const DWORDS = new Map<number, { format(view: DataView, at?: number): string }>([
  [FeatureId.Arbitration, Arbitration],
  [FeatureId.PowerManagement, PowerManagement],
  [FeatureId.TemperatureThreshold, TemperatureThreshold],
  [FeatureId.ErrorRecovery, ErrorRecovery],
  [FeatureId.VolatileWriteCache, VolatileWriteCache],
  [FeatureId.NumberOfQueues, NumberOfQueues],
  [FeatureId.WriteAtomicity, WriteAtomicity],
  [FeatureId.AsyncEventConfiguration, AsyncEventConfiguration],
  [FeatureId.KeepAliveTimer, KeepAliveTimer],
  [FeatureId.HostIdentifier, HostIdentifier],
  [FeatureId.ReservationMask, ReservationMask],
  [FeatureId.ReservationPersistence, ReservationPersistence],
  [FeatureId.WriteProtection, WriteProtection],
]);
