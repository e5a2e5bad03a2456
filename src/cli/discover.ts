/** `nvmetcp discover`. */
import type { Command } from 'commander';
import type { DiscoveryResult } from '../api/host.ts';
import { type HostFlags, addDiscoveryFlags, addOutputFlag, hostOptions, withHost } from './connection.ts';
import { type OutputFlags, print } from './print.ts';

const SHOWN = [
  'trtype',
  'adrfam',
  'subtype',
  'treq',
  'portid',
  'trsvcid',
  'subnqn',
  'traddr',
  'eflags',
  'sectype',
] as const;

/** As `nvme discover` prints it. */
function normal({ genctr, records }: DiscoveryResult): string {
  const entries = records.map((record, i) =>
    [
      `=====Discovery Log Entry ${i}======`,
      ...SHOWN.map((key) => `${`${key}:`.padEnd(9)}${record[key]}`),
      '',
    ].join('\n'),
  );
  return `\nDiscovery Log Number of Records ${records.length}, Generation counter ${genctr}\n${entries.join('')}`;
}

export function addDiscover(program: Command): void {
  addOutputFlag(addDiscoveryFlags(program.command('discover')))
    .description(
      'Ask a discovery service which subsystems there are. Every target answers on its own port, too.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  nvmetcp discover -a 10.0.0.1\n  nvmetcp discover -a 10.0.0.1 -s 4420 -o json',
    )
    .action(async (flags: HostFlags & OutputFlags) => {
      print(flags, await withHost(flags, (host) => host.discover(hostOptions(flags))), normal);
    });
}
