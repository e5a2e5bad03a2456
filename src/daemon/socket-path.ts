/**
 * A Unix-domain socket's path has some hundred bytes at most, and a state folder may be deeper than that. There is a short
 * way to it on Linux: through the descriptor of its folder.
 */
import { closeSync, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';

/** What every system takes. */
const LONGEST = 103;

export interface SocketPath {
  readonly path: string;
  /** When the socket has been closed. */
  release(): void;
}

/** Throws what the system says when the folder cannot be opened. */
export function socketPath(wanted: string): SocketPath {
  if (Buffer.byteLength(wanted) <= LONGEST || process.platform !== 'linux')
    return { path: wanted, release: () => undefined };
  const fd = openSync(dirname(wanted), 'r');
  return { path: `/proc/self/fd/${fd}/${basename(wanted)}`, release: () => closeSync(fd) };
}
