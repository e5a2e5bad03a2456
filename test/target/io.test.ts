import t, { type Test } from 'tap';
import { FaultyFile } from '../doubles/faulty-file.ts';
import { TargetWorld } from '../doubles/target-world.ts';
import { inCapsule, inTransport, rw, type WireHost } from '../doubles/wire-host.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { IdController } from '../../src/nvme/identify-controller.ts';
import { Cns } from '../../src/nvme/identify.ts';
import { IdNamespace, NvmIdController } from '../../src/nvme/identify-namespace.ts';
import { AdminOpcode, IoOpcode } from '../../src/nvme/opcode.ts';
import { Cancel, Copy, CopyRange, Flush, Identify, WriteZeroes } from '../../src/nvme/sqe.ts';
import { DNR, IoStatus, Status } from '../../src/nvme/status.ts';

const { Compare, Write, Read, Verify } = IoOpcode;
const bytes = (fill: number, blocks = 1): Uint8Array => new Uint8Array(blocks * 512).fill(fill);
const byteOf = (io: WireHost, slba: number): number | undefined => io.data(io.command(rw(Read, slba, 1)))[0];
const put = (io: WireHost, slba: number, fill: number, blocks = 1): void => {
  io.command(rw(Write, slba, blocks, inCapsule(blocks * 512)), bytes(fill, blocks));
};

function copy(
  io: WireHost,
  sdlba: number | bigint,
  ranges: readonly (readonly [slba: number | bigint, blocks: number])[],
  more: Parameters<typeof Copy.bytes>[0] = {},
): number {
  const list = new Uint8Array(ranges.length * CopyRange.size);
  ranges.forEach(([slba, nlb], i) => list.set(CopyRange.bytes({ slba, nlb }), i * CopyRange.size));
  const dptr = inCapsule(list.length);
  const sqe = Copy.bytes({ opc: IoOpcode.Copy, nsid: 1, sdlba, nr: ranges.length, dptr, ...more });
  return io.command(sqe, list);
}

function isQuiet(t: Test, world: TargetWorld): void {
  world.settle();
  const { volume } = world.subsystem.namespaces.get(1)!;
  const { writeBudget, slabs } = world.target;
  t.strictSame([volume!.inFlight, writeBudget.used, slabs.inUse], [0, 0, 0]);
}

t.test('Compare', (t) => {
  const world = new TargetWorld();
  const { io } = world.up();
  const data = Uint8Array.from({ length: 4096 }, (_, i) => (i * 7) & 255);
  io.command(rw(Write, 8, 8, inCapsule(4096)), data);
  const compare = (given: Uint8Array, slba = 8): number =>
    io.response(io.command(rw(Compare, slba, 8, inCapsule(4096)), given)).status;
  t.equal(compare(data), 0);
  const last = data.slice();
  last[4095]! ^= 1;
  t.equal(compare(last), Status.CompareFailure | DNR, 'a bit of the last byte');
  t.equal(compare(data, 2041), Status.LbaOutOfRange | DNR);
  const cid = io.command(rw(Compare, 8, 8, inTransport(4096)));
  const { ttag } = io.r2ts(cid)[0]!;
  io.h2c(cid, ttag, 0, data.subarray(0, 1000), false);
  io.h2c(cid, ttag, 1000, data.subarray(1000));
  t.equal(io.response(cid).status, 0, 'data in pieces, however they are cut');
  isQuiet(t, world);
  t.end();
});

t.test('Compare, Verify and Read with FUA look at what is on stable storage', (t) => {
  for (const opc of [Compare, Verify, Read]) {
    const file = new FaultyFile(2 ** 20);
    const world = new TargetWorld({}, { file: () => file });
    const { io } = world.up();
    const cid = io.command(
      rw(opc, 3, 1, opc === Compare ? inCapsule(512) : inTransport(512), 1),
      opc === Compare ? bytes(0) : undefined,
    );
    file.step();
    world.settle();
    t.equal(io.completion(cid), undefined);
    t.equal(file.log.at(-1), 'sync');
    file.step();
    world.settle();
    t.equal(io.response(cid).status, 0);
    isQuiet(t, world);
  }
  t.end();
});

