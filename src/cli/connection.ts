/** What the commands that connect have in common: nvme-cli's flags, and a connection for as long as the command runs. */
import { join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { ConnectOptions } from '../api/connect-options.ts';
import { NvmeError } from '../api/error.ts';
import { createHost, type NvmeHost } from '../api/host.ts';
import type { NvmeController } from '../api/host-controller.ts';
import type { NvmeSubsystem } from '../api/host-subsystem.ts';
import { HOST_SOCKET_NAME, stateFolder } from '../daemon/folder.ts';
import type { Disk } from '../daemon/head-client.ts';
import { WRITE_FAILOVERS, type WriteFailover } from '../initiator/failover.ts';
import { IO_POLICIES, type IoPolicy } from '../initiator/select.ts';
import { count, countOr, many } from './flags.ts';
import { telling } from './waiting.ts';

/** As commander names them. */
export interface HostFlags {
  readonly traddr: string;
  readonly trsvcid?: string;
  readonly hostTraddr?: string;
  readonly hostIface?: string;
  readonly hostnqn?: string;
  readonly hostid?: string;
  readonly hdrDigest?: boolean;
  readonly dataDigest?: boolean;
  readonly keepAliveTmo?: number;
}

/** How a lost controller is dealt with. */
export interface RecoveryFlags {
  readonly reconnectDelay?: number;
  readonly ctrlLossTmo?: number;
  readonly fastIoFailTmo?: number;
  /** As nvme-cli spells it. */
  readonly fast_io_fail_tmo?: number;
  readonly devLossTmo?: number;
  readonly backoff?: boolean;
}

/** How disks use their paths. */
export interface HeadFlags {
  readonly iopolicy?: IoPolicy;
  readonly writeFailover?: WriteFailover;
  readonly delayedRemovalSecs?: number;
}

export interface ControllerFlags extends RecoveryFlags, HeadFlags {
  readonly nrIoQueues?: number;
  readonly nrWriteQueues?: number;
  readonly queueSize?: number;
  readonly disableSqflow?: boolean;
}

/** What several ways are made of: the addresses and the ports, side by side. */
export interface WayFlags {
  readonly traddr: string | readonly string[];
  readonly trsvcid?: string | readonly string[];
}

export interface ConnectFlags extends Omit<HostFlags, 'traddr' | 'trsvcid'>, ControllerFlags, WayFlags {
  readonly nqn: string;
}

/** `--head`, or a subsystem. */
export interface HeadOrDiskFlags extends ConnectFlags, DaemonFlags {
  readonly head?: string;
  readonly nsid: number;
}

export interface Connected {
  readonly host: NvmeHost;
  readonly subsystem: NvmeSubsystem;
  readonly controller: NvmeController;
}

const LAST_NSID = 0xffff_fffe;
/** What is in examples, so that they fit a line. */
export const EXAMPLE = '-a 10.0.0.1 -s 4420 -n nqn.2014-08.org.nvmexpress:uuid:…';

const text = (value: string): string => value;
const seconds = countOr(-1, 0, 2 ** 31 - 1);

const transport = (): Option =>
  new Option('-t, --transport <name>', 'only this one').choices(['tcp']).default('tcp').hideHelp();

export function addAddressFlags(command: Command, port: string): Command {
  return command
    .addOption(transport())
    .requiredOption('-a, --traddr <address>', 'address of the target')
    .option('-s, --trsvcid <port>', `its port (default: ${port})`);
}

export function addHostFlags(command: Command): Command {
  return command
    .option('-w, --host-traddr <address>', 'address to come from')
    .option('-f, --host-iface <name>', 'interface to come from: with one of its addresses')
    .option('-q, --hostnqn <nqn>', 'name of this host (default: /etc/nvme/hostnqn, else made once and kept)')
    .option('-I, --hostid <uuid>', 'identifier of this host (default: /etc/nvme/hostid, else from the name)')
    .option('-g, --hdr-digest', 'protect headers with a CRC')
    .option('-G, --data-digest', 'protect data with a CRC')
    .option('-k, --keep-alive-tmo <seconds>', 'keep-alive; 0: none', count(0, 86_400));
}

export const addDiscoveryFlags = (command: Command): Command =>
  addHostFlags(addAddressFlags(command, '8009'));

export function addRecoveryFlags(command: Command): Command {
  return command
    .option(
      '-c, --reconnect-delay <seconds>',
      'between attempts after a loss (default: 10)',
      count(1, 86_400),
    )
    .option(
      '-l, --ctrl-loss-tmo <seconds>',
      'until a lost controller is given up; -1: never (default: 600)',
      seconds,
    )
    .option(
      '-F, --fast-io-fail-tmo <seconds>',
      'until the I/O of a lost controller fails; -1: not before it is given up (default: -1)',
      seconds,
    )
    .addOption(new Option('--fast_io_fail_tmo <seconds>').argParser(seconds).hideHelp())
    .option(
      '--dev-loss-tmo <seconds>',
      'until a controller is given up whose transport port is gone; -1: off (default: -1)',
      seconds,
    )
    .option('--backoff', 'wait longer after each attempt that fails, up to a minute');
}

export function addHeadFlags(command: Command): Command {
  return command
    .addOption(new Option('--iopolicy <policy>', 'how disks use their paths').choices(IO_POLICIES))
    .addOption(
      new Option(
        '--write-failover <policy>',
        'when writes that may have left on a lost path are repeated',
      ).choices(WRITE_FAILOVERS),
    )
    .option(
      '--delayed-removal-secs <seconds>',
      'how long a disk without a path is kept, its I/O waiting (default: 0)',
      count(0, 2 ** 31 - 1),
    );
}

export function addControllerFlags(command: Command): Command {
  const made = command
    .option('-i, --nr-io-queues <count>', 'I/O queues to ask for', count(1, 65_534))
    .option(
      '-W, --nr-write-queues <count>',
      'more of them, for everything but reads (default: 0, all take everything)',
      count(0, 65_533),
    )
    .option('-Q, --queue-size <entries>', 'entries of an I/O queue (default: 128)', count(16, 1024))
    .option('-d, --disable-sqflow', 'ask for queues without submission queue flow control');
  return addHeadFlags(addRecoveryFlags(made));
}

/** One controller of a subsystem. */
export function addConnectFlags(command: Command): Command {
  const made = addAddressFlags(command, '4420').requiredOption('-n, --nqn <nqn>', 'name of the subsystem');
  return addControllerFlags(addHostFlags(made));
}

const TRADDR = '-a, --traddr <address>';
const NQN = '-n, --nqn <nqn>';

/** A subsystem, by one way or several. */
export function addDiskFlags(command: Command): Command {
  const made = command
    .addOption(transport())
    .requiredOption(TRADDR, 'address of the target; several: one path each', many(text))
    .option('-s, --trsvcid <port>', 'its port; several: one path each (default: 4420)', many(text))
    .requiredOption(NQN, 'name of the subsystem');
  return addControllerFlags(addHostFlags(made));
}

/** A disk of a host daemon that runs, or a subsystem as above. */
export function addHeadOrDiskFlags(command: Command): Command {
  const made = command
    .option('--head <name>', 'a disk of the host daemon that runs here: nvme0n1, or its wwid, uuid.…')
    .addOption(transport())
    .option(TRADDR, 'address of the target; several: one path each', many(text))
    .option('-s, --trsvcid <port>', 'its port; several: one path each (default: 4420)', many(text))
    .option(NQN, 'name of the subsystem');
  return addDaemonFlags(addControllerFlags(addHostFlags(made))).hook('preAction', (_, acting) => {
    const { head, traddr, nqn } = acting.opts<Partial<HeadOrDiskFlags>>();
    const missing = traddr === undefined ? TRADDR : nqn === undefined ? NQN : undefined;
    if (head === undefined && missing !== undefined)
      acting.error(`error: required option '${missing}' not specified, nor --head`);
    if (head !== undefined && (traddr !== undefined || nqn !== undefined))
      acting.error('error: --head names a disk of the host daemon; -a and -n are for another');
  });
}

/** Where a host daemon is. */
export interface DaemonFlags {
  readonly state?: string;
  readonly control?: string;
}

export const addDaemonFlags = (command: Command): Command =>
  command
    .option('--state <folder>', 'state folder of the host daemon (default: as hostd)')
    .option(
      '--control <path>',
      `its control socket (default: $NVMETCP_HOST_CONTROL, else ${HOST_SOCKET_NAME} in the state folder)`,
    );

/** The control socket of the host daemon that is meant. */
export function hostSocket({ state, control }: DaemonFlags): string {
  const folder = stateFolder(state, process.env, process.getuid?.());
  return resolve(control ?? process.env['NVMETCP_HOST_CONTROL'] ?? join(folder, HOST_SOCKET_NAME));
}

export const addNsidFlag = (command: Command): Command =>
  command.option('--nsid <nsid>', 'namespace', count(1, LAST_NSID), 1);

export function addOutputFlag(command: Command): Command {
  return command.addOption(
    new Option('-o, --output-format <format>', 'how to print').choices(['normal', 'json']).default('normal'),
  );
}

export const hostOptions = (flags: HostFlags) => ({
  traddr: flags.traddr,
  trsvcid: flags.trsvcid,
  host_traddr: flags.hostTraddr,
  host_iface: flags.hostIface,
  hostnqn: flags.hostnqn,
  hostid: flags.hostid,
  hdr_digest: flags.hdrDigest,
  data_digest: flags.dataDigest,
  keep_alive_tmo: flags.keepAliveTmo,
});

/** Of each path; the shorter list goes on with its last one. */
export function waysOf({
  traddr,
  trsvcid = [],
}: WayFlags): { traddr: string; trsvcid: string | undefined }[] {
  const [addresses, ports] = [[traddr].flat(), [trsvcid].flat()];
  return Array.from({ length: Math.max(addresses.length, ports.length) }, (_, i) => ({
    traddr: addresses[i] ?? addresses.at(-1) ?? '',
    trsvcid: ports[i] ?? ports.at(-1),
  }));
}

export const recoveryOptions = (flags: RecoveryFlags) => ({
  reconnect_delay: flags.reconnectDelay,
  ctrl_loss_tmo: flags.ctrlLossTmo,
  fast_io_fail_tmo: flags.fastIoFailTmo ?? flags.fast_io_fail_tmo,
  dev_loss_tmo: flags.devLossTmo,
  backoff: flags.backoff,
});

export const headOptions = (flags: HeadFlags) => ({
  iopolicy: flags.iopolicy,
  write_failover: flags.writeFailover,
  delayed_removal_secs: flags.delayedRemovalSecs,
});

export const controllerOptions = (flags: ControllerFlags) => ({
  nr_io_queues: flags.nrIoQueues,
  nr_write_queues: flags.nrWriteQueues,
  queue_size: flags.queueSize,
  disable_sqflow: flags.disableSqflow,
  ...recoveryOptions(flags),
  ...headOptions(flags),
});

type Identified = Pick<HostFlags, 'hostnqn' | 'hostid'>;

/** Runs `use` with a host, and disconnects whatever happens. */
export async function withHost<T>(flags: Identified, use: (host: NvmeHost) => Promise<T>): Promise<T> {
  // An identity that has to be made up is kept; one that is given needs no place.
  const given = flags.hostnqn !== undefined || flags.hostid !== undefined;
  const state = given ? undefined : stateFolder(undefined, process.env, process.getuid?.());
  const host = createHost({ state });
  try {
    return await use(host);
  } finally {
    await host.close();
  }
}

export function withController<T>(
  flags: ConnectFlags,
  use: (connected: Connected) => Promise<T>,
): Promise<T> {
  const [first, ...ways] = waysOf(flags);
  const options: ConnectOptions = {
    ...hostOptions({ ...flags, traddr: first?.traddr ?? '', trsvcid: first?.trsvcid ?? '4420' }),
    ways,
    subnqn: flags.nqn,
    ...controllerOptions(flags),
  };
  return withHost(flags, async (host) => {
    const subsystem = await host.connect(options);
    const [controller] = subsystem.controllers;
    if (!controller) throw new NvmeError('the connection was lost', { code: 'ECONNRESET' });
    return use({ host, subsystem, controller });
  });
}

/** With `--head` the disk is the daemon's, and so are its paths; else this process connects it. */
export async function withDisk<T>(flags: HeadOrDiskFlags, use: (disk: Disk) => Promise<T>): Promise<T> {
  if (flags.head === undefined)
    return withController(flags, ({ subsystem }) => {
      const disk = subsystem.head(flags.nsid);
      return telling(disk, () => use(disk));
    });
  const { withHead } = await import('../daemon/head-client.ts');
  return withHead(hostSocket(flags), flags.head, use);
}
