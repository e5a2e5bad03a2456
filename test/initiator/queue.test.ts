import t, { type Test } from 'tap';
import { NvmIdController } from '../../src/nvme/identify-namespace.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { Fes } from '../../src/pdu/fault.ts';
import { C2HTermReq, CapsuleResp, Flag, PduType } from '../../src/pdu/pdus.ts';
import type { Controller } from '../../src/initiator/controller.ts';
import type { Head } from '../../src/initiator/head.ts';
import type { Limits } from '../../src/initiator/limits.ts';
import { HostWorld, type Outcome } from '../doubles/host-world.ts';
import type { FakeCommand } from '../doubles/fake-controller.ts';

const pattern = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 31 + (i >> 8)) & 0xff);

/** A world whose I/O commands wait for the test to answer them. */
function held(
  options: Parameters<HostWorld['up']>[0] = {},
  limits: Partial<Limits> = {},
): { world: HostWorld; head: Head; controller: Controller; commands: FakeCommand[] } {
  const world = new HostWorld({ retries: 0, ...limits });
  const { head, controller } = world.up(options);
  const commands: FakeCommand[] = [];
  world.fake.script = (command) => {
    if (command.on.qid !== 0) commands.push(command);
    return command.on.qid !== 0;
  };
  return { world, head, controller, commands };
}

/** The host ended the connection for this, the I/O with 371h, and nothing is left. */
function faulted(t: Test, world: HostWorld, outcome: Outcome, fes: number, fei?: number): void {
  world.settle();
  t.equal(world.fake.io().terminated?.fes, fes, 'FES');
  if (fei !== undefined) t.equal(world.fake.io().terminated?.fei, fei, 'FEI');
  t.ok(world.fake.io().ended, 'half-closed');
  world.advance(10_000);
  t.equal(outcome.status, Status.AbortedByHost);
  t.equal(outcome.calls, 1);
  t.strictSame(world.leftovers(), []);
}

t.test('small writes go in the capsule, larger ones wait for an R2T', (t) => {
  const world = new HostWorld();
  const { head } = world.up();
  const seen: [number, number][] = [];
  world.fake.script = ({ name, data, length }) => {
    if (name === 'Write') seen.push([length, data.length]);
    return false;
  };
  for (const length of [512, 8192, 8704, 65536]) {
    const write = world.write(head, 0, pattern(length));
    world.settle();
    t.equal(write.status, 0);
    t.strictSame(world.fake.disk.slice(0, length), pattern(length));
  }
  t.strictSame(seen, [
    [512, 512],
    [8192, 8192],
    [8704, 0],
    [65536, 0],
  ]);
  t.end();
});

t.test('an R2T is answered in PDUs of at most MAXH2CDATA, LAST on the last of each', (t) => {
  const world = new HostWorld();
  world.fake.icresp = { maxh2cdata: 4096 };
  const { head } = world.up();
  world.fake.r2tSize = 10_240;
  const write = world.write(head, 0, pattern(20_480));
  world.settle();
  t.equal(write.status, 0);
  t.strictSame(world.fake.disk.slice(0, 20_480), pattern(20_480));
  t.strictSame(
    world.fake.io().h2c.map(({ offset, length, last }) => [offset, length, last]),
    [
      [0, 4096, false],
      [4096, 4096, false],
      [8192, 2048, true],
      [10240, 4096, false],
      [14336, 4096, false],
      [18432, 2048, true],
    ],
  );
  t.end();
});

t.test('data is gathered from, and scattered to, buffers of any length', (t) => {
  const world = new HostWorld();
  const { head } = world.up({ dataDigest: true });
  const data = pattern(16_384);
  const parts = [data.subarray(0, 1), data.subarray(1, 1000), data.subarray(1000, 9001), data.subarray(9001)];
  const write = world.submit(head, 'write', { slba: 5, blocks: 32, buffers: parts });
  world.settle();
  const into = [new Uint8Array(7), new Uint8Array(16_376), new Uint8Array(1)];
  const read = world.submit(head, 'read', { slba: 5, blocks: 32, buffers: into });
  world.settle();
  t.strictSame([write.status, read.status], [0, 0]);
  t.strictSame(Buffer.concat(into), Buffer.from(data));
  t.end();
});

