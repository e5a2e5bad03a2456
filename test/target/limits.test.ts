import t from 'tap';
import { FaultyFile } from '../doubles/faulty-file.ts';
import { NQN, TargetWorld } from '../doubles/target-world.ts';
import { inCapsule, inTransport, rw, type WireHost } from '../doubles/wire-host.ts';
import { Budget } from '../../src/target/budget.ts';
import { Target } from '../../src/target/target.ts';
import { memoryEnv } from '../../src/runtime/memory/env.ts';
import { concat } from '../../src/layout/bytes.ts';
import { H2CTermReq, ICReq, PduType } from '../../src/pdu/pdus.ts';
import { AdminOpcode, IoOpcode } from '../../src/nvme/opcode.ts';
import { FeatureId } from '../../src/nvme/features.ts';
import { LogId } from '../../src/nvme/logs.ts';
import { Property } from '../../src/nvme/property.ts';
import { Abort, GetLogPage, SetFeatures, Sqe } from '../../src/nvme/sqe.ts';
import { DNR, Status } from '../../src/nvme/status.ts';

const connectionOf = (world: TargetWorld, qid: number) =>
  [...world.target.ports.list[0]!.connections].find(
    ({ queue }) => queue.controller !== undefined && queue.qid === qid,
  )!;

t.test('limits that cannot be kept or told are refused when the target is made', (t) => {
  const env = memoryEnv();
  for (const limits of [
    { maxTransfer: 4096 },
    { maxTransfer: 12288 },
    { maxH2cData: 4094 },
    { maxH2cData: 2048 },
    { queueEntries: 1 },
    { ioCapsuleData: 100 },
    { writeBudget: 4096 },
    { readBudget: 4096 },
    { asyncEvents: 0 },
    { namespaces: 0.5 },
  ])
    t.throws(() => new Target(env, limits), RangeError, JSON.stringify(limits));
  t.equal(env.clock.timers.length, 0, 'and nothing runs');
  t.end();
});

t.test('Budget: nobody passes who stands in line', (t) => {
  const budget = new Budget(100);
  let got = 0;
  const big = { waits: true, budgetFreed: () => void (got ||= budget.take(80, big) ? 80 : 0) };
  t.ok(budget.take(60));
  t.notOk(budget.take(80, big));
  t.notOk(budget.take(10), 'though ten are left');
  budget.release(60);
  t.equal(got, 80);
  t.equal(budget.waiting, 0);
  t.ok(budget.take(20));
  t.notOk(budget.take(1, big));
  budget.forget(big);
  t.equal(budget.waiting, 0);
  t.end();
});

t.test(
  'in-capsule space and granted data have budgets of their own, so a write can always be granted',
  (t) => {
    const world = new TargetWorld({ capsuleBudget: 2 ** 21, writeBudget: 2 ** 20 });
    const { io } = world.up();
    t.equal(world.target.capsuleBudget.used, 2 ** 21, 'all of it is promised');
    const cid = io.command(rw(IoOpcode.Write, 0, 64));
    t.equal(io.r2ts(cid).length, 1);
    t.end();
  },
);

t.test('a TermReq and an ICReq in one segment: what is behind the end is nobody’s', (t) => {
  const world = new TargetWorld();
  const host = world.open();
  const end = H2CTermReq.bytes({ type: PduType.H2CTermReq, hlen: 24, plen: 24 });
  const begin = ICReq.bytes({ type: PduType.ICReq, hlen: 128, plen: 128 });
  host.raw(concat([end, begin]));
  t.ok(host.ended);
  t.equal(host.received.length, 0);
  world.settle();
  t.end();
});

