import t, { type Test } from 'tap';
import { Fes } from '../../src/pdu/fault.ts';
import { H2CData, H2CTermReq, ICReq, ICResp, PduType } from '../../src/pdu/pdus.ts';
import { Property } from '../../src/nvme/property.ts';
import { Flush } from '../../src/nvme/sqe.ts';
import { Status } from '../../src/nvme/status.ts';
import { FABRICS_OPCODE, FabricsType, IoOpcode } from '../../src/nvme/opcode.ts';
import { Disconnect } from '../../src/nvme/fabrics.ts';
import { NQN, TargetWorld } from '../doubles/target-world.ts';
import { WireHost, inCapsule, rw } from '../doubles/wire-host.ts';

const header = (type: number, flags: number, hlen: number, pdo: number, plen: number): number[] => [
  type,
  flags,
  hlen,
  pdo,
  plen & 255,
  (plen >> 8) & 255,
  (plen >> 16) & 255,
  plen >>> 24,
];
const padded = (head: number[], length: number): number[] => [
  ...head,
  ...Array<number>(length - head.length).fill(0),
];

/** Every fault ends the same way: the right TermReq, a half-close, a bounded wait, and nobody else notices. */
function faults(t: Test, world: TargetWorld, host: WireHost, fes: number, fei?: number): void {
  const { terminated } = host;
  t.match(terminated, { fes }, 'C2HTermReq with the FES');
  if (fei !== undefined) t.equal(terminated?.fei, fei, 'and the FEI');
  t.ok(host.ended, 'half-closed');
  const before = host.received.length;
  host.raw(padded(header(PduType.ICReq, 0, 128, 0, 128), 128));
  t.equal(host.received.length, before, 'input is discarded');
  world.env.clock.advance(world.target.limits.terminateTimeout + 1);
  t.ok(
    [...world.target.ports.list[0]!.connections].every(({ state }) => !state.is('terminating')),
    'and closed in bounded time, though the host does nothing',
  );
}

void t.test('ICReq', (t) => {
  const cases: [string, (host: WireHost) => void, number, number?][] = [
    [
      'PFV 1 is an unsupported parameter',
      (h) => {
        h.pdu(PduType.ICReq, (v, at) => {
          ICReq.pfv.set(v, at, 1);
        });
      },
      Fes.UnsupportedParameter,
      8,
    ],
    [
      'HPDA 32 is an invalid field',
      (h) => {
        h.pdu(PduType.ICReq, (v, at) => {
          ICReq.pda.set(v, at, 32);
        });
      },
      Fes.InvalidHeaderField,
      10,
    ],
    [
      'HLEN 120 is an invalid field',
      (h) => {
        h.raw(header(PduType.ICReq, 0, 120, 0, 128));
      },
      Fes.InvalidHeaderField,
      2,
    ],
    [
      'PLEN 127 is an invalid field',
      (h) => {
        h.raw(padded(header(PduType.ICReq, 0, 128, 0, 127), 128));
      },
      Fes.InvalidHeaderField,
      4,
    ],
    [
      'a capsule before it is a sequence error',
      (h) => {
        h.raw(padded(header(PduType.CapsuleCmd, 0, 72, 0, 72), 72));
      },
      Fes.SequenceError,
    ],
    [
      'an unknown type before it is a sequence error',
      (h) => {
        h.raw(padded(header(0x42, 0, 72, 0, 72), 72));
      },
      Fes.SequenceError,
    ],
  ];
  for (const [name, say, fes, fei] of cases)
    void t.test(name, (t) => {
      const world = new TargetWorld();
      const host = world.open();
      say(host);
      faults(t, world, host, fes, fei);
      t.end();
    });
  void t.test('is answered with CPDA 0, the digests asked for, and a MAXH2CDATA that Linux takes', (t) => {
    const world = new TargetWorld();
    for (const [headerDigest, dataDigest] of [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ] as const) {
      const host = world.open();
      host.initialize({ headerDigest, dataDigest });
      const { header, type } = host.received[0]!;
      t.equal(type, PduType.ICResp);
      t.match(ICResp.decode(header), {
        pfv: 0,
        pda: 0,
        plen: 128,
        dgst: { hdgst: Number(headerDigest), ddgst: Number(dataDigest) },
      });
      const max = ICResp.maxh2cdata.get(header, 0);
      t.ok(max >= 4096 && max % 4 === 0);
    }
    t.end();
  });
  t.end();
});

