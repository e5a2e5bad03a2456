/**
 * What the write protection of one namespace may be (Base 2.1, section 8.1.16), from what its hosts asked and were told:
 * every state that some order of the Set Features leads to. A write that succeeds did so while one of them let it
 * through; one that was refused, while one of them did not; and when the protection is answered, nothing is under way.
 */
import { WriteProtectionState } from '../../src/nvme/features.ts';
import type { Op, Report } from './oracle.ts';

const { None, Protected, UntilPowerCycle, Permanent } = WriteProtectionState;
const STATES = [None, Protected, UntilPowerCycle, Permanent] as const;

/** What survives a restart. */
const keptOf = (state: number): number => (state === Protected || state === Permanent ? state : None);

/** `early`: true, but a restart may still undo it. */
type Outcome = 'kept' | 'early' | 'refused';

interface Possible {
  readonly now: number;
  readonly kept: number;
  readonly done: ReadonlyMap<number, Outcome>;
}

interface Pending {
  readonly to: number;
  readonly start: number;
  /** Nothing of it can be under way any more. */
  readonly over: () => boolean;
  /** Another one was under way as well. */
  company: boolean;
  /** Its target is gone. */
  dead: boolean;
}

/** A look at the state, and what it may see. */
export interface Look {
  readonly values: Set<number>;
  readonly version: number;
}

export class ProtectionOracle {
  readonly name: string;
  readonly #report: Report;
  #possible: Possible[] = [{ now: None, kept: None, done: new Map() }];
  readonly #pending = new Map<number, Pending>();
  readonly #watched = new Set<Op>();
  readonly #looks = new Set<Look>();
  #version = 0;
  /** It may have been protected at some time. */
  ever = false;

  constructor(name: string, report: Report) {
    this.name = name;
    this.#report = report;
  }

  /** One of the states that it may be in. */
  get some(): number {
    return this.#possible[0]!.now;
  }
  get pending(): number {
    return this.#pending.size;
  }

  // ---- Set Features

  begin(id: number, to: number, now: number, over: () => boolean): void {
    for (const each of this.#pending.values()) each.company = true;
    this.#pending.set(id, { to, start: now, over, company: this.#pending.size > 0, dead: false });
    this.#changed(this.#possible);
  }

  /** It succeeded, or the state cannot be changed. */
  answered(id: number, outcome: 'kept' | 'refused', now: number): void {
    const { to } = this.#pending.get(id)!;
    const left = this.#possible.filter(({ done }) => done.get(id) === outcome);
    if (left.length === 0)
      this.#report(
        'PROTECT',
        `write protection ${to} #${id} of ${this.name} was ${outcome}, but from no state that it may have had: ${this.#text()}`,
        [this.name, `#${id} `],
      );
    else this.#forget(id, left);
    const shut = this.#possible.every(({ now: state }) => state !== None);
    if (outcome !== 'kept' || to === None || !shut) return;
    for (const op of this.#watched) if (!isOver(op)) op.change!.shutAt = now;
  }

  /** It was not carried out, and will not be. */
  undone(id: number): void {
    const left = this.#possible.filter(({ done }) => !done.has(id));
    // Somebody was told of a state that was taken back.
    const anything = STATES.flatMap((now) =>
      [None, Protected, Permanent].map((kept) => ({ now, kept, done: new Map<number, Outcome>() })),
    );
    this.#forget(id, left.length > 0 ? left : anything);
  }

  /** Whether it had to share the namespace with another one. */
  hadCompany(id: number): boolean {
    return this.#pending.get(id)!.company;
  }

  closeUnknown(): void {
    for (const [id, { over }] of this.#pending) if (over()) this.#forget(id, this.#possible);
  }

  #forget(id: number, possible: readonly Possible[]): void {
    this.#pending.delete(id);
    this.#changed(
      possible.map((each) => ({ ...each, done: new Map([...each.done].filter(([other]) => other !== id)) })),
    );
  }

  // ---- Get Features

  look(): Look {
    const look = { values: new Set<number>(), version: this.#version };
    this.#looks.add(look);
    this.#tell();
    return look;
  }

  /** Undefined: it was not answered. */
  looked(look: Look, value: number | undefined): void {
    this.#looks.delete(look);
    if (value === undefined) return;
    if (!look.values.has(value))
      this.#report(
        'PROTECT',
        `${this.name} has write protection ${value}, not ${[...look.values].join(' or ')}`,
        [this.name],
      );
    else if (look.version === this.#version && this.#pending.size === 0)
      this.#changed(this.#possible.filter(({ now }) => now === value));
  }

  // ---- what the world does

  /** The target's process ended. */
  targetEnded(): void {
    for (const each of this.#pending.values()) each.dead = true;
    this.#changed(this.#possible.map(({ kept, done }) => ({ now: kept, kept, done })));
  }

  /** The namespace is taken away for good; `known`: nothing is kept of it any more. */
  removed(known: boolean): void {
    const gone = this.#possible.map(({ done }) => ({ now: None, kept: None, done }));
    if (known) for (const each of this.#pending.values()) each.dead = true;
    this.#changed(known ? gone : [...this.#possible, ...gone]);
  }

  // ---- I/O

  watch(op: Op): void {
    if (op.change === undefined) return;
    this.#watched.add(op);
    this.#tell();
  }

  /** Every pending change happens, or not yet, in any order. */
  #changed(possible: readonly Possible[]): void {
    this.#version++;
    const known = new Map<string, Possible>();
    const add = (each: Possible): void => {
      const text = `${each.now} ${each.kept} ${[...each.done].sort().join(' ')}`;
      if (known.has(text)) return;
      known.set(text, each);
      const { now, kept, done } = each;
      for (const [id, { to, dead }] of this.#pending) {
        if (done.has(id) || dead) continue;
        const as = (outcome: Outcome): ReadonlyMap<number, Outcome> => new Map(done).set(id, outcome);
        if (to !== now && (now === UntilPowerCycle || now === Permanent))
          add({ now, kept, done: as('refused') });
        else {
          add({ now: to, kept, done: as('early') });
          add({ now: to, kept: keptOf(to), done: as('kept') });
        }
      }
    };
    for (const each of possible) add(each);
    this.#possible = [...known.values()];
    this.#tell();
  }

  #tell(): void {
    for (const { now } of this.#possible) for (const { values } of this.#looks) values.add(now);
    const open = this.#possible.some(({ now }) => now === None);
    const shut = this.#possible.some(({ now }) => now !== None);
    this.ever ||= shut;
    for (const op of this.#watched) {
      op.gates.writable ||= open;
      op.gates.protected ||= shut;
      // What arrives from now on may be carried out again.
      if (open) op.change!.shutAt = Infinity;
      if (isOver(op)) this.#watched.delete(op);
    }
  }

  #text(): string {
    return [...new Set(this.#possible.map(({ now }) => now))].join(' or ');
  }
}

const isOver = ({ change, gates }: Op): boolean =>
  gates.over && (change!.never || change!.end !== Infinity || change!.closes !== Infinity);
