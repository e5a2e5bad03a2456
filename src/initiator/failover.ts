/**
 * What becomes of a command that ended: a pure decision. The first row that fits decides:
 *
 *      | status                        | command                             | then       |
 *      |-------------------------------|-------------------------------------|------------|
 *      | 0                             |                                     | complete   |
 *      | 370h: it never left           |                                     | failover   |
 *      | 371h: it may have left        | repeating changes its result        | unknown    |
 *      | 371h, and a protocol fault    | was repeated often enough           | unknown    |
 *      | 371h                          | changes nothing                     | failover   |
 *      | 371h                          | changes something, `immediate`      | failover   |
 *      | 371h                          | …, `safe`, provable                 | hold       |
 *      | 371h                          | …, `safe`, never provable           | unknown    |
 *      | DNR                           |                                     | complete   |
 *      | SCT 3: the path failed        |                                     | failover   |
 *      | not 022h, 082h: it was begun  | changes, repeating changes result   | complete   |
 *      | anything else                 | was repeated often enough           | complete   |
 *      | anything else                 |                                     | retry      |
 *
 * `failover`: choose a path again, at once; the one that refused rests a moment. `hold`: the same, but only when the
 * old association is known dead on the target (GHOST.2). A controller that answers a command with what is no NVMe/TCP
 * would do so for ever: losses by a protocol fault are counted as repeats. `retry`: choose a path again after the delay
 * that the controller asked for. `complete`: tell the user. `unknown`: tell the user that nobody knows.
 */
import { isDnr, isPathError, retryDelayIndex, Status, statusCode } from '../nvme/status.ts';

export type Verdict = 'complete' | 'retry' | 'failover' | 'hold' | 'unknown';

export const WRITE_FAILOVERS = ['safe', 'immediate'] as const;
/** What happens to a write that may have left on a path that is lost (GHOST.2). */
export type WriteFailover = (typeof WRITE_FAILOVERS)[number];

/** A command that ended. */
export interface Ended {
  readonly status: number;
  /** It changes media, reservations or the namespace. */
  readonly changes: boolean;
  /** Carried out twice it ends as it does once. Compare, fused commands and reservations do not. */
  readonly repeatable: boolean;
  /** How often it was repeated because of its status, or of a protocol fault. */
  readonly retries: number;
  /** Its association ended by a protocol fault, which may be the answer to this command. */
  readonly faulted: boolean;
  /** The death of its association will be known some time. */
  readonly provable: boolean;
}

export function verdict(ended: Ended, writeFailover: WriteFailover, maxRetries: number): Verdict {
  const { status } = ended;
  if (status === 0) return 'complete';
  if (status === Status.HostPathError) return 'failover';
  if (status === Status.AbortedByHost) {
    if (!ended.repeatable || (ended.faulted && ended.retries >= maxRetries)) return 'unknown';
    if (!ended.changes || writeFailover === 'immediate') return 'failover';
    return ended.provable ? 'hold' : 'unknown';
  }
  if (isDnr(status)) return 'complete';
  if (isPathError(status)) return 'failover';
  // A part of it may be done: a Copy would take what others have written since.
  if (ended.changes && !ended.repeatable && !isUnbegun(status)) return 'complete';
  return ended.retries >= maxRetries ? 'complete' : 'retry';
}

/** 022h, 082h: nothing of the command was done. */
const isUnbegun = (status: number): boolean =>
  [Status.TransientTransportError, Status.NamespaceNotReady].some((code) => code === statusCode(status));

/** 301h, 302h, 303h: the ANA log is not what we think it is. */
export const isAnaStatus = (status: number): boolean =>
  [Status.AnaPersistentLoss, Status.AnaInaccessible, Status.AnaTransition].some(
    (code) => code === statusCode(status),
  );

/** Milliseconds until a command that ended with `status` may be repeated; CRDT1 to CRDT3 are in 100 ms. */
export const retryDelay = (status: number, crdt: readonly number[]): number =>
  (crdt[retryDelayIndex(status) - 1] ?? 0) * 100;
