import t from 'tap';
import { FaultyFile } from '../doubles/faulty-file.ts';
import { NQN, TargetWorld, UUID } from '../doubles/target-world.ts';
import { inCapsule, inTransport, rw, type WireHost } from '../doubles/wire-host.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { Event, eventOf } from '../../src/nvme/event.ts';
import { FeatureId } from '../../src/nvme/features.ts';
import { Cns } from '../../src/nvme/identify.ts';
import { IdController } from '../../src/nvme/identify-controller.ts';
import { IdNamespace, IndependentIdNamespace } from '../../src/nvme/identify-namespace.ts';
import { encodeControllerList } from '../../src/nvme/identify-lists.ts';
import { LogId, ReservationLog, ReservationLogType } from '../../src/nvme/logs.ts';
import { AdminOpcode, IoOpcode } from '../../src/nvme/opcode.ts';
import {
  AcquireAction,
  AcquireData,
  RegisterAction,
  RegisterData,
  ReleaseAction,
  ReleaseData,
  ReservationAcquire,
  ReservationRegister,
  ReservationRelease,
  ReservationReport,
  ReservationType as Type,
  decodeReservationReport,
} from '../../src/nvme/reservation.ts';
import {
  Abort,
  Copy,
  CopyRange,
  DatasetManagement,
  Flush,
  GetFeatures,
  GetLogPage,
  Identify,
  NamespaceAttachment,
  SetFeatures,
  Sqe,
  WriteZeroes,
} from '../../src/nvme/sqe.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { factsDocument } from '../../src/target/facts.ts';
import { RESERVATION_LOG_PAGES } from '../../src/target/reservation-log.ts';

const CONFLICT = Status.ReservationConflict | DNR;
const INVALID = Status.InvalidField | DNR;
const ABORTED = Status.AbortedPreempt;

/** One host, with as many controllers as it is given, and what it says on the first of them. */
class Party {
  readonly world: TargetWorld;
  readonly host: { hostnqn: string; hostid: string };
  readonly key: bigint;
  readonly admin: WireHost;
  readonly io: WireHost;
  readonly cntlid: number;

  constructor(world: TargetWorld, digit: string, key: bigint) {
    this.world = world;
    this.key = key;
    const hostid = `${digit.repeat(8)}-1111-2222-3333-444444444444`;
    this.host = { hostid, hostnqn: `nqn.2014-08.org.nvmexpress:uuid:${hostid}` };
    ({ admin: this.admin, io: this.io, cntlid: this.cntlid } = world.up({ who: this.host }));
  }

  status(cid: number): number {
    return this.io.response(cid).status;
  }

  register(rrega: number, { nrkey = this.key, crkey = this.key, iekey = 0, cptpl = 0 } = {}): number {
    const cdw10 = { rrega, iekey, disnsrs: 0, cptpl };
    const sqe = { opc: IoOpcode.ReservationRegister, nsid: 1, dptr: inCapsule(16), cdw10 };
    return this.io.command(ReservationRegister.bytes(sqe), RegisterData.bytes({ crkey, nrkey }));
  }

  acquire(racqa: number, rtype: number, { crkey = this.key, prkey = 0n, iekey = 0 } = {}): number {
    const cdw10 = { racqa, iekey, disnsrs: 0, rtype };
    const sqe = { opc: IoOpcode.ReservationAcquire, nsid: 1, dptr: inCapsule(16), cdw10 };
    return this.io.command(ReservationAcquire.bytes(sqe), AcquireData.bytes({ crkey, prkey }));
  }

  release(rrela: number, rtype: number, { crkey = this.key, iekey = 0, length = 8 } = {}): number {
    const cdw10 = { rrela, iekey, disnsrs: 0, rtype };
    const sqe = { opc: IoOpcode.ReservationRelease, nsid: 1, dptr: inCapsule(length), cdw10 };
    const data = new Uint8Array(length);
    data.set(ReleaseData.bytes({ crkey }).subarray(0, length));
    return this.io.command(ReservationRelease.bytes(sqe), data);
  }

  reportCommand(dwords = 1024, eds = 1): number {
    const sqe = {
      opc: IoOpcode.ReservationReport,
      nsid: 1,
      numd: dwords,
      cdw11: { eds, disnsrs: 0 },
      dptr: inTransport(dwords * 4),
    };
    return this.io.command(ReservationReport.bytes(sqe));
  }

