/** `nvmetcp hostd`. */
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { HOST_SOCKET_NAME } from '../daemon/folder.ts';
import { addServiceFlags, serviceOptions, type ServiceFlags } from './daemon-flags.ts';

interface Flags extends ServiceFlags {
  /** False: `--no-nbd`. */
  readonly nbd?: string | false;
  readonly hostnqn?: string;
  readonly hostid?: string;
}

export function addHostd(program: Command): void {
  const command = program
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
    .option('-I, --hostid <uuid>', 'identifier of this host (default: /etc/nvme/hostid, else from the name)');
  addServiceFlags(command, 'host', HOST_SOCKET_NAME)
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
      const options = serviceOptions(flags);
      process.exitCode = await hostd({
        ...options,
        nbd: flags.nbd === false ? undefined : resolve(flags.nbd ?? join(options.folder, 'nbd')),
        hostnqn: flags.hostnqn,
        hostid: flags.hostid,
      });
    });
}
