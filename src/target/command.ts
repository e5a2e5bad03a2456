/**
 * A command slot: one command from its capsule to its response. Slots are made on demand, belong to their queue and
 * are used again; the steady state allocates none.
 *
 *     free → receiving (capsule or H2CData) ⇄ granting (waits for budget, then R2T) → executing → sending → free
 */
import { concat } from '../layout/bytes.ts';
import { empty } from '../runtime/empty.ts';
import { viewOf } from '../layout/struct.ts';
import { SqeHead } from '../nvme/sqe.ts';
import { FabricsSqe } from '../nvme/fabrics.ts';
import { FABRICS_OPCODE } from '../nvme/opcode.ts';
import { DNR, Status } from '../nvme/status.ts';
import { Operation, type OperationOwner } from '../storage/operation.ts';
import type { Sent } from '../pdu/sender.ts';
import type { FusedPair } from './fused.ts';
import type { Handler } from './handler.ts';
import type { Volume } from '../storage/volume.ts';
import type { Attachment } from './attachment.ts';
import type { Namespace } from './namespace.ts';
import type { Queue } from './queue.ts';

/** Pieces of data below this may be copied, into blocks of `GATHER` bytes. */
const SMALL = 4096;
const GATHER = 16_384;
const MOST_PIECES = 32;
const ZEROES = new Uint8Array(16_384);

/** Parameter Error Location of an error that no field is to blame for. */
export const NOWHERE = 0xffff;

export type CommandPhase = 'free' | 'receiving' | 'granting' | 'executing' | 'sending';

export class Command implements OperationOwner, Sent {
  readonly queue: Queue;
  /** Index in the queue's slots, and the transfer tag of its R2Ts. */
  readonly tag: number;
  readonly sqe = new Uint8Array(64);
  readonly view = viewOf(this.sqe);
  readonly op = new Operation(this);
  phase: CommandPhase = 'free';

  opcode = 0;
  cid = 0;
  nsid = 0;
  /** What runs it; set once the capsule is complete. */
  handler: Handler | undefined = undefined;
  /** What it works on; the attachment's gates are looked at again when it starts. */
  attachment: Attachment | undefined = undefined;
  namespace: Namespace | undefined = undefined;
  /** The namespace's volume when the command came: it stays this command's when the namespace is disabled. */
  volume: Volume | undefined = undefined;

  /** Data that came with the capsule, bytes. */
  capsuleData = 0;
  /** Data that the command moves in either direction, bytes; set by `check`. */
  length = 0;
  /** Write data here so far, and up to where it is granted (R2TO + R2TL of the last R2T). */
  received = 0;
  granted = 0;
  /** Bytes taken from the write budget. */
  reserved = 0;
  /** When the last R2T was sent. */
  grantedAt = 0;
  /** What it ends with as soon as nothing more of its data is on the way: a data digest that was wrong, an Abort, … */
  problem = 0;
  /** Where the field is that is wrong: the byte of the SQE, and the bit in it times 256; for the error log. */
  wrong = NOWHERE;
  /** The fused pair that it is one half of. */
  pair: FusedPair | undefined = undefined;

  /** The response's dwords 0 and 1. */
  dw0 = 0;
  dw1 = 0;
  /** Data for the host: made by us, or (`lent`) the slices in `op.parts` that go back to storage once they are sent. */
  reply: readonly Uint8Array[] | undefined = undefined;
  lent = false;
  /** Executing, but with nothing under way: it waits for an event or for the socket, and may be dropped. */
  parked = false;
  /** Counted in the queue's bytes of running reads. */
  counted = false;
  /** For commands that take several steps. */
  step = 0;
  /** The last of the connection's chunks that it has slices of, and how many. */
  chunk = 0;
  #slices = 0;
  /** Told once when nothing of it executes any more. */
  whenOver: (() => void) | undefined = undefined;
  /** Compare: what the host sent, while the operation reads. */
  expected: readonly Uint8Array[] | undefined = undefined;

  /** Where small pieces of data are gathered, up to where it is used, and where its last part begins. */
  #gather: Uint8Array | undefined = undefined;
  #gathered = 0;
  #gatherStart = 0;

  constructor(queue: Queue, tag: number) {
    this.queue = queue;
    this.tag = tag;
    this.op.sharer = queue.connection.slabSharer;
    this.op.borrower = queue.connection;
  }

