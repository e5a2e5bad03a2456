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
 * A change that was sent more than once, because the answer to the first time was lost, may happen more than once from
 * its beginning to its end: any other change may come in between. That is what hosts owe to each other, not a path to
 * its host. After its end it does not happen any more: a stale write is found by that (GHOST.4).
 *
 * A change whose outcome is unknown has no zone until it is read: it may or may not have happened, once, and not after
 * `closes`. Zeroes are not told apart, so reads of zero are checked against every change that may have made them.
 *
 * A copy is a read of its source and a write here, of a value that nobody knows when it begins. A read that sees a value
 * which only that copy can have brought tells which one it was, and what it read there meanwhile (`#settleCopy`). Until
 * then it has happened, but may have left any value that its source may have held. A value that several changes may have
 * left is checked against all of them, like zeroes.
 */

/** One change as its client knows it. Times are microseconds. */
export interface Change {
  /** For people. */
  readonly name: string;
  readonly start: number;
  /** When it was acknowledged; Infinity: it was not. */
  end: number;
  /** Not acknowledged, it cannot happen any more after this moment. */
  closes: number;
  /** If it happened, then before this moment, whenever it was acknowledged. */
  fenced?: number;
  /** The same, by write protection. */
  shutAt?: number;
  /** It is on stable storage. */
  durable: boolean;
  /** It may never happen: it was not sent. */
  never: boolean;
  /** Nothing of it can be under way any more. */
  over?: () => boolean;
  /** Some of it was sent more than once. */
  repeats?: () => boolean;
}

/** A change of this block, and its reads. */
interface Cluster {
  readonly change: Change;
  /** What it leaves; unlike any other's, or 0 for zeroes. Undefined: what `source` held. */
  value: number | undefined;
  readonly source: BlockHistory | undefined;
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

  /** A change begins, that leaves a value, or what another block holds. */
  begin(change: Change, what: number | BlockHistory): void {
    const [value, source] = typeof what === 'number' ? [what, undefined] : [undefined, what];
    this.#clusters.push({ change, value, source, readEnd: Infinity, readStart: -Infinity });
  }

  /** Whether it may have held the value at some time until `by`, since the power was last lost. */
  mayHold(value: number, by = Infinity, asked = new Set<BlockHistory>()): boolean {
    if (asked.has(this)) return false;
    asked.add(this);
    if (this.#initial.has(value)) return true;
    const held = this.#clusters.some(
      (each) => !each.change.never && each.change.start <= by && mayBe(each, value, asked),
    );
    asked.delete(this);
    return held;
  }

  /** A copy may have brought the value here. */
  copied(value: number): boolean {
    return this.#clusters.some((each) => each.source !== undefined && mayBe(each, value));
  }

  /** It was acknowledged. Gives what is wrong with that, or undefined. */
  acknowledged(change: Change): string | undefined {
    const cluster = this.#clusters.find((each) => each.change === change);
    return cluster === undefined ? undefined : this.#check(cluster);
  }

  /** A read from `start` to `end` saw `value`. Gives what is wrong with that, or undefined. */
  read(value: number, start: number, end: number): string | undefined {
    const copies = this.#copies(value);
    let cluster = this.#clusters.find((each) => each.value === value);
    const others = this.#clusters.some((each) => each.value === 0 && each.change !== this.#first);
    if (value === 0 && others) return this.#readAmbiguous(value, start);
    if (copies.length > 0) {
      if (cluster !== undefined || copies.length > 1 || this.#initial.has(value))
        return this.#readAmbiguous(value, start);
      cluster = copies[0]!;
      const wrong = this.#settleCopy(cluster, value, end);
      if (wrong !== undefined) return wrong;
    }
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

  /** Copies that may have brought the value, as far as one knows. */
  #copies(value: number): Cluster[] {
    return this.#clusters.filter(
      (each) => each.value === undefined && !each.change.never && mayBe(each, value),
    );
  }

