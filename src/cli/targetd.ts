/** `nvmetcp targetd`. */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { FileNamespace, MemoryNamespace } from '../config/request.ts';
import { stateFolder } from '../daemon/folder.ts';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from '../daemon/log-levels.ts';
import { fileFlag, many, memoryFlag } from './flags.ts';
import { spelling } from './spelling.ts';

interface Flags {
  readonly listen?: string[];
  readonly nqn?: string;
  readonly file?: FileNamespace[];
  readonly mem?: MemoryNamespace[];
  readonly host?: string[];
  readonly discovery?: string[];
  readonly config?: string;
  readonly control?: string;
  readonly state?: string;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

const text = (value: string): string => value;

export function addTargetd(program: Command): void {
  program
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
    )
    .option(
      '--state <folder>',
      'where state is kept (default: $NVMETCP_STATE, else /var/lib/nvmetcp for root, else ~/.local/state/nvmetcp)',
    )
    .option(
      '--control <path>',
      'its control socket, for "nvmetcp target" (default: target.sock in the state folder)',
    )
    .addOption(new Option('--log-level <level>', 'what to log').choices(LOG_LEVELS).default('info'))
    .addOption(
      new Option('--log-format <format>', 'how to log, on stderr').choices(LOG_FORMATS).default('text'),
    )
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
        listen: flags.listen ?? [],
        nqn: flags.nqn,
        namespaces: [...(flags.file ?? []), ...(flags.mem ?? [])],
        hosts: flags.host ?? [],
        discovery: flags.discovery,
        control: flags.control === undefined ? undefined : resolve(flags.control),
        config: flags.config === undefined ? undefined : resolve(flags.config),
        folder: stateFolder(flags.state, process.env, process.getuid?.()),
        logLevel: flags.logLevel,
        logFormat: flags.logFormat,
        command: spelling(process.argv[1] ?? 'nvmetcp', process.cwd()),
      });
    });
}
