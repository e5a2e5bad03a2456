import t from 'tap';
import { FaultyFile } from '../doubles/faulty-file.ts';
import { NQN, TargetWorld, UUID } from '../doubles/target-world.ts';
import { inCapsule, inTransport, rw, type WireHost } from '../doubles/wire-host.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { Event } from '../../src/nvme/event.ts';
import { FeatureId, HostBehaviorData, TimestampData, WriteProtectionState } from '../../src/nvme/features.ts';
import { Cns } from '../../src/nvme/identify.ts';
import { IdController } from '../../src/nvme/identify-controller.ts';
import { IdNamespace } from '../../src/nvme/identify-namespace.ts';
import { CommandEffectsLog, ErrorLogEntry, FeatureEffectsLog, LogId, SmartLog } from '../../src/nvme/logs.ts';
import { DISCOVERY_NQN } from '../../src/nvme/nqn.ts';
import { AdminOpcode, IoOpcode } from '../../src/nvme/opcode.ts';
import {
  Abort,
  Copy,
  CopyRange,
  DatasetManagement,
  DsmRange,
  Flush,
  GetFeatures,
  GetLogPage,
  Identify,
  SetFeatures,
  Sqe,
  WriteZeroes,
} from '../../src/nvme/sqe.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { ADMIN } from '../../src/target/admin.ts';
import { FEATURES } from '../../src/target/features.ts';
import { IO } from '../../src/target/io.ts';
import { factsDocument } from '../../src/target/facts.ts';
import { Target } from '../../src/target/target.ts';
import { changeRefusal, protectionOf } from '../../src/target/write-protect.ts';

const { None, Protected, UntilPowerCycle, Permanent } = WriteProtectionState;
const bytes = (fill: number): Uint8Array => new Uint8Array(512).fill(fill);

interface Answer {
  readonly status: number;
  readonly dw0: number;
}
const set = (admin: WireHost, fid: number, cdw11: number, nsid = 0, data?: Uint8Array): Answer =>
  admin.response(sendSet(admin, fid, cdw11, nsid, data));
const sendSet = (admin: WireHost, fid: number, cdw11: number, nsid = 0, data?: Uint8Array): number => {
  const dptr = inCapsule(data?.length ?? 0);
  return admin.command(SetFeatures.bytes({ opc: AdminOpcode.SetFeatures, fid, cdw11, nsid, dptr }), data);
};
const get = (admin: WireHost, fid: number, sel = 0, nsid = 0, cdw11 = 0): Answer & { data: Uint8Array } => {
  const dptr = inTransport(4096);
  const cid = admin.command(
    GetFeatures.bytes({ opc: AdminOpcode.GetFeatures, fid, sel: { sel }, nsid, cdw11, dptr }),
  );
  return { ...admin.response(cid), data: admin.data(cid) };
};
const log = (admin: WireHost, lid: number, length: number): DataView => {
  const numdl = length / 4 - 1;
  const sqe = GetLogPage.bytes({ opc: AdminOpcode.GetLogPage, lid, numdl, dptr: inTransport(length) });
  return viewOf(admin.data(admin.command(sqe)));
};
const identify = (admin: WireHost, cns: number, nsid = 0): DataView =>
  viewOf(
    admin.data(
      admin.command(Identify.bytes({ opc: AdminOpcode.Identify, cns, nsid, dptr: inTransport(4096) })),
    ),
  );

t.test('Get Features: current, default, saved and capabilities of every feature', (t) => {
  const { admin } = new TargetWorld().up();
  const mostIoQueues = 64;
  const defaults: Record<number, number> = {
    [FeatureId.TemperatureThreshold]: 0xffff,
    [FeatureId.VolatileWriteCache]: 1,
    [FeatureId.NumberOfQueues]: (mostIoQueues - 1) * 0x10001,
    [FeatureId.HostIdentifier]: 0,
  };
  for (const [fid, feature] of FEATURES) {
    const { perNamespace, gives = 0 } = feature;
    const nsid = perNamespace ? 1 : 0;
    const name = `FID ${fid.toString(16)}h`;
    const capabilities = (perNamespace ? 2 : 0) | ('set' in feature ? 4 : 0);
    t.match(get(admin, fid, 3, nsid), { status: 0, dw0: capabilities, data: { length: 0 } }, name);
    for (const sel of [1, 2]) {
      const { status, dw0, data } = get(admin, fid, sel, nsid, 1);
      t.strictSame([status, dw0, data.length], [0, defaults[fid] ?? 0, gives], `${name}, select ${sel}`);
    }
    t.equal(get(admin, fid, 0, nsid, 1).status, 0);
    t.equal(get(admin, fid, 4, nsid, 1).status, Status.InvalidField | DNR);
    const save = SetFeatures.bytes({ opc: AdminOpcode.SetFeatures, fid, nsid, sv: { sv: 1 } });
    t.equal(admin.response(admin.command(save)).status, Status.FeatureNotSaveable | DNR, 'nothing is saved');
  }
  t.end();
});