t.test('a thousand parked reads do not stand on each other’s shoulders', (t) => {
  const world = new TargetWorld();
  const { io } = world.up({ sqsize: 1023 });
  io.transport.pause();
  const cids = Array.from({ length: 8 }, () => io.command(rw(IoOpcode.Read, 0, 2048)));
  for (let i = 0; i < 1000; i++) cids.push(io.command(rw(IoOpcode.Read, i, 7)));
  io.transport.resume();
  world.settle();
  for (const cid of cids) t.equal(io.response(cid).status, 0);
  t.end();
});

t.test('KATO is granted up to what a timer can wait', (t) => {
  const world = new TargetWorld();
  const host = world.open();
  host.initialize();
  t.equal(host.response(host.connect(NQN, { sqe: { kato: 0xffffffff } })).status, 0);
  world.env.clock.advance(3_600_000);
  t.notOk(host.ended);
  host.set(Property.CC, 0x460001);
  const get = host.command(Sqe.bytes({ opc: AdminOpcode.GetFeatures, cdw10: FeatureId.KeepAliveTimer }));
  t.equal(host.response(get).dw0, 2_147_483_000);
  t.end();
});

t.test('a write in tiny pieces does not keep what it came in', (t) => {
  const world = new TargetWorld();
  const { io } = world.up();
  const cid = io.command(rw(IoOpcode.Write, 0, 64));
  const [r2t] = io.r2ts(cid);
  const data = Uint8Array.from({ length: 32768 }, (_, i) => (i * 13) & 255);
  const { queue } = connectionOf(world, 1);
  const parts = () => Math.max(0, ...queue.commands().map(({ op }) => op.parts.length));
  for (let at = 0; at < 32000; at += 4) io.h2c(cid, r2t!.ttag, at, data.subarray(at, at + 4), false);
  t.ok(parts() < 64, `${parts()} pieces`);
  io.h2c(cid, r2t!.ttag, 32000, data.subarray(32000));
  t.equal(io.response(cid).status, 0);
  t.same(io.data(io.command(rw(IoOpcode.Read, 0, 64))), data);
  t.end();
});

t.test('log pages are not made for a host that does not read', (t) => {
  const world = new TargetWorld({ sendBacklog: 2 ** 20 });
  const { admin } = world.up();
  admin.transport.pause();
  for (let i = 0; i < 20; i++)
    admin.command(
      GetLogPage.bytes({
        opc: AdminOpcode.GetLogPage,
        lid: LogId.Smart,
        numdl: 0xffff,
        numdu: 3,
        dptr: inTransport(2 ** 20),
      }),
    );
  const { sender } = connectionOf(world, 0);
  t.ok(sender.pending < 3 * 2 ** 20, `${sender.pending} bytes pending`);
  admin.transport.resume();
  world.settle();
  t.equal(admin.received.filter(({ type }) => type === PduType.C2HData).length, 20);
  t.end();
});

t.test('an Abort of the first in line for budget lets the next go on', (t) => {
  const world = new TargetWorld({ queueWriteBudget: 64 * 1024 });
  const { io, admin } = world.up();
  io.command(rw(IoOpcode.Write, 0, 48));
  const big = io.command(rw(IoOpcode.Write, 200, 128));
  const small = io.command(rw(IoOpcode.Write, 400, 64));
  t.equal(io.r2ts(small).length, 0);
  const abort = admin.command(Abort.bytes({ opc: AdminOpcode.Abort, sqid: 1, abortCid: big }));
  t.equal(admin.response(abort).dw0, 0);
  t.equal(io.response(big).status, Status.AbortRequested);
  t.equal(io.r2ts(small).length, 1);
  world.settle();
  t.end();
});

