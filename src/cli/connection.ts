/** What the commands that connect have in common: nvme-cli's flags, and a connection for as long as the command runs. */
import { type Command, Option } from 'commander';
import type { ConnectOptions } from '../api/connect-options.ts';
import type { NvmeDisk } from '../api/disk.ts';
import { NvmeError } from '../api/error.ts';
import { createHost, type NvmeHost } from '../api/host.ts';
import type { NvmeController } from '../api/host-controller.ts';
import type { NvmeSubsystem } from '../api/host-subsystem.ts';
import { stateFolder } from '../daemon/folder.ts';
import { count, countOr } from './flags.ts';

/** As commander names them. */
export interface HostFlags {
  readonly traddr: string;
  readonly trsvcid?: string;
  readonly hostnqn?: string;
  readonly hostid?: string;
  readonly hdrDigest?: boolean;
  readonly dataDigest?: boolean;
  readonly keepAliveTmo?: number;
}

export interface ConnectFlags extends HostFlags {
  readonly nqn: string;
  readonly nrIoQueues?: number;
  readonly queueSize?: number;
  readonly reconnectDelay?: number;
  readonly ctrlLossTmo?: number;
  readonly fastIoFailTmo?: number;
}

export interface Connected {
  readonly host: NvmeHost;
  readonly subsystem: NvmeSubsystem;
  readonly controller: NvmeController;
}

const LAST_NSID = 0xffff_fffe;
/** What is in examples, so that they fit a line. */
export const EXAMPLE = '-a 10.0.0.1 -s 4420 -n nqn.2014-08.org.nvmexpress:uuid:…';

function addAddressFlags(command: Command, port: string): Command {
  return command
    .addOption(
      new Option('-t, --transport <name>', 'only this one').choices(['tcp']).default('tcp').hideHelp(),
    )
    .requiredOption('-a, --traddr <address>', 'address of the target')
    .option('-s, --trsvcid <port>', `its port (default: ${port})`);
}

function addHostFlags(command: Command): Command {
  return command
    .option('-q, --hostnqn <nqn>', 'name of this host (default: /etc/nvme/hostnqn, else made once and kept)')
    .option('-I, --hostid <uuid>', 'identifier of this host (default: /etc/nvme/hostid, else from the name)')
    .option('-g, --hdr-digest', 'protect headers with a CRC')
    .option('-G, --data-digest', 'protect data with a CRC')
    .option('-k, --keep-alive-tmo <seconds>', 'keep-alive; 0: none', count(0, 86_400));
}

export const addDiscoveryFlags = (command: Command): Command =>
  addHostFlags(addAddressFlags(command, '8009'));

export function addConnectFlags(command: Command): Command {
  addAddressFlags(command, '4420').requiredOption('-n, --nqn <nqn>', 'name of the subsystem');
  return addHostFlags(command)
    .option('-i, --nr-io-queues <count>', 'I/O queues to ask for', count(1, 65_534))
    .option('-Q, --queue-size <entries>', 'entries of an I/O queue (default: 128)', count(16, 1024))
    .option(
      '-c, --reconnect-delay <seconds>',
      'between attempts after a loss (default: 10)',
      count(1, 86_400),
    )
    .option(
      '-l, --ctrl-loss-tmo <seconds>',
      'until a lost controller is given up; -1: never (default: 600)',
      countOr(-1, 0, 2 ** 31 - 1),
    )
    .option(
      '--fast-io-fail-tmo <seconds>',
      'until the I/O of a lost controller fails; -1: not before it is given up (default: -1)',
      countOr(-1, 0, 2 ** 31 - 1),
    );
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
  hostnqn: flags.hostnqn,
  hostid: flags.hostid,
  hdr_digest: flags.hdrDigest,
  data_digest: flags.dataDigest,
  keep_alive_tmo: flags.keepAliveTmo,
});

/** Runs `use` with a host, and disconnects whatever happens. */
export async function withHost<T>(flags: HostFlags, use: (host: NvmeHost) => Promise<T>): Promise<T> {
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
  const options: ConnectOptions = {
    ...hostOptions(flags),
    subnqn: flags.nqn,
    nr_io_queues: flags.nrIoQueues,
    queue_size: flags.queueSize,
    reconnect_delay: flags.reconnectDelay,
    ctrl_loss_tmo: flags.ctrlLossTmo,
    fast_io_fail_tmo: flags.fastIoFailTmo,
  };
  return withHost(flags, async (host) => {
    const subsystem = await host.connect(options);
    const [controller] = subsystem.controllers;
    if (!controller) throw new NvmeError('the connection was lost', { code: 'ECONNRESET' });
    return use({ host, subsystem, controller });
  });
}

export const withDisk = <T>(
  flags: ConnectFlags & { readonly nsid: number },
  use: (disk: NvmeDisk) => Promise<T>,
): Promise<T> => withController(flags, ({ subsystem }) => use(subsystem.head(flags.nsid)));
