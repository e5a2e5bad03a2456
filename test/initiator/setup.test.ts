import t from 'tap';
import { Capabilities } from '../../src/initiator/capabilities.ts';
import { Connect, ConnectData } from '../../src/nvme/fabrics.ts';
import { IDENTIFY_SIZE } from '../../src/nvme/identify.ts';
import { IdController } from '../../src/nvme/identify-controller.ts';
import { NvmIdController } from '../../src/nvme/identify-namespace.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { Status } from '../../src/nvme/status.ts';
import { ICResp, PduType } from '../../src/pdu/pdus.ts';
import { Fes } from '../../src/pdu/fault.ts';
import { HOSTID, HOSTNQN, HostWorld } from '../doubles/host-world.ts';
import { SUBNQN, UUID, type FakeCommand, type FakeController } from '../doubles/fake-controller.ts';

const ORDER = [
  'q0 Connect',
  'q0 Property Get CAP',
  'q0 Property Set CC',
  'q0 Property Get CAP',
  'q0 Property Set CC',
  'q0 Property Get CSTS',
  'q0 Property Get VS',
  'q0 Identify 1',
  'q0 Set Features 7',
  'q1 Connect',
  'q0 Set Features 11',
  'q0 Async Event Request',
  'q0 Identify 2',
  'q0 Identify 3',
  'q0 Identify 0',
];

t.test('a controller is set up in the order of Linux', (t) => {
  const world = new HostWorld();
  const values: number[] = [];
  world.fake.script = ({ name, view }) => {
    if (name === 'Property Set CC') values.push(view.getUint32(48, true));
    return false;
  };
  const { controller, head } = world.up();
  t.strictSame(world.fake.log, ORDER);
  t.strictSame(values, [0x460000, 0x460001], 'CC is written without EN first');
  t.equal(controller.state.now, 'live');
  t.equal(head.name, 'nvme0n1');
  t.equal(head.info.uuid, UUID);
  t.equal(head.blocks, 8192);
  t.strictSame(
    world.fake.admin.icreq,
    { headerDigest: 0, dataDigest: 0, hpda: 0, maxr2t: 1 },
    'ICReq: HPDA 0, one R2T at a time',
  );
  t.end();
});

t.test('Connect says who the host is, how large the queue is, and KATO on the admin queue only', (t) => {
  const world = new HostWorld();
  const connects: FakeCommand[] = [];
  world.fake.script = (command) => {
    if (command.name === 'Connect') connects.push(command);
    return false;
  };
  world.up({ ioQueues: 3, queueEntries: 64, kato: 5000, disableSqFlow: true });
  const told = connects.map(({ view, data }) => {
    const { qid, sqsize, kato, cattr } = Connect.decode(view);
    const { cntlid, hostid, hostnqn, subnqn } = ConnectData.decode(viewOf(data));
    return { qid, sqsize, kato, flow: cattr.disableSqFlow, cntlid, hostid, hostnqn, subnqn };
  });
  const who = { hostid: HOSTID, hostnqn: HOSTNQN, subnqn: SUBNQN, flow: 1 };
  t.strictSame(told, [
    { qid: 0, sqsize: 31, kato: 5000, cntlid: 0xffff, ...who },
    { qid: 1, sqsize: 63, kato: 0, cntlid: 1, ...who },
    { qid: 2, sqsize: 63, kato: 0, cntlid: 1, ...who },
    { qid: 3, sqsize: 63, kato: 0, cntlid: 1, ...who },
  ]);
  t.end();
});

t.test('queues are as many and as large as the controller allows', (t) => {
  const world = new HostWorld();
  world.fake.maxQueues = 2;
  world.fake.cap = { mqes: 63 };
  const { controller } = world.up({ ioQueues: 8, queueEntries: 1024 });
  t.equal(controller.ioConnections.length, 2);
  t.equal(controller.ioConnections[0]!.queue.entries, 64);
  const small = new HostWorld();
  small.fake.identify = { maxcmd: 20 };
  t.equal(small.up().controller.ioConnections[0]!.queue.entries, 20, 'MAXCMD counts as well');
  const none = new HostWorld();
  none.fake.cap = { mqes: 0 };
  t.equal(none.up().controller.ioConnections[0]!.queue.entries, 2, 'MQES 0 is not believed');
  t.end();
});

