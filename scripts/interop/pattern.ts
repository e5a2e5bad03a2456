/** Data that nobody has seen before, and whether it came back. */
import { randomBytes } from 'node:crypto';
import type { NvmeDisk } from '../../src/api/disk.ts';

export const noise = (bytes: number): Uint8Array => randomBytes(bytes);

export function sameBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(actual, expected) === 0) return;
  const at = expected.findIndex((byte, i) => byte !== actual[i]);
  throw new Error(`${what}: ${actual.length} bytes instead of ${expected.length}, other from byte ${at}`);
}

/** Writes noise and reads it back. */
export async function roundTrip(
  disk: NvmeDisk,
  slba: number,
  blocks: number,
  fua = false,
): Promise<Uint8Array> {
  const data = noise(blocks * disk.blockSize);
  await disk.write(slba, data, { fua });
  sameBytes(await disk.read(slba, blocks), data, `${blocks} blocks at ${slba} of ${disk.name}`);
  return data;
}

/** `count` writes, then as many reads, all of `blocks` blocks, `depth` of them under way. */
export async function manyRoundTrips(
  disk: NvmeDisk,
  count: number,
  depth: number,
  blocks: number,
): Promise<void> {
  const all = Array.from({ length: count }, () => noise(blocks * disk.blockSize));
  const order = Array.from(all.keys()).sort((a, b) => ((a * 7919) % count) - ((b * 7919) % count));
  await inParallel(order, depth, (i) => disk.write(i * blocks, all[i]!));
  await inParallel(order, depth, async (i) =>
    sameBytes(await disk.read(i * blocks, blocks), all[i]!, `${blocks} blocks at ${i * blocks}`),
  );
}

async function inParallel<T>(
  items: readonly T[],
  depth: number,
  run: (item: T) => Promise<void>,
): Promise<void> {
  const left = [...items];
  const worker = async (): Promise<void> => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) await run(item);
  };
  await Promise.all(Array.from({ length: Math.min(depth, items.length) }, worker));
}