t.test('namespace specific features are kept for each namespace', (t) => {
  const world = new TargetWorld();
  world.add(2);
  const { admin } = world.up();
  t.equal(set(admin, FeatureId.ErrorRecovery, 5, 1).status, 0);
  t.equal(get(admin, FeatureId.ErrorRecovery, 0, 1).dw0, 5);
  t.equal(get(admin, FeatureId.ErrorRecovery, 0, 2).dw0, 0);
  t.equal(set(admin, FeatureId.ErrorRecovery, 7, 0xffffffff).status, 0, 'all of them');
  t.equal(get(admin, FeatureId.ErrorRecovery, 0, 2).dw0, 7);
  t.equal(get(admin, FeatureId.ErrorRecovery, 0, 0xffffffff).status, Status.InvalidNamespace | DNR);
  t.equal(set(admin, FeatureId.ErrorRecovery, 0x10000, 1).status, Status.InvalidField | DNR, 'DULBE');
  t.end();
});

t.test('Host Behavior Support takes what there is', (t) => {
  const { admin } = new TargetWorld().up();
  const give = (fields: Parameters<typeof HostBehaviorData.bytes>[0]): number =>
    set(admin, FeatureId.HostBehavior, 0, 0, HostBehaviorData.bytes(fields)).status;
  t.equal(give({ acre: 1, etdas: 1, hdisns: 1 }), 0);
  const current = HostBehaviorData.decode(viewOf(get(admin, FeatureId.HostBehavior).data));
  t.match(current, { acre: 1, etdas: 1, lbafee: 0, hdisns: 1 });
  const invalid = Status.InvalidField | DNR;
  for (const wrong of [{ acre: 2 }, { etdas: 9 }, { hdisns: 2 }, { lbafee: 1 }, { cdfe: { format2: 1 } }])
    t.equal(give(wrong), invalid, JSON.stringify(wrong));
  t.match(HostBehaviorData.decode(viewOf(get(admin, FeatureId.HostBehavior).data)), { acre: 1 });
  t.end();
});

t.test('a timestamp counts on from what the host has set', (t) => {
  const world = new TargetWorld();
  const { admin } = world.up();
  const now = (): [number, number] => {
    const view = viewOf(get(admin, FeatureId.Timestamp).data);
    const { low, high, attributes } = TimestampData.decode(view);
    return [low + high * 2 ** 32, attributes.origin];
  };
  world.env.clock.advance(250);
  t.strictSame(now(), [250, 0], 'from the beginning of the controller');
  const date = 1_763_000_000_123;
  const low = date % 2 ** 32;
  const high = Math.floor(date / 2 ** 32);
  t.equal(set(admin, FeatureId.Timestamp, 0, 0, TimestampData.bytes({ low, high })).status, 0);
  world.env.clock.advance(1000);
  t.strictSame(now(), [date + 1000, 1]);
  t.end();
});

t.test('write protection: which state may follow which', (t) => {
  const fixed = Status.FeatureNotChangeable | DNR;
  const table: [from: number, to: number, status: number][] = [
    [None, Protected, 0],
    [None, UntilPowerCycle, 0],
    [None, Permanent, 0],
    [Protected, None, 0],
    [Protected, Permanent, 0],
    [UntilPowerCycle, None, fixed],
    [UntilPowerCycle, Permanent, fixed],
    [UntilPowerCycle, UntilPowerCycle, 0],
    [Permanent, None, fixed],
    [Permanent, Protected, fixed],
    [None, 4, Status.InvalidField | DNR],
  ];
  for (const [from, to, status] of table) t.equal(changeRefusal(from, to), status, `${from} to ${to}`);
  t.equal(protectionOf(undefined), None);
  t.equal(protectionOf(3), Permanent);
  for (const wrong of [0, 2, 4, '1', null]) t.throws(() => protectionOf(wrong), RangeError);
  t.end();
});

