/**
 * Slices of mapped files that are on their way to a socket. A socket that reads one whose file is unmapped by then would
 * end the process; one that reads where the file was cut off, or the disk fails, loses its connection (EFAULT).
 */
import type { SimDisk } from './disk.ts';

export interface Mapping {
  readonly disk: SimDisk;
  mapped: boolean;
}

const mappings = new WeakMap<Uint8Array, Mapping>();

export function lend(slice: Uint8Array, mapping: Mapping): Uint8Array {
  mappings.set(slice, mapping);
  return slice;
}

/** A socket reads the parts; false: it cannot. */
export function readable(parts: readonly Uint8Array[]): boolean {
  for (const part of parts) {
    const mapping = mappings.get(part);
    if (mapping === undefined) continue;
    const { disk, mapped } = mapping;
    if (!mapped) disk.onViolation('UNMAPPED', `${disk.name}: a socket reads what is not mapped any more`);
    if (disk.strikes('send EFAULT')) return false;
  }
  return true;
}
