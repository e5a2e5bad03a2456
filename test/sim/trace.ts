/**
 * What happened, as one running hash: the same seed gives the same hash, wherever and however often it runs. Text is
 * made only where somebody listens (`--trace`, and the second run of a seed that failed), and listening changes
 * nothing.
 */
import type { Level, Trace, TraceFields } from '../../src/runtime/ports.ts';
import { hashText } from './random.ts';
import type { SimClock } from './clock.ts';

export class SimTrace {
  readonly #clock: SimClock;
  /** Gets every line. */
  readonly listener: ((line: string) => void) | undefined;
  #hash = 0x811c9dc5;
  #notes = 0;
  readonly #hashes = new Map<string, number>();

  constructor(clock: SimClock, listener?: (line: string) => void) {
    this.#clock = clock;
    this.listener = listener;
  }

  /** 8 digits. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }

  /** How much was noted. */
  get notes(): number {
    return this.#notes;
  }

  /** `what` happened to `who`; two numbers say how. */
  note(what: string, who: string, a = 0, b = 0): void {
    this.#notes++;
    let hash = this.#mix(this.#hash, this.#clock.micros);
    hash = this.#mix(hash, this.#textHash(what));
    hash = this.#mix(hash, this.#textHash(who));
    this.#hash = this.#mix(this.#mix(hash, a), b);
    if (this.listener !== undefined) this.#say(who, `${what}${a || b ? ` ${a}` : ''}${b ? ` ${b}` : ''}`);
  }

  /** The Trace port of one machine. Debug events are for listeners and are not part of the hash. */
  port(machine: string): Trace {
    const debug = this.listener !== undefined;
    const event = (level: Level, what: string, fields: TraceFields): void => {
      if (level !== 'debug') {
        let hash = this.#mix(this.#hash, this.#textHash(machine));
        hash = hashText(what, hash);
        for (const name in fields) hash = hashText(String(fields[name]), hash);
        this.#hash = hash;
      }
      if (!debug) return;
      const words = Object.entries(fields).map(([name, value]) => `${name}=${String(value)}`);
      this.#say(machine, `${what} ${words.join(' ')}`);
    };
    return { debug, event };
  }

  #say(who: string, text: string): void {
    const seconds = (this.#clock.micros / 1e6).toFixed(6).padStart(12);
    this.listener!(`${seconds}  ${who.padEnd(14)} ${text}`);
  }

  #mix(hash: number, value: number): number {
    hash = Math.imul(hash ^ (value | 0), 0x01000193);
    return hash ^ (hash >>> 15);
  }

  /** The few texts that come again and again are hashed once. */
  #textHash(text: string): number {
    let hash = this.#hashes.get(text);
    if (hash === undefined) this.#hashes.set(text, (hash = hashText(text)));
    return hash;
  }
}
