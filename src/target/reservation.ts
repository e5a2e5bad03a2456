/**
 * Reservations of one namespace as plain data (NVMe Base 2.1, section 8.1.22): who is registered, what is held, and
 * what each command makes of it. Nothing here waits, saves or sends; reservations.ts does.
 *
 * Everything is keyed by Host ID: a host with several controllers is one registrant (LIFE.7).
 */
import { ReservationLogType } from '../nvme/logs.ts';
import { ReservationType, isAllRegistrants } from '../nvme/reservation.ts';
import { DNR, Status } from '../nvme/status.ts';
import { assert } from '../runtime/assert.ts';

export interface Reservation {
  /** A 32-bit counter that wraps; Reservation Report shows it. */
  readonly generation: number;
  /** Registrations and the reservation survive a power loss. */
  readonly ptpl: boolean;
  /** Reservation keys by Host ID, in the order of registration. */
  readonly registrants: ReadonlyMap<string, bigint>;
  /** What is held; `ReservationType.None`: nothing. */
  readonly rtype: number;
  /** The one who holds it; undefined when nobody or every registrant does. */
  readonly holder: string | undefined;
}

export const NO_RESERVATION: Reservation = {
  generation: 0,
  ptpl: false,
  registrants: new Map(),
  rtype: ReservationType.None,
  holder: undefined,
};

/** What a host asks for. `ptpl` undefined: as it is. `ignoreKey`: CRKEY is not looked at. */
export type ReservationAction =
  | { readonly name: 'register'; readonly nrkey: bigint; readonly ptpl?: boolean | undefined }
  | {
      readonly name: 'unregister';
      readonly crkey: bigint;
      readonly ignoreKey: boolean;
      readonly ptpl?: boolean | undefined;
    }
  | {
      readonly name: 'replace';
      readonly crkey: bigint;
      readonly nrkey: bigint;
      readonly ignoreKey: boolean;
      readonly ptpl?: boolean | undefined;
    }
  | { readonly name: 'acquire'; readonly crkey: bigint; readonly rtype: number }
  | {
      readonly name: 'preempt';
      readonly crkey: bigint;
      readonly prkey: bigint;
      readonly rtype: number;
      /** The commands of those who lose their registration are aborted. */
      readonly abort: boolean;
    }
  | { readonly name: 'release'; readonly crkey: bigint; readonly rtype: number }
  | { readonly name: 'clear'; readonly crkey: bigint }
  /** Set Features, Reservation Persistence: any host may. */
  | { readonly name: 'persist'; readonly ptpl: boolean };

/** A reservation notification for every controller of a host. */
export interface Notice {
  readonly hostid: string;
  /** `ReservationLogType`. */
  readonly type: number;
}

export interface Outcome {
  /** For the host that asked; unless 0, nothing changed. */
  readonly status: number;
  readonly state: Reservation;
  readonly notices: readonly Notice[];
  /** Hosts whose commands are aborted before the answer. */
  readonly abort: readonly string[];
}

const CONFLICT = Status.ReservationConflict | DNR;
const INVALID = Status.InvalidField | DNR;

/** Does `action` for `hostid`; `most` registrants are kept. */
export function transition(
  state: Reservation,
  hostid: string,
  action: ReservationAction,
  most: number,
): Outcome {
  switch (action.name) {
    case 'register':
      return register(state, hostid, action, most);
    case 'unregister':
      return unregister(state, hostid, action);
    case 'replace':
      return replace(state, hostid, action, most);
    case 'acquire':
      return acquire(state, hostid, action);
    case 'preempt':
      return preempt(state, hostid, action);
    case 'release':
      return release(state, hostid, action);
    case 'clear':
      return clear(state, hostid, action);
    case 'persist':
      return changed(action.ptpl === state.ptpl ? state : { ...state, ptpl: action.ptpl });
  }
}

/** Whether the host holds the reservation, alone or with every other registrant. */
export const isHolder = ({ rtype, holder, registrants }: Reservation, hostid: string): boolean =>
  isAllRegistrants(rtype) ? registrants.has(hostid) : rtype !== ReservationType.None && holder === hostid;

const refused = (state: Reservation, status: number): Outcome => ({ status, state, notices: [], abort: [] });
const changed = (
  state: Reservation,
  notices: readonly Notice[] = [],
  abort: readonly string[] = [],
): Outcome => ({ status: 0, state, notices, abort });

/** Every register action, both preempts and Clear count; plain Acquire and Release do not. */
const counted = (state: Reservation): Reservation => ({
  ...state,
  generation: (state.generation + 1) >>> 0,
});