t.test('DISK.2 after a failed flush nothing that is read with FUA is called durable', (t) => {
  for (const opc of [Compare, Verify, Read]) {
    const file = new FaultyFile(2 ** 20);
    const world = new TargetWorld({}, { file: () => file });
    const { io } = world.up();
    const run = (cid: number): number => {
      while (file.step()) world.settle();
      return io.response(cid).status;
    };
    t.equal(run(io.command(rw(Write, 0, 1, inCapsule(512)), bytes(0))), 0);
    file.fail('sync', 'EIO');
    t.equal(run(io.command(Flush.bytes({ opc: IoOpcode.Flush, nsid: 1 }))), Status.WriteFault);
    const read = (fua: 0 | 1): number =>
      opc === Compare
        ? io.command(rw(opc, 0, 1, inCapsule(512), fua), bytes(0))
        : io.command(rw(opc, 0, 1, inTransport(512), fua));
    t.equal(run(read(1)), Status.WriteFault);
    t.equal(run(read(0)), 0, 'as it is in memory');
    isQuiet(t, world);
  }
  t.end();
});

t.test('Verify reads, and says what cannot be read', (t) => {
  const file = new FaultyFile(2 ** 20);
  const world = new TargetWorld({}, { file: () => file });
  const { io, admin } = world.up();
  const verify = (slba: number, blocks: number): number => {
    const cid = io.command(rw(Verify, slba, blocks, inTransport(0)));
    while (file.step()) world.settle();
    return io.response(cid).status;
  };
  t.equal(verify(0, 2048), 0, 'as much as VSL says');
  t.equal(io.data(io.command(rw(Verify, 0, 1))).length, 0);
  while (file.step()) world.settle();
  file.fail('read', 'EIO');
  t.equal(verify(0, 8), Status.UnrecoveredReadError);
  t.equal(verify(2047, 2), Status.LbaOutOfRange | DNR);
  const identify = Identify.bytes({
    opc: AdminOpcode.Identify,
    cns: Cns.CsController,
    dptr: inTransport(4096),
  });
  const limits = viewOf(admin.data(admin.command(identify)));
  t.equal(4096 * 2 ** NvmIdController.vsl.get(limits, 0), 2 ** 20);
  isQuiet(t, world);
  t.end();
});

