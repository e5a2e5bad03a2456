/**
 * What the specification says of reservations (NVMe Base 2.1, section 8.1.22), as one function: what an action makes of a
 * state. It is not the target's own, so that one finds the errors of the other.
 */
import type { ReservationAction } from '../../src/target/reservation.ts';
import type { ReservationReportData } from '../../src/nvme/reservation.ts';
import { Status } from '../../src/nvme/status.ts';

export interface Held {
  readonly generation: number;
  /** It survives the end of the target's process. */
  readonly ptpl: boolean;
  /** Keys by Host ID. */
  readonly keys: ReadonlyMap<string, bigint>;
  /** 0: nothing is held. */
  readonly type: number;
  /** Undefined for the types that every registrant holds. */
  readonly holder: string | undefined;
}

export const NOTHING_HELD: Held = {
  generation: 0,
  ptpl: false,
  keys: new Map(),
  type: 0,
  holder: undefined,
};

/** What a host is told: a status without DNR, or all that a report shows; and who lost its registration. */
export interface Told {
  readonly held: Held;
  readonly answer: string;
  readonly gone: readonly string[];
}

/** Write Exclusive and Exclusive Access, all registrants. */
const ofAll = (type: number): boolean => type === 5 || type === 6;

export const holds = ({ type, holder, keys }: Held, host: string): boolean =>
  ofAll(type) ? keys.has(host) : type !== 0 && holder === host;

/** Types 1, 3 and 5 keep others from writing, 2, 4 and 6 from reading too; of 3 to 6 registrants are not others. */
export function allows(held: Held, host: string, group: 'read' | 'write'): boolean {
  if (held.type === 0 || holds(held, host) || (held.type >= 3 && held.keys.has(host))) return true;
  return group === 'read' && held.type % 2 === 1;
}

/** In one line. */
export const reportText = ({ generation, rtype, ptpl, registrants }: ReservationReportData): string =>
  `generation ${generation}, type ${rtype}, ptpl ${ptpl ? 1 : 0}, ${registrants
    .map(({ hostid, rkey, holder }) => `${hostid.slice(-2)}:${rkey}${holder ? '*' : ''}`)
    .sort()
    .join(' ')}`;

/** As a report of it reads. */
export const heldText = (held: Held): string =>
  reportText({
    generation: held.generation,
    rtype: held.type,
    ptpl: held.ptpl,
    registrants: [...held.keys].map(([hostid, rkey]) => ({
      cntlid: undefined,
      holder: holds(held, hostid),
      hostid,
      rkey,
    })),
  });

const OK = 'status 0';
export const statusText = (status: number): string => `status ${status.toString(16)}`;
const CONFLICT = statusText(Status.ReservationConflict);
const INVALID = statusText(Status.InvalidField);

/** What a host may ask of reservations: actions, a report, and whether they persist (Get Features 83h). */
export type Asked = ReservationAction | { readonly name: 'report' } | { readonly name: 'persistence' };

export const persistenceText = (ptpl: boolean | number): string => `ptpl ${Number(ptpl)}`;

export function act(held: Held, host: string, action: Asked): Told {
  const { keys } = held;
  const refused = (answer: string): Told => ({ held, answer, gone: [] });
  const next = (change: Partial<Held>, gone: readonly string[] = []): Told => ({
    held: settled({ ...held, ...change }),
    answer: OK,
    gone,
  });
  const generation = (held.generation + 1) >>> 0;
  switch (action.name) {
    case 'report':
      return { held, answer: heldText(held), gone: [] };
    case 'persistence':
      return { held, answer: persistenceText(held.ptpl), gone: [] };
    case 'persist':
      return next({ ptpl: action.ptpl });
    case 'register': {
      const known = keys.get(host);
      if (known !== undefined && known !== action.nrkey) return refused(CONFLICT);
      return next({
        generation,
        keys: new Map(keys).set(host, action.nrkey),
        ptpl: action.ptpl ?? held.ptpl,
      });
    }
    case 'replace':
      if (!action.ignoreKey && keys.get(host) !== action.crkey) return refused(CONFLICT);
      return next({
        generation,
        keys: new Map(keys).set(host, action.nrkey),
        ptpl: action.ptpl ?? held.ptpl,
      });
  }
  // Everybody else shows the key that he is registered with.
  if (keys.get(host) !== action.crkey) return refused(CONFLICT);
  switch (action.name) {
    case 'unregister':
      return next({ generation, keys: without(keys, [host]), ptpl: action.ptpl ?? held.ptpl });
    case 'acquire':
      if (held.type === 0)
        return next({ type: action.rtype, holder: ofAll(action.rtype) ? undefined : host });
      return holds(held, host) && held.type === action.rtype ? next({}) : refused(CONFLICT);
    case 'release':
      if (!holds(held, host)) return next({});
      return held.type === action.rtype ? next({ type: 0 }) : refused(INVALID);
    case 'clear':
      return next({ generation, keys: new Map(), type: 0 });
    case 'preempt': {
      const { prkey, rtype } = action;
      const named = [...keys].filter(([, key]) => key === prkey).map(([each]) => each);
      const whole = ofAll(held.type) ? prkey === 0n : held.type !== 0 && keys.get(held.holder!) === prkey;
      if (!whole) {
        if (held.type !== 0 && prkey === 0n) return refused(INVALID);
        if (named.length === 0) return refused(CONFLICT);
        return next(
          { generation, keys: without(keys, named) },
          named.filter((each) => each !== host),
        );
      }
      const gone = (ofAll(held.type) ? [...keys.keys()] : named).filter((each) => each !== host);
      const holder = ofAll(rtype) ? undefined : host;
      return next({ generation, keys: without(keys, gone), type: rtype, holder }, gone);
    }
  }
}

const without = (keys: ReadonlyMap<string, bigint>, gone: readonly string[]): Map<string, bigint> =>
  new Map([...keys].filter(([host]) => !gone.includes(host)));

/** A reservation goes with its holder, or with the last of its holders. */
function settled(held: Held): Held {
  const { type, holder, keys } = held;
  const kept = type !== 0 && (ofAll(type) ? keys.size > 0 : keys.has(holder!));
  return kept ? held : { ...held, type: 0, holder: undefined };
}

/** What is left when the process of the target ends. */
export const restarted = (held: Held): Held => (held.ptpl ? held : NOTHING_HELD);
