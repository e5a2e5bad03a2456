import t, { type Test } from 'tap';
import { FaultyFile } from '../doubles/faulty-file.ts';
import { TargetWorld } from '../doubles/target-world.ts';
import { inCapsule, inTransport, rw, type WireHost } from '../doubles/wire-host.ts';
import { AdminOpcode, IoOpcode } from '../../src/nvme/opcode.ts';
import { Abort, Flush } from '../../src/nvme/sqe.ts';
import { DNR, Status } from '../../src/nvme/status.ts';

const { Compare, Write, Read } = IoOpcode;
const bytes = (fill: number, blocks = 1): Uint8Array => new Uint8Array(blocks * 512).fill(fill);

/** A command of a pair. */
function half(
  fuse: number,
  opc: number,
  slba: number,
  blocks = 1,
  dptr = inCapsule(blocks * 512),
  fua = 0,
): Uint8Array {
  const sqe = rw(opc, slba, blocks, dptr, fua);
  sqe[1] = fuse;
  return sqe;
}
const first = (slba: number, blocks?: number, dptr?: ReturnType<typeof inCapsule>): Uint8Array =>
  half(1, Compare, slba, blocks, dptr);
const second = (slba: number, blocks?: number, dptr?: ReturnType<typeof inCapsule>): Uint8Array =>
  half(2, Write, slba, blocks, dptr);

function pair(io: WireHost, slba: number, expected: number, value: number): readonly [number, number] {
  return [io.command(first(slba), bytes(expected)), io.command(second(slba), bytes(value))];
}
const statuses = (io: WireHost, cids: readonly number[]): (number | undefined)[] =>
  cids.map((cid) => io.completion(cid)?.status);
const byteOf = (io: WireHost, slba: number): number | undefined => io.data(io.command(rw(Read, slba, 1)))[0];

function abort(admin: WireHost, cid: number): number {
  const sqe = Abort.bytes({ opc: AdminOpcode.Abort, sqid: 1, abortCid: cid });
  return admin.response(admin.command(sqe)).dw0;
}

/** Nothing is left of any command. */
function isQuiet(t: Test, world: TargetWorld): void {
  world.settle();
  const { volume } = world.subsystem.namespaces.get(1)!;
  const { writeBudget, slabs } = world.target;
  t.strictSame([volume!.inFlight, writeBudget.used, slabs.inUse], [0, 0, 0]);
}

t.test('ORDER.2 a fused Compare and Write writes when the blocks are what the host expects', (t) => {
  const world = new TargetWorld();
  const { io } = world.up();
  t.strictSame(statuses(io, pair(io, 5, 0, 7)), [0, 0]);
  t.equal(byteOf(io, 5), 7);
  t.strictSame(
    statuses(io, pair(io, 5, 6, 8)),
    [Status.CompareFailure | DNR, Status.AbortedFailedFused],
    'the first miscompares, the second is not done',
  );
  t.equal(byteOf(io, 5), 7);
  isQuiet(t, world);
  t.end();
});

t.test('ORDER.2 the pair begins when the data of both is here, in whichever order it comes', (t) => {
  for (const order of [
    [0, 1],
    [1, 0],
  ]) {
    const world = new TargetWorld();
    const { io } = world.up();
    const cids = [io.command(first(9, 1, inTransport(512))), io.command(second(9, 1, inTransport(512)))];
    t.strictSame(
      cids.map((cid) => io.r2ts(cid).length),
      [1, 1],
    );
    const other = io.command(rw(Write, 9, 1, inCapsule(512)), bytes(0x33));
    t.equal(io.completion(other)?.status, 0, 'no range is held for a host that does not send');
    for (const which of order) {
      t.strictSame(statuses(io, cids), [undefined, undefined]);
      const cid = cids[which]!;
      io.h2c(cid, io.r2ts(cid)[0]!.ttag, 0, bytes(which === 0 ? 0x33 : 0x44));
    }
    t.strictSame(statuses(io, cids), [0, 0]);
    t.equal(byteOf(io, 9), 0x44);
    isQuiet(t, world);
  }
  t.end();
});

t.test('ESXi: a write in the capsule waits for a compare by R2T', (t) => {
  const world = new TargetWorld();
  const { io } = world.up();
  const cids = [io.command(first(1, 1, inTransport(512))), io.command(second(1), bytes(2))];
  t.strictSame(statuses(io, cids), [undefined, undefined]);
  t.equal(byteOf(io, 1), 0);
  io.h2c(cids[0]!, io.r2ts(cids[0]!)[0]!.ttag, 0, bytes(1));
  t.strictSame(statuses(io, cids), [Status.CompareFailure | DNR, Status.AbortedFailedFused]);
  t.equal(byteOf(io, 1), 0);
  isQuiet(t, world);
  t.end();
});

