/** `nvmetcp host …`: talks to a host daemon that runs, through its control socket. The options are nvme-cli's. */
import type { Command } from 'commander';
import { NvmeError } from '../api/error.ts';
import type { ConnectedShown } from '../daemon/host-methods.ts';
import type { SimpleDevice, SubsystemList, Topology, VerboseList } from '../daemon/host-views.ts';
import { LOG_LEVELS } from '../daemon/log-levels.ts';
import type { PortDescription } from '../initiator/describe.ts';
import type { JournalEntry } from '../initiator/journal.ts';
import type { Why } from '../initiator/why.ts';
import {
  type ControllerFlags,
  type DaemonFlags,
  type HostFlags,
  addAddressFlags,
  addControllerFlags,
  addDaemonFlags,
  addHeadFlags,
  addHostFlags,
  addOutputFlag,
  addRecoveryFlags,
  controllerOptions,
  headOptions,
  hostOptions,
  hostSocket,
  recoveryOptions,
} from './connection.ts';
import { count, countOr } from './flags.ts';
import {
  type ConnectedAll,
  connectedAllText,
  connectedText,
  eventText,
  listText,
  portsText,
  subsystemsText,
  topologyText,
  verboseListText,
  whyText,
} from './host-show.ts';
import { type OutputFlags, print } from './print.ts';

interface Flags extends DaemonFlags, OutputFlags {
  readonly verbose?: boolean;
}

const NQN = 'nqn.2014-08.org.nvmexpress:uuid:…';

/** Asks the host daemon; what is undefined in `params` is left out. */
export async function askHost(
  where: DaemonFlags,
  method: string,
  params: Readonly<Record<string, unknown>> = {},
  progress?: (value: unknown) => void,
): Promise<unknown> {
  const { request } = await import('../daemon/control-client.ts');
  const given = Object.entries(params).filter(([, value]) => value !== undefined);
  return request(hostSocket(where), method, Object.fromEntries(given), progress, 'hostd');
}

type Make = (spec: string, description: string, ...examples: string[]) => Command;

export function addHost(program: Command): void {
  const host = program
    .command('host')
    .summary('Connect disks, and look at them, through a host daemon that runs.')
    .description(
      'Connect disks, and look at them, through a host daemon that runs ("nvmetcp hostd"). The commands and their ' +
        'options are those of nvme-cli; -o json prints its keys, and what only we know under "nvmetcp".',
    );
  const ports = host
    .command('port')
    .description('Transport ports: ways that controllers connect by, which can be taken away and come back.');
  const command: Make = (spec, description, ...examples) => {
    const made = spec.startsWith('port ') ? ports.command(spec.slice(5)) : host.command(spec);
    const text = examples.map((each) => `\n  nvmetcp host ${each}`).join('');
    return addDaemonFlags(addOutputFlag(made))
      .description(description)
      .addHelpText('after', `\nExample${examples.length > 1 ? 's' : ''}:${text}`);
  };
  addConnecting(command);
  addLooking(command);
  addChanging(command);
  addPorts(command);
}

function warn(warnings: readonly string[]): void {
  for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
}

