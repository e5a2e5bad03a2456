/**
 * Which way an I/O goes: pure decisions over plain data, in two steps.
 *
 * 1. `classify`: what one path is good for. The first row that fits decides:
 *
 *      | controller  | looked at | ANA state       | size  | rests | the path is     |
 *      |-------------|-----------|-----------------|-------|-------|-----------------|
 *      | ending      |           |                 |       |       | gone            |
 *      | failed fast |           |                 |       |       | failed          |
 *      | returning   |           |                 |       |       | waiting         |
 *      | live        | no        |                 |       |       | waiting         |
 *      | live        | yes       | not known       |       |       | waiting         |
 *      | live        | yes       | persistent loss |       |       | gone            |
 *      | live        | yes       | inaccessible    |       |       | waiting         |
 *      | live        | yes       | change          |       |       | waiting         |
 *      | live        | yes       | usable          | other |       | waiting         |
 *      | live        | yes       | usable          | same  | yes   | waiting         |
 *      | live        | yes       | optimized       | same  | no    | optimized       |
 *      | live        | yes       | non-optimized   | same  | no    | non-optimized   |
 *
 * 2. `candidates`: the optimized paths, else the non-optimized ones; else the I/O waits (`requeue`) if any path may
 *    come back, else it fails. `pick` takes one of them by the policy.
 */
import { AnaState } from '../nvme/ana-log.ts';

/** Linux's names; `preferred` is SPDK's. `numa` stays with one path: a process has no node to be near to. */
export const IO_POLICIES = ['numa', 'round-robin', 'queue-depth', 'preferred'] as const;
export type IoPolicy = (typeof IO_POLICIES)[number];

/** What the choice knows of one path. */
export interface PathFacts {
  /**
   * `returning`: resetting or connecting, and not given up; `failed fast`: the same, but `fast_io_fail_tmo` is over;
   * `ending`: it will never be live again.
   */
  readonly controller: 'live' | 'returning' | 'failed fast' | 'ending';
  /** Its namespaces, and this one, were looked at since it is live (QUIESCE.6). */
  readonly lookedAt: boolean;
  /** Undefined: the ANA log of this association is not read yet. Without ANA: optimized. */
  readonly ana: AnaState | undefined;
  /** It tells the size that the head has. */
  readonly sameSize: boolean;
  /** It refused a command a moment ago with a status of the path. */
  readonly resting: boolean;
}

export type PathClass = 'optimized' | 'non-optimized' | 'waiting' | 'failed' | 'gone';

/** A class, and the reason as words for a person. */
export interface Classified {
  readonly is: PathClass;
  readonly why: string;
}

interface Row extends Classified {
  readonly when: (path: PathFacts) => boolean;
}

export const CLASS_ROWS: readonly Row[] = [
  { when: ({ controller }) => controller === 'ending', is: 'gone', why: 'its controller goes' },
  { when: ({ controller }) => controller === 'failed fast', is: 'failed', why: 'fast_io_fail_tmo is over' },
  { when: ({ controller }) => controller === 'returning', is: 'waiting', why: 'its controller is not live' },
  { when: ({ lookedAt }) => !lookedAt, is: 'waiting', why: 'its namespaces are being looked at' },
  { when: ({ ana }) => ana === undefined, is: 'waiting', why: 'its ANA log is being read' },
  { when: ({ ana }) => ana === AnaState.PersistentLoss, is: 'gone', why: 'ANA persistent loss' },
  { when: ({ ana }) => ana === AnaState.Inaccessible, is: 'waiting', why: 'ANA inaccessible' },
  { when: ({ ana }) => ana === AnaState.Change, is: 'waiting', why: 'ANA change' },
  { when: ({ sameSize }) => !sameSize, is: 'waiting', why: 'it tells another size than the head has' },
  { when: ({ resting }) => resting, is: 'waiting', why: 'it refused a command a moment ago' },
  { when: ({ ana }) => ana === AnaState.Optimized, is: 'optimized', why: 'ANA optimized' },
  { when: () => true, is: 'non-optimized', why: 'ANA non-optimized' },
];

export const classify = (path: PathFacts): Classified => CLASS_ROWS.find(({ when }) => when(path))!;

/** The paths that may be taken, or what becomes of the I/O. Made anew when something changes, not for each I/O. */
export function candidates<P extends { readonly is: PathClass }>(
  paths: readonly P[],
): readonly P[] | 'requeue' | 'fail' {
  for (const best of ['optimized', 'non-optimized'] as const) {
    const found = paths.filter(({ is }) => is === best);
    if (found.length > 0) return found;
  }
  return paths.some(({ is }) => is === 'waiting') ? 'requeue' : 'fail';
}

/** What `pick` looks at. */
export interface Candidate {
  /** Commands that are with its controller. */
  readonly inFlight: number;
  /** Named by the user. */
  readonly preferred: boolean;
}

/**
 *      | policy      | takes                                                                    |
 *      |-------------|--------------------------------------------------------------------------|
 *      | numa        | the last one again; if it is no candidate, the first                     |
 *      | round-robin | the one after the last; if that is no candidate, the first               |
 *      | queue-depth | the one with the fewest commands under way; among equals the first       |
 *      | preferred   | as `numa`, among the preferred ones if any is a candidate, else among all |
 */
export function pick<P extends Candidate>(from: readonly P[], policy: IoPolicy, last: P | undefined): P {
  const first = from[0]!;
  if (from.length === 1) return first;
  const at = last === undefined ? -1 : from.indexOf(last);
  switch (policy) {
    case 'round-robin':
      return from[(at + 1) % from.length]!;
    case 'queue-depth': {
      let best = first;
      for (const path of from) if (path.inFlight < best.inFlight) best = path;
      return best;
    }
    case 'preferred':
      if (at >= 0 && last!.preferred) return last!;
      return from.find(({ preferred }) => preferred) ?? (at < 0 ? first : last!);
    case 'numa':
      return at < 0 ? first : last!;
  }
}

/** Both steps at once. */
export function select<P extends Candidate & { readonly is: PathClass }>(
  paths: readonly P[],
  policy: IoPolicy,
  last: P | undefined,
): P | 'requeue' | 'fail' {
  const found = candidates(paths);
  return typeof found === 'string' ? found : pick(found, policy, last);
}