t.test('Copy', (t) => {
  void t.test('puts its ranges one after the other', (t) => {
    const world = new TargetWorld();
    const { io } = world.up();
    for (let i = 0; i < 8; i++) put(io, i, i + 1);
    t.equal(
      io.response(
        copy(io, 100, [
          [3, 2],
          [7, 1],
          [3, 1],
        ]),
      ).status,
      0,
    );
    t.strictSame(
      [100, 101, 102, 103, 104].map((slba) => byteOf(io, slba)),
      [4, 5, 8, 4, 0],
    );
    isQuiet(t, world);
    t.end();
  });
  void t.test('its limits are those of Identify Namespace', (t) => {
    const world = new TargetWorld({ maxCopy: 64 * 4096, copyRanges: 4 });
    const { io, admin } = world.up();
    const sqe = Identify.bytes({ opc: AdminOpcode.Identify, cns: 0, nsid: 1, dptr: inTransport(4096) });
    const namespace = viewOf(admin.data(admin.command(sqe)));
    const { mssrl, mcl, msrc } = IdNamespace.decode(namespace);
    t.strictSame({ mssrl, mcl, msrc }, { mssrl: 512, mcl: 512, msrc: 4 });
    const tooMuch = IoStatus.CommandSizeLimitExceeded | DNR;
    t.equal(io.response(copy(io, 1000, [[0, 512]])).status, 0);
    t.equal(io.response(copy(io, 1000, [[0, 513]])).status, tooMuch, 'MSSRL, MCL');
    t.equal(
      io.response(
        copy(io, 1000, [
          [0, 500],
          [0, 13],
        ]),
      ).status,
      tooMuch,
      'MCL',
    );
    t.equal(
      io.response(
        copy(
          io,
          1000,
          Array.from({ length: 5 }, () => [0, 1]),
        ),
      ).status,
      tooMuch,
      'MSRC',
    );
    isQuiet(t, world);
    t.end();
  });
  void t.test('is refused where it cannot be right', (t) => {
    const world = new TargetWorld();
    const { io } = world.up();
    const status = (cid: number): number => io.response(cid).status;
    t.equal(status(copy(io, 0, [[2047, 2]])), Status.LbaOutOfRange | DNR, 'a source past the end');
    t.equal(status(copy(io, 2047, [[0, 2]])), Status.LbaOutOfRange | DNR, 'where it goes');
    t.equal(status(copy(io, 2n ** 63n, [[0, 1]])), Status.LbaOutOfRange | DNR);
    t.equal(status(copy(io, 0, [[2n ** 64n - 1n, 1]])), Status.LbaOutOfRange | DNR);
    t.equal(
      status(
        copy(io, 1, [
          [9, 1],
          [2, 1],
        ]),
      ),
      IoStatus.OverlappingIoRange | DNR,
    );
    t.equal(status(copy(io, 9, [[0, 1]], { nsid: 7 })), Status.InvalidNamespace | DNR);
    const format = { descriptor: { desfmt: 2, prinfor: 0 } };
    t.equal(status(copy(io, 9, [[0, 1]], format)), Status.InvalidField | DNR, 'another descriptor format');
    t.equal(status(copy(io, 9, [[0, 1]], { nr: 2 })), Status.DataSglLengthInvalid | DNR);
    isQuiet(t, world);
    t.end();
  });
  void t.test('ORDER.2 holds what it reads and where it goes; dword 0 says how far it came', (t) => {
    const file = new FaultyFile(2 ** 20);
    const world = new TargetWorld({}, { file: () => file });
    const { io } = world.up();
    file.fail('copy', 'ENOTSUP');
    const copied = copy(io, 100, [
      [0, 1],
      [1, 1],
    ]);
    const written = io.command(rw(Write, 1, 1, inCapsule(512)), bytes(9));
    while (file.step()) world.settle();
    t.equal(io.response(copied).status, 0);
    t.equal(io.response(written).status, 0);
    const order = file.log.filter((line) => line.endsWith(' ok')).map((line) => line.slice(0, -3));
    t.strictSame(order, [
      'read 0+512',
      'write 51200+512',
      'read 512+512',
      'write 51712+512',
      'write 512+512',
    ]);

    file.fail('write', 'ENOSPC');
    const failed = copy(io, 200, [
      [0, 1],
      [1, 1],
    ]);
    while (file.step()) world.settle();
    t.match(io.response(failed), { status: Status.CapacityExceeded, dw0: 0 });
    isQuiet(t, world);
    t.end();
  });
  void t.test('GHOST.1 a copy of a lost connection stops, and leaves no range', (t) => {
    const file = new FaultyFile(2 ** 20);
    const world = new TargetWorld({}, { file: () => file });
    const { io } = world.up();
    copy(io, 100, [
      [0, 1],
      [1, 1],
      [2, 1],
    ]);
    copy(io, 1, [[100, 1]]);
    io.transport.reset();
    world.settle();
    while (file.step()) world.settle();
    t.strictSame(file.log, ['copy 0+512 to 51200', 'copy 0+512 to 51200 ok']);
    isQuiet(t, world);
    t.end();
  });
  t.end();
});

t.test('DISK.4 Write Zeroes with DEAC punches a hole, without it the space stays', (t) => {
  const file = new FaultyFile(2 ** 20);
  const world = new TargetWorld({}, { file: () => file });
  const { io } = world.up();
  const zero = (deac: number): number => {
    const cdw12 = { cetype: 0, stc: 0, deac, prinfo: 0, fua: 0, lr: 0 };
    return io.command(WriteZeroes.bytes({ opc: IoOpcode.WriteZeroes, nsid: 1, slba: 8, nlb: 8, cdw12 }));
  };
  const cids = [zero(0), zero(1)];
  while (file.step()) world.settle();
  for (const cid of cids) t.equal(io.response(cid).status, 0);
  t.strictSame(
    file.log.filter((line) => line.endsWith(' ok')),
    ['zero 4096+4096 ok', 'punch 4096+4096 ok'],
  );
  t.end();
});

