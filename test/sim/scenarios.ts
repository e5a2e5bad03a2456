/** Every scenario; those of the initiator's rules are in `scenarios-host.ts` and `scenarios-heads.ts`. */
import type { Plan } from './plan.ts';
import { SMALL, TWO_PATHS, fault, scenario, type Scenario } from './scenario.ts';
import { HEAD_SCENARIOS } from './scenarios-heads.ts';
import { HOST_SCENARIOS } from './scenarios-host.ts';

/**
 * Connections that are lost while what was sent on them is still on its way: the target carries it out late. Two paths,
 * a few blocks that everybody writes.
 */
export const STALE_WRITES: Partial<Plan> = {
  ...SMALL,
  addresses: 2,
  ways: 2,
  blocks: 8,
  ioBlocks: 1,
  ioQueues: 1,
  queueEntries: 17,
  clients: 4,
  depth: 4,
  ios: 200,
  abandonOneIn: 0,
  copyOneIn: 0,
  reserveOneIn: 0,
  kato: 2000,
  duration: 600,
  crashAtEnd: false,
  heads: { iopolicy: 'round-robin', writeFailover: 'safe' },
  recovery: { reconnectDelay: 50, ctrlLossTmo: Infinity },
  faults: [100, 300, 450].flatMap((at, which) => [
    fault('stall up', at, { ms: 400, which }),
    fault('host side reset', at + 20, { which }),
  ]),
};

/** Two hosts that take the same blocks from each other by reservations, and a target that loses its power. */
export const RESERVED: Partial<Plan> = {
  ...SMALL,
  hosts: 2,
  addresses: 2,
  ways: 2,
  blocks: 8,
  clients: 4,
  depth: 4,
  ios: 300,
  reserveOneIn: 4,
  swapOneIn: 0,
  eraseOneIn: 0,
  abandonOneIn: 0,
  kato: 2000,
  duration: 1000,
  recovery: { reconnectDelay: 50, ctrlLossTmo: Infinity },
  faults: [fault('crash', 400), fault('kill', 800)],
  crashAtEnd: true,
};

/** Two hosts that protect what they write, and take that back, on a target that comes and goes. */
export const PROTECTED: Partial<Plan> = {
  ...SMALL,
  hosts: 2,
  blocks: 16,
  clients: 4,
  depth: 4,
  ios: 300,
  protectOneIn: 8,
  reserveOneIn: 0,
  kato: 2000,
  duration: 1000,
  recovery: { reconnectDelay: 50, ctrlLossTmo: Infinity },
  faults: [fault('crash', 300), fault('kill', 600), fault('disable namespace', 800)],
  crashAtEnd: true,
};

/** NBD clients of two hosts on a few blocks; paths go and return. */
export const SERVED: Partial<Plan> = {
  ...SMALL,
  hosts: 2,
  addresses: 2,
  ways: 2,
  blocks: 16,
  clients: 2,
  nbdClients: 4,
  depth: 4,
  ios: 200,
  reserveOneIn: 0,
  kato: 2000,
  duration: 1000,
  recovery: { reconnectDelay: 50, ctrlLossTmo: Infinity },
  faults: [
    fault('stall down', 150, { ms: 400 }),
    fault('cut', 300),
    fault('grow namespace', 400),
    fault('disconnect', 500),
    fault('toggle namespace', 700),
    fault('toggle namespace', 800),
  ],
};

/** A namespace that grows while its hosts are still looking at others, over a link that takes its time. */
export const GROWING: Partial<Plan> = {
  ...SMALL,
  namespaces: 12,
  blocks: 16,
  clients: 1,
  ios: 20,
  kato: 2000,
  duration: 2000,
  link: { latency: 2000, jitter: 300, bandwidth: 2_000_000, segment: 65_536, window: 262_144, take: 0 },
  faults: [100, 130, 160, 400, 420, 440, 700, 740, 780].map((at) => fault('grow namespace', at)),
};

