import t from 'tap';
import { FaultyFile } from '../doubles/faulty-file.ts';
import { NQN, TargetWorld, UUID } from '../doubles/target-world.ts';
import { HOSTNQN, inCapsule, inTransport, rw, type WireHost } from '../doubles/wire-host.ts';
import { AdminOpcode, FABRICS_OPCODE, FabricsType, IoOpcode } from '../../src/nvme/opcode.ts';
import { ConnectData, Disconnect, PropertyGet } from '../../src/nvme/fabrics.ts';
import { Property } from '../../src/nvme/property.ts';
import { Status, DNR } from '../../src/nvme/status.ts';
import {
  Abort,
  DatasetManagement,
  DsmRange,
  Flush,
  GetLogPage,
  Identify,
  SetFeatures,
  Sqe,
  WriteZeroes,
} from '../../src/nvme/sqe.ts';
import { DISCOVERY_NQN } from '../../src/nvme/nqn.ts';
import { Cns } from '../../src/nvme/identify.ts';
import { IdController } from '../../src/nvme/identify-controller.ts';
import { IdNamespace } from '../../src/nvme/identify-namespace.ts';
import { decodeNamespaceIds, decodeNsidList } from '../../src/nvme/identify-lists.ts';
import { LogId, SmartLog } from '../../src/nvme/logs.ts';
import { DiscoveryEntry, DiscoveryHeader } from '../../src/nvme/discovery.ts';
import { C2HData, PduType } from '../../src/pdu/pdus.ts';
import { FeatureId } from '../../src/nvme/features.ts';
import { Event, eventOf } from '../../src/nvme/event.ts';
import { viewOf } from '../../src/layout/struct.ts';

const pattern = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 17) & 255);

const log = (admin: WireHost, lid: number, length: number, lpo = 0, rae = 0): Uint8Array => {
  const dwords = length / 4 - 1;
  const sqe = GetLogPage.bytes({
    opc: AdminOpcode.GetLogPage,
    lid,
    numdl: dwords & 0xffff,
    numdu: dwords >>> 16,
    lpo,
    cdw10: { lsp: 0, rae },
    dptr: inTransport(length),
  });
  return admin.data(admin.command(sqe));
};

void t.test('Connect refuses what is wrong, and says where', (t) => {
  const data = (field: { offset: number }): number => 0x10000 | field.offset;
  type Change = Parameters<WireHost['connect']>[1];
  const cases: [string, string, Change, number, number][] = [
    ['RECFMT 1', NQN, { sqe: { recfmt: 1 } }, Status.ConnectIncompatibleFormat, 0],
    ['SQSIZE 0', NQN, { sqe: { sqsize: 0 } }, Status.ConnectInvalidParameters, 44],
    ['SQSIZE above MQES', NQN, { sqe: { sqsize: 1024 } }, Status.ConnectInvalidParameters, 44],
    [
      'an unknown SUBNQN',
      'nqn.2024-01.test:none',
      {},
      Status.ConnectInvalidParameters,
      data(ConnectData.subnqn),
    ],
    [
      'a blank HOSTNQN',
      NQN,
      { data: { hostnqn: '' } },
      Status.ConnectInvalidParameters,
      data(ConnectData.hostnqn),
    ],
    [
      'a HOSTNQN of 224 bytes',
      NQN,
      { data: { hostnqn: `nqn.${'x'.repeat(220)}` } },
      Status.ConnectInvalidParameters,
      data(ConnectData.hostnqn),
    ],
    [
      'a HOSTID of zero',
      NQN,
      { data: { hostid: '00000000-0000-0000-0000-000000000000' } },
      Status.ConnectInvalidParameters,
      data(ConnectData.hostid),
    ],
    [
      'CNTLID 5 on the Admin queue',
      NQN,
      { data: { cntlid: 5 } },
      Status.ConnectInvalidParameters,
      data(ConnectData.cntlid),
    ],
    [
      'an I/O queue of a controller that does not exist',
      NQN,
      { sqe: { qid: 1 }, data: { cntlid: 77 } },
      Status.ConnectInvalidParameters,
      data(ConnectData.cntlid),
    ],
    ['less than 1024 bytes of data', NQN, { sqe: { dptr: inCapsule(512) } }, Status.DataSglLengthInvalid, 0],
  ];
  for (const [name, nqn, change, status, dw0] of cases)
    void t.test(name, (t) => {
      const world = new TargetWorld();
      const host = world.open();
      host.initialize();
      const response = host.response(host.connect(nqn, change));
      t.equal(response.status, status | DNR);
      t.equal(response.dw0, dw0, 'IPO and IATTR');
      t.equal(host.response(host.connect(NQN)).status, 0, 'a right one on the same connection still works');
      world.settle();
      t.end();
    });
  void t.test('a host that is not on the list', (t) => {
    const world = new TargetWorld();
    world.subsystem.setHosts(['nqn.2024-01.test:somebody-else']);
    const host = world.open();
    host.initialize();
    t.equal(host.response(host.connect(NQN)).status, Status.ConnectInvalidHost | DNR);
    world.subsystem.setHosts([HOSTNQN]);
    t.equal(host.response(host.connect(NQN)).status, 0);
    t.end();
  });
  void t.test('I/O queues: enabled first, QIDs once and in range, the same host', (t) => {
    const world = new TargetWorld();
    const admin = world.open();
    admin.initialize();
    const cntlid = admin.response(admin.connect(NQN)).dw0;
    const io = (change: Change): number => {
      const host = world.open();
      host.initialize();
      return host.response(
        host.connect(NQN, { sqe: { qid: 1, ...change?.sqe }, data: { cntlid, ...change?.data } }),
      ).status;
    };
    t.equal(io({}), Status.CommandSequenceError | DNR, 'before CC.EN');
    admin.set(Property.CC, 0x460001);
    t.equal(io({}), 0);
    t.equal(io({}), Status.CommandSequenceError | DNR, 'a QID that exists');
    t.equal(io({ sqe: { qid: 65 } }), Status.ConnectInvalidParameters | DNR, 'a QID that was not granted');
    t.equal(
      io({ sqe: { qid: 2 }, data: { hostnqn: 'nqn.2024-01.test:thief' } }),
      Status.ConnectInvalidParameters | DNR,
    );
    t.equal(
      io({ sqe: { qid: 2 }, data: { hostid: '99999999-2222-3333-4444-555555555555' } }),
      0,
      'another HOSTID: a real client does it',
    );
    t.end();
  });
  void t.test('in-capsule space is reserved: a queue that does not fit gets Controller Busy', (t) => {
    const world = new TargetWorld({ capsuleBudget: 3 * 2 ** 20 });
    const { cntlid, io } = world.up();
    const second = world.open();
    t.throws(() => second.ioUp(NQN, cntlid, { qid: 2 }), /181/);
    io.transport.end();
    world.settle();
    t.equal(world.target.capsuleBudget.used, 0, 'and is given back with the queue');
    world.open().ioUp(NQN, cntlid, { qid: 2 });
    t.end();
  });
  t.end();
});