  report(): ReturnType<typeof decodeReservationReport> {
    return decodeReservationReport(this.io.data(this.reportCommand()));
  }

  read(): number {
    return this.io.command(rw(IoOpcode.Read, 0, 1));
  }

  write(slba = 0): number {
    return this.io.command(rw(IoOpcode.Write, slba, 1, inCapsule(512)), new Uint8Array(512));
  }

  /** A write whose data the host is asked for. */
  longWrite(slba = 0): number {
    return this.io.command(rw(IoOpcode.Write, slba, 64));
  }

  aer(): number {
    return this.admin.command(Sqe.bytes({ opc: AdminOpcode.AsyncEventRequest }));
  }

  /** Reads the oldest page of the notification log. */
  notification(rae = 0): { lpc: number; type: number; nalp: number; nsid: number } {
    const sqe = GetLogPage.bytes({
      opc: AdminOpcode.GetLogPage,
      lid: LogId.Reservation,
      numdl: 15,
      cdw10: { lsp: 0, rae },
      dptr: inTransport(64),
    });
    const page = ReservationLog.decode(viewOf(this.admin.data(this.admin.command(sqe))));
    return { lpc: Number(page.lpc), type: page.rnlpt, nalp: page.nalp, nsid: page.nsid };
  }

  setFeature(fid: number, cdw11: number, nsid = 1): number {
    const cid = this.admin.command(SetFeatures.bytes({ opc: AdminOpcode.SetFeatures, nsid, fid, cdw11 }));
    this.world.settle();
    return this.admin.response(cid).status;
  }

  getFeature(fid: number, nsid = 1): { status: number; dw0: number } {
    return this.admin.response(
      this.admin.command(GetFeatures.bytes({ opc: AdminOpcode.GetFeatures, nsid, fid })),
    );
  }
}

const two = (options: ConstructorParameters<typeof TargetWorld>[1] = {}): [TargetWorld, Party, Party] => {
  const world = new TargetWorld({}, options);
  const parties = [new Party(world, 'a', 1n), new Party(world, 'b', 2n)] as const;
  for (const each of parties) each.register(RegisterAction.Register);
  return [world, ...parties];
};

/** Saves that end when the test says so. */
function holdSaves(world: TargetWorld): (() => void)[] {
  const held: (() => void)[] = [];
  const { store } = world.env;
  const write = store.write.bind(store);
  store.write = (name, text, done) => held.push(() => write(name, text, done));
  return held;
}
const letGo = (world: TargetWorld, held: (() => void)[]): void => {
  held.shift()?.();
  world.settle();
};

t.test('Identify says what is supported: ONCS, and all of RESCAP', (t) => {
  const [world, a] = two();
  const identify = (cns: number, nsid: number): DataView => {
    const sqe = { opc: AdminOpcode.Identify, cns, nsid, dptr: inTransport(4096) };
    return viewOf(a.admin.data(a.admin.command(Identify.bytes(sqe))));
  };
  t.equal(IdController.oncs.reservations.get(identify(Cns.Controller, 0), 0), 1);
  t.equal(identify(Cns.Namespace, 1).getUint8(IdNamespace.rescap.offset), 0xff);
  t.equal(identify(Cns.CsIndependentNamespace, 1).getUint8(IndependentIdNamespace.rescap.offset), 0xff);
  world.settle();
  t.end();
});

t.test('the walk of blktests nvme/054', (t) => {
  const world = new TargetWorld();
  const a = new Party(world, 'a', 0x4d3n);
  t.match(a.report(), { generation: 0, rtype: 0, total: 0, ptpl: false });
  t.equal(a.status(a.register(RegisterAction.Register)), 0);
  t.match(a.report(), {
    generation: 1,
    registrants: [{ cntlid: a.cntlid, holder: false, rkey: 0x4d3n, hostid: a.host.hostid }],
  });
  t.equal(a.status(a.register(RegisterAction.Replace, { nrkey: 0x4d4n })), 0);
  t.equal(a.status(a.register(RegisterAction.Unregister, { crkey: 0x4d4n })), 0);
  t.match(a.report(), { generation: 3, total: 0 });
  t.equal(a.status(a.register(RegisterAction.Register)), 0);
  t.equal(a.status(a.acquire(AcquireAction.Acquire, Type.WriteExclusive)), 0);
  t.match(a.report(), { generation: 4, rtype: 1, registrants: [{ holder: true }] });
  t.equal(a.status(a.acquire(AcquireAction.Preempt, Type.ExclusiveAccess, { prkey: 0x4d3n })), 0);
  t.match(a.report(), { generation: 5, rtype: 2 });
  t.equal(a.status(a.release(ReleaseAction.Release, Type.ExclusiveAccess)), 0);
  t.match(a.report(), { generation: 5, rtype: 0, total: 1 });
  world.settle();
  t.end();
});

