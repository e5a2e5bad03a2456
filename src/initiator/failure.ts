/**
 * Why something other than a single command failed: a connection, an association, a discovery. A value that travels
 * up by calls; the public API makes an error of it.
 */
import { statusName } from '../nvme/status.ts';

export interface Failure {
  /**
   * A stable name: what the system said (ECONNREFUSED, …); ETIMEDOUT: silence; ECONNRESET: the controller closed;
   * EPROTO: it broke the protocol, or said that we did; EINVAL: options that cannot work; ECANCELED: we were told to
   * stop. Undefined when `status` says it.
   */
  readonly code?: string;
  /** One line for a person. */
  readonly message: string;
  /** What a command ended with, when that was the reason. */
  readonly status?: number;
}

export const failure = (code: string, message: string): Failure => ({ code, message });

/** A command that had to succeed did not. */
export const refused = (command: string, status: number, detail = ''): Failure => ({
  status,
  message: `${command}: ${statusName(status)}${detail === '' ? '' : `, ${detail}`}`,
});
