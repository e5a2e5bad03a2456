/**
 * Reservation commands and their data (NVMe Base 2.1, sections 7.5 to 7.8 and 8.1.22). The Reservation Notification
 * log page is with the other logs, the two features are in features.ts.
 */
import { bits32, bits8 } from '../layout/bits.ts';
import { reserved, u16, u32, u64, u8, uuid } from '../layout/field.ts';
import { struct, viewOf } from '../layout/struct.ts';
import { DecodeError } from './decode-error.ts';
import { commonSqe } from './sqe.ts';

/** Reservation Type (RTYPE); 0: none is held. */
export const ReservationType = {
  None: 0,
  WriteExclusive: 1,
  ExclusiveAccess: 2,
  WriteExclusiveRegistrantsOnly: 3,
  ExclusiveAccessRegistrantsOnly: 4,
  WriteExclusiveAllRegistrants: 5,
  ExclusiveAccessAllRegistrants: 6,
} as const;

/** Every registrant is a holder. */
export const isAllRegistrants = (rtype: number): boolean =>
  rtype === ReservationType.WriteExclusiveAllRegistrants ||
  rtype === ReservationType.ExclusiveAccessAllRegistrants;

const TYPES = [
  'none',
  'write exclusive',
  'exclusive access',
  'write exclusive, registrants only',
  'exclusive access, registrants only',
  'write exclusive, all registrants',
  'exclusive access, all registrants',
];
export const reservationTypeName = (rtype: number): string => TYPES[rtype] ?? `reservation type ${rtype}`;

/** Reservation Register Action (RREGA). */
export const RegisterAction = { Register: 0, Unregister: 1, Replace: 2 } as const;
/** Change Persist Through Power Loss State (CPTPL); 1 is reserved. */
export const ChangePtpl = { Keep: 0, Clear: 2, Set: 3 } as const;
/** Reservation Acquire Action (RACQA). */
export const AcquireAction = { Acquire: 0, Preempt: 1, PreemptAndAbort: 2 } as const;
/** Reservation Release Action (RRELA). */
export const ReleaseAction = { Release: 0, Clear: 1 } as const;

/** Section 7.6. */
export const ReservationRegister = struct('ReservationRegister', 64, {
  ...commonSqe,
  cdw10: [40, bits32({ rrega: [0, 2], iekey: [3], disnsrs: [4], cptpl: [30, 31] })],
  rsvd44: [44, reserved(20)],
});
/** The data of Reservation Register. */
export const RegisterData = struct('RegisterData', 16, {
  crkey: [0, u64('Current Reservation Key (CRKEY)')],
  nrkey: [8, u64('New Reservation Key (NRKEY)')],
});

/** Section 7.5. */
export const ReservationAcquire = struct('ReservationAcquire', 64, {
  ...commonSqe,
  cdw10: [40, bits32({ racqa: [0, 2], iekey: [3], disnsrs: [4], rtype: [8, 15] })],
  rsvd44: [44, reserved(20)],
});
/** The data of Reservation Acquire. */
export const AcquireData = struct('AcquireData', 16, {
  crkey: [0, u64('Current Reservation Key (CRKEY)')],
  prkey: [8, u64('Preempt Reservation Key (PRKEY)')],
});

/** Section 7.7. */
export const ReservationRelease = struct('ReservationRelease', 64, {
  ...commonSqe,
  cdw10: [40, bits32({ rrela: [0, 2], iekey: [3], disnsrs: [4], rtype: [8, 15] })],
  rsvd44: [44, reserved(20)],
});
/** The data of Reservation Release: one key, and not two as in the others. */
export const ReleaseData = struct('ReleaseData', 8, {
  crkey: [0, u64('Current Reservation Key (CRKEY)')],
});

/** Section 7.8. */
export const ReservationReport = struct('ReservationReport', 64, {
  ...commonSqe,
  numd: [40, u32('Number of Dwords (NUMD)', 1)],
  cdw11: [44, bits32({ eds: [0], disnsrs: [1] })],
  rsvd48: [48, reserved(16)],
});

