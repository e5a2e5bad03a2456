/** Opening the file of a namespace, and saying what is wrong with it in words that help. */
import type { FileIo, FileSystem } from '../runtime/ports.ts';
import { unlink } from 'node:fs/promises';
import type { FileIdentity } from '../config/file-identity.ts';
import { identify, look } from './look.ts';
import { answer, refusal } from './answer.ts';
import { NvmeError } from './error.ts';

export interface OpenFile extends FileIdentity {
  readonly file: FileIo;
  /** There was none; it goes again when it cannot be exported. */
  readonly created: boolean;
}

/** Rejects with an NvmeError that has the system's code. `size`: make the file when there is none. */
export async function openFile(
  files: FileSystem,
  path: string,
  options: { readonly readOnly: boolean; readonly size?: number | undefined },
): Promise<OpenFile> {
  const { readOnly, size } = options;
  const created = size !== undefined && (await look(path)) === undefined;
  let file: FileIo;
  try {
    file = await answer<FileIo>((done) => files.open(path, { readOnly, createSize: size }, done));
  } catch (error) {
    throw explained(path, error, size !== undefined);
  }
  if (file.size === 0) {
    await answer<undefined>((done) => file.close(done));
    throw refusal('EINVAL', `${path} is empty: remove it, or make it as large as the disk shall be`);
  }
  return { file, created, ...(await identify(path, file.id)) };
}

/** Closes it, and leaves no file behind that was made for nothing. */
export async function giveUp({ file, created }: OpenFile): Promise<void> {
  await answer<undefined>((done) => file.close(done));
  if (created) await unlink(file.path);
}

function explained(path: string, error: unknown, creating: boolean): unknown {
  if (!(error instanceof NvmeError)) return error;
  const texts: Readonly<Record<string, string>> = {
    ENOENT: creating
      ? 'its folder does not exist'
      : 'there is no such file; it is made when its size is given (size=1G)',
    EISDIR: 'is a folder, not a file or a block device',
    ENOTSUP: 'is neither a regular file nor a block device',
    EBUSY: error.message.includes('another process')
      ? 'is in use by another process (another target, or something that is mounted)'
      : 'is in use already',
    EACCES: 'may not be read and written by this user (ro exports it read-only)',
    EPERM: 'may not be read and written by this user (ro exports it read-only)',
    EROFS: 'is on a read-only file system (ro exports it read-only)',
    ENOSPC: 'there is no space left for it',
    EFBIG: 'is larger than the file system allows',
  };
  const { code } = error;
  const text = texts[code] ?? error.message;
  return refusal(code, `${path}: ${text}`, error.cause);
}
