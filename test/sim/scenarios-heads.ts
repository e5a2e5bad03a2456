/** What the rules of heads (HEAD) need a story for. */
import type { Plan } from './plan.ts';
import { SMALL, TWO_PATHS, fault, scenario, type Scenario } from './scenario.ts';

/** One head over one path. */
const ONE_PATH: Partial<Plan> = { ...SMALL, clients: 2, kato: 2000, duration: 2000 };

/** A namespace of one host, whose only path goes and returns. */
export const PRIVATE: Partial<Plan> = {
  ...ONE_PATH,
  privateNamespaces: true,
  heads: { delayedRemoval: 10 },
  recovery: { reconnectDelay: 50, ctrlLossTmo: 0 },
  faults: [
    fault('stay away', 200, { ms: 400 }),
    fault('cut', 900),
    fault('disconnect', 1300),
    fault('kick controller', 1700),
  ],
};

/** A head whose time changes while it waits. */
export const WAITING: Partial<Plan> = {
  ...ONE_PATH,
  heads: { delayedRemoval: 10 },
  faults: [
    fault('stay away', 200, { ms: 1500 }),
    fault('delayed removal', 400, { count: 1 }),
    fault('stay away', 2000, { ms: 2500 }),
  ],
};

export const HEAD_SCENARIOS: readonly Scenario[] = [
  scenario(
    'HEAD.1 delayed_removal_secs changes while the timer runs, and counts from the next loss on',
    WAITING,
    ['HEAD.1 changed while the timer runs', 'HEAD.4 a path returned in time', 'HEAD.5 no path came in time'],
  ),
  scenario(
    'HEAD.2 with 0 the last path takes the head along',
    {
      ...ONE_PATH,
      heads: { delayedRemoval: 0 },
      faults: [200, 800, 1400].map((at) => fault('stay away', at, { ms: 300 })),
    },
    ['HEAD.2 a head went with its last path'],
  ),
  scenario(
    'HEAD.6 5 s, and nobody comes: I/O waits for 5 s, then fails, and the head is gone',
    { ...ONE_PATH, heads: { delayedRemoval: 5 }, faults: [fault('stay away', 300, { ms: 8000 })] },
    ['HEAD.5 no path came in time'],
  ),
  scenario(
    'HEAD.6 5 s, and a path after 1 s: I/O waits, and succeeds',
    { ...ONE_PATH, heads: { delayedRemoval: 5 }, faults: [fault('stay away', 300, { ms: 1000 })] },
    ['HEAD.4 a path returned in time'],
  ),
  scenario(
    'HEAD.7 another identity under the NSID of a head that waits has a head of its own',
    {
      ...ONE_PATH,
      heads: { delayedRemoval: 10 },
      faults: [fault('replace namespace', 300, { ms: 500 }), fault('replace namespace', 1200, { ms: 400 })],
    },
    ['HEAD.7 another identity came while a head waited', 'HEAD.4 a path returned in time'],
  ),
  scenario('HEAD.8 a private namespace returns to the head that waits for it', PRIVATE, [
    'HEAD.8 a private path returned to the head that waited',
  ]),
  scenario(
    'HEAD.10 a path comes in the tick in which the head’s time is over, or beside it',
    {
      ...ONE_PATH,
      hostLimits: { shutdownTimeout: 500 },
      link: { latency: 50, jitter: 0, bandwidth: 1e9, segment: 65_536, window: 262_144, take: 0 },
      heads: { delayedRemoval: 1 },
      duration: 20_000,
      faults: [-3, -2, -1, 0, 1, 2, 3, -3, -2, -1, 0, 1, 2, 3].map((count, i) =>
        fault('return with timer', 500 + 1400 * i, { count }),
      ),
    },
    [
      'HEAD.10 the path came in the tick of the timer, and before it',
      'HEAD.10 the path came in the tick of the timer, and after it',
    ],
  ),
  scenario(
    'HEAD.11 set to 0 while a head waits: it goes at once, and what waits for it fails',
    {
      ...ONE_PATH,
      heads: { delayedRemoval: 10 },
      faults: [fault('stay away', 300, { ms: 1000 }), fault('delayed removal', 600, { count: 3 })],
    },
    ['HEAD.11 set to 0 while it waited'],
  ),
  scenario(
    'HEAD.12 a host stops while heads wait: they go at once',
    {
      ...ONE_PATH,
      heads: { delayedRemoval: 10 },
      faults: [fault('stay away', 300, { ms: 4000 }), fault('restart host', 700, { ms: 100 })],
    },
    ['HEAD.12 a head waited when its host stopped'],
  ),
  scenario('HEAD.9 flapping within delayed_removal_secs', {
    ...TWO_PATHS,
    heads: { delayedRemoval: 1 },
    faults: [0, 1, 2, 3, 4, 5].map((i) => fault('disconnect', 100 + 300 * i, { which: i % 2 })),
  }),
  scenario('HEAD.13 I/O fails fast, then the controller goes, then the head', {
    ...TWO_PATHS,
    duration: 3000,
    heads: { delayedRemoval: 1 },
    recovery: { reconnectDelay: 50, fastIoFailTmo: 300, ctrlLossTmo: 1500 },
    keepTrying: false,
    faults: [fault('stop', 300, { ms: 6000 })],
  }),
  scenario('HEAD.3 the last path goes and returns within delayed_removal_secs', {
    ...SMALL,
    clients: 2,
    kato: 2000,
    duration: 2000,
    heads: { delayedRemoval: 10 },
    faults: [0, 1, 2].map((i) => fault('disconnect', 200 + 500 * i)),
  }),
  scenario('HEAD.5 the last path goes and does not return in time', {
    ...SMALL,
    clients: 2,
    kato: 2000,
    duration: 1500,
    heads: { delayedRemoval: 1 },
    recovery: { reconnectDelay: 50, ctrlLossTmo: 500 },
    keepTrying: false,
    faults: [fault('stop', 200, { ms: 4000 })],
  }),
];