/** A notice for every registrant but the one who caused it. */
const tell = (registrants: Iterable<string>, but: string, type: number): Notice[] =>
  [...registrants].filter((hostid) => hostid !== but).map((hostid) => ({ hostid, type }));

/** A registered host's key is the one it shows. */
const keyFits = ({ registrants }: Reservation, hostid: string, crkey: bigint): boolean =>
  registrants.get(hostid) === crkey;

type Action<N extends ReservationAction['name']> = Extract<ReservationAction, { name: N }>;

// ---- Reservation Register

function register(
  state: Reservation,
  hostid: string,
  { nrkey, ptpl }: Action<'register'>,
  most: number,
): Outcome {
  // Key 0 names nobody: Preempt gives it a meaning of its own.
  if (nrkey === 0n) return refused(state, INVALID);
  const known = state.registrants.get(hostid);
  if (known !== undefined && known !== nrkey) return refused(state, CONFLICT);
  return withKey(state, hostid, nrkey, ptpl, most);
}

function replace(
  state: Reservation,
  hostid: string,
  { crkey, nrkey, ignoreKey, ptpl }: Action<'replace'>,
  most: number,
): Outcome {
  if (nrkey === 0n) return refused(state, INVALID);
  // With IEKEY the absence of a key is no error either: the host is registered by this.
  if (!ignoreKey && !keyFits(state, hostid, crkey)) return refused(state, CONFLICT);
  return withKey(state, hostid, nrkey, ptpl, most);
}

function withKey(
  state: Reservation,
  hostid: string,
  rkey: bigint,
  ptpl: boolean | undefined,
  most: number,
): Outcome {
  if (!state.registrants.has(hostid) && state.registrants.size >= most)
    return refused(state, Status.InternalError | DNR);
  const registrants = new Map(state.registrants).set(hostid, rkey);
  return changed(counted({ ...state, registrants, ptpl: ptpl ?? state.ptpl }));
}

function unregister(
  state: Reservation,
  hostid: string,
  { crkey, ignoreKey, ptpl }: Action<'unregister'>,
): Outcome {
  // IEKEY is about the key; who has none has nothing to give up, nor a say in what is kept (PTPL).
  const fits = ignoreKey ? state.registrants.has(hostid) : keyFits(state, hostid, crkey);
  if (!fits) return refused(state, CONFLICT);
  const next = counted({ ...without(state, [hostid]), ptpl: ptpl ?? state.ptpl });
  // Registrants lose what the reservation gave them, where it gave them something.
  const released = state.rtype !== ReservationType.None && next.rtype === ReservationType.None;
  return changed(next, released && sharesRights(state.rtype) ? releasedNotices(next, hostid) : []);
}

/** Takes registrations away. A reservation goes with its one holder, or with the last registrant. */
function without(state: Reservation, hosts: Iterable<string>): Reservation {
  const registrants = new Map(state.registrants);
  for (const hostid of hosts) registrants.delete(hostid);
  const { rtype, holder } = state;
  const held = isAllRegistrants(rtype)
    ? registrants.size > 0
    : holder !== undefined && registrants.has(holder);
  return held
    ? { ...state, registrants }
    : { ...state, registrants, rtype: ReservationType.None, holder: undefined };
}

/** All but Write Exclusive and Exclusive Access give registrants the rights of the holder. */
const sharesRights = (rtype: number): boolean => rtype >= ReservationType.WriteExclusiveRegistrantsOnly;

const releasedNotices = ({ registrants }: Reservation, by: string): Notice[] =>
  tell(registrants.keys(), by, ReservationLogType.ReservationReleased);

// ---- Reservation Acquire

const isType = (rtype: number): boolean =>
  rtype >= ReservationType.WriteExclusive && rtype <= ReservationType.ExclusiveAccessAllRegistrants;

const held = (rtype: number, hostid: string): Pick<Reservation, 'rtype' | 'holder'> => ({
  rtype,
  holder: isAllRegistrants(rtype) ? undefined : hostid,
});

function acquire(state: Reservation, hostid: string, { crkey, rtype }: Action<'acquire'>): Outcome {
  if (!isType(rtype)) return refused(state, INVALID);
  if (!keyFits(state, hostid, crkey)) return refused(state, CONFLICT);
  if (state.rtype === ReservationType.None) return changed({ ...state, ...held(rtype, hostid) });
  // A holder may ask again for what he has; for another type he releases or preempts.
  return isHolder(state, hostid) && state.rtype === rtype ? changed(state) : refused(state, CONFLICT);
}