void t.test('before and around Connect', (t) => {
  const world = new TargetWorld();
  const host = world.open();
  host.initialize();
  const identify = Identify.bytes({ opc: AdminOpcode.Identify, cns: 1, dptr: inTransport(4096) });
  t.equal(
    host.response(host.command(identify)).status,
    Status.CommandSequenceError | DNR,
    'no command before Connect',
  );
  host.connect(NQN);
  t.equal(
    host.response(host.command(identify)).status,
    Status.CommandSequenceError | DNR,
    'no admin command before CC.EN',
  );
  t.equal(host.response(host.connect(NQN)).status, Status.CommandSequenceError | DNR, 'no second Connect');
  for (const [ofst, psz] of [
    [3, 0],
    [0x10, 0],
    [0, 0],
    [8, 1],
    [8, 2],
    [0x1000, 0],
    [0x1000, 7],
  ] as const) {
    const cid = host.command(
      PropertyGet.bytes({ opc: FABRICS_OPCODE, fctype: FabricsType.PropertyGet, ofst, attrib: { psz } }),
    );
    t.equal(host.response(cid).status, Status.InvalidField | DNR, `property ${ofst}, size attribute ${psz}`);
  }
  t.equal(host.get(Property.CAP, 1) & 0xffffn, 1023n, 'MQES');
  t.equal(host.get(Property.VS), 0x20100n);
  t.equal(host.get(Property.CRTO), 15n, 'CRTO: CRWMT as CAP.TO, and no CRIMT without CRMS.CRIMS');
  host.set(Property.CC, 0x460061);
  t.equal(host.get(Property.CSTS), 1n, 'CC.CSS 110b is taken, and RDY is immediate');
  host.set(Property.CC, 0x464061);
  t.equal(host.get(Property.CSTS) & 0xcn, 8n, 'SHST complete');
  host.set(Property.CC, 0x460060);
  t.equal(host.get(Property.CSTS), 0n);
  host.set(Property.CC, 0x350001);
  t.equal(host.get(Property.CSTS) & 2n, 2n, 'wrong entry sizes: CFS');
  const unknown = host.command(Sqe.bytes({ opc: FABRICS_OPCODE, nsid: 0x55 }));
  t.equal(host.response(unknown).status, Status.InvalidOpcode | DNR);
  t.end();
});