t.test('a read may come in many PDUs', (t) => {
  const { world, head, commands } = held();
  const buffer = new Uint8Array(4096);
  const read = world.read(head, 0, 8, buffer);
  world.settle();
  const data = pattern(4096);
  const { on, cid } = commands[0]!;
  for (let at = 0; at < 4096; at += 1024)
    on.data(cid, data.slice(at, at + 1024), at, at === 3072 ? Flag.last : 0);
  world.settle();
  t.equal(read.status, undefined, 'the data is not the answer');
  on.respond(cid);
  world.settle();
  t.equal(read.status, 0);
  t.strictSame(buffer, data);
  t.end();
});

t.test('SUCCESS on the last C2HData is the answer, with flow control or without', (t) => {
  for (const disableSqFlow of [true, false]) {
    const { world, head, commands } = held({ disableSqFlow });
    const buffer = new Uint8Array(1024);
    const read = world.read(head, 0, 2, buffer);
    world.settle();
    const { on, cid } = commands[0]!;
    on.data(cid, pattern(512), 0, 0);
    on.data(cid, pattern(512, 2), 512, Flag.last | Flag.success);
    world.settle();
    t.equal(read.status, 0);
    t.strictSame(buffer.subarray(512), pattern(512, 2));
    on.respond(cid);
    world.settle();
    t.equal(on.terminated?.fes, Fes.InvalidHeaderField, 'a response after it is one too many');
  }
  t.end();
});

t.test('the status of a response is the status of the I/O', (t) => {
  const { world, head, commands } = held();
  const read = world.read(head, 0, 1);
  const write = world.write(head, 0, pattern(512));
  world.settle();
  commands[0]!.on.respond(commands[0]!.cid, Status.LbaOutOfRange | DNR);
  commands[1]!.on.respond(commands[1]!.cid, Status.NamespaceWriteProtected);
  world.settle();
  t.strictSame([read.status, write.status], [Status.LbaOutOfRange | DNR, Status.NamespaceWriteProtected]);
  t.end();
});

t.test('a CID is another one each time its slot is used, and comes round after 16', (t) => {
  const { world, head, commands } = held();
  const cids: number[] = [];
  for (let i = 0; i < 17; i++) {
    world.read(head, 0, 1);
    world.settle();
    const { on, cid } = commands.pop()!;
    cids.push(cid);
    on.respond(cid, Status.InternalError);
    world.settle();
  }
  t.equal(new Set(cids).size, 16);
  t.equal(cids[0], cids[16]);
  t.strictSame([...new Set(cids.map((cid) => cid & 0xfff))], [0], 'one slot is enough');
  t.end();
});

t.test('a late or repeated response, or one for nobody, ends the connection and touches nobody', (t) => {
  const strange: [string, (cid: number) => number][] = [
    ['an older use of the slot', (cid) => (cid - 0x1000) & 0xffff],
    ['a later use of the slot', (cid) => (cid + 0x1000) & 0xffff],
    ['a slot that does not exist', (cid) => cid + 1],
    ['a far slot', () => 0xffff],
  ];
  for (const [name, change] of strange) {
    const { world, head, commands } = held();
    const write = world.write(head, 0, pattern(512));
    world.settle();
    commands[0]!.on.respond(change(commands[0]!.cid));
    t.comment(name);
    faulted(t, world, write, Fes.InvalidHeaderField, 20);
  }
  const { world, head, commands } = held();
  const first = world.read(head, 0, 1);
  const other = world.write(head, 0, pattern(512));
  world.settle();
  commands[0]!.on.respond(commands[0]!.cid, Status.InternalError);
  commands[0]!.on.respond(commands[0]!.cid, Status.InternalError);
  world.settle();
  t.equal(first.status, Status.InternalError);
  t.equal(first.calls, 1);
  faulted(t, world, other, Fes.InvalidHeaderField, 20);
  t.end();
});

