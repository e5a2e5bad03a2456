/** What is decided about a controller before it is connected, in the core's terms. */
import type { Address } from '../runtime/ports.ts';
import type { Recovery } from './recovery.ts';
import type { HeadSettings } from './subsystem.ts';

export interface ControllerOptions {
  readonly address: Address;
  /** Local address to come from, and the interface that has it: they name the local port. */
  readonly localHost: string | undefined;
  readonly localInterface?: string | undefined;
  readonly subnqn: string;
  readonly hostnqn: string;
  readonly hostid: string;
  /** I/O queues to ask for; 0: a discovery controller. */
  readonly ioQueues: number;
  /** More of them, for everything but reads; default 0: all queues take everything. */
  readonly writeQueues?: number | undefined;
  /** Entries of each of them. */
  readonly queueEntries: number;
  /** Keep Alive Timeout, milliseconds; 0: none. */
  readonly kato: number;
  readonly headerDigest: boolean;
  readonly dataDigest: boolean;
  readonly disableSqFlow: boolean;
  /** What is left out is as in Linux. */
  readonly recovery?: Partial<Recovery> | undefined;
  /** Try again when the first connect fails, as after a loss. Default: it fails at once. */
  readonly keepTrying?: boolean | undefined;
  /** How the heads of its subsystem behave from now on; what is left out stays as it is. */
  readonly heads?: Partial<HeadSettings> | undefined;
  /** The policy `preferred` takes its paths first. */
  readonly preferred?: boolean | undefined;
}
