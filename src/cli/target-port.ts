/** Verbs of `nvmetcp target` about ports: what is offered there, ANA states, referrals, draining. */
import { ANA_STATES, LEAST_QUEUE_SIZE, MOST_QUEUE_SIZE } from '../config/document.ts';
import type { Remaining } from '../daemon/drain.ts';
import { count, many, seconds, size } from './flags.ts';
import { print } from './print.ts';
import {
  type Flags,
  type Make,
  NQN,
  argument,
  ask,
  group,
  nullIfDefault,
  orDefault,
  printChanges,
  text,
} from './target-request.ts';

const entries = count(LEAST_QUEUE_SIZE, MOST_QUEUE_SIZE);

export function addPortVerbs(command: Make): void {
  command('add port <host:port>', 'Listen on one more address.', 'add port 10.0.1.1:4420')
    .option('--id <portid>', 'PORTID (default: the lowest free one)', count(1, 0xffff))
    .option(
      '--subsystem <nqn>',
      'offer this one; may be repeated (default: every one that there is)',
      many(text),
    )
    .option('--discovery', 'offer only discovery')
    .option('--inline-data-size <size>', 'in-capsule data of an I/O command', size)
    .option('--max-queue-size <entries>', 'entries of an I/O queue', entries)
    .action(async (address: string, flags: Flags) => {
      const subsystems = flags['discovery'] ? [] : flags['subsystem'];
      printChanges(
        flags,
        await ask(flags, 'add-port', {
          address,
          id: flags['id'],
          subsystems,
          inlineDataSize: flags['inlineDataSize'],
          maxQueueSize: flags['maxQueueSize'],
        }),
      );
    });
  command(
    'set port <port>',
    'Change what a port tells hosts; those that came through it connect again.',
    'set port 1 --inline-data-size 8k',
  )
    .option('--inline-data-size <size>', 'in-capsule data of an I/O command, or "default"', orDefault(size))
    .option('--max-queue-size <entries>', 'entries of an I/O queue, or "default"', orDefault(entries))
    .action(async (port: string, flags: Flags) => {
      const { inlineDataSize, maxQueueSize } = flags;
      printChanges(
        flags,
        await ask(flags, 'set-port', {
          port,
          inlineDataSize: nullIfDefault(inlineDataSize),
          maxQueueSize: nullIfDefault(maxQueueSize),
        }),
      );
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
