/**
 * Completion status (NVMe Base 2.1, section 4.2.3). A status is a plain number, SCT in bits 10:8 and SC in 7:0, with
 * the retry bits above: CRD 12:11, M 13, DNR 14. It is the CQE's 16-bit status field without the phase tag.
 */
export const Status = {
  Success: 0x000,
  InvalidOpcode: 0x001,
  InvalidField: 0x002,
  CommandIdConflict: 0x003,
  DataTransferError: 0x004,
  AbortedPowerLoss: 0x005,
  InternalError: 0x006,
  AbortRequested: 0x007,
  AbortedSqDeletion: 0x008,
  AbortedFailedFused: 0x009,
  AbortedMissingFused: 0x00a,
  InvalidNamespace: 0x00b,
  CommandSequenceError: 0x00c,
  InvalidSglDescriptor: 0x00d,
  InvalidSglCount: 0x00e,
  DataSglLengthInvalid: 0x00f,
  SglTypeInvalid: 0x011,
  AtomicWriteUnitExceeded: 0x014,
  SglOffsetInvalid: 0x016,
  HostIdInconsistent: 0x018,
  KeepAliveExpired: 0x019,
  KeepAliveInvalid: 0x01a,
  AbortedPreempt: 0x01b,
  SanitizeFailed: 0x01c,
  SanitizeInProgress: 0x01d,
  NamespaceWriteProtected: 0x020,
  CommandInterrupted: 0x021,
  TransientTransportError: 0x022,
  LbaOutOfRange: 0x080,
  CapacityExceeded: 0x081,
  NamespaceNotReady: 0x082,
  ReservationConflict: 0x083,
  FormatInProgress: 0x084,
  CompletionQueueInvalid: 0x100,
  InvalidQueueId: 0x101,
  InvalidQueueSize: 0x102,
  AbortLimitExceeded: 0x103,
  AerLimitExceeded: 0x105,
  InvalidLogPage: 0x109,
  InvalidFormat: 0x10a,
  FeatureNotSaveable: 0x10d,
  FeatureNotChangeable: 0x10e,
  FeatureNotNamespaceSpecific: 0x10f,
  NamespaceAlreadyAttached: 0x118,
  NamespaceIsPrivate: 0x119,
  NamespaceNotAttached: 0x11a,
  ControllerListInvalid: 0x11c,
  AnaGroupInvalid: 0x124,
  AnaAttachFailed: 0x125,
  NamespaceAttachmentLimitExceeded: 0x127,
  ConnectIncompatibleFormat: 0x180,
  ConnectControllerBusy: 0x181,
  ConnectInvalidParameters: 0x182,
  ConnectRestartDiscovery: 0x183,
  ConnectInvalidHost: 0x184,
  InvalidQueueType: 0x185,
  DiscoveryRestart: 0x190,
  AuthenticationRequired: 0x191,
  WriteFault: 0x280,
  UnrecoveredReadError: 0x281,
  CompareFailure: 0x285,
  AccessDenied: 0x286,
  InternalPathError: 0x300,
  AnaPersistentLoss: 0x301,
  AnaInaccessible: 0x302,
  AnaTransition: 0x303,
  ControllerPathError: 0x360,
  HostPathError: 0x370,
  AbortedByHost: 0x371,
} as const;

/**
 * Command-specific statuses of I/O commands (NVM Command Set 1.1, section 3.1.2.1; Base 2.1, section 7.1). Fabrics
 * commands use the same numbers for other things, so these have a table of their own.
 */
export const IoStatus = {
  ConflictingAttributes: 0x180,
  InvalidProtectionInformation: 0x181,
  CommandSizeLimitExceeded: 0x183,
  InvalidCommandId: 0x184,
  IncompatibleNamespaceOrFormat: 0x185,
  OverlappingIoRange: 0x187,
} as const;

/** Do Not Retry: the same command would fail again. */
export const DNR = 0x4000;
/** More: the error log has an entry for this command. */
export const MORE = 0x2000;

/** SCT and SC alone. */
export const statusCode = (status: number): number => status & 0x7ff;
export const isDnr = (status: number): boolean => (status & DNR) !== 0;
/** Status Code Type 3: the path failed, not the command. */
export const isPathError = (status: number): boolean => (status & 0x700) === 0x300;
/** Command Retry Delay: an index 1 to 3 into CRDT1–3, 0 for none. */
export const retryDelayIndex = (status: number): number => (status >>> 11) & 3;

const byCode = (table: Record<string, number>): ReadonlyMap<number, string> =>
  new Map(Object.entries(table).map(([name, code]) => [code, name.replaceAll(/(?<=[a-z])(?=[A-Z])/g, ' ')]));
const NAMES = byCode(Status);
const IO_NAMES = byCode(IoStatus);

/** `LBA Out Of Range (080h, DNR)`. `io`: the command was an I/O command, not a fabrics or admin one. */
export function statusName(status: number, io = false): string {
  const code = statusCode(status);
  const known = ((io ? IO_NAMES.get(code) : undefined) ?? NAMES.get(code))
    ?.replace('Lba', 'LBA')
    .replace('Sgl', 'SGL')
    .replace('Aer', 'AER')
    .replace('Ana', 'ANA');
  const digits = `${code.toString(16).padStart(3, '0')}h`;
  return `${known ?? 'status'} (${digits}${isDnr(status) ? ', DNR' : ''})`;
}
