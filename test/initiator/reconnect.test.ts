import t, { type Test } from 'tap';
import { fakeDiscovery } from '../doubles/fake-controller.ts';
import { Event, eventDword } from '../../src/nvme/event.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import type { ControllerOptions } from '../../src/initiator/controller-options.ts';
import { describeController, describeTimers } from '../../src/initiator/describe.ts';
import {
  DEFAULT_RECOVERY,
  contradictions,
  deadlines,
  givenUp,
  maxReconnects,
  reconnectDelay,
  type LossFacts,
  type Recovery,
} from '../../src/initiator/recovery.ts';
import { flush } from '../../src/initiator/commands.ts';
import { Request } from '../../src/initiator/request.ts';
import { HostWorld } from '../doubles/host-world.ts';

const recovery = { reconnectDelay: 10_000, ctrlLossTmo: 600_000 };

/** The target resets every connection. */
function lose(world: HostWorld): void {
  for (const each of world.fake.connections) if (!each.gone) each.transport.reset();
  world.settle();
  world.fake.connections.length = 0;
}

/** Connects are refused from now on; gives a function that ends it. */
function refuse(world: HostWorld): () => void {
  const { net } = world.env;
  const connect = net.connect.bind(net);
  net.connect = (_options, done) => {
    world.env.clock.defer(() => done({ code: 'ECONNREFUSED', message: 'connection refused' }));
    return { cancel: () => undefined };
  };
  return () => {
    net.connect = connect;
  };
}

function stop(t: Test, world: HostWorld): void {
  let stopped = false;
  world.registry.stop(() => (stopped = true));
  world.advance(1000);
  t.ok(stopped);
  t.strictSame(world.leftovers(), []);
}

function up(options: Partial<ControllerOptions> = {}) {
  const world = new HostWorld();
  return { world, ...world.up({ recovery, ...options }) };
}

const timers = (world: HostWorld): string[] =>
  [...world.registry.controllers].flatMap((each) => describeTimers(each).map(({ name }) => name));

// ---- the decisions

const loss = (change: Partial<LossFacts> = {}, options: Partial<Recovery> = {}): LossFacts => ({
  recovery: { ...DEFAULT_RECOVERY, ...options },
  lostAt: 1000,
  portLostAt: undefined,
  attempts: 0,
  reason: { code: 'ECONNREFUSED', message: 'refused' },
  ...change,
});

t.test('Linux’s defaults: 600 s, 10 s, no fast_io_fail_tmo; 60 attempts', (t) => {
  t.match(DEFAULT_RECOVERY, { ctrlLossTmo: 600_000, reconnectDelay: 10_000, fastIoFailTmo: Infinity });
  t.equal(maxReconnects(DEFAULT_RECOVERY), 60);
  t.equal(maxReconnects({ ...DEFAULT_RECOVERY, ctrlLossTmo: 25_000 }), 3, 'rounded up');
  t.equal(maxReconnects({ ...DEFAULT_RECOVERY, ctrlLossTmo: 0 }), 0);
  t.equal(maxReconnects({ ...DEFAULT_RECOVERY, ctrlLossTmo: Infinity }), Infinity);
  t.equal(maxReconnects({ ...DEFAULT_RECOVERY, backoff: 2 }), Infinity, 'time alone counts');
  t.end();
});