t.test('ORDER.2 nobody comes between the compare and the write', (t) => {
  const file = new FaultyFile(2 ** 20);
  const world = new TargetWorld({}, { file: () => file });
  const { io, cntlid } = world.up();
  const rival = world.open();
  rival.ioUp('nqn.2024-01.test:one', cntlid, { qid: 2 });
  const mine = pair(io, 3, 0, 1);
  const theirs = pair(rival, 3, 0, 2);
  const plain = rival.command(rw(Write, 0, 8, inCapsule(4096)), bytes(9, 8));
  const read = io.command(rw(Read, 3, 1));
  while (file.step()) world.settle();
  t.strictSame(statuses(io, mine), [0, 0]);
  t.strictSame(statuses(rival, theirs), [Status.CompareFailure | DNR, Status.AbortedFailedFused]);
  t.equal(rival.response(plain).status, 0);
  t.equal(io.data(read)[0], 9);
  t.strictSame(
    file.log.filter((line) => line.endsWith(' ok')).slice(0, 4),
    ['read 1536+512 ok', 'write 1536+512 ok', 'read 1536+512 ok', 'write 0+4096 ok'],
    'in the order of arrival',
  );
  isQuiet(t, world);
  t.end();
});

t.test('the second is the very next capsule, or the first is missing it', (t) => {
  const world = new TargetWorld();
  const { io } = world.up();
  const lonely = io.command(first(1), bytes(0));
  t.equal(io.completion(lonely), undefined, 'it waits for the next capsule');
  const flush = io.command(Flush.bytes({ opc: IoOpcode.Flush, nsid: 1 }));
  t.equal(io.response(lonely).status, Status.AbortedMissingFused);
  t.equal(io.response(flush).status, 0);
  const late = io.command(second(1), bytes(1));
  t.equal(io.response(late).status, Status.AbortedMissingFused, 'and so is the second');

  const twice = [
    io.command(first(1), bytes(0)),
    io.command(first(1), bytes(0)),
    io.command(second(1), bytes(4)),
  ];
  t.strictSame(statuses(io, twice), [Status.AbortedMissingFused, 0, 0]);
  t.equal(byteOf(io, 1), 4);
  isQuiet(t, world);
  t.end();
});

t.test('when the first is refused, the second ends as its partner', (t) => {
  const cases: [string, Uint8Array, number][] = [
    ['past the end', first(5000), Status.LbaOutOfRange | DNR],
    ['not a Compare', half(1, Write, 1), Status.InvalidField | DNR],
    ['FUSE 3', half(3, Compare, 1), Status.InvalidField | DNR],
    ['an opcode that is not there', half(1, 0x7e, 1), Status.InvalidOpcode | DNR],
    ['more than NACWU', first(0, 129, inTransport(129 * 512)), Status.AtomicWriteUnitExceeded | DNR],
  ];
  for (const [name, sqe, status] of cases) {
    const world = new TargetWorld();
    const { io } = world.up();
    const cids = [io.command(sqe, sqe[0x27] === 1 ? bytes(0) : undefined), io.command(second(1), bytes(1))];
    t.strictSame(statuses(io, cids), [status, Status.AbortedFailedFused], name);
    t.strictSame(statuses(io, pair(io, 1, 0, 1)), [0, 0], 'and nothing is remembered');
    isQuiet(t, world);
  }
  t.end();
});

t.test('when the second is refused, or is about other blocks, the first is not done', (t) => {
  const failed = Status.AbortedFailedFused;
  const invalid = Status.InvalidField | DNR;
  const other = second(1);
  other[4] = 2;
  const cases: [string, Uint8Array, number, number][] = [
    ['another SLBA', second(2), invalid, invalid],
    ['another length', second(1, 2), invalid, invalid],
    ['another NSID', other, failed, Status.InvalidNamespace | DNR],
    ['a Read', half(2, Read, 1, 1, inTransport(512)), failed, invalid],
    ['an SGL that is too short', second(1, 1, inCapsule(100)), failed, Status.DataSglLengthInvalid | DNR],
  ];
  for (const [name, sqe, firstStatus, secondStatus] of cases) {
    const world = new TargetWorld();
    const { io } = world.up();
    const data = sqe[0x27] === 1 ? bytes(1, sqe[48]! + 1) : undefined;
    const cids = [io.command(first(1), bytes(0)), io.command(sqe, data)];
    t.strictSame(statuses(io, cids), [firstStatus, secondStatus], name);
    isQuiet(t, world);
  }
  t.end();
});

t.test('fused admin commands are refused', (t) => {
  const { admin } = new TargetWorld().up();
  const sqe = Abort.bytes({ opc: AdminOpcode.Abort, sqid: 1, abortCid: 1 });
  sqe[1] = 1;
  t.equal(admin.response(admin.command(sqe)).status, Status.InvalidField | DNR);
  t.end();
});