t.test('a controller with several command sets and version 2.0 is asked for them', (t) => {
  const world = new HostWorld();
  world.fake.cap = { high: { css: 0x41, crwms: 1 } };
  world.fake.version = 0x00020000;
  const values: number[] = [];
  world.fake.script = ({ name, view }) => {
    if (name === 'Property Set CC') values.push(view.getUint32(48, true));
    return false;
  };
  world.up();
  t.strictSame(values, [0x460060, 0x460061]);
  for (const wanted of ['q0 Property Get CRTO', 'q0 Identify 6', 'q0 Identify 8'])
    t.ok(world.fake.log.includes(wanted), wanted);
  t.end();
});

t.test(
  'CC asks for what CAP allows: a page that is large enough, no command set where there is none',
  (t) => {
    const written = (cap: FakeController['cap']): number[] => {
      const world = new HostWorld();
      world.fake.cap = cap;
      const values: number[] = [];
      world.fake.script = ({ name, view }) => {
        if (name === 'Property Set CC') values.push(view.getUint32(48, true));
        return false;
      };
      const { controller } = world.up();
      controller.disconnect('disconnected', () => undefined);
      world.advance(1000);
      return values;
    };
    const large = written({ high: { css: 1, mpsmin: 2, mpsmax: 4 } });
    t.strictSame(large, [0x460100, 0x460101, 0x464101], 'MPS is MPSMIN, in the shutdown as well');
    t.strictSame(written({ high: { css: 0x80 } }).slice(0, 2), [0x460070, 0x460071], 'CSS 111b');
    t.strictSame(written({ high: { css: 0x81 } }).slice(0, 2), [0x460000, 0x460001], 'the NVM command set');
    t.end();
  },
);

t.test('CSTS.RDY is polled, for as long as CAP.TO says', (t) => {
  const patient = new HostWorld();
  patient.fake.readyAfter = 5;
  const attempt = patient.connect();
  t.notOk(attempt.done);
  patient.advance(1000);
  t.ok(attempt.done && attempt.reason === undefined);

  const never = new HostWorld();
  never.fake.readyAfter = Infinity;
  never.fake.cap = { low: { to: 4 } };
  const failed = never.connect();
  never.advance(1999);
  t.notOk(failed.done);
  never.advance(1);
  t.equal(failed.reason?.code, 'ETIMEDOUT');
  t.match(failed.reason?.message, /CSTS\.RDY.* 2 s/);
  t.strictSame(never.leftovers(), []);
  t.end();
});

// ---- what a bad controller answers

const icresps: [string, Parameters<typeof ICResp.bytes>[0], { fes: number; fei: number }][] = [
  ['PFV 1', { pfv: 1 }, { fes: Fes.UnsupportedParameter, fei: 8 }],
  ['CPDA 32', { pda: 32 }, { fes: Fes.InvalidHeaderField, fei: 10 }],
  ['a digest that was not asked for', { dgst: { hdgst: 1 } }, { fes: Fes.InvalidHeaderField, fei: 11 }],
  ['MAXH2CDATA 4092', { maxh2cdata: 4092 }, { fes: Fes.InvalidHeaderField, fei: 12 }],
  ['MAXH2CDATA 4098', { maxh2cdata: 4098 }, { fes: Fes.InvalidHeaderField, fei: 12 }],
  ['MAXH2CDATA 0', { maxh2cdata: 0 }, { fes: Fes.InvalidHeaderField, fei: 12 }],
  ['HLEN 127', { hlen: 127 }, { fes: Fes.InvalidHeaderField, fei: 2 }],
  ['PLEN 132', { plen: 132 }, { fes: Fes.InvalidHeaderField, fei: 4 }],
  ['PLEN 127', { plen: 127 }, { fes: Fes.InvalidHeaderField, fei: 4 }],
];
for (const [name, change, { fes, fei }] of icresps)
  t.test(`an ICResp with ${name} ends with FES ${fes}h`, (t) => {
    const world = new HostWorld();
    world.fake.icresp = change;
    const attempt = world.connect();
    t.match(world.fake.admin.terminated, { fes, fei });
    world.advance(10_000);
    t.equal(attempt.reason?.code, 'EPROTO');
    t.strictSame(world.leftovers(), []);
    t.end();
  });

