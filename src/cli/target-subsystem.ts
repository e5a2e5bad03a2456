/** Verbs of `nvmetcp target` about subsystems and the hosts that may connect to them. */
import { LAST_QID } from '../config/document.ts';
import { count, many } from './flags.ts';
import {
  type Flags,
  type Make,
  NQN,
  type Named,
  argument,
  ask,
  nullIfDefault,
  orDefault,
  printChanges,
  text,
} from './target-request.ts';

const queues = count(1, LAST_QID);

export function addSubsystemVerbs(command: Make, inSubsystem: Named): void {
  command('add subsystem <nqn>', 'Add a subsystem.', `add subsystem ${NQN} --port 1 --host nqn.…`)
    .option('--serial <text>', 'serial number (default: a new one, kept)')
    .option('--model <text>', 'model number')
    .option(
      '--host <hostnqn>',
      'admit this host, and no other that is not named; may be repeated',
      many(text),
    )
    .option('--no-shared', 'one controller at a time')
    .option('--queues <count>', 'I/O queues that a controller may have', queues)
    .option('--firmware <text>', 'firmware revision')
    .option('--ieee-oui <digits>', 'IEEE OUI, 6 hexadecimal digits')
    .option('--no-ana', 'hosts are not told of Asymmetric Namespace Access')
    .option('--port <port>', 'offer it on this port: id or address; may be repeated', many(text))
    .action(async (nqn: string, flags: Flags) => {
      const { serial, model, shared, host, port, queues: ioQueues, firmware, ieeeOui, ana } = flags;
      printChanges(
        flags,
        await ask(flags, 'add-subsystem', {
          nqn,
          serial,
          model,
          shared,
          hosts: host,
          ports: port,
          ioQueues,
          firmware,
          ieeeOui,
          ana,
        }),
      );
    });
  inSubsystem(
    command(
      'set subsystem',
      'Change what a subsystem tells its hosts; with another number of queues they connect again.',
      'set subsystem --queues 2',
    ),
  )
    .option('--queues <count>', 'I/O queues that a controller may have, or "default"', orDefault(queues))
    .option('--firmware <text>', 'firmware revision, or "default"', orDefault(text))
    .action(async (flags: Flags) => {
      const { nqn: subsystem, queues: ioQueues, firmware } = flags;
      printChanges(
        flags,
        await ask(flags, 'set-subsystem', {
          subsystem,
          ioQueues: nullIfDefault(ioQueues),
          firmware: nullIfDefault(firmware),
        }),
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