t.test('a pair takes the write budget for both at once', (t) => {
  const world = new TargetWorld({
    maxTransfer: 8192,
    anaGroups: 8,
    writeBudget: 8192,
    queueWriteBudget: 4096,
  });
  const { io } = world.up();
  const capsules = [0, 8, 16, 24].flatMap((slba) => [
    io.command(first(slba, 8, inTransport(4096))),
    io.command(second(slba, 8, inTransport(4096))),
  ]);
  const asked = (): number[] => capsules.map((cid) => io.r2ts(cid).length);
  t.strictSame(asked(), [1, 1, 0, 0, 0, 0, 0, 0]);
  for (const [i, cid] of capsules.entries()) {
    t.equal(io.r2ts(cid).length, 1, `command ${i} gets its R2T`);
    io.h2c(cid, io.r2ts(cid)[0]!.ttag, 0, bytes(i % 2 === 0 ? 0 : 5, 8));
  }
  t.strictSame(new Set(statuses(io, capsules)), new Set([0]));
  isQuiet(t, world);
  t.end();
});

t.test('what the file says of the read is the first’s, what it says of the write the second’s', (t) => {
  const file = new FaultyFile(2 ** 20);
  const world = new TargetWorld({}, { file: () => file });
  const { io } = world.up();
  const run = (): void => {
    while (file.step()) world.settle();
  };
  file.fail('read', 'EIO');
  const unread = pair(io, 3, 0, 1);
  run();
  t.strictSame(statuses(io, unread), [Status.UnrecoveredReadError, Status.AbortedFailedFused]);
  file.fail('write', 'ENOSPC');
  const unwritten = pair(io, 3, 0, 1);
  run();
  t.strictSame(statuses(io, unwritten), [0, Status.CapacityExceeded]);
  isQuiet(t, world);
  t.end();
});

t.test('DISK.1 FUA on either command: answered after a sync', (t) => {
  for (const [compareFua, writeFua] of [
    [0, 1],
    [1, 0],
  ]) {
    const file = new FaultyFile(2 ** 20);
    const world = new TargetWorld({}, { file: () => file });
    const { io } = world.up();
    const cids = [
      io.command(half(1, Compare, 3, 1, inCapsule(512), compareFua), bytes(0)),
      io.command(half(2, Write, 3, 1, inCapsule(512), writeFua), bytes(1)),
    ];
    for (const call of ['read', 'write', 'sync']) {
      t.strictSame(statuses(io, cids), [undefined, undefined], `before the ${call}`);
      file.step();
      world.settle();
    }
    t.strictSame(statuses(io, cids), [0, 0]);
    isQuiet(t, world);
  }
  t.end();
});

t.test('Abort of either command, at every step', (t) => {
  const requested = Status.AbortRequested;
  const failed = Status.AbortedFailedFused;
  void t.test('the first, before the second comes', (t) => {
    const world = new TargetWorld();
    const { io, admin } = world.up();
    const cid = io.command(first(1), bytes(0));
    t.equal(abort(admin, cid), 0);
    const other = io.command(second(1), bytes(1));
    t.strictSame(statuses(io, [cid, other]), [requested, failed]);
    isQuiet(t, world);
    t.end();
  });
  for (const which of [0, 1])
    void t.test(`${which === 0 ? 'the first' : 'the second'}, while their data is on its way`, (t) => {
      const world = new TargetWorld();
      const { io, admin } = world.up();
      const cids = [io.command(first(1, 1, inTransport(512))), io.command(second(1, 1, inTransport(512)))];
      t.equal(abort(admin, cids[which]!), 1, 'not at once');
      for (const cid of cids) io.h2c(cid, io.r2ts(cid)[0]!.ttag, 0, bytes(0));
      t.strictSame(statuses(io, cids), which === 0 ? [requested, failed] : [failed, requested]);
      t.equal(byteOf(io, 1), 0);
      isQuiet(t, world);
      t.end();
    });
  for (const which of [0, 1])
    void t.test(`${which === 0 ? 'the first' : 'the second'}, which is here while the other is not`, (t) => {
      const world = new TargetWorld();
      const { io, admin } = world.up();
      const dptr = [inCapsule(512), inTransport(512)];
      const cids = [
        io.command(first(1, 1, dptr[which]), which === 0 ? bytes(0) : undefined),
        io.command(second(1, 1, dptr[1 - which]), which === 0 ? undefined : bytes(1)),
      ];
      t.equal(abort(admin, cids[which]!), 0);
      const late = cids[1 - which]!;
      t.strictSame(statuses(io, [cids[which]!, late]), [requested, undefined]);
      io.h2c(late, io.r2ts(late)[0]!.ttag, 0, bytes(0));
      t.equal(io.response(late).status, failed);
      isQuiet(t, world);
      t.end();
    });
  for (const which of [0, 1])
    void t.test(`${which === 0 ? 'the first' : 'the second'}, while the pair waits for its blocks`, (t) => {
      const file = new FaultyFile(2 ** 20);
      const world = new TargetWorld({}, { file: () => file });
      const { io, admin } = world.up();
      const before = io.command(rw(Write, 1, 1, inCapsule(512)), bytes(3));
      const cids = pair(io, 1, 3, 4);
      t.equal(abort(admin, cids[which]!), 0);
      t.strictSame(statuses(io, cids), which === 0 ? [requested, failed] : [failed, requested]);
      while (file.step()) world.settle();
      t.equal(io.response(before).status, 0);
      isQuiet(t, world);
      t.end();
    });
  void t.test('too late once the file has it', (t) => {
    const file = new FaultyFile(2 ** 20);
    const world = new TargetWorld({}, { file: () => file });
    const { io, admin } = world.up();
    const cids = pair(io, 1, 0, 4);
    for (const cid of cids) t.equal(abort(admin, cid), 1);
    file.step();
    world.settle();
    for (const cid of cids) t.equal(abort(admin, cid), 1);
    while (file.step()) world.settle();
    t.strictSame(statuses(io, cids), [0, 0]);
    isQuiet(t, world);
    t.end();
  });
  void t.test('while they wait for budget', (t) => {
    for (const which of [0, 1]) {
      const world = new TargetWorld({ queueWriteBudget: 1024 });
      const { io, admin } = world.up();
      const big = io.command(rw(Write, 100, 4));
      const cids = [io.command(first(1, 1, inTransport(512))), io.command(second(1, 1, inTransport(512)))];
      t.equal(abort(admin, cids[which]!), 0);
      t.strictSame(statuses(io, cids), which === 0 ? [requested, failed] : [failed, requested]);
      io.h2c(big, io.r2ts(big)[0]!.ttag, 0, bytes(1, 4));
      t.equal(io.response(big).status, 0);
      isQuiet(t, world);
    }
    t.end();
  });
  t.end();
});