t.test('nobody stands in line for budget behind a queue that waits no more', (t) => {
  const world = new TargetWorld({ writeBudget: 2 ** 20 });
  const [holder, gone, next] = [world.up(), world.up(), world.up()];
  const all = holder.io.command(rw(IoOpcode.Write, 0, 2048));
  const aborted = gone.io.command(rw(IoOpcode.Write, 0, 64));
  const cid = next.io.command(rw(IoOpcode.Write, 0, 64));
  gone.admin.command(Abort.bytes({ opc: AdminOpcode.Abort, sqid: 1, abortCid: aborted }));
  t.equal(gone.io.response(aborted).status, Status.AbortRequested);
  t.equal(next.io.r2ts(cid).length, 0, 'there is nothing left');
  holder.io.h2c(all, holder.io.r2ts(all)[0]!.ttag, 0, new Uint8Array(2 ** 20));
  t.equal(holder.io.response(all).status, 0);
  t.equal(next.io.r2ts(cid).length, 1);
  world.settle();
  t.end();
});

t.test('hosts that send nothing of what they were granted leave some of the budget to the others', (t) => {
  const world = new TargetWorld({ writeBudget: 64 * 2 ** 20 });
  const MiB = 2048;
  for (let host = 0; host < 30; host++) {
    const { io } = world.up();
    const cids = Array.from({ length: 20 }, () => io.command(rw(IoOpcode.Write, 0, MiB)));
    t.ok(io.r2ts(cids[0]!).length === 1, `host ${host} is granted something`);
  }
  const { io } = world.up();
  const cid = io.command(rw(IoOpcode.Write, 0, 64));
  const [r2t] = io.r2ts(cid);
  t.ok(r2t, 'one that comes later too');
  io.h2c(cid, r2t!.ttag, 0, new Uint8Array(32768));
  t.equal(io.response(cid).status, 0);
  world.settle();
  t.end();
});

t.test('GHOST.1 the Admin queue’s connection ends only when nothing of the association executes', (t) => {
  const file = new FaultyFile(2 ** 20);
  const world = new TargetWorld({}, { file: () => file });
  const { io, admin } = world.up();
  io.command(rw(IoOpcode.Write, 0, 1, inCapsule(512)), new Uint8Array(512));
  admin.transport.end();
  world.settle();
  t.notOk(admin.ended || io.ended);
  world.env.clock.advance(200_000);
  t.notOk(admin.gone || io.gone, 'however long the disk takes');
  file.run();
  world.settle();
  t.ok(admin.ended && io.ended);
  t.end();
});

t.test('a connection that was not read from sees that its host closes', (t) => {
  const world = new TargetWorld({ sendBacklog: 1000 });
  const { io, admin } = world.up();
  io.transport.pause();
  for (let i = 0; i < 70; i++) io.command(rw(IoOpcode.Read, 4000, 1));
  let stopped = false;
  world.target.stop(() => (stopped = true));
  world.settle();
  io.transport.resume();
  for (const host of [io, admin]) host.transport.end();
  world.settle();
  t.ok(stopped);
  t.end();
});

t.test('CC and CSTS', (t) => {
  const csts = (host: WireHost): number => Number(host.get(Property.CSTS));
  const start = () => {
    const file = new FaultyFile(2 ** 20);
    const world = new TargetWorld({}, { file: () => file });
    const host = world.open();
    host.up(NQN);
    return { file, world, host };
  };
  void t.test('RDY follows EN, also with a shutdown, and enabling ends the shutdown', (t) => {
    const { file, world, host } = start();
    host.set(Property.CC, 0x464000);
    file.run();
    world.settle();
    t.equal(csts(host), 8, 'SHST complete, RDY 0');
    host.set(Property.CC, 0x460001);
    t.equal(csts(host), 1);
    t.end();
  });
  void t.test('SHST is complete after the flushes of this shutdown, not of an earlier one', (t) => {
    const { file, world, host } = start();
    host.set(Property.CC, 0x464001);
    t.equal(csts(host), 5, 'occurring');
    host.set(Property.CC, 0x460000);
    host.set(Property.CC, 0x460001);
    host.set(Property.CC, 0x464001);
    file.step();
    world.settle();
    t.equal(csts(host), 5, 'the first sync is done, the second runs');
    file.run();
    world.settle();
    t.equal(csts(host), 9);
    t.end();
  });
  t.end();
});

