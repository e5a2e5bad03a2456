/**
 * When a lost controller is connected again, when its I/O fails meanwhile, and when it is given up: pure decisions,
 * with Linux's options and their meaning.
 */
import type { Failure } from './failure.ts';
import { isDnr } from '../nvme/status.ts';

/** Milliseconds. */
export interface Recovery {
  /** Between the end of an attempt, or the loss, and the next attempt. */
  readonly reconnectDelay: number;
  /** From the loss until the controller is given up; Infinity: never (-1 for a user); 0: at once. */
  readonly ctrlLossTmo: number;
  /** From the loss until I/O fails, although attempts go on; Infinity: off. */
  readonly fastIoFailTmo: number;
  /** From the moment that the remote port goes until the controller is given up; Infinity: off. */
  readonly devLossTmo: number;
  /**
   * Each failed attempt makes the delay this many times longer, up to `maxReconnectDelay`; 1: it stays the same, as in
   * Linux.
   */
  readonly backoff: number;
  readonly maxReconnectDelay: number;
  /** Share of the delay that is left to chance, 0 to 1: hosts that lost the same target do not all return at once. */
  readonly jitter: number;
}

/** Linux's. */
export const DEFAULT_RECOVERY: Recovery = {
  reconnectDelay: 10_000,
  ctrlLossTmo: 600_000,
  fastIoFailTmo: Infinity,
  devLossTmo: Infinity,
  backoff: 1,
  maxReconnectDelay: 60_000,
  jitter: 0,
};

/** Options that contradict each other, as sentences; nothing is refused for it, as in Linux. */
export function contradictions(recovery: Recovery): string[] {
  const { ctrlLossTmo, fastIoFailTmo, devLossTmo, reconnectDelay } = recovery;
  const warnings: string[] = [];
  if (fastIoFailTmo !== Infinity && fastIoFailTmo > ctrlLossTmo)
    warnings.push(
      `fast_io_fail_tmo (${fastIoFailTmo / 1000} s) is larger than ctrl_loss_tmo (${ctrlLossTmo / 1000} s): the controller goes first`,
    );
  if (devLossTmo !== Infinity && devLossTmo > ctrlLossTmo)
    warnings.push(
      `dev_loss_tmo (${devLossTmo / 1000} s) is larger than ctrl_loss_tmo (${ctrlLossTmo / 1000} s): it has no effect`,
    );
  if (ctrlLossTmo > 0 && reconnectDelay >= ctrlLossTmo)
    warnings.push(
      `reconnect_delay (${reconnectDelay / 1000} s) is not below ctrl_loss_tmo (${ctrlLossTmo / 1000} s): nothing is tried`,
    );
  return warnings;
}

/**
 * Attempts that fit into ctrl_loss_tmo, as Linux computes them; Infinity: no end, or delays that grow. Linux gives up
 * when so many have failed, however long each took; here time decides, which is the same when they fail at once.
 */
export function maxReconnects({ ctrlLossTmo, reconnectDelay, backoff }: Recovery): number {
  return backoff > 1 || ctrlLossTmo === Infinity ? Infinity : Math.ceil(ctrlLossTmo / reconnectDelay);
}

/** Before the next attempt, when `attempts` have failed. `chance`: 0 to 1. */
export function reconnectDelay(recovery: Recovery, attempts: number, chance: number): number {
  const { backoff, jitter, maxReconnectDelay } = recovery;
  const grown =
    backoff > 1
      ? Math.min(
          recovery.reconnectDelay * backoff ** attempts,
          Math.max(maxReconnectDelay, recovery.reconnectDelay),
        )
      : recovery.reconnectDelay;
  return Math.round(grown * (1 - jitter * chance));
}

/** What the decision goes by. Times are `Clock.now()` milliseconds. */
export interface LossFacts {
  readonly recovery: Recovery;
  readonly lostAt: number;
  /** Since the remote port went; undefined: it is there. */
  readonly portLostAt: number | undefined;
  /** Attempts since the loss that failed. */
  readonly attempts: number;
  readonly reason: Failure | undefined;
}

export interface Deadlines {
  readonly failFast: number;
  readonly giveUp: number;
  /** The option that `giveUp` comes from. */
  readonly by: 'ctrl_loss_tmo' | 'dev_loss_tmo';
}

/** The earlier one counts (PORT.9). */
export function deadlines({ recovery, lostAt, portLostAt }: LossFacts): Deadlines {
  const ctrlLoss = lostAt + recovery.ctrlLossTmo;
  const devLoss = portLostAt === undefined ? Infinity : portLostAt + recovery.devLossTmo;
  return {
    failFast: lostAt + recovery.fastIoFailTmo,
    giveUp: Math.min(ctrlLoss, devLoss),
    by: devLoss < ctrlLoss ? 'dev_loss_tmo' : 'ctrl_loss_tmo',
  };
}

/** Why the controller is not connected again, as a sentence; undefined: it is. */
export function givenUp(loss: LossFacts, now: number): string | undefined {
  const { reason, attempts, recovery } = loss;
  const { giveUp, by } = deadlines(loss);
  if (recovery.ctrlLossTmo === 0) return 'ctrl_loss_tmo is 0: a lost controller is not connected again';
  // What ended the association says nothing about the next one; what ended an attempt does.
  if (attempts > 0 && reason?.status !== undefined && isDnr(reason.status))
    return `the controller says that another attempt would end the same (DNR): ${reason.message}`;
  if (now >= giveUp) return `${by} is over`;
  return undefined;
}
