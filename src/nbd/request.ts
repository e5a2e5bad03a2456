/**
 * One request, from its header to the moment when the socket has its whole answer. A connection keeps those that are
 * over and uses them again.
 *
 *     waiting (for its turn) → admitted → running (its data is here) → sending → idle
 */
import { RequestHeader } from './protocol.ts';
import type { Command } from './commands.ts';
import type { Connection } from './connection.ts';
import type { Cancel, Problem } from './device.ts';
import type { Sent } from './sender.ts';

export class Request implements Sent {
  readonly connection: Connection;
  phase: 'idle' | 'waiting' | 'admitted' | 'running' | 'sending' = 'idle';

  flags = 0;
  cookieHigh = 0;
  cookieLow = 0;
  /** Bytes; Infinity past 2^53 - 1. */
  offset = 0;
  length = 0;
  /** Undefined: there is none of that type. */
  command: Command | undefined = undefined;
  /** The first thing that went wrong. */
  problem: Problem | undefined = undefined;

  /** Data of a write: slices of what was received. Dropped when the request is refused already. */
  readonly parts: Uint8Array[] = [];
  /** Data of a write that is still to come. */
  missing = 0;
  /** Bytes of the connection's budget that it holds. */
  held = 0;
  /** Pieces of a read that are not there yet. */
  running = 0;
  /** How to give up the operations of the device; those that are done do not mind. */
  readonly cancels: Cancel[] = [];
  /** Its last reply is on its way. */
  answered = false;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  begin(header: DataView): void {
    this.flags = RequestHeader.flags.get(header, 0);
    this.cookieHigh = RequestHeader.cookieHigh.get(header, 0);
    this.cookieLow = RequestHeader.cookieLow.get(header, 0);
    this.offset = RequestHeader.offset.get(header, 0);
    this.length = RequestHeader.length.get(header, 0);
    this.problem = undefined;
    this.parts.length = 0;
    this.cancels.length = 0;
    this.held = this.running = 0;
    this.answered = false;
    this.phase = 'waiting';
    this.missing = 0;
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  /** The first problem counts. */
  fail(errno: number, message: string): void {
    this.problem ??= { errno, message };
  }

  /** What `done` of the request's only operation is: one function for all of them. */
  readonly operationDone = (problem: Problem | undefined): void => {
    this.problem ??= problem;
    this.connection.requests.answer(this);
  };

  /** The client is gone: nobody wants the answer. */
  cancel(): void {
    for (const cancel of [...this.cancels]) cancel();
  }

  /** The socket has taken the answer. */
  sent(): void {
    this.connection.requests.sent(this);
  }
}
