/** What the server needs of a disk. */

/** Why an operation failed, as NBD tells it: `errno` is one of the protocol's (protocol.ts). */
export interface Problem {
  readonly errno: number;
  /** One line for a person; clients with structured replies see it. */
  readonly message: string;
}

export type Done = (problem: Problem | undefined) => void;

/**
 * Gives an operation up: `done` follows as soon as its buffers are not needed any more, if it had not come to an end by
 * itself. After `done` a call does nothing.
 */
export type Cancel = () => void;

/** A run of bytes in one state. `hole`: no storage is used; `zero`: it reads as zeroes. */
export interface Extent {
  readonly length: number;
  readonly hole: boolean;
  readonly zero: boolean;
}

/**
 * A disk. Offsets and lengths are bytes, multiples of `blockSize`, and within `size`; all may change while it is in
 * use. Operations may take any time, are never timed out, may be carried out in any order, and call `done` exactly
 * once, possibly before the call returns. Buffers belong to the device until then.
 */
export interface BlockDevice {
  readonly size: number;
  /** A power of two, up to 65,536. */
  readonly blockSize: number;
  readonly readOnly: boolean;
  /** A client has chosen it. What this returns is called once, when nothing of the client is left. */
  readonly open?: (() => () => void) | undefined;
  /** Fills the buffers, one after the other from `offset`. */
  read(offset: number, into: readonly Uint8Array[], done: Done): Cancel;
  /** With `fua`, done when the data is on stable storage. */
  write(offset: number, parts: readonly Uint8Array[], fua: boolean, done: Done): Cancel;
  /** Everything that was done before this call is on stable storage, whoever asked for it. */
  flush(done: Done): Cancel;
  /** The range is not needed any more. What it reads as is the device's own. */
  trim(offset: number, length: number, fua: boolean, done: Done): Cancel;
  /** The range reads as zeroes. With `keep`, its space stays. */
  zero(offset: number, length: number, keep: boolean, fua: boolean, done: Done): Cancel;
  /** What is known of the range, from its beginning; it may end before the range does, but not at once. */
  readonly status?:
    | ((
        offset: number,
        length: number,
        done: (problem: Problem | undefined, extents: readonly Extent[]) => void,
      ) => Cancel)
    | undefined;
}