void t.test('malformed PDUs on a live connection', (t) => {
  const cases: [string, (io: WireHost) => void, number, number?][] = [
    [
      'a second ICReq is a sequence error',
      (h) => {
        h.pdu(PduType.ICReq);
      },
      Fes.SequenceError,
    ],
    [
      'an unknown type',
      (h) => {
        h.raw(padded(header(0x42, 0, 24, 0, 24), 24));
      },
      Fes.InvalidHeaderField,
      0,
    ],
    [
      'a type that only a controller sends',
      (h) => {
        h.raw(padded(header(PduType.R2T, 0, 24, 0, 24), 24));
      },
      Fes.InvalidHeaderField,
      0,
    ],
    [
      'CapsuleCmd with a wrong HLEN',
      (h) => {
        h.raw(header(PduType.CapsuleCmd, 0, 64, 0, 72));
      },
      Fes.InvalidHeaderField,
      2,
    ],
    [
      'CapsuleCmd shorter than its header',
      (h) => {
        h.raw(padded(header(PduType.CapsuleCmd, 0, 72, 0, 71), 72));
      },
      Fes.InvalidHeaderField,
      4,
    ],
    [
      'PDO inside the header',
      (h) => {
        h.raw(padded(header(PduType.CapsuleCmd, 0, 72, 64, 584), 72));
      },
      Fes.InvalidHeaderField,
      3,
    ],
    [
      'PDO not aligned',
      (h) => {
        h.raw(padded(header(PduType.CapsuleCmd, 0, 72, 74, 586), 72));
      },
      Fes.InvalidHeaderField,
      3,
    ],
    [
      'HDGSTF without digests',
      (h) => {
        h.raw(padded(header(PduType.CapsuleCmd, 1, 72, 0, 72), 72));
      },
      Fes.InvalidHeaderField,
      1,
    ],
    [
      'more in-capsule data than IOCCSZ',
      (h) => {
        h.raw(padded(header(PduType.CapsuleCmd, 0, 72, 72, 72 + 16385), 72));
      },
      Fes.InvalidHeaderField,
      4,
    ],
    [
      'PLEN of 4 GiB',
      (h) => {
        h.raw(padded(header(PduType.CapsuleCmd, 0, 72, 72, 0xffffffff), 72));
      },
      Fes.InvalidHeaderField,
      4,
    ],
    [
      'H2CData that nothing asked for',
      (h) => {
        h.h2c(9, 9, 0, new Uint8Array(512));
      },
      Fes.InvalidHeaderField,
      H2CData.ttag.offset,
    ],
    [
      'H2CData past MAXH2CDATA',
      (h) => {
        h.raw(padded(header(PduType.H2CData, 0, 24, 24, 24 + 2 ** 20 + 4), 24));
      },
      Fes.LimitExceeded,
    ],
  ];
  for (const [name, say, fes, fei] of cases)
    void t.test(name, (t) => {
      const world = new TargetWorld();
      const { io, admin } = world.up();
      say(io);
      faults(t, world, io, fes, fei);
      // Only this connection: the Admin queue lives on, but for the keep-alive that nobody sends here.
      t.notOk(admin.terminated);
      t.end();
    });

  void t.test('a header digest that is wrong ends with FES 03h, and the FEI is what was received', (t) => {
    const world = new TargetWorld();
    const { io } = world.up({ headerDigest: true });
    io.raw([...padded(header(PduType.CapsuleCmd, 1, 72, 0, 76), 72), 1, 2, 3, 4]);
    faults(t, world, io, Fes.HeaderDigestError, 0x04030201);
    t.end();
  });
  t.end();
});

