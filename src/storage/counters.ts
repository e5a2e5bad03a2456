/** What a volume has done since it was opened; of operations that succeeded, but for `errors`. */
import type { Operation } from './operation.ts';

export class VolumeCounters {
  reads = 0;
  /** Writes and copies. */
  writes = 0;
  bytesRead = 0;
  bytesWritten = 0;
  errors = 0;

  /** `op` is over. */
  count(op: Operation): void {
    if (op.error) this.errors++;
    else if (op.kind === 'read') {
      this.reads++;
      this.bytesRead += op.length;
    } else if (op.kind === 'write' || op.kind === 'copy') {
      this.writes++;
      this.bytesWritten += op.length;
    }
  }

  /** Another volume's, on top. */
  add(other: VolumeCounters): void {
    this.reads += other.reads;
    this.writes += other.writes;
    this.bytesRead += other.bytesRead;
    this.bytesWritten += other.bytesWritten;
    this.errors += other.errors;
  }
}
