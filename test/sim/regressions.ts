/** Plans that once broke a rule, with what was wrong. They hold whatever the swarm draws from a seed today. */
import type { Plan } from './plan.ts';

export interface Regression {
  /** One sentence: what was wrong, and where it was fixed. */
  readonly name: string;
  readonly seed: number;
  readonly plan: Partial<Plan>;
}

const ONE = {
  hosts: 1,
  targets: 1,
  subsystems: 1,
  namespaces: 1,
  blocks: 16,
  addresses: 1,
  lastAddressAt: 0,
  ways: 1,
  ioQueues: 1,
  copyOneIn: 0,
  reserveOneIn: 0,
  verifyOneIn: 0,
  interruptOneIn: 0,
  protectOneIn: 0,
  nbdClients: 0,
  headerDigest: false,
  dataDigest: false,
  crashAtEnd: false,
} as const;

export const REGRESSIONS: readonly Regression[] = [
  {
    name: 'a target connection that had ended was settled once more and armed a timer that outlived the target',
    seed: 3,
    plan: {
      ...ONE,
      clients: 4,
      depth: 4,
      ios: 60,
      duration: 200,
      disk: {
        blockSize: 512,
        latency: 400,
        jitter: 20_000,
        syncLatency: 50,
        residentOneIn: 0,
        canPunch: true,
      },
      faults: [
        { kind: 'cut', at: 100, ms: 1, which: 0, count: 1 },
        { kind: 'stop', at: 150, ms: 100, which: 0, count: 1 },
      ],
    },
  },
  {
    name: 'a path that joined a head while the older path was cut off did not tell its larger size, and was never usable',
    seed: 3594,
    plan: {
      ...ONE,
      addresses: 2,
      ways: 2,
      kato: 5000,
      clients: 1,
      ios: 1,
      duration: 50,
      link: { latency: 200, jitter: 300, bandwidth: 20_000, segment: 65_536, window: 16_384, take: 500 },
      disk: {
        blockSize: 512,
        latency: 400,
        jitter: 100,
        syncLatency: 1000,
        residentOneIn: 2,
        canPunch: true,
      },
      faults: [
        { kind: 'grow namespace', at: 41, ms: 500, which: 0, count: 3 },
        { kind: 'stall up', at: 42, ms: 20_000, which: 39, count: 3 },
        { kind: 'disconnect', at: 15, ms: 500, which: 22, count: 3 },
      ],
    },
  },
  {
    name: 'a namespace whose Identify was damaged on its way during a scan was left out until the next event',
    seed: 0x514b,
    plan: {
      ...ONE,
      blocks: 64,
      dataDigest: true,
      faults: [{ kind: 'corrupt', at: 126, ms: 20_000, which: 51, count: 2 }],
    },
  },
  {
    name: 'a host that connected while a namespace was disabled took it for not ready, and was never told that it is',
    seed: 0x56,
    plan: {
      ...ONE,
      kato: 5000,
      clients: 1,
      ios: 1,
      duration: 2000,
      faults: [{ kind: 'disable namespace', at: 1, ms: 20_000, which: 0, count: 1 }],
    },
  },
  {
    name: 'a namespace came while its ANA group had changed unseen, and its path stayed inaccessible',
    seed: 3550,
    plan: {
      ...ONE,
      kato: 2000,
      clients: 1,
      ios: 1,
      duration: 1000,
      faults: [
        { kind: 'ana state', at: 26, ms: 67, which: 33, count: 3 },
        { kind: 'toggle namespace', at: 30, ms: 4000, which: 32, count: 1 },
      ],
    },
  },
  {
    name: 'a late ANA status of a path that was given up for lost made it waiting again, and nobody was told',
    seed: 0x3f9d,
    plan: {
      ...ONE,
      namespaces: 2,
      blocks: 64,
      ios: 54,
      ioBlocks: 1,
      eraseOneIn: 0,
      flushOneIn: 0,
      faults: [
        { kind: 'blackhole both', at: 20, ms: 4000, which: 4, count: 2 },
        { kind: 'blackhole both', at: 283, ms: 1, which: 38, count: 1 },
        { kind: 'ana state', at: 289, ms: 500, which: 31, count: 3 },
      ],
    },
  },
];
