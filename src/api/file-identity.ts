/** Which disk a file is. A path says where it was; device and inode, and when it was made, say what it is. */
import { stat } from 'node:fs/promises';
import type { NamespaceEntry } from './target-document.ts';

export interface FileIdentity {
  /** As `FileIo.id`: `device:inode`, or `block:major:minor`. */
  readonly fileId: string;
  /** Nanoseconds since 1970; undefined where the file system does not say. */
  readonly born?: string | undefined;
}

/**
 * The time the file was made, if `path` still is the file `fileId`. File systems give an inode number to a new file
 * as soon as the old one is gone, so the number alone would take a fresh disk for the one before.
 */
export async function identify(path: string, fileId: string): Promise<FileIdentity> {
  try {
    const { dev, ino, birthtimeNs, ctimeNs } = await stat(path, { bigint: true });
    // Where there is no birth time the system gives 0 or the time of the last change, which is none.
    const known = birthtimeNs > 0n && birthtimeNs !== ctimeNs && fileId === `${dev}:${ino}`;
    return known ? { fileId, born: String(birthtimeNs) } : { fileId };
  } catch {
    return { fileId };
  }
}

const inodeOf = (fileId: string): string => fileId.slice(fileId.indexOf(':') + 1);

/** Whether the file is the one of the entry. */
export function isSameFile(entry: NamespaceEntry, file: FileIdentity): boolean {
  const bothBorn = entry.born !== undefined && file.born !== undefined;
  if (bothBorn && entry.born !== file.born) return false;
  if (entry.fileId === file.fileId) return true;
  // Device numbers may change with a restart of the machine; inode and birth to the nanosecond do not by accident.
  return bothBorn && !file.fileId.startsWith('block:') && inodeOf(entry.fileId) === inodeOf(file.fileId);
}
