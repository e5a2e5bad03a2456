/**
 * What of a reservation survives a restart (Persist Through Power Loss): a part of the namespace's persisted facts.
 */
import { ReservationType, isAllRegistrants } from '../nvme/reservation.ts';
import { NO_RESERVATION, type Reservation } from './reservation.ts';

/** Keys in hexadecimal, as JSON has no 64-bit numbers. */
export interface ReservationFacts {
  readonly generation: number;
  readonly registrants: readonly (readonly [hostid: string, rkey: string])[];
  readonly rtype: number;
  readonly holder?: string | undefined;
}

/** What survives; undefined: nothing does. */
export function factsOf(state: Reservation): ReservationFacts | undefined {
  if (!state.ptpl) return undefined;
  const { generation, registrants, rtype, holder } = state;
  const entries = [...registrants].map(([hostid, rkey]) => [hostid, rkey.toString(16)] as const);
  return { generation, registrants: entries, rtype, ...(holder === undefined ? {} : { holder }) };
}

const HOSTID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The state that was kept. Throws RangeError when it cannot have been: a fence is not dropped silently. */
export function fromFacts(facts: unknown): Reservation {
  if (facts === undefined) return NO_RESERVATION;
  const check = (right: boolean, what: string): void => {
    if (!right) throw new RangeError(`reservation: ${what}`);
  };
  check(typeof facts === 'object' && facts !== null, 'not an object');
  const { generation, registrants, rtype, holder } = facts as Partial<
    Record<keyof ReservationFacts, unknown>
  >;
  check(isCount(generation, 0xffffffff), 'generation is not a 32-bit number');
  check(isCount(rtype, ReservationType.ExclusiveAccessAllRegistrants), 'rtype is not a reservation type');
  check(Array.isArray(registrants), 'registrants is not a list');
  const keys = new Map<string, bigint>();
  for (const entry of registrants as readonly unknown[]) {
    const [hostid, rkey] = Array.isArray(entry) ? (entry as readonly unknown[]) : [];
    check(typeof hostid === 'string' && HOSTID.test(hostid), 'a registrant without a Host ID');
    check(typeof rkey === 'string' && /^[0-9a-f]{1,16}$/.test(rkey) && !/^0+$/.test(rkey), 'a key is wrong');
    check(!keys.has(hostid as string), 'a Host ID is there twice');
    keys.set(hostid as string, BigInt(`0x${rkey as string}`));
  }
  const single = rtype !== ReservationType.None && !isAllRegistrants(rtype as number);
  check(
    single ? typeof holder === 'string' && keys.has(holder) : holder === undefined,
    'the holder does not fit the type',
  );
  check(!isAllRegistrants(rtype as number) || keys.size > 0, 'nobody holds it');
  return {
    generation: generation as number,
    ptpl: true,
    registrants: keys,
    rtype: rtype as number,
    holder: holder as string | undefined,
  };
}

const isCount = (value: unknown, most: number): boolean =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
