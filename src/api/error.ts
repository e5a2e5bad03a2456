/** What the public API rejects with. */
export interface NvmeErrorOptions {
  readonly code: string;
  readonly status?: number | undefined;
  readonly cause?: unknown;
}

/**
 * `code` is a stable name: `EINVAL`, an option is wrong; `ENODEV`, it is not there; `ECONNREFUSED`, `ETIMEDOUT`, … as the
 * system says; `EPROTO`, the other side broke the protocol; `ECANCELED`, disconnected or closed meanwhile; `ABORT_ERR`,
 * the caller's signal, `cause` is its reason; `NVME_…`, a command's status; `OUTCOME_UNKNOWN`, it may have been carried
 * out. `status` is the NVMe status when a command ended with one;
 * `message` is one line for a person.
 */
export class NvmeError extends Error {
  override readonly name = 'NvmeError';
  readonly code: string;
  readonly status: number | undefined;

  constructor(message: string, options: NvmeErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = options.code;
    this.status = options.status;
  }
}
