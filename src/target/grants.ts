/**
 * R2T: a host sends data that it was granted, and it is granted what the write budget has room for. The commands of one
 * queue stand in line for that, and the queues in another one.
 */
import { Fes, ProtocolFault, invalidField } from '../pdu/fault.ts';
import { H2CData, PduType, R2T } from '../pdu/pdus.ts';
import { Fifo } from '../runtime/fifo.ts';
import type { Waiter } from './budget.ts';
import type { Command } from './command.ts';
import type { Connection } from './connection.ts';

/** A queue holds, but for one command, no more than this part of what it leaves: much of it may never come back. */
const LEAVES = 16;

export class Grants implements Waiter {
  readonly #connection: Connection;
  /** Commands whose write data waits for budget, in order. */
  readonly #line = new Fifo<Command>();
  /** Bytes granted at present. */
  granted = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** More of the command's data is needed than is here. */
  ask(command: Command): void {
    // What has its budget never stands behind what waits for some.
    if (command.reserved > 0) {
      this.request(command);
      return;
    }
    command.phase = 'granting';
    // The first of a pair takes the budget for both: two pairs must not have half of it each.
    if (command !== command.pair?.second || command.pair.first.phase !== 'granting') this.#line.push(command);
    this.#grant();
  }

  /** The connection is lost: nobody is granted anything. */
  clear(): void {
    this.#line.clear();
    this.#connection.target.writeBudget.forget(this);
  }

  /** Takes a command out of the line for budget; those behind it may go on. */
  remove(command: Command): void {
    if (this.#line.remove(command)) this.#grant();
  }

  /** Takes the write budget for all of a command's data, in order of arrival, as far as it goes. */
  #grant(): void {
    const { limits, writeBudget } = this.#connection.target;
    for (let command = this.#line.peek(); command !== undefined; command = this.#line.peek()) {
      const second = this.#secondOf(command);
      const length = command.length + (second?.length ?? 0);
      // What a queue holds may exceed its share by no more than one command, so that any command fits. The less is
      // left, the less one may hold: hosts that do not send what they were granted leave some to those that come later.
      const share = Math.min(limits.queueWriteBudget, writeBudget.left / LEAVES);
      if (this.granted > 0 && this.granted + length > share) {
        // Its own commands wake it; others need not stand behind it.
        writeBudget.forget(this);
        return;
      }
      if (!writeBudget.take(length, this)) return;
      this.#line.shift();
      this.granted += length;
      this.#receive(command);
      if (second !== undefined) this.#receive(second);
    }
    // The last one that waited may have been taken out of the line: nobody need stand behind nothing.
    writeBudget.forget(this);
  }

  /** The second command of a pair whose first is `command`, when it needs budget too. */
  #secondOf(command: Command): Command | undefined {
    const second = command.pair?.second;
    return second === undefined || second === command || !this.#needsBudget(second) ? undefined : second;
  }

  #needsBudget({ received, reserved, length }: Command): boolean {
    return received < length && reserved === 0;
  }

  /** `command`'s budget is taken. */
  #receive(command: Command): void {
    command.reserved = command.length;
    command.phase = 'receiving';
    this.request(command);
  }

  /** Sends an R2T for what is missing, up to MAXH2CDATA; there is one at a time per command (MAXR2T is at least 1). */
  request(command: Command): void {
    const { env, sender, target } = this.#connection;
    const length = Math.min(command.length - command.received, target.limits.maxH2cData);
    command.granted = command.received + length;
    command.grantedAt = env.clock.now();
    const at = sender.begin(PduType.R2T, 0, 0);
    R2T.cccid.set(sender.view, at, command.cid);
    R2T.ttag.set(sender.view, at, command.tag);
    R2T.r2to.set(sender.view, at, command.received);
    R2T.r2tl.set(sender.view, at, length);
    sender.end();
  }

  get waits(): boolean {
    return this.#line.length > 0;
  }

  budgetFreed(): void {
    this.#grant();
  }

  /** The command's data is used up, or given up. */
  giveBack(command: Command): void {
    this.granted -= command.reserved;
    this.#connection.target.writeBudget.release(command.reserved);
    command.reserved = 0;
    if (this.#line.length > 0) this.#grant();
  }

  /** Since when the host owes data that it was granted. */
  owedSince(commands: readonly Command[]): number | undefined {
    if (this.granted === 0) return undefined;
    let since: number | undefined;
    for (const command of commands)
      if (command.phase === 'receiving' && command.granted > command.received)
        since = Math.min(since ?? Infinity, command.grantedAt);
    return since;
  }
}

/** The header of an H2CData PDU: `command`, which its TTAG names, if that was granted what comes. */
export function grantedCommand(command: Command | undefined, header: DataView, dataLength: number): Command {
  if (command?.phase !== 'receiving' || command.granted === 0)
    throw invalidField(
      H2CData.ttag.offset,
      `H2CData with TTAG ${H2CData.ttag.get(header, 0)}, for which nothing was asked`,
    );
  if (command.cid !== H2CData.cccid.get(header, 0))
    throw invalidField(
      H2CData.cccid.offset,
      `H2CData with CCCID ${H2CData.cccid.get(header, 0)}, not ${command.cid}`,
    );
  if (dataLength === 0) throw invalidField(H2CData.datal.offset, 'H2CData without data');
  const offset = H2CData.datao.get(header, 0);
  if (offset !== command.received || offset + dataLength > command.granted)
    throw new ProtocolFault(
      Fes.OutOfRange,
      0,
      `H2CData of ${offset}+${dataLength}, expected from ${command.received} to ${command.granted}`,
    );
  const last = offset + dataLength === command.granted;
  if ((H2CData.flags.last.get(header, 0) === 1) !== last)
    throw invalidField(
      H2CData.flags.offset,
      `H2CData with LAST_PDU ${last ? 'clear at' : 'set before'} the end of the R2T`,
    );
  return command;
}