void t.test('H2CData against its R2T', (t) => {
  const start = (limits = {}) => {
    const world = new TargetWorld(limits);
    const { io } = world.up();
    const cid = io.command(rw(IoOpcode.Write, 0, 64));
    const [r2t] = io.r2ts(cid);
    return { world, io, cid, r2t: r2t! };
  };
  void t.test('H2CData past the R2T range ends with FES 04h', (t) => {
    const { world, io, cid, r2t } = start();
    io.h2c(cid, r2t.ttag, 0, new Uint8Array(64 * 512 + 512));
    faults(t, world, io, Fes.OutOfRange);
    t.end();
  });
  void t.test('H2CData that leaves a gap ends with FES 04h', (t) => {
    const { world, io, cid, r2t } = start();
    io.h2c(cid, r2t.ttag, 512, new Uint8Array(512), false);
    faults(t, world, io, Fes.OutOfRange);
    t.end();
  });
  void t.test('H2CData without data is an invalid field', (t) => {
    const { world, io, cid, r2t } = start();
    io.h2c(cid, r2t.ttag, 0, new Uint8Array(0), false);
    faults(t, world, io, Fes.InvalidHeaderField, H2CData.datal.offset);
    t.end();
  });
  void t.test('another CCCID than the R2T had is an invalid field', (t) => {
    const { world, io, cid, r2t } = start();
    io.h2c(cid + 1, r2t.ttag, 0, new Uint8Array(64 * 512));
    faults(t, world, io, Fes.InvalidHeaderField, H2CData.cccid.offset);
    t.end();
  });
  void t.test('LAST_PDU must come with the last byte, and not before', (t) => {
    const early = start();
    early.io.h2c(early.cid, early.r2t.ttag, 0, new Uint8Array(512), true);
    faults(t, early.world, early.io, Fes.InvalidHeaderField, 1);
    const missing = start();
    missing.io.h2c(missing.cid, missing.r2t.ttag, 0, new Uint8Array(64 * 512), false);
    faults(t, missing.world, missing.io, Fes.InvalidHeaderField, 1);
    t.end();
  });
  void t.test('DATAL that is not what PLEN says is an invalid field', (t) => {
    const { world, io, cid, r2t } = start();
    const set = (view: DataView, at: number): void => {
      H2CData.cccid.set(view, at, cid);
      H2CData.ttag.set(view, at, r2t.ttag);
      H2CData.datal.set(view, at, 1024);
    };
    io.pdu(PduType.H2CData, set, new Uint8Array(512), 4);
    faults(t, world, io, Fes.InvalidHeaderField, H2CData.datal.offset);
    t.end();
  });
  void t.test(
    'R2Ts are never above MAXH2CDATA, one at a time, and the data may come in several PDUs',
    (t) => {
      const { world, io, cid } = start({ maxH2cData: 4096 });
      const data = Uint8Array.from({ length: 64 * 512 }, (_, i) => i % 251);
      for (let at = 0; at < data.length; at += 4096) {
        const r2ts = io.r2ts(cid);
        t.equal(r2ts.length, at / 4096 + 1, 'one R2T outstanding');
        const { ttag, r2to, r2tl } = r2ts.at(-1)!;
        t.match({ r2to, r2tl }, { r2to: at, r2tl: 4096 });
        io.h2c(cid, ttag, at, data.subarray(at, at + 1024), false);
        io.h2c(cid, ttag, at + 1024, data.subarray(at + 1024, at + 4096));
      }
      t.equal(io.response(cid).status, 0);
      const read = io.command(rw(IoOpcode.Read, 0, 64));
      t.same(io.data(read), data);
      world.settle();
      t.end();
    },
  );
  t.end();
});

void t.test('a wrong data digest is a Transient Transport Error of that command only', (t) => {
  const world = new TargetWorld();
  const { io } = world.up({ dataDigest: true });
  const spoil = (sqe: Uint8Array): number => {
    const whole: Uint8Array[] = [];
    const write = io.transport.write.bind(io.transport);
    io.transport.write = (parts, done) => {
      for (const part of parts) whole.push(part.slice());
      whole.at(-1)![whole.at(-1)!.length - 1]! ^= 1;
      write(whole.splice(0), done);
    };
    const cid = io.command(sqe, new Uint8Array(512).fill(7));
    io.transport.write = write;
    return cid;
  };
  const bad = spoil(rw(IoOpcode.Write, 3, 1, inCapsule(512)));
  t.equal(io.response(bad).status, Status.TransientTransportError);
  const good = io.command(rw(IoOpcode.Write, 4, 1, inCapsule(512)), new Uint8Array(512).fill(9));
  t.equal(io.response(good).status, 0, 'the connection lives');
  t.same(io.data(io.command(rw(IoOpcode.Read, 3, 1))), new Uint8Array(512), 'and nothing was written');
  const big = io.command(rw(IoOpcode.Write, 8, 64));
  const [r2t] = io.r2ts(big);
  const half = 32 * 512;
  const write = io.transport.write.bind(io.transport);
  io.transport.write = (parts, done) => {
    const copies = parts.map((part) => part.slice());
    copies.at(-1)![0]! ^= 0x80;
    write(copies, done);
  };
  io.h2c(big, r2t!.ttag, 0, new Uint8Array(half), false);
  io.transport.write = write;
  io.h2c(big, r2t!.ttag, half, new Uint8Array(half));
  t.equal(
    io.response(big).status,
    Status.TransientTransportError,
    'also when only one PDU of several is wrong',
  );
  world.settle();
  t.end();
});