  /** A read that ended at `end` saw what the copy brought; so its source held that, while it was copied. */
  #settleCopy(copy: Cluster, value: number, end: number): string | undefined {
    copy.value = value;
    const { start, name } = copy.change;
    const wrong = copy.source!.read(value, start, Math.min(end, overAt(copy.change)));
    return wrong === undefined ? undefined : `holds what ${name} read of ${copy.source!.name}: ${wrong}`;
  }

  /** Power was lost at `now`. What was not durable may be lost; what is older than something durable cannot come back. */
  static crash(blocks: readonly BlockHistory[], now: number): void {
    // What a copy may have brought is known as long as what its source may have held is.
    for (const lose of blocks.map((block) => block.#crash(now))) lose();
  }

  #crash(now: number): () => void {
    const durable = this.#clusters.filter(({ change }) => change.durable);
    const left = new Set<number>();
    // Hosts that wait for the target to return go on with what they have.
    const open = this.#clusters.filter(
      ({ change }) => !change.never && change.end === Infinity && change.closes === Infinity,
    );
    for (const { change, value, source } of this.#clusters) {
      if (change.never || change === this.#first) continue;
      const over = overAt(change);
      if (durable.some((other) => other.change !== change && over < other.change.start)) continue;
      if (value !== undefined) left.add(value);
      else source!.#addValues(left, new Set());
    }
    if (durable.every(({ change }) => change === this.#first))
      for (const value of this.#initial) left.add(value);
    return () => {
      this.#clusters.length = 0;
      this.#first = undefined;
      this.#since = now;
      this.#initial = left;
      for (const { change, value, source } of open) this.begin(change, source ?? value!);
      if (left.size === 1) this.#settleInitial();
    };
  }

  /** Adds every value that `mayHold`. */
  #addValues(to: Set<number>, asked: Set<BlockHistory>): void {
    if (asked.has(this)) return;
    asked.add(this);
    for (const value of this.#initial) to.add(value);
    for (const { change, value, source } of this.#clusters)
      if (change.never) continue;
      else if (value !== undefined) to.add(value);
      else source!.#addValues(to, asked);
  }

  /** The change that stands for what was there before all others; undefined while that is open. */
  #first: Change | undefined = undefined;

  #settleInitial(): Cluster {
    const [value] = this.#initial;
    const name = this.#since === 0 ? 'what was there first' : 'what the power cut left';
    const start = -1;
    this.#first = {
      name,
      start,
      end: this.#since,
      closes: Infinity,
      durable: true,
      never: false,
    };
    const cluster = {
      change: this.#first,
      value,
      source: undefined,
      readEnd: Infinity,
      readStart: -Infinity,
    };
    this.#clusters.unshift(cluster);
    return cluster;
  }

  /** See above: `first` is Infinity when there is no zone yet. */
  #zone({ change, readEnd, readStart }: Cluster): { first: number; last: number } {
    if (change.repeats?.() === true) {
      const over = overAt(change);
      if (over !== Infinity && readStart > over) return { first: over, last: readStart };
      return { first: change.end, last: change.start };
    }
    const { fenced = Infinity, shutAt = Infinity } = change;
    const read = readEnd === Infinity ? Infinity : Math.min(readEnd, change.closes, fenced, shutAt);
    return {
      first: Math.min(change.end === Infinity ? Infinity : overAt(change), read),
      last: Math.max(change.start, readStart),
    };
  }

  #check(cluster: Cluster): string | undefined {
    const { first, last } = this.#zone(cluster);
    if (first === Infinity) return undefined;
    for (const other of this.#clusters) {
      const zone = this.#zone(other);
      if (other === cluster || zone.first === Infinity || maybeSame(cluster, other)) continue;
      const forward = first < last;
      const wrong = (forward || zone.first < zone.last) && first < zone.last && zone.first < last;
      if (!wrong) continue;
      const [held, hidden] = forward ? [cluster, other] : [other, cluster];
      return `${this.#tell(held)}, but ${this.#tell(hidden)} in between`;
    }
    return undefined;
  }

  #tell(cluster: Cluster): string {
    const at = (micros: number): string => (micros / 1e6).toFixed(6);
    const { first, last } = this.#zone(cluster);
    const { name } = cluster.change;
    return first < last
      ? `${name} was there by ${at(first)} s and still at ${at(last)} s`
      : `${name} happened between ${at(last)} and ${at(first)} s`;
  }

  /** Several changes may have left what was read; one of them that was not overwritten before is enough. */
  #readAmbiguous(value: number, start: number): string | undefined {
    const hidden = (over: number): boolean =>
      this.#clusters.some((other) => other.change.start > over && this.#zone(other).first < start);
    if (this.#initial.has(value) && !hidden(this.#since)) return undefined;
    for (const each of this.#clusters) {
      const { change } = each;
      if (change.never || change === this.#first || !mayBe(each, value)) continue;
      if (!hidden(overAt(change))) return undefined;
    }
    const what = value === 0 ? 'zeroes' : `value ${value}`;
    return `holds ${what}, but everything that may have made them was overwritten before`;
  }
}

/** When it cannot happen any more; Infinity: it still can. */
const overAt = ({ end, closes, fenced = Infinity, shutAt = Infinity }: Change): number =>
  Math.min(end === Infinity ? closes : end, fenced, shutAt);

/** Whether it may have left the value: of a copy, as far as one knows. */
const mayBe = ({ change, value, source }: Cluster, wanted: number, asked?: Set<BlockHistory>): boolean =>
  value === undefined ? source!.mayHold(wanted, overAt(change), asked) : value === wanted;

/** A copy may have brought what was there already: then nobody can tell that it happened in between. */
function maybeSame(one: Cluster, other: Cluster): boolean {
  if (one.source === undefined && other.source === undefined) return false;
  if (one.value !== undefined) return mayBe(other, one.value);
  return other.value === undefined || mayBe(one, other.value);
}
