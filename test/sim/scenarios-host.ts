/** What the initiator's rules (NUM, PORT, QUIESCE) need a story for. */
import type { Plan } from './plan.ts';
import { SMALL, TWO_PATHS, fault, scenario, type Scenario } from './scenario.ts';

/** Two connections that hang, one after the other, and are reset. */
export const STALLED: Partial<Plan> = {
  ...TWO_PATHS,
  blocks: 8,
  depth: 4,
  ios: 200,
  faults: [100, 300, 700].flatMap((at, which) => [
    fault('stall up', at, { ms: 400, which }),
    fault('reset controller', at + 20, { which }),
  ]),
};

/** Sockets that were reset and are not gone for long. */
export const SLOW_CLOSES: Partial<Plan> = {
  ...TWO_PATHS,
  hostLimits: { drainTimeout: 400, connectTimeout: 2000, adminTimeout: 3000 },
  faults: [
    fault('slow close', 50, { ms: 4000 }),
    fault('slow close', 50, { ms: 1000, which: 1 }),
    fault('reset controller', 200),
    fault('reset controller', 300, { which: 1, count: 2 }),
    fault('reset controller', 1400),
  ],
};

/** A namespace goes and comes back, and its group changes meanwhile; the host looks when all of that is over. */
export const UNSEEN: Partial<Plan> = {
  ...SMALL,
  clients: 2,
  kato: 5000,
  duration: 1000,
  faults: [
    fault('ana state', 100, { ms: 410, which: 1, count: 3 }),
    fault('stall up', 499, { ms: 80 }),
    fault('toggle namespace', 500, { count: 2, which: 250 }),
  ],
};