t.test('a lost controller is given up: the table', (t) => {
  const dnr = { status: Status.ConnectInvalidHost | DNR, message: 'no' };
  const rows: [string, LossFacts, number, RegExp | undefined][] = [
    ['it just happened', loss(), 1000, undefined],
    ['shortly before the end', loss({ attempts: 59 }), 600_999, undefined],
    ['ctrl_loss_tmo', loss({ attempts: 59 }), 601_000, /ctrl_loss_tmo is over/],
    ['many attempts in a short time', loss({ attempts: 100 }), 2000, undefined],
    ['for ever', loss({ attempts: 1e6 }, { ctrlLossTmo: Infinity }), 1e12, undefined],
    ['at once', loss({}, { ctrlLossTmo: 0 }), 1000, /ctrl_loss_tmo is 0/],
    ['DNR of an attempt', loss({ reason: dnr, attempts: 1 }), 1000, /DNR/],
    ['DNR of what ended the association', loss({ reason: dnr }), 1000, undefined],
    ['DNR, for ever', loss({ reason: dnr, attempts: 1 }, { ctrlLossTmo: Infinity }), 1000, /DNR/],
    [
      'no DNR',
      loss({ reason: { status: Status.ConnectInvalidHost, message: '' }, attempts: 1 }),
      1000,
      undefined,
    ],
    ['dev_loss_tmo, port there', loss({}, { devLossTmo: 5000 }), 100_000, undefined],
    ['dev_loss_tmo', loss({ portLostAt: 9000 }, { devLossTmo: 5000 }), 14_000, /dev_loss_tmo is over/],
    ['not yet', loss({ portLostAt: 9000 }, { devLossTmo: 5000 }), 13_999, undefined],
    [
      'PORT.9 dev_loss_tmo runs although ctrl_loss_tmo does not',
      loss({ portLostAt: 9000 }, { devLossTmo: 5000, ctrlLossTmo: Infinity }),
      14_000,
      /dev_loss_tmo/,
    ],
    [
      'PORT.9 the earlier deadline',
      loss({ portLostAt: 600_000 }, { devLossTmo: 5000 }),
      601_000,
      /ctrl_loss_tmo/,
    ],
  ];
  for (const [name, each, now, expected] of rows) {
    const why = givenUp(each, now);
    if (expected === undefined) t.equal(why, undefined, name);
    else t.match(why, expected, name);
  }
  t.strictSame(deadlines(loss({}, { fastIoFailTmo: 5000 })), {
    failFast: 6000,
    giveUp: 601_000,
    by: 'ctrl_loss_tmo',
  });
  t.end();
});

t.test('the delay is constant as in Linux, or grows, with chance in it, up to a bound', (t) => {
  const constant = [0, 1, 50].map((attempts) => reconnectDelay(DEFAULT_RECOVERY, attempts, 0.5));
  t.strictSame(constant, [10_000, 10_000, 10_000]);
  const growing = { ...DEFAULT_RECOVERY, reconnectDelay: 1000, backoff: 2, jitter: 0.25 };
  t.strictSame(
    [0, 1, 2, 5, 6, 1000].map((attempts) => reconnectDelay(growing, attempts, 0)),
    [1000, 2000, 4000, 32_000, 60_000, 60_000],
  );
  t.equal(reconnectDelay(growing, 2, 1), 3000);
  t.equal(
    reconnectDelay({ ...growing, reconnectDelay: 90_000 }, 3, 0),
    90_000,
    'never shorter than asked for',
  );
  t.end();
});

t.test('options that contradict each other are warned about', (t) => {
  t.strictSame(contradictions(DEFAULT_RECOVERY), []);
  t.match(contradictions({ ...DEFAULT_RECOVERY, fastIoFailTmo: 700_000 }), [/fast_io_fail_tmo.*larger/]);
  t.match(contradictions({ ...DEFAULT_RECOVERY, devLossTmo: 700_000 }), [/dev_loss_tmo.*larger/]);
  t.match(contradictions({ ...DEFAULT_RECOVERY, reconnectDelay: 700_000 }), [
    /reconnect_delay.*nothing is tried/,
  ]);
  const { world } = up({ recovery: { ...recovery, fastIoFailTmo: 700_000 } });
  t.equal(world.env.trace.events.filter(({ what }) => what === 'options contradict each other').length, 1);
  t.end();
});

// ---- the controller