t.test('what a reservation command must not say is Invalid Field in Command', (t) => {
  const [world, a] = two();
  const cases: Record<string, number> = {
    'RREGA 3': a.register(3),
    'CPTPL 1': a.register(RegisterAction.Register, { cptpl: 1 }),
    'RACQA 3': a.acquire(3, 1),
    'IEKEY of Acquire': a.acquire(AcquireAction.Acquire, 1, { iekey: 1 }),
    'RTYPE 0': a.acquire(AcquireAction.Acquire, 0),
    'RTYPE 7': a.acquire(AcquireAction.Acquire, 7),
    'RRELA 2': a.release(2, 1),
    'IEKEY of Release': a.release(ReleaseAction.Release, 1, { iekey: 1 }),
    'a report beyond MDTS': a.reportCommand(2 ** 20),
  };
  for (const [what, cid] of Object.entries(cases)) t.equal(a.status(cid), INVALID, what);
  t.equal(a.status(a.release(ReleaseAction.Release, 1, { length: 4 })), Status.DataSglLengthInvalid | DNR);
  t.equal(a.status(a.release(ReleaseAction.Release, 1, { length: 8 })), 0, 'Release has 8 bytes of data');
  t.equal(a.status(a.release(ReleaseAction.Release, 1, { length: 16 })), 0, 'more is not looked at');
  t.equal(a.status(a.reportCommand(1024, 0)), Status.HostIdInconsistent | DNR, '64-bit Host Identifiers');
  const sqe = { opc: IoOpcode.ReservationReport, nsid: 9, numd: 16, cdw11: { eds: 1, disnsrs: 0 } };
  t.equal(a.status(a.io.command(ReservationReport.bytes(sqe))), Status.InvalidNamespace | DNR);
  t.match(a.report(), { generation: 2 }, 'none of it changed anything');
  world.settle();
  t.end();
});

t.test('the report is cut to NUMD, and tells how many there are', (t) => {
  const [world, a] = two();
  const bytes = a.io.data(a.reportCommand(32));
  t.equal(bytes.length, 128);
  t.match(decodeReservationReport(bytes), { total: 2, registrants: [{ rkey: 1n }] });
  t.equal(a.io.data(a.reportCommand(1)).length, 4);
  world.settle();
  t.end();
});

t.test('a host is one registrant, with however many controllers; FFFFh while it has none', (t) => {
  const [world, a, b] = two();
  const again = new Party(world, 'a', 1n);
  t.equal(again.status(again.register(RegisterAction.Register)), 0, 'its key again');
  t.equal(again.status(again.acquire(AcquireAction.Acquire, Type.ExclusiveAccess)), 0);
  t.equal(a.status(a.write()), 0, 'the reservation is the host’s, not the controller’s');
  t.equal(b.status(b.write()), CONFLICT);
  t.match(b.report(), { total: 2, registrants: [{ cntlid: a.cntlid }, { cntlid: b.cntlid }] });
  a.admin.transport.reset();
  world.settle();
  t.match(b.report(), { registrants: [{ cntlid: again.cntlid, holder: true }, {}] });
  again.admin.transport.reset();
  world.settle();
  t.match(b.report(), { registrants: [{ cntlid: undefined, holder: true }, {}] }, 'LIFE.7 it stays');
  t.equal(b.status(b.read()), CONFLICT);
  const back = new Party(world, 'a', 1n);
  t.equal(back.status(back.write()), 0);
  world.settle();
  t.end();
});

