/** `nvmetcp hostd`. */
import { join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { stateFolder } from '../daemon/folder.ts';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from '../daemon/log-levels.ts';
import { spelling } from './spelling.ts';

interface Flags {
  readonly state?: string;
  readonly control?: string;
  /** False: `--no-nbd`. */
  readonly nbd?: string | false;
  readonly hostnqn?: string;
  readonly hostid?: string;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

export function addHostd(program: Command): void {
  program
    .command('hostd')
    .summary('Keep disks of targets connected, as block devices for programs.')
    .description(
      'The host daemon: keeps the controllers that "nvmetcp host connect" makes, connects them again when they are lost ' +
        'and after its own restart, and offers every disk as an NBD export, until SIGINT or SIGTERM.',
    )
    .option(
      '--nbd <folder>',
      'where the NBD sockets are, nvme0n1.sock and so on (default: nbd in the state folder)',
    )
    .option('--no-nbd', 'no NBD sockets')
    .option('-q, --hostnqn <nqn>', 'name of this host (default: /etc/nvme/hostnqn, else made once and kept)')
    .option('-I, --hostid <uuid>', 'identifier of this host (default: /etc/nvme/hostid, else from the name)')
    .option(
      '--state <folder>',
      'where state is kept (default: $NVMETCP_STATE, else /var/lib/nvmetcp for root, else ~/.local/state/nvmetcp)',
    )
    .option(
      '--control <path>',
      'its control socket, for "nvmetcp host" (default: host.sock in the state folder)',
    )
    .addOption(new Option('--log-level <level>', 'what to log').choices(LOG_LEVELS).default('info'))
    .addOption(
      new Option('--log-format <format>', 'how to log, on stderr').choices(LOG_FORMATS).default('text'),
    )
    .addHelpText(
      'after',
      `
Examples:
  nvmetcp hostd
  nvmetcp hostd --nbd /run/user/1000/disks --state ~/disks
  nvmetcp host connect -a 10.0.0.1 -n nqn.2014-08.org.nvmexpress:uuid:…
  nbdinfo 'nbd+unix:///?socket=/run/user/1000/disks/nvme0n1.sock'

Exit codes: 0 stopped by a signal, 1 a fault while running, 2 wrong flags or state that cannot be used.`,
    )
    .action(async (flags: Flags) => {
      // Only here: other commands need neither a log nor schemas, and start faster without.
      const { hostd } = await import('../daemon/hostd.ts');
      const folder = stateFolder(flags.state, process.env, process.getuid?.());
      process.exitCode = await hostd({
        folder,
        control: flags.control === undefined ? undefined : resolve(flags.control),
        nbd: flags.nbd === false ? undefined : resolve(flags.nbd ?? join(folder, 'nbd')),
        hostnqn: flags.hostnqn,
        hostid: flags.hostid,
        logLevel: flags.logLevel,
        logFormat: flags.logFormat,
        command: spelling(process.argv[1] ?? 'nvmetcp', process.cwd()),
      });
    });
}
