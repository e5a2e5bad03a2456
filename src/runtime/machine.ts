/**
 * A state machine: every state is one word in one table, and a timer belongs to a state.
 *
 *     const states = { idle: ['connecting'], connecting: ['live', 'dead'], live: ['dead'], dead: [] } as const;
 *     this.state = machine(env, 'controller nvme0', states, 'idle');
 *     this.state.after('connect timeout', 3000, () => this.settle());   // leaving the state cancels it
 */
import { assert } from './assert.ts';
import type { Env, Timer } from './ports.ts';

export type Transitions<S extends string> = Readonly<Record<S, readonly S[]>>;

export class Machine<S extends string> {
  readonly name: string;
  #state: S;
  #why = 'created';
  readonly #table: Transitions<S>;
  readonly #env: Pick<Env, 'clock' | 'trace'>;
  readonly #timers = new Map<string, Timer>();

  constructor(env: Pick<Env, 'clock' | 'trace'>, name: string, table: Transitions<S>, initial: S) {
    this.#env = env;
    this.name = name;
    this.#table = table;
    this.#state = initial;
  }

  get now(): S {
    return this.#state;
  }

  /** Why it came into this state. */
  get why(): string {
    return this.#why;
  }

  is(...states: readonly S[]): boolean {
    return states.includes(this.#state);
  }

  /** Whether the table allows the step. */
  can(next: S): boolean {
    return this.#table[this.#state].includes(next);
  }

  /** Takes the step, cancels the timers of the state that is left, and traces it. */
  to(next: S, why: string): void {
    assert(this.can(next), `${this.name}: ${this.#state} → ${next} (${why}) is not in the table`);
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    if (this.#env.trace.debug)
      this.#env.trace.event('debug', `${this.name} ${this.#state} → ${next}`, { why });
    this.#state = next;
    this.#why = why;
  }

  /** A timer of this state; one with the same name replaces it. */
  after(name: string, ms: number, fire: () => void): void {
    this.#timers.get(name)?.cancel();
    this.#timers.set(
      name,
      this.#env.clock.timer(`${this.name}: ${name}`, ms, () => {
        this.#timers.delete(name);
        fire();
      }),
    );
  }

  cancel(name: string): void {
    this.#timers.get(name)?.cancel();
    this.#timers.delete(name);
  }

  /** Whether a timer of this name runs. */
  has(name: string): boolean {
    return this.#timers.has(name);
  }

  /** What this state waits for, to be shown to a user. */
  timers(): readonly Timer[] {
    return [...this.#timers.values()];
  }
}

export const machine = <S extends string>(
  env: Pick<Env, 'clock' | 'trace'>,
  name: string,
  table: Readonly<Record<S, readonly NoInfer<S>[]>>,
  initial: NoInfer<S>,
): Machine<S> => new Machine<S>(env, name, table, initial);