const rcsts = bits8({ holder: [0] }, 'Reservation Status (RCSTS)');
const statusHeader = {
  gen: [0, u32('Generation (GEN)')],
  rtype: [4, u8('Reservation Type (RTYPE)')],
  /** 16 bits at an odd place. */
  regstrnt: [5, u16('Number of Registrants (REGSTRNT)')],
  rsvd7: [7, reserved(2)],
  ptpls: [9, u8('Persist Through Power Loss State (PTPLS)')],
} as const;

/** What a host with a 64-bit Host Identifier gets; one `Registrant` per registrant follows. */
export const ReservationStatus = struct('ReservationStatus', 24, {
  ...statusHeader,
  rsvd10: [10, reserved(14)],
});
export const RegistrantEntry = struct('RegistrantEntry', 24, {
  cntlid: [0, u16('Controller ID (CNTLID); FFFFh: not connected')],
  rcsts: [2, rcsts],
  rsvd3: [3, reserved(5)],
  hostid: [8, u64('Host Identifier (HOSTID)')],
  rkey: [16, u64('Reservation Key (RKEY)')],
});

/** EDS: what a host with a 128-bit Host Identifier gets, as all hosts on fabrics do. */
export const ReservationStatusExtended = struct('ReservationStatusExtended', 64, {
  ...statusHeader,
  rsvd10: [10, reserved(54)],
});
export const RegistrantEntryExtended = struct('RegistrantEntryExtended', 64, {
  cntlid: [0, u16('Controller ID (CNTLID); FFFFh: not connected')],
  rcsts: [2, rcsts],
  rsvd3: [3, reserved(5)],
  rkey: [8, u64('Reservation Key (RKEY)')],
  hostid: [16, uuid('Host Identifier (HOSTID)')],
  rsvd32: [32, reserved(32)],
});

/** A registrant as Reservation Report shows it. */
export interface ReportedRegistrant {
  /** Of a controller through which the host is connected; undefined: of none. */
  readonly cntlid: number | undefined;
  readonly holder: boolean;
  /** 8-4-4-4-12 digits. */
  readonly hostid: string;
  readonly rkey: bigint;
}
export interface ReservationReportData {
  readonly generation: number;
  readonly rtype: number;
  readonly ptpl: boolean;
  readonly registrants: readonly ReportedRegistrant[];
}

const NOT_CONNECTED = 0xffff;

/** The extended structure, whole. Throws RangeError when a Host ID is not a UUID. */
export function encodeReservationReport(report: ReservationReportData): Uint8Array {
  const { generation, rtype, ptpl, registrants } = report;
  const made = new Uint8Array(
    ReservationStatusExtended.size + registrants.length * RegistrantEntryExtended.size,
  );
  const view = viewOf(made);
  ReservationStatusExtended.encode(
    { gen: generation, rtype, regstrnt: registrants.length, ptpls: ptpl ? 1 : 0 },
    view,
  );
  registrants.forEach(({ cntlid, holder, hostid, rkey }, i) => {
    RegistrantEntryExtended.encode(
      {
        cntlid: cntlid ?? NOT_CONNECTED,
        rcsts: { holder: holder ? 1 : 0 },
        rkey,
        hostid,
      },
      view,
      ReservationStatusExtended.size + i * RegistrantEntryExtended.size,
    );
  });
  return made;
}

/** As many registrants as `report` holds; `total` is how many there are. Throws DecodeError when the header is cut. */
export function decodeReservationReport(report: Uint8Array): ReservationReportData & { total: number } {
  if (report.length < ReservationStatusExtended.size)
    throw new DecodeError(`reservation report: ${report.length} bytes`);
  const view = viewOf(report);
  const header = ReservationStatusExtended.decode(view);
  const registrants: ReportedRegistrant[] = [];
  let at = ReservationStatusExtended.size;
  for (let i = 0; i < header.regstrnt && at + RegistrantEntryExtended.size <= report.length; i++) {
    const { cntlid, rcsts: status, rkey, hostid } = RegistrantEntryExtended.decode(view, at);
    registrants.push({
      cntlid: cntlid === NOT_CONNECTED ? undefined : cntlid,
      holder: status.holder === 1,
      hostid,
      rkey,
    });
    at += RegistrantEntryExtended.size;
  }
  return {
    generation: header.gen,
    rtype: header.rtype,
    ptpl: (header.ptpls & 1) === 1,
    registrants,
    total: header.regstrnt,
  };
}