t.test('a lost controller is connected again after reconnect_delay: same name, same head, same path', (t) => {
  const { world, controller, head } = up();
  const [path] = head.paths;
  lose(world);
  t.equal(controller.state.now, 'connecting');
  t.notOk(controller.usable);
  t.ok(controller.mayReturn);
  t.equal(path?.usable, false);
  world.advance(9_999);
  t.equal(world.fake.connections.length, 0);
  world.fake.cntlid = 9;
  world.advance(1);
  t.equal(controller.state.now, 'live');
  t.equal(controller.cntlid, 9, 'CNTLID may change');
  t.ok(controller.usable);
  t.equal(controller.name, 'nvme0');
  t.strictSame(controller.subsystem?.heads, [head]);
  t.equal(head.paths[0], path);
  const read = world.read(head, 0, 1);
  world.settle();
  t.equal(read.status, 0);
  t.strictSame(describeController(controller).timers, [], 'KATO 0: nothing is waited for');
  stop(t, world);
  t.end();
});

t.test('ctrl_loss_tmo: 60 s are five attempts, then the controller goes with the reason of the last', (t) => {
  const { world, controller } = up({ recovery: { ...recovery, ctrlLossTmo: 60_000 } });
  lose(world);
  const attempts: number[] = [];
  refuse(world);
  for (let second = 1; second <= 60 && !controller.state.is('dead'); second++) {
    const before = controller.attempts;
    world.advance(1000);
    if (controller.attempts > before) attempts.push(second);
  }
  t.strictSame(attempts, [10, 20, 30, 40, 50]);
  t.equal(controller.state.now, 'dead');
  t.match(controller.reason?.message, /connection refused; ctrl_loss_tmo is over/);
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test(
  'QUIESCE.5 ctrl_loss_tmo -1: for a week a path refuses I/O at once, and one attempt follows the other',
  (t) => {
    const { world, controller, head } = up({ recovery: { reconnectDelay: 600_000, ctrlLossTmo: Infinity } });
    lose(world);
    const whole = refuse(world);
    world.advance(7 * 86_400_000);
    t.equal(controller.attempts, 1008);
    t.strictSame(timers(world), ['reconnect']);
    t.equal(head.paths[0]?.usable, false);
    t.equal(world.env.clock.timers.length, 1);
    whole();
    world.advance(600_000);
    t.equal(controller.state.now, 'live');
    t.equal(controller.attempts, 0);
    stop(t, world);
    t.end();
  },
);

t.test('ctrl_loss_tmo 0: a lost controller goes once its connections are dead', (t) => {
  const { world, controller } = up({ recovery: { ctrlLossTmo: 0 } });
  lose(world);
  t.equal(controller.state.now, 'dead');
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('fast_io_fail_tmo: the controller goes on, its I/O is to fail; a usable path ends that', (t) => {
  const { world, controller } = up({ recovery: { ...recovery, fastIoFailTmo: 15_000 } });
  const changes: string[] = [];
  const subsystem = controller.subsystem!;
  const changed = subsystem.controllerChanged.bind(subsystem);
  subsystem.controllerChanged = (each) => {
    changes.push(
      `${each.state.now} ${each.failedFast ? 'failed fast' : each.usable ? 'usable' : 'not usable'}`,
    );
    changed(each);
  };
  const whole = refuse(world);
  lose(world);
  world.advance(14_999);
  t.notOk(controller.failedFast);
  t.strictSame(timers(world), ['fast_io_fail_tmo', 'reconnect', 'ctrl_loss_tmo']);
  world.advance(1);
  t.ok(controller.failedFast);
  t.equal(controller.state.now, 'connecting');
  whole();
  world.advance(5_000);
  t.equal(controller.state.now, 'live');
  t.notOk(controller.failedFast);
  t.strictSame(changes, ['resetting not usable', 'connecting failed fast', 'live usable']);
  stop(t, world);
  t.end();
});

t.test('timers say what they will do, and when', (t) => {
  const { world, controller } = up({ kato: 5000, recovery: { ...recovery, fastIoFailTmo: 15_000 } });
  const shown = () => describeTimers(controller).map(({ of, name, inMs, then }) => [of, name, inMs, then]);
  t.strictSame(shown(), [
    [
      'nvme0 association',
      'keep alive',
      2500,
      'sends a Keep Alive, unless there was traffic that makes it unnecessary',
    ],
  ]);
  lose(world);
  t.strictSame(
    shown().map(([of, name, inMs, then]) => [of, name, Math.round(Number(inMs)), then]),
    [
      ['nvme0', 'reconnect', 10_000, 'connects the controller again'],
      [
        'nvme0',
        'fast_io_fail_tmo',
        15_000,
        'fails the I/O that waits, while the controller goes on reconnecting',
      ],
      ['nvme0', 'ctrl_loss_tmo', 600_000, 'gives the controller up'],
    ],
  );
  t.match(JSON.parse(JSON.stringify(describeController(controller))), {
    name: 'nvme0',
    state: 'connecting',
    maxReconnects: 60,
    ctrlLossMs: 600_000,
    reason: /reset/,
  });
  stop(t, world);
  t.end();
});

t.test('ctrl_loss_tmo, fast_io_fail_tmo and reconnect_delay change while a loss lasts', (t) => {
  const { world, controller } = up();
  refuse(world);
  lose(world);
  world.advance(5000);
  controller.set({ reconnectDelay: 1000, fastIoFailTmo: 8000, ctrlLossTmo: 20_000 });
  world.advance(1000);
  t.equal(controller.attempts, 1);
  world.advance(2000);
  t.ok(controller.failedFast, 'measured from the loss');
  controller.set({ fastIoFailTmo: Infinity });
  t.notOk(controller.failedFast);
  controller.set({ ctrlLossTmo: Infinity });
  world.advance(100_000);
  t.equal(controller.state.now, 'connecting');
  controller.set({ ctrlLossTmo: 20_000 });
  world.advance(0);
  t.equal(controller.state.now, 'dead', 'its time is over already');
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('DNR on Connect ends the attempts, as in Linux, and says why', (t) => {
  for (const [status, state] of [
    [Status.ConnectInvalidHost | DNR, 'dead'],
    [Status.ConnectControllerBusy, 'connecting'],
  ] as const) {
    const { world, controller } = up({ recovery: { ...recovery, ctrlLossTmo: Infinity } });
    lose(world);
    world.fake.script = ({ name, on, cid }) => name === 'Connect' && (on.respond(cid, status), true);
    world.advance(10_000);
    t.equal(controller.state.now, state);
    t.equal(controller.reason?.status, status);
    if (state === 'dead') t.match(controller.reason?.message, /DNR/);
    stop(t, world);
  }
  t.end();
});

t.test(
  'who answers with another serial, model or name is not the same controller: the attempt fails',
  (t) => {
    for (const change of [{ sn: 'OTHER' }, { mn: 'other' }, { subnqn: 'nqn.2024-01.test:other' }]) {
      const { world, controller, head } = up();
      lose(world);
      world.fake.identify = change;
      world.advance(10_000);
      t.equal(controller.state.now, 'connecting', JSON.stringify(change));
      t.match(controller.reason?.message, /are not those of nvme-subsys0|calls itself/);
      world.fake.identify = {};
      world.advance(10_000);
      t.equal(controller.state.now, 'live');
      t.strictSame(controller.subsystem?.heads, [head]);
      stop(t, world);
    }
    t.end();
  },
);

t.test(
  'the namespaces are looked at again before a path is used: another identity is another head (HEAD.7)',
  (t) => {
    const { world, controller, head } = up();
    lose(world);
    world.fake.namespaces[0]!.ids = { uuid: '0b2f8f6c-6e0b-4cc1-8f8e-0d5e7c8a9b11' };
    let during: boolean | undefined;
    world.fake.script = ({ name }) => {
      if (name === 'Identify 3') during = head.paths.some((path) => path.usable);
      return false;
    };
    world.advance(10_000);
    t.equal(during, false, 'QUIESCE.6 live, and not ready');
    t.ok(head.paths.length === 0);
    t.not(controller.subsystem?.head(1), head);
    stop(t, world);
    t.end();
  },
);

t.test('a scan that fails while it reconnects fails the attempt; ctrl_loss_tmo goes on', (t) => {
  const { world, controller } = up({ recovery: { ...recovery, ctrlLossTmo: 45_000 } });
  lose(world);
  world.fake.script = ({ name, on, cid }) =>
    name === 'Identify 2' && (on.respond(cid, Status.InternalError), true);
  world.advance(44_999);
  t.equal(controller.state.now, 'connecting');
  t.notOk(controller.usable);
  t.equal(controller.connects, 5);
  world.advance(1);
  t.equal(controller.state.now, 'dead');
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('a list of namespaces that cannot be read later leaves what there is, and is asked for again', (t) => {
  const { world, controller, head } = up();
  let refused = 0;
  world.fake.script = ({ name, on, cid }) =>
    name === 'Identify 2' && refused++ < 5 && (on.respond(cid, Status.InternalError | DNR), true);
  world.fake.event(eventDword(Event.NamespaceAttributeChanged));
  t.equal(controller.state.now, 'live');
  t.ok(head.paths[0]?.usable);
  world.advance(10_000);
  t.equal(refused, 6);
  t.strictSame(describeTimers(controller), []);
  stop(t, world);
  t.end();
});

t.test('the first connect fails at once, unless it is to keep trying (NUM.8)', (t) => {
  const world = new HostWorld();
  const whole = refuse(world);
  const attempt = world.connect({ recovery });
  t.equal(attempt.reason?.code, 'ECONNREFUSED');
  t.strictSame(world.leftovers(), []);
  const trying = world.connect({ recovery, keepTrying: true });
  world.advance(25_000);
  t.notOk(trying.done);
  t.equal(trying.controller.attempts, 3);
  whole();
  world.advance(5_000);
  t.ok(trying.done);
  t.equal(trying.reason, undefined);
  t.equal(trying.controller.name, 'nvme0');
  stop(t, world);
  const never = world.connect({ recovery: { ...recovery, ctrlLossTmo: 30_000 }, keepTrying: true });
  refuse(world);
  lose(world);
  world.advance(600_000);
  t.ok(never.done);
  t.end();
});

t.test('a first connect that keeps trying ends with ctrl_loss_tmo', (t) => {
  const world = new HostWorld();
  refuse(world);
  const attempt = world.connect({ recovery: { ...recovery, ctrlLossTmo: 30_000 }, keepTrying: true });
  world.advance(29_999);
  t.notOk(attempt.done);
  world.advance(1);
  t.match(attempt.reason?.message, /ctrl_loss_tmo is over/);
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('reset: at once, without reconnect_delay; while it waits, the next attempt is made now', (t) => {
  const { world, controller, head } = up();
  const before = controller.association;
  t.ok(controller.reset('asked for'));
  world.settle();
  t.equal(controller.state.now, 'live');
  t.not(controller.association, before);
  t.equal(controller.connects, 2);
  lose(world);
  t.ok(controller.reset('asked for'));
  world.settle();
  t.equal(controller.state.now, 'live');
  t.strictSame(controller.subsystem?.heads, [head]);
  controller.disconnect('disconnected', () => undefined);
  t.notOk(controller.reset('asked for'), 'on its way out');
  world.settle();
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('a reset whose attempt fails goes on as a loss', (t) => {
  const { world, controller } = up();
  const whole = refuse(world);
  controller.reset('asked for');
  world.settle();
  t.equal(controller.state.now, 'connecting');
  t.equal(controller.attempts, 1);
  whole();
  world.advance(10_000);
  t.equal(controller.state.now, 'live');
  stop(t, world);
  t.end();
});

// ---- quiesce

t.test(
  'QUIESCE.4 whatever way is taken, nothing of an older association is left once it is live or gone',
  (t) => {
    const routes: [string, (world: HostWorld, controller: ReturnType<typeof up>['controller']) => void][] = [
      ['success', (world) => lose(world)],
      [
        'failed reconnects',
        (world) => {
          const whole = refuse(world);
          lose(world);
          world.advance(35_000);
          whole();
        },
      ],
      [
        'an attempt that dies half-way',
        (world) => {
          lose(world);
          world.fake.script = ({ name, on }) => name === 'Set Features 7' && (on.transport.reset(), true);
          world.advance(10_000);
          world.fake.script = () => false;
        },
      ],
      [
        'back-to-back resets',
        (world, controller) => {
          for (let i = 0; i < 5; i++) {
            controller.reset('again');
            if (i % 2 === 0) world.env.clock.step();
          }
        },
      ],
      [
        'delete while it reconnects',
        (world, controller) => {
          lose(world);
          world.fake.script = ({ name }) => name === 'Identify 1';
          world.advance(10_000);
          controller.disconnect('disconnected', () => undefined);
        },
      ],
      ['a reset for ANATT', (_, controller) => controller.reset('ANATT is over for group 1')],
    ];
    for (const [name, route] of routes) {
      const { world, controller, head } = up({ ioQueues: 2 });
      world.fake.script = ({ on }) => on.qid !== 0;
      const reads = Array.from({ length: 8 }, (_, i) => world.read(head, i, 1));
      world.settle();
      world.fake.script = () => false;
      const old = controller.association!;
      route(world, controller);
      world.advance(20_000);
      t.ok(controller.state.is('live', 'dead'), name);
      t.ok(old.over, name);
      t.equal(controller.association?.open, controller.state.is('live'), name);
      t.ok(
        reads.every(({ calls }) => calls === 1),
        `${name}: each I/O ended once`,
      );
      stop(t, world);
    }
    t.end();
  },
);

t.test('QUIESCE.8 qid_max 1→2→1: the queues follow, no I/O is lost or completed twice', (t) => {
  const { world, controller, head } = up({ ioQueues: 2 });
  for (const count of [1, 2, 1]) {
    world.fake.maxQueues = count;
    world.fake.script = ({ on }) => on.qid !== 0;
    const reads = Array.from({ length: 20 }, (_, i) => world.read(head, i, 1));
    world.settle();
    lose(world);
    world.fake.script = () => false;
    world.advance(10_000);
    t.equal(controller.ioConnections.length, count);
    t.ok(reads.every(({ calls }) => calls === 1));
    const after = Array.from({ length: 20 }, (_, i) => world.read(head, i, 1));
    world.settle();
    t.ok(after.every(({ status, calls }) => status === 0 && calls === 1));
  }
  stop(t, world);
  t.end();
});

t.test(
  'QUIESCE.9 connections that do not end fail the attempt, which follows reconnect_delay all the same',
  (t) => {
    const { world, controller } = up();
    // A socket that the system does not give up.
    const transports = controller.association!.connections.map((each) => each.transport!);
    for (const transport of transports) transport.reset = () => undefined;
    controller.recover({ code: 'EIO', message: 'test' });
    world.advance(29_999);
    t.equal(controller.state.now, 'resetting');
    world.advance(1);
    t.equal(controller.state.now, 'connecting');
    t.match(describeTimers(controller)[0], { name: 'reconnect', inMs: 10_000 });
    world.advance(10_000);
    t.equal(controller.state.now, 'connecting');
    t.equal(controller.attempts, 0, 'nothing is tried before the old is dead (QUIESCE.14)');
    t.match(controller.reason?.message, /not dead yet/);
    for (const each of world.fake.connections.splice(0)) each.transport.reset();
    world.advance(10_000);
    t.equal(controller.state.now, 'live');
    stop(t, world);
    t.end();
  },
);

t.test(
  'QUIESCE.13 error recovery: 370h for what was never sent, 371h for what may have been, each once',
  (t) => {
    const { world, controller } = up({ queueEntries: 16 });
    world.fake.script = ({ on }) => on.qid !== 0;
    const ended: number[] = [];
    const queue = controller.association!.queues.next(false)!;
    for (let i = 0; i < 20; i++) {
      const request = new Request({ requestDone: ({ status }) => ended.push(status) });
      flush(request, 1);
      request.timeout = 30_000;
      queue.submit(request);
    }
    world.settle();
    controller.recover({ code: 'EIO', message: 'test' });
    world.settle();
    t.equal(ended.length, 20);
    t.equal(ended.filter((status) => status === Status.AbortedByHost).length, 15);
    t.equal(ended.filter((status) => status === Status.HostPathError).length, 5);
    stop(t, world);
    t.end();
  },
);

// ---- associations

t.test(
  'GHOST.2 an association is dead on the target after 2 × KATO + CQT, 3 × with TBKAS, never with KATO 0',
  (t) => {
    for (const [kato, tbkas, cqt, after] of [
      [4000, 0, 0, 2 * 4000 + 10_000],
      [4000, 0, 700, 2 * 4000 + 700],
      [4000, 1, 700, 3 * 4000 + 700],
      [4500, 0, 700, 2 * 5000 + 700],
      [0, 0, 700, Infinity],
    ] as const) {
      const world = new HostWorld();
      world.fake.identify = { cqt, ctratt: { tbkas }, kas: 10 };
      const { controller } = world.up({ kato, recovery });
      const association = controller.association!;
      let dead = 0;
      let other = 0;
      association.whenDead((proved) => {
        if (proved) dead++;
      });
      const cancel = association.whenDead(() => other++);
      lose(world);
      cancel();
      t.equal(association.ended, 'reset');
      if (after === Infinity) {
        world.advance(1_000_000);
        t.equal(dead, 0);
      } else {
        world.advance(after - 1);
        t.strictSame([dead, association.dead], [0, false]);
        world.advance(1);
        t.strictSame([dead, association.dead], [1, true], `${kato} ${tbkas} ${cqt}`);
      }
      t.equal(other, 0);
      world.registry.stop(() => undefined);
      world.advance(1000);
      t.strictSame(world.leftovers(), []);
    }
    t.end();
  },
);

t.test(
  'GHOST.2 a FIN proves it where the target is known to keep GHOST.1; an orderly shutdown always does',
  (t) => {
    for (const marked of [true, false]) {
      const world = new HostWorld();
      if (marked)
        world.fake.identify = {
          vs: Uint8Array.from({ length: 1024 }, (_, i) => 'nvme-tcp: FIN=over'.charCodeAt(i) || 0),
        };
      const { controller } = world.up({ recovery });
      const association = controller.association!;
      world.fake.admin.transport.close();
      world.settle();
      t.equal(association.ended, 'fin seen');
      t.equal(association.dead, marked);
      world.registry.stop(() => undefined);
      world.advance(1000);
    }
    const world = new HostWorld();
    const { controller } = world.up({ recovery });
    controller.disconnect('disconnected', () => undefined);
    world.settle();
    t.strictSame([controller.association?.ended, controller.association?.dead], ['shut down', true]);
    t.end();
  },
);

t.test('GHOST.2 a target that keeps GHOST.1 and begins to leave is waited for, for a moment', (t) => {
  for (const [marked, rest, ended, ms] of [
    [true, 'close', 'fin seen', 100],
    [true, 'reset', 'reset', 100],
    [true, 'nothing', 'reset', 500],
    [false, 'nothing', 'reset', 0],
  ] as const) {
    const world = new HostWorld();
    const mark = Uint8Array.from({ length: 1024 }, (_, i) => 'nvme-tcp: FIN=over'.charCodeAt(i) || 0);
    if (marked) world.fake.identify = { vs: mark };
    const { controller } = world.up({ recovery, ioQueues: 2 });
    const association = controller.association!;
    world.fake.io(1).transport.close();
    world.settle();
    t.equal(controller.state.now, marked ? 'resetting' : 'connecting');
    t.equal(association.over, !marked);
    const read = world.read(controller.subsystem!.heads[0]!, 0, 1);
    t.equal(read.calls, 0, 'nothing is sent to it any more');
    if (rest === 'nothing') {
      world.advance(Math.max(0, ms - 1));
      t.equal(association.over, !marked);
      world.advance(1);
    } else {
      world.advance(ms);
      world.fake.io(2).transport[rest]();
      world.fake.admin.transport[rest]();
      world.settle();
    }
    t.ok(association.over);
    t.equal(association.ended, ended, `${rest}, ${marked ? 'marked' : 'unknown'}`);
    world.registry.stop(() => undefined);
    world.advance(1000);
    t.strictSame(world.leftovers(), []);
  }
  t.end();
});

// ---- time-outs

t.test('an I/O that is not answered is aborted; when that is answered, nothing else happens', (t) => {
  const { world, controller, head } = up();
  world.fake.identify = { acl: 3 };
  const held: { on: { respond(cid: number, status?: number): void }; cid: number }[] = [];
  const aborts: [number, number][] = [];
  world.fake.script = ({ name, on, cid, view }) => {
    const hold = on.qid === 1 && held.length === 0;
    if (hold) held.push({ on, cid });
    if (name === 'Abort') aborts.push([view.getUint16(40, true), view.getUint16(42, true)]);
    return hold;
  };
  const read = world.read(head, 0, 1);
  world.advance(30_000);
  t.strictSame(aborts, [[1, held[0]!.cid]]);
  t.equal(read.status, undefined);
  held[0]!.on.respond(held[0]!.cid, Status.AbortRequested);
  world.settle();
  t.equal(read.status, 0, 'it was sent once more');
  world.advance(60_000);
  t.equal(controller.state.now, 'live');
  t.equal(controller.connects, 1);
  stop(t, world);
  t.end();
});

t.test('an admin command that is not answered resets the association at once', (t) => {
  const { world, controller } = up({ kato: 4000 });
  world.fake.script = ({ name }) => name === 'Keep Alive';
  world.advance(6_000);
  t.equal(controller.state.now, 'connecting');
  t.match(controller.reason?.message, /Keep Alive/);
  world.fake.script = () => false;
  world.advance(10_000);
  t.equal(controller.state.now, 'live');
  stop(t, world);
  t.end();
});

// ---- disconnect

t.test('disconnect works in every state, in bounded time', (t) => {
  const states: [string, (world: HostWorld) => void, Partial<ControllerOptions>][] = [
    ['live', () => undefined, {}],
    ['waiting for the next attempt', (world) => lose(world), {}],
    [
      'an attempt under way',
      (world) => {
        lose(world);
        world.fake.script = () => true;
        world.advance(10_000);
      },
      {},
    ],
    [
      'resetting, with sockets that do not end',
      (world) => {
        const [controller] = world.registry.controllers;
        for (const { transport } of controller!.association!.connections) transport!.reset = () => undefined;
        controller!.recover({ code: 'EIO', message: 'test' });
      },
      {},
    ],
    [
      'live, with sockets that do not end',
      (world) => {
        const [controller] = world.registry.controllers;
        for (const { transport } of controller!.association!.connections)
          transport!.reset = transport!.close = () => undefined;
      },
      {},
    ],
  ];
  for (const [name, into, options] of states) {
    const { world, controller } = up(options);
    into(world);
    let gone = 0;
    controller.disconnect('disconnected', () => gone++);
    world.advance(60_000);
    t.equal(gone, 1, name);
    t.strictSame([...world.registry.controllers], []);
    t.strictSame(world.registry.taken, []);
    t.strictSame(world.env.clock.timers, []);
  }
  t.end();
});

t.test('a persistent discovery controller keeps alive, asks for events, and comes back', (t) => {
  const world = new HostWorld();
  fakeDiscovery(world.fake, () => []);
  const attempt = world.connect({
    subnqn: 'nqn.2014-08.org.nvmexpress.discovery',
    ioQueues: 0,
    kato: 30_000,
    recovery,
  });
  t.equal(attempt.reason, undefined);
  t.equal(world.fake.events.length, 1);
  let changes = 0;
  attempt.controller.onDiscoveryChange = () => changes++;
  world.fake.event(eventDword(Event.DiscoveryLogChange));
  t.equal(changes, 1);
  world.fake.events.length = 0;
  lose(world);
  world.advance(10_000);
  t.equal(attempt.controller.state.now, 'live');
  t.equal(world.fake.events.length, 1);
  stop(t, world);
  t.end();
});
