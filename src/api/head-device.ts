/**
 * A head as the disk of an NBD export. Data goes from the socket's chunks to the head, and from the head into the
 * server's buffers, uncopied. Whatever happens to paths is the head's business: here it shows as time.
 */
import type { Head } from '../initiator/head.ts';
import { Io, type IoKind, type IoOwner } from '../initiator/io.ts';
import type { BlockDevice, Cancel, Done, Problem } from '../nbd/device.ts';
import { Errno } from '../nbd/protocol.ts';
import { Status, statusCode, statusName } from '../nvme/status.ts';

type What = ConstructorParameters<typeof Io>[2];

/** Written where the controller does not know Write Zeroes. */
const ZEROES = new Uint8Array(1024 * 1024);

const ERRNO = new Map<number, number>([
  [Status.LbaOutOfRange, Errno.EINVAL],
  [Status.CapacityExceeded, Errno.ENOSPC],
  [Status.NamespaceWriteProtected, Errno.EPERM],
  [Status.AccessDenied, Errno.EPERM],
  [Status.ReservationConflict, Errno.EPERM],
]);

const problemOf = (status: number): Problem => ({
  errno: ERRNO.get(statusCode(status)) ?? Errno.EIO,
  message: statusName(status),
});

/** What it needs of a head. */
export type DiskHead = Pick<Head, 'blocks' | 'blockSize' | 'info' | 'submit' | 'subsystem'>;

export class HeadDevice implements BlockDevice {
  readonly head: DiskHead;

  constructor(head: DiskHead) {
    this.head = head;
  }

  get size(): number {
    return this.head.blocks * this.head.blockSize;
  }
  get blockSize(): number {
    return this.head.blockSize;
  }
  get readOnly(): boolean {
    return this.head.info.readOnly;
  }

  /** Clients keep the subsystem, so that its number is nobody else's before they have left (NUM.7). */
  open(): () => void {
    return this.head.subsystem.hold();
  }

  read(offset: number, into: readonly Uint8Array[], done: Done): Cancel {
    const length = into.reduce((sum, part) => sum + part.length, 0);
    return this.#run('read', { ...this.#range(offset, length), buffers: into }, done);
  }

  write(offset: number, parts: readonly Uint8Array[], fua: boolean, done: Done): Cancel {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    return this.#run('write', { ...this.#range(offset, length), buffers: parts, fua }, done);
  }

  flush(done: Done): Cancel {
    return this.#run('flush', {}, done);
  }

  /** Dataset Management has no FUA: a flush follows. Who does not know it keeps the blocks, which a hint allows. */
  trim(offset: number, length: number, fua: boolean, done: Done): Cancel {
    const after = (status: number): Next => {
      if (status !== 0 && statusCode(status) !== Status.InvalidOpcode) return 'as it ended';
      return fua ? { kind: 'flush', what: {} } : 'well';
    };
    return this.#run('deallocate', { ranges: [this.#range(offset, length)] }, done, after);
  }

  zero(offset: number, length: number, keep: boolean, fua: boolean, done: Done): Cancel {
    const range = this.#range(offset, length);
    const after = (status: number): Next => {
      if (statusCode(status) !== Status.InvalidOpcode) return 'as it ended';
      const whole = Math.floor(length / ZEROES.length);
      const buffers: Uint8Array[] = new Array<Uint8Array>(whole).fill(ZEROES);
      if (length % ZEROES.length > 0) buffers.push(ZEROES.subarray(0, length % ZEROES.length));
      return { kind: 'write', what: { ...range, buffers, fua } };
    };
    return this.#run('zeroes', { ...range, fua, deallocate: !keep }, done, after);
  }

  #range(offset: number, length: number): { slba: number; blocks: number } {
    const { blockSize } = this.head;
    return { slba: offset / blockSize, blocks: length / blockSize };
  }

  #run(kind: IoKind, what: What, done: Done, after?: (status: number) => Next): Cancel {
    const operation = new Operation(this.head, done, after);
    operation.run(kind, what);
    return operation.cancel;
  }
}

/** What comes after an I/O: another one, or the end. */
type Next = { readonly kind: IoKind; readonly what: What } | 'well' | 'as it ended';

/** One or two I/Os on the head. */
class Operation implements IoOwner {
  readonly #head: DiskHead;
  readonly #done: Done;
  #after: ((status: number) => Next) | undefined;
  #io: Io | undefined = undefined;
  #cancelled = false;

  constructor(head: DiskHead, done: Done, after: ((status: number) => Next) | undefined) {
    this.#head = head;
    this.#done = done;
    this.#after = after;
  }

  run(kind: IoKind, what: What): void {
    this.#io = new Io(this, kind, what);
    this.#head.submit(this.#io);
  }

  readonly cancel = (): void => {
    this.#cancelled = true;
    this.#io?.abandon();
  };

  ioDone({ status }: Io): void {
    const next = this.#cancelled ? 'as it ended' : (this.#after?.(status) ?? 'as it ended');
    this.#after = undefined;
    if (next === 'well') this.#done(undefined);
    else if (next === 'as it ended') this.#done(status === 0 ? undefined : problemOf(status));
    else this.run(next.kind, next.what);
  }
}
