/**
 * The reservations of a namespace at work: commands run one after the other in the order of arrival, each is on stable
 * storage before it is true where it must survive a power loss, and true before it is answered.
 *
 *     idle → saving (with PTPL) → aborting (Preempt and Abort) → idle
 */
import { reservationTypeName } from '../nvme/reservation.ts';
import { DNR, Status, statusName } from '../nvme/status.ts';
import { assert } from '../runtime/assert.ts';
import { machine, type Machine } from '../runtime/machine.ts';
import type { Env, IoDone, IoError } from '../runtime/ports.ts';
import { factsOf, fromFacts, type ReservationFacts } from './reservation-facts.ts';
import {
  gates,
  reservationInvariants,
  transition,
  type Gates,
  type Notice,
  type Outcome,
  type Reservation,
  type ReservationAction,
} from './reservation.ts';

const STATES = {
  idle: ['saving', 'aborting'],
  /** The new state is on its way to stable storage; the store's answer wakes it. */
  saving: ['idle', 'aborting'],
  /** It is true; commands of hosts that lost their registration end. The last of them wakes it. */
  aborting: ['idle'],
} as const;

/** What reservations need of the namespace that they are of. */
export interface ReservationPlace {
  readonly env: Pick<Env, 'clock' | 'trace'>;
  readonly name: string;
  /** It is taken out of its subsystem: nothing is kept of it any more. */
  readonly removed: boolean;
  /** Registrants, and commands that wait in line. */
  readonly limits: { readonly registrants: number; readonly reservationCommands: number };
  /** Keeps the facts; undefined: forgets them. */
  save(facts: ReservationFacts | undefined, done: IoDone): void;
  /** Gates are others than before. */
  changed(): void;
  notify(notice: Notice): void;
  /** Ends the commands of these hosts on the namespace; `done` when nothing of them executes any more. */
  abort(hosts: ReadonlySet<string>, done: () => void): void;
}

/** A command of a host. */
export interface ReservationRequest {
  readonly hostid: string;
  readonly action: ReservationAction;
  /** It is its turn: from here on it runs to its end, whatever becomes of the host. */
  started(): void;
  /** Called exactly once, unless it is withdrawn. */
  done(status: number): void;
}

export class Reservations {
  readonly #place: ReservationPlace;
  readonly #stage: Machine<keyof typeof STATES>;
  #state: Reservation;
  /** By who asks, in the order of arrival. */
  readonly #waiting = new Map<object, ReservationRequest>();
  #settling = false;

  /** Throws RangeError when the facts cannot have been written. */
  constructor(place: ReservationPlace, facts: unknown) {
    this.#place = place;
    this.#state = fromFacts(facts);
    this.#stage = machine(place.env, `reservations of ${place.name}`, STATES, 'idle');
  }

  get state(): Reservation {
    return this.#state;
  }

  /** For people, and for tests. */
  get stage(): keyof typeof STATES {
    return this.#stage.now;
  }

  /** Statuses for reads and writes of a controller's host. */
  gates({ hostid }: { readonly hostid: string }): Gates {
    return gates(this.#state, hostid);
  }

  /** Stands in line under the name `asker`, which is nobody else's meanwhile. */
  submit(asker: object, request: ReservationRequest): void {
    assert(!this.#waiting.has(asker), 'one request at a time');
    if (this.#waiting.size >= this.#place.limits.reservationCommands) {
      request.started();
      request.done(Status.CommandInterrupted);
      return;
    }
    this.#waiting.set(asker, request);
    this.#settle();
  }

  /** Takes a request out of the line; false: it is not there, perhaps because it has started. */
  withdraw(asker: object): boolean {
    return this.#waiting.delete(asker);
  }

  #settle(): void {
    // An answer may bring the next request: the loop that runs takes it.
    if (this.#settling) return;
    this.#settling = true;
    while (this.#stage.is('idle')) {
      const [next] = this.#waiting;
      if (next === undefined) break;
      this.#waiting.delete(next[0]);
      next[1].started();
      this.#run(next[1]);
    }
    this.#settling = false;
  }

  #run(request: ReservationRequest): void {
    if (this.#place.removed) {
      request.done(Status.InvalidNamespace | DNR);
      return;
    }
    const before = this.#state;
    const { hostid, action } = request;
    const outcome = transition(before, hostid, action, this.#place.limits.registrants);
    if (outcome.status !== 0 || outcome.state === before) {
      request.done(outcome.status);
      return;
    }
    // Without PTPL, before and after, nothing is kept and nothing has been.
    if (!before.ptpl && !outcome.state.ptpl) {
      this.#apply(request, outcome);
      return;
    }
    this.#stage.to('saving', action.name);
    this.#place.save(factsOf(outcome.state), (error) => {
      if (error === undefined) this.#apply(request, outcome);
      else this.#notKept(request, error);
    });
  }

  #apply(request: ReservationRequest, { state, notices, abort }: Outcome): void {
    this.#state = state;
    this.#log(request);
    this.#place.changed();
    for (const notice of notices) this.#place.notify(notice);
    if (abort.length === 0) {
      this.#end(request, 0);
      return;
    }
    this.#stage.to('aborting', `${abort.length} hosts were preempted`);
    this.#place.abort(new Set(abort), () => {
      this.#end(request, 0);
    });
  }

  /** Preempt and Clear take something from others, who will ask what became of it. */
  #log({ hostid, action }: ReservationRequest): void {
    const { trace } = this.#place.env;
    const level = action.name === 'preempt' || action.name === 'clear' ? 'info' : 'debug';
    if (level === 'info' || trace.debug)
      trace.event(level, 'reservation changed', {
        of: this.#place.name,
        by: hostid,
        action: action.name,
        now: reservationTypeName(this.#state.rtype),
        registrants: this.#state.registrants.size,
      });
  }

  /** What cannot be kept does not happen. What the store has meanwhile is replaced by the next that is kept. */
  #notKept(request: ReservationRequest, error: IoError): void {
    const status = Status.InternalError | DNR;
    this.#place.env.trace.event('error', 'a reservation cannot be kept', {
      of: this.#place.name,
      host: request.hostid,
      action: request.action.name,
      status: statusName(status),
      error: error.message,
    });
    this.#end(request, status);
  }

  #end(request: ReservationRequest, status: number): void {
    if (!this.#stage.is('idle')) this.#stage.to('idle', 'answered');
    request.done(status);
    this.#settle();
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    reservationInvariants(this.#state);
    assert(
      !this.#stage.is('idle') || this.#waiting.size === 0,
      'a request waits only while another one runs',
    );
  }
}
