/** Which disk a file is. A path says where it was; device and inode, and when it was made, say what it is. */
import type { FileEntry } from './document.ts';

export interface FileIdentity {
  /** As `FileIo.id`: `device:inode`, or `block:major:minor`. */
  readonly fileId: string;
  /** Nanoseconds since 1970; undefined where the file system does not say. */
  readonly born?: string | undefined;
}

const inodeOf = (fileId: string): string => fileId.slice(fileId.indexOf(':') + 1);

/** Whether the file is the one of the entry; never of one whose file has not been opened yet. */
export function isSameFile(entry: Pick<FileEntry, 'fileId' | 'born'>, file: FileIdentity): boolean {
  if (entry.fileId === undefined) return false;
  const bothBorn = entry.born !== undefined && file.born !== undefined;
  if (bothBorn && entry.born !== file.born) return false;
  if (entry.fileId === file.fileId) return true;
  // Device numbers may change with a restart of the machine; inode and birth to the nanosecond do not by accident.
  return bothBorn && !file.fileId.startsWith('block:') && inodeOf(entry.fileId) === inodeOf(file.fileId);
}

/** The entry with what is known of its file by now; a birth that was seen once is not forgotten. */
export const withIdentity = (entry: FileEntry, { fileId, born }: FileIdentity): FileEntry => ({
  ...entry,
  fileId,
  ...(born !== undefined && { born }),
});