t.test('an ICResp without the digests that were asked for is refused', (t) => {
  for (const dgst of [{}, { hdgst: 1 }, { ddgst: 1 }]) {
    const world = new HostWorld();
    world.fake.onInitialize = (on) => {
      on.raw(ICResp.bytes({ type: PduType.ICResp, hlen: 128, plen: 128, dgst, maxh2cdata: 4096 }));
    };
    const attempt = world.connect({ headerDigest: true, dataDigest: true });
    t.match(world.fake.admin.terminated, { fes: Fes.InvalidHeaderField, fei: 11 });
    world.advance(10_000);
    t.equal(attempt.reason?.code, 'EPROTO');
    t.strictSame(world.leftovers(), []);
  }
  t.end();
});

t.test('CPDA 0 to 31 is honoured', (t) => {
  for (const pda of [0, 1, 7, 31]) {
    const world = new HostWorld();
    world.fake.icresp = { pda };
    const { head } = world.up({ headerDigest: true, dataDigest: true });
    const small = world.write(head, 1, new Uint8Array(1024).fill(3));
    const large = world.write(head, 8, new Uint8Array(65536).fill(4));
    world.settle();
    t.strictSame([small.status, large.status], [0, 0], `CPDA ${pda}`);
    t.equal(world.fake.disk[1535], 3);
    t.equal(world.fake.disk[69631], 4);
  }
  t.end();
});

t.test('a PDU other than ICResp is a sequence error before it, a second ICResp after it', (t) => {
  const early = new HostWorld();
  early.fake.onInitialize = (on) => on.respond(0x1000);
  const attempt = early.connect();
  t.equal(early.fake.admin.terminated?.fes, Fes.SequenceError);
  early.advance(10_000);
  t.equal(attempt.reason?.code, 'EPROTO');

  const twice = new HostWorld();
  twice.up();
  twice.fake.admin.raw(ICResp.bytes({ type: PduType.ICResp, hlen: 128, plen: 128, maxh2cdata: 4096 }));
  twice.settle();
  t.equal(twice.fake.admin.terminated?.fes, Fes.SequenceError);
  twice.advance(10_000);
  t.strictSame(twice.leftovers(), []);
  t.end();
});

t.test('Connect that is refused says which field it is about', (t) => {
  const refusals: [string, number, number, RegExp][] = [
    ['SUBNQN', Status.ConnectInvalidParameters, 256 + 0x10000, /SUBNQN/],
    ['HOSTID', Status.ConnectInvalidParameters, 0x10000, /HOSTID/],
    ['SQSIZE', Status.ConnectInvalidParameters, 44, /SQSIZE/],
    ['somewhere', Status.ConnectInvalidParameters, 999, /offset 999/],
    ['host', Status.ConnectInvalidHost, 0, /Connect Invalid Host \(184h, DNR\)/],
  ];
  for (const [name, status, dw0, message] of refusals) {
    const world = new HostWorld();
    world.fake.script = ({ name: command, on, cid }) => {
      if (command !== 'Connect') return false;
      on.respond(cid, status | 0x4000, dw0);
      return true;
    };
    const attempt = world.connect();
    t.equal(attempt.reason?.status, status | 0x4000, name);
    t.match(attempt.reason?.message, message);
    t.strictSame(world.leftovers(), []);
  }
  t.end();
});

t.test('what Linux refuses of Identify Controller is refused', (t) => {
  const changes: [FakeController['identify'], RegExp][] = [
    [{ cntlid: 2 }, /CNTLID 2, but Connect said 1/],
    [{ kas: 0 }, /KAS 0/],
    [{ ioccsz: 3 }, /IOCCSZ 3/],
    [{ iorcsz: 0 }, /IORCSZ 0/],
    [{ icdoff: 1 }, /ICDOFF 1/],
    [{ sgls: {} }, /SGLs/],
    [{ cntrltype: 2 }, /discovery controller/],
  ];
  for (const [change, message] of changes) {
    const world = new HostWorld();
    world.fake.identify = change;
    const attempt = world.connect();
    t.equal(attempt.reason?.code, 'EPROTO');
    t.match(attempt.reason?.message, message);
    t.strictSame(world.leftovers(), []);
  }
  t.end();
});

