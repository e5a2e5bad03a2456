/**
 * What a command does: a row of the fabrics, admin or I/O table. `check` looks at the SQE alone, before any data is
 * asked for; `execute` runs once the data is there; both are separate so that a command that must fail costs no data.
 */
import type { Command } from './command.ts';

/** Instead of a status: the command is answered when what it changed is kept. */
export const LATER = -1;
/** Command Scope and FID Scope, as bits (Base 2.1, section 5.1.12.1.6). */
export const Scope = { namespace: 1 << 0, controller: 1 << 1, subsystem: 1 << 5 } as const;

export interface Handler {
  readonly name: string;
  /** `in`: the host sends data, `out`: it gets data. */
  readonly transfer: 'none' | 'in' | 'out';
  /** Changes what is on the namespace. */
  readonly modifies?: true;
  /** Changes which namespaces controllers have. */
  readonly changesInventory?: true;
  /** How far it reaches, for the effects log; the namespace for I/O, the controller for admin commands if not given. */
  readonly scope?: keyof typeof Scope;
  /** Gives the status to refuse it with, or 0; sets `command.length`, and what `execute` needs. */
  check(command: Command): number;
  execute(command: Command): void;
  /** It is parked, and nobody waits for it any more: false if it cannot be forgotten. */
  forget?(command: Command): boolean;
  /** The storage operation is over. Only where `execute` submits one. */
  done?(command: Command): void;
}
