/** `nvmetcp target …`: talks to a target daemon that runs, through its control socket. */
import { readFile } from 'node:fs/promises';
import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { NvmeError } from '../api/error.ts';
import { SOCKET_NAME } from '../daemon/folder.ts';
import { LOG_LEVELS } from '../daemon/log-levels.ts';
import type { ConnectionShown, TargetShown } from '../daemon/show.ts';
import { inWords } from '../runtime/node/errors.ts';
import { addOutputFlag } from './connection.ts';
import { print } from './print.ts';
import { addNamespaceVerbs } from './target-namespace.ts';
import { addPortVerbs } from './target-port.ts';
import { type Flags, type Make, type Named, argument, ask, changesText } from './target-request.ts';
import { addSubsystemVerbs } from './target-subsystem.ts';
import { connectionTable, targetTree } from './target-show.ts';

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
    ['set', 'change a setting of a subsystem or a port'],
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