t.test('Flush of all namespaces is refused, as VWC says', (t) => {
  const { io, admin } = new TargetWorld().up();
  const status = (nsid: number): number =>
    io.response(io.command(Flush.bytes({ opc: IoOpcode.Flush, nsid }))).status;
  t.equal(status(0xffffffff), Status.InvalidNamespace | DNR);
  t.equal(status(1), 0);
  const sqe = Identify.bytes({ opc: AdminOpcode.Identify, cns: 1, dptr: inTransport(4096) });
  t.strictSame(IdController.decode(viewOf(admin.data(admin.command(sqe)))).vwc, { present: 1, broadcast: 2 });
  t.end();
});

t.test('ORDER.2 the atomic units that are told are those that are given', (t) => {
  for (const [maxTransfer, blockSize, awun, nawun, acwu, nacwu] of [
    [2 ** 20, 512, 256, 2048, 16, 128],
    [2 ** 20, 4096, 256, 256, 16, 16],
    [8192, 4096, 2, 2, 1, 1],
    [2 ** 31, 512, 65536, 65536, 16, 128],
  ] as const) {
    const big = { anaGroups: 8, maxTransfer, writeBudget: 2 ** 31, readBudget: 2 ** 31 };
    const { admin } = new TargetWorld(big, { blockSize }).up();
    const identify = (cns: number, nsid: number): DataView =>
      viewOf(admin.data(admin.command(Identify.bytes({ opc: 6, cns, nsid, dptr: inTransport(4096) }))));
    const controller = IdController.decode(identify(1, 0));
    const namespace = IdNamespace.decode(identify(0, 1));
    t.match(controller, { awun, awupf: 1, acwu, fuses: { compareAndWrite: 1 } });
    t.match(namespace, { nawun, nawupf: 1, nacwu, nsfeat: { atomics: 1 } });
  }
  t.end();
});

t.test('Cancel', (t) => {
  const cancel = (io: WireHost, cancelCid: number, more: Parameters<typeof Cancel.bytes>[0] = {}) =>
    io.response(io.command(Cancel.bytes({ opc: IoOpcode.Cancel, nsid: 1, sqid: 1, cancelCid, ...more })));
  void t.test('one command, or all of a namespace; what is on its way ends when it is here', (t) => {
    const file = new FaultyFile(2 ** 20);
    const world = new TargetWorld({}, { file: () => file });
    const { io } = world.up();
    const running = io.command(rw(Write, 0, 1, inCapsule(512)), bytes(1));
    const behind = [1, 2, 3].map(() => io.command(rw(Read, 0, 1)));
    t.match(cancel(io, behind[1]!), { status: 0, dw0: 1 });
    t.equal(io.response(behind[1]!).status, Status.AbortRequested);
    const asked = io.command(rw(Write, 9, 1));
    t.match(cancel(io, 0xffff, { cdw11: { acode: 1 } }), { status: 0, dw0: 0x10002 });
    t.equal(io.completion(asked), undefined);
    io.h2c(asked, io.r2ts(asked)[0]!.ttag, 0, bytes(1));
    t.equal(io.response(asked).status, Status.AbortRequested);
    t.match(cancel(io, running), { dw0: 0 }, 'too late');
    while (file.step()) world.settle();
    t.equal(io.response(running).status, 0);
    isQuiet(t, world);
    t.end();
  });
  void t.test('is refused where it cannot be right', (t) => {
    const { io } = new TargetWorld().up();
    const invalid = Status.InvalidField | DNR;
    const { status } = cancel(io, 2);
    t.equal(status, IoStatus.InvalidCommandId | DNR, 'itself');
    t.equal(cancel(io, 77).dw0, 0, 'nobody');
    t.equal(cancel(io, 1, { sqid: 2 }).status, invalid, 'another queue');
    t.equal(cancel(io, 1, { cdw11: { acode: 2 } }).status, invalid);
    t.equal(cancel(io, 1, { cdw11: { acode: 1 } }).status, invalid, 'many, with a CID');
    t.equal(cancel(io, 0xffff, { cdw11: { acode: 1 }, nsid: 9 }).status, Status.InvalidNamespace | DNR);
    t.equal(cancel(io, 0xffff, { cdw11: { acode: 1 }, nsid: 0xffffffff }).status, 0);
    t.end();
  });
  t.end();
});