void t.test('Read and Write', (t) => {
  void t.test('in the capsule, by R2T, at the last block', (t) => {
    const world = new TargetWorld();
    const { io } = world.up();
    for (const [slba, blocks] of [
      [0, 1],
      [5, 8],
      [100, 32],
      [2047, 1],
    ] as const) {
      const data = pattern(blocks * 512, slba);
      t.equal(
        io.response(io.command(rw(IoOpcode.Write, slba, blocks, inCapsule(blocks * 512)), data)).status,
        0,
      );
      t.same(io.data(io.command(rw(IoOpcode.Read, slba, blocks))), data);
    }
    world.settle();
    t.end();
  });
  void t.test('SLBA + NLB past the end, and an SLBA past 2^53, are LBA Out of Range', (t) => {
    const world = new TargetWorld();
    const { io } = world.up();
    const cases = [
      [2048, 1],
      [2047, 2],
      [2n ** 53n, 1],
      [2n ** 53n + 1n, 1],
      [2n ** 64n - 1n, 1],
    ] as const;
    for (const [slba, blocks] of cases)
      for (const opc of [IoOpcode.Read, IoOpcode.Write])
        t.equal(
          io.response(io.command(rw(opc, slba, blocks))).status,
          Status.LbaOutOfRange | DNR,
          `${slba}+${blocks}`,
        );
    t.end();
  });
  void t.test('statuses of commands that cannot be right', (t) => {
    const world = new TargetWorld();
    const { io } = world.up();
    const status = (sqe: Uint8Array, data?: Uint8Array): number => io.response(io.command(sqe, data)).status;
    t.equal(
      status(Flush.bytes({ opc: IoOpcode.Flush, nsid: 7 })),
      Status.InvalidNamespace | DNR,
      'an NSID that is not there',
    );
    t.equal(
      status(Flush.bytes({ opc: IoOpcode.Flush, nsid: 0xffffffff })),
      Status.InvalidNamespace | DNR,
      'all namespaces',
    );
    t.equal(status(Sqe.bytes({ opc: 0x99, nsid: 1 })), Status.InvalidOpcode | DNR, 'an unknown opcode');
    t.equal(
      status(rw(IoOpcode.Read, 0, 8, inTransport(4095))),
      Status.DataSglLengthInvalid | DNR,
      'an SGL that is too short',
    );
    t.equal(
      status(rw(IoOpcode.Read, 0, 8, inCapsule(4096))),
      Status.SglTypeInvalid | DNR,
      'read data into the capsule',
    );
    t.equal(
      status(rw(IoOpcode.Write, 0, 1, { ...inTransport(512), type: { type: 4, subtype: 2 } })),
      Status.SglTypeInvalid | DNR,
    );
    t.equal(
      status(rw(IoOpcode.Write, 0, 2, inCapsule(1024)), new Uint8Array(512)),
      Status.DataSglLengthInvalid | DNR,
      'less in the capsule than described',
    );
    t.equal(
      status(rw(IoOpcode.Write, 0, 1, inCapsule(512, 4096)), new Uint8Array(512)),
      Status.SglOffsetInvalid | DNR,
    );
    t.equal(status(rw(IoOpcode.Read, 0, 2049)), Status.LbaOutOfRange | DNR);
    const small = new TargetWorld({ maxTransfer: 8192, anaGroups: 8 });
    const { io: limited } = small.up();
    t.equal(
      limited.response(limited.command(rw(IoOpcode.Read, 0, 17))).status,
      Status.InvalidField | DNR,
      'more than MDTS',
    );
    t.equal(limited.response(limited.command(rw(IoOpcode.Read, 0, 16))).status, 0);
    world.settle();
    t.end();
  });
  void t.test('bytes that look reserved do not matter: Linux sets DSM 7 for every read-ahead', (t) => {
    const world = new TargetWorld();
    const { io } = world.up();
    const sqe = rw(IoOpcode.Read, 0, 1);
    sqe[52] = 7;
    sqe.fill(0xaa, 8, 24);
    t.equal(io.response(io.command(sqe)).status, 0);
    t.end();
  });
  void t.test('SQ flow control: SQHD goes round; without it SQHD is FFFFh and SUCCESS says it all', (t) => {
    const world = new TargetWorld();
    const { io } = world.up({ sqsize: 3 });
    const heads = [1, 2, 3, 4, 5].map(() => io.response(io.command(rw(IoOpcode.Read, 0, 1))).sqhd);
    t.same(heads, [2, 3, 0, 1, 2], 'Connect was the first');
    const free = new TargetWorld().up({ cattr: 1 }).io;
    const read = free.command(rw(IoOpcode.Read, 0, 1));
    t.notOk(free.completion(read), 'no response capsule');
    t.equal(
      free.received.find(({ type }) => type === PduType.C2HData)!.header.getUint8(C2HData.flags.offset) & 12,
      12,
    );
    t.equal(free.response(free.command(Flush.bytes({ opc: IoOpcode.Flush, nsid: 1 }))).sqhd, 0xffff);
    t.end();
  });
  void t.test('more commands than the queue has entries end the connection', (t) => {
    const file = new FaultyFile(2 ** 20);
    const world = new TargetWorld({}, { file: () => file });
    const { io } = world.up({ sqsize: 3 });
    for (let i = 0; i < 5; i++) io.command(rw(IoOpcode.Read, 0, 1));
    t.match(io.terminated, { fes: 2 });
    t.end();
  });
  t.end();
});

