import * as fc from 'fast-check';
import t from 'tap';
import { ReservationLogType } from '../../src/nvme/logs.ts';
import {
  ReservationType as Type,
  decodeReservationReport,
  encodeReservationReport,
  isAllRegistrants,
} from '../../src/nvme/reservation.ts';
import { DecodeError } from '../../src/nvme/decode-error.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import {
  NO_RESERVATION,
  gates,
  isHolder,
  reservationInvariants,
  transition,
  type Outcome,
  type Reservation,
  type ReservationAction,
} from '../../src/target/reservation.ts';
import { factsOf, fromFacts } from '../../src/target/reservation-facts.ts';

const host = (digit: string): string => `${digit.repeat(8)}-1111-2222-3333-444444444444`;
const A = host('a');
const B = host('b');
const C = host('c');
const MOST = 8;
const CONFLICT = Status.ReservationConflict | DNR;
const INVALID = Status.InvalidField | DNR;
const TYPES = [1, 2, 3, 4, 5, 6];
const SINGLE = TYPES.filter((rtype) => !isAllRegistrants(rtype));
const { RegistrationPreempted, ReservationReleased, ReservationPreempted } = ReservationLogType;

/** The state after some actions, all of which succeed. */
function after(...steps: readonly (readonly [string, ReservationAction])[]): Reservation {
  return steps.reduce((state, [hostid, action]) => {
    const outcome = transition(state, hostid, action, MOST);
    if (outcome.status !== 0) throw new Error(`${action.name} by ${hostid}: ${outcome.status.toString(16)}`);
    return outcome.state;
  }, NO_RESERVATION);
}
const register = (nrkey: bigint): ReservationAction => ({ name: 'register', nrkey });
const acquire = (crkey: bigint, rtype: number): ReservationAction => ({ name: 'acquire', crkey, rtype });
const release = (crkey: bigint, rtype: number): ReservationAction => ({ name: 'release', crkey, rtype });
const clear = (crkey: bigint): ReservationAction => ({ name: 'clear', crkey });
const unregister = (crkey: bigint, ignoreKey = false): ReservationAction => ({
  name: 'unregister',
  crkey,
  ignoreKey,
});
const replace = (crkey: bigint, nrkey: bigint, ignoreKey = false): ReservationAction => ({
  name: 'replace',
  crkey,
  nrkey,
  ignoreKey,
});
const preempt = (crkey: bigint, prkey: bigint, rtype: number, abort = false): ReservationAction => ({
  name: 'preempt',
  crkey,
  prkey,
  rtype,
  abort,
});
const by = (state: Reservation, hostid: string, action: ReservationAction): Outcome =>
  transition(state, hostid, action, MOST);

/** A, B and C are registered with keys 1, 2 and 3; A holds the type. */
const three = (rtype: number): Reservation =>
  after([A, register(1n)], [B, register(2n)], [C, register(3n)], [A, acquire(1n, rtype)]);
const shown = ({ registrants, rtype, holder }: Reservation): object => ({
  registrants: [...registrants],
  rtype,
  holder,
});

t.test('Register: a host may register its own key again, another one is a conflict', (t) => {
  const state = after([A, register(1n)]);
  t.same([...state.registrants], [[A, 1n]]);
  t.equal(by(state, A, register(1n)).status, 0);
  t.equal(by(state, A, register(2n)).status, CONFLICT);
  t.equal(by(state, B, register(1n)).status, 0, 'two hosts may have the same key');
  t.equal(by(state, B, register(0n)).status, INVALID, 'key 0 names nobody');
  t.end();
});

t.test('Register: what is kept is bounded', (t) => {
  let state = NO_RESERVATION;
  for (let i = 0; i < MOST; i++) state = by(state, host(i.toString(16)), register(1n)).state;
  t.equal(by(state, A, register(1n)).status, Status.InternalError | DNR);
  t.equal(by(state, A, replace(0n, 1n, true)).status, Status.InternalError | DNR);
  t.equal(by(state, host('0'), replace(1n, 2n)).status, 0, 'those who are there may go on');
  t.end();
});

