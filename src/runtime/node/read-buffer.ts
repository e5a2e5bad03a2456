/**
 * The memory that an accepted socket reads into: the same again and again, as long as nothing of it is kept. By itself
 * Node makes 64 KiB for each read; V8 counts them, and looks for garbage in all that there is many times a second.
 */
import * as net from 'node:net';

/** Bytes of one read, at most. */
export const READ_BYTES = 65_536;
/** Where something of a buffer is kept, what is left of it is used as long as it is so much, bytes. */
const WORTHWHILE = READ_BYTES / 4;

export class ReadBuffer implements net.OnReadOpts {
  #bytes = Buffer.allocUnsafeSlow(READ_BYTES);
  readonly #received: (chunk: Uint8Array) => boolean;

  /** `received` says whether something of the chunk is kept. */
  constructor(received: (chunk: Uint8Array) => boolean) {
    this.#received = received;
  }

  /** Where the next read goes; asked for after each. */
  readonly buffer = (): Uint8Array => this.#bytes;

  readonly callback = (bytes: number): boolean => {
    if (this.#received(this.#bytes.subarray(0, bytes))) {
      const left = this.#bytes.length - bytes;
      this.#bytes = left < WORTHWHILE ? Buffer.allocUnsafeSlow(READ_BYTES) : this.#bytes.subarray(bytes);
    }
    return true;
  };
}

/**
 * The same connection as a socket that reads into `buffer`. A socket that connects can be told so; for one that was
 * accepted, Node has no documented way, but its constructor takes the handle of another, as it does for itself. Undefined:
 * this Node keeps its handles elsewhere; `accepted` is as it was.
 */
export function withBuffer(accepted: net.Socket, buffer: ReadBuffer): net.Socket | undefined {
  const handle: unknown = Reflect.get(accepted, '_handle');
  if (typeof handle !== 'object' || handle === null || !('useUserBuffer' in handle)) return undefined;
  Reflect.set(accepted, '_handle', null);
  const options = { handle, onread: buffer, allowHalfOpen: true, readable: true, writable: true };
  return new net.Socket(options);
}
