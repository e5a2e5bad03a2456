/** The ways in which a path is lost that `failover.ts` measures. Plain data. */
import type { FailoverCase } from './failover.ts';

const LOST = { kind: 'read', writeFailover: 'safe', from: 'lost', kato: 0 } as const;
const GONE = { break: 'remove', mend: 'add' } as const;

/** With how often each is done, and how often in a smoke run. */
export const LOSSES: readonly {
  readonly each: FailoverCase;
  readonly repeat: number;
  readonly smoke: number;
}[] = [
  { each: { ...LOST, name: 'reads: connections are reset', break: 'reset' }, repeat: 200, smoke: 2 },
  {
    each: { ...LOST, name: 'reads: silence, keep-alive of 0.5 s', break: 'mute', kato: 500 },
    repeat: 20,
    smoke: 0,
  },
  {
    each: {
      ...LOST,
      name: 'reads: silence, I/O time-out of 0.2 s',
      break: 'mute',
      limits: { ioTimeout: 200, abortTimeout: 100 },
    },
    repeat: 30,
    smoke: 1,
  },
  {
    each: { ...LOST, name: 'reads: ANA inaccessible', break: 'inaccessible', mend: 'optimized' },
    repeat: 100,
    smoke: 2,
  },
  { each: { ...LOST, ...GONE, name: 'reads: port removed' }, repeat: 100, smoke: 2 },
  {
    each: {
      ...LOST,
      name: 'writes, immediate: connections are reset',
      kind: 'write',
      writeFailover: 'immediate',
      break: 'reset',
    },
    repeat: 200,
    smoke: 2,
  },
  {
    each: {
      ...LOST,
      ...GONE,
      name: 'writes, safe: the target says that it is through',
      kind: 'write',
      from: 'freed',
    },
    repeat: 100,
    smoke: 2,
  },
  {
    each: {
      ...LOST,
      name: 'writes, safe: time says that the target is through',
      kind: 'write',
      from: 'freed',
      break: 'reset',
      kato: 500,
      limits: { commandQuiesceTime: 200 },
    },
    repeat: 5,
    smoke: 0,
  },
];
