import type { IoError } from '../ports.ts';

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'EIO';

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'not permitted',
  EPERM: 'not permitted',
  ENOTDIR: 'not a folder',
  EISDIR: 'it is a folder',
  EROFS: 'the file system is read-only',
  ENOSPC: 'there is no space left',
  ENAMETOOLONG: 'the name is too long',
  ELOOP: 'symbolic links lead nowhere',
};

/** Why a call on a file or folder failed, for a person; the caller says which. */
export function inWords(error: unknown): string {
  return WORDS[codeOf(error)] ?? (error instanceof Error ? error.message : String(error));
}

/** What a `node:*` call failed with, as an `IoError`. Codes of Node itself (ERR_…) pass through. */
export function ioError(error: unknown, context?: string): IoError {
  const code = codeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  return { code, message: context === undefined ? message : `${context}: ${message}` };
}

/** Carries an `IoError` through the promises inside this folder. */
export class IoFailure extends Error implements IoError {
  override readonly name = 'IoFailure';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
