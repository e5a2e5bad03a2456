/** Asymmetric Namespace Access: states per port and group, what they do to commands, and how hosts learn of it. */
import t from 'tap';
import { TargetWorld } from '../doubles/target-world.ts';
import type { NvmHost } from '../doubles/nvm-host.ts';
import { inTransport } from '../doubles/wire-host.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { AnaLogHeader, AnaState, anaLogSize, decodeAnaLog } from '../../src/nvme/ana-log.ts';
import { Event } from '../../src/nvme/event.ts';
import { Cns } from '../../src/nvme/identify.ts';
import { IdController } from '../../src/nvme/identify-controller.ts';
import { IdNamespace, IndependentIdNamespace } from '../../src/nvme/identify-namespace.ts';
import { LogId } from '../../src/nvme/logs.ts';
import { AdminOpcode } from '../../src/nvme/opcode.ts';
import { GetLogPage } from '../../src/nvme/sqe.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { memoryEnv } from '../../src/runtime/memory/env.ts';
import { anaRefusal } from '../../src/target/attachment.ts';
import { Target } from '../../src/target/target.ts';

const SECOND = { host: '127.0.0.1', port: 4421 };

/** Two ports, hosts A on the first and B on the second; namespaces 1 and 2 in group 1, 3 in group 7. */
function twoPorts(): { world: TargetWorld; a: NvmHost; b: NvmHost } {
  const world = new TargetWorld();
  world.add(2);
  world.add(3, { anagrpid: 7 });
  world.listen(SECOND.host, SECOND.port);
  const a = world.host('A');
  const b = world.host('B', { address: SECOND });
  for (const host of [a, b]) host.listen();
  return { world, a, b };
}

/** The host has read both logs and been told everything. */
function forget(host: NvmHost): void {
  host.log(LogId.ChangedNamespaces, 4096);
  host.log(LogId.Ana, 16);
  host.events();
}

t.test('ANA what a state does to I/O: a row each, and never with DNR', (t) => {
  for (const [state, status] of [
    [AnaState.Optimized, 0],
    [AnaState.NonOptimized, 0],
    [AnaState.Inaccessible, 0x302],
    [AnaState.PersistentLoss, 0x301],
    [AnaState.Change, 0x303],
  ] as const) {
    t.equal(anaRefusal(state), status);
    const { world, a, b } = twoPorts();
    world.target.ports.setAnaState(world.target.ports.list[0]!, 1, state);
    t.equal(a.read(1).status, status);
    t.equal(a.write(2), status);
    t.equal(a.read(3).status, 0, 'another group');
    t.equal(b.read(1).status, 0, 'another port');
    world.settle();
  }
  t.end();
});

t.test('ANA Change goes to every controller through the port that has the group, and to no other', (t) => {
  const { world, a, b } = twoPorts();
  const c = world.host('C');
  c.listen();
  world.subsystem.mask(world.subsystem.namespaces.get(3)!, []);
  const [first] = world.target.ports.list;
  for (const host of [a, b, c]) forget(host);
  world.target.ports.setAnaState(first!, 1, AnaState.NonOptimized);
  t.same(a.events(), [Event.AnaChange]);
  t.same(c.events(), [Event.AnaChange]);
  t.same(b.events(), []);
  for (const host of [a, c]) forget(host);
  world.target.ports.setAnaState(first!, 1, AnaState.NonOptimized);
  t.same(a.events(), [], 'the same state is no change');
  world.target.ports.setAnaState(first!, 7, AnaState.Inaccessible);
  t.same(a.events(), [], 'nobody sees a namespace of group 7');
  t.throws(() => world.target.ports.setAnaState(first!, 129, AnaState.Optimized), RangeError);
  t.end();
});

t.test('ANA the log: states, members, change counts; RGO; paging; as long as it may become', (t) => {
  const { world, a, b } = twoPorts();
  const [first] = world.target.ports.list;
  const before = a.ana;
  t.same(
    before.groups.map(({ agid, state, nsids }) => [agid, state, nsids]),
    [
      [1, AnaState.Optimized, [1, 2]],
      [7, AnaState.Optimized, [3]],
    ],
  );
  world.target.ports.setAnaState(first!, 7, AnaState.Inaccessible);
  const after = a.ana;
  const [one, seven] = after.groups;
  t.same([one!.state, seven!.state], [AnaState.Optimized, AnaState.Inaccessible]);
  t.equal(after.chgcnt, before.chgcnt + 1);
  t.equal(one!.chgcnt, before.groups[0]!.chgcnt);
  t.equal(seven!.chgcnt, before.groups[1]!.chgcnt + 1);
  t.equal(b.ana.groups[1]!.state, AnaState.Optimized);
  t.equal(b.ana.chgcnt, before.chgcnt, 'of its own port');

  const groupsOnly = decodeAnaLog(a.log(LogId.Ana, 16 + 2 * 32, { lsp: 1 }), { anagrpmax: 128, nn: 1024 });
  t.same(
    groupsOnly.groups.map(({ agid, nsids }) => [agid, nsids]),
    [
      [1, []],
      [7, []],
    ],
  );
  t.equal(groupsOnly.chgcnt, after.chgcnt);
  const size = anaLogSize(128, 1024);
  const whole = a.log(LogId.Ana, size);
  const pieces = new Uint8Array(size);
  for (let at = 0; at < size; at += 256)
    pieces.set(a.log(LogId.Ana, Math.min(256, size - at), { offset: at }), at);
  t.same(pieces, whole);
  t.equal(a.log(LogId.Ana, 16).length, 16, 'a client reads the header alone');
  t.equal(a.log(LogId.Ana, 16384).length, 16384, 'and another one more than there is');
  const past = GetLogPage.bytes({
    opc: AdminOpcode.GetLogPage,
    lid: LogId.Ana,
    numdl: 3,
    lpo: size + 4,
    dptr: inTransport(16),
  });
  t.equal(a.admin.response(a.admin.command(past)).status, Status.InvalidField | DNR);
  t.end();
});

