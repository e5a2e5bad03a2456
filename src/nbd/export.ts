/** A disk under the name that clients ask for. */
import { ByteDevice } from './byte-device.ts';
import type { BlockDevice } from './device.ts';
import { TransmissionFlag } from './protocol.ts';

export class Export {
  readonly name: string;
  /** For a person; may be empty. */
  readonly description: string;
  readonly device: ByteDevice;

  constructor(name: string, description: string, device: BlockDevice) {
    this.name = name;
    this.description = description;
    this.device = new ByteDevice(device);
  }

  /** Any offset is taken, see ByteDevice. */
  get minimumBlock(): number {
    return 1;
  }
  /** Whole blocks are faster. */
  get preferredBlock(): number {
    return Math.max(4096, this.device.blockSize);
  }

  /**
   * Transmission flags. Not there: CACHE, because there is no cache in between to fill, and fast zeroes, because nobody
   * knows how fast the disk does them. A flush is for the whole disk, so several connections may be used.
   */
  flags(structured: boolean): number {
    const { hasFlags, readOnly, sendFlush, sendFua, sendTrim, sendWriteZeroes, sendDf, canMultiConn } =
      TransmissionFlag;
    const changes = this.device.readOnly ? readOnly : sendTrim | sendWriteZeroes;
    return hasFlags | sendFlush | sendFua | canMultiConn | changes | (structured ? sendDf : 0);
  }
}