function addConnecting(command: Make): void {
  interface ConnectFlags extends Flags, HostFlags, ControllerFlags {
    readonly nqn: string;
    readonly duplicateConnect?: boolean;
    readonly preferred?: boolean;
    readonly keepTrying?: boolean;
  }
  addControllerFlags(
    addHostFlags(
      addAddressFlags(
        command(
          'connect',
          'Connect a controller, and keep it connected. One that goes to the same place is left as it is.',
          `connect -t tcp -a 10.0.0.1 -s 4420 -n ${NQN}`,
          `connect -a 10.0.0.2 -n ${NQN} --ctrl-loss-tmo -1 --iopolicy round-robin`,
        ),
        '4420',
      ).requiredOption('-n, --nqn <nqn>', 'name of the subsystem'),
    ),
  )
    .option('-D, --duplicate-connect', 'connect even if there is a controller that goes to the same place')
    .option('--preferred', 'the iopolicy "preferred" takes this way first')
    .option('--keep-trying', 'do not wait, and go on when the first attempt fails')
    .action(async (flags: ConnectFlags) => {
      const connected = (await askHost(flags, 'connect', {
        ...hostOptions(flags),
        subnqn: flags.nqn,
        ...controllerOptions(flags),
        duplicate_connect: flags.duplicateConnect,
        preferred: flags.preferred,
        keep_trying: flags.keepTrying,
      })) as ConnectedShown;
      warn(connected.warnings);
      print(
        flags,
        flags.outputFormat === 'json' ? { device: connected.device, nvmetcp: connected } : connected,
        () => connectedText(connected),
      );
    });

  interface ConnectAllFlags extends Flags, HostFlags, ControllerFlags {
    readonly nqn?: string;
    readonly persistent?: boolean;
    readonly disconnectAfter?: number;
  }
  addControllerFlags(
    addHostFlags(
      addAddressFlags(
        command(
          'connect-all',
          'Ask a discovery service, and connect everything that it names.',
          'connect-all -a 10.0.0.1 -s 8009',
          'connect-all -a 10.0.0.1 --persistent --disconnect-after 300',
        ),
        '8009',
      ),
    ),
  )
    .option('-n, --nqn <nqn>', 'only this subsystem')
    .option('-p, --persistent', 'follow the service: connect what appears later, too')
    .option(
      '--disconnect-after <seconds>',
      'with --persistent: disconnect what is not named any more, after this time; -1: keep it (default: -1)',
      countOr(-1, 0, 2 ** 31 - 1),
    )
    .action(async (flags: ConnectAllFlags) => {
      const result = (await askHost(flags, 'connect-all', {
        ...hostOptions(flags),
        subnqn: flags.nqn,
        ...controllerOptions(flags),
        persistent: flags.persistent,
        disconnect_after: flags.disconnectAfter,
      })) as ConnectedAll;
      print(flags, result, connectedAllText);
      if (result.failed.length > 0)
        throw new NvmeError(`${result.failed.length} could not be connected`, { code: 'EIO' });
    });

  command(
    'disconnect',
    'Disconnect controllers, and forget them. In whatever state they are, it ends within a bound.',
    `disconnect -n ${NQN}`,
    'disconnect -d nvme1',
  )
    .option('-n, --nqn <nqn>', 'all controllers of this subsystem')
    .option('-d, --device <name>', 'this controller, as nvme0; or those of a subsystem, as nvme-subsys0')
    .action(async (flags: Flags & { nqn?: string; device?: string }) => {
      const { nqn, device } = flags;
      const result = (await askHost(flags, 'disconnect', { nqn, device })) as { disconnected: string[] };
      const { length } = result.disconnected;
      print(flags, result, () =>
        nqn === undefined
          ? `${device ?? ''}: disconnected ${length} controller(s)`
          : `NQN:${nqn} disconnected ${length} controller(s)`,
      );
    });
  command('disconnect-all', 'Disconnect everything, and forget it.', 'disconnect-all').action(
    async (flags: Flags) => {
      const result = (await askHost(flags, 'disconnect-all')) as { disconnected: number };
      print(flags, result, ({ disconnected }) => `disconnected ${disconnected} controller(s)`);
    },
  );
}

function addLooking(command: Make): void {
  command('list', 'The disks.', 'list', 'list -v -o json')
    .option('-v, --verbose', 'subsystems and controllers, too')
    .action(async (flags: Flags) => {
      const list = await askHost(flags, 'list', { verbose: flags.verbose });
      if (flags.verbose === true) print(flags, list as VerboseList, verboseListText);
      else print(flags, list as { Devices: SimpleDevice[] }, listText);
    });
  command('list-subsys', 'The subsystems, and the controllers of each.', 'list-subsys')
    .option('-v, --verbose', 'serial, model and firmware, too')
    .action(async (flags: Flags) => {
      const { verbose } = flags;
      print(flags, (await askHost(flags, 'list-subsys', { verbose })) as SubsystemList, subsystemsText);
    });
  command('show-topology', 'The disks, and the paths of each, with their ANA states.', 'show-topology')
    .option('-v, --verbose', 'serial, model and firmware, too')
    .action(async (flags: Flags) => {
      const { verbose } = flags;
      print(flags, (await askHost(flags, 'show-topology', { verbose })) as Topology, topologyText);
    });
  command(
    'why <head>',
    'Why the I/O of a disk goes where it goes, waits or fails: each path, what is in its way, and which timer acts next.',
    'why nvme0n1',
  ).action(async (head: string, flags: Flags) =>
    print(flags, (await askHost(flags, 'why', { head })) as Why, whyText),
  );
  command('events', 'What happened, oldest first.', 'events', 'events --follow -o json')
    .option('-f, --follow', 'and what happens from now on')
    .option('--since <sequence>', 'only later ones', count(0, Number.MAX_SAFE_INTEGER))
    .action(async (flags: Flags & { follow?: boolean; since?: number }) => {
      const { follow, since } = flags;
      const line = (entry: JournalEntry): void => {
        const text = flags.outputFormat === 'json' ? JSON.stringify(entry) : eventText(entry);
        process.stdout.write(`${text}\n`);
      };
      const tell = (value: unknown): void => line(value as JournalEntry);
      const { events = [] } = (await askHost(flags, 'events', { follow, since }, tell)) as {
        events?: JournalEntry[];
      };
      events.forEach(line);
    });
}

