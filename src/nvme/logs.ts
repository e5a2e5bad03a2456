/** Log pages (NVMe Base 2.1, section 5.1.12.1). The ANA log is in ana-log.ts, the discovery log in discovery.ts. */
import { array } from '../layout/array.ts';
import { bits16, bits32, bits8 } from '../layout/bits.ts';
import { ascii, reserved, u128, u16, u32, u53, u64, u8 } from '../layout/field.ts';
import { struct } from '../layout/struct.ts';

/** Log Page Identifier (LID). */
export const LogId = {
  SupportedPages: 0x00,
  Error: 0x01,
  Smart: 0x02,
  FirmwareSlot: 0x03,
  ChangedNamespaces: 0x04,
  CommandEffects: 0x05,
  DeviceSelfTest: 0x06,
  TelemetryHost: 0x07,
  TelemetryController: 0x08,
  EnduranceGroup: 0x09,
  Ana: 0x0c,
  PersistentEvent: 0x0d,
  LbaStatus: 0x0e,
  FeatureEffects: 0x12,
  MiEffects: 0x13,
  CrossControllerReset: 0x1e,
  LostHost: 0x1f,
  Discovery: 0x70,
  HostDiscovery: 0x71,
  Reservation: 0x80,
  Sanitize: 0x81,
} as const;

const LOG_NAMES: ReadonlyMap<number, string> = new Map([
  [LogId.SupportedPages, 'Supported Log Pages'],
  [LogId.Error, 'Error Information'],
  [LogId.Smart, 'SMART / Health Information'],
  [LogId.FirmwareSlot, 'Firmware Slot Information'],
  [LogId.ChangedNamespaces, 'Changed Attached Namespace List'],
  [LogId.CommandEffects, 'Commands Supported and Effects'],
  [LogId.DeviceSelfTest, 'Device Self-test'],
  [LogId.TelemetryHost, 'Telemetry Host-Initiated'],
  [LogId.TelemetryController, 'Telemetry Controller-Initiated'],
  [LogId.EnduranceGroup, 'Endurance Group Information'],
  [LogId.Ana, 'Asymmetric Namespace Access'],
  [LogId.PersistentEvent, 'Persistent Event Log'],
  [LogId.LbaStatus, 'LBA Status Information'],
  [LogId.FeatureEffects, 'Feature Identifiers Supported and Effects'],
  [LogId.MiEffects, 'NVMe-MI Commands Supported and Effects'],
  [LogId.CrossControllerReset, 'Cross-Controller Reset'],
  [LogId.LostHost, 'Lost Host Communication'],
  [LogId.Discovery, 'Discovery'],
  [LogId.HostDiscovery, 'Host Discovery'],
  [LogId.Reservation, 'Reservation Notification'],
  [LogId.Sanitize, 'Sanitize Status'],
]);
export const logName = (lid: number): string => LOG_NAMES.get(lid) ?? `log page ${lid.toString(16)}h`;

/** LID 00h: one entry per LID. */
export const SupportedLogEntry = struct('SupportedLogEntry', 4, {
  flags: [0, bits16({ lsupp: [0], ios: [1] }, 'LID Supported (LSUPP), Index Offset Supported (IOS)')],
  lidsp: [2, u16('LID Specific Parameter (LIDSP)')],
});
export const SupportedLogs = struct('SupportedLogs', 1024, {
  lids: [0, array(256, SupportedLogEntry.kind('LID Supported and Effects'))],
});

/** LID 01h: one entry, the newest first. */
export const ErrorLogEntry = struct('ErrorLogEntry', 64, {
  ec: [0, u53('Error Count (EC)')],
  sqid: [8, u16('Submission Queue ID (SQID)')],
  cid: [10, u16('Command ID (CID)')],
  /** Bit 0 is the phase tag, status.ts's number is above it. */
  stsfld: [12, u16('Status Info (STSFLD)')],
  pel: [14, bits16({ byte: [0, 7], bit: [8, 10] }, 'Parameter Error Location (PEL)')],
  lba: [16, u53('LBA')],
  nsid: [24, u32('Namespace Identifier (NSID)')],
  vsia: [28, u8('Vendor Specific Information Available (VSIA)')],
  trtype: [29, u8('Transport Type (TRTYPE)')],
  csi: [30, u8('Command Set Indicator (CSI)')],
  opc: [31, u8('Opcode (OPC)')],
  csinfo: [32, u64('Command Specific Information (CSINFO)')],
  ttsi: [40, u16('Transport Type Specific Information (TTSI)')],
  rsvd42: [42, reserved(21)],
  lpver: [63, u8('Log Page Version (LPVER)')],
});