t.test('Replace: CRKEY is the registered key, unless IEKEY', (t) => {
  const state = after([A, register(1n)]);
  t.same([...by(state, A, replace(1n, 5n)).state.registrants], [[A, 5n]]);
  t.equal(by(state, A, replace(2n, 5n)).status, CONFLICT);
  t.same([...by(state, A, replace(2n, 5n, true)).state.registrants], [[A, 5n]]);
  t.equal(by(state, B, replace(1n, 5n)).status, CONFLICT, 'who is not registered has no key');
  t.same(
    [...by(state, B, replace(0n, 5n, true)).state.registrants.keys()],
    [A, B],
    'IEKEY: no key is no error',
  );
  t.equal(by(state, A, replace(1n, 0n)).status, INVALID);
  t.equal(by(three(3), A, replace(1n, 9n)).state.holder, A, 'the holder stays the holder');
  t.end();
});

t.test('Unregister: CRKEY is the registered key, unless IEKEY', (t) => {
  const state = after([A, register(1n)]);
  t.equal(by(state, A, unregister(2n)).status, CONFLICT);
  t.equal(by(state, B, unregister(1n)).status, CONFLICT);
  t.equal(by(state, A, unregister(1n)).state.registrants.size, 0);
  t.equal(by(state, A, unregister(2n, true)).state.registrants.size, 0);
  const stranger = by(state, B, { name: 'unregister', crkey: 2n, ignoreKey: true, ptpl: true });
  t.equal(stranger.status, CONFLICT, 'IEKEY or not: a host that is not registered');
  t.equal(stranger.state, state, 'changes nothing, PTPL neither');
  t.end();
});

t.test('Unregister by the holder releases; those who shared its rights are told', (t) => {
  for (const rtype of SINGLE) {
    const { state, notices } = by(three(rtype), A, unregister(1n));
    t.equal(state.rtype, Type.None);
    t.same(
      notices,
      rtype >= 3
        ? [
            { hostid: B, type: ReservationReleased },
            { hostid: C, type: ReservationReleased },
          ]
        : [],
      `type ${rtype}`,
    );
    const other = by(three(rtype), B, unregister(2n));
    t.same([other.state.rtype, other.state.holder, other.notices], [rtype, A, []], 'another one only leaves');
  }
  t.end();
});

t.test('Unregister with all registrants: the reservation goes with the last of them', (t) => {
  for (const rtype of [5, 6]) {
    let state = three(rtype);
    for (const [hostid, key] of [
      [A, 1n],
      [B, 2n],
    ] as const) {
      const outcome = by(state, hostid, unregister(key));
      t.same(outcome.notices, []);
      state = outcome.state;
      t.equal(state.rtype, rtype);
    }
    t.equal(by(state, C, unregister(3n)).state.rtype, Type.None);
  }
  t.end();
});

t.test('Acquire: a registrant with its key, and only when nothing is held', (t) => {
  const state = after([A, register(1n)], [B, register(2n)]);
  for (const rtype of TYPES) {
    t.equal(by(state, C, acquire(1n, rtype)).status, CONFLICT, 'not registered');
    t.equal(by(state, A, acquire(2n, rtype)).status, CONFLICT, 'another key');
    const { state: held, status } = by(state, A, acquire(1n, rtype));
    t.equal(status, 0);
    t.equal(isHolder(held, A), true);
    t.equal(isHolder(held, B), isAllRegistrants(rtype));
    t.equal(by(held, A, acquire(1n, rtype)).status, 0, 'a holder may ask again for what it has');
    t.equal(by(held, A, acquire(1n, (rtype % 6) + 1)).status, CONFLICT, 'but not for another type');
    t.equal(by(held, B, acquire(2n, rtype)).status, isAllRegistrants(rtype) ? 0 : CONFLICT);
  }
  for (const rtype of [0, 7, 255]) t.equal(by(state, A, acquire(1n, rtype)).status, INVALID);
  t.end();
});