t.test('C2HData that does not fit the command ends the connection', (t) => {
  const wrong: [string, number, (command: FakeCommand) => void][] = [
    ['past the end', Fes.OutOfRange, ({ on, cid }) => on.data(cid, pattern(1536))],
    ['from past the end', Fes.OutOfRange, ({ on, cid }) => on.data(cid, pattern(512), 1024)],
    ['at 2^32 - 1', Fes.OutOfRange, ({ on, cid }) => on.data(cid, pattern(512), 0xffffffff)],
    ['with a gap', Fes.OutOfRange, ({ on, cid }) => on.data(cid, pattern(512), 512)],
    [
      'twice the same',
      Fes.OutOfRange,
      ({ on, cid }) => {
        on.data(cid, pattern(512), 0, 0);
        on.data(cid, pattern(512), 0, Flag.last);
      },
    ],
    [
      'after the last',
      Fes.SequenceError,
      ({ on, cid }) => {
        on.data(cid, pattern(512), 0, Flag.last);
        on.data(cid, pattern(512), 512, Flag.last);
      },
    ],
    [
      'SUCCESS without LAST',
      Fes.InvalidHeaderField,
      ({ on, cid }) => on.data(cid, pattern(1024), 0, Flag.success),
    ],
    [
      'SUCCESS with half of it',
      Fes.SequenceError,
      ({ on, cid }) => on.data(cid, pattern(512), 0, Flag.last | Flag.success),
    ],
    ['for another CID', Fes.InvalidHeaderField, ({ on, cid }) => on.data(cid + 1, pattern(1024))],
    ['for an older CID', Fes.InvalidHeaderField, ({ on, cid }) => on.data(cid - 0x1000, pattern(1024))],
    ['none, but success', Fes.SequenceError, ({ on, cid }) => on.respond(cid)],
    [
      'half of it, and success',
      Fes.SequenceError,
      ({ on, cid }) => {
        on.data(cid, pattern(512), 0, Flag.last);
        on.respond(cid);
      },
    ],
    ['R2T for a read', Fes.InvalidHeaderField, ({ on, cid }) => on.r2t(cid, 0, 0, 1024)],
  ];
  for (const [name, fes, act] of wrong) {
    const { world, head, commands } = held();
    const around = new Uint8Array(3072).fill(0xee);
    const read = world.read(head, 0, 2, around.subarray(1024, 2048));
    world.settle();
    t.comment(name);
    act(commands[0]!);
    faulted(t, world, read, fes);
    t.ok(
      around.subarray(0, 1024).every((byte) => byte === 0xee),
      'nothing before the buffer is touched',
    );
    t.ok(
      around.subarray(2048).every((byte) => byte === 0xee),
      'nothing after the buffer is touched',
    );
  }
  t.end();
});

t.test('C2HData or R2T for a command that moves nothing ends the connection', (t) => {
  for (const act of [
    ({ on, cid }: FakeCommand) => on.data(cid, pattern(4)),
    ({ on, cid }: FakeCommand) => on.r2t(cid, 0, 0, 4),
  ]) {
    const { world, head, commands } = held();
    const flush = world.submit(head, 'flush');
    world.settle();
    act(commands[0]!);
    faulted(t, world, flush, Fes.InvalidHeaderField);
  }
  t.end();
});

t.test('an R2T that does not fit the command ends the connection', (t) => {
  const wrong: [string, number, (command: FakeCommand) => void][] = [
    ['past the end', Fes.OutOfRange, ({ on, cid }) => on.r2t(cid, 0, 0, 16_896)],
    ['from past the end', Fes.OutOfRange, ({ on, cid }) => on.r2t(cid, 0, 16_384, 512)],
    ['of all there is', Fes.OutOfRange, ({ on, cid }) => on.r2t(cid, 0, 0, 0xffffffff)],
    ['with a gap', Fes.OutOfRange, ({ on, cid }) => on.r2t(cid, 0, 512, 512)],
    [
      'twice the same',
      Fes.OutOfRange,
      ({ on, cid }) => {
        on.r2t(cid, 0, 0, 8192);
        on.r2t(cid, 0, 0, 8192);
      },
    ],
    [
      'one too many',
      Fes.OutOfRange,
      ({ on, cid }) => {
        on.r2t(cid, 0, 0, 16_384);
        on.r2t(cid, 0, 16_384, 1);
      },
    ],
    ['of nothing', Fes.InvalidHeaderField, ({ on, cid }) => on.r2t(cid, 0, 0, 0)],
    ['for another CID', Fes.InvalidHeaderField, ({ on, cid }) => on.r2t(cid + 1, 0, 0, 512)],
    ['none, but success', Fes.SequenceError, ({ on, cid }) => on.respond(cid)],
    [
      'half of it, and success',
      Fes.SequenceError,
      ({ on, cid }) => {
        on.r2t(cid, 0, 0, 8192);
        on.respond(cid);
      },
    ],
    ['C2HData for a write', Fes.InvalidHeaderField, ({ on, cid }) => on.data(cid, pattern(512))],
  ];
  for (const [name, fes, act] of wrong) {
    const { world, head, commands } = held();
    const write = world.write(head, 0, pattern(16_384));
    world.settle();
    t.comment(name);
    act(commands[0]!);
    faulted(t, world, write, fes);
  }
  const { world, head, commands } = held();
  const inCapsule = world.write(head, 0, pattern(512));
  world.settle();
  commands[0]!.on.r2t(commands[0]!.cid, 0, 0, 512);
  faulted(t, world, inCapsule, Fes.OutOfRange);
  t.end();
});