t.test('ANA a group that is told a state before anybody is in it is in the log', (t) => {
  const { world, a } = twoPorts();
  world.target.ports.setAnaState(world.target.ports.list[0]!, 9, AnaState.Change);
  t.match(a.ana.groups[2], { agid: 9, state: AnaState.Change, nsids: [] });
  t.equal(AnaLogHeader.nagd.get(viewOf(a.log(LogId.Ana, 16)), 0), 3);
  t.end();
});

t.test('ANA a namespace moves between groups live: ANA Change alone, new state at once', (t) => {
  const { world, a, b } = twoPorts();
  const [first] = world.target.ports.list;
  world.target.ports.setAnaState(first!, 7, AnaState.Inaccessible);
  for (const host of [a, b]) forget(host);
  const counts = b.ana;
  world.subsystem.move(world.namespace, 7);
  t.equal(a.read(1).status, Status.AnaInaccessible);
  t.equal(b.read(1).status, 0);
  for (const host of [a, b]) {
    t.same(host.events(), [Event.AnaChange]);
    t.same(host.changes, []);
    t.same(
      host.ana.groups.map(({ agid, nsids }) => [agid, nsids]),
      [
        [1, [2]],
        [7, [1, 3]],
      ],
    );
  }
  t.equal(b.ana.groups[0]!.chgcnt, counts.groups[0]!.chgcnt + 1);
  t.equal(b.ana.groups[1]!.chgcnt, counts.groups[1]!.chgcnt + 1);
  const anagrpid = (cns: number, field: { get(view: DataView, at: number): number }): number =>
    field.get(viewOf(a.identify(cns, 1).data), 0);
  t.equal(anagrpid(Cns.Namespace, IdNamespace.anagrpid), 7);
  t.equal(anagrpid(Cns.CsIndependentNamespace, IndependentIdNamespace.anagrpid), 7);
  t.equal(anagrpid(Cns.Namespace, IdNamespace.nuse), 0, 'what is used cannot be told from here');
  t.throws(() => world.subsystem.move(world.namespace, 0), RangeError);
  t.equal(world.namespace.anagrpid, 7);
  world.settle();
  t.end();
});

t.test('ANA what Identify Controller promises', (t) => {
  const { a } = twoPorts();
  const view = viewOf(a.identify(Cns.Controller).data);
  t.equal(IdController.cmic.ana.get(view, 0), 1);
  t.equal(IdController.anagrpmax.get(view, 0), 128);
  t.equal(IdController.nanagrpid.get(view, 0), 128);
  t.equal(IdController.anatt.get(view, 0), 10);
  t.equal(view.getUint8(IdController.anacap.offset), 0x1f, 'all states; groups may change');
  t.equal(IdController.oaes.anaChange.get(view, 0), 1);
  const mdts = 4096 * 2 ** IdController.mdts.get(view, 0);
  const { nanagrpid, mnan } = IdController;
  t.ok(16 + 32 * nanagrpid.get(view, 0) + 4 * mnan.get(view, 0) <= mdts, 'or Linux would turn ANA off');
  t.end();
});

t.test(
  'ANA can be left out of a subsystem: nothing tells of it, and what it refuses is a path error',
  (t) => {
    const world = new TargetWorld();
    const plain = world.target.addSubsystem({ nqn: 'nqn.x:plain', serial: 'x', model: 'y', ana: false });
    world.add(1, { uuid: '6b2f8f6c-6e0b-4cc1-8f8e-0d5e7c8a9b99', anagrpid: 2 }, plain);
    const host = world.host('A', { nqn: plain.nqn });
    const view = viewOf(host.identify(Cns.Controller).data);
    t.equal(IdController.cmic.ana.get(view, 0), 0);
    for (const field of [IdController.anagrpmax, IdController.nanagrpid, IdController.anatt])
      t.equal(field.get(view, 0), 0);
    t.equal(view.getUint8(IdController.anacap.offset), 0);
    t.equal(view.getUint32(IdController.oaes.offset, true) & 0x800, 0);
    t.equal(IdNamespace.anagrpid.get(viewOf(host.identify(Cns.Namespace, 1).data), 0), 0);
    const log = GetLogPage.bytes({
      opc: AdminOpcode.GetLogPage,
      lid: LogId.Ana,
      numdl: 3,
      dptr: inTransport(16),
    });
    t.equal(host.admin.response(host.admin.command(log)).status, Status.InvalidLogPage | DNR);
    world.target.ports.setAnaState(world.target.ports.list[0]!, 2, AnaState.Inaccessible);
    t.equal(host.read(1).status, Status.InternalPathError);
    world.target.ports.setAnaState(world.target.ports.list[0]!, 2, AnaState.Optimized);
    t.equal(host.read(1).status, 0);
    world.settle();
    t.end();
  },
);

t.test('ANA limits whose log does not fit MDTS are refused', (t) => {
  const env = memoryEnv();
  t.throws(() => new Target(env, { maxTransfer: 8192 }), /ANA log of 128 anaGroups and 1024 namespaces/);
  t.throws(() => new Target(env, { maxTransfer: 65536, namespaces: 16384 }), /ANA log/);
  t.doesNotThrow(() => new Target(env, { maxTransfer: 8192, namespaces: 1000 }));
  t.end();
});