  /** Takes the SQE out of a capsule's header. */
  begin(header: DataView, at: number, capsuleData: number): void {
    // By words: a view of the header for each command would cost more than everything else here.
    for (let i = 0; i < 64; i += 4) this.view.setUint32(i, header.getUint32(at + i, true), true);
    this.opcode = SqeHead.opc.get(this.view, 0);
    this.cid = SqeHead.cid.get(this.view, 0);
    this.nsid = SqeHead.nsid.get(this.view, 0);
    this.capsuleData = capsuleData;
    this.length = this.received = this.granted = this.reserved = 0;
    this.dw0 = this.dw1 = 0;
    this.step = 0;
    this.problem = 0;
    this.wrong = NOWHERE;
    this.lent = this.parked = this.counted = false;
    this.handler = undefined;
    this.attachment = undefined;
    this.namespace = undefined;
    this.volume = undefined;
    this.reply = undefined;
    empty(this.op.parts);
    this.#gather = undefined;
    this.op.fua = this.op.deallocate = this.op.hold = this.op.mayBeLent = false;
    this.phase = 'receiving';
  }

  get fctype(): number {
    return this.opcode === FABRICS_OPCODE ? FabricsSqe.fctype.get(this.view, 0) : 0;
  }

  /**
   * Takes `chunk[start, end)` of the host's data. It is not copied, but where small pieces would keep much more than
   * themselves for long: a chunk many times as large, or too many of them.
   */
  take(chunk: Uint8Array, start: number, end: number): void {
    const { parts } = this.op;
    const length = end - start;
    const left = (this.handler === undefined ? this.capsuleData : this.length) - this.received;
    this.received += length;
    const keepsMuch = this.handler !== undefined && length * 16 < chunk.length;
    if (length >= SMALL || !(keepsMuch || parts.length >= MOST_PIECES)) {
      parts.push(chunk.subarray(start, end));
      if (this.chunk !== this.queue.chunk) {
        this.queue.holds(this);
        this.#slices = 0;
      }
      this.#slices++;
      return;
    }
    if (this.#gather === undefined || this.#gather.length - this.#gathered < length) {
      this.#gather = new Uint8Array(Math.max(length, Math.min(left, GATHER)));
      this.#gathered = this.#gatherStart = 0;
    } else if (parts.at(-1)?.buffer === this.#gather.buffer) parts.pop();
    else this.#gatherStart = this.#gathered;
    this.#gather.set(chunk.subarray(start, end), this.#gathered);
    this.#gathered += length;
    parts.push(this.#gather.subarray(this.#gatherStart, this.#gathered));
  }

  /**
   * Of a PDU that comes in two chunks, copies what the first had of it, if that is little and all that the command has
   * of that chunk.
   */
  letGo(): void {
    const { parts } = this.op;
    const first = parts.at(-1);
    if (this.chunk !== this.queue.chunk || this.#slices > 1 || first === undefined || first.length > GATHER)
      return;
    // Not `slice`: of a `Buffer`, which chunks are, it gives another view of the same memory.
    parts[parts.length - 1] = new Uint8Array(first);
    this.queue.letGo(this);
  }

  /** The received data in one piece; for commands that are not I/O. */
  data(): Uint8Array {
    return concat(this.op.parts).subarray(0, this.length);
  }

  /** Invalid Field in Command: the one at `byte` of the SQE, from `bit` on. */
  invalid(byte: number, bit = 0): number {
    this.wrong = byte + bit * 0x100;
    return Status.InvalidField | DNR;
  }

  /** Ends the command; `status` may carry DNR. */
  complete(status: number): void {
    this.queue.complete(this, status);
  }

  /** Ends the command with data for the host: as much as it asked for, with zeroes behind what there is. */
  respond(reply: Uint8Array): void {
    const parts = [reply.subarray(0, this.length)];
    for (let left = this.length - reply.length; left > 0; left -= ZEROES.length)
      parts.push(ZEROES.subarray(0, Math.min(left, ZEROES.length)));
    if (this.length > 0) this.reply = parts;
    this.queue.complete(this, 0);
  }

  operationDone(): void {
    this.handler!.done!(this);
  }

  sent(): void {
    this.queue.sent(this);
  }
}
