/**
 * The way between a host and an address of a target, and what can be wrong with it. Directions are seen from the
 * host: `up` to the target, `down` from it.
 */
import type { SimClock } from './clock.ts';
import type { SimRandom } from './random.ts';
import type { SimTrace } from './trace.ts';
import type { Wire } from './wire.ts';

export type Direction = 'up' | 'down';

/** How a link behaves when nothing is wrong. Bytes and microseconds. */
export interface LinkOptions {
  /** One way: at least, and at most this much more. */
  readonly latency: number;
  readonly jitter: number;
  /** Bytes in a millisecond. */
  readonly bandwidth: number;
  /** The most that arrives at once; smaller pieces come as well. */
  readonly segment: number;
  /** Bytes that a socket takes before the other side has read them. */
  readonly window: number;
  /** How long a socket may hold a write before it has copied it. */
  readonly take: number;
}

export class Link {
  readonly name: string;
  readonly clock: SimClock;
  readonly random: SimRandom;
  readonly trace: SimTrace;
  readonly options: LinkOptions;
  readonly wires = new Set<Wire>();
  /** Nothing gets through in this direction. */
  readonly blackhole: Record<Direction, boolean> = { up: false, down: false };
  /** Nothing arrives before this moment. */
  readonly stalledUntil: Record<Direction, number> = { up: 0, down: 0 };
  /** So many segments will be damaged. */
  readonly corrupt: Record<Direction, number> = { up: 0, down: 0 };
  /** Connects are refused, or take so much longer. */
  refusing = false;
  connectDelay = 0;
  /** How long a host's socket that was reset takes to be gone. */
  closeDelay = 0;
  /** Sockets that take so long. */
  readonly closing = new Set<() => void>();
  /** Until when something is done to it, microseconds. */
  disturbedUntil = -Infinity;
  /** Bytes that were damaged. */
  damaged = 0;

  constructor(name: string, clock: SimClock, random: SimRandom, trace: SimTrace, options: LinkOptions) {
    this.name = name;
    this.clock = clock;
    this.random = random;
    this.trace = trace;
    this.options = options;
  }

  delay(): number {
    const { latency, jitter } = this.options;
    return latency + (jitter === 0 ? 0 : this.random.below(jitter));
  }

  setBlackhole(direction: Direction, on: boolean): void {
    this.trace.note(on ? 'blackhole begins' : 'blackhole ends', this.name, direction === 'up' ? 1 : 2);
    this.blackhole[direction] = on;
    if (!on) this.goOn();
  }

  stall(direction: Direction, micros: number): void {
    this.trace.note('stalls', this.name, direction === 'up' ? 1 : 2, micros);
    this.stalledUntil[direction] = this.clock.micros + micros;
  }

  /** Everything is as it should be. */
  heal(): void {
    this.refusing = false;
    this.connectDelay = this.closeDelay = 0;
    for (const close of [...this.closing]) close();
    for (const direction of ['up', 'down'] as const) {
      this.corrupt[direction] = 0;
      this.stalledUntil[direction] = 0;
      this.blackhole[direction] = false;
    }
    this.trace.note('heals', this.name);
    this.goOn();
  }

  /** What was held up is sent again after a while. */
  goOn(): void {
    for (const wire of this.wires) wire.goOn();
  }
}