t.test('Release: by a holder, of the type that is held; for other registrants it does nothing', (t) => {
  for (const rtype of TYPES) {
    const state = three(rtype);
    t.equal(by(state, A, release(2n, rtype)).status, CONFLICT, 'another key');
    t.equal(by(state, host('d'), release(1n, rtype)).status, CONFLICT, 'not registered');
    t.equal(by(state, A, release(1n, (rtype % 6) + 1)).status, INVALID, 'another type');
    const { state: next, notices, status } = by(state, A, release(1n, rtype));
    t.same([status, next.rtype, next.holder, next.registrants.size], [0, Type.None, undefined, 3]);
    t.same(
      notices.map(({ hostid, type }) => [hostid, type]),
      rtype < 3
        ? []
        : [
            [B, ReservationReleased],
            [C, ReservationReleased],
          ],
    );
    t.equal(by(next, A, release(1n, rtype)).status, 0, 'nothing is held: nothing is released');
    const byOther = by(state, B, release(2n, rtype));
    t.equal(byOther.status, 0);
    t.equal(byOther.state.rtype, isAllRegistrants(rtype) ? Type.None : rtype);
  }
  t.end();
});

t.test('Clear: by any registrant, takes the reservation and every registration; the others are told', (t) => {
  for (const state of [three(1), three(6), after([A, register(1n)], [B, register(2n)])]) {
    t.equal(by(state, B, clear(1n)).status, CONFLICT);
    const { state: next, notices } = by(state, B, clear(2n));
    t.same(shown(next), { registrants: [], rtype: Type.None, holder: undefined });
    t.same(new Set(notices.map(({ type }) => type)), new Set([ReservationPreempted]));
    t.notOk(notices.some(({ hostid }) => hostid === B));
    t.equal(notices.length, state.registrants.size - 1);
  }
  t.end();
});

t.test('Preempt by the holder’s key takes the reservation, and every registration with that key', (t) => {
  for (const from of SINGLE)
    for (const to of TYPES) {
      const state = by(three(from), host('d'), register(1n)).state;
      const { state: next, notices, abort } = by(state, B, preempt(2n, 1n, to, true));
      t.same(shown(next), {
        registrants: [
          [B, 2n],
          [C, 3n],
        ],
        rtype: to,
        holder: isAllRegistrants(to) ? undefined : B,
      });
      t.same(abort, [A, host('d')]);
      t.same(notices, [
        { hostid: A, type: RegistrationPreempted },
        { hostid: host('d'), type: RegistrationPreempted },
        ...(from === to ? [] : [{ hostid: C, type: ReservationReleased }]),
      ]);
    }
  t.end();
});

t.test('Preempt by the key of somebody else takes registrations only', (t) => {
  for (const from of SINGLE) {
    const { state, notices, abort } = by(three(from), B, preempt(2n, 3n, 6));
    t.same(shown(state), {
      registrants: [
        [A, 1n],
        [B, 2n],
      ],
      rtype: from,
      holder: A,
    });
    t.same(notices, [{ hostid: C, type: RegistrationPreempted }]);
    t.same(abort, [], 'plain Preempt aborts nothing');
    t.equal(by(three(from), B, preempt(2n, 9n, 1)).status, CONFLICT, 'nobody has that key');
    t.equal(by(three(from), B, preempt(2n, 0n, 1)).status, INVALID, 'key 0 is for all registrants only');
    t.equal(by(three(from), B, preempt(3n, 1n, 1)).status, CONFLICT, 'CRKEY is not ours');
    t.equal(by(three(from), host('d'), preempt(2n, 1n, 1)).status, CONFLICT, 'not registered');
    t.equal(by(three(from), B, preempt(2n, 1n, 0)).status, INVALID, 'not a type');
  }
  t.end();
});

