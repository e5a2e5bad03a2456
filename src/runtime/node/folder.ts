/** Folders of our own: state, sockets. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { IoFailure, inWords, ioError } from './errors.ts';

/**
 * Makes the folder, and those above it that are missing, for this user only; one that is there stays as it is. Throws an
 * IoFailure. Step by step, because Node's own way never returns where the system refuses with ENOENT, as /proc does.
 */
export function makeFolder(path: string): void {
  const missing: string[] = [];
  let at = resolve(path);
  for (; !existsSync(at); at = dirname(at)) missing.push(at);
  for (const each of missing.reverse()) makeOne(each);
  if (!statSync(path).isDirectory()) throw new IoFailure('ENOTDIR', `${path} is not a folder`);
}

function makeOne(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Somebody else was quicker.
    if (existsSync(path)) return;
    throw new IoFailure(ioError(error).code, `${path}: ${inWords(error)}`);
  }
}
