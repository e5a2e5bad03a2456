import { anaLogSize } from '../nvme/ana-log.ts';

/** Every limit of the target, with its default. Bytes, milliseconds and counts; all of them may be configured. */
export interface Limits {
  /** Entries of an admin queue and of an I/O queue (CAP.MQES + 1). */
  readonly queueEntries: number;
  /** I/O queues that a controller may have. */
  readonly ioQueues: number;
  /** In-capsule data of an admin command: 8 KiB is what the TCP transport prescribes. */
  readonly adminCapsuleData: number;
  /** In-capsule data of an I/O command; IOCCSZ is this and the SQE in 16-byte units. */
  readonly ioCapsuleData: number;
  /**
   * The most data of one command (MDTS). 1 MiB: the largest request that Linux builds by default, so nothing is split
   * that need not be, while one command still fits the budgets below many times over.
   */
  readonly maxTransfer: number;
  /** The most data of one fused Compare and Write (NACWU), at most half of `maxTransfer`. ESXi needs a block. */
  readonly compareAndWrite: number;
  /** The most that one Copy moves (MCL), and the source ranges that it may name (MSRC + 1). */
  readonly maxCopy: number;
  readonly copyRanges: number;
  /** The most data of one H2CData PDU, and of one R2T. A multiple of 4, at least 4096. */
  readonly maxH2cData: number;
  /** In-capsule space reserved by all I/O queues together. A queue that does not fit is refused at Connect. */
  readonly capsuleBudget: number;
  /** Data granted by R2Ts, all together. */
  readonly writeBudget: number;
  /** Data that one queue may have granted by R2Ts; but for one command, never more than a sixteenth of what is left. */
  readonly queueWriteBudget: number;
  /** Buffers for reads on their way to hosts, all together. */
  readonly readBudget: number;
  /**
   * Of what is in memory anyway, blocks are lent to sockets uncopied: so many bytes to one connection at a time, no more
   * than its socket takes at once; and of one namespace in all. 0: never.
   */
  readonly lendAtOnce: number;
  readonly lendBudget: number;
  /** How long a write waits for blocks that were lent to a host that does not read them; then its connection goes. */
  readonly lendTimeout: number;
  /** Bytes that may wait for one host to read them before no more reads are started for it. */
  readonly sendBacklog: number;
  readonly connections: number;
  /** Connections that have not sent Connect yet. */
  readonly newConnections: number;
  /** From accepting a connection to its Connect. */
  readonly connectTimeout: number;
  /**
   * For a PDU that has begun to be complete, for granted data to come, for a host to read what it is sent. Nothing, such
   * as removing a namespace, waits for a host longer than this, the five seconds between two looks at it, and
   * `terminateTimeout`.
   */
  readonly stallTimeout: number;
  /** After a TermReq, for the host to close. */
  readonly terminateTimeout: number;
  /** Keep-alive of a discovery controller whose host asked for none. */
  readonly discoveryKato: number;
  /** Asynchronous Event Requests outstanding at once (AERL + 1). */
  readonly asyncEvents: number;
  /** Namespaces of one subsystem (NN, MNAN). */
  readonly namespaces: number;
  /** Namespaces attached to one controller (MAXCNA). */
  readonly attachments: number;
  /** ANA groups (ANAGRPMAX, NANAGRPID). With `namespaces` it makes the ANA log, which must fit MDTS: Linux turns ANA off otherwise. */
  readonly anaGroups: number;
  /** Subsystems, ports and referrals, so that a discovery log stays a few MiB. */
  readonly subsystems: number;
  readonly ports: number;
  readonly referrals: number;
  /** Hosts that may be registered with one namespace for reservations. */
  readonly registrants: number;
  /** Reservation commands that may wait for their turn on one namespace. */
  readonly reservationCommands: number;
}

/** ANA Transition Time (ANATT), seconds: hosts wait that long for the "change" state to end. */
export const ANA_TRANSITION_TIME = 10;

/** The unit of KAS, in milliseconds: Keep Alive Timeouts are rounded up to whole seconds. */
export const KATO_GRANULARITY = 1000;

/** What a timer can wait, in whole units of KAS. */
const LONGEST_KATO = Math.floor((2 ** 31 - 1) / KATO_GRANULARITY) * KATO_GRANULARITY;
/** The Keep Alive Timeout that a host gets for the one it asked for, ms. */
export const grantedKato = (asked: number): number =>
  Math.min(Math.ceil(asked / KATO_GRANULARITY) * KATO_GRANULARITY, LONGEST_KATO);

