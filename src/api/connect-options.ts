/** What a user may say about a connection, in nvme-cli's names, checked and turned into the core's terms. */
import type { ControllerOptions } from '../initiator/controller-options.ts';
import type { HostIdentity } from '../initiator/identity.ts';
import { type Limits, QUEUE_SIZE } from '../initiator/limits.ts';
import { type WriteFailover, WRITE_FAILOVERS } from '../initiator/failover.ts';
import { MAX_DELAYED_REMOVAL } from '../initiator/head.ts';
import type { Recovery } from '../initiator/recovery.ts';
import { IO_POLICIES, type IoPolicy } from '../initiator/select.ts';
import type { HeadSettings } from '../initiator/subsystem.ts';
import { DISCOVERY_NQN, nqnProblem } from '../nvme/nqn.ts';
import { invalid } from './failure.ts';

export interface AddressOptions {
  /** IP address or name; IPv6 without brackets. */
  readonly traddr: string;
  /** TCP port. Default 4420, for discovery 8009. */
  readonly trsvcid?: string | number | undefined;
  /** Local address to come from. */
  readonly host_traddr?: string | undefined;
  /**
   * Interface to come from, `eth0`: one of its addresses is taken, and the controller waits while it is down. It does not
   * keep packets to that interface; how they leave is for the routes to say.
   */
  readonly host_iface?: string | undefined;
  /** Default: the host's, see `HostOptions`. One NQN goes with one ID. */
  readonly hostnqn?: string | undefined;
  /** A UUID. */
  readonly hostid?: string | undefined;
  readonly hdr_digest?: boolean | undefined;
  readonly data_digest?: boolean | undefined;
  /** Seconds; 0: no keep-alive. Default 5, for discovery 0. */
  readonly keep_alive_tmo?: number | undefined;
  /** Gives up connecting; what is connected already is not touched. */
  readonly signal?: AbortSignal | undefined;
}

/** One more way to a subsystem. */
export interface WayOptions {
  readonly traddr: string;
  readonly trsvcid?: string | number | undefined;
  readonly host_traddr?: string | undefined;
  readonly host_iface?: string | undefined;
  /** The policy `preferred` takes it first. */
  readonly preferred?: boolean | undefined;
}

/** How the disks of a subsystem use their paths. May be changed while it is connected. */
export interface HeadOptions {
  /**
   * Among the paths that are usable and best by ANA: `numa` stays with one, `round-robin` takes turns, `queue-depth`
   * takes the one with the fewest commands, `preferred` those that were named so. Default numa.
   */
  readonly iopolicy?: IoPolicy | undefined;
  /**
   * A write that may have left on a path that is lost: `safe` repeats it only when the old association is known to be
   * dead on the target, so that it cannot overwrite what is newer; `immediate` repeats it at once. Default safe.
   */
  readonly write_failover?: WriteFailover | undefined;
  /** Seconds that a disk without a path is kept, with its I/O waiting. Default 0: it goes with its last path. */
  readonly delayed_removal_secs?: number | undefined;
}

export interface ConnectOptions extends AddressOptions, RecoveryOptions, HeadOptions {
  readonly subnqn: string;
  /** More ways to the same subsystem, each a controller of its own. */
  readonly ways?: readonly WayOptions[] | undefined;
  /** The policy `preferred` takes this way first. */
  readonly preferred?: boolean | undefined;
  /** I/O queues to ask for. Default: one for each processor, at most 4. */
  readonly nr_io_queues?: number | undefined;
  /** More queues, for everything but reads; `nr_io_queues` then take reads alone. Default 0: all take everything. */
  readonly nr_write_queues?: number | undefined;
  /** Entries of an I/O queue, 16 to 1024. Default 128; one less can be outstanding. */
  readonly queue_size?: number | undefined;
  /** Ask for queues without submission queue flow control. */
  readonly disable_sqflow?: boolean | undefined;
  /** Make another controller even if one goes to the same place as the same host. Default: that one is used. */
  readonly duplicate_connect?: boolean | undefined;
  /** Go on trying when the first connect fails, as after a loss. Default: it fails at once. */
  readonly keep_trying?: boolean | undefined;
}

/** How a lost controller is dealt with. May be changed while it is connected. */
export interface RecoveryOptions {
  /** Seconds between attempts to connect a lost controller again. Default 10. */
  readonly reconnect_delay?: number | undefined;
  /** Seconds from the loss until the controller is given up, -1: never, 0: at once. Default 600. */
  readonly ctrl_loss_tmo?: number | undefined;
  /** Seconds from the loss until I/O fails although attempts go on, -1: off. Default off. */
  readonly fast_io_fail_tmo?: number | undefined;
  /** Seconds from the moment that its port was unregistered until the controller is given up, -1: off. Default off. */
  readonly dev_loss_tmo?: number | undefined;
  /** Each attempt that fails makes the delay twice as long, up to a minute, and leaves a quarter of it to chance. */
  readonly backoff?: boolean | undefined;
}

const LARGEST_KATO = 0xffffffff;
const MOST_QUEUES = 65_534;

/** Throws NvmeError, code EINVAL. */
export function whole(name: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max)
    throw invalid(`${name} ${value} is not a whole number from ${min} to ${max}`);
  return value;
}

function port(trsvcid: string | number): number {
  const text = String(trsvcid);
  if (!/^\d{1,5}$/.test(text) || Number(text) < 1 || Number(text) > 65535)
    throw invalid(`trsvcid ${JSON.stringify(trsvcid)} is not a port`);
  return Number(text);
}

