/** The error log of one controller (LID 01h): its last errors, the newest first. */
import { concat } from '../layout/bytes.ts';
import { ErrorLogEntry } from '../nvme/logs.ts';
import { ReadWrite } from '../nvme/sqe.ts';
import { Trtype } from '../nvme/discovery.ts';
import type { Command } from './command.ts';

/** Entries that are kept (ELPE + 1). */
export const ERROR_LOG_ENTRIES = 128;

export class ErrorLog {
  /** Errors since the controller was made. */
  count = 0;
  readonly #entries: Uint8Array[] = [];

  add(command: Command, status: number): void {
    this.count++;
    const slba = ReadWrite.slba.get(command.view, 0);
    const entry = ErrorLogEntry.bytes({
      ec: this.count,
      sqid: command.queue.qid,
      cid: command.cid,
      stsfld: (status << 1) & 0xffff,
      lba: command.volume !== undefined && Number.isFinite(slba) ? slba : 0,
      nsid: command.namespace?.nsid ?? 0,
      trtype: Trtype.Tcp,
      opc: command.opcode,
      lpver: 1,
    });
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
