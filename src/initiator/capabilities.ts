/**
 * What a controller can do, from what it said while it was set up: its registers, Identify Controller, and the limits
 * of one command that follow from them. Each association asks anew; until it has, the last answer counts.
 */
import { type Value, viewOf } from '../layout/struct.ts';
import type { IdController } from '../nvme/identify-controller.ts';
import { NvmIdController } from '../nvme/identify-namespace.ts';
import { Cap } from '../nvme/property.ts';
import type { PieceLimits } from './pieces.ts';

/** VS from which Identify CNS 06h and 08h may be asked. */
export const VERSION_2_0 = 0x00020000;
/** CAP.CSS: bit 0, the NVM command set; bit 6, more than that; bit 7, none for I/O. */
const CSS_NVM = 0x01;
const CSS_MANY = 0x40;
const CSS_NONE = 0x80;

export class Capabilities implements PieceLimits {
  /** VS. */
  version = 0;
  /** Entries that a queue may have (CAP.MQES). */
  maxEntries = 0;
  /** It knows more command sets than NVM's (CAP.CSS). */
  commandSets = false;
  /** It knows none for I/O. */
  adminOnly = false;
  /** The memory page that size limits are counted in (CAP.MPSMIN), bytes. */
  minimumPage = 4096;
  identified: Value<typeof IdController> | undefined = undefined;

  maxTransfer = 0;
  maxZeroes = 0;
  maxZeroesDeallocate = 0;
  maxRanges = 256;
  maxRangeBlocks = Infinity;
  maxDeallocate = Infinity;

  /** NVMe Base 2.1, section 3.1.4.1. */
  learnCap(cap: DataView): void {
    this.maxEntries = Cap.mqes.get(cap, 0) + 1;
    const css = Cap.high.css.get(cap, 0);
    this.commandSets = (css & CSS_MANY) !== 0;
    this.adminOnly = (css & (CSS_NVM | CSS_NONE)) === CSS_NONE;
    this.minimumPage = 2 ** (12 + Cap.high.mpsmin.get(cap, 0));
  }

  /** Identify Controller, CNS 01h. `most`: what this host moves in one command, bytes. */
  learnController(identified: Value<typeof IdController>, most: number): void {
    this.identified = identified;
    const mdts = this.#size(identified.mdts);
    this.maxTransfer = Math.min(mdts, most);
    // Without CNS 06h Linux keeps Write Zeroes to MDTS, though MDTS is not about it: some controllers think so.
    this.maxZeroes = this.maxZeroesDeallocate = mdts;
    this.maxRanges = 256;
    this.maxRangeBlocks = this.maxDeallocate = Infinity;
  }

  /** CNS 06h (NVM Command Set 1.1, section 4.1.5): the limits of Write Zeroes and Dataset Management. */
  learnNvm(bytes: Uint8Array): void {
    const id = NvmIdController.decode(viewOf(bytes));
    this.maxZeroes = this.#size(id.wzsl);
    this.maxZeroesDeallocate = id.wzdsl === 0 ? this.maxZeroes : this.#size(id.wzdsl);
    if (id.dmrl !== 0) this.maxRanges = id.dmrl;
    if (id.dmrsl !== 0) this.maxRangeBlocks = id.dmrsl;
    if (id.dmsl !== 0) this.maxDeallocate = Number(id.dmsl);
  }

  /** Bytes; 0: no limit. */
  #size(exponent: number): number {
    return exponent === 0 ? Infinity : this.minimumPage * 2 ** exponent;
  }
}