void t.test('R2T is granted only from a reserved budget', (t) => {
  const world = new TargetWorld({ queueWriteBudget: 64 * 1024 });
  const { io } = world.up();
  const cids = [0, 1, 2].map((i) => io.command(rw(IoOpcode.Write, i * 128, 64)));
  t.same(
    cids.map((cid) => io.r2ts(cid).length),
    [1, 1, 0],
    'two of 32 KiB fit into 64 KiB',
  );
  io.h2c(cids[0]!, io.r2ts(cids[0]!)[0]!.ttag, 0, pattern(32768, 0));
  t.equal(io.r2ts(cids[2]!).length, 1, 'the third when the first is done');
  for (const i of [2, 1]) io.h2c(cids[i]!, io.r2ts(cids[i]!)[0]!.ttag, 0, pattern(32768, i));
  for (const i of [0, 1, 2]) {
    t.equal(io.response(cids[i]!).status, 0);
    t.same(io.data(io.command(rw(IoOpcode.Read, i * 128, 64))), pattern(32768, i));
  }
  world.settle();
  t.end();
});

void t.test('a command that waits for its second R2T never waits for one that waits for budget', (t) => {
  const world = new TargetWorld({ queueWriteBudget: 48 * 1024, maxH2cData: 16 * 1024 });
  const { io } = world.up();
  const [first, second] = [0, 128].map((slba) => io.command(rw(IoOpcode.Write, slba, 64)));
  t.same([io.r2ts(first!).length, io.r2ts(second!).length], [1, 0]);
  const send = (cid: number): void => {
    const { ttag, r2to, r2tl } = io.r2ts(cid).at(-1)!;
    io.h2c(cid, ttag, r2to, pattern(r2tl));
  };
  send(first!);
  t.equal(io.r2ts(first!).length, 2);
  send(first!);
  t.equal(io.response(first!).status, 0);
  send(second!);
  send(second!);
  t.equal(io.response(second!).status, 0);
  world.settle();
  t.end();
});

void t.test('what the file says becomes a status, and the daemon lives', (t) => {
  const cases = [
    ['write', 'ENOSPC', Status.CapacityExceeded],
    ['write', 'EIO', Status.WriteFault],
    ['read', 'EIO', Status.UnrecoveredReadError],
  ] as const;
  for (const [call, code, status] of cases) {
    const file = new FaultyFile(2 ** 20);
    const world = new TargetWorld({}, { file: () => file });
    const { io } = world.up();
    file.fail(call, code);
    const sqe = call === 'write' ? rw(IoOpcode.Write, 0, 1, inCapsule(512)) : rw(IoOpcode.Read, 0, 1);
    const cid = io.command(sqe, call === 'write' ? pattern(512) : undefined);
    file.run();
    world.settle();
    t.equal(io.response(cid).status & 0x7ff, status, `${call} ${code}`);
    const again = io.command(rw(IoOpcode.Read, 1, 1));
    file.run();
    world.settle();
    t.equal(io.response(again).status, 0);
  }
  void t.test('a file truncated under us is an unrecovered read error, never zeroes', (t) => {
    const file = new FaultyFile(2 ** 20);
    const world = new TargetWorld({}, { file: () => file });
    const { io } = world.up();
    file.truncate(4096);
    const cid = io.command(rw(IoOpcode.Read, 7, 2));
    file.run();
    world.settle();
    t.equal(io.response(cid).status & 0x7ff, Status.UnrecoveredReadError);
    t.end();
  });
  t.end();
});

void t.test('DISK.1 Flush and FUA are answered after fdatasync, and plain writes before', (t) => {
  const file = new FaultyFile(2 ** 20);
  const world = new TargetWorld({}, { file: () => file });
  const { io, admin } = world.up();
  const done = (cid: number): boolean => io.completion(cid) !== undefined;
  const step = (): void => {
    file.step();
    world.settle();
  };
  const plain = io.command(rw(IoOpcode.Write, 0, 1, inCapsule(512)), pattern(512));
  step();
  t.ok(done(plain));
  const flush = io.command(Flush.bytes({ opc: IoOpcode.Flush, nsid: 1 }));
  t.notOk(done(flush));
  step();
  t.ok(done(flush));
  t.match(file.log.at(-1), /^sync/);
  const fua = io.command(rw(IoOpcode.Write, 0, 1, inCapsule(512), 1), pattern(512));
  step();
  t.notOk(done(fua), 'written, not synced');
  step();
  t.ok(done(fua));
  admin.command(
    SetFeatures.bytes({ opc: AdminOpcode.SetFeatures, fid: FeatureId.VolatileWriteCache, cdw11: 0 }),
  );
  step();
  t.equal(file.log.at(-1), 'sync ok', 'what the cache held is synced first');
  const through = io.command(rw(IoOpcode.Write, 0, 1, inCapsule(512)), pattern(512));
  step();
  t.notOk(done(through), 'with the volatile write cache disabled every write is synced');
  step();
  t.ok(done(through));
  t.end();
});

