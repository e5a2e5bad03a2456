/** Defects against the rules of the initiator (NUM, PORT, QUIESCE, HEAD): see `mutations.ts`. */
import type { Plan } from './plan.ts';
import type { Mutation } from './mutations.ts';
import { HOST_SCENARIOS, SLOW_CLOSES, STALLED, UNSEEN } from './scenarios-host.ts';
import { HEAD_SCENARIOS, PRIVATE, WAITING } from './scenarios-heads.ts';
import { TWO_PATHS, fault } from './scenario.ts';

const HEAD = 'src/initiator/head.ts';
const CONNECTION = 'src/initiator/connection.ts';
const REGISTRY = 'src/initiator/registry.ts';
const PORTS = 'src/initiator/ports.ts';
const PATH = 'src/initiator/path.ts';

/** What the first scenario of a rule needs. */
const about = (rule: string): Partial<Plan> =>
  [...HOST_SCENARIOS, ...HEAD_SCENARIOS].find(({ name }) => name.startsWith(`${rule} `))!.plan;

export const HOST_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a number is not used again while a higher one is taken (NUM.1)',
    edits: [
      {
        file: 'src/initiator/numbers.ts',
        from: `    let number = this.#first;
    while (this.#held.has(number)) number++;`,
        to: `    const number = Math.max(this.#first - 1, ...this.#held.keys()) + 1;`,
      },
    ],
  },
  {
    name: 'a subsystem allocates a number of its own, as in Linux before 5.4 (NUM.2)',
    edits: [
      {
        file: 'src/initiator/subsystem.ts',
        from: 'this.instance = first.instance;',
        to: `this.instance = registry.numbers.take('subsystem');`,
      },
    ],
  },
  {
    name: 'a path is named after its controller alone (NUM.10)',
    edits: [
      {
        file: PATH,
        from: 'return `nvme${subsystem.instance}c',
        to: 'return `nvme${this.controller.instance || subsystem.instance}c',
      },
    ],
  },
  {
    name: 'a head is told to have changed after it was told to be gone (NUM.11)',
    edits: [{ file: HEAD, from: `if (!this.state.is('gone')) this.#tell();`, to: 'this.#tell();' }],
  },
  {
    name: 'a subsystem that is open goes with its last head (NUM.7, PORT.11)',
    plan: { ...TWO_PATHS, faults: [fault('restart host', 500, { count: 2 })] },
    edits: [{ file: REGISTRY, from: ' || handles > 0) return;', to: ') return;' }],
  },
  {
    name: 'an NBD client does not hold the subsystem of its disk (NUM.7)',
    plan: about('NUM.7'),
    edits: [{ file: 'src/nbd/connection.ts', from: 'this.#leave = chosen.device.open();', to: '' }],
  },
  {
    name: 'a port that is away is connected through (PORT.4)',
    edits: [
      {
        file: PORTS,
        from: 'if (this.#away.has(name) || this.#away.has(key)) return undefined;',
        to: '',
      },
    ],
  },
  {
    name: 'a socket is closed once more when its association is over (PORT.3)',
    edits: [
      {
        file: CONNECTION,
        from: `    this.state.to('ended', this.state.why);
    this.owner.connectionEnded();`,
        to: `    this.state.to('ended', this.state.why);
    this.owner.connectionEnded();
    this.#transport!.close();`,
      },
    ],
  },
  {
    name: 'an attempt that fails is counted by its port for ever (PORT.1)',
    edits: [
      {
        file: 'src/initiator/controller.ts',
        from: 'this.registry.ports.associationOver(association.remote, this);',
        to: `if (association.ended !== 'never connected')
      this.registry.ports.associationOver(association.remote, this);`,
      },
    ],
  },
  {
    name: 'unregistering a port of an older generation takes the present one away (PORT.10)',
    plan: about('PORT.10'),
    edits: [{ file: PORTS, from: "if (state === 'online') this", to: 'this' }],
  },
  {
    name: 'a command goes to the first path, whichever was chosen (QUIESCE.1)',
    edits: [
      {
        file: PATH,
        from: `const queue = this.usable ? this.queues?.next(request.direction === 'in') : undefined;`,
        to: `const queue = this.queues?.next(request.direction === 'in');`,
      },
      {
        file: 'src/initiator/traffic.ts',
        from: 'const outcome = path.submit(request);',
        to: 'const outcome = this.#head.paths[0]!.submit(request);',
      },
    ],
  },
  {
    name: 'a reset waits for old connections however long they take (QUIESCE.9)',
    plan: SLOW_CLOSES,
    edits: [
      {
        file: 'src/initiator/controller.ts',
        from: `      this.#toConnecting();
    });`,
        to: '    });',
      },
    ],
  },
  {
    name: 'the ANA log is not read while I/O is under way (QUIESCE.10)',
    plan: about('QUIESCE.10 ANA'),
    edits: [
      {
        file: 'src/initiator/controller-paths.ts',
        from: `  anaChanged(): boolean {
    this.#follow();
    this.ana?.read();`,
        to: `  anaChanged(): boolean {
    this.#follow();
    if (this.inFlight === 0) this.ana?.read();`,
      },
    ],
  },
  {
    name: 'an ANA log is not read again when a namespace went and came back between two looks (QUIESCE.10)',
    plan: UNSEEN,
    edits: [
      {
        file: 'src/initiator/controller-paths.ts',
        from: 'if (more || again) this.ana?.read();',
        to: 'if (more) this.ana?.read();',
      },
    ],
  },
  {
    name: 'commands of a lost connection end before it is dead (QUIESCE.14)',
    plan: STALLED,
    edits: [
      {
        file: CONNECTION,
        from: `      this.#close(why, reset);
      this.queue.close();`,
        to: `      this.#close(why, reset);
      this.queue.fail();`,
      },
    ],
  },
  {
    name: 'a connection with commands in flight is closed politely (QUIESCE.14)',
    plan: STALLED,
    edits: [
      {
        file: CONNECTION,
        from: 'const inFlight = reset || this.queue.busy || this.sender.pending > 0;',
        to: 'const inFlight = false;',
      },
    ],
  },
  {
    name: 'delayed_removal_secs counts from when it is set (HEAD.1)',
    plan: WAITING,
    edits: [
      {
        file: HEAD,
        from: `    this.#delayedRemoval = seconds;
    if (seconds`,
        to: `    this.#delayedRemoval = seconds;
    if (this.state.has('delayed removal') && seconds > 0)
      this.state.after('delayed removal', seconds * 1000, () => this.#giveUp('no path came in time'));
    if (seconds`,
      },
    ],
  },
  {
    name: 'set to 0, a head that waits waits on, as in Linux (HEAD.11)',
    plan: about('HEAD.11'),
    edits: [
      {
        file: HEAD,
        from: `if (seconds === 0 && this.state.is('orphaned')) this`,
        to: 'if (seconds < 0) this',
      },
    ],
  },
  {
    name: 'I/O fails while its head waits for a path, as in the first versions of Linux (HEAD.6)',
    plan: about('HEAD.6'),
    edits: [
      {
        file: 'src/initiator/traffic.ts',
        from: `      if (path === 'requeue') {
        this.#requeued`,
        to: `      if (path === 'requeue' && this.#head.state.is('orphaned')) {
        this.#noPath(io);
        break;
      }
      if (path === 'requeue') {
        this.#requeued`,
      },
    ],
  },
  {
    name: 'a namespace joins the head that has its NSID, whoever it is (HEAD.7)',
    plan: about('HEAD.7'),
    edits: [
      {
        file: 'src/initiator/namespace-identity.ts',
        from: 'sameSubsystem && sameIdentity(other, info);',
        to: 'sameSubsystem && other.nsid === info.nsid;',
      },
    ],
  },
  {
    name: 'a private namespace that returns does not join the head that waits for it (HEAD.8)',
    plan: PRIVATE,
    edits: [
      {
        file: 'src/initiator/namespace-identity.ts',
        from: '(head) => head.paths === 0 && same(head)',
        to: '(head) => info.shared && head.paths === 0 && same(head)',
      },
    ],
  },
  {
    name: 'heads that wait are left to their timers when the host stops (HEAD.12)',
    plan: { ...WAITING, faults: [fault('stay away', 300, { ms: 4000 }), fault('restart host', 700)] },
    edits: [
      {
        file: 'src/initiator/subsystem.ts',
        from: 'for (const head of [...this.heads]) head.setDelayedRemoval(0);',
        to: '',
      },
    ],
  },
];
