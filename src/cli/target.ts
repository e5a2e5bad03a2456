/** `nvmetcp target …`: talks to a target daemon that runs, through its control socket. */
import { readFile } from 'node:fs/promises';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { NvmeError } from '../api/error.ts';
import { ANA_STATES } from '../config/document.ts';
import { SOCKET_NAME } from '../daemon/control-protocol.ts';
import { stateFolder } from '../daemon/folder.ts';
import { LOG_LEVELS } from '../daemon/log-levels.ts';
import type { Remaining } from '../daemon/drain.ts';
import type { ConnectionShown, TargetShown } from '../daemon/show.ts';
import { inWords } from '../runtime/node/errors.ts';
import { addOutputFlag } from './connection.ts';
import { count, many, seconds, size } from './flags.ts';
import { type OutputFlags, print } from './print.ts';
import { connectionTable, targetTree } from './target-show.ts';

interface Flags extends OutputFlags {
  readonly state?: string;
  readonly control?: string;
  /** The subsystem, where there are several. */
  readonly nqn?: string;
  readonly [key: string]: unknown;
}

type Params = Readonly<Record<string, unknown>>;
type Result = Readonly<Record<string, unknown>>;

const LAST_NSID = 0xffff_fffe;
const nsid = count(1, LAST_NSID);
const cntlid = count(1, 0xffef);
const group = count(1, 128);
const text = (value: string): string => value;
const oneOf =
  (choices: readonly string[]) =>
  (value: string): string => {
    if (choices.includes(value)) return value;
    throw new InvalidArgumentError(`Allowed choices are ${choices.join(', ')}.`);
  };

/** For arguments, whose parsers commander does not guard. */
const given =
  <T>(what: string, parse: (text: string) => T) =>
  (value: string): T => {
    try {
      return parse(value);
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error;
      throw new NvmeError(`${what} ${JSON.stringify(value)}: ${error.message}`, { code: 'EINVAL' });
    }
  };
const argument = {
  nsid: given('NSID', nsid),
  cntlid: given('CNTLID', cntlid),
  group: given('ANA group', group),
  size: given('size', size),
  state: given('ANA state', oneOf(ANA_STATES)),
  level: given('log level', oneOf(LOG_LEVELS)),
  onOff: given('argument', oneOf(['on', 'off'])),
};

const NQN = 'nqn.2024-01.org.example:disk';

async function ask(
  { state, control }: Flags,
  method: string,
  params: Params,
  progress?: (value: unknown) => void,
): Promise<Result> {
  const { request } = await import('../daemon/control-client.ts');
  const folder = stateFolder(state, process.env, process.getuid?.());
  const given = Object.entries(params).filter(([, value]) => value !== undefined);
  const path = control ?? process.env['NVMETCP_CONTROL'] ?? join(folder, SOCKET_NAME);
  return (await request(resolve(path), method, Object.fromEntries(given), progress)) as Result;
}

/** Lines of what was changed. */
function changesText({ changes = [] }: { changes?: readonly string[] }): string {
  return changes.length === 0 ? 'nothing to change' : changes.join('\n');
}

function printChanges(flags: Flags, result: Result): void {
  print(flags, result, changesText);
}

