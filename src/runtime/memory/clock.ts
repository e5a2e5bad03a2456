import type { Clock, Timer } from '../ports.ts';
import { Fifo } from '../fifo.ts';
import { assert } from '../assert.ts';

class ManualTimer implements Timer {
  readonly name: string;
  readonly due: number;
  /** Timers that are due together fire in the order they were set. */
  readonly sequence: number;
  readonly fire: () => void;
  readonly holds: boolean;
  cancelled = false;

  constructor(name: string, due: number, sequence: number, fire: () => void, holds: boolean) {
    this.name = name;
    this.due = due;
    this.sequence = sequence;
    this.fire = fire;
    this.holds = holds;
  }

  cancel(): void {
    this.cancelled = true;
  }
}

/** A clock that stands still until it is told to go on. */
export class ManualClock implements Clock {
  #now = 0;
  #wallAtStart = 1_700_000_000_000;
  #sequence = 0;
  #timers: ManualTimer[] = [];
  readonly #deferred = new Fifo<() => void>();

  now(): number {
    return this.#now;
  }

  wall(): number {
    return this.#wallAtStart + this.#now;
  }

  /** The wall clock jumps by `ms`. */
  jumpWall(ms: number): void {
    this.#wallAtStart += ms;
  }

  timer(name: string, ms: number, fire: () => void, holds = true): Timer {
    assert(ms >= 0 && ms < 2 ** 31, `timer ${name}: ${ms} ms is out of range`);
    const timer = new ManualTimer(name, this.#now + ms, ++this.#sequence, fire, holds);
    this.#timers.push(timer);
    return timer;
  }

  defer(fn: () => void): void {
    this.#deferred.push(fn);
  }

  /** Timers that run, the next one first: nothing leaks when this is empty. */
  get timers(): readonly (Timer & { readonly holds: boolean })[] {
    return this.#running();
  }

  /** Deferred functions that have not run yet. */
  get deferred(): number {
    return this.#deferred.length;
  }

  /** Runs one deferred function; false: there was none. */
  step(): boolean {
    const fn = this.#deferred.shift();
    fn?.();
    return fn !== undefined;
  }

  /** Runs what was deferred, and what that defers, until nothing is left. Time stands still. */
  settle(): void {
    for (let steps = 0; this.step(); steps++) assert(steps < 10_000_000, 'deferred functions go on for ever');
  }

  /** Lets `ms` pass: settles, fires what falls due, in order, and settles after each. */
  advance(ms: number): void {
    const until = this.#now + ms;
    this.settle();
    for (let [next] = this.#running(); next && next.due <= until; [next] = this.#running()) {
      this.#now = Math.max(this.#now, next.due);
      next.cancel();
      next.fire();
      this.settle();
    }
    this.#now = until;
  }

  #running(): ManualTimer[] {
    this.#timers = this.#timers.filter((timer) => !timer.cancelled);
    return this.#timers.sort((a, b) => a.due - b.due || a.sequence - b.sequence);
  }
}
