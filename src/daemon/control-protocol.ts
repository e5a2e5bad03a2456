/**
 * The control protocol (docs/control.md): one JSON object a line, over a Unix-domain socket. A request is
 * `{"id", "method", "params"}`; it is answered by any number of `{"id", "progress"}` and one `{"id", "result"}` or
 * `{"id", "error"}`. Here are the forms, and how a stream of bytes becomes lines.
 */
import { z } from 'zod';

/** Bytes of one line; a configuration file of thousands of namespaces fits. */
export const MAX_LINE = 16 * 1024 * 1024;
export const MAX_CONNECTIONS = 64;

export interface ControlFault {
  /** A stable name: EINVAL, ENOENT, EBUSY, … */
  readonly code: string;
  /** One line for a person. */
  readonly message: string;
  /** Where in a configuration or in the params it is wrong. */
  readonly path?: string | undefined;
}

export const requestForm = z.strictObject({
  id: z.union([z.int(), z.string().max(100)]),
  method: z.string(),
  params: z.record(z.string(), z.unknown()).default({}),
});
export type Request = z.infer<typeof requestForm>;
export type RequestId = Request['id'];

/** `id` is null when the request was none that could be told. */
export type Answer =
  | { readonly id: RequestId | null; readonly error: ControlFault }
  | { readonly id: RequestId; readonly result: unknown }
  | { readonly id: RequestId; readonly progress: unknown };

/** Bytes in, lines out. */
export class Lines {
  readonly #most: number;
  #parts: Uint8Array[] = [];
  #length = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** The lines that are complete now; undefined: one is too long. */
  push(chunk: Uint8Array): string[] | undefined {
    const lines: string[] = [];
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, from);
      const part = chunk.subarray(from, end < 0 ? chunk.length : end);
      this.#length += part.length;
      if (this.#length > this.#most) return undefined;
      this.#parts.push(part);
      if (end < 0) return lines;
      lines.push(Buffer.concat(this.#parts).toString('utf8'));
      this.#parts = [];
      this.#length = 0;
      from = end + 1;
    }
  }
}

export const asLine = (value: unknown): Uint8Array => Buffer.from(`${JSON.stringify(value)}\n`);
