/** `nvmetcp targetd`. */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { FileNamespace, MemoryNamespace } from '../config/request.ts';
import { SOCKET_NAME } from '../daemon/folder.ts';
import { addServiceFlags, serviceOptions, type ServiceFlags } from './daemon-flags.ts';
import { fileFlag, many, memoryFlag } from './flags.ts';

interface Flags extends ServiceFlags {
  readonly listen?: string[];
  readonly nqn?: string;
  readonly file?: FileNamespace[];
  readonly mem?: MemoryNamespace[];
  readonly host?: string[];
  readonly discovery?: string[];
  readonly config?: string;
}

const text = (value: string): string => value;

export function addTargetd(program: Command): void {
  const command = program
    .command('targetd')
    .summary('Export files, block devices and memory as disks.')
    .description(
      'The target daemon: exports files, block devices and memory as NVMe namespaces, until SIGINT or SIGTERM.\n\n' +
        'What it exports is kept in the state folder and comes back, the same for every host, at the next start; ' +
        'flags add to it and never take away. A configuration file is the whole truth: what it does not name goes, and ' +
        'SIGHUP reads it again; the form is nvmetcli’s, with a few keys more (docs/configuration.md).\n\n' +
        'Without flags, the first time: disk.img, 1 GiB, sparse, in the state folder, on 127.0.0.1:4420.',
    )
    .option('--listen <host:port>', 'listen here; may be repeated (default: 127.0.0.1:4420)', many(text))
    .option('--nqn <nqn>', 'name of the subsystem (default: a new UUID, kept)')
    .option(
      '--file <path[,size=1G][,lba=4096][,ro]>',
      'export this file or block device; size= makes it if need be; may be repeated',
      many(fileFlag),
    )
    .option('--mem <size[,lba=4096]>', 'export so much memory; may be repeated', many(memoryFlag))
    .option(
      '--host <hostnqn>',
      'admit this host, and no other that is not named; may be repeated',
      many(text),
    )
    .option('--discovery <host:port>', 'offer only discovery here; may be repeated', many(text))
    .addOption(
      new Option('--config <file>', 'be what this file says, and nothing else').conflicts([
        'listen',
        'nqn',
        'file',
        'mem',
        'host',
        'discovery',
      ]),
    );
  addServiceFlags(command, 'target', SOCKET_NAME)
    .addHelpText(
      'after',
      `
Examples:
  nvmetcp targetd
  nvmetcp targetd --file disk.img,size=10G --listen 0.0.0.0:4420 --host nqn.2014-08.org.nvmexpress:uuid:…
  nvmetcp targetd --file /dev/sdb,ro --mem 1G,lba=4096 --listen [::1]:4420 --discovery [::1]:8009
  nvmetcp targetd --config /etc/nvmet/config.json

Exit codes: 0 stopped by a signal, 1 a fault while running, 2 wrong flags or state that cannot be used.`,
    )
    .action(async (flags: Flags) => {
      // Only here: other commands need neither a log nor schemas, and start faster without.
      const { targetd } = await import('../daemon/targetd.ts');
      process.exitCode = await targetd({
        ...serviceOptions(flags),
        listen: flags.listen ?? [],
        nqn: flags.nqn,
        namespaces: [...(flags.file ?? []), ...(flags.mem ?? [])],
        hosts: flags.host ?? [],
        discovery: flags.discovery,
        config: flags.config === undefined ? undefined : resolve(flags.config),
      });
    });
}
