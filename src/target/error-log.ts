/**
 * The error log of one controller (LID 01h; Base 2.1, section 5.1.12.1.2): its last errors, the newest first, and
 * which field was to blame.
 */
import { concat } from '../layout/bytes.ts';
import { Csi } from '../nvme/identify.ts';
import { ErrorLogEntry } from '../nvme/logs.ts';
import { DPTR, GetLogPage, ReadWrite, SetFeatures, SqeHead } from '../nvme/sqe.ts';
import { IoStatus, Status, statusCode } from '../nvme/status.ts';
import { Trtype } from '../nvme/discovery.ts';
import { NOWHERE, type Command } from './command.ts';

/** Entries that are kept (ELPE + 1). */
export const ERROR_LOG_ENTRIES = 128;

/** Where the wrong field is, by status, for those that leave no doubt: the byte of the SQE. */
const BLAMED: ReadonlyMap<number, number> = new Map<number, number>([
  [Status.InvalidOpcode, SqeHead.opc.offset],
  [Status.AbortedMissingFused, SqeHead.flags.offset],
  [Status.InvalidNamespace, SqeHead.nsid.offset],
  [Status.InvalidSglDescriptor, DPTR],
  [Status.DataSglLengthInvalid, DPTR + 8],
  [Status.SglOffsetInvalid, DPTR],
  [Status.SglTypeInvalid, DPTR + 15],
  [Status.AtomicWriteUnitExceeded, ReadWrite.nlb.offset],
  [Status.LbaOutOfRange, ReadWrite.slba.offset],
  [Status.InvalidLogPage, GetLogPage.lid.offset],
  [Status.FeatureNotSaveable, SetFeatures.sv.offset],
  [Status.FeatureNotChangeable, SetFeatures.fid.offset],
  [Status.FeatureNotNamespaceSpecific, SqeHead.nsid.offset],
]);

/** Parameter Error Location. */
export function errorLocation({ wrong, queue }: Command, status: number): number {
  if (wrong !== NOWHERE) return wrong;
  const code = statusCode(status);
  if (queue.qid !== 0 && code === IoStatus.CommandSizeLimitExceeded) return ReadWrite.nlb.offset;
  return BLAMED.get(code) ?? NOWHERE;
}

export class ErrorLog {
  /** Errors since the controller was made. */
  count = 0;
  readonly #entries: Uint8Array[] = [];

  add(command: Command, status: number): void {
    this.count++;
    const { queue, volume, view } = command;
    // Only commands that found their namespace have blocks.
    const slba = queue.qid !== 0 && volume !== undefined ? ReadWrite.slba.get(view, 0) : 0;
    const pel = errorLocation(command, status);
    const entry = ErrorLogEntry.bytes({
      ec: this.count,
      sqid: queue.qid,
      cid: command.cid,
      stsfld: (status << 1) & 0xffff,
      lba: Number.isFinite(slba) ? slba : 0,
      nsid: command.nsid,
      trtype: Trtype.Tcp,
      csi: Csi.Nvm,
      opc: command.opcode,
      lpver: 1,
    });
    new DataView(entry.buffer).setUint16(ErrorLogEntry.pel.offset, pel, true);
    this.#entries.unshift(entry);
    if (this.#entries.length > ERROR_LOG_ENTRIES) this.#entries.pop();
  }

  encode(): Uint8Array {
    const all = concat([new Uint8Array(0), ...this.#entries]);
    const log = new Uint8Array(ERROR_LOG_ENTRIES * ErrorLogEntry.size);
    log.set(all);
    return log;
  }
}