t.test('IOCCSZ 4: no data in capsules; a huge MDTS, a huge IOCCSZ: fine', (t) => {
  for (const change of [{ ioccsz: 4 }, { mdts: 255 }, { ioccsz: 0xffffffff }]) {
    const world = new HostWorld();
    world.fake.identify = change;
    const { head } = world.up();
    const write = world.write(head, 0, new Uint8Array(2048).fill(1));
    world.settle();
    t.equal(write.status, 0);
    t.equal(world.fake.disk[2047], 1);
  }
  t.end();
});

t.test('a controller that requires authentication is refused with a clear word', (t) => {
  const world = new HostWorld();
  world.fake.script = ({ name, on, cid }) => {
    if (name !== 'Connect') return false;
    on.respond(cid, 0, 1 | (2 << 16));
    return true;
  };
  const attempt = world.connect();
  t.equal(attempt.reason?.code, 'EACCES');
  t.match(attempt.reason?.message, /requires authentication/);
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('an I/O queue that another controller answers for is refused', (t) => {
  const world = new HostWorld();
  world.fake.script = ({ name, on, cid }) => {
    if (name !== 'Connect' || on.qid === 0) return false;
    on.respond(cid, 0, 7);
    return true;
  };
  t.match(world.connect().reason?.message, /controller 7, not 1/);
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('CSTS.CFS while it is enabled ends the attempt', (t) => {
  const world = new HostWorld();
  world.fake.script = ({ name, on, cid }) => {
    if (name !== 'Property Get CSTS') return false;
    on.respond(cid, 0, 2);
    return true;
  };
  t.match(world.connect().reason?.message, /CSTS\.CFS/);
  t.strictSame(world.leftovers(), []);
  t.end();
});

// ---- at every step

const last = ORDER.length;
/** The nth command and those after it. */
const from = (world: HostWorld, n: number, act: (command: FakeCommand) => void): void => {
  world.fake.script = (command) => {
    if (world.fake.log.length <= n) return false;
    act(command);
    return true;
  };
};
/** An Async Event Request may stay without an answer for ever. */
const waits = (n: number): boolean => ORDER[n] !== 'q0 Async Event Request';

t.test('a close at any step of the setup fails the attempt and leaves nothing', (t) => {
  for (const how of ['end', 'close', 'reset'] as const)
    for (let n = 0; n < last; n++) {
      const world = new HostWorld();
      from(world, n, ({ on }) => on.transport[how]());
      const attempt = world.connect();
      world.advance(1000);
      t.equal(attempt.reason?.code, 'ECONNRESET', `${how} at ${ORDER[n]}`);
      t.strictSame(world.leftovers(), []);
    }
  t.end();
});

t.test('silence at any step of the setup fails the attempt in time and leaves nothing', (t) => {
  for (let n = 0; n < last; n++) {
    if (!waits(n)) continue;
    const world = new HostWorld();
    from(world, n, () => undefined);
    const attempt = world.connect();
    t.notOk(attempt.done);
    world.advance(75_000);
    t.equal(attempt.reason?.code, 'ETIMEDOUT', ORDER[n]!);
    t.strictSame(world.leftovers(), []);
  }
  t.end();
});

t.test('an error at any step is told, or is none', (t) => {
  const harmless = ['q0 Set Features 11', 'q0 Async Event Request', 'q0 Identify 3', 'q0 Identify 0'];
  for (let n = 0; n < last; n++) {
    const world = new HostWorld();
    world.fake.script = ({ on, cid }) => {
      if (world.fake.log.length !== n + 1) return false;
      on.respond(cid, Status.InternalError | 0x4000);
      return true;
    };
    const attempt = world.connect();
    world.advance(1000);
    t.ok(attempt.done);
    if (harmless.includes(ORDER[n]!)) t.equal(attempt.reason, undefined, `${ORDER[n]} is not needed`);
    else {
      t.equal(attempt.reason?.status, Status.InternalError | 0x4000, ORDER[n]!);
      t.strictSame(world.leftovers(), []);
    }
  }
  t.end();
});

t.test('being told to go at any step ends the attempt with ECANCELED and leaves nothing', (t) => {
  for (let n = 0; n < last; n++) {
    const world = new HostWorld();
    let told = false;
    from(world, n, () => {
      if (!told) [...world.registry.controllers][0]!.disconnect('disconnected', () => undefined);
      told = true;
    });
    const attempt = world.connect();
    world.advance(20_000);
    t.equal(attempt.reason?.code, n < last - 3 ? 'ECANCELED' : attempt.reason?.code, ORDER[n]!);
    t.ok(attempt.reason);
    t.strictSame(world.leftovers(), []);
  }
  t.end();
});

t.test('no listener, nobody who answers, no ICResp: each has its word and its time', (t) => {
  const refused = new HostWorld();
  const attempt = refused.connect({ address: { host: '127.0.0.1', port: 1 } });
  t.equal(attempt.reason?.code, 'ECONNREFUSED');
  t.strictSame(refused.leftovers(), []);

  const silent = new HostWorld({ connectTimeout: 3000 });
  silent.fake.onInitialize = () => undefined;
  const waiting = silent.connect();
  silent.advance(2999);
  t.notOk(waiting.done);
  silent.advance(1);
  t.equal(waiting.reason?.code, 'ETIMEDOUT');
  t.match(waiting.reason?.message, /ICReq within 3 s/);
  t.strictSame(silent.leftovers(), []);

  const dribbling = new HostWorld({ connectTimeout: 3000 });
  dribbling.fake.onInitialize = (on) => {
    const bytes = ICResp.bytes({ type: PduType.ICResp, hlen: 128, plen: 128, maxh2cdata: 4096 });
    bytes.forEach((byte, i) => dribbling.env.clock.timer('dribble', 1000 * i, () => on.raw([byte])));
  };
  const slow = dribbling.connect();
  dribbling.advance(3000);
  t.equal(slow.reason?.code, 'ETIMEDOUT');
  dribbling.advance(130_000);
  t.strictSame(dribbling.leftovers(), []);
  t.end();
});

t.test('a controller whose answers are split at every size is set up all the same', (t) => {
  for (const split of [[1], [3, 1, 7], [13], [4096]]) {
    const world = new HostWorld({}, { split });
    const { head } = world.up({ headerDigest: true, dataDigest: true });
    const data = Uint8Array.from({ length: 20_480 }, (_, i) => i % 251);
    const write = world.write(head, 3, data);
    world.settle();
    const buffer = new Uint8Array(20_480);
    const read = world.read(head, 3, 40, buffer);
    world.settle();
    t.strictSame([write.status, read.status], [0, 0]);
    t.strictSame(buffer, data);
  }
  t.end();
});

t.test('NUM.8 a connect that fails before it has a subsystem frees its number at once', (t) => {
  const world = new HostWorld();
  world.fake.script = ({ name, on, cid }) => {
    if (name === 'Connect') on.respond(cid, Status.ConnectInvalidHost);
    return name === 'Connect';
  };
  for (let i = 0; i < 200; i++) {
    const attempt = world.connect();
    t.ok(attempt.reason);
  }
  t.strictSame(world.leftovers(), []);
  world.fake.script = () => false;
  t.equal(world.up().controller.name, 'nvme0');
  t.end();
});

t.test('limits that a controller told once, and tells no more, do not count any longer', (t) => {
  const can = new Capabilities();
  can.learnNvm(NvmIdController.bytes({ dmrl: 1, dmrsl: 8, dmsl: 16n, wzsl: 1 }));
  t.match(can, { maxRanges: 1, maxRangeBlocks: 8, maxDeallocate: 16, maxZeroes: 8192 });
  can.learnController(IdController.decode(viewOf(new Uint8Array(IDENTIFY_SIZE))), 65_536);
  t.match(can, { maxTransfer: 65_536, maxZeroes: Infinity, maxRanges: 256 });
  t.match(can, { maxRangeBlocks: Infinity, maxDeallocate: Infinity });
  t.end();
});
