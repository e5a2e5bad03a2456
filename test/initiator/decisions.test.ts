import t from 'tap';
import { AnaState } from '../../src/nvme/ana-log.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { isAnaStatus, retryDelay, verdict, type Ended } from '../../src/initiator/failover.ts';
import { Ghosts } from '../../src/initiator/ghost.ts';
import {
  candidates,
  classify,
  pick,
  select,
  type IoPolicy,
  type PathClass,
  type PathFacts,
} from '../../src/initiator/select.ts';
import { SeededRandom } from '../../src/runtime/memory/random.ts';

// ---- what one path is good for

const GOOD: PathFacts = {
  controller: 'live',
  lookedAt: true,
  ana: AnaState.Optimized,
  sameSize: true,
  resting: false,
};

/** In the order of the table in select.ts; each differs from a good path by as much bad as the rows below it. */
const classes: [string, Partial<PathFacts>, PathClass][] = [
  ['its controller goes, whatever else', { controller: 'ending', lookedAt: false, ana: undefined }, 'gone'],
  ['fast_io_fail_tmo is over', { controller: 'failed fast', ana: AnaState.PersistentLoss }, 'failed'],
  [
    'QUIESCE.5 its controller reconnects',
    { controller: 'returning', ana: AnaState.PersistentLoss },
    'waiting',
  ],
  ['QUIESCE.6 live, being revalidated', { lookedAt: false, ana: AnaState.PersistentLoss }, 'waiting'],
  ['its ANA log is not read yet', { ana: undefined }, 'waiting'],
  ['ANA persistent loss', { ana: AnaState.PersistentLoss, sameSize: false }, 'gone'],
  ['ANA inaccessible', { ana: AnaState.Inaccessible }, 'waiting'],
  ['ANA change', { ana: AnaState.Change }, 'waiting'],
  ['another size than the head', { sameSize: false }, 'waiting'],
  ['another size, non-optimized', { sameSize: false, ana: AnaState.NonOptimized }, 'waiting'],
  ['rests', { resting: true }, 'waiting'],
  ['ANA optimized', {}, 'optimized'],
  ['ANA non-optimized', { ana: AnaState.NonOptimized }, 'non-optimized'],
];
for (const [name, facts, is] of classes)
  t.test(`select: a path, ${name}: ${is}`, (t) => {
    t.equal(classify({ ...GOOD, ...facts }).is, is);
    t.end();
  });

const choices: [readonly PathClass[], readonly number[] | 'requeue' | 'fail'][] = [
  [[], 'fail'],
  [['gone'], 'fail'],
  [['failed'], 'fail'],
  [['failed', 'gone'], 'fail'],
  [['waiting'], 'requeue'],
  [['gone', 'waiting', 'failed'], 'requeue'],
  [['non-optimized'], [0]],
  [
    ['waiting', 'non-optimized', 'gone', 'non-optimized'],
    [1, 3],
  ],
  [['non-optimized', 'optimized'], [1]],
  [
    ['optimized', 'waiting', 'optimized', 'non-optimized'],
    [0, 2],
  ],
];
for (const [given, expected] of choices)
  t.test(`select: of ${given.join(', ') || 'no path'}: ${String(expected)}`, (t) => {
    const paths = given.map((is, index) => ({ is, index }));
    const found = candidates(paths);
    t.strictSame(typeof found === 'string' ? found : found.map(({ index }) => index), expected);
    t.end();
  });

