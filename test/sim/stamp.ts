/** What is written into blocks: every word of a block tells which write it is of, and which block and word it is. */

const mark = (value: number, slba: number): number =>
  Math.imul(value, 0x2c9277b5) ^ Math.imul(slba + 1, 0x5f356495);

/** Fills a block with the stamp of the write `value`. */
export function stamp(block: Uint8Array, value: number, slba: number): void {
  const words = new Int32Array(block.buffer, block.byteOffset, block.length / 4);
  const first = mark(value, slba);
  words[0] = value;
  for (let i = 1; i < words.length; i++) words[i] = (first + Math.imul(i, 0x01000193)) | 0;
}

/** The write that the block is of; 0: zeroes; text: what is wrong with it. */
export function readStamp(block: Uint8Array, slba: number): number | string {
  const words =
    block.byteOffset % 4 === 0
      ? new Int32Array(block.buffer, block.byteOffset, block.length / 4)
      : new Int32Array(block.slice().buffer);
  const value = words[0]!;
  const first = mark(value, slba);
  for (let i = 1; i < words.length; i++)
    if (words[i] !== (value === 0 ? 0 : (first + Math.imul(i, 0x01000193)) | 0))
      return `the beginning of write ${value >>> 0}, but from byte ${i * 4} on something else`;
  return value >>> 0;
}
