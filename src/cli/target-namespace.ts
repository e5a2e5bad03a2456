/** Verbs of `nvmetcp target` about namespaces. */
import { resolve } from 'node:path';
import { Option } from 'commander';
import { NvmeError } from '../api/error.ts';
import { many, size } from './flags.ts';
import { print } from './print.ts';
import {
  type Flags,
  type Make,
  type Named,
  argument,
  ask,
  group,
  nsid,
  printChanges,
  text,
} from './target-request.ts';

export function addNamespaceVerbs(command: Make, inSubsystem: Named): void {
  inSubsystem(
    command(
      'add namespace [file]',
      'Export a file or block device, or memory, as a namespace; hosts see it at once.',
      'add namespace disk.img --size 10G --lba 4096',
    ),
  )
    .option('--mem <size>', 'so much memory, instead of a file', size)
    .option('--size <size>', 'make the file if need be', size)
    .addOption(new Option('--lba <bytes>', 'block size').choices(['512', '4096']))
    .option('--nsid <nsid>', 'NSID (default: the lowest free one)', nsid)
    .option('--uuid <uuid>', 'UUID (default: a new one, kept)')
    .option('--nguid <digits>', 'NGUID (default: made from the UUID)')
    .option('--eui64 <digits>', 'EUI-64 (default: none)')
    .option('--group <grpid>', 'ANA group', group)
    .option('--read-only', 'nothing is written to the file')
    .option('--no-shared', 'private to the first host that attaches it')
    .option('--visible-to <hostnqn>', 'only this host sees it; may be repeated', many(text))
    .action(async (file: string | undefined, flags: Flags) => {
      const { mem, lba, uuid, nguid, eui64, readOnly, shared, visibleTo } = flags;
      if ((file === undefined) === (mem === undefined))
        throw new NvmeError('either a file or --mem is needed', { code: 'EINVAL' });
      const what =
        file === undefined ? { memory: mem } : { file: resolve(file), size: flags['size'], readOnly };
      const result = await ask(flags, 'add-namespace', {
        ...what,
        subsystem: flags.nqn,
        nsid: flags['nsid'],
        uuid,
        nguid,
        eui64,
        blockSize: lba === undefined ? undefined : Number(lba),
        anagrpid: flags['group'],
        shared,
        hosts: visibleTo,
      });
      print(flags, result, (made) => `namespace ${String(made['nsid'])}`);
    });
  const simple: [string, string, string, string][] = [
    [
      'remove namespace',
      'remove-namespace',
      'Take a namespace from its hosts; its file stays.',
      'remove namespace 2',
    ],
    [
      'enable namespace',
      'enable-namespace',
      'Open its file again; hosts go on where they waited.',
      'enable namespace 2',
    ],
    [
      'disable namespace',
      'disable-namespace',
      'Close its file; hosts keep the namespace, their I/O waits or takes another path.',
      'disable namespace 2',
    ],
    ['release', 'release-namespace', 'Take a private namespace from the host that owns it.', 'release 2'],
  ];
  for (const [spec, method, description, example] of simple)
    inSubsystem(command(`${spec} <nsid>`, description, example)).action(async (id: string, flags: Flags) => {
      printChanges(flags, await ask(flags, method, { subsystem: flags.nqn, nsid: argument.nsid(id) }));
    });
  inSubsystem(
    command(
      'resize <nsid> [size]',
      'Make its file as large, or look at the size again; hosts are told.',
      'resize 1 20G',
    ),
  ).action(async (id: string, bytes: string | undefined, flags: Flags) => {
    const params = {
      subsystem: flags.nqn,
      nsid: argument.nsid(id),
      size: bytes === undefined ? undefined : argument.size(bytes),
    };
    print(flags, await ask(flags, 'resize-namespace', params), (made) => `${String(made['size'])} bytes`);
  });
  inSubsystem(command('move <nsid> <group>', 'Put a namespace into another ANA group.', 'move 1 2')).action(
    async (id: string, grpid: string, flags: Flags) => {
      const params = { subsystem: flags.nqn, nsid: argument.nsid(id), anagrpid: argument.group(grpid) };
      printChanges(flags, await ask(flags, 'move-namespace', params));
    },
  );
  inSubsystem(
    command(
      'mask <nsid> [hostnqn...]',
      'Let only these hosts see a namespace; without any, every host.',
      'mask 1 nqn.…',
    ),
  ).action(async (id: string, hosts: string[], flags: Flags) => {
    const params = {
      subsystem: flags.nqn,
      nsid: argument.nsid(id),
      hosts: hosts.length === 0 ? null : hosts,
    };
    printChanges(flags, await ask(flags, 'mask-namespace', params));
  });
  for (const verb of ['attach', 'detach'] as const)
    inSubsystem(
      command(
        `${verb} <nsid> <cntlid>`,
        `${verb === 'attach' ? 'Attach' : 'Detach'} a namespace ${verb === 'attach' ? 'to' : 'from'} one controller.`,
        `${verb} 1 3`,
      ),
    ).action(async (id: string, controller: string, flags: Flags) => {
      const params = { subsystem: flags.nqn, nsid: argument.nsid(id), cntlid: argument.cntlid(controller) };
      print(flags, await ask(flags, `${verb}-namespace`, params), () => `${verb}ed`);
    });
}
