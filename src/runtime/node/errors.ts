import type { IoError } from '../ports.ts';

/** What a `node:*` call failed with, as an `IoError`. Codes of Node itself (ERR_…) pass through. */
export function ioError(error: unknown, context?: string): IoError {
  const code =
    error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'EIO';
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