const KiB = 1024;
const MiB = 1024 * KiB;

export const DEFAULT_LIMITS: Limits = {
  queueEntries: 1024,
  ioQueues: 64,
  adminCapsuleData: 8 * KiB,
  ioCapsuleData: 16 * KiB,
  maxTransfer: MiB,
  compareAndWrite: 64 * KiB,
  maxCopy: 128 * MiB,
  copyRanges: 128,
  maxH2cData: MiB,
  capsuleBudget: 1024 * MiB,
  writeBudget: 256 * MiB,
  queueWriteBudget: 16 * MiB,
  readBudget: 256 * MiB,
  lendAtOnce: 4 * MiB,
  lendBudget: 256 * MiB,
  lendTimeout: 2000,
  sendBacklog: 4 * MiB,
  connections: 4096,
  newConnections: 256,
  connectTimeout: 10_000,
  stallTimeout: 60_000,
  terminateTimeout: 30_000,
  discoveryKato: 120_000,
  asyncEvents: 4,
  namespaces: 1024,
  attachments: 1024,
  anaGroups: 128,
  subsystems: 4096,
  ports: 256,
  referrals: 256,
  registrants: 256,
  reservationCommands: 256,
};

/** Why the limits cannot be kept or told to a host; undefined: they can. */
export function limitsProblem(limits: Limits): string | undefined {
  const whole = (name: keyof Limits, least: number, most: number, multiple = 1): string | undefined => {
    const value = limits[name];
    const fits = Number.isSafeInteger(value) && value >= least && value <= most && value % multiple === 0;
    const of = multiple === 1 ? '' : ` and a multiple of ${multiple}`;
    return fits ? undefined : `${name} ${value}: it must be from ${least} to ${most}${of}`;
  };
  const { maxTransfer } = limits;
  return (
    whole('queueEntries', 2, 65_536) ??
    whole('ioQueues', 1, 65_534) ??
    whole('adminCapsuleData', 8 * KiB, MiB, 16) ??
    whole('ioCapsuleData', 0, MiB, 16) ??
    // 4 KiB would be told as MDTS 0, which means "no limit".
    whole('maxTransfer', 8 * KiB, 2 ** 31, 8 * KiB) ??
    (Number.isInteger(Math.log2(maxTransfer))
      ? undefined
      : `maxTransfer ${maxTransfer}: it must be a power of two`) ??
    whole('compareAndWrite', 4 * KiB, 2 ** 31, 4 * KiB) ??
    whole('maxCopy', 4 * KiB, 2 ** 40, 4 * KiB) ??
    whole('copyRanges', 1, 256) ??
    whole('maxH2cData', 4 * KiB, 2 ** 31, 4) ??
    whole('capsuleBudget', 0, Number.MAX_SAFE_INTEGER) ??
    whole('writeBudget', maxTransfer, Number.MAX_SAFE_INTEGER) ??
    whole('queueWriteBudget', 1, Number.MAX_SAFE_INTEGER) ??
    whole('readBudget', maxTransfer, Number.MAX_SAFE_INTEGER) ??
    whole('lendAtOnce', 0, Number.MAX_SAFE_INTEGER) ??
    whole('lendBudget', 0, Number.MAX_SAFE_INTEGER) ??
    whole('lendTimeout', 1, 2 ** 31 - 1) ??
    whole('sendBacklog', 1, Number.MAX_SAFE_INTEGER) ??
    whole('asyncEvents', 1, 256) ??
    whole('namespaces', 1, 65_535) ??
    whole('attachments', 1, 65_535) ??
    whole('anaGroups', 1, 128) ??
    whole('subsystems', 1, 65_536) ??
    whole('ports', 1, 65_535) ??
    whole('referrals', 0, 65_535) ??
    whole('registrants', 1, 65_535) ??
    whole('reservationCommands', 1, 65_535) ??
    anaLogProblem(limits)
  );
}

function anaLogProblem({ anaGroups, namespaces, maxTransfer }: Limits): string | undefined {
  const size = anaLogSize(anaGroups, namespaces);
  if (size <= maxTransfer) return undefined;
  return `the ANA log of ${anaGroups} anaGroups and ${namespaces} namespaces has ${size} bytes, more than maxTransfer ${maxTransfer}`;
}