t.test('Read with FUA: what was read is on stable storage before it is answered', (t) => {
  const file = new FaultyFile(2 ** 20);
  const world = new TargetWorld({}, { file: () => file });
  const { io } = world.up();
  io.command(rw(IoOpcode.Write, 0, 1, inCapsule(512)), new Uint8Array(512).fill(3));
  file.run();
  world.settle();
  const cid = io.command(rw(IoOpcode.Read, 0, 1, undefined, 1));
  file.step();
  world.settle();
  t.notOk(io.completion(cid));
  file.run();
  world.settle();
  t.equal(io.response(cid).status, 0);
  t.match(file.log.at(-1), /^sync ok/);
  t.same(io.data(cid), new Uint8Array(512).fill(3));
  t.equal(world.target.slabs.inUse, 0);
  t.end();
});

t.test(
  'Get Features through a namespace tells the controller’s value; only setting it so is refused',
  (t) => {
    const world = new TargetWorld();
    const host = world.open();
    host.up(NQN);
    const status = (sqe: Uint8Array): number => host.response(host.command(sqe)).status;
    const { VolatileWriteCache, ErrorRecovery } = FeatureId;
    t.equal(status(Sqe.bytes({ opc: AdminOpcode.GetFeatures, nsid: 1, cdw10: VolatileWriteCache })), 0);
    t.equal(
      status(Sqe.bytes({ opc: AdminOpcode.GetFeatures, nsid: 0xffffffff, cdw10: ErrorRecovery })),
      Status.InvalidNamespace | DNR,
    );
    t.equal(
      status(SetFeatures.bytes({ opc: AdminOpcode.SetFeatures, nsid: 0xffffffff, fid: ErrorRecovery })),
      0,
    );
    t.end();
  },
);

t.test('a Get Log Page 04h that fails leaves the list as it is', (t) => {
  const world = new TargetWorld();
  const host = world.open();
  host.up(NQN);
  world.subsystem.changed(world.namespace);
  const read = (lpo: number): number =>
    host.command(
      GetLogPage.bytes({
        opc: AdminOpcode.GetLogPage,
        lid: LogId.ChangedNamespaces,
        numdl: 3,
        lpo,
        dptr: inTransport(16),
      }),
    );
  t.equal(host.response(read(8192)).status, Status.InvalidField | DNR);
  t.equal(host.data(read(0))[0], 1);
  t.equal(host.data(read(0))[0], 0);
  t.end();
});

t.test('GHOST.1 commands of a lost connection that are dropped together do not start each other', (t) => {
  const file = new FaultyFile(2 ** 20);
  const world = new TargetWorld({}, { file: () => file });
  const { io } = world.up();
  for (const [slba, blocks] of [
    [0, 1],
    [0, 2],
    [1, 2],
  ] as const)
    io.command(rw(IoOpcode.Write, slba, blocks, inCapsule(blocks * 512)), new Uint8Array(blocks * 512));
  io.transport.reset();
  world.settle();
  file.run();
  world.settle();
  t.same(
    file.log.filter((line) => line.startsWith('write') && !line.endsWith('ok')),
    ['write 0+512'],
  );
  t.end();
});

t.test('hosts that do not read do not starve the reads of one that does', (t) => {
  const world = new TargetWorld({ readBudget: 4 * 2 ** 20, sendBacklog: 2 ** 20 });
  const { cntlid, io } = world.up();
  const hogs = [2, 3, 4, 5, 6].map((qid) => {
    const hog = world.open();
    hog.ioUp(NQN, cntlid, { qid });
    hog.transport.pause();
    return hog;
  });
  for (const hog of hogs) for (let i = 0; i < 8; i++) hog.command(rw(IoOpcode.Read, 0, 512));
  const cid = io.command(rw(IoOpcode.Read, 0, 8));
  t.equal(io.response(cid).status, 0);
  t.end();
});