/** Throws NvmeError, code EINVAL. */
function common(
  options: AddressOptions,
  identity: HostIdentity,
  subnqn: string,
  defaultPort: number,
  kato: number,
) {
  const { traddr, trsvcid = defaultPort, host_traddr, host_iface, keep_alive_tmo } = options;
  if (host_iface !== undefined && !/^[^\s/%]{1,15}$/.test(host_iface))
    throw invalid(`host_iface ${JSON.stringify(host_iface)} is not the name of an interface`);
  if (typeof traddr !== 'string' || traddr.trim() === '') throw invalid('traddr is missing');
  if (/^[^:]*:\d+$/.test(traddr.trim()))
    throw invalid(`traddr ${JSON.stringify(traddr)} has a port in it: that is trsvcid (-s)`);
  const bad = nqnProblem(subnqn);
  if (bad !== undefined) throw invalid(`subnqn ${bad}`);
  for (const [name, nqn] of [
    ['subnqn', subnqn],
    ['hostnqn', identity.hostnqn],
  ] as const)
    if (!/^[\x21-\x7e]*$/.test(nqn))
      throw invalid(`${name} ${JSON.stringify(nqn)} has characters that are not ASCII`);
  return {
    address: { host: traddr.trim().replace(/^\[(.*)\]$/, '$1'), port: port(trsvcid) },
    localHost: host_traddr,
    localInterface: host_iface,
    subnqn,
    ...identity,
    kato:
      keep_alive_tmo === undefined
        ? kato
        : whole('keep_alive_tmo', keep_alive_tmo, 0, Math.floor(LARGEST_KATO / 1000)) * 1000,
    headerDigest: options.hdr_digest ?? false,
    dataDigest: options.data_digest ?? false,
  };
}

/** Throws NvmeError, code EINVAL. */
export function controllerOptions(
  options: ConnectOptions,
  identity: HostIdentity,
  limits: Limits,
  processors: number,
): ControllerOptions {
  const {
    subnqn,
    nr_io_queues = Math.max(1, Math.min(processors, limits.ioQueues)),
    nr_write_queues = 0,
    queue_size = limits.ioEntries,
  } = options;
  if (typeof subnqn !== 'string') throw invalid('subnqn is missing');
  if (subnqn === DISCOVERY_NQN) throw invalid('subnqn is that of a discovery subsystem: use discover()');
  return {
    ...common(options, identity, subnqn, 4420, limits.keepAlive),
    ioQueues: whole('nr_io_queues', nr_io_queues, 1, MOST_QUEUES),
    // Both are asked for with one number.
    writeQueues: whole('nr_write_queues', nr_write_queues, 0, MOST_QUEUES - nr_io_queues),
    queueEntries: whole('queue_size', queue_size, QUEUE_SIZE.min, QUEUE_SIZE.max),
    disableSqFlow: options.disable_sqflow ?? false,
    recovery: recoveryOptions(options),
    keepTrying: options.keep_trying ?? false,
    heads: headOptions(options),
    preferred: options.preferred ?? false,
  };
}

export const delayedRemoval = (seconds: number): number =>
  whole('delayed_removal_secs', seconds, 0, MAX_DELAYED_REMOVAL);

function oneOf<T extends string>(name: string, value: T | undefined, of: readonly T[]): T | undefined {
  if (value !== undefined && !of.includes(value))
    throw invalid(`${name} ${JSON.stringify(value)} is not one of ${of.join(', ')}`);
  return value;
}

/** What is said of them, in the core's terms. Throws NvmeError, code EINVAL. */
export function headOptions(options: HeadOptions): Partial<HeadSettings> {
  const { delayed_removal_secs } = options;
  const found = {
    iopolicy: oneOf('iopolicy', options.iopolicy, IO_POLICIES),
    writeFailover: oneOf('write_failover', options.write_failover, WRITE_FAILOVERS),
    delayedRemoval: delayed_removal_secs === undefined ? undefined : delayedRemoval(delayed_removal_secs),
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

/** What is said of them, in the core's terms. Throws NvmeError, code EINVAL. */
export function recoveryOptions(options: RecoveryOptions): Partial<Recovery> {
  const most = 2 ** 31 - 1;
  const seconds = (name: keyof RecoveryOptions, value: number | undefined): number | undefined =>
    value === undefined ? undefined : value === -1 ? Infinity : whole(name, value, 0, most) * 1000;
  const { reconnect_delay, backoff } = options;
  const delay =
    reconnect_delay === undefined ? undefined : whole('reconnect_delay', reconnect_delay, 1, 86400);
  const found = {
    reconnectDelay: delay === undefined ? undefined : delay * 1000,
    ctrlLossTmo: seconds('ctrl_loss_tmo', options.ctrl_loss_tmo),
    fastIoFailTmo: seconds('fast_io_fail_tmo', options.fast_io_fail_tmo),
    devLossTmo: seconds('dev_loss_tmo', options.dev_loss_tmo),
    backoff: backoff === undefined ? undefined : backoff ? 2 : 1,
    jitter: backoff === undefined ? undefined : backoff ? 0.25 : 0,
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

/** Throws NvmeError, code EINVAL. */
export function discoveryOptions(options: AddressOptions, identity: HostIdentity): ControllerOptions {
  return {
    ...common(options, identity, DISCOVERY_NQN, 8009, 0),
    ioQueues: 0,
    queueEntries: QUEUE_SIZE.min,
    disableSqFlow: false,
    // Nobody stays connected to ask once.
    recovery: { ctrlLossTmo: 0 },
  };
}
