/**
 * Virtual time. One queue of events, ordered by time and then by the order in which they were asked for; nothing
 * happens outside it. Time is counted in whole microseconds. Every machine has its own view of the clock, so that
 * what a machine waits for can be listed, and goes when the machine dies.
 */
import { assert } from '../../src/runtime/assert.ts';
import { Fifo } from '../../src/runtime/fifo.ts';
import type { Clock, Timer } from '../../src/runtime/ports.ts';

class SimEvent implements Timer {
  readonly name: string;
  /** Microseconds. */
  readonly at: number;
  readonly sequence: number;
  readonly owner: MachineClock | undefined;
  fire: (() => void) | undefined;

  constructor(name: string, at: number, sequence: number, owner: MachineClock | undefined, fire: () => void) {
    this.name = name;
    this.at = at;
    this.sequence = sequence;
    this.owner = owner;
    this.fire = fire;
  }

  get due(): number {
    return this.at / 1000;
  }

  cancel(): void {
    this.fire = undefined;
    this.owner?.timers.delete(this);
  }
}

const before = (a: SimEvent, b: SimEvent): boolean =>
  a.at < b.at || (a.at === b.at && a.sequence < b.sequence);

/** What comes last in its microsecond has a number that nothing else reaches. */
const LAST = 2 ** 40;

export class SimClock {
  micros = 0;
  /** Timers of processes fire after everything else of their microsecond; else in the order in which all was asked for. */
  timersLast = false;
  /** Events that have happened. */
  events = 0;
  #sequence = 0;
  /** A heap: the children of i are 2i + 1 and 2i + 2. */
  readonly #heap: SimEvent[] = [];
  readonly #deferred = new Fifo<{ owner: MachineClock | undefined; fn: () => void }>();

  /** `fire` happens `micros` from now, never earlier. */
  after(name: string, micros: number, fire: () => void, owner?: MachineClock): SimEvent {
    const event = new SimEvent(
      name,
      this.micros + Math.max(0, Math.ceil(micros)),
      ++this.#sequence + (this.timersLast && owner !== undefined ? LAST : 0),
      owner,
      fire,
    );
    this.#push(event);
    return event;
  }

  defer(fn: () => void, owner?: MachineClock): void {
    this.#deferred.push({ owner, fn });
  }

  /** The next thing happens; false: there is none. */
  step(): boolean {
    const deferred = this.#deferred.shift();
    if (deferred !== undefined) {
      this.events++;
      if (deferred.owner?.dead !== true) deferred.fn();
      return true;
    }
    for (let event = this.#pop(); event !== undefined; event = this.#pop()) {
      const { fire } = event;
      if (fire === undefined) continue;
      this.micros = event.at;
      this.events++;
      event.cancel();
      fire();
      return true;
    }
    return false;
  }

  /** Names of what is waited for, soonest first. */
  pending(): string[] {
    return this.#heap
      .filter(({ fire }) => fire !== undefined)
      .sort((a, b) => (before(a, b) ? -1 : 1))
      .map(({ name, at }) => `${name} at ${(at / 1e6).toFixed(3)} s`);
  }

  #push(event: SimEvent): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): SimEvent | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

/** One process' view of the clock, from its start to its end. */
export class MachineClock implements Clock {
  readonly clock: SimClock;
  readonly name: string;
  readonly timers = new Set<SimEvent>();
  /** The process is gone: nothing of it happens any more. */
  dead = false;

  constructor(clock: SimClock, name: string) {
    this.clock = clock;
    this.name = name;
  }

  now(): number {
    return this.clock.micros / 1000;
  }

  wall(): number {
    return 1_700_000_000_000 + this.now();
  }

  timer(name: string, ms: number, fire: () => void): Timer {
    assert(ms >= 0 && ms < 2 ** 31, `timer ${name}: ${ms} ms is out of range`);
    const event = this.clock.after(`${this.name}: ${name}`, ms * 1000, fire, this);
    if (this.dead) event.cancel();
    else this.timers.add(event);
    return event;
  }

  defer(fn: () => void): void {
    if (!this.dead) this.clock.defer(fn, this);
  }

  kill(): void {
    this.dead = true;
    for (const timer of [...this.timers]) timer.cancel();
  }
}
