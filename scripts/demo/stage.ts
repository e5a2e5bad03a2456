/** What the demonstration plays with: a target with two ports, a line to each, and a host that uses both. */
import type { NvmeDisk, NvmeHost } from '../../src/api/index.ts';
import type { AnaStateName } from '../../src/config/document.ts';
import type { Line } from './line.ts';

export const PORTS = [1, 2] as const;
export type PortId = (typeof PORTS)[number];
/** ANA group of the disk. */
export const GROUP = 1;
/** Milliseconds that a target may go on with commands of an association that is lost; short, to be looked at. */
export const QUIESCE = 1000;

export interface Stage {
  /** Whose target it is. */
  readonly target: string;
  /** Seconds for which the host keeps the disk without a path. */
  readonly window: number;
  readonly host: NvmeHost;
  readonly disk: NvmeDisk;
  readonly lines: readonly Line[];
  /** The line to the port with this id. */
  line(id: PortId): Line;
  /** State of the disk's group, through this port. */
  ana(id: PortId, state: AnaStateName): Promise<void>;
  /** Every controller of the host and every port of the target goes. The disk waits. */
  removeAll(): Promise<void>;
  /** All of it comes back. Resolves with the disk that the host then has. */
  addAll(): Promise<NvmeDisk>;
  close(): Promise<void>;
}

/** Seconds. */
interface Times {
  readonly window: number;
  readonly keepAlive: number;
}

/** Connects the subsystem over every line. Resolves with its disk. */
export async function connectOver(
  host: NvmeHost,
  lines: readonly Line[],
  subnqn: string,
  { window, keepAlive }: Times,
): Promise<NvmeDisk> {
  const [first, ...ways] = lines.map((line) => ({ traddr: '127.0.0.1', trsvcid: line.port }));
  const subsystem = await host.connect({
    ...first!,
    ways,
    subnqn,
    nr_io_queues: 2,
    iopolicy: 'round-robin',
    delayed_removal_secs: window,
    keep_alive_tmo: keepAlive,
    // A machine that stops for as long as that does so while they connect, too.
    keep_trying: true,
    reconnect_delay: 1,
  });
  return subsystem.head(1);
}
