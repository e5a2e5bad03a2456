/** Sizes of namespaces that are exported: what their files say, or shall say. */
import { truncate } from 'node:fs/promises';
import { sizeProblem, bytesOf } from '../config/request.ts';
import type { Volume } from '../storage/volume.ts';
import type { Namespace } from '../target/namespace.ts';
import { answer, refusal } from './answer.ts';
import { look } from './look.ts';

function volumeOf({ volume, nsid }: Namespace): Volume {
  if (!volume) throw refusal('ESHUTDOWN', `namespace ${nsid} is disabled`);
  return volume;
}

/** Looks at the size of the file again, and tells the hosts if it has changed. */
export async function refresh(namespace: Namespace): Promise<void> {
  const volume = volumeOf(namespace);
  await answer<undefined>((done) => volume.refresh(done));
}

/** Makes the file as large as `size` (bytes, or `2G`) and tells the hosts. Smaller: what lies behind is lost. */
export async function resize(namespace: Namespace, size: number | string): Promise<void> {
  const { nsid, blockSize } = namespace;
  const volume = volumeOf(namespace);
  if (sizeProblem(size, blockSize) !== undefined)
    throw refusal('EINVAL', `${size} is not a whole number of ${blockSize}-byte blocks`);
  if (volume.readOnly) throw refusal('EROFS', `namespace ${nsid} is read-only`);
  // Only a regular file, and only the one that is exported: its name may be another's by now.
  const found = await look(volume.path);
  if (found?.fileId !== volume.id || volume.id.startsWith('block:'))
    throw refusal('ENOTSUP', `namespace ${nsid} cannot be resized: ${volume.path} is not its file`);
  await truncate(volume.path, bytesOf(size));
  await refresh(namespace);
}
