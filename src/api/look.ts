/** What is at a path, without opening it. */
import { stat } from 'node:fs/promises';
import type { FileIdentity } from '../config/file-identity.ts';
import { fileIdOf } from '../runtime/node/file.ts';

/** Undefined: there is nothing, or nothing that can be looked at. */
export async function look(path: string): Promise<FileIdentity | undefined> {
  try {
    const stats = await stat(path, { bigint: true });
    const { birthtimeNs, ctimeNs } = stats;
    const fileId = fileIdOf(stats);
    // Where there is no birth time the system gives 0 or the time of the last change, which is none.
    const known = birthtimeNs > 0n && birthtimeNs !== ctimeNs && !stats.isBlockDevice();
    return known ? { fileId, born: String(birthtimeNs) } : { fileId };
  } catch {
    return undefined;
  }
}

export async function lookAll(paths: Iterable<string>): Promise<Map<string, FileIdentity | undefined>> {
  const seen = new Map<string, FileIdentity | undefined>();
  for (const path of paths) seen.set(path, await look(path));
  return seen;
}

/**
 * When the file was made, if `path` still is the file `fileId`. File systems give an inode number to a new file as soon
 * as the old one is gone, so the number alone would take a fresh disk for the one before.
 */
export async function identify(path: string, fileId: string): Promise<FileIdentity> {
  const found = await look(path);
  return found?.fileId === fileId ? found : { fileId };
}