/** Commands in flight of each candidate, which are preferred, the last one taken (-1: none): the one that is taken. */
const picks: [IoPolicy, readonly number[], readonly number[], number, number][] = [
  ['numa', [0, 0, 0], [], -1, 0],
  ['numa', [9, 0, 0], [], 0, 0],
  ['numa', [0, 9, 0], [], 1, 1],
  ['numa', [0, 0, 0], [], 7, 0],
  ['round-robin', [0, 0, 0], [], -1, 0],
  ['round-robin', [0, 9, 0], [], 0, 1],
  ['round-robin', [0, 0, 0], [], 2, 0],
  ['round-robin', [0, 0, 0], [], 7, 0],
  ['round-robin', [5], [], 0, 0],
  ['queue-depth', [3, 1, 2], [], 0, 1],
  ['queue-depth', [1, 1, 2], [], 1, 0],
  ['queue-depth', [2, 2, 0], [], -1, 2],
  ['preferred', [0, 0, 0], [], -1, 0],
  ['preferred', [0, 0, 0], [], 1, 1],
  ['preferred', [0, 9, 0], [1], 0, 1],
  ['preferred', [0, 0, 0], [1, 2], 2, 2],
  ['preferred', [0, 0, 0], [1, 2], 7, 1],
];
for (const [policy, inFlight, preferred, last, taken] of picks)
  t.test(
    `select: ${policy} of ${inFlight.join(' ')} in flight, preferred ${preferred.join(' ') || 'none'}, last ${last}: ${taken}`,
    (t) => {
      const paths = inFlight.map((count, index) => ({
        index,
        inFlight: count,
        preferred: preferred.includes(index),
        is: 'optimized' as const,
      }));
      const before = paths[last] ?? (last < 0 ? undefined : { ...paths[0]!, index: last });
      t.equal(pick(paths, policy, before).index, taken);
      t.equal((select(paths, policy, before) as { index: number }).index, taken);
      t.end();
    },
  );

t.test('select: an optimized path comes before a preferred one that is not', (t) => {
  const slow = { is: 'non-optimized' as const, inFlight: 0, preferred: true };
  const fast = { is: 'optimized' as const, inFlight: 9, preferred: false };
  t.equal(select([slow, fast], 'preferred', slow), fast);
  t.end();
});

// ---- what becomes of a command

const WRITE: Omit<Ended, 'status'> = {
  changes: true,
  repeatable: true,
  retries: 0,
  faulted: false,
  provable: true,
};
const READ = { ...WRITE, changes: false };
const COMPARE = { ...READ, repeatable: false };
const RESERVE = { ...WRITE, repeatable: false };
const { AbortedByHost, HostPathError } = Status;

const verdicts: [string, Ended, 'safe' | 'immediate', ReturnType<typeof verdict>][] = [
  ['success', { ...WRITE, status: 0 }, 'safe', 'complete'],
  ['a write that never left', { ...WRITE, status: HostPathError }, 'safe', 'failover'],
  [
    'a write that never left, nothing provable',
    { ...WRITE, status: HostPathError, provable: false },
    'safe',
    'failover',
  ],
  ['a Compare that never left', { ...COMPARE, status: HostPathError }, 'safe', 'failover'],
  ['a Compare that may have left', { ...COMPARE, status: AbortedByHost }, 'immediate', 'unknown'],
  ['a reservation that may have left', { ...RESERVE, status: AbortedByHost }, 'immediate', 'unknown'],
  [
    'GHOST.2 a read that may have left',
    { ...READ, status: AbortedByHost, provable: false },
    'safe',
    'failover',
  ],
  ['a write that may have left', { ...WRITE, status: AbortedByHost }, 'immediate', 'failover'],
  ['GHOST.2 a write that may have left', { ...WRITE, status: AbortedByHost }, 'safe', 'hold'],
  [
    'a write that may have left, KATO 0',
    { ...WRITE, status: AbortedByHost, provable: false },
    'safe',
    'unknown',
  ],
  ['a read, after a protocol fault', { ...READ, status: AbortedByHost, faulted: true }, 'safe', 'failover'],
  [
    'a read, after one protocol fault too many',
    { ...READ, status: AbortedByHost, faulted: true, retries: 5 },
    'safe',
    'unknown',
  ],
  ['a read, lost often', { ...READ, status: AbortedByHost, retries: 5 }, 'safe', 'failover'],
  ['DNR', { ...WRITE, status: Status.WriteFault | DNR }, 'safe', 'complete'],
  ['a path status with DNR', { ...WRITE, status: Status.InternalPathError | DNR }, 'safe', 'complete'],
  ['a path status', { ...WRITE, status: Status.InternalPathError, retries: 99 }, 'safe', 'failover'],
  ['an ANA status', { ...COMPARE, status: Status.AnaInaccessible }, 'safe', 'failover'],
  ['a status without DNR', { ...WRITE, status: Status.WriteFault, retries: 4 }, 'safe', 'retry'],
  ['repeated often enough', { ...WRITE, status: Status.WriteFault, retries: 5 }, 'safe', 'complete'],
  ['a Copy, or a reservation, that was begun', { ...RESERVE, status: Status.WriteFault }, 'safe', 'complete'],
  ['one that was not', { ...RESERVE, status: Status.TransientTransportError }, 'safe', 'retry'],
  ['a Compare that was answered', { ...COMPARE, status: Status.NamespaceNotReady }, 'safe', 'retry'],
];
for (const [name, ended, mode, then] of verdicts)
  t.test(`failover, ${mode}: ${name}: ${then}`, (t) => {
    t.equal(verdict(ended, mode, 5), then);
    t.end();
  });

