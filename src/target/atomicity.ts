/**
 * What is atomic (ORDER.2; NVMe Base 2.1 and NVM Command Set 1.1, section 2.1.4). Commands that overlap run one after
 * the other, whatever their length, so nobody ever sees half of a write: the unit in normal operation is the largest
 * write that there is. When power fails that is the disk's affair, and one block is all that is promised.
 */
import type { Limits } from './limits.ts';

/** The fields count blocks, 0's based, in 16 bits. */
const MOST_BLOCKS = 0x10000;
/** No block is larger; every limit of bytes allows for one of them. */
export const LARGEST_BLOCK = 4096;

export class Atomicity {
  readonly #limits: Limits;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** NAWUN, blocks; AWUN, which is for all block sizes, with the largest. */
  write(blockSize: number): number {
    return Math.min(Math.floor(this.#limits.maxTransfer / blockSize), MOST_BLOCKS);
  }

  /** Bytes of one fused Compare and Write: the budgets have room for the data of both commands together. */
  compareAndWrite(blockSize: number): number {
    const { compareAndWrite, maxTransfer } = this.#limits;
    return Math.max(blockSize, Math.min(compareAndWrite, maxTransfer / 2, MOST_BLOCKS * blockSize));
  }
}