t.test('a write protected namespace lets through what changes nothing', (t) => {
  const world = new TargetWorld();
  const { io, admin } = world.up();
  t.equal(set(admin, FeatureId.WriteProtection, Protected, 1).status, 0);
  t.equal(get(admin, FeatureId.WriteProtection, 0, 1).dw0, Protected);
  t.equal(IdNamespace.nsattr.writeProtected.get(identify(admin, Cns.Namespace, 1), 0), 1);
  t.strictSame(IdController.decode(identify(admin, Cns.Controller)).nwpc, {
    writeProtect: 1,
    untilPowerCycle: 1,
    permanent: 1,
  });
  const cases: [string, number, Uint8Array, Uint8Array?][] = [
    ['Read', 0, rw(IoOpcode.Read, 0, 1)],
    ['Compare', 0, rw(IoOpcode.Compare, 0, 1, inCapsule(512)), bytes(0)],
    ['Verify', 0, rw(IoOpcode.Verify, 0, 1)],
    ['Flush', 0, Flush.bytes({ opc: IoOpcode.Flush, nsid: 1 })],
    ['Write', 1, rw(IoOpcode.Write, 0, 1, inCapsule(512)), bytes(1)],
    ['Write Zeroes', 1, WriteZeroes.bytes({ opc: IoOpcode.WriteZeroes, nsid: 1, nlb: 1 })],
    [
      'Deallocate',
      1,
      DatasetManagement.bytes({ opc: 9, nsid: 1, nr: 1, cdw11: { ad: 1 }, dptr: inCapsule(16) }),
      DsmRange.bytes({ length: 1 }),
    ],
    [
      'Copy',
      1,
      Copy.bytes({ opc: IoOpcode.Copy, nsid: 1, sdlba: 9, nr: 1, dptr: inCapsule(32) }),
      CopyRange.bytes({ nlb: 1 }),
    ],
  ];
  for (const [name, refused, sqe, data] of cases) {
    const status = refused === 1 ? Status.NamespaceWriteProtected | DNR : 0;
    const cid = io.command(sqe, data);
    t.equal(io.completion(cid)?.status ?? 0, status, name);
  }
  t.equal(set(admin, FeatureId.WriteProtection, None, 1).status, 0);
  t.equal(io.response(io.command(rw(IoOpcode.Write, 0, 1, inCapsule(512)), bytes(1))).status, 0);
  t.equal(set(admin, FeatureId.WriteProtection, 1, 0xffffffff).status, Status.InvalidNamespace | DNR);
  world.settle();
  t.end();
});

t.test('write protection is answered when changes have ended, are synced, and the state is kept', (t) => {
  const file = new FaultyFile(2 ** 20);
  const world = new TargetWorld({}, { file: () => file });
  const { io, admin } = world.up();
  const other = world.host('B');
  other.listen();
  const running = io.command(rw(IoOpcode.Write, 5, 1, inCapsule(512)), bytes(1));
  const cid = sendSet(admin, FeatureId.WriteProtection, Protected, 1);
  const late = io.command(rw(IoOpcode.Write, 9, 1, inCapsule(512)), bytes(1));
  t.equal(io.response(late).status, Status.NamespaceWriteProtected | DNR, 'nothing new is let through');
  for (const state of [Permanent, Protected])
    t.equal(
      other.admin.response(sendSet(other.admin, FeatureId.WriteProtection, state, 1)).status,
      Status.CommandInterrupted,
      'one change at a time, and the same one is not true yet',
    );
  const document = (): string | undefined => world.env.store.documents.get(factsDocument(UUID));
  t.equal(admin.completion(cid), undefined);
  t.strictSame(file.log, ['write 2560+512'], 'the sync waits for the write');
  file.step();
  world.settle();
  t.equal(io.response(running).status, 0);
  t.equal(admin.completion(cid), undefined);
  t.equal(document(), undefined);
  file.step();
  world.settle();
  t.equal(admin.response(cid).status, 0);
  t.match(document(), /"writeProtect": 1/);
  t.same(other.events(), [Event.NamespaceAttributeChanged], 'other hosts are told');
  t.end();
});

t.test('write protection is answered when a volume that is being closed writes nothing any more', (t) => {
  const file = new FaultyFile(2 ** 20);
  const world = new TargetWorld({}, { file: () => file });
  const { io, admin } = world.up();
  const running = io.command(rw(IoOpcode.Write, 5, 1, inCapsule(512)), bytes(1));
  world.settle();
  world.namespace.disable(() => undefined);
  const cid = sendSet(admin, FeatureId.WriteProtection, Protected, 1);
  world.settle();
  t.equal(admin.completion(cid), undefined, 'the write is under way');
  for (let i = 0; i < 4; i++) {
    file.step();
    world.settle();
  }
  t.equal(io.response(running).status, 0);
  t.equal(admin.response(cid).status, 0);
  t.end();
});