t.test('Preempt of one’s own reservation changes its type; others with that key go', (t) => {
  const state = by(three(1), host('d'), register(1n)).state;
  const { state: next, notices, abort } = by(state, A, preempt(1n, 1n, 3, true));
  t.same(shown(next), {
    registrants: [
      [A, 1n],
      [B, 2n],
      [C, 3n],
    ],
    rtype: 3,
    holder: A,
  });
  t.same(abort, [host('d')]);
  t.same(notices, [
    { hostid: host('d'), type: RegistrationPreempted },
    { hostid: B, type: ReservationReleased },
    { hostid: C, type: ReservationReleased },
  ]);
  t.same(by(three(1), A, preempt(1n, 1n, 1)).notices, [], 'the same type: nobody lost anything');
  t.end();
});

t.test('Preempt with all registrants: key 0 takes everything, another key its registrations', (t) => {
  for (const from of [5, 6]) {
    const all = by(three(from), B, preempt(2n, 0n, 2, true));
    t.same(shown(all.state), { registrants: [[B, 2n]], rtype: 2, holder: B });
    t.same(all.abort, [A, C]);
    t.same(
      all.notices.map(({ type }) => type),
      [RegistrationPreempted, RegistrationPreempted],
    );
    const one = by(three(from), B, preempt(2n, 1n, 2));
    t.same(shown(one.state), {
      registrants: [
        [B, 2n],
        [C, 3n],
      ],
      rtype: from,
      holder: undefined,
    });
    t.equal(by(three(from), B, preempt(2n, 9n, 2)).status, CONFLICT);
    const own = by(three(from), B, preempt(2n, 2n, 2, true));
    t.same([...own.state.registrants.keys()], [A, C], 'one’s own key takes one’s own registration');
    t.same([own.notices, own.abort], [[], []], 'but no notice, and nothing of ours is aborted');
  }
  t.end();
});

t.test('Preempt where nothing is held takes registrations', (t) => {
  const state = after([A, register(1n)], [B, register(2n)]);
  const outcome = by(state, B, preempt(2n, 1n, 1));
  t.same(shown(outcome.state), { registrants: [[B, 2n]], rtype: Type.None, holder: undefined });
  t.equal(by(state, B, preempt(2n, 0n, 1)).status, CONFLICT);
  t.end();
});

t.test('the generation counts register actions, both preempts and Clear; not Acquire and Release', (t) => {
  let state = NO_RESERVATION;
  const does = (hostid: string, action: ReservationAction): number => {
    state = by(state, hostid, action).state;
    return state.generation;
  };
  // The walk of blktests nvme/054.
  t.equal(does(A, register(1n)), 1);
  t.equal(does(A, replace(1n, 2n)), 2);
  t.equal(does(A, unregister(2n)), 3);
  t.equal(does(A, register(1n)), 4);
  t.equal(does(A, acquire(1n, 1)), 4);
  t.equal(does(A, preempt(1n, 1n, 2)), 5);
  t.equal(does(A, release(1n, 2)), 5);
  t.equal(does(A, { name: 'persist', ptpl: true }), 5);
  t.equal(does(A, clear(1n)), 6);
  t.equal(does(B, clear(1n)), 6, 'what fails does not count');
  t.equal(by({ ...state, generation: 0xffffffff }, A, register(1n)).state.generation, 0, 'it wraps');
  t.end();
});

