/** A world in memory beside real files and sockets: it goes on for as long as they need, however slow the machine. */
import type { MemoryEnv } from '../../src/runtime/memory/env.ts';

/** Lets the world go on until something is so, `ms` of its time in every turn; what never is ends the test's time. */
export async function until(env: MemoryEnv, reached: () => boolean, ms = 0): Promise<void> {
  while (!reached()) {
    env.clock.advance(ms);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Lets the world go on until the promise is settled. */
export async function settled<T>(env: MemoryEnv, promise: Promise<T>, ms = 0): Promise<T> {
  let yet = false;
  const end = (): void => {
    yet = true;
  };
  promise.then(end, end);
  await until(env, () => yet, ms);
  return promise;
}