export const HOST_SCENARIOS: readonly Scenario[] = [
  scenario(
    'NUM.1 NUM.2 NUM.6 NUM.10 NUM.11 controllers of three subsystems come and go, and take what is free',
    {
      ...SMALL,
      hosts: 2,
      subsystems: 3,
      addresses: 2,
      ways: 2,
      kato: 2000,
      duration: 2000,
      recovery: { reconnectDelay: 50, ctrlLossTmo: 300 },
      faults: [
        ...[0, 1, 2, 3, 5, 8, 9, 11].map((which, i) => fault('stay away', 150 + 130 * i, { ms: 700, which })),
        fault('refuse connects', 900, { ms: 500, which: 1 }),
        fault('cut', 1000),
      ],
    },
  ),
  scenario(
    'NUM.3 every discovery controller has a subsystem of its own, and nothing else is lost by it',
    {
      ...TWO_PATHS,
      faults: [
        ...[100, 110, 600, 1200].map((at, which) => fault('discover', at, { ms: 500, which })),
        fault('disconnect', 300),
        fault('cut', 700, { which: 1 }),
      ],
    },
    ['NUM.3 a discovery controller has a subsystem of its own'],
  ),
  scenario(
    'NUM.12 who has a number, and why, is told while its subsystem has no controller',
    {
      ...SMALL,
      duration: 2000,
      heads: { delayedRemoval: 10 },
      faults: [200, 1200].map((at) => fault('stay away', at, { ms: 500 })),
    },
    ['NUM.12 a number is kept by a subsystem alone'],
  ),
  scenario('PORT.1 PORT.3 PORT.4 ports go while their controllers connect, are lost and are taken away', {
    ...TWO_PATHS,
    hosts: 2,
    faults: [
      fault('slow connects', 100, { ms: 300 }),
      fault('cut', 120),
      fault('remote port away', 200, { ms: 300 }),
      fault('disconnect', 205),
      fault('local port away', 700, { ms: 200, which: 1 }),
      fault('reset controller', 700, { which: 1, count: 3 }),
      fault('stall down', 1000, { ms: 800, which: 2 }),
      fault('remote port away', 1100, { ms: 1, which: 2 }),
      fault('local port away', 1400, { ms: 100, which: 3 }),
    ],
  }),
  scenario(
    'PORT.10 a port is unregistered, meanwhile unregistered again, and registered',
    {
      ...TWO_PATHS,
      duration: 3000,
      faults: [
        fault('slow close', 50, { ms: 1500 }),
        fault('slow close', 50, { ms: 1500, which: 1 }),
        fault('remote port away', 100, { ms: 2, count: 4 }),
        fault('local port away', 400, { ms: 5, which: 1, count: 4 }),
        fault('remote port away', 2300, { ms: 4, which: 3, count: 4 }),
        // The next association needs the port again.
        fault('reset controller', 2600, { which: 1 }),
      ],
    },
    ['PORT.10 unregistered twice', 'PORT.10 registered while it was unregistered'],
  ),
  scenario(
    'PORT.11 a host stops whatever its controllers are at, and its volumes are open',
    {
      ...TWO_PATHS,
      faults: [
        fault('restart host', 200, { ms: 50, count: 2 }),
        fault('blackhole both', 500, { ms: 4000 }),
        fault('restart host', 600, { ms: 20, count: 2 }),
        fault('remote port away', 1200, { ms: 4000, which: 1 }),
        fault('restart host', 1250, { ms: 100, count: 2 }),
      ],
    },
    ['PORT.11 a host stopped, and a volume was open'],
  ),
  scenario('QUIESCE.1 a path is chosen and has the command in one step, while paths come and go', {
    ...TWO_PATHS,
    queueEntries: 3,
    depth: 16,
    ios: 300,
    faults: [
      ...[0, 1, 2, 3].map((which) => fault('ana state', 100 + 200 * which, { which, ms: 90, count: 3 })),
      fault('cut', 350),
      fault('reset controller', 750, { which: 1, count: 2 }),
      fault('disconnect', 1100),
      fault('remote port away', 1400, { ms: 50, which: 1 }),
    ],
  }),
  scenario(
    'QUIESCE.14 nothing is sent again before its connection is dead, however late the system says so',
    {
      ...STALLED,
      faults: [
        ...STALLED.faults!,
        fault('slow close', 50, { ms: 900 }),
        fault('slow close', 350, { ms: 900, which: 1 }),
      ],
    },
    ['QUIESCE.14 a command was cancelled'],
  ),
  scenario(
    'QUIESCE.8 the number of queues changes between connections (qid_max 4, 1, 4, 2)',
    {
      ...TWO_PATHS,
      ioQueues: 4,
      faults: [
        fault('number of queues', 300, { ms: 400, count: 1 }),
        fault('number of queues', 1100, { ms: 500, count: 2 }),
      ],
    },
    ['QUIESCE.8 a controller came back with another number of queues'],
  ),
  scenario('QUIESCE.9 old connections that do not end are waited for so long and no longer', SLOW_CLOSES, [
    'QUIESCE.9 old connections did not end in time',
  ]),
  scenario(
    'QUIESCE.10 a namespace goes and comes back between two looks, its group another than before',
    UNSEEN,
  ),
  scenario(
    'QUIESCE.10 ANA states and sizes are known while I/O hangs',
    {
      ...TWO_PATHS,
      hosts: 2,
      ios: 40,
      duration: 12_000,
      disk: {
        blockSize: 512,
        latency: 5_000_000,
        jitter: 0,
        syncLatency: 1000,
        residentOneIn: 0,
        canPunch: true,
      },
      hostLimits: {},
      faults: [
        fault('ana state', 1500, { ms: 3500, which: 1, count: 3 }),
        fault('grow namespace', 8600),
        fault('ana state', 12_000, { ms: 3500, count: 3 }),
      ],
    },
    ['QUIESCE.10 a change was known, and I/O was under way all the time'],
  ),
  scenario('QUIESCE.3 paths come and go by ANA, and nobody is forgotten', {
    ...TWO_PATHS,
    hosts: 2,
    faults: [0, 1, 2, 3, 4, 5].map((i) => fault('ana state', 100 + 300 * i, { which: i, ms: 250, count: 3 })),
  }),
  scenario('QUIESCE.4 QUIESCE.6 resets one after the other under traffic', {
    ...TWO_PATHS,
    faults: [100, 110, 500, 900, 905].map((at, which) => fault('reset controller', at, { which, count: 4 })),
  }),
  scenario('QUIESCE.5 QUIESCE.2 a path that connects again for long keeps nobody, and the other one serves', {
    ...TWO_PATHS,
    faults: [
      fault('blackhole both', 100, { ms: 20_000 }),
      fault('reset controller', 150),
      fault('ana state', 300, { ms: 400, which: 1, count: 3 }),
    ],
  }),
  scenario('QUIESCE.7 running out of command slots is back-pressure', {
    ...TWO_PATHS,
    queueEntries: 2,
    depth: 16,
    faults: [fault('cut', 300), fault('stall down', 500, { ms: 400 })],
  }),
  scenario('QUIESCE.13 what error recovery cancels ends once, and its data touches nobody', {
    ...TWO_PATHS,
    hostLimits: { ioTimeout: 500, abortTimeout: 300, connectTimeout: 2000, adminTimeout: 3000 },
    faults: [200, 700, 1200].map((at, which) => fault('stall down', at, { ms: 2000, which })),
  }),
  scenario('PORT.7 ports go and return before the timers, as if a link had bounced', {
    ...TWO_PATHS,
    faults: [0, 1, 2, 3].map((i) =>
      fault(i % 2 === 0 ? 'remote port away' : 'local port away', 150 + 350 * i, { ms: 200, which: i }),
    ),
  }),
  scenario('PORT.5 PORT.6 a port goes while its controller connects', {
    ...TWO_PATHS,
    faults: [
      fault('slow connects', 100, { ms: 400 }),
      fault('cut', 110),
      fault('remote port away', 250, { ms: 900 }),
      fault('remote port away', 1500, { ms: 1, which: 1 }),
    ],
  }),
  scenario('PORT.8 PORT.9 a port stays away until dev_loss_tmo, and what it carried is freed', {
    ...TWO_PATHS,
    recovery: { reconnectDelay: 50, ctrlLossTmo: Infinity, devLossTmo: 300 },
    heads: { delayedRemoval: 1 },
    faults: [
      fault('remote port away', 200, { ms: 4000 }),
      fault('local port away', 600, { ms: 4000, which: 1 }),
    ],
  }),
  scenario('NUM.5 NUM.9 controllers of one subsystem come and go in turn; its heads keep their names', {
    ...TWO_PATHS,
    hosts: 2,
    faults: [0, 1, 2, 3, 4, 5].map((which) => fault('disconnect', 150 + 250 * which, { which })),
  }),
  scenario('QUIESCE.12 rescan, time-out, ANA change and I/O at the same time', {
    ...SMALL,
    addresses: 2,
    ways: 2,
    clients: 4,
    kato: 2000,
    duration: 3000,
    hostLimits: { ioTimeout: 2000, connectTimeout: 2000, adminTimeout: 3000, terminateTimeout: 1000 },
    recovery: { reconnectDelay: 50, ctrlLossTmo: Infinity },
    faults: [
      fault('ana state', 100, { ms: 2000, which: 1, count: 3 }),
      fault('stall down', 110, { ms: 4000 }),
      fault('grow namespace', 120, { count: 2, which: 2 }),
      fault('toggle namespace', 600, { count: 2, which: 3 }),
      fault('ana state', 700, { which: 2, count: 3 }),
      fault('reset controller', 1500, { which: 1, count: 2 }),
    ],
  }),
  scenario(
    'NUM.7 a subsystem whose controllers and disks are gone is kept by the NBD clients that have not left yet',
    {
      ...SMALL,
      clients: 1,
      nbdClients: 3,
      ios: 200,
      reserveOneIn: 0,
      kato: 2000,
      duration: 2000,
      heads: { delayedRemoval: 0 },
      recovery: { reconnectDelay: 50, ctrlLossTmo: 0 },
      faults: [300, 900, 1500].map((at) => fault('stay away', at, { ms: 200 })),
    },
    ['NUM.7 a client keeps a subsystem that has no disk'],
  ),
  scenario('NUM.8 connects that fail leave nothing behind', {
    hosts: 2,
    kato: 2000,
    duration: 2000,
    faults: [fault('refuse connects', 0, { ms: 800 }), fault('slow connects', 900, { ms: 20_000 })],
  }),
];