// Base 2.1, figure 646; NVM Command Set 1.1, figure 136.
const READS: Record<string, (from: Party) => number> = {
  Read: (from) => from.read(),
  Compare: (from) => from.io.command(rw(IoOpcode.Compare, 0, 1, inCapsule(512)), new Uint8Array(512)),
  Verify: (from) => from.io.command(rw(IoOpcode.Verify, 0, 1)),
};
const WRITES: Record<string, (from: Party) => number> = {
  Write: (from) => from.write(),
  'Write, data to come': (from) => from.longWrite(),
  'Write Zeroes': (from) =>
    from.io.command(WriteZeroes.bytes({ opc: IoOpcode.WriteZeroes, nsid: 1, nlb: 1 })),
  Flush: (from) => from.io.command(Flush.bytes({ opc: IoOpcode.Flush, nsid: 1 })),
  'Dataset Management, deallocate': (from) => dataset(from, 1),
  'Dataset Management, hints': (from) => dataset(from, 0),
};
const dataset = (from: Party, ad: number): number =>
  from.io.command(
    DatasetManagement.bytes({
      opc: IoOpcode.DatasetManagement,
      nsid: 1,
      nr: 1,
      cdw11: { idr: 0, idw: 0, ad },
      dptr: inCapsule(16),
    }),
    new Uint8Array(16),
  );
WRITES['Copy'] = (from) =>
  from.io.command(
    Copy.bytes({ opc: IoOpcode.Copy, nsid: 1, sdlba: 64, nr: 1, dptr: inCapsule(32) }),
    CopyRange.bytes({ slba: 0, nlb: 1 }),
  );
WRITES['Namespace Attachment (Admin)'] = (from) => {
  const list = encodeControllerList([]);
  const cid = from.admin.command(
    NamespaceAttachment.bytes({
      opc: AdminOpcode.NamespaceAttachment,
      nsid: 1,
      dptr: inCapsule(list.length),
    }),
    list,
  );
  return -cid;
};
/** For the holder, another registrant, and somebody else: the groups that are in conflict. */
const MATRIX: readonly (readonly [number, string, string, string])[] = [
  [Type.WriteExclusive, '', 'W', 'W'],
  [Type.ExclusiveAccess, '', 'RW', 'RW'],
  [Type.WriteExclusiveRegistrantsOnly, '', '', 'W'],
  [Type.ExclusiveAccessRegistrantsOnly, '', '', 'RW'],
  [Type.WriteExclusiveAllRegistrants, '', '', 'W'],
  [Type.ExclusiveAccessAllRegistrants, '', '', 'RW'],
];
for (const [rtype, ...conflicts] of MATRIX)
  t.test(`commands in the presence of a reservation of type ${rtype}`, (t) => {
    const [world, a, b] = two();
    const c = new Party(world, 'c', 3n);
    t.equal(a.status(a.acquire(AcquireAction.Acquire, rtype)), 0);
    [a, b, c].forEach((from, i) => {
      for (const [group, commands] of [
        ['R', READS],
        ['W', WRITES],
      ] as const)
        for (const [name, send] of Object.entries(commands)) {
          const cid = send(from);
          world.settle();
          // Below zero: on the Admin queue.
          const on = cid < 0 ? from.admin : from.io;
          const id = Math.abs(cid);
          const status = on.completion(id)?.status ?? (on.r2ts(id).length > 0 ? 0 : -1);
          const refused = status === CONFLICT;
          t.equal(refused, conflicts[i]!.includes(group), `${name} by host ${i}: ${status.toString(16)}`);
          if (!refused && status !== 0) t.not(status, -1);
        }
      t.equal(from.report().rtype, rtype, 'Report is for everybody');
      t.equal(from.getFeature(FeatureId.ReservationPersistence).status, 0, 'as are all other commands');
    });
    t.equal(c.status(c.release(ReleaseAction.Release, rtype)), CONFLICT, 'Release is for registrants');
    t.equal(c.status(c.release(ReleaseAction.Clear, 0)), CONFLICT);
    t.equal(c.status(c.acquire(AcquireAction.Acquire, rtype)), CONFLICT, 'as is Acquire');
    t.equal(c.status(c.acquire(AcquireAction.Preempt, rtype, { prkey: 1n })), CONFLICT);
    t.equal(c.status(c.register(RegisterAction.Register)), 0, 'Register is for everybody');
    world.settle();
    t.end();
  });