t.test('a write that fails before its data was asked for just fails', (t) => {
  const { world, head, commands } = held();
  const write = world.write(head, 0, pattern(65_536));
  world.settle();
  commands[0]!.on.respond(commands[0]!.cid, Status.LbaOutOfRange);
  world.settle();
  t.equal(write.status, Status.LbaOutOfRange);
  t.equal(commands[0]!.on.terminated, undefined);
  t.end();
});

// ---- digests

t.test('digests as asked for are on every PDU, both ways', (t) => {
  for (const headerDigest of [false, true])
    for (const dataDigest of [false, true]) {
      const world = new HostWorld();
      const { head } = world.up({ headerDigest, dataDigest });
      const data = pattern(40_960);
      const small = world.write(head, 0, data.subarray(0, 4096));
      const large = world.write(head, 8, data.subarray(4096));
      world.settle();
      const buffer = new Uint8Array(40_960);
      const read = world.read(head, 0, 80, buffer);
      world.settle();
      t.strictSame([small.status, large.status, read.status], [0, 0, 0]);
      t.strictSame(buffer, data);
      t.ok(world.fake.io().digestsOk);
    }
  t.end();
});

t.test('a wrong data digest fails that command alone, with Transient Transport Error', (t) => {
  for (const how of ['response', 'success'] as const) {
    const { world, head, commands } = held({ dataDigest: true });
    const bad = world.read(head, 0, 1);
    const good = world.read(head, 1, 1);
    world.settle();
    const [first, second] = commands as [FakeCommand, FakeCommand];
    const { on } = first;
    // The PDU is built with its digest, then one bit of its payload is turned over.
    const at = on.sender.begin(
      PduType.C2HData,
      how === 'success' ? Flag.last | Flag.success : Flag.last,
      512,
    );
    on.sender.view.setUint16(at + 8, first.cid, true);
    on.sender.view.setUint32(at + 16, 512, true);
    const payload = pattern(512);
    on.sender.end([payload]);
    payload[100]! ^= 1;
    on.sender.flush();
    if (how === 'response') on.respond(first.cid);
    on.data(second.cid, pattern(512));
    on.respond(second.cid);
    world.settle();
    t.equal(bad.status, Status.TransientTransportError);
    t.equal(good.status, 0);
    t.equal(on.terminated, undefined, 'the connection lives');
  }
  t.end();
});

t.test('a wrong header digest ends the connection with FES 3h and the digest received', (t) => {
  const { world, head, commands } = held({ headerDigest: true });
  const read = world.read(head, 0, 1);
  world.settle();
  const { on } = commands[0]!;
  const at = on.sender.begin(PduType.CapsuleResp, 0, 0);
  on.sender.end();
  on.sender.view.setUint8(at + 12, 99);
  const received = on.sender.view.getUint32(at + 24, true);
  on.sender.flush();
  faulted(t, world, read, Fes.HeaderDigestError, received);
  t.end();
});

t.test('a digest flag that was not negotiated ends the connection', (t) => {
  const { world, head, commands } = held();
  const read = world.read(head, 0, 1);
  world.settle();
  commands[0]!.on.sender.headerDigest = true;
  commands[0]!.on.respond(commands[0]!.cid);
  faulted(t, world, read, Fes.InvalidHeaderField, 1);
  t.end();
});