void t.test('DISK.2 after a failed fdatasync the namespace is read-only, and says so', (t) => {
  const file = new FaultyFile(2 ** 20);
  const world = new TargetWorld({}, { file: () => file });
  const { io, admin } = world.up();
  const run = (sqe: Uint8Array, data?: Uint8Array): number => {
    const cid = io.command(sqe, data);
    file.run();
    world.settle();
    return io.response(cid).status & 0x7ff;
  };
  admin.command(
    SetFeatures.bytes({ opc: AdminOpcode.SetFeatures, fid: FeatureId.AsyncEventConfiguration, cdw11: 0x900 }),
  );
  const aer = admin.command(Sqe.bytes({ opc: AdminOpcode.AsyncEventRequest }));
  file.fail('sync', 'EIO');
  t.equal(run(Flush.bytes({ opc: IoOpcode.Flush, nsid: 1 })), Status.WriteFault);
  t.equal(run(Flush.bytes({ opc: IoOpcode.Flush, nsid: 1 })), Status.WriteFault, 'for ever');
  t.equal(run(rw(IoOpcode.Write, 0, 1, inCapsule(512)), pattern(512)), Status.NamespaceWriteProtected);
  t.equal(run(rw(IoOpcode.Read, 0, 1)), 0);
  t.same(eventOf(admin.response(aer).dw0), Event.NamespaceAttributeChanged);
  const smart = log(admin, LogId.Smart, 512);
  t.match(SmartLog.cw.decode(viewOf(smart), 0), { readOnly: 1 });
  t.end();
});

void t.test(
  'GHOST.1 a lost connection: what has not started is dropped, what storage has is finished before our side closes',
  (t) => {
    const file = new FaultyFile(2 ** 20);
    const world = new TargetWorld({}, { file: () => file });
    const { io, admin } = world.up();
    const data = pattern(512, 5);
    io.command(rw(IoOpcode.Write, 9, 1, inCapsule(512)), data);
    io.command(rw(IoOpcode.Write, 9, 1, inCapsule(512)), pattern(512, 6));
    io.command(rw(IoOpcode.Write, 200, 64));
    io.transport.end();
    world.settle();
    t.notOk(io.ended, 'the first write is with the file');
    t.equal(file.pending.length, 1, 'the second waited for the first and was dropped');
    file.run();
    world.settle();
    t.ok(io.ended);
    const cid = admin.completion(1);
    t.ok(cid, 'the Admin queue is not disturbed');
    t.same(file.seen.read(9 * 512, new Uint8Array(512)), 512);
    const seen = new Uint8Array(512);
    file.seen.read(9 * 512, seen);
    t.same(seen, data);
    t.equal(world.target.writeBudget.used, 0);
    t.end();
  },
);

void t.test('Write Zeroes and Dataset Management', (t) => {
  const world = new TargetWorld();
  const { io } = world.up();
  const write = (slba: number): void => {
    io.command(rw(IoOpcode.Write, slba, 8, inCapsule(4096)), pattern(4096, slba));
  };
  const isZero = (slba: number): boolean =>
    io.data(io.command(rw(IoOpcode.Read, slba, 8))).every((byte) => byte === 0);
  for (const deac of [0, 1]) {
    write(16);
    const sqe = WriteZeroes.bytes({
      opc: IoOpcode.WriteZeroes,
      nsid: 1,
      slba: 16,
      nlb: 8,
      cdw12: { cetype: 0, stc: 0, deac, prinfo: 0, fua: 0, lr: 0 },
    });
    t.equal(io.response(io.command(sqe)).status, 0);
    t.ok(isZero(16));
  }
  write(0);
  write(64);
  write(128);
  const ranges = (list: [number, number][]): Uint8Array => {
    const made = new Uint8Array(list.length * 16);
    list.forEach(([slba, length], i) => {
      DsmRange.encode({ slba, length }, viewOf(made), i * 16);
    });
    return made;
  };
  const dsm = (list: [number, number][], ad = 1): number => {
    const data = ranges(list);
    const sqe = DatasetManagement.bytes({
      opc: IoOpcode.DatasetManagement,
      nsid: 1,
      nr: list.length,
      dptr: inCapsule(data.length),
      cdw11: { idr: 0, idw: 0, ad },
    });
    return io.response(io.command(sqe, data)).status;
  };
  t.equal(
    dsm([
      [0, 8],
      [64, 8],
      [5, 0],
    ]),
    0,
  );
  t.ok(isZero(0) && isZero(64));
  t.notOk(isZero(128));
  t.equal(dsm([[128, 8]], 0), 0, 'without AD nothing is deallocated');
  t.notOk(isZero(128));
  t.equal(
    dsm([
      [128, 8],
      [2047, 2],
    ]),
    Status.LbaOutOfRange | DNR,
  );
  t.notOk(isZero(128), 'nothing is done when one range is wrong');
  t.equal(dsm(Array.from({ length: 256 }, (_, i): [number, number] => [i * 8, 8])), 0, '256 ranges');
  t.ok(isZero(128));
  world.settle();
  t.end();
});