void t.test('H2CTermReq', (t) => {
  void t.test('is not answered: the connection is closed', (t) => {
    const world = new TargetWorld();
    const { io, admin } = world.up();
    io.pdu(
      PduType.H2CTermReq,
      (view, at) => {
        H2CTermReq.fes.set(view, at, 1);
      },
      new Uint8Array(72),
    );
    t.notOk(io.terminated);
    t.ok(io.ended);
    t.notOk(admin.ended);
    t.end();
  });
  for (const plen of [23, 153, 0, 0xffffffff])
    void t.test(`of ${plen} bytes is ignored and the connection closed`, (t) => {
      const world = new TargetWorld();
      const { io } = world.up();
      io.raw(header(PduType.H2CTermReq, 0, 24, 0, plen));
      t.notOk(io.terminated);
      t.ok(io.ended);
      t.end();
    });
  t.end();
});

void t.test('peers that make us wait', (t) => {
  void t.test('one that says nothing is closed after the connect timeout', (t) => {
    const world = new TargetWorld();
    const host = world.open();
    world.env.clock.advance(world.target.limits.connectTimeout + 1);
    t.ok(host.ended);
    t.end();
  });
  void t.test('one that dribbles ICReq a byte a second, too', (t) => {
    const world = new TargetWorld();
    const host = world.open();
    for (let i = 0; i < 15 && !host.ended; i++) {
      host.raw([0]);
      world.env.clock.advance(1000);
    }
    t.ok(host.ended);
    t.end();
  });
  void t.test('one that sends ICReq but no Connect, too', (t) => {
    const world = new TargetWorld();
    const host = world.open();
    host.initialize();
    world.env.clock.advance(world.target.limits.connectTimeout + 1);
    t.ok(host.ended);
    t.end();
  });
  const alive = (world: TargetWorld, admin: WireHost, ms: number): void => {
    for (let i = 0; i < ms; i += 2000) {
      admin.get(Property.CSTS);
      world.env.clock.advance(2000);
    }
  };
  void t.test('one that begins a PDU and does not finish it is closed; others are not', (t) => {
    const world = new TargetWorld();
    const { io, admin } = world.up();
    io.raw(header(PduType.CapsuleCmd, 0, 72, 0, 72));
    alive(world, admin, world.target.limits.stallTimeout + 10_000);
    t.ok(io.ended);
    t.notOk(admin.ended);
    t.end();
  });
  void t.test('a stream in which every segment ends inside a PDU is nothing to be closed for', (t) => {
    const world = new TargetWorld();
    const { io, admin } = world.up();
    const flush = Flush.bytes({ opc: IoOpcode.Flush, nsid: 1, flags: { psdt: 1 } });
    const pdu = [...header(PduType.CapsuleCmd, 0, 72, 0, 72), ...flush];
    io.raw(pdu.slice(0, 36));
    for (let i = 0; i < 100; i++) {
      io.raw([...pdu.slice(36), ...pdu.slice(0, 36)]);
      admin.get(Property.CSTS);
      world.env.clock.advance(1000);
    }
    t.notOk(io.ended);
    t.end();
  });
  void t.test('one that does not send what it was granted is closed', (t) => {
    const world = new TargetWorld();
    const { io, admin } = world.up();
    io.command(rw(IoOpcode.Write, 0, 64));
    t.ok(world.target.writeBudget.used > 0);
    alive(world, admin, world.target.limits.stallTimeout + 10_000);
    t.ok(io.ended);
    io.transport.end();
    world.env.clock.advance(1);
    t.equal(world.target.writeBudget.used, 0, 'and gives its budget back');
    t.end();
  });
  void t.test('one that never reads is closed, and holds bounded memory until then', (t) => {
    const world = new TargetWorld({ sendBacklog: 64 * 1024 });
    const { io, admin } = world.up();
    io.transport.pause();
    for (let i = 0; i < 100; i++) io.command(rw(IoOpcode.Read, 0, 128));
    const [connection] = [...world.target.ports.list[0]!.connections].filter(({ queue }) => queue.qid === 1);
    t.ok(connection!.sender.pending <= 2 * 64 * 1024 + 1024, `${connection!.sender.pending} bytes pending`);
    alive(world, admin, 2 * world.target.limits.stallTimeout + 10_000);
    io.transport.resume();
    world.env.clock.advance(1);
    t.ok(io.gone || io.ended);
    t.end();
  });
  void t.test('connections without Connect are capped', (t) => {
    const world = new TargetWorld({ newConnections: 3 });
    const hosts = [1, 2, 3, 4].map(() => world.open());
    world.settle();
    t.same(
      hosts.map(({ gone }) => gone),
      [false, false, false, true],
    );
    t.end();
  });
  void t.test('keep-alive: an Admin queue that is silent for longer than KATO ends its controller', (t) => {
    const world = new TargetWorld();
    const { io, admin } = world.up();
    alive(world, admin, 20_000);
    t.notOk(admin.ended, 'traffic keeps it alive');
    world.env.clock.advance(11_000);
    t.ok(admin.ended && io.ended);
    t.equal(world.subsystem.controllers.size, 0);
    t.end();
  });
  t.end();
});

