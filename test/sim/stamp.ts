/**
 * What is written into blocks: every word of a block tells which write it is of, and for which block it was written. A
 * copy may take it to another one.
 */

/** More blocks than any simulated namespace has. */
const BLOCKS = 4096;

/** What write number `id` leaves in block `slba`: unlike any other value, and not 0, which is zeroes. */
export const valueOf = (id: number, slba: number): number => id * BLOCKS + slba;
export const writerOf = (value: number): number => Math.floor(value / BLOCKS);
export const homeOf = (value: number): number => value % BLOCKS;

const mark = (value: number): number => Math.imul(value, 0x2c9277b5) ^ 0x5f356495;

/** Fills a block with a value. */
export function stamp(block: Uint8Array, value: number): void {
  const words = new Int32Array(block.buffer, block.byteOffset, block.length / 4);
  const first = mark(value);
  words[0] = value;
  for (let i = 1; i < words.length; i++) words[i] = (first + Math.imul(i, 0x01000193)) | 0;
}

/** The value of the block; 0: zeroes; text: what is wrong with it. */
export function readStamp(block: Uint8Array): number | string {
  const words =
    block.byteOffset % 4 === 0
      ? new Int32Array(block.buffer, block.byteOffset, block.length / 4)
      : new Int32Array(new Uint8Array(block).buffer);
  const value = words[0]!;
  const first = mark(value);
  for (let i = 1; i < words.length; i++)
    if (words[i] !== (value === 0 ? 0 : (first + Math.imul(i, 0x01000193)) | 0))
      return `the beginning of write ${writerOf(value >>> 0)}, but from byte ${i * 4} on something else`;
  return value >>> 0;
}