t.test('write protection survives a restart; until power cycle it does not', (t) => {
  for (const [state, left] of [
    [Protected, Protected],
    [Permanent, Permanent],
    [UntilPowerCycle, None],
  ] as const) {
    const world = new TargetWorld();
    const { admin } = world.up();
    t.equal(set(admin, FeatureId.WriteProtection, state, 1).status, 0);
    world.target.stop(() => undefined);
    const again = new Target(world.env);
    again.facts.load(UUID, (error, facts) => {
      t.equal(error, undefined);
      const subsystem = again.addSubsystem({ nqn: NQN, serial: 'S1', model: 'test' });
      const file = world.env.files.memory(2 ** 20);
      const options = { nsid: 1, uuid: UUID, blockSize: 512, readOnly: false, facts };
      t.equal(again.addNamespace(subsystem, file, options).protection, left);
    });
    world.env.clock.settle();
  }
  t.plan(9);
  t.end();
});

t.test('write protection that cannot be kept or synced is taken back', (t) => {
  const world = new TargetWorld();
  const { io, admin } = world.up();
  world.env.store.failNext = { code: 'ENOSPC', message: 'full' };
  t.equal(set(admin, FeatureId.WriteProtection, Protected, 1).status, Status.InternalError);
  t.equal(get(admin, FeatureId.WriteProtection, 0, 1).dw0, None);
  t.equal(io.response(io.command(rw(IoOpcode.Write, 0, 1, inCapsule(512)), bytes(1))).status, 0);
  t.equal(set(admin, FeatureId.WriteProtection, Protected, 1).status, 0);
  world.env.store.failNext = { code: 'ENOSPC', message: 'full' };
  t.equal(set(admin, FeatureId.WriteProtection, None, 1).status, Status.InternalError);
  t.equal(get(admin, FeatureId.WriteProtection, 0, 1).dw0, Protected, 'nor is it given up');

  const file = new FaultyFile(2 ** 20);
  const faulty = new TargetWorld({}, { file: () => file });
  const { admin: second } = faulty.up();
  file.fail('sync', 'EIO');
  const cid = sendSet(second, FeatureId.WriteProtection, Protected, 1);
  file.run();
  faulty.settle();
  t.equal(second.response(cid).status, Status.WriteFault);
  t.equal(get(second, FeatureId.WriteProtection, 0, 1).dw0, None);
  t.end();
});

t.test('the error log tells the command, its blocks and the field that was wrong', (t) => {
  const world = new TargetWorld();
  const { io, admin } = world.up();
  const entry = (): ReturnType<typeof ErrorLogEntry.decode> =>
    ErrorLogEntry.decode(log(admin, LogId.Error, 64));
  const read = io.command(rw(IoOpcode.Read, 5000, 1));
  t.match(entry(), {
    ec: 1n,
    sqid: 1,
    cid: read,
    stsfld: (Status.LbaOutOfRange | DNR) << 1,
    pel: { byte: 40, bit: 0 },
    lba: 5000n,
    nsid: 1,
    trtype: 3,
    csi: 0,
    opc: IoOpcode.Read,
    lpver: 1,
  });
  const where = (sqe: Uint8Array, queue = io): { byte: number; bit: number } => {
    queue.command(sqe);
    return entry().pel;
  };
  t.strictSame(where(Flush.bytes({ opc: IoOpcode.Flush, nsid: 9 })), { byte: 4, bit: 0 });
  t.strictSame(where(Sqe.bytes({ opc: 0x99, nsid: 1 })), { byte: 0, bit: 0 });
  t.strictSame(where(rw(IoOpcode.Read, 0, 1, inCapsule(512))), { byte: 39, bit: 0 });
  t.strictSame(where(rw(IoOpcode.Read, 0, 1, inTransport(1))), { byte: 32, bit: 0 });
  const fused = rw(IoOpcode.Read, 0, 1);
  fused[1] = 1;
  t.strictSame(where(fused), { byte: 1, bit: 0 });
  t.strictSame(where(SetFeatures.bytes({ opc: 9, fid: 0x77 }), admin), { byte: 40, bit: 0 });
  t.strictSame(where(SetFeatures.bytes({ opc: 9, fid: 2, cdw11: 31 }), admin), { byte: 44, bit: 0 });
  io.command(rw(IoOpcode.Compare, 3, 1, inCapsule(512)), bytes(1));
  t.match(entry(), { stsfld: (Status.CompareFailure | DNR) << 1, lba: 3n, pel: { byte: 255, bit: 7 } });
  const { ec } = entry();
  t.equal(SmartLog.decode(log(admin, LogId.Smart, 512)).neile, BigInt(ec), 'SMART counts the same');
  t.end();
});

