/**
 * What the reservations of one namespace may be, from what its hosts asked and were told: every state that some order of
 * the actions leads to (Wing and Gong, "Testing and verifying concurrent objects"). An answer that fits none of them is
 * wrong, and so is an I/O that was let through, or was refused, while no state says so.
 */
import {
  NOTHING_HELD,
  act,
  allows,
  heldText,
  restarted,
  type Asked,
  type Held,
} from './reservation-model.ts';
import type { Op, Report } from './oracle.ts';

/** An action that was asked for, and is not known to be over. */
interface Pending {
  readonly id: number;
  readonly host: string;
  readonly action: Asked;
  /** Nothing of it can be under way any more. */
  over: () => boolean;
}

/** A state, and the pending actions that led to it: what their hosts will be told, and whose commands they abort. */
interface Possible {
  readonly held: Held;
  readonly done: ReadonlyMap<number, { readonly answer: string; readonly gone: readonly string[] }>;
}

/** An I/O, and whether the reservation let it through at some time, or refused it. */
interface Watched {
  readonly op: Op;
  readonly host: string;
  readonly group: 'read' | 'write';
}

export class ReservationOracle {
  readonly name: string;
  readonly #report: Report;
  #possible: Possible[] = [{ held: NOTHING_HELD, done: new Map() }];
  readonly pending = new Map<number, Pending>();
  readonly #watched = new Set<Watched>();
  /** Somebody was preempted with his commands. */
  aborted = false;

  constructor(name: string, report: Report) {
    this.name = name;
    this.#report = report;
  }

  /** One of the states that it may be in. */
  get some(): Held {
    return this.#possible[0]!.held;
  }

  // ---- actions

  begin(id: number, host: string, action: Asked, over: () => boolean): void {
    this.pending.set(id, { id, host, action, over });
    this.#close();
  }

  /** It was answered. */
  answered(id: number, answer: string, now: number): void {
    const { host, action } = this.pending.get(id)!;
    const left = this.#possible.filter(({ done }) => done.get(id)?.answer === answer);
    if (left.length === 0) {
      const could = [...new Set(this.#possible.map(({ done }) => done.get(id)?.answer ?? 'nothing'))];
      this.#report(
        'RESERVATION',
        `${action.name} #${id} of ${host} on ${this.name} was answered with ${answer}, not ${could.join(', or ')}`,
        [this.name, `#${id} `],
      );
      return;
    }
    this.#possible = left;
    if (action.name === 'preempt' && action.abort) this.#fence(id, now);
    this.#forget(id);
  }

  /** It was not carried out, and will not be. */
  refused(id: number): void {
    this.#possible = this.#possible.filter(({ done }) => !done.has(id));
    this.#forget(id);
  }

  /** Looks for actions whose outcome is unknown, and that cannot happen any more. */
  closeUnknown(): void {
    for (const { id, over } of this.pending.values()) if (over()) this.#forget(id);
  }

  #forget(id: number): void {
    this.pending.delete(id);
    this.#set(
      this.#possible.map(({ held, done }) => ({
        held,
        done: new Map([...done].filter(([each]) => each !== id)),
      })),
    );
  }

  // ---- what the world does

  /** The target's process ended. */
  targetEnded(): void {
    this.#set(this.#possible.map(({ held, done }) => ({ held: restarted(held), done })));
    this.#close();
  }

  /** The namespace is taken away for good; `known`: nothing is kept of it any more. */
  removed(known: boolean): void {
    const gone = this.#possible.map(({ done }) => ({ held: NOTHING_HELD, done }));
    this.#set(known ? gone : [...this.#possible, ...gone]);
    this.#close();
  }

  // ---- I/O

  watch(op: Op, host: string): void {
    const group = op.kind === 'read' || op.kind === 'verify' ? 'read' : 'write';
    this.#watched.add({ op, host, group });
    this.#look();
  }

  /** Every pending action happens, or not yet, in any order. */
  #close(): void {
    const known = new Set(this.#possible.map(textOf));
    for (const { held, done } of this.#possible)
      for (const { id, host, action } of this.pending.values()) {
        if (done.has(id)) continue;
        const { held: next, answer, gone } = act(held, host, action);
        const aborted = action.name === 'preempt' && action.abort ? gone : [];
        this.aborted ||= aborted.length > 0;
        const possible = { held: next, done: new Map(done).set(id, { answer, gone: aborted }) };
        const text = textOf(possible);
        if (known.has(text)) continue;
        known.add(text);
        this.#possible.push(possible);
      }
    this.#look();
  }

  #set(possible: readonly Possible[]): void {
    this.#possible = [...new Map(possible.map((each) => [textOf(each), each])).values()];
  }

  #look(): void {
    for (const watched of this.#watched) {
      const { op, host, group } = watched;
      if (isOver(op)) {
        this.#watched.delete(watched);
        continue;
      }
      for (const { held, done } of this.#possible) {
        for (const { gone } of done.values()) op.gates.preempted ||= gone.includes(host);
        if (allows(held, host, group)) {
          op.gates.allowed = true;
          // What arrives from now on may be carried out again.
          if (op.change !== undefined) op.change.fenced = Infinity;
        } else op.gates.refused = true;
      }
    }
  }

  /** Preempt and Abort was answered: nothing of the hosts that lost their registration is under way any more. */
  #fence(id: number, now: number): void {
    for (const { op, host } of this.#watched) {
      if (op.change === undefined || isOver(op)) continue;
      const shut = this.#possible.every(
        ({ held, done }) => done.get(id)!.gone.includes(host) && !allows(held, host, 'write'),
      );
      if (shut) op.change.fenced = now;
    }
  }
}

function isOver({ change, gates }: Op): boolean {
  if (!gates.over) return false;
  return change === undefined || change.never || change.end !== Infinity || change.closes !== Infinity;
}

const textOf = ({ held, done }: Possible): string =>
  `${heldText(held)} ${held.holder ?? ''} ${[...done]
    .map(([id, { answer, gone }]) => `#${id}: ${answer} ${gone.join(' ')}`)
    .sort()
    .join(', ')}`;
