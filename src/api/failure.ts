/** What the initiator's core says went wrong, as an NvmeError. */
import type { Failure } from '../initiator/failure.ts';
import { Status, statusCode, statusName } from '../nvme/status.ts';
import { NvmeError } from './error.ts';

/** `LbaOutOfRange` → `NVME_LBA_OUT_OF_RANGE`. */
const CODES = new Map<number, string>(
  Object.entries(Status).map(([name, code]) => [
    code,
    `NVME_${name.replaceAll(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase()}`,
  ]),
);

/** The stable name of a status: `NVME_LBA_OUT_OF_RANGE`, or `NVME_STATUS_1C7` where there is none. */
export function codeOf(status: number): string {
  const code = statusCode(status);
  return CODES.get(code) ?? `NVME_STATUS_${code.toString(16).toUpperCase().padStart(3, '0')}`;
}

/** A command ended with `status`. `what`: which one. */
export const statusError = (what: string, status: number): NvmeError =>
  new NvmeError(`${what}: ${statusName(status)}`, { code: codeOf(status), status });

/** A command ended, and nobody can tell whether it was carried out. */
export const unknownError = (what: string, status: number): NvmeError =>
  new NvmeError(`${what}: it may have been carried out, or not: the path was lost (${statusName(status)})`, {
    code: 'OUTCOME_UNKNOWN',
    status,
  });

export function failureError(reason: Failure): NvmeError {
  const { message, status } = reason;
  return new NvmeError(message, { code: reason.code ?? codeOf(status ?? Status.InternalError), status });
}

export const invalid = (message: string): NvmeError => new NvmeError(message, { code: 'EINVAL' });

/** An AbortSignal ended the wait. */
export function abortError(signal: AbortSignal, what: string): NvmeError {
  return new NvmeError(`${what}: aborted`, { code: 'ABORT_ERR', cause: signal.reason });
}
