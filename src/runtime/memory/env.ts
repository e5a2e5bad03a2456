import type { Crypto, Env } from '../ports.ts';
import { MemoryNet, type MemoryNetOptions } from './net.ts';
import { MemoryInterfaces } from './interfaces.ts';
import { CollectingTrace } from './trace.ts';
import { ManualClock } from './clock.ts';
import { MemoryFiles } from './files.ts';
import { MemoryStore } from './store.ts';
import { SeededRandom } from './random.ts';
import { crc32c } from '../crc32c.ts';

/** A world of its own, the same for the same seed; nothing in it happens but through its clock. */
export interface MemoryEnv extends Env {
  readonly clock: ManualClock;
  readonly random: SeededRandom;
  readonly net: MemoryNet;
  readonly interfaces: MemoryInterfaces;
  readonly files: MemoryFiles;
  readonly store: MemoryStore;
  readonly crypto: Crypto;
  readonly trace: CollectingTrace;
}

export function memoryEnv(seed = 1, net: MemoryNetOptions = {}): MemoryEnv {
  const clock = new ManualClock();
  return {
    clock,
    random: new SeededRandom(seed),
    net: new MemoryNet(clock, net),
    interfaces: new MemoryInterfaces(),
    files: new MemoryFiles(clock),
    store: new MemoryStore(clock),
    crypto: { crc32c },
    trace: new CollectingTrace(),
  };
}
