/**
 * A loss: from the moment that a controller is lost, or is to be connected for the first time, until paths go through it
 * again. It knows what was tried, and runs the timers: until the next attempt, until I/O fails, until the controller is
 * given up. recovery.ts says how long; the controller does what is due.
 */
import type { Env, Level } from '../runtime/ports.ts';
import type { Machine } from '../runtime/machine.ts';
import type { ControllerState } from './controller-state.ts';
import type { Failure } from './failure.ts';
import { deadlines, givenUp, reconnectDelay, type LossFacts, type Recovery } from './recovery.ts';

/** The longest that a timer runs, ms; a later deadline is looked at again then. */
const LONGEST = 2 ** 31 - 1;

export interface LossOwner {
  readonly env: Env;
  /** Whose timers they are: leaving the state takes them along. */
  readonly state: Machine<ControllerState>;
  readonly recovery: Recovery;
  /** Why it was lost, or why the last attempt failed. */
  readonly reason: Failure | undefined;
  /** Its first connect has not succeeded yet, and failing ends it: no deadline counts. */
  readonly first: boolean;
  /** The time until the next attempt is over. */
  attempt(): void;
  /** I/O fails from now on. */
  failFast(): void;
  giveUp(why: string): void;
  log(level: Level, what: string, fields: Record<string, string | number | undefined>): void;
}

export class Loss implements LossFacts {
  readonly #owner: LossOwner;
  /** Times are `Clock.now()` milliseconds. */
  readonly lostAt: number;
  /** Since when the remote port is away; undefined: it is there. */
  portLostAt: number | undefined = undefined;
  attempts = 0;
  /** fast_io_fail_tmo is over: I/O fails. */
  failedFast = false;

  constructor(owner: LossOwner) {
    this.#owner = owner;
    this.lostAt = owner.env.clock.now();
  }

  get recovery(): Recovery {
    return this.#owner.recovery;
  }
  get reason(): Failure | undefined {
    return this.#owner.reason;
  }
  /** The timer until the next attempt runs. */
  get waits(): boolean {
    return this.#owner.state.has('reconnect');
  }
  /** Why there is no next attempt, as a sentence; undefined: there is. */
  get hopeless(): string | undefined {
    return givenUp(this, this.#owner.env.clock.now());
  }

  /** Until the next attempt. */
  wait(): void {
    const { env, state, recovery, reason } = this.#owner;
    const chance = new DataView(env.random.bytes(4).buffer).getUint32(0) / 2 ** 32;
    const ms = reconnectDelay(recovery, this.attempts, chance);
    this.#owner.log('info', 'connects again', { ms, attempts: this.attempts, last: reason?.message });
    // Of two that are due together the deadline comes first.
    this.arm();
    state.after('reconnect', ms, () => this.#owner.attempt());
  }

  /** The deadlines, whatever the controller does meanwhile. Idempotent. */
  arm(): void {
    const { state, first, env } = this.#owner;
    for (const name of ['ctrl_loss_tmo', 'dev_loss_tmo', 'fast_io_fail_tmo']) state.cancel(name);
    if (first || !state.is('connecting', 'resetting')) return;
    const now = env.clock.now();
    const { failFast, giveUp, by } = deadlines(this);
    const at = (name: string, due: number, then: () => void): void => {
      if (due === Infinity) return;
      state.after(name, Math.max(0, Math.min(due - now, LONGEST)), () => {
        if (env.clock.now() < due) this.arm();
        else then();
      });
    };
    // With ctrl_loss_tmo 0 it goes when its connections are dead.
    if (giveUp > this.lostAt) at(by, giveUp, () => this.#owner.giveUp(`${by} is over`));
    if (!this.failedFast)
      at('fast_io_fail_tmo', failFast, () => {
        this.failedFast = true;
        this.#owner.failFast();
      });
  }

  /** fast_io_fail_tmo is another now. True: I/O that failed waits again. */
  calmsDown(): boolean {
    const early = this.#owner.env.clock.now() - this.lostAt < this.recovery.fastIoFailTmo;
    if (!early || !this.failedFast) return false;
    this.failedFast = false;
    return true;
  }
}