t.test('SMART: true counters', (t) => {
  const world = new TargetWorld();
  const { io, admin } = world.up();
  const smart = (): ReturnType<typeof SmartLog.decode> => SmartLog.decode(log(admin, LogId.Smart, 512));
  for (let i = 0; i < 3; i++) io.command(rw(IoOpcode.Write, i, 1, inCapsule(512)), bytes(1));
  io.command(rw(IoOpcode.Read, 0, 1001));
  t.match(smart(), { dur: 2n, duw: 1n, hrc: 1n, hwc: 3n, cbt: 0n, poh: 0n, pwrc: 1n, upl: 0n, mdie: 0n });

  const file = new FaultyFile(2 ** 20);
  const slow = new TargetWorld({}, { file: () => file });
  const host = slow.host('A', { kato: 0 });
  const cid = host.send(IoOpcode.Read, 1);
  slow.env.clock.advance(3 * 3_600_000 + 120_000);
  file.step();
  slow.settle();
  t.equal(host.queue.response(cid).status, 0);
  slow.env.clock.advance(3_600_000);
  const after = SmartLog.decode(viewOf(host.log(LogId.Smart, 512)));
  t.match(after, { poh: 4n, cbt: 182n }, 'busy while a command was under way');
  t.end();
});

t.test('the effects logs say what the tables do', (t) => {
  const { admin } = new TargetWorld().up();
  const { acs, iocs } = CommandEffectsLog.decode(log(admin, LogId.CommandEffects, 4096));
  acs.forEach(({ effects }, opcode) => t.equal(effects.csupp === 1, ADMIN.has(opcode), `admin ${opcode}`));
  const writes = [IoOpcode.Write, IoOpcode.WriteZeroes, IoOpcode.DatasetManagement, IoOpcode.Copy];
  iocs.forEach(({ effects }, opcode) => {
    t.equal(effects.csupp === 1, IO.has(opcode), `I/O ${opcode}`);
    t.equal(effects.lbcc === 1, (writes as number[]).includes(opcode), 'it changes blocks');
    t.equal(effects.csp, IO.has(opcode) ? 1 : 0, 'its scope is the namespace');
  });
  t.match(acs[AdminOpcode.NamespaceAttachment]?.effects, { nic: 1, csp: 32 });
  const { fis } = FeatureEffectsLog.decode(log(admin, LogId.FeatureEffects, 1024));
  fis.forEach(({ effects }, fid) => t.equal(effects.fsupp === 1, FEATURES.has(fid), `FID ${fid}`));
  t.match(fis[FeatureId.WriteProtection]?.effects, { ncc: 1, fsp: 1 });
  t.end();
});

t.test('Abort of a write whose data is on its way ends it when that is here', (t) => {
  const world = new TargetWorld({ maxH2cData: 4096 });
  const { io, admin } = world.up();
  const abort = (abortCid: number): number =>
    admin.response(admin.command(Abort.bytes({ opc: AdminOpcode.Abort, sqid: 1, abortCid }))).dw0;
  const cid = io.command(rw(IoOpcode.Write, 0, 16));
  t.equal(abort(cid), 1, 'not at once');
  t.equal(io.completion(cid), undefined);
  io.h2c(cid, io.r2ts(cid)[0]!.ttag, 0, new Uint8Array(4096).fill(7));
  t.equal(io.response(cid).status, Status.AbortRequested, 'no more data is asked for');
  t.equal(io.r2ts(cid).length, 1);
  t.equal(io.data(io.command(rw(IoOpcode.Read, 0, 1)))[0], 0);
  t.equal(abort(999), 1, 'a command that is not there');
  t.equal(world.target.writeBudget.used, 0);
  world.settle();
  t.end();
});

t.test('discovery controllers have their own features', (t) => {
  const world = new TargetWorld();
  const admin = world.open();
  admin.up(DISCOVERY_NQN);
  for (const [fid, { discovery }] of FEATURES)
    t.equal(get(admin, fid, 3).status, discovery ? 0 : Status.InvalidField | DNR, `FID ${fid.toString(16)}h`);
  t.end();
});