export const SCENARIOS: readonly Scenario[] = [
  ...HOST_SCENARIOS,
  ...HEAD_SCENARIOS,
  scenario('LIFE.3 a namespace that changes while hosts look at others is looked at again', GROWING),
  scenario('NBD clients come, go in the middle and come back; a path that is lost is time', SERVED),
  scenario('PROTECT write protection under I/O, and through a power loss', PROTECTED),
  scenario('RESERVATION six types, preempted, aborted, and kept through a power loss (PTPL)', RESERVED),
  scenario('RESERVATION LIFE.7 a reservation belongs to its host, not to the controllers that come and go', {
    ...RESERVED,
    faults: [1, 2, 3, 4].map((i) =>
      fault(i % 2 === 0 ? 'disconnect' : 'kick controller', 180 * i, { which: i }),
    ),
    crashAtEnd: false,
  }),
  scenario('GHOST.2 writes of a lost connection do not overtake what is newer', STALE_WRITES),
  scenario('GHOST.3 new writes to blocks of a held write wait behind it', {
    ...STALE_WRITES,
    blocks: 2,
    depth: 8,
    faults: [100, 350].map((at, which) => fault('blackhole both', at, { ms: 4000, which })),
  }),
  scenario('LIFE.8 one host comes and goes, the other does not notice', {
    ...TWO_PATHS,
    hosts: 2,
    faults: [0, 1, 2, 3, 4, 5, 6, 7].map((i) => fault('disconnect', 100 + 200 * i, { which: i % 2 })),
  }),
  scenario('nothing goes wrong, and nothing does', { faults: [] }),
  scenario('DISK.1 what was flushed, or written with FUA, survives a power cut', {
    ...SMALL,
    kato: 1000,
    duration: 600,
    fuaOneIn: 3,
    flushOneIn: 5,
    faults: [fault('crash', 200), fault('crash', 450)],
    crashAtEnd: true,
  }),
  scenario('DISK.2 after a failed sync nothing is called durable', {
    ...SMALL,
    duration: 300,
    fuaOneIn: 3,
    flushOneIn: 5,
    faults: [fault('sync EIO', 100)],
  }),
  scenario('LIFE.1 a controller goes, its namespaces do not', {
    ...SMALL,
    hosts: 2,
    clients: 4,
    duration: 1000,
    faults: [0, 1, 2, 3].map((i) => fault('disconnect', 150 + 200 * i)),
  }),
  scenario('LIFE.6 a namespace goes away under I/O and comes back', {
    hosts: 2,
    duration: 600,
    faults: [fault('toggle namespace', 100), fault('toggle namespace', 300), fault('toggle namespace', 301)],
  }),
  scenario('LIFE.6 a namespace is disabled under I/O and enabled again', {
    hosts: 2,
    duration: 1000,
    faults: [100, 400, 700].map((at, i) => fault('disable namespace', at, { ms: 150, which: i })),
  }),
  scenario('LIFE.7 controllers are kicked out, and come back', {
    hosts: 2,
    duration: 1000,
    faults: [1, 2, 3, 4].map((i) => fault('kick controller', 150 * i, { which: i })),
  }),
  scenario('LIFE.9 a subsystem is deleted under I/O, with everything in it, and made again', {
    hosts: 2,
    duration: 1500,
    faults: [100, 500, 900].map((at, i) => fault('delete subsystem', at, { ms: [1, 50, 300][i]!, which: i })),
  }),
  scenario('LIFE.13 a port goes and returns', {
    hosts: 2,
    targets: 1,
    addresses: 2,
    ways: 2,
    lastAddressAt: 0,
    duration: 1000,
    faults: [fault('port goes', 150, { ms: 300 }), fault('port goes', 600, { ms: 200, which: 1 })],
  }),
  scenario('ANA states change, and namespaces move between groups', {
    hosts: 2,
    targets: 1,
    addresses: 2,
    ways: 2,
    lastAddressAt: 0,
    duration: 1000,
    faults: [
      ...[0, 1, 2, 3].map((which) => fault('ana state', 100 + 200 * which, { ms: 150, which, count: 3 })),
      ...[1, 2, 3].map((which) => fault('move namespace', 50 + 250 * which, { which })),
    ],
  }),
  scenario('GHOST.1 what a lost connection left in storage comes before what is newer', {
    ...SMALL,
    blocks: 8,
    clients: 4,
    kato: 2000,
    duration: 600,
    disk: {
      blockSize: 4096,
      latency: 400,
      jitter: 20_000,
      syncLatency: 8000,
      residentOneIn: 0,
      canPunch: true,
    },
    faults: [fault('cut', 100), fault('target side reset', 250), fault('cut', 400)],
  }),
  scenario('what sockets have of a file is not written to, and keeps it mapped', {
    ...SMALL,
    hosts: 2,
    dataDigest: false,
    blocks: 16,
    clients: 4,
    depth: 16,
    duration: 600,
    disk: { blockSize: 512, latency: 10, jitter: 0, syncLatency: 50, residentOneIn: 1, canPunch: true },
    link: { latency: 200, jitter: 300, bandwidth: 20_000, segment: 1460, window: 4096, take: 500 },
    faults: [
      fault('toggle namespace', 100),
      fault('toggle namespace', 150),
      fault('send EFAULT', 300, { count: 2 }),
      fault('stall down', 400, { ms: 4000 }),
    ],
  }),
];