t.test('a write that was let in and then lost its right is refused when its data has come', (t) => {
  const [world, a, b] = two();
  const cid = b.longWrite();
  const [r2t] = b.io.r2ts(cid);
  t.equal(a.status(a.acquire(AcquireAction.Acquire, Type.WriteExclusive)), 0);
  b.io.h2c(cid, r2t!.ttag, 0, new Uint8Array(64 * 512).fill(7));
  t.equal(b.status(cid), CONFLICT);
  t.same(a.io.data(a.read()), new Uint8Array(512));
  world.settle();
  t.end();
});

// ---- notifications

t.test('notifications go to every controller of a host: an event, and a page in its log', (t) => {
  const [world, a, b] = two();
  const second = new Party(world, 'b', 2n);
  t.equal(a.status(a.acquire(AcquireAction.Acquire, Type.WriteExclusiveRegistrantsOnly)), 0);
  const events = [b.aer(), second.aer(), a.aer()];
  t.equal(a.status(a.release(ReleaseAction.Release, Type.WriteExclusiveRegistrantsOnly)), 0);
  [b, second].forEach((from, i) => {
    t.same(eventOf(from.admin.response(events[i]!).dw0), Event.ReservationLogAvailable);
    const page = { lpc: 1, type: ReservationLogType.ReservationReleased, nalp: 0, nsid: 1 };
    t.same(from.notification(), page);
    t.same(from.notification(), { lpc: 0, type: 0, nalp: 0, nsid: 0 }, 'each is read once');
  });
  t.equal(a.admin.completion(events[2]!), undefined, 'who did it is not told');
  world.settle();
  t.end();
});

t.test('reading a notification takes it out and lets the next event through, whatever RAE says', (t) => {
  const [world, a, b] = two();
  const clear = (): void => {
    a.register(RegisterAction.Register);
    b.register(RegisterAction.Register);
    t.equal(a.status(a.release(ReleaseAction.Clear, 0)), 0);
  };
  const first = b.aer();
  clear();
  t.equal(b.admin.response(first).status, 0);
  const second = b.aer();
  clear();
  t.equal(b.admin.completion(second), undefined, 'masked until the log was read');
  t.match(b.notification(1), { lpc: 1, type: ReservationLogType.ReservationPreempted, nalp: 1 });
  t.match(b.notification(1), { lpc: 2, nalp: 0 });
  clear();
  t.same(eventOf(b.admin.response(second).dw0), Event.ReservationLogAvailable);
  world.settle();
  t.end();
});

t.test('the notification log is bounded; what is lost shows in the count of the last page', (t) => {
  const [world, a, b] = two();
  const more = 3;
  for (let i = 0; i < RESERVATION_LOG_PAGES + more; i++) {
    a.register(RegisterAction.Register);
    b.register(RegisterAction.Register);
    a.release(ReleaseAction.Clear, 0);
  }
  t.match(b.notification(), { lpc: 1, nalp: RESERVATION_LOG_PAGES - 1 });
  for (let i = 2; i < RESERVATION_LOG_PAGES; i++) t.equal(b.notification().lpc, i);
  t.match(b.notification(), { lpc: RESERVATION_LOG_PAGES + more, nalp: 0 });
  t.match(b.notification(), { lpc: 0 });
  a.register(RegisterAction.Register);
  b.register(RegisterAction.Register);
  a.release(ReleaseAction.Clear, 0);
  t.match(b.notification(), { lpc: RESERVATION_LOG_PAGES + more + 1 }, 'the count goes on');
  world.settle();
  t.end();
});

t.test(
  'Reservation Notification Mask: per type, namespace and controller; it survives a controller reset',
  (t) => {
    const [world, a, b] = two();
    const { ReservationMask } = FeatureId;
    t.equal(b.getFeature(ReservationMask).dw0, 0);
    t.equal(b.setFeature(ReservationMask, 0b1000), 0);
    t.equal(b.getFeature(ReservationMask).dw0, 0b1000);
    t.equal(a.getFeature(ReservationMask).dw0, 0);
    t.equal(a.status(a.release(ReleaseAction.Clear, 0)), 0);
    t.match(b.notification(), { lpc: 0 }, 'Reservation Preempted is masked');
    a.register(RegisterAction.Register);
    b.register(RegisterAction.Register);
    t.equal(a.status(a.acquire(AcquireAction.Preempt, 1, { prkey: 2n })), 0);
    t.match(b.notification(), { lpc: 1, type: ReservationLogType.RegistrationPreempted }, 'this one is not');
    t.equal(b.setFeature(ReservationMask, 0b1110, 0xffffffff), 0, 'of every namespace');
    t.equal(b.getFeature(ReservationMask).dw0, 0b1110);
    t.equal(b.setFeature(ReservationMask, 1), INVALID, 'reserved bits');
    t.equal(b.setFeature(ReservationMask, 2, 7), Status.InvalidNamespace | DNR);
    t.equal(b.getFeature(ReservationMask, 0xffffffff).status, Status.InvalidNamespace | DNR);
    b.admin.set(0x14, 0x460000);
    b.admin.set(0x14, 0x460001);
    t.equal(b.getFeature(ReservationMask).dw0, 0b1110);
    world.settle();
    t.end();
  },
);