/** LID 02h. Data units are thousands of 512 bytes, rounded up. */
export const SmartLog = struct('SmartLog', 512, {
  cw: [
    0,
    bits8(
      {
        spare: [0],
        temperature: [1],
        degraded: [2],
        readOnly: [3],
        backupFailed: [4],
        persistentMemory: [5],
        indeterminatePersonality: [6],
      },
      'Critical Warning (CW)',
    ),
  ],
  ctemp: [1, u16('Composite Temperature (CTEMP), K')],
  avsp: [3, u8('Available Spare (AVSP), percent')],
  avspt: [4, u8('Available Spare Threshold (AVSPT), percent')],
  pused: [5, u8('Percentage Used (PUSED)')],
  egcws: [6, u8('Endurance Group Critical Warning Summary (EGCWS)')],
  rsvd7: [7, reserved(25)],
  dur: [32, u128('Data Units Read (DUR)')],
  duw: [48, u128('Data Units Written (DUW)')],
  hrc: [64, u128('Host Read Commands (HRC)')],
  hwc: [80, u128('Host Write Commands (HWC)')],
  cbt: [96, u128('Controller Busy Time (CBT), minutes')],
  pwrc: [112, u128('Power Cycles (PWRC)')],
  poh: [128, u128('Power On Hours (POH)')],
  upl: [144, u128('Unexpected Power Losses (UPL)')],
  mdie: [160, u128('Media and Data Integrity Errors (MDIE)')],
  neile: [176, u128('Number of Error Information Log Entries (NEILE)')],
  wctt: [192, u32('Warning Composite Temperature Time (WCTT), minutes')],
  cctt: [196, u32('Critical Composite Temperature Time (CCTT), minutes')],
  tsen: [200, array(8, u16('Temperature Sensor (TSEN), K'))],
  tmt1tc: [216, u32('Thermal Management Temperature 1 Transition Count (TMT1TC)')],
  tmt2tc: [220, u32('Thermal Management Temperature 2 Transition Count (TMT2TC)')],
  ttfmt1: [224, u32('Total Time for Thermal Management Temperature 1 (TTFMT1), s')],
  ttfmt2: [228, u32('Total Time for Thermal Management Temperature 2 (TTFMT2), s')],
  rsvd232: [232, reserved(280)],
});

/** LID 03h. */
export const FirmwareSlotLog = struct('FirmwareSlotLog', 512, {
  afi: [0, bits8({ active: [0, 2], next: [4, 6] }, 'Active Firmware Info (AFI)')],
  rsvd1: [1, reserved(7)],
  frs: [8, array(7, ascii(8, 'Firmware Revision for Slot (FRS)'))],
  rsvd64: [64, reserved(448)],
});

/** LID 04h is a namespace list (identify-lists.ts), but for this one entry when more than 1024 changed. */
export const CHANGED_OVERFLOW = 0xffffffff;

/** LID 05h: one entry per opcode. */
export const CommandEffects = struct('CommandEffects', 4, {
  effects: [
    0,
    bits32(
      {
        /** Command Supported. */
        csupp: [0],
        /** Logical Block Content Change. */
        lbcc: [1],
        /** Namespace Capability Change. */
        ncc: [2],
        /** Namespace Inventory Change. */
        nic: [3],
        /** Controller Capability Change. */
        ccc: [4],
        /** Command Submission and Execution: 0 any, 1 alone on its namespace, 2 alone on the controller. */
        cse: [16, 18],
        /** UUID Selection Supported. */
        uss: [19],
        /** Command Scope: a bit per scope. */
        csp: [20, 31],
      },
      'Commands Supported and Effects',
    ),
  ],
});
export const CommandEffectsLog = struct('CommandEffectsLog', 4096, {
  acs: [0, array(256, CommandEffects.kind('Admin Command Supported (ACS)'))],
  iocs: [1024, array(256, CommandEffects.kind('I/O Command Supported (IOCS)'))],
  rsvd2048: [2048, reserved(2048)],
});

/** LID 12h: one entry per feature identifier. */
export const FeatureEffects = struct('FeatureEffects', 4, {
  effects: [
    0,
    bits32(
      {
        /** FID Supported. */
        fsupp: [0],
        /** User Data Content Change. */
        udcc: [1],
        /** Namespace Capability Change. */
        ncc: [2],
        /** Namespace Inventory Change. */
        nic: [3],
        /** Controller Capability Change. */
        ccc: [4],
        /** UUID Selection Supported. */
        uss: [19],
        /** FID Scope: a bit per scope. */
        fsp: [20, 31],
      },
      'FID Supported and Effects',
    ),
  ],
});
export const FeatureEffectsLog = struct('FeatureEffectsLog', 1024, {
  fis: [0, array(256, FeatureEffects.kind('FID Supported and Effects'))],
});

/** LID 80h. */
export const ReservationLog = struct('ReservationLog', 64, {
  lpc: [0, u53('Log Page Count (LPC)')],
  rnlpt: [8, u8('Reservation Notification Log Page Type (RNLPT)')],
  nalp: [9, u8('Number of Available Log Pages (NALP)')],
  rsvd10: [10, reserved(2)],
  nsid: [12, u32('Namespace ID (NSID)')],
  rsvd16: [16, reserved(48)],
});
/** RNLPT. */
export const ReservationLogType = {
  Empty: 0,
  RegistrationPreempted: 1,
  ReservationReleased: 2,
  ReservationPreempted: 3,
} as const;