t.test('CPTPL and the feature change the PTPL state, other commands keep it', (t) => {
  const on = by(NO_RESERVATION, A, { name: 'register', nrkey: 1n, ptpl: true }).state;
  t.equal(on.ptpl, true);
  t.equal(by(on, A, acquire(1n, 1)).state.ptpl, true);
  t.equal(by(on, A, clear(1n)).state.ptpl, true);
  t.equal(by(on, A, replace(1n, 2n)).state.ptpl, true);
  t.equal(by(on, A, { name: 'unregister', crkey: 1n, ignoreKey: false, ptpl: false }).state.ptpl, false);
  t.equal(by(on, B, { name: 'persist', ptpl: false }).state.ptpl, false);
  t.equal(
    by(on, A, { name: 'register', nrkey: 7n, ptpl: false }).state.ptpl,
    true,
    'a conflict changes nothing',
  );
  t.end();
});

// Base 2.1, figure 646, and figure 645 for the holder: allowed or in conflict for reads and writes.
const MATRIX: readonly (readonly [rtype: number, holder: string, registrant: string, other: string])[] = [
  [Type.WriteExclusive, 'AA', 'AC', 'AC'],
  [Type.ExclusiveAccess, 'AA', 'CC', 'CC'],
  [Type.WriteExclusiveRegistrantsOnly, 'AA', 'AA', 'AC'],
  [Type.ExclusiveAccessRegistrantsOnly, 'AA', 'AA', 'CC'],
  [Type.WriteExclusiveAllRegistrants, 'AA', 'AA', 'AC'],
  [Type.ExclusiveAccessAllRegistrants, 'AA', 'AA', 'CC'],
];
for (const [rtype, ...expected] of MATRIX)
  t.test(`reservation type ${rtype}: reads and writes of the holder, a registrant, another host`, (t) => {
    const state = three(rtype);
    [A, B, host('d')].forEach((hostid, i) => {
      const { read, write } = gates(state, hostid);
      t.equal([read, write].map((status) => (status === 0 ? 'A' : 'C')).join(''), expected[i]);
      for (const status of [read, write]) t.ok(status === 0 || status === CONFLICT);
    });
    t.same(gates({ ...state, rtype: 0, holder: undefined }, host('d')), { read: 0, write: 0 });
    t.end();
  });

// ---- against a model that is written another way

/** Says what each sentence of the specification says, over sets, with the holders as one of them. */
class Model {
  keys = new Map<string, bigint>();
  holders = new Set<string>();
  rtype = 0;
  generation = 0;
  told: string[] = [];
  aborted = new Set<string>();

  /** True: success. */
  do(me: string, action: ReservationAction): boolean {
    this.told = [];
    this.aborted.clear();
    const mine = this.keys.get(me);
    const before = { rtype: this.rtype, holders: new Set(this.holders) };
    const ours = 'crkey' in action && mine === action.crkey;
    const ignored = 'ignoreKey' in action && action.ignoreKey;
    if (action.name !== 'register' && action.name !== 'persist' && !ours && !ignored) return false;
    if ('nrkey' in action && action.nrkey === 0n) return false;
    if (action.name === 'unregister' && mine === undefined) return false;
    if ((action.name === 'acquire' || action.name === 'preempt') && (action.rtype < 1 || action.rtype > 6))
      return false;
    if (action.name === 'persist') return true;
    if (action.name === 'register') {
      if (mine !== undefined && mine !== action.nrkey) return false;
      this.enter(me, action.nrkey);
    } else if (action.name === 'replace') this.enter(me, action.nrkey);
    else if (action.name === 'unregister') {
      this.leave(me);
      if (before.rtype >= 3 && this.rtype === 0) this.tell(me, this.keys.keys(), 'released');
    } else if (action.name === 'acquire') {
      if (this.rtype === 0) this.take(me, action.rtype);
      return this.rtype === action.rtype && this.holders.has(me);
    } else if (action.name === 'release') {
      if (!this.holders.has(me)) return true;
      if (this.rtype !== action.rtype) return false;
      this.drop();
      if (before.rtype >= 3) this.tell(me, this.keys.keys(), 'released');
      return true;
    } else if (action.name === 'clear') {
      this.tell(me, this.keys.keys(), 'preempted');
      this.keys.clear();
      this.drop();
    } else {
      const { prkey, rtype, abort } = action;
      const allHold = this.rtype >= 5;
      const holderKeys = new Set([...this.holders].map((each) => this.keys.get(each)));
      const wins = allHold ? prkey === 0n : holderKeys.has(prkey);
      if (!wins && this.rtype !== 0 && prkey === 0n) return false;
      const victims = [...this.keys.entries()]
        .filter(([each, key]) => (wins ? each !== me && (allHold || key === prkey) : key === prkey))
        .map(([each]) => each);
      if (!wins && victims.length === 0) return false;
      this.tell(me, victims, 'registration');
      for (const victim of victims) {
        if (abort && victim !== me) this.aborted.add(victim);
        this.leave(victim);
      }
      if (wins) {
        this.drop();
        this.take(me, rtype);
        if (rtype !== before.rtype) this.tell(me, this.keys.keys(), 'released');
      }
    }
    this.generation++;
    return true;
  }