export function addTarget(program: Command): void {
  const target = program
    .command('target')
    .summary('Look at and change a target that runs.')
    .description(
      'Look at and change a target that runs. Every change is checked as a whole before anything is touched, is live ' +
        'at once, and is kept over restarts; hosts of what did not change see nothing.',
    )
    .addHelpText(
      'after',
      `
Examples:
  nvmetcp target show
  nvmetcp target add namespace disk2.img --size 10G
  nvmetcp target add port 10.0.1.1:4420
  nvmetcp target drain 1 --timeout 2m
  nvmetcp target plan config.json && nvmetcp target apply config.json
"nvmetcp target VERB --help" tells more. Exit codes: 0 done, 1 refused or failed, 2 wrong flags or values.`,
    );
  const noun = new Map<string, Command>();
  for (const [verb, what] of [
    ['add', 'add a subsystem, namespace, port, listener, host or referral'],
    ['remove', 'remove one'],
    ['enable', 'enable a namespace or a port'],
    ['disable', 'disable a namespace or a port, which stays configured'],
  ] as const)
    noun.set(verb, target.command(verb).description(`${what[0]?.toUpperCase() ?? ''}${what.slice(1)}.`));

  /** `spec`: `add namespace [file]`, as commander has it. */
  const command = (spec: string, description: string, example: string): Command => {
    const [verb = '', ...rest] = spec.split(' ');
    const parent = noun.get(verb);
    const made = parent === undefined ? target.command(spec) : parent.command(rest.join(' '));
    return addOutputFlag(made)
      .description(description)
      .option('--state <folder>', 'state folder of the target (default: as targetd)')
      .option(
        '--control <path>',
        `its control socket (default: $NVMETCP_CONTROL, else ${SOCKET_NAME} in the state folder)`,
      )
      .addHelpText('after', `\nExample:\n  nvmetcp target ${example}`);
  };
  const inSubsystem = (made: Command): Command =>
    made.option('-n, --nqn <nqn>', 'the subsystem, if there are several');

  addShow(command);
  addSubsystemVerbs(command, inSubsystem);
  addNamespaceVerbs(command, inSubsystem);
  addPortVerbs(command);
  addWholeVerbs(command, inSubsystem);
}

type Make = (spec: string, description: string, example: string) => Command;
type Named = (made: Command) => Command;

function addShow(command: Make): void {
  command('show', 'Subsystems, namespaces, controllers, ports: what there is and who uses it.', 'show')
    .option('--connections', 'who is connected, instead')
    .action(async (flags: Flags) => {
      if (flags['connections']) await showConnections(flags);
      else print(flags, (await ask(flags, 'show', {})) as unknown as TargetShown, targetTree);
    });
  command(
    'connections',
    'Who is connected: hosts, queues, depth, in flight, bytes, errors.',
    'connections -o json',
  ).action(showConnections);
}

async function showConnections(flags: Flags): Promise<void> {
  const { connections } = await ask(flags, 'connections', {});
  print(flags, { connections: connections as ConnectionShown[] }, (value) =>
    connectionTable(value.connections),
  );
}

function addSubsystemVerbs(command: Make, inSubsystem: Named): void {
  command('add subsystem <nqn>', 'Add a subsystem.', `add subsystem ${NQN} --port 1 --host nqn.…`)
    .option('--serial <text>', 'serial number (default: a new one, kept)')
    .option('--model <text>', 'model number')
    .option(
      '--host <hostnqn>',
      'admit this host, and no other that is not named; may be repeated',
      many(text),
    )
    .option('--no-shared', 'one controller at a time')
    .option('--port <port>', 'offer it on this port: id or address; may be repeated', many(text))
    .action(async (nqn: string, flags: Flags) => {
      const { serial, model, shared, host, port } = flags;
      printChanges(
        flags,
        await ask(flags, 'add-subsystem', { nqn, serial, model, shared, hosts: host, ports: port }),
      );
    });
  command(
    'remove subsystem <nqn>',
    'Remove a subsystem, with its namespaces; their files stay.',
    `remove subsystem ${NQN}`,
  )
    .option('--force', 'also when hosts are connected, which are disconnected')
    .action(async (nqn: string, flags: Flags) => {
      printChanges(flags, await ask(flags, 'remove-subsystem', { nqn, force: flags['force'] }));
    });
  for (const [verb, what] of [
    ['add', 'Admit a host, and from now on no other that is not named.'],
    ['remove', 'Admit a host no more; it is disconnected.'],
  ] as const)
    inSubsystem(
      command(`${verb} host <hostnqn>`, what, `${verb} host nqn.2014-08.org.nvmexpress:uuid:…`),
    ).action(async (host: string, flags: Flags) => {
      printChanges(flags, await ask(flags, `${verb}-host`, { subsystem: flags.nqn, host }));
    });
  inSubsystem(
    command(
      'allow-any-host <on|off>',
      'Whether every host may connect; off: none that is not added.',
      'allow-any-host off',
    ),
  ).action(async (value: string, flags: Flags) => {
    const allow = argument.onOff(value) === 'on';
    printChanges(flags, await ask(flags, 'allow-any-host', { subsystem: flags.nqn, allow }));
  });
}