function addChanging(command: Make): void {
  const DEVICE = 'nvme0, nvme-subsys0 or nvme0n1';
  addHeadFlags(
    addRecoveryFlags(
      command(
        'set <device>',
        `Change how losses are dealt with, and how disks use their paths, at once and from now on; ${DEVICE}.`,
        'set nvme0 --ctrl-loss-tmo 60 --reconnect-delay 2',
        'set nvme-subsys0 --iopolicy queue-depth --delayed-removal-secs 30',
      ),
    ),
  )
    .option('--preferred', 'the iopolicy "preferred" takes this way first')
    .option('--no-preferred', 'it does not any more')
    .option('--no-backoff', 'wait the same time after each attempt')
    .action(async (device: string, flags: Flags & ControllerFlags & { preferred?: boolean }) => {
      const result = (await askHost(flags, 'set', {
        device,
        ...recoveryOptions(flags),
        ...headOptions(flags),
        preferred: flags.preferred,
      })) as { warnings: string[] };
      warn(result.warnings);
      print(flags, result, () => `${device}: done`);
    });
  command(
    'reset <device>',
    `End the connections, and connect again at once; ${DEVICE}.`,
    'reset nvme0',
  ).action(async (device: string, flags: Flags) => {
    const result = (await askHost(flags, 'reset', { device })) as { reset: string[] };
    print(flags, result, ({ reset }) => `reset: ${reset.join(', ')}`);
  });
  command('rescan <device>', `Look at the namespaces again; ${DEVICE}.`, 'rescan nvme0')
    .alias('ns-rescan')
    .action(async (device: string, flags: Flags) => {
      const result = (await askHost(flags, 'rescan', { device })) as { rescanned: string[] };
      print(flags, result, ({ rescanned }) => `rescanned: ${rescanned.join(', ')}`);
    });
  command('log-level <level>', `What the daemon logs: ${LOG_LEVELS.join(', ')}.`, 'log-level debug').action(
    async (level: string, flags: Flags) =>
      print(flags, (await askHost(flags, 'log-level', { level })) as object, () => `logs ${level}`),
  );
}

function addPorts(command: Make): void {
  interface PortFlags extends Flags {
    readonly traddr?: string;
    readonly trsvcid?: number;
    readonly hostTraddr?: string;
    readonly hostIface?: string;
  }
  const where = (made: Command): Command =>
    made
      .option('-a, --traddr <address>', 'address of the target; without it all ports from --host-traddr')
      .option('-s, --trsvcid <port>', 'its port (default: 4420)', count(1, 65_535))
      .option('-w, --host-traddr <address>', 'address to come from (default: any)')
      .option('-f, --host-iface <name>', 'interface to come from (default: any)');
  const shown = async (method: string, flags: PortFlags): Promise<void> => {
    const { traddr, trsvcid, hostTraddr: host_traddr, hostIface: host_iface } = flags;
    const params = method === 'port-list' ? {} : { traddr, trsvcid, host_traddr, host_iface };
    const result = (await askHost(flags, method, params)) as { ports: PortDescription[] };
    print(flags, result, portsText);
  };
  command('port list', 'The ports, and who uses them.', 'port list').action((flags: PortFlags) =>
    shown('port-list', flags),
  );
  where(
    command(
      'port add',
      'A port is there, or is there again: controllers that wait for it connect at once.',
      'port add -a 10.0.0.1 -s 4420',
    ),
  ).action((flags: PortFlags) => shown('port-add', flags));
  where(
    command(
      'port remove',
      'Take a port away: its connections end, its controllers wait until it is added again or their time is over.',
      'port remove -a 10.0.0.1 -s 4420',
    ),
  ).action((flags: PortFlags) => shown('port-remove', flags));
}
