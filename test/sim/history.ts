/**
 * The history of one block, checked while it grows: a register that is written and read by many (Gibbons and Korach,
 * "Testing shared memories"). A value and its reads make a cluster. With
 *
 *     first = the earliest end of anything in the cluster      by then the value was there
 *     last  = the latest beginning of anything in it           then it was still there
 *
 * the cluster has the zone between the two: *forward* when first < last (the block held the value all that time),
 * else *backward* (it held it at some moment in between). A history is linearizable exactly when no two forward zones
 * overlap and no backward zone lies inside a forward one.
 *
 * A change whose outcome is unknown has no zone until it is read: it may or may not have happened, once, and not after
 * `closes`. Zeroes are not told apart, so reads of zero are checked against every change that may have made them.
 */

/** One change as its client knows it. Times are microseconds. */
export interface Change {
  /** The value that it leaves; unlike any other's, or 0 for zeroes. */
  readonly value: number;
  /** For people. */
  readonly name: string;
  readonly start: number;
  /** When it was acknowledged; Infinity: it was not. */
  end: number;
  /** Not acknowledged, it cannot happen any more after this moment. */
  closes: number;
  /** It is on stable storage. */
  durable: boolean;
  /** It may never happen: it was not sent. */
  never: boolean;
  /** Nothing of it can be under way any more. */
  over?: () => boolean;
}

/** A change of this block, and its reads. */
interface Cluster {
  readonly change: Change;
  readEnd: number;
  readStart: number;
}

export class BlockHistory {
  readonly name: string;
  readonly #clusters: Cluster[] = [];
  /** What it may hold when nothing was changed since `#since`: one value, or several after a power cut. */
  #initial: Set<number>;
  #since: number;

  constructor(name: string) {
    this.name = name;
    this.#initial = new Set([0]);
    this.#since = 0;
    this.#settleInitial();
  }

  /** A change begins. */
  begin(change: Change): void {
    this.#clusters.push({ change, readEnd: Infinity, readStart: -Infinity });
  }

  /** It was acknowledged. Gives what is wrong with that, or undefined. */
  acknowledged(change: Change): string | undefined {
    const cluster = this.#clusters.find((each) => each.change === change);
    return cluster === undefined ? undefined : this.#check(cluster);
  }

  /** A read from `start` to `end` saw `value`. Gives what is wrong with that, or undefined. */
  read(value: number, start: number, end: number): string | undefined {
    if (value === 0 && this.#clusters.some(({ change }) => change.value === 0 && change !== this.#first))
      return this.#readZero(start);
    let cluster = this.#clusters.find(({ change }) => change.value === value);
    if (cluster === undefined && this.#initial.has(value)) {
      this.#initial = new Set([value]);
      cluster = this.#settleInitial();
    }
    if (cluster === undefined)
      return `holds value ${value}, which ${this.#initial.size > 1 ? 'the power cut cannot have left' : 'nobody wrote here'}`;
    if (cluster.change.never) return `holds ${cluster.change.name}, which was never sent`;
    cluster.readEnd = Math.min(cluster.readEnd, end);
    cluster.readStart = Math.max(cluster.readStart, start);
    return this.#check(cluster);
  }

  /** Power was lost at `now`. What was not durable may be lost; what is older than something durable cannot come back. */
  crash(now: number): void {
    const durable = this.#clusters.filter(({ change }) => change.durable);
    const left = new Set<number>();
    for (const { change } of this.#clusters) {
      const over = change.end === Infinity ? change.closes : change.end;
      if (change.never || change === this.#first) continue;
      if (!durable.some((other) => other.change !== change && over < other.change.start))
        left.add(change.value);
    }
    if (durable.every(({ change }) => change === this.#first))
      for (const value of this.#initial) left.add(value);
    this.#clusters.length = 0;
    this.#first = undefined;
    this.#since = now;
    this.#initial = left;
    if (left.size === 1) this.#settleInitial();
  }

  /** The change that stands for what was there before all others; undefined while that is open. */
  #first: Change | undefined = undefined;

  #settleInitial(): Cluster {
    const [value] = this.#initial;
    const name = this.#since === 0 ? 'what was there first' : 'what the power cut left';
    const start = -1;
    this.#first = {
      value: value!,
      name,
      start,
      end: this.#since,
      closes: Infinity,
      durable: true,
      never: false,
    };
    const cluster = { change: this.#first, readEnd: Infinity, readStart: -Infinity };
    this.#clusters.unshift(cluster);
    return cluster;
  }

  /** When the value was surely there, or Infinity. */
  #firstOf({ change, readEnd }: Cluster): number {
    return Math.min(change.end, readEnd === Infinity ? Infinity : Math.min(readEnd, change.closes));
  }

  #check(cluster: Cluster): string | undefined {
    const first = this.#firstOf(cluster);
    if (first === Infinity) return undefined;
    const last = Math.max(cluster.change.start, cluster.readStart);
    for (const other of this.#clusters) {
      const otherFirst = this.#firstOf(other);
      if (other === cluster || otherFirst === Infinity) continue;
      const otherLast = Math.max(other.change.start, other.readStart);
      const forward = first < last;
      const wrong = (forward || otherFirst < otherLast) && first < otherLast && otherFirst < last;
      if (!wrong) continue;
      const [held, hidden] = forward ? [cluster, other] : [other, cluster];
      return `${this.#tell(held)}, but ${this.#tell(hidden)} in between`;
    }
    return undefined;
  }

  #tell(cluster: Cluster): string {
    const at = (micros: number): string => (micros / 1e6).toFixed(6);
    const first = this.#firstOf(cluster);
    const last = Math.max(cluster.change.start, cluster.readStart);
    return first < last
      ? `${cluster.change.name} was there by ${at(first)} s and still at ${at(last)} s`
      : `${cluster.change.name} happened between ${at(last)} and ${at(first)} s`;
  }

  #readZero(start: number): string | undefined {
    const hidden = (over: number): boolean =>
      this.#clusters.some((other) => other.change.start > over && this.#firstOf(other) < start);
    if (this.#initial.has(0) && !hidden(this.#since)) return undefined;
    for (const { change } of this.#clusters) {
      if (change.value !== 0 || change.never || change === this.#first) continue;
      if (!hidden(change.end === Infinity ? change.closes : change.end)) return undefined;
    }
    return 'holds zeroes, but everything that may have made them was overwritten before';
  }
}