void t.test('Identify', (t) => {
  const world = new TargetWorld();
  const { admin, cntlid } = world.up();
  const identify = (cns: number, nsid = 0): Uint8Array =>
    admin.data(
      admin.command(Identify.bytes({ opc: AdminOpcode.Identify, cns, nsid, dptr: inTransport(4096) })),
    );
  const ctrl = IdController.decode(viewOf(identify(Cns.Controller)));
  t.match(ctrl, {
    cntlid,
    sn: 'S1',
    mn: 'test',
    subnqn: NQN,
    mdts: 8,
    kas: 10,
    ioccsz: 1028,
    iorcsz: 1,
    icdoff: 0,
    maxcmd: 1024,
    nn: 1024,
    mnan: 1024,
  });
  t.match(ctrl.cmic, { multiplePorts: 1, multipleControllers: 1, ana: 1 }, 'LIFE.11');
  const ns = IdNamespace.decode(viewOf(identify(Cns.Namespace, 1)));
  t.match(ns, { nsze: 2048, ncap: 2048, nmic: { shared: 1 } });
  t.match(ns.lbaf[0], { lbads: 9 });
  t.same(decodeNsidList(identify(Cns.ActiveNamespaces)), [1]);
  t.match(decodeNamespaceIds(identify(Cns.NamespaceDescriptors, 1)), { uuid: UUID, csi: 0 });
  t.ok(
    identify(Cns.Namespace, 2).every((byte) => byte === 0),
    'an inactive NSID is all zero',
  );
  const status = (cns: number, nsid = 0): number =>
    admin.response(
      admin.command(Identify.bytes({ opc: AdminOpcode.Identify, cns, nsid, dptr: inTransport(4096) })),
    ).status;
  t.equal(status(Cns.Namespace, 0xffffffff), Status.InvalidNamespace | DNR);
  t.equal(status(Cns.Namespace, 0), Status.InvalidNamespace | DNR);
  t.equal(status(0x7e), Status.InvalidField | DNR);
  t.equal(status(Cns.ActiveNamespaces, 0xffffffff), Status.InvalidNamespace | DNR);
  t.end();
});

void t.test('Get Log Page: offsets, lengths, unknown ones; the error log tells what failed', (t) => {
  const world = new TargetWorld();
  const { admin, io } = world.up();
  io.command(rw(IoOpcode.Read, 5000, 1));
  const errors = viewOf(log(admin, LogId.Error, 64));
  t.equal(errors.getUint16(8, true), 1, 'SQID');
  t.equal(errors.getUint32(16, true), 5000, 'LBA');
  t.equal(log(admin, LogId.Ana, 16).length, 16, 'exactly the header');
  t.equal(log(admin, LogId.Ana, 8192).length, 8192, 'and more than there is');
  const whole = log(admin, LogId.CommandEffects, 4096);
  t.same(log(admin, LogId.CommandEffects, 64, 1024), whole.subarray(1024, 1088), 'LPO');
  const refused = (lid: number, lpo: number | bigint = 0): number =>
    admin.response(
      admin.command(
        GetLogPage.bytes({ opc: AdminOpcode.GetLogPage, lid, numdl: 3, lpo, dptr: inTransport(16) }),
      ),
    ).status;
  t.equal(refused(0xc7), Status.InvalidLogPage | DNR);
  t.equal(refused(LogId.Discovery), Status.InvalidLogPage | DNR);
  t.equal(refused(LogId.Smart, 516), Status.InvalidField | DNR, 'past the end');
  t.equal(refused(LogId.Smart, 2n ** 60n), Status.InvalidField | DNR, 'far past the end');
  t.equal(refused(LogId.Smart, 2), Status.InvalidField | DNR, 'not a dword');
  const index = {
    opc: AdminOpcode.GetLogPage,
    lid: LogId.Smart,
    numdl: 3,
    cdw14: { uidx: 0, ot: 1, csi: 0 },
  };
  t.equal(
    admin.response(admin.command(GetLogPage.bytes({ ...index, dptr: inTransport(16) }))).status,
    Status.InvalidField | DNR,
    'an index instead of an offset',
  );
  t.end();
});