// ---- TermReq

t.test('a TermReq of the controller ends the association, with FES and FEI in the log', (t) => {
  const { world, head, commands } = held();
  const read = world.read(head, 0, 1);
  world.settle();
  commands[0]!.on.pdu(
    PduType.C2HTermReq,
    (view, at) => {
      C2HTermReq.fes.set(view, at, Fes.InvalidHeaderField);
      C2HTermReq.fei.set(view, at, 0x1234);
    },
    new Uint8Array(72),
  );
  world.advance(100);
  t.equal(read.status, Status.AbortedByHost);
  const event = world.env.trace.events.find(({ what }) => what === 'controller terminated the connection');
  t.match(event?.fields, { fes: 'Invalid PDU Header Field', fei: 0x1234 });
  t.equal(commands[0]!.on.terminated, undefined, 'a TermReq is not answered with one');
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('a TermReq of an impossible length just ends the connection', (t) => {
  for (const plen of [8, 23, 153, 0xffffffff]) {
    const { world, head, commands } = held();
    const read = world.read(head, 0, 1);
    world.settle();
    const { on } = commands[0]!;
    on.raw([PduType.C2HTermReq, 0, 24, 0, plen & 0xff, (plen >> 8) & 0xff, (plen >> 16) & 0xff, plen >>> 24]);
    world.advance(100);
    t.equal(read.status, Status.AbortedByHost);
    t.equal(on.terminated, undefined);
    t.strictSame(world.leftovers(), []);
  }
  t.end();
});

t.test('after our TermReq what comes is discarded, and the wait for the close is bounded', (t) => {
  const { world, head, commands } = held({}, { terminateTimeout: 3000 });
  const buffer = new Uint8Array(512);
  const read = world.read(head, 0, 1, buffer);
  world.settle();
  const { on, cid } = commands[0]!;
  // A controller that reads nothing, not even our FIN.
  on.transport.pause();
  on.respond(cid + 1);
  on.data(cid, pattern(512));
  on.respond(cid);
  world.settle();
  t.equal(read.status, undefined, 'not over before the connection is dead (QUIESCE.14)');
  world.advance(2999);
  t.equal(read.status, undefined);
  world.advance(1);
  t.equal(read.status, Status.AbortedByHost);
  t.ok(buffer.every((byte) => byte === 0));
  t.strictSame(world.leftovers(), []);
  t.end();
});

// ---- headers that cannot be

t.test('malformed headers end the connection with the offset of the field', (t) => {
  const headers: [string, number[], number, number?][] = [
    ['a type of the host', [PduType.CapsuleCmd, 0, 72, 0, 72, 0, 0, 0], Fes.InvalidHeaderField, 0],
    ['a type that does not exist', [0x08, 0, 24, 0, 24, 0, 0, 0], Fes.InvalidHeaderField, 0],
    ['a wrong HLEN', [PduType.CapsuleResp, 0, 25, 0, 24, 0, 0, 0], Fes.InvalidHeaderField, 2],
    ['PLEN below HLEN', [PduType.CapsuleResp, 0, 24, 0, 20, 0, 0, 0], Fes.InvalidHeaderField, 4],
    ['PLEN of a response with data', [PduType.CapsuleResp, 0, 24, 0, 28, 0, 0, 0], Fes.InvalidHeaderField, 4],
    [
      'PDO in the header',
      [PduType.C2HData, 4, 24, 20, 28, 0, 0, 0, ...Array<number>(20).fill(0)],
      Fes.InvalidHeaderField,
      3,
    ],
    [
      'PDO past the end',
      [PduType.C2HData, 4, 24, 64, 28, 0, 0, 0, ...Array<number>(20).fill(0)],
      Fes.InvalidHeaderField,
    ],
  ];
  for (const [name, bytes, fes, fei] of headers) {
    const { world, head, commands } = held();
    const read = world.read(head, 0, 1);
    world.settle();
    t.comment(name);
    commands[0]!.on.raw(bytes);
    faulted(t, world, read, fes, fei);
  }
  t.end();
});

// ---- back-pressure and time

t.test('QUIESCE.7 without a free slot commands wait, in order, and none fails', (t) => {
  const { world, head, commands, controller } = held({ queueEntries: 16 });
  const reads = Array.from({ length: 100 }, (_, i) => world.read(head, i, 1));
  world.settle();
  const { queue } = controller.ioConnections[0]!;
  t.equal(commands.length, 15, 'one less than the queue has entries');
  t.equal(queue.waiting, 85);
  for (let i = 0; i < 100; i++) {
    const { on, cid, view } = commands[i]!;
    t.equal(view.getUint32(40, true), i);
    on.data(cid, pattern(512, i));
    on.respond(cid);
    world.settle();
  }
  t.ok(reads.every(({ status, calls }) => status === 0 && calls === 1));
  t.equal(queue.load, 0);
  t.end();
});

t.test('the admin queue keeps a slot for Keep Alive', (t) => {
  const world = new HostWorld();
  const { controller } = world.up({ kato: 5000 });
  world.fake.script = ({ name }) => name !== 'Keep Alive';
  for (let i = 0; i < 40; i++)
    controller.admin(
      (request) => request.begin(6),
      () => undefined,
    );
  world.advance(3000);
  t.ok(world.fake.log.includes('q0 Keep Alive'));
  world.settle();
  t.end();
});

t.test(
  'an I/O command that is not answered in 30 s is aborted, and 5 s later the association is reset',
  (t) => {
    const { world, head, commands } = held({ ioQueues: 2 });
    const write = world.write(head, 0, pattern(512));
    world.advance(10_000);
    const read = world.read(head, 0, 1);
    world.advance(19_999);
    t.notOk(world.fake.log.includes('q0 Abort'));
    world.advance(1);
    t.ok(world.fake.log.includes('q0 Abort'));
    world.advance(4_999);
    t.equal(write.status, undefined);
    world.advance(1);
    t.strictSame([write.status, read.status], [Status.AbortedByHost, Status.AbortedByHost]);
    t.match(
      commands[0]!.on.error,
      /reset/,
      'not a FIN: the write must not be delivered any more (QUIESCE.14)',
    );
    const late = world.read(head, 0, 1);
    t.equal(late.status, Status.HostPathError);
    t.strictSame(world.leftovers(), []);
    t.end();
  },
);

t.test(
  'QUIESCE.13 what waited was never sent (370h), what was sent may have been carried out (371h)',
  (t) => {
    const { world, head } = held({ queueEntries: 16 });
    const writes = Array.from({ length: 20 }, (_, i) => world.write(head, i, pattern(512)));
    world.advance(30_000);
    t.strictSame(
      writes.map(({ status }) => status),
      [...Array<number>(15).fill(Status.AbortedByHost), ...Array<number>(5).fill(Status.HostPathError)],
    );
    t.ok(writes.every(({ calls }) => calls === 1));
    t.strictSame(world.leftovers(), []);
    t.end();
  },
);

t.test('a controller that dribbles its answer is given up in time', (t) => {
  const { world, head, commands } = held();
  const read = world.read(head, 0, 1);
  world.settle();
  const { on, cid } = commands[0]!;
  const response = CapsuleResp.bytes({ type: PduType.CapsuleResp, hlen: 24, plen: 24 });
  response[20] = cid & 0xff;
  response.forEach((byte, i) => world.env.clock.timer('dribble', 2000 * i, () => on.raw([byte])));
  world.advance(34_999);
  t.equal(read.status, undefined);
  world.advance(1);
  t.equal(read.status, Status.AbortedByHost);
  world.advance(60_000);
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('a controller that never reads holds the buffer until the connection is dead, no longer', (t) => {
  const world = new HostWorld({}, { capacity: 4096 });
  const { head } = world.up();
  world.fake.io().transport.pause();
  const write = world.write(head, 0, pattern(8192));
  world.settle();
  const other = world.write(head, 0, pattern(8192));
  world.advance(34_999);
  t.strictSame([write.status, other.status], [undefined, undefined]);
  world.advance(1);
  t.strictSame([write.status, other.status], [Status.AbortedByHost, Status.AbortedByHost]);
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('a write that is answered while the socket still has its data ends when the socket lets go', (t) => {
  const world = new HostWorld({}, { capacity: 4096 });
  const { head } = world.up();
  const io = world.fake.io();
  world.fake.script = () => true;
  io.transport.pause();
  const first = world.write(head, 0, pattern(8192));
  world.settle();
  const second = world.write(head, 16, pattern(8192));
  world.settle();
  // First use of slot 1; slot 0 was used by Connect before. The controller cannot have read the second one.
  io.respond(0x1001);
  io.respond(0x2000);
  world.settle();
  t.equal(first.status, 0);
  t.equal(second.status, undefined);
  io.transport.resume();
  world.settle();
  t.equal(second.status, 0);
  t.equal(second.calls, 1);
  t.end();
});

// ---- giving up

t.test(
  'an abandoned read ends at once; its data goes nowhere, its CID is not used before the answer',
  (t) => {
    const { world, head, commands, controller } = held();
    const buffer = new Uint8Array(1024);
    const read = world.read(head, 0, 2, buffer);
    world.settle();
    const { on, cid } = commands[0]!;
    on.data(cid, pattern(512), 0, 0);
    world.settle();
    read.io.abandon();
    t.equal(read.status, Status.AbortedByHost);
    buffer.fill(0xaa);
    const next = world.read(head, 5, 1);
    world.settle();
    t.not(commands[1]!.cid & 0xfff, cid & 0xfff, 'another slot');
    on.data(cid, pattern(512), 512);
    on.respond(cid);
    on.respond(commands[1]!.cid, Status.InternalError);
    world.settle();
    t.ok(buffer.every((byte) => byte === 0xaa));
    t.equal(next.status, Status.InternalError);
    t.equal(read.calls, 1);
    t.equal(controller.ioConnections[0]!.queue.load, 0);
    t.end();
  },
);

for (const [kind, data] of [
  ['bytes', pattern(16_384)],
  // Whose `slice` does not copy.
  ['a Buffer', Buffer.from(pattern(16_384))],
] as const)
  t.test(`an abandoned write keeps a copy of what is still to be sent: ${kind}`, (t) => {
    const { world, head, commands } = held();
    const want = pattern(16_384);
    const write = world.write(head, 0, data);
    world.settle();
    const { on, cid } = commands[0]!;
    world.fake.script = () => false;
    world.fake.writes.set(`1:${cid}`, { command: commands[0]!, slba: 0, got: 0 });
    on.r2t(cid, 7, 0, 4096);
    world.settle();
    write.io.abandon();
    t.equal(write.status, Status.AbortedByHost);
    data.fill(0xaa);
    on.r2t(cid, 8, 4096, 12_288);
    world.settle();
    t.strictSame(world.fake.disk.slice(0, 16_384), want);
    t.equal(on.terminated, undefined);
    t.end();
  });

t.test('an abandoned write whose data the socket still has ends when the socket lets go', (t) => {
  const world = new HostWorld({}, { capacity: 4096 });
  const { head } = world.up();
  world.fake.io().transport.pause();
  world.write(head, 0, pattern(8192));
  world.settle();
  const write = world.write(head, 16, pattern(8192));
  world.settle();
  write.io.abandon();
  t.equal(write.status, undefined);
  world.fake.io().transport.resume();
  world.settle();
  t.equal(write.status, Status.AbortedByHost);
  t.equal(write.calls, 1);
  t.end();
});

t.test('an abandoned I/O that waits was never sent', (t) => {
  const { world, head, commands } = held({ queueEntries: 16 });
  for (let i = 0; i < 15; i++) world.read(head, i, 1);
  const waiting = world.write(head, 0, pattern(512));
  world.settle();
  waiting.io.abandon();
  t.equal(waiting.calls, 1);
  for (const { on, cid } of [...commands]) on.respond(cid, Status.InternalError);
  world.settle();
  t.equal(commands.length, 15);
  t.end();
});

// ---- splitting

t.test('I/O larger than MDTS is split, a bounded number of pieces at a time', (t) => {
  const world = new HostWorld({ pieces: 4 });
  world.fake.identify = { mdts: 1 };
  const { head } = world.up();
  const lengths: number[] = [];
  let now = 0;
  let most = 0;
  world.fake.script = ({ name, view }) => {
    if (name === 'Read' || name === 'Write') {
      lengths.push(view.getUint16(48, true) + 1);
      most = Math.max(most, ++now);
    }
    return false;
  };
  const data = pattern(100 * 512);
  const write = world.write(head, 10, data);
  world.settle();
  t.equal(write.status, 0);
  t.strictSame(world.fake.disk.slice(10 * 512, 110 * 512), data);
  t.strictSame(lengths, [16, 16, 16, 16, 16, 16, 4]);
  const buffer = new Uint8Array(100 * 512);
  const read = world.read(head, 10, 100, buffer);
  world.settle();
  t.equal(read.status, 0);
  t.strictSame(buffer, data);

  const bounded = held({}, { pieces: 4, maxTransfer: 8192 });
  bounded.world.read(bounded.head, 0, 200);
  bounded.world.settle();
  t.equal(bounded.commands.length, 4);
  t.end();
});

t.test('the first error of a split I/O is its status, once its other pieces are over', (t) => {
  const { world, head, commands } = held({}, { pieces: 3, maxTransfer: 512 });
  const read = world.read(head, 0, 10);
  world.settle();
  const [a, b, c] = commands as [FakeCommand, FakeCommand, FakeCommand];
  b.on.respond(b.cid, Status.UnrecoveredReadError);
  world.settle();
  t.equal(read.status, undefined);
  a.on.data(a.cid, pattern(512));
  a.on.respond(a.cid);
  c.on.respond(c.cid, Status.InternalError);
  world.settle();
  t.equal(read.status, Status.UnrecoveredReadError);
  t.equal(commands.length, 3, 'nothing more is sent');
  t.end();
});

t.test('Write Zeroes and Dataset Management keep to the limits of CNS 06h', (t) => {
  const world = new HostWorld();
  world.fake.version = 0x00020000;
  // WZSL: 16 KiB; 4 ranges (DMRL) of 100 blocks each (DMRSL), 250 in all (DMSL).
  world.fake.pages.set(6, NvmIdController.bytes({ wzsl: 2, dmrl: 4, dmrsl: 100, dmsl: 250 }));
  const { head } = world.up();
  const seen: unknown[] = [];
  world.fake.script = ({ name, view, data }) => {
    if (name === 'Write Zeroes') seen.push([view.getUint32(40, true), view.getUint16(48, true) + 1]);
    else if (name === 'Dataset Management') {
      const ranges = new DataView(data.buffer, data.byteOffset, data.length);
      const list = Array.from({ length: data.length / 16 }, (_, i) => [
        ranges.getUint32(i * 16 + 8, true),
        ranges.getUint32(i * 16 + 4, true),
      ]);
      t.equal(view.getUint8(40) + 1, list.length);
      seen.push(list);
    }
    return false;
  };
  const zeroes = world.submit(head, 'zeroes', { slba: 3, blocks: 70 });
  const trim = world.submit(head, 'deallocate', {
    ranges: [{ slba: 0, blocks: 350 }, ...[500, 600, 700].map((slba) => ({ slba, blocks: 1 }))],
  });
  world.settle();
  t.strictSame([zeroes.status, trim.status], [0, 0]);
  t.strictSame(seen, [
    [3, 32],
    [35, 32],
    [67, 6],
    [
      [0, 100],
      [100, 100],
    ],
    [
      [200, 100],
      [300, 50],
      [500, 1],
      [600, 1],
    ],
    [[700, 1]],
  ]);
  t.end();
});

t.test('I/O past the end of the namespace is not sent', (t) => {
  const { world, head, commands } = held();
  const outside = [
    world.read(head, 8191, 2),
    world.submit(head, 'zeroes', { slba: 9000, blocks: 1 }),
    world.submit(head, 'deallocate', { ranges: [{ slba: 8000, blocks: 1000 }] }),
  ];
  world.settle();
  for (const { status } of outside) t.equal(status, Status.LbaOutOfRange | DNR);
  t.equal(commands.length, 0);
  t.end();
});

t.test('I/O goes to the queue with the least to do', (t) => {
  const { world, head, commands } = held({ ioQueues: 4 });
  for (let i = 0; i < 8; i++) world.read(head, i, 1);
  world.settle();
  const perQueue = [1, 2, 3, 4].map((qid) => commands.filter(({ on }) => on.qid === qid).length);
  t.strictSame(perQueue, [2, 2, 2, 2]);
  t.end();
});
