/**
 * Why the I/O of a head goes where it goes, waits or fails, as plain data that can be printed or sent: each path with
 * what is in its way, what waits for what, and which timer acts next. Times are milliseconds; what is not there, and
 * Infinity, are left out.
 */
import { anaStateName } from '../nvme/ana-log.ts';
import type { Timer } from '../runtime/ports.ts';
import type { Association } from './association.ts';
import type { BlockRange } from './commands.ts';
import { describeTimer, describeTimers, type TimerDescription } from './describe.ts';
import type { WriteFailover } from './failover.ts';
import type { Head, HeadState } from './head.ts';
import type { Path } from './path.ts';
import type { IoPolicy, PathClass } from './select.ts';

export interface WhyPath {
  readonly name: string;
  readonly id: number;
  readonly controller: string;
  readonly controllerState: string;
  readonly traddr: string;
  readonly trsvcid: string;
  readonly usable: boolean;
  readonly is: PathClass;
  /** What makes it so. */
  readonly why: string;
  /** `optimized`, …; undefined: not known, or the controller does not report ANA. */
  readonly anaState: string | undefined;
  readonly anaGroup: number | undefined;
  readonly preferred: boolean;
  /** I/O queues of its controller; of them, those that take reads alone, 0: all take everything. */
  readonly ioQueues: number;
  readonly readQueues: number;
  /** Commands that its controller has, of all heads. */
  readonly inFlight: number;
  /** Why the controller was lost, or failed to connect, last. */
  readonly reason: string | undefined;
  /** The next one first. */
  readonly timers: readonly TimerDescription[];
}

/** Blocks that a lost association may still write to. */
export interface WhyHeld {
  readonly association: number;
  readonly controller: string;
  readonly ranges: readonly BlockRange[];
  /** Until the association is known to be dead on the target; undefined: not before it ends on our side. */
  readonly freeInMs: number | undefined;
  readonly why: string;
}

/** A controller of the subsystem shows the namespace, and it is not used. */
export interface WhyRefused {
  readonly controller: string;
  readonly why: string;
}

export interface Why {
  readonly head: string;
  readonly id: number;
  readonly state: HeadState;
  readonly iopolicy: IoPolicy;
  readonly writeFailover: WriteFailover;
  readonly delayedRemovalSecs: number;
  /** One sentence: what happens to an I/O that is submitted now. */
  readonly verdict: string;
  readonly paths: readonly WhyPath[];
  readonly refused: readonly WhyRefused[];
  /** I/O that is not over; of it, I/O that waits for a path, and commands that wait for blocks or for their delay. */
  readonly inFlight: number;
  readonly waiting: { readonly requeued: number; readonly held: number; readonly delayed: number };
  readonly held: readonly WhyHeld[];
  /** Of the head and all of its paths, the next one first. */
  readonly timers: readonly TimerDescription[];
}

export function why(head: Head): Why {
  const { subsystem, traffic } = head;
  const now = head.env.clock.now();
  const own: Timer[] = [...head.state.timers()];
  for (const { timer } of traffic.delayed) if (timer !== undefined) own.push(timer);
  const held = traffic.ghosts.list().map(({ association, ranges }) => whyHeld(association, ranges, now));
  for (const { association } of traffic.ghosts.list()) own.push(...association.timers);
  const paths = head.paths.map((path) => whyPath(path, now));
  const timers = [...own.map((timer) => describeTimer(timer, now)), ...paths.flatMap((path) => path.timers)];
  const unique = new Map(timers.map((timer) => [`${timer.of}: ${timer.name}`, timer]));
  return {
    head: head.name,
    id: head.id,
    state: head.state.now,
    iopolicy: head.policy,
    writeFailover: head.writeFailover,
    delayedRemovalSecs: head.delayedRemoval,
    verdict: verdictOf(head, paths),
    paths,
    refused: [...subsystem.sides].flatMap(([controller, { refused }]) => {
      const found = refused.get(head.nsid);
      return found === undefined ? [] : [{ controller: controller.name, why: found.why }];
    }),
    inFlight: traffic.inFlight,
    waiting: traffic.waiting,
    held,
    timers: [...unique.values()].sort((a, b) => a.inMs - b.inMs),
  };
}

function verdictOf(head: Head, paths: readonly WhyPath[]): string {
  switch (head.outlook) {
    case 'usable': {
      const best = paths.filter(({ usable }) => usable);
      const optimized = best.filter(({ is }) => is === 'optimized');
      const candidates = optimized.length > 0 ? optimized : best;
      const preferred = candidates.filter((path) => head.policy === 'preferred' && path.preferred);
      const names = (preferred.length > 0 ? preferred : candidates).map(({ name }) => name);
      return `goes by ${names.join(' or ')}, as ${head.policy} says`;
    }
    case 'requeue':
      return head.state.is('orphaned')
        ? 'waits: there is no path, and the head is kept for delayed_removal_secs'
        : `waits: no path is usable, but ${paths.filter(({ is }) => is === 'waiting').length} may be again`;
    case 'fail':
      if (head.gone) return 'fails: the head is gone';
      if (head.state.is('orphaned')) return 'fails: fast_io_fail_tmo was over when the last path went';
      return paths.some(({ is }) => is === 'failed')
        ? 'fails: fast_io_fail_tmo is over on every path that may return'
        : 'fails: no path will be usable again';
  }
}

function whyPath(path: Path, now: number): WhyPath {
  const { controller, side, classified } = path;
  const { ana, info } = path;
  const own = [...(side.ana?.timers ?? []), ...(path.resting === undefined ? [] : [path.resting])];
  const timers = [...own.map((timer) => describeTimer(timer, now)), ...describeTimers(controller)];
  return {
    name: path.name,
    id: path.id,
    controller: controller.name,
    controllerState: controller.state.now,
    traddr: controller.options.address.host,
    trsvcid: String(controller.options.address.port),
    usable: path.usable,
    is: path.is,
    why: side.ana === undefined && path.usable ? 'its controller is live' : classified.why,
    anaState: side.ana === undefined || ana === undefined ? undefined : anaStateName(ana),
    anaGroup: side.ana?.group(info),
    preferred: path.preferred,
    ioQueues: path.queues?.connections.length ?? 0,
    readQueues: path.queues?.division.reads ?? 0,
    inFlight: path.inFlight,
    reason: controller.reason?.message,
    timers: timers.sort((a, b) => a.inMs - b.inMs),
  };
}

function whyHeld(association: Association, ranges: readonly BlockRange[], now: number): WhyHeld {
  const { deadAt } = association;
  return {
    association: association.id,
    controller: association.controller.name,
    ranges,
    freeInMs: deadAt === Infinity ? undefined : Math.max(0, deadAt - now),
    why: association.over
      ? 'writes left on it and were not answered: until KATO and CQT are over the target may still carry them out'
      : 'writes left on it and were not answered, and its connections are not dead yet',
  };
}