void t.test(
  'asynchronous events: limit, queueing while none is outstanding, masking until the log is read',
  (t) => {
    const world = new TargetWorld();
    const { admin } = world.up();
    const request = (): number => admin.command(Sqe.bytes({ opc: AdminOpcode.AsyncEventRequest }));
    const cids = [1, 2, 3, 4].map(request);
    t.equal(admin.response(request()).status, Status.AerLimitExceeded | DNR);
    world.subsystem.changed(world.namespace);
    t.notOk(admin.completion(cids[0]!), 'not enabled');
    admin.command(
      SetFeatures.bytes({
        opc: AdminOpcode.SetFeatures,
        fid: FeatureId.AsyncEventConfiguration,
        cdw11: 0x900,
      }),
    );
    world.subsystem.changed(world.namespace);
    world.settle();
    t.same(eventOf(admin.response(cids[0]!).dw0), Event.NamespaceAttributeChanged);
    world.subsystem.changed(world.namespace);
    world.settle();
    t.notOk(admin.completion(cids[1]!), 'masked');
    log(admin, LogId.ChangedNamespaces, 4096, 0, 1);
    world.subsystem.changed(world.namespace);
    world.settle();
    t.notOk(admin.completion(cids[1]!), 'still: it was read with RAE');
    t.same(decodeNsidList(log(admin, LogId.ChangedNamespaces, 4096)), [1]);
    world.subsystem.changed(world.namespace);
    world.settle();
    t.ok(admin.completion(cids[1]!));
    const abort = admin.command(Abort.bytes({ opc: AdminOpcode.Abort, sqid: 0, abortCid: cids[2]! }));
    t.equal(admin.response(abort).dw0, 0, 'aborted');
    t.equal(admin.response(cids[2]!).status, Status.AbortRequested);
    t.equal(
      admin.response(admin.command(Abort.bytes({ opc: AdminOpcode.Abort, sqid: 0, abortCid: 999 }))).dw0,
      1,
      'nothing to abort',
    );
    log(admin, LogId.ChangedNamespaces, 4096);
    admin.command(Abort.bytes({ opc: AdminOpcode.Abort, sqid: 0, abortCid: cids[3]! }));
    world.subsystem.changed(world.namespace);
    const late = request();
    t.ok(admin.completion(late), 'an event that came while none was outstanding is told to the next request');
    t.end();
  },
);

void t.test(
  'discovery: every subsystem the host may use, on every port; 0.0.0.0 is told as the address that was reached',
  (t) => {
    const world = new TargetWorld();
    world.target
      .addSubsystem({ nqn: 'nqn.2024-01.test:secret', serial: 'x', model: 'y' })
      .setHosts(['nqn.2024-01.test:other']);
    world.target.ports.listen({ host: '0.0.0.0', port: 8009 }, () => undefined);
    world.env.clock.settle();
    const host = world.open();
    host.up(DISCOVERY_NQN);
    const header = log(host, LogId.Discovery, 1024);
    const count = Number(DiscoveryHeader.numrec.decode(viewOf(header), 0));
    t.equal(count, 4, 'two subsystems on two ports');
    const entries = viewOf(log(host, LogId.Discovery, count * 1024, 1024));
    const found = Array.from({ length: count }, (_, i) => DiscoveryEntry.decode(entries, i * 1024));
    t.same(
      found.map(({ subnqn }) => subnqn),
      [DISCOVERY_NQN, NQN, DISCOVERY_NQN, NQN],
    );
    t.same(
      found.map(({ traddr }) => traddr),
      Array(4).fill('127.0.0.1'),
    );
    t.same(
      found.map(({ trsvcid }) => Number(trsvcid)),
      [world.port, world.port, 8009, 8009],
    );
    host.command(
      SetFeatures.bytes({
        opc: AdminOpcode.SetFeatures,
        fid: FeatureId.AsyncEventConfiguration,
        cdw11: 0x80000000,
      }),
    );
    const aer = host.command(Sqe.bytes({ opc: AdminOpcode.AsyncEventRequest }));
    world.target.addSubsystem({ nqn: 'nqn.2024-01.test:new', serial: 'x', model: 'y' });
    world.settle();
    t.same(eventOf(host.response(aer).dw0), Event.DiscoveryLogChange);
    const identify = Identify.bytes({ opc: AdminOpcode.Identify, cns: 2, dptr: inTransport(4096) });
    t.equal(host.response(host.command(identify)).status, Status.InvalidField | DNR);
    const io = world.open();
    io.initialize();
    t.equal(
      io.response(io.connect(DISCOVERY_NQN, { sqe: { qid: 1 }, data: { cntlid: 1 } })).status,
      Status.ConnectInvalidParameters | DNR,
    );
    t.end();
  },
);