t.test('the delay of a retry is what CRD selects of CRDT1 to CRDT3, in 100 ms', (t) => {
  const crdt = [1, 20, 300];
  t.strictSame(
    [0, 1, 2, 3].map((crd) => retryDelay(Status.NamespaceNotReady | (crd << 11), crdt)),
    [0, 100, 2000, 30_000],
  );
  t.strictSame([0x301, 0x302, 0x303, 0x4302, 0x300, 0x2].map(isAnaStatus), [
    true,
    true,
    true,
    true,
    false,
    false,
  ]);
  t.end();
});

// ---- blocks that wait

/** An association that dies when told. */
class Patient {
  readonly #waiting = new Set<(proved: boolean) => void>();
  whenDead(fn: (proved: boolean) => void): () => void {
    this.#waiting.add(fn);
    return () => this.#waiting.delete(fn);
  }
  die(): void {
    for (const fn of this.#waiting) fn(true);
  }
}

t.test('GHOST.3 blocks of a lost write wait until its association is dead, others do not', (t) => {
  let freed = 0;
  const ghosts = new Ghosts<Patient>(() => freed++);
  const [a, b] = [new Patient(), new Patient()];
  ghosts.add(a, [{ slba: 10, blocks: 5 }]);
  ghosts.add(a, [
    { slba: 20, blocks: 1 },
    { slba: 15, blocks: 5 },
  ]);
  ghosts.add(b, [{ slba: 12, blocks: 1 }]);
  t.strictSame(ghosts.list()[0]?.ranges, [{ slba: 10, blocks: 11 }]);
  const cover = (slba: number, blocks: number): boolean => ghosts.cover([{ slba, blocks }]);
  t.strictSame(
    [cover(9, 1), cover(9, 2), cover(20, 9), cover(21, 9), cover(0, 99)],
    [false, true, true, false, true],
  );
  a.die();
  t.strictSame([freed, cover(10, 2), cover(12, 1)], [1, false, true]);
  b.die();
  t.strictSame([freed, ghosts.empty], [2, true]);
  t.end();
});

t.test('the blocks that wait are those of every write, whatever their order', (t) => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = new SeededRandom(seed);
    const ghosts = new Ghosts<Patient>(() => undefined);
    const association = new Patient();
    const held = new Set<number>();
    for (let i = 0; i < 12; i++) {
      const slba = random.below(60);
      const blocks = 1 + random.below(8);
      ghosts.add(association, [{ slba, blocks }]);
      for (let at = slba; at < slba + blocks; at++) held.add(at);
    }
    for (let at = 0; at < 70; at++)
      if (ghosts.cover([{ slba: at, blocks: 1 }]) !== held.has(at)) t.fail(`seed ${seed}, block ${at}`);
  }
  t.end();
});