// ---- Preempt and Abort

const heldWorld = (): [TargetWorld, Party, Party, FaultyFile] => {
  const file = new FaultyFile(2 ** 20);
  const [world, a, b] = two({ file: () => file });
  return [world, a, b, file];
};

t.test('Preempt and Abort is answered when nothing of the preempted host executes any more', (t) => {
  const [world, a, b, file] = heldWorld();
  b.acquire(AcquireAction.Acquire, Type.WriteExclusive);
  const running = b.write(0);
  const waiting = b.write(0);
  const reading = b.io.command(rw(IoOpcode.Read, 8, 1));
  const mine = a.read();
  const preempt = a.acquire(AcquireAction.PreemptAndAbort, Type.ExclusiveAccess, { prkey: 2n });
  world.settle();
  t.equal(b.status(waiting), ABORTED, 'what storage had not begun is aborted');
  t.equal(a.io.completion(preempt), undefined, 'what it has begun is waited for');
  t.equal(b.status(b.write()), CONFLICT, 'nothing new starts meanwhile');
  file.run();
  world.settle();
  t.equal(b.status(running), 0, 'it was too late to abort it');
  t.ok([0, ABORTED].includes(b.status(reading)));
  t.equal(a.status(preempt), 0);
  t.equal(a.status(mine), 0, 'our own commands are not touched');
  t.match(a.report(), { rtype: Type.ExclusiveAccess, registrants: [{ rkey: 1n, holder: true }] });
  world.settle();
  t.end();
});

t.test('Preempt and Abort does not wait for a host: a write without its data ends when that comes', (t) => {
  const [world, a, b] = two();
  const cid = b.longWrite();
  const [r2t] = b.io.r2ts(cid);
  // Registrations alone: no reservation would stop the write.
  t.equal(a.status(a.acquire(AcquireAction.PreemptAndAbort, 1, { prkey: 2n })), 0);
  t.equal(b.io.completion(cid), undefined);
  b.io.h2c(cid, r2t!.ttag, 0, new Uint8Array(64 * 512).fill(7));
  t.equal(b.status(cid), ABORTED);
  t.same(a.io.data(a.read()), new Uint8Array(512), 'it was not written');
  t.equal(b.status(b.write()), 0, 'a new one may be');
  world.settle();
  t.end();
});

t.test('GHOST.1 Preempt and Abort waits for commands of connections that are lost', (t) => {
  const [world, a, b, file] = heldWorld();
  b.acquire(AcquireAction.Acquire, Type.WriteExclusive);
  b.write(0);
  b.admin.transport.reset();
  b.io.transport.reset();
  world.settle();
  t.equal(world.subsystem.controllers.has(b.cntlid), false, 'the controller is gone');
  const preempt = a.acquire(AcquireAction.PreemptAndAbort, Type.WriteExclusive, { prkey: 2n });
  world.settle();
  t.equal(a.io.completion(preempt), undefined);
  file.run();
  world.settle();
  t.equal(a.status(preempt), 0);
  world.settle();
  t.end();
});

t.test('plain Preempt waits for nothing', (t) => {
  const [world, a, b, file] = heldWorld();
  const running = b.write(0);
  t.equal(a.status(a.acquire(AcquireAction.Preempt, 1, { prkey: 2n })), 0);
  file.run();
  world.settle();
  t.equal(b.status(running), 0);
  t.end();
});

