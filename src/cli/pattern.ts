/**
 * Blocks that prove what they are: each carries the seed of the run, its own number, how often it has been written,
 * and the CRC32C of all of it. A block that is another's, an older one's, or torn shows.
 *
 *     0 magic   8 seed   12 generation   16 block number (8 bytes)   24 filler   … the last 4 bytes: CRC32C
 */
import type { Crypto } from '../runtime/ports.ts';

const MAGIC = 0x4b43_4843_504d_564en; // "NVMPCHCK", as bytes

export interface Block {
  readonly seed: number;
  readonly generation: number;
}

export class Pattern {
  readonly #crypto: Crypto;
  readonly #blockSize: number;

  constructor(crypto: Crypto, blockSize: number) {
    this.#crypto = crypto;
    this.#blockSize = blockSize;
  }

  /** Fills whole blocks, which begin at `slba`. */
  fill(into: Uint8Array, slba: number, { seed, generation }: Block): void {
    const view = new DataView(into.buffer, into.byteOffset, into.length);
    const size = this.#blockSize;
    for (let at = 0, block = slba; at < into.length; at += size, block++) {
      view.setBigUint64(at, MAGIC, true);
      view.setUint32(at + 8, seed, true);
      view.setUint32(at + 12, generation, true);
      view.setBigUint64(at + 16, BigInt(block), true);
      let filler = (seed ^ Math.imul(block + 1, 0x9e37_79b1) ^ Math.imul(generation + 1, 0x85eb_ca6b)) | 1;
      for (let word = at + 24; word < at + size - 4; word += 4) {
        // xorshift32: cheap, and no two blocks alike.
        filler ^= filler << 13;
        filler ^= filler >>> 17;
        filler ^= filler << 5;
        view.setInt32(word, filler, true);
      }
      view.setUint32(at + size - 4, this.#crypto.crc32c(into.subarray(at, at + size - 4), 0), true);
    }
  }

  /**
   * What is wrong with the first bad block, as a sentence; undefined: all are right. `oldest` and `newest` bound the
   * generation; `seed` undefined: any.
   */
  problem(
    bytes: Uint8Array,
    slba: number,
    expected: { readonly seed: number | undefined; readonly oldest: number; readonly newest: number },
  ): string | undefined {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const size = this.#blockSize;
    for (let at = 0, block = slba; at < bytes.length; at += size, block++) {
      const wrong = this.#wrong(view, bytes, at, block, expected);
      if (wrong !== undefined) return `block ${block} ${wrong}`;
    }
    return undefined;
  }

  #wrong(
    view: DataView,
    bytes: Uint8Array,
    at: number,
    block: number,
    expected: { readonly seed: number | undefined; readonly oldest: number; readonly newest: number },
  ): string | undefined {
    const end = at + this.#blockSize - 4;
    if (view.getBigUint64(at, true) !== MAGIC) return 'was not written by bench --verify';
    if (view.getUint32(end, true) !== this.#crypto.crc32c(bytes.subarray(at, end), 0))
      return 'has a wrong CRC32C';
    const found = view.getBigUint64(at + 16, true);
    if (found !== BigInt(block)) return `holds the data of block ${found}`;
    const seed = view.getUint32(at + 8, true);
    if (expected.seed !== undefined && seed !== expected.seed)
      return `was written with seed ${seed}, not ${expected.seed}`;
    const generation = view.getUint32(at + 12, true);
    if (generation < expected.oldest)
      return `holds write ${generation} of it, although write ${expected.oldest} was acknowledged`;
    return generation > expected.newest ? `holds write ${generation} of it, which was never made` : undefined;
  }
}