function addNamespaceVerbs(command: Make, inSubsystem: Named): void {
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
    .option('--group <grpid>', 'ANA group', group)
    .option('--read-only', 'nothing is written to the file')
    .option('--no-shared', 'private to the first host that attaches it')
    .option('--visible-to <hostnqn>', 'only this host sees it; may be repeated', many(text))
    .action(async (file: string | undefined, flags: Flags) => {
      const { mem, lba, uuid, nguid, readOnly, shared, visibleTo } = flags;
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

function addPortVerbs(command: Make): void {
  command('add port <host:port>', 'Listen on one more address.', 'add port 10.0.1.1:4420')
    .option('--id <portid>', 'PORTID (default: the lowest free one)', count(1, 0xffff))
    .option(
      '--subsystem <nqn>',
      'offer this one; may be repeated (default: every one that there is)',
      many(text),
    )
    .option('--discovery', 'offer only discovery')
    .action(async (address: string, flags: Flags) => {
      const subsystems = flags['discovery'] ? [] : flags['subsystem'];
      printChanges(flags, await ask(flags, 'add-port', { address, id: flags['id'], subsystems }));
    });
  for (const [spec, description] of [
    ['remove port', 'Listen there no more; only hosts that came through it are disconnected.'],
    ['enable port', 'Listen there again.'],
    ['disable port', 'Stop listening there; the port stays configured.'],
  ] as const)
    command(`${spec} <port>`, `${description} PORT: its id or address.`, `${spec} 2`).action(
      async (port: string, flags: Flags) => {
        printChanges(flags, await ask(flags, spec.replace(' ', '-'), { port }));
      },
    );
  for (const [verb, description] of [
    ['add', 'Offer a subsystem on a port.'],
    ['remove', 'Offer it there no more; hosts that came through it are disconnected.'],
  ] as const)
    command(`${verb} listener <port> <nqn>`, description, `${verb} listener 2 ${NQN}`).action(
      async (port: string, subsystem: string, flags: Flags) => {
        printChanges(flags, await ask(flags, `${verb}-listener`, { port, subsystem }));
      },
    );
  command(
    'add referral <port> <name> <host:port>',
    'Send hosts to another discovery service, too.',
    'add referral 1 other 10.0.0.9:8009',
  )
    .option('--id <portid>', 'PORTID that is shown for it', count(0, 0xffff))
    .action(async (port: string, name: string, address: string, flags: Flags) => {
      printChanges(flags, await ask(flags, 'add-referral', { port, name, address, id: flags['id'] }));
    });
  command('remove referral <port> <name>', 'Send them there no more.', 'remove referral 1 other').action(
    async (port: string, name: string, flags: Flags) => {
      printChanges(flags, await ask(flags, 'remove-referral', { port, name }));
    },
  );
  command(
    'ana <port> <state>',
    `Set the ANA state of a port: ${ANA_STATES.join(', ')}.`,
    'ana 1 inaccessible --group 2',
  )
    .option('--group <grpid>', 'of this group (default: of all)', group)
    .action(async (port: string, state: string, flags: Flags) => {
      const params = { port, state: argument.state(state), anagrpid: flags['group'] };
      printChanges(flags, await ask(flags, 'set-ana', params));
    });
  command(
    'drain <port>',
    'Send hosts to their other paths, wait until all have gone, and disable the port.',
    'drain 1 --timeout 2m',
  )
    .option('--timeout <time>', 'how long to wait; then the port is as before (default: 60)', seconds)
    .option('--force', 'disable it then, although hosts remain')
    .action(drain);
}

async function drain(port: string, flags: Flags): Promise<void> {
  let before = '';
  const result = await ask(
    flags,
    'drain-port',
    { port, timeout: flags['timeout'], force: flags['force'] },
    (value) => {
      const { remaining, left } = value as { remaining: Remaining[]; left: number };
      const line = remaining
        .map(
          ({ host, otherPath, inFlight }) =>
            `${host} ${otherPath ? `(${inFlight} in flight)` : '(no other path)'}`,
        )
        .join(', ');
      if (line !== before) process.stderr.write(`waits up to ${Math.ceil(left / 1000)} s for ${line}\n`);
      before = line;
    },
  );
  print(flags, result, ({ waited, cut }) => {
    const hosts = (cut as Remaining[]).map(({ host }) => host);
    return `port ${port} is disabled after ${String(waited)} ms${hosts.length > 0 ? `, cut off: ${hosts.join(', ')}` : ''}`;
  });
}

function addWholeVerbs(command: Make, inSubsystem: Named): void {
  inSubsystem(command('kick <cntlid>', 'End one controller; its host may come back.', 'kick 3'))
    .option('--abrupt', 'reset its connections instead of finishing what is under way')
    .action(async (id: string, flags: Flags) => {
      const params = { subsystem: flags.nqn, cntlid: argument.cntlid(id), abrupt: flags['abrupt'] };
      print(flags, await ask(flags, 'kick', params), ({ host }) => `${String(host)} is disconnected`);
    });
  command(
    'log-level <level>',
    `What the daemon logs from now on: ${LOG_LEVELS.join(', ')}.`,
    'log-level debug',
  ).action(async (level: string, flags: Flags) => {
    print(flags, await ask(flags, 'log-level', { level: argument.level(level) }), () => `logs ${level}`);
  });
  command(
    'plan <file>',
    'What would change if this configuration file were applied.',
    'plan config.json',
  ).action((file: string, flags: Flags) => withFile('plan', file, flags));
  command(
    'apply <file>',
    'Make the target what this configuration file says, changing only the difference.',
    'apply config.json',
  )
    .option('--force', 'also remove subsystems to which hosts are connected')
    .action((file: string, flags: Flags) => withFile('apply', file, flags));
  command(
    'save [file]',
    'Write the configuration as a file for apply, or for nvmetcli.',
    'save --nvmet /etc/nvmet/config.json',
  )
    .option('--nvmet', 'only what nvmetcli understands')
    .action(async (file: string | undefined, flags: Flags) => {
      const { config, lost } = (await ask(flags, 'save', { nvmet: flags['nvmet'] })) as {
        config: string;
        lost: readonly string[];
      };
      for (const line of lost) process.stderr.write(`left out: ${line}\n`);
      if (file === undefined) process.stdout.write(config);
      else save(file, config);
    });
}

function save(file: string, config: string): void {
  try {
    writeFileSync(file, config, { mode: 0o600 });
  } catch (error) {
    throw new NvmeError(`${file} cannot be written: ${inWords(error)}`, { code: 'EINVAL' });
  }
}

async function withFile(method: 'plan' | 'apply', file: string, flags: Flags): Promise<void> {
  const config = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new NvmeError(`${file} cannot be read: ${inWords(error)}`, { code: 'EINVAL' });
  });
  const result = (await ask(flags, method, { config, force: flags['force'] })) as {
    changes: readonly string[];
    unsupported: readonly { path: string; message: string }[];
    pending?: readonly { what: string; why: string }[];
  };
  for (const { path, message } of result.unsupported)
    process.stderr.write(`not supported: ${path}: ${message}\n`);
  print(flags, result, changesText);
  for (const { what, why } of result.pending ?? []) process.stderr.write(`not there yet: ${what}: ${why}\n`);
}