t.test('commands that come while a preempt waits stand in line, in the order of arrival', (t) => {
  const [world, a, b, file] = heldWorld();
  b.write(0);
  const preempt = a.acquire(AcquireAction.PreemptAndAbort, 1, { prkey: 2n });
  const register = b.register(RegisterAction.Register);
  const acquire = b.acquire(AcquireAction.Acquire, 2);
  world.settle();
  t.equal(world.namespace.reservations.stage, 'aborting');
  t.same(
    [a.io.completion(preempt), b.io.completion(register), b.io.completion(acquire)],
    [undefined, undefined, undefined],
  );
  file.run();
  world.settle();
  t.same([a.status(preempt), b.status(register), b.status(acquire)], [0, 0, 0]);
  t.match(a.report(), { generation: 4, rtype: 2 });
  world.settle();
  t.end();
});

// ---- persistence

t.test('with PTPL a command is answered, and true, only when it is on stable storage', (t) => {
  const world = new TargetWorld();
  const a = new Party(world, 'a', 1n);
  const b = new Party(world, 'b', 2n);
  const held = holdSaves(world);
  const register = a.register(RegisterAction.Register, { cptpl: 3 });
  t.equal(a.io.completion(register), undefined);
  t.match(b.report(), { total: 0, ptpl: false });
  letGo(world, held);
  t.equal(a.status(register), 0);
  t.match(b.report(), { total: 1, ptpl: true });
  const acquire = a.acquire(AcquireAction.Acquire, Type.WriteExclusive);
  t.equal(b.status(b.write()), 0, 'not yet');
  letGo(world, held);
  t.equal(a.status(acquire), 0);
  t.equal(b.status(b.write()), CONFLICT);
  world.settle();
  t.end();
});

/** The same namespace in a target that was started again. */
function restarted(world: TargetWorld): TargetWorld {
  const next = new TargetWorld();
  next.target.removeNamespace(next.namespace, () => undefined);
  next.settle();
  const text = world.env.store.documents.get(factsDocument(UUID));
  if (text !== undefined) next.env.store.documents.set(factsDocument(UUID), text);
  next.target.facts.load(UUID, (error, facts) => {
    if (error !== undefined) throw new Error(error.message);
    const file = next.env.files.memory(2 ** 20);
    next.target.addNamespace(next.subsystem, file, {
      nsid: 1,
      uuid: UUID,
      blockSize: 512,
      readOnly: false,
      facts,
    });
  });
  next.settle();
  return next;
}

t.test('with PTPL registrations and the reservation survive a restart; with it off they do not', (t) => {
  const [world, a, b] = two();
  t.equal(a.setFeature(FeatureId.ReservationPersistence, 1), 0);
  t.equal(b.getFeature(FeatureId.ReservationPersistence).dw0, 1);
  a.acquire(AcquireAction.Acquire, Type.ExclusiveAccess);
  world.settle();
  const next = restarted(world);
  const c = new Party(next, 'b', 2n);
  t.same(c.report(), {
    generation: 2,
    rtype: Type.ExclusiveAccess,
    ptpl: true,
    total: 2,
    registrants: [
      { cntlid: undefined, holder: true, hostid: a.host.hostid, rkey: 1n },
      { cntlid: c.cntlid, holder: false, hostid: b.host.hostid, rkey: 2n },
    ],
  });
  t.equal(c.status(c.read()), CONFLICT);
  const off = c.register(RegisterAction.Register, { cptpl: 2 });
  next.settle();
  t.equal(c.status(off), 0);
  t.match(c.report(), { ptpl: false, total: 2, rtype: Type.ExclusiveAccess }, 'until the next restart');
  const last = new Party(restarted(next), 'b', 2n);
  t.match(last.report(), { ptpl: false, total: 0, rtype: 0, generation: 0 });
  t.equal(last.status(last.write()), 0);
  t.end();
});

t.test('what cannot be kept does not happen', (t) => {
  const [world, a, b] = two();
  a.setFeature(FeatureId.ReservationPersistence, 1);
  world.env.store.failNext = { code: 'ENOSPC', message: 'full' };
  const acquire = a.acquire(AcquireAction.Acquire, Type.WriteExclusive);
  world.settle();
  t.equal(a.status(acquire), Status.InternalError | DNR);
  t.match(b.report(), { rtype: 0 });
  t.equal(b.status(b.write()), 0);
  const again = a.acquire(AcquireAction.Acquire, Type.WriteExclusive);
  world.settle();
  t.equal(a.status(again), 0);
  t.end();
});