void t.test('Features', (t) => {
  const world = new TargetWorld();
  const admin = world.open();
  const cntlid = admin.up(NQN);
  const set = (fid: number, cdw11: number, nsid = 0): { status: number; dw0: number } =>
    admin.response(admin.command(SetFeatures.bytes({ opc: AdminOpcode.SetFeatures, fid, cdw11, nsid })));
  t.equal(
    set(FeatureId.NumberOfQueues, 0x00030001).dw0,
    0x00010001,
    'the smaller of submission and completion queues',
  );
  t.equal(set(FeatureId.NumberOfQueues, 0x0000ffff).status, Status.InvalidField | DNR);
  t.equal(set(FeatureId.NumberOfQueues, 0xffff0000).status, Status.InvalidField | DNR);
  t.equal(set(FeatureId.KeepAliveTimer, 0).status, Status.KeepAliveInvalid | DNR);
  t.equal(set(FeatureId.KeepAliveTimer, 1500).status, 0);
  t.equal(set(FeatureId.HostIdentifier, 1).status, Status.CommandSequenceError | DNR);
  t.equal(set(0x77, 0).status, Status.InvalidField | DNR);
  t.equal(set(FeatureId.ErrorRecovery, 1, 9).status, Status.InvalidNamespace | DNR);
  t.equal(set(FeatureId.VolatileWriteCache, 1, 1).status, Status.FeatureNotNamespaceSpecific | DNR);
  t.equal(
    set(FeatureId.AsyncEventConfiguration, 0x1000).status,
    Status.InvalidField | DNR,
    'an event that OAES does not offer',
  );
  const get = (fid: number, sel = 0, cdw11 = 0): { status: number; dw0: number } => {
    const cdw10 = fid | (sel << 8);
    const sqe = Sqe.bytes({ opc: AdminOpcode.GetFeatures, cdw10, cdw11, dptr: inTransport(64) });
    return admin.response(admin.command(sqe));
  };
  t.equal(get(FeatureId.KeepAliveTimer).dw0, 2000, 'rounded up to KAS');
  t.equal(get(FeatureId.VolatileWriteCache).dw0, 1);
  t.equal(get(FeatureId.HostIdentifier).status, Status.InvalidField | DNR, 'fabrics know the long form only');
  t.match(get(FeatureId.HostIdentifier, 0, 1), { status: 0, dw0: 1 });
  t.equal(get(FeatureId.VolatileWriteCache, 3).dw0, 4, 'changeable');
  const first = world.open();
  first.ioUp(NQN, cntlid);
  t.equal(
    set(FeatureId.NumberOfQueues, 0).status,
    Status.CommandSequenceError | DNR,
    'not while I/O queues exist',
  );
  const third = world.open();
  t.throws(() => third.ioUp(NQN, cntlid, { qid: 3 }), /182/, 'two were granted');
  t.end();
});

void t.test('Disconnect deletes an I/O queue; the Admin queue has none', (t) => {
  const world = new TargetWorld();
  const { io, admin, cntlid } = world.up();
  const disconnect = Disconnect.bytes({ opc: FABRICS_OPCODE, fctype: FabricsType.Disconnect });
  t.equal(admin.response(admin.command(disconnect)).status, Status.InvalidQueueType | DNR);
  t.equal(io.response(io.command(disconnect)).status, 0);
  t.ok(io.ended);
  world.open().ioUp(NQN, cntlid);
  t.notOk(admin.ended);
  t.end();
});

void t.test('read-only export', (t) => {
  const world = new TargetWorld({}, { readOnly: true });
  const { io, admin } = world.up();
  t.equal(
    io.response(io.command(rw(IoOpcode.Write, 0, 1, inCapsule(512)), pattern(512))).status,
    Status.NamespaceWriteProtected | DNR,
  );
  t.equal(io.response(io.command(rw(IoOpcode.Read, 0, 1))).status, 0);
  const ns = admin.data(
    admin.command(Identify.bytes({ opc: AdminOpcode.Identify, cns: 0, nsid: 1, dptr: inTransport(4096) })),
  );
  t.match(IdNamespace.nsattr.decode(viewOf(ns), 0), { writeProtected: 1 });
  t.end();
});

void t.test(
  'real peers: Connect before the ICResp, PDO 0 on a capsule without data, PDO and PLEN 72',
  (t) => {
    const world = new TargetWorld();
    const host = world.open();
    const quiet = host.sender;
    const flush = quiet.flush.bind(quiet);
    // Everything in one segment: ICReq and Connect.
    quiet.flush = () => undefined;
    host.initialize();
    const cid = host.connect(NQN);
    quiet.flush = flush;
    quiet.flush();
    world.settle();
    t.equal(host.response(cid).status, 0);
    const sqe = PropertyGet.bytes({
      opc: FABRICS_OPCODE,
      fctype: FabricsType.PropertyGet,
      ofst: Property.VS,
      cid: 999,
      flags: { fuse: 0, psdt: 1 },
    });
    for (const pdo of [0, 72]) host.raw([4, 0, 72, pdo, 72, 0, 0, 0, ...sqe]);
    t.equal(host.response(999).dw0, 0x20100);
    t.notOk(host.terminated);
    t.end();
  },
);