  enter(me: string, key: bigint): void {
    this.keys.set(me, key);
    if (this.rtype >= 5) this.holders.add(me);
  }
  leave(me: string): void {
    this.keys.delete(me);
    this.holders.delete(me);
    if (this.holders.size === 0) this.rtype = 0;
  }
  take(me: string, rtype: number): void {
    this.rtype = rtype;
    this.holders = new Set(rtype >= 5 ? this.keys.keys() : [me]);
  }
  drop(): void {
    this.rtype = 0;
    this.holders.clear();
  }
  tell(me: string, hosts: Iterable<string>, what: string): void {
    for (const each of hosts) if (each !== me) this.told.push(`${each} ${what}`);
  }
}

const text = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? value.toString(16) : value);
const WHAT = ['', 'registration', 'released', 'preempted'];
const hosts = fc.constantFrom(A, B, C, host('d'));
const keys = fc.constantFrom(0n, 1n, 2n, 3n, 0xffffffffffffffffn);
const rtypes = fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7);
const actions: fc.Arbitrary<ReservationAction> = fc.oneof(
  fc.record({ name: fc.constant('register' as const), nrkey: keys }),
  fc.record({ name: fc.constant('unregister' as const), crkey: keys, ignoreKey: fc.boolean() }),
  fc.record({ name: fc.constant('replace' as const), crkey: keys, nrkey: keys, ignoreKey: fc.boolean() }),
  fc.record({ name: fc.constant('acquire' as const), crkey: keys, rtype: rtypes }),
  fc.record({
    name: fc.constant('preempt' as const),
    crkey: keys,
    prkey: keys,
    rtype: rtypes,
    abort: fc.boolean(),
  }),
  fc.record({ name: fc.constant('release' as const), crkey: keys, rtype: rtypes }),
  fc.record({ name: fc.constant('clear' as const), crkey: keys }),
  fc.record({ name: fc.constant('persist' as const), ptpl: fc.boolean() }),
);