t.test(
  'GHOST.1 a connection that is lost at any step leaves nothing, and half a pair does not write',
  (t) => {
    const steps: [string, (io: WireHost) => void][] = [
      ['after the first', (io) => void io.command(first(1), bytes(0))],
      [
        'without data',
        (io) => {
          io.command(first(1, 1, inTransport(512)));
          io.command(second(1, 1, inTransport(512)));
        },
      ],
      [
        'with the data of one',
        (io) => {
          io.command(first(1, 1, inTransport(512)));
          io.command(second(1), bytes(7));
        },
      ],
      ['while it waits or reads', (io) => void pair(io, 1, 0, 7)],
    ];
    for (const [name, say] of steps)
      for (const busy of [false, true]) {
        const file = new FaultyFile(2 ** 20);
        const world = new TargetWorld({}, { file: () => file });
        const { io } = world.up();
        const { volume } = world.subsystem.namespaces.get(1)!;
        if (busy) io.command(rw(Write, 1, 1, inCapsule(512)), bytes(0));
        say(io);
        io.transport.reset();
        world.settle();
        while (file.step()) world.settle();
        isQuiet(t, world);
        t.equal(volume!.counters.writes, busy ? 1 : 0, name);
      }
    const file = new FaultyFile(2 ** 20);
    const world = new TargetWorld({}, { file: () => file });
    const { io } = world.up();
    pair(io, 1, 0, 7);
    file.step();
    io.transport.reset();
    world.settle();
    t.equal(world.target.ports.list[0]!.connections.size, 2, 'it waits for the write that has begun');
    while (file.step()) world.settle();
    t.equal(world.subsystem.namespaces.get(1)!.volume!.counters.writes, 1);
    isQuiet(t, world);
    t.end();
  },
);

t.test('GHOST.1 a connection that is lost while its pair waits for what another host reads is over', (t) => {
  const world = new TargetWorld({}, { net: { capacity: 512 } });
  const { io } = world.up();
  const { io: slow } = world.up();
  slow.command(second(5).fill(0, 1, 2), bytes(0x11));
  slow.transport.pause();
  // The first fills the socket, so that the second is on its way until the host reads.
  for (const slba of [5, 5]) slow.command(rw(Read, slba, 1));
  t.equal(world.namespace.volume?.lent, 512);
  const cids = pair(io, 5, 0x11, 0x22);
  t.strictSame(statuses(io, cids), [undefined, undefined]);
  io.transport.reset();
  world.settle();
  t.equal(
    [...world.target.ports.connections()].some(({ queue }) => queue.executing > 0),
    false,
    'nothing of it executes',
  );
  slow.transport.resume();
  world.settle();
  t.equal(byteOf(slow, 5), 0x11);
  isQuiet(t, world);
  t.end();
});
