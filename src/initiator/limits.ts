/** Every limit of the initiator, with its default. Milliseconds, bytes and counts; all of them may be configured. */
export interface Limits {
  /** For the TCP connection, for the ICResp, and for the answer to Connect. */
  readonly connectTimeout: number;
  /** For the answer to an admin command, or about a property; an Asynchronous Event Request waits for ever. */
  readonly adminTimeout: number;
  /** For the answer to an I/O command. The clock starts when it is sent. */
  readonly ioTimeout: number;
  /**
   * After our TermReq, for the controller to close. Shorter than the 30 s that a target grants: commands in flight
   * are held until the connection is dead, and a reset ends it as well.
   */
  readonly terminateTimeout: number;
  /** For CSTS.SHST to say that the shutdown is complete, where the controller does not say how long it takes (RTD3E). */
  readonly shutdownTimeout: number;
  /** No controller is waited for longer than this, whatever RTD3E, CAP.TO and CRTO say. */
  readonly longestWait: number;
  /** Between two looks at CSTS, at most: the first wait is 1 ms, each next one twice as long. */
  readonly pollInterval: number;
  /** For a command that was not answered in time, once the controller was asked to abort it; then for the Abort. */
  readonly abortTimeout: number;
  /** For a controller that leaves to close the rest of its connections, once it has closed one of them. */
  readonly farewell: number;
  /** For the system to say that connections that were reset are gone; and for an orderly end as a whole. */
  readonly drainTimeout: number;
  /** CQT of controllers that do not report it: after the end of keep-alive, until nothing of ours executes there. */
  readonly commandQuiesceTime: number;
  /** Entries of the list of what happened. */
  readonly journal: number;
  /** Before namespaces are looked at again of which something could not be asked. */
  readonly rescanDelay: number;
  /** How often a command is repeated that ended with a status that allows it. Choosing another path does not count. */
  readonly retries: number;
  /** How long a path is not taken that refused a command with a status of the path. */
  readonly pathRest: number;
  /** Entries of the admin queue. */
  readonly adminEntries: number;
  /** Entries of an I/O queue, unless asked otherwise. One less may be outstanding: a ring that is full looks empty. */
  readonly ioEntries: number;
  /** I/O queues, unless asked otherwise. One thread feeds them all: more of them only help a target with more threads. */
  readonly ioQueues: number;
  /** KATO of an I/O controller, unless asked otherwise. */
  readonly keepAlive: number;
  /** Asynchronous Event Requests that are kept with the controller. */
  readonly asyncEvents: number;
  /** The most data of one command, where MDTS allows more. Larger I/O is split, and its pieces run side by side. */
  readonly maxTransfer: number;
  /** Pieces of one split I/O that run at once. */
  readonly pieces: number;
  /** Namespaces of one controller that are looked at. */
  readonly namespaces: number;
  /** Records of a discovery log that are read. */
  readonly discoveryRecords: number;
  /** How often a discovery log that changes while it is read is read again. */
  readonly discoveryTries: number;
  /** Discovery services that are followed, referrals included; what more they refer to is left out. */
  readonly discoveryServices: number;
  /** Destinations of their logs that are followed. */
  readonly followed: number;
  /** Between two attempts to connect what a log names, or a service itself. */
  readonly followRetry: number;
}

export const DEFAULT_LIMITS: Limits = {
  connectTimeout: 10_000,
  adminTimeout: 60_000,
  ioTimeout: 30_000,
  terminateTimeout: 5_000,
  shutdownTimeout: 5_000,
  longestWait: 60_000,
  pollInterval: 100,
  abortTimeout: 5_000,
  farewell: 500,
  drainTimeout: 30_000,
  commandQuiesceTime: 10_000,
  journal: 1024,
  rescanDelay: 1_000,
  retries: 5,
  pathRest: 100,
  adminEntries: 32,
  ioEntries: 128,
  ioQueues: 4,
  keepAlive: 5_000,
  asyncEvents: 1,
  maxTransfer: 1024 * 1024,
  pieces: 16,
  namespaces: 1024,
  discoveryRecords: 4096,
  discoveryTries: 10,
  discoveryServices: 16,
  followed: 1024,
  followRetry: 30_000,
};

/** What Linux and nvme-cli allow for queue_size. */
export const QUEUE_SIZE = { min: 16, max: 1024 } as const;