void t.test('bytes split anywhere make no difference', (t) => {
  for (const split of [[1], [3, 1, 7], [71, 2], [4096, 1]]) {
    const world = new TargetWorld({}, { net: { split } });
    const { io } = world.up({ headerDigest: true, dataDigest: true });
    const data = Uint8Array.from({ length: 8192 }, (_, i) => i * 7);
    t.equal(io.response(io.command(rw(IoOpcode.Write, 0, 16, inCapsule(8192)), data)).status, 0);
    t.same(io.data(io.command(rw(IoOpcode.Read, 0, 16))), data, split.join());
  }
  t.end();
});

void t.test('HPDA 0 to 31: read data starts where the host wants it', (t) => {
  for (let hpda = 0; hpda < 32; hpda++) {
    const world = new TargetWorld();
    const { io } = world.up({ hpda, headerDigest: hpda % 2 === 1 });
    const cid = io.command(rw(IoOpcode.Read, 0, 8));
    t.equal(io.data(cid).length, 4096);
    const pdu = io.received.find(({ type }) => type === PduType.C2HData)!;
    t.equal(pdu.header.getUint8(3) % ((hpda + 1) * 4), 0);
  }
  t.end();
});

void t.test('stop: what is under way is answered, then every connection is closed', (t) => {
  const world = new TargetWorld();
  const { io, admin } = world.up();
  let stopped = 0;
  const cid = io.command(rw(IoOpcode.Write, 0, 1, inCapsule(512)), new Uint8Array(512).fill(1));
  world.target.stop(() => stopped++);
  world.target.stop(() => stopped++);
  world.env.clock.settle();
  t.equal(io.response(cid).status, 0);
  t.ok(io.ended && admin.ended);
  for (const host of [io, admin]) host.transport.end();
  world.env.clock.advance(10);
  t.equal(stopped, 2);
  t.same(
    world.env.clock.timers.map(({ name }) => name),
    [],
    'no timer is left',
  );
  t.equal(world.target.subsystems.get(NQN)!.controllers.size, 0);
  t.end();
});

void t.test('a fault behind a Disconnect in the same segment is nobody’s any more', (t) => {
  const world = new TargetWorld();
  const { io } = world.up();
  const sqe = Disconnect.bytes({ opc: FABRICS_OPCODE, fctype: FabricsType.Disconnect, flags: { psdt: 1 } });
  io.raw([...header(PduType.CapsuleCmd, 0, 72, 0, 72), ...sqe, ...padded(header(0x42, 0, 24, 0, 24), 24)]);
  t.ok(io.ended);
  t.notOk(io.terminated);
  world.settle();
  t.end();
});