function preempt(state: Reservation, hostid: string, action: Action<'preempt'>): Outcome {
  const { crkey, prkey, rtype, abort } = action;
  if (!isType(rtype)) return refused(state, INVALID);
  if (!keyFits(state, hostid, crkey)) return refused(state, CONFLICT);
  const { registrants, holder } = state;
  const all = isAllRegistrants(state.rtype);
  const others = [...registrants.keys()].filter((each) => each !== hostid);
  const named = [...registrants].filter(([, rkey]) => rkey === prkey).map(([each]) => each);

  // The reservation itself is preempted: by the holder's key, or by key 0 when all hold it.
  const takes = all ? prkey === 0n : holder !== undefined && registrants.get(holder) === prkey;
  if (!takes && state.rtype !== ReservationType.None && prkey === 0n) return refused(state, INVALID);
  // Registrations alone; that may take our own.
  if (!takes && named.length === 0) return refused(state, CONFLICT);

  const gone = !takes ? named : all ? others : named.filter((each) => each !== hostid);
  const left = without(state, gone);
  const next = counted(takes ? { ...left, ...held(rtype, hostid) } : left);
  const notices = tell(gone, hostid, ReservationLogType.RegistrationPreempted);
  if (takes && rtype !== state.rtype) notices.push(...releasedNotices(next, hostid));
  return changed(next, notices, abort ? gone.filter((each) => each !== hostid) : []);
}

// ---- Reservation Release

function release(state: Reservation, hostid: string, { crkey, rtype }: Action<'release'>): Outcome {
  if (!keyFits(state, hostid, crkey)) return refused(state, CONFLICT);
  // A registrant that holds nothing releases nothing, and that is no error.
  if (!isHolder(state, hostid)) return changed(state);
  if (state.rtype !== rtype) return refused(state, INVALID);
  const next: Reservation = { ...state, rtype: ReservationType.None, holder: undefined };
  return changed(next, sharesRights(rtype) ? releasedNotices(next, hostid) : []);
}

function clear(state: Reservation, hostid: string, { crkey }: Action<'clear'>): Outcome {
  if (!keyFits(state, hostid, crkey)) return refused(state, CONFLICT);
  const notices = tell(state.registrants.keys(), hostid, ReservationLogType.ReservationPreempted);
  return changed(counted(without(state, state.registrants.keys())), notices);
}

// ---- what others may do meanwhile

/** The commands that a reservation is about; all others are always allowed. */
export type AccessGroup = 'read' | 'write';

/** Statuses for a host's commands of either group, 0: allowed. */
export interface Gates {
  readonly read: number;
  readonly write: number;
}

const FREE: Gates = { read: 0, write: 0 };
const WRITES: Gates = { read: 0, write: CONFLICT };
const EVERYTHING: Gates = { read: CONFLICT, write: CONFLICT };

/** Base 2.1, figure 646: what is in conflict for a registrant that does not hold the reservation, and for others. */
const GATES: readonly (readonly [registrant: Gates, other: Gates])[] = [
  /* none */ [FREE, FREE],
  /* write exclusive */ [WRITES, WRITES],
  /* exclusive access */ [EVERYTHING, EVERYTHING],
  /* write exclusive, registrants only */ [FREE, WRITES],
  /* exclusive access, registrants only */ [FREE, EVERYTHING],
  /* write exclusive, all registrants */ [FREE, WRITES],
  /* exclusive access, all registrants */ [FREE, EVERYTHING],
];

export function gates(state: Reservation, hostid: string): Gates {
  if (isHolder(state, hostid)) return FREE;
  return GATES[state.rtype]![state.registrants.has(hostid) ? 0 : 1];
}

/** What is always true of a reservation. */
export function reservationInvariants({ rtype, holder, registrants, generation }: Reservation): void {
  assert(generation >= 0 && generation <= 0xffffffff, 'a generation has 32 bits');
  assert(rtype === ReservationType.None || isType(rtype), 'a reservation has a type');
  const single = rtype !== ReservationType.None && !isAllRegistrants(rtype);
  assert(single === (holder !== undefined), 'a reservation of one holder has one, others have none');
  assert(holder === undefined || registrants.has(holder), 'the holder is registered');
  assert(!isAllRegistrants(rtype) || registrants.size > 0, 'somebody holds the reservation');
  for (const rkey of registrants.values()) assert(rkey !== 0n, 'nobody is registered with key 0');
}