t.test('a connection lost while its command is kept: it happens once, and nothing is left behind', (t) => {
  const [world, a, b] = two();
  a.setFeature(FeatureId.ReservationPersistence, 1);
  const held = holdSaves(world);
  b.register(RegisterAction.Replace, { nrkey: 5n });
  const mine = a.acquire(AcquireAction.Acquire, Type.WriteExclusive);
  b.register(RegisterAction.Replace, { crkey: 5n, nrkey: 6n });
  b.io.transport.reset();
  b.admin.transport.reset();
  world.settle();
  t.equal(world.namespace.reservations.stage, 'saving');
  t.equal([...world.target.ports.connections()].length, 4, 'its connections stay until it is over (GHOST.1)');
  letGo(world, held);
  t.equal([...world.target.ports.connections()].length, 2);
  letGo(world, held);
  t.equal(a.status(mine), 0, 'the next in line goes on');
  t.same([held.length, world.namespace.reservations.stage], [0, 'idle'], 'what had not started was dropped');
  t.match(a.report(), {
    generation: 3,
    registrants: [{ rkey: 1n }, { rkey: 5n, cntlid: undefined }],
  });
  world.settle();
  t.end();
});

t.test('Abort takes a reservation command that has not started out of the line', (t) => {
  const [world, a, b] = two();
  a.setFeature(FeatureId.ReservationPersistence, 1);
  const held = holdSaves(world);
  const first = a.acquire(AcquireAction.Acquire, 1);
  const second = b.register(RegisterAction.Replace, { nrkey: 5n });
  const abort = (from: Party, cid: number): number =>
    from.admin.response(from.admin.command(Abort.bytes({ opc: AdminOpcode.Abort, sqid: 1, abortCid: cid })))
      .dw0;
  t.equal(abort(a, first), 1, 'not one that is being kept');
  t.equal(abort(b, second), 0);
  t.equal(b.status(second), Status.AbortRequested);
  letGo(world, held);
  t.equal(a.status(first), 0);
  t.equal(held.length, 0);
  world.settle();
  t.end();
});

t.test('the line is bounded', (t) => {
  const world = new TargetWorld({ reservationCommands: 2 });
  const a = new Party(world, 'a', 1n);
  const held = holdSaves(world);
  const cids = Array.from({ length: 4 }, () => a.register(RegisterAction.Register, { cptpl: 3 }));
  t.equal(a.status(cids[3]!), Status.CommandInterrupted, 'may be sent again');
  while (held.length > 0) letGo(world, held);
  for (const cid of cids.slice(0, 3)) t.equal(a.status(cid), 0);
  world.settle();
  t.end();
});

t.test(
  'commands in line when the namespace goes get Invalid Namespace; nothing is kept of it any more',
  (t) => {
    const [world, a, b] = two();
    a.setFeature(FeatureId.ReservationPersistence, 1);
    const held = holdSaves(world);
    const first = a.acquire(AcquireAction.Acquire, 1);
    const second = b.register(RegisterAction.Replace, { nrkey: 5n });
    world.target.removeNamespace(world.namespace, () => undefined);
    letGo(world, held);
    t.equal(a.status(first), 0);
    t.equal(b.status(second), Status.InvalidNamespace | DNR);
    t.equal(held.length, 0);
    t.end();
  },
);

t.test('a namespace whose reservation cannot be read is not made', (t) => {
  const world = new TargetWorld();
  const file = world.env.files.memory(2 ** 20);
  const options = { nsid: 2, uuid: UUID.replace('6', '7'), blockSize: 512, readOnly: false };
  t.throws(
    () =>
      world.target.addNamespace(world.subsystem, file, { ...options, facts: { reservation: { rtype: 1 } } }),
    RangeError,
  );
  t.equal(world.subsystem.namespaces.has(2), false);
  t.end();
});

t.test('a disabled namespace refuses reservation commands and keeps its reservation', (t) => {
  const [world, a, b] = two();
  a.acquire(AcquireAction.Acquire, Type.WriteExclusive);
  world.namespace.disable(() => undefined);
  world.settle();
  t.equal(a.status(a.reportCommand()), Status.InternalPathError);
  t.equal(a.status(a.release(ReleaseAction.Release, 1)), Status.InternalPathError);
  world.target.enableNamespace(world.namespace, world.env.files.memory(2 ** 20), false);
  t.equal(b.status(b.write()), CONFLICT);
  t.equal(NQN, world.subsystem.nqn);
  world.settle();
  t.end();
});
