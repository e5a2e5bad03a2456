/** Where the core's callbacks become the public API's promises, and what went wrong becomes an NvmeError. */
import { NvmeError } from './error.ts';
import type { IoError } from '../runtime/ports.ts';

export function refusal(code: string, message: string, cause?: unknown): NvmeError {
  return new NvmeError(message, { code, cause });
}

/** `start` is given the callback of one operation; the promise settles with what it is called with. */
export function answer<T>(
  start: (done: (error: IoError | undefined, value?: T) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error === undefined) resolve(value as T);
      else reject(refusal(error.code, error.message, error));
    });
  });
}