t.test('random sequences agree with a model that is written another way', (t) => {
  // Hosts mostly use the key that they have, as otherwise nearly everything is a conflict.
  const step = fc.tuple(hosts, actions, fc.boolean());
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let state = NO_RESERVATION;
      const model = new Model();
      for (const [me, drawn, rightKey] of steps) {
        const key = state.registrants.get(me);
        const action = rightKey && key !== undefined && 'crkey' in drawn ? { ...drawn, crkey: key } : drawn;
        const outcome = transition(state, me, action, MOST);
        const worked = model.do(me, action);
        reservationInvariants(outcome.state);
        if ((outcome.status === 0) !== worked) return false;
        if (!worked && (outcome.state !== state || outcome.notices.length + outcome.abort.length > 0))
          return false;
        state = outcome.state;
        const mine = {
          keys: [...state.registrants],
          rtype: state.rtype,
          holders: [...state.registrants.keys()].filter((each) => isHolder(state, each)),
          generation: state.generation,
          told: outcome.notices.map(({ hostid, type }) => `${hostid} ${WHAT[type]}`).sort(),
          abort: [...outcome.abort].sort(),
        };
        const theirs = {
          keys: [...model.keys],
          rtype: model.rtype,
          holders: [...model.keys.keys()].filter((each) => model.holders.has(each)),
          generation: model.generation,
          told: worked ? [...model.told].sort() : [],
          abort: worked ? [...model.aborted].sort() : [],
        };
        if (JSON.stringify(mine, text) !== JSON.stringify(theirs, text))
          throw new Error(`${JSON.stringify(mine, text)}\nnot\n${JSON.stringify(theirs, text)}`);
      }
      return true;
    }),
    { numRuns: 3000 },
  );
  t.end();
});
t.test('what is kept comes back as it was; with PTPL off nothing is kept', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(hosts, actions), { maxLength: 30 }), (steps) => {
      let state: Reservation = NO_RESERVATION;
      for (const [me, action] of steps) state = transition(state, me, action, MOST).state;
      const facts = factsOf(state);
      if (!state.ptpl) return facts === undefined;
      const back = fromFacts(JSON.parse(JSON.stringify(facts)));
      t.same(back, state);
      return true;
    }),
    { numRuns: 300 },
  );
  t.same(fromFacts(undefined), NO_RESERVATION);
  t.end();
});

t.test('facts that cannot have been written are refused, not read as "no reservation"', (t) => {
  const right = { generation: 3, registrants: [[A, '1f']], rtype: 1, holder: A };
  t.equal(fromFacts(right).holder, A);
  const wrong: Record<string, unknown> = {
    text: 'reservation',
    null: null,
    generation: { ...right, generation: -1 },
    'a type': { ...right, rtype: 7 },
    'no registrants': { ...right, registrants: {} },
    'a registrant that is none': { ...right, registrants: [3] },
    'a Host ID': { ...right, registrants: [['x', '1']] },
    'a key': { ...right, registrants: [[A, 'xyz']] },
    'key 0': { ...right, registrants: [[A, '000']] },
    'a host twice': {
      ...right,
      registrants: [
        [A, '1'],
        [A, '2'],
      ],
    },
    'a holder who is not registered': { ...right, holder: B },
    'no holder': { ...right, holder: undefined },
    'a holder of all registrants': { ...right, rtype: 5 },
    'all registrants, and none': { ...right, rtype: 5, holder: undefined, registrants: [] },
  };
  for (const [what, facts] of Object.entries(wrong)) t.throws(() => fromFacts(facts), RangeError, what);
  t.end();
});

t.test('the report: extended structures, as long as they are', (t) => {
  const report = {
    generation: 7,
    rtype: 3,
    ptpl: true,
    registrants: [
      { cntlid: 5, holder: true, hostid: A, rkey: 0x1122334455667788n },
      { cntlid: undefined, holder: false, hostid: B, rkey: 1n },
    ],
  };
  const bytes = encodeReservationReport(report);
  t.equal(bytes.length, 64 + 2 * 64);
  t.same([...bytes.subarray(0, 10)], [7, 0, 0, 0, 3, 2, 0, 0, 0, 1]);
  t.same(
    [...bytes.subarray(64, 80)],
    [5, 0, 1, 0, 0, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11],
  );
  t.same([...bytes.subarray(80, 84)], [0xaa, 0xaa, 0xaa, 0xaa]);
  t.same([...bytes.subarray(128, 131)], [0xff, 0xff, 0]);
  t.same(decodeReservationReport(bytes), { ...report, total: 2 });
  const cut = decodeReservationReport(bytes.subarray(0, 150));
  t.same([cut.registrants.length, cut.total], [1, 2], 'cut: fewer than there are');
  t.throws(() => decodeReservationReport(bytes.subarray(0, 63)), DecodeError);
  t.end();
});
