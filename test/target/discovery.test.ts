/** Discovery: who is told what, from where, and when. */
import t from 'tap';
import { NQN, TargetWorld } from '../doubles/target-world.ts';
import { type NvmHost, whoIs } from '../doubles/nvm-host.ts';
import { inTransport } from '../doubles/wire-host.ts';
import { viewOf } from '../../src/layout/struct.ts';
import {
  DiscoveryEntry,
  DiscoveryExtension,
  DiscoveryHeader,
  DiscoveryLsp,
  Sectype,
  SecureChannel,
  Subtype,
  addressText,
} from '../../src/nvme/discovery.ts';
import { Event } from '../../src/nvme/event.ts';
import { Cns } from '../../src/nvme/identify.ts';
import { IdController } from '../../src/nvme/identify-controller.ts';
import { LogId } from '../../src/nvme/logs.ts';
import { DISCOVERY_NQN } from '../../src/nvme/nqn.ts';
import { AdminOpcode } from '../../src/nvme/opcode.ts';
import { GetLogPage } from '../../src/nvme/sqe.ts';
import { DNR, Status } from '../../src/nvme/status.ts';
import { memoryEnv } from '../../src/runtime/memory/env.ts';
import { addressFor, plainAddress } from '../../src/target/discovery.ts';
import { Target } from '../../src/target/target.ts';

const EVENTS = 0x80000000;
const OURS = 'nqn.2024-01.test:discovery';

interface Entry {
  readonly subtype: number;
  readonly subnqn: string;
  readonly at: string;
  readonly portid: number;
  readonly eflags: { readonly dupretinfo: number; readonly epcsd: number; readonly ncc: number };
  readonly secureChannel: number;
  readonly sectype: number;
}

const discover = (
  world: TargetWorld,
  name = 'A',
  address = { host: '127.0.0.1', port: world.port },
  nqn = DISCOVERY_NQN,
): NvmHost => world.host(name, { address, nqn, adminOnly: true });

const header = (host: NvmHost, lsp = 0): { genctr: number; numrec: number; tdlpl: number } => {
  const view = viewOf(host.log(LogId.Discovery, 1024, { rae: 1, lsp }));
  const { genctr, numrec, tdlpl } = DiscoveryHeader;
  return { genctr: genctr.get(view, 0), numrec: numrec.get(view, 0), tdlpl: tdlpl.get(view, 0) };
};

function entries(host: NvmHost, lsp = 0): Entry[] {
  const { numrec } = header(host, lsp);
  if (numrec === 0) return [];
  const view = viewOf(host.log(LogId.Discovery, numrec * 1024, { offset: 1024, lsp }));
  return Array.from({ length: numrec }, (_, i) => {
    const entry = DiscoveryEntry.decode(view, i * 1024);
    const { subtype, subnqn, portid, traddr, trsvcid, eflags, treq, sectype } = entry;
    const { secureChannel } = treq;
    return {
      subtype,
      subnqn,
      portid,
      eflags,
      secureChannel,
      sectype,
      at: `${addressText(traddr)} ${addressText(trsvcid)}`,
    };
  });
}

const nvm = (host: NvmHost): string[] =>
  entries(host)
    .filter(({ subtype }) => subtype === Subtype.Nvm)
    .map(({ subnqn, at }) => `${subnqn.split(':')[1]} ${at}`);

t.test('DISCOVERY the address that a host is told: a row each', (t) => {
  for (const [port, reached, told] of [
    ['10.0.0.1', '10.0.0.2', '10.0.0.1'],
    ['0.0.0.0', '10.0.0.2', '10.0.0.2'],
    ['::', '10.0.0.2', '10.0.0.2'],
    ['::', '::ffff:10.0.0.2', '10.0.0.2'],
    ['::', '2001:db8::1', '2001:db8::1'],
    ['', '2001:db8::1', '2001:db8::1'],
    ['0.0.0.0', '2001:db8::1', undefined],
    ['fe80::1%eth0', 'fe80::1%eth0', 'fe80::1'],
    ['::', 'fe80::1%eth1', 'fe80::1'],
    ['::ffff:10.0.0.1', '10.0.0.2', '10.0.0.1'],
  ] as const)
    t.equal(addressFor(port, reached), told, `${port} reached at ${reached}`);
  t.equal(plainAddress('::FFFF:1.2.3.4'), '1.2.3.4');
  t.equal(plainAddress('::ffff:1:2'), '::ffff:1:2');
  t.end();
});

t.test('DISCOVERY the well-known name and the target’s own, on every port', (t) => {
  const world = new TargetWorld({}, { target: { discoveryNqn: OURS } });
  world.listen('127.0.0.1', 8009, { subsystems: [] });
  const address = { host: '127.0.0.1', port: 8009 };
  for (const nqn of [DISCOVERY_NQN, OURS]) {
    const host = discover(world, 'A', address, nqn);
    const view = viewOf(host.identify(Cns.Controller).data);
    t.equal(IdController.subnqn.decode(view, 0), OURS, 'Identify tells its own');
    t.match(entries(host), [
      {
        subtype: Subtype.CurrentDiscovery,
        subnqn: OURS,
        portid: 1,
        eflags: { dupretinfo: 1, epcsd: 1, ncc: 0 },
      },
      { subtype: Subtype.Nvm, subnqn: NQN, portid: 1, eflags: { dupretinfo: 0, epcsd: 0, ncc: 0 } },
      { subtype: Subtype.CurrentDiscovery, subnqn: OURS, portid: 2 },
    ]);
  }
  t.throws(() => new Target(memoryEnv(), {}, { discoveryNqn: 'discovery' }), RangeError);
  t.throws(() => world.target.addSubsystem({ nqn: OURS, serial: 'x', model: 'y' }), RangeError);
  t.end();
});

t.test('DISCOVERY nothing is said of a secure channel: some hosts take "not required" for a wish', (t) => {
  const world = new TargetWorld();
  world.target.ports.setReferrals(world.target.ports.list[0]!, [
    { address: { host: '10.0.0.9', port: 8009 } },
  ]);
  const found = entries(discover(world));
  t.equal(found.length, 3);
  for (const { secureChannel, sectype } of found)
    t.same([secureChannel, sectype], [SecureChannel.NotSpecified, Sectype.None]);
  t.end();
});

t.test('DISCOVERY the log shows what the host may use, on the ports that offer it', (t) => {
  const world = new TargetWorld();
  const b = whoIs('B').hostnqn;
  const secret = world.target.addSubsystem({ nqn: 'nqn.x:secret', serial: 'x', model: 'y', hosts: [b] });
  world.listen('::', 8009, { id: 9, subsystems: [secret] });
  t.same(nvm(discover(world, 'A')), [`one 127.0.0.1 ${world.port}`]);
  t.same(nvm(discover(world, 'B')), [
    `one 127.0.0.1 ${world.port}`,
    `secret 127.0.0.1 ${world.port}`,
    'secret 127.0.0.1 8009',
  ]);
  const six = discover(world, 'B', { host: '2001:db8::1', port: 8009 });
  t.same(nvm(six).at(-1), 'secret 2001:db8::1 8009');
  t.same(
    entries(six, DiscoveryLsp.portLocal).map(({ portid }) => portid),
    [9, 9],
    'port local entries only',
  );
  t.equal(entries(six)[0]?.eflags.dupretinfo, 0, 'a wildcard tells each host something else');
  t.end();
});

t.test('DISCOVERY extended entries are as advertised; what is not is not done, and DLPF says so', (t) => {
  const world = new TargetWorld();
  world.target.addSubsystem({ nqn: 'nqn.x:two', serial: 'x', model: 'y' });
  const host = discover(world);
  const supported = viewOf(host.log(LogId.SupportedPages, 1024)).getUint32(4 * LogId.Discovery, true);
  t.equal(supported >>> 16, DiscoveryLsp.extended | DiscoveryLsp.portLocal, 'EXTDLPES and PLEOS');
  const plain = host.log(LogId.Discovery, 4096, { rae: 1 });
  const lsp = DiscoveryLsp.extended;
  const size = 1024 + 3 * 1032;
  const whole = host.log(LogId.Discovery, size, { rae: 1, lsp });
  const view = viewOf(whole);
  t.match(DiscoveryHeader.decode(view, 0), {
    numrec: 3n,
    recfmt: 0,
    dlpf: { extended: 1, portLocal: 0, allSubsystems: 0 },
    tdlpl: size,
  });
  for (let i = 0; i < 3; i++) {
    const at = 1024 + i * 1032;
    t.same(whole.subarray(at, at + 1024), plain.subarray(1024 + i * 1024, 2048 + i * 1024));
    t.match(DiscoveryExtension.decode(view, at + 1024), { tel: 1032, numexat: 0 });
  }
  for (const [offset, length] of [
    [0, 20],
    [1000, 1100],
    [1024, 1032],
    [2052, 8],
    [2056, 2064],
    [size - 4, 4],
  ] as const)
    t.same(
      host.log(LogId.Discovery, length, { rae: 1, lsp, offset }),
      whole.subarray(offset, offset + length),
      `${length} bytes from ${offset}`,
    );
  t.same(host.log(LogId.Discovery, 8, { rae: 1, lsp, offset: size }), new Uint8Array(8));
  const all = host.log(LogId.Discovery, 4096, { rae: 1, lsp: DiscoveryLsp.allSubsystems });
  t.same(all, plain, 'never what other hosts see');
  t.end();
});

t.test('DISCOVERY change events go to the hosts that see a difference, and to no others', (t) => {
  const world = new TargetWorld();
  const { target } = world;
  const a = discover(world, 'A', undefined);
  const b = discover(world, 'B', undefined);
  for (const host of [a, b]) host.listen(4, EVENTS);
  const told = (): string => {
    const names = [a, b].map((host, i) => {
      const events = host.events();
      host.log(LogId.Discovery, 1024);
      if (events.some((event) => JSON.stringify(event) !== JSON.stringify(Event.DiscoveryLogChange)))
        t.fail('another event');
      events.forEach(() => host.request());
      return events.length > 0 ? 'AB'[i] : '';
    });
    return names.join('');
  };
  const step = (name: string, expected: string, change: () => void): void => {
    const before = header(a).genctr;
    change();
    world.settle();
    t.equal(told(), expected, name);
    t.ok(header(a).genctr > before, `${name}: GENCTR`);
  };
  const onlyB = { nqn: 'nqn.x:b', serial: 'x', model: 'y', hosts: [whoIs('B').hostnqn] };
  step('a subsystem of B’s', 'B', () => target.addSubsystem(onlyB));
  const subsystem = target.find('nqn.x:b')!;
  step('A is allowed too', 'A', () => subsystem.setHosts(['A', 'B'].map((name) => whoIs(name).hostnqn)));
  step('B no longer', 'B', () => subsystem.setHosts([whoIs('A').hostnqn]));
  step('everybody', 'B', () => subsystem.setHosts(undefined));
  const port = world.listen('127.0.0.1', 4421, { subsystems: [] });
  t.equal(told(), 'AB', 'a port');
  step('a listener', 'AB', () => target.ports.addListener(subsystem, port));
  step('no listener', 'AB', () => target.ports.removeListener(subsystem, port));
  const referral = { address: { host: '10.9.9.9', port: 8009 } };
  step('a referral', 'AB', () => target.ports.setReferrals(target.ports.list[0]!, [referral]));
  step('no referral', 'AB', () => target.ports.setReferrals(target.ports.list[0]!, []));
  step('a referral of another port', '', () => target.ports.setReferrals(port, [referral]));
  step('no port', 'AB', () => target.ports.remove(port, () => undefined));
  step('the subsystem goes', 'AB', () => {
    target.removeSubsystem(subsystem, true, () => undefined);
  });
  const quiet = header(a).genctr;
  world.add(2);
  world.host('A').leave();
  target.ports.removeListener(subsystem, port);
  t.equal(header(a).genctr, quiet, 'namespaces, hosts that come and go, and nothing, change nothing');
  t.end();
});

t.test(
  'DISCOVERY a log of 1,000 subsystems is read in pieces, and GENCTR tells of a change on the way',
  (t) => {
    const world = new TargetWorld();
    for (let i = 0; i < 1000; i++)
      world.target.addSubsystem({ nqn: `nqn.2024-01.test:s${i}`, serial: 'x', model: 'y' });
    const host = discover(world);
    const { genctr, numrec, tdlpl } = header(host);
    t.equal(numrec, 1002);
    t.equal(tdlpl, 1003 * 1024);
    const whole = host.log(LogId.Discovery, tdlpl);
    for (const size of [1024, 4096, 20 * 1024]) {
      const read = new Uint8Array(tdlpl);
      for (let at = 0; at < tdlpl; at += size)
        read.set(host.log(LogId.Discovery, Math.min(size, tdlpl - at), { offset: at }), at);
      t.ok(
        read.every((byte, i) => byte === whole[i]),
        `in pieces of ${size}`,
      );
    }
    // As newer libnvme reads it: 20 bytes, the entries, 20 bytes again.
    const first = host.log(LogId.Discovery, 20);
    t.same(first, whole.subarray(0, 20));
    t.same(host.log(LogId.Discovery, 12, { offset: 1020 }), whole.subarray(1020, 1032), 'across a border');
    const records = world.target.discovery.controllers.get(host.cntlid)!.discoveryView?.records;
    host.log(LogId.Discovery, 4096, { offset: 1024 });
    t.equal(world.target.discovery.controllers.get(host.cntlid)!.discoveryView?.records, records, 'kept');
    t.equal(header(host).genctr, genctr);
    world.target.addSubsystem({ nqn: 'nqn.x:late', serial: 'x', model: 'y' });
    t.not(header(host).genctr, genctr);
    t.equal(header(host).numrec, 1003);
    const read = (lpo: number): number => {
      const dptr = inTransport(16);
      const sqe = GetLogPage.bytes({
        opc: AdminOpcode.GetLogPage,
        lid: LogId.Discovery,
        numdl: 3,
        lpo,
        dptr,
      });
      return host.admin.response(host.admin.command(sqe)).status;
    };
    t.equal(read(1004 * 1024), 0, 'at the end there is nothing');
    t.equal(read(1004 * 1024 + 4), Status.InvalidField | DNR);
    t.end();
  },
);

t.test('DISCOVERY referrals of a port: shown through it alone, never to ourselves, none twice', (t) => {
  const world = new TargetWorld({ referrals: 3 }, { target: { discoveryNqn: OURS } });
  const { target } = world;
  const port = world.listen('0.0.0.0', 8009);
  const to = (host: string, port: number, subnqn?: string) => ({ address: { host, port }, subnqn });
  const known = [
    { ...to('10.9.9.9', 8009), portid: 77 },
    to('10.9.9.9', 8009, 'nqn.2024-01.test:other-discovery'),
  ];
  target.ports.setReferrals(port, known);
  for (const [what, referral] of [
    ['twice', to('10.9.9.9', 8009)],
    ['that is this target', to('127.0.0.1', world.port)],
    ['that is this target', to('10.9.9.9', 4420, OURS)],
    ['no host can connect', to('0.0.0.0', 8009)],
    ['begin with "nqn."', to('10.9.9.8', 8009, 'x')],
    ['not a PORTID', { ...to('10.9.9.8', 8009), portid: 65536 }],
  ] as const)
    t.throws(() => target.ports.setReferrals(port, [...known, referral]), new RegExp(what), what);
  // Nobody can know beforehand that this is an address of ours; who reaches us there is not sent round in circles.
  target.ports.setReferrals(port, [...known, to('10.0.0.7', 8009)]);
  t.throws(
    () => target.ports.setReferrals(target.ports.list[0]!, [to('10.9.9.7', 8009)]),
    /4 referrals: at most 3/,
  );
  const shown = (host: NvmHost): string[] =>
    entries(host)
      .filter(({ subtype }) => subtype === Subtype.Referral)
      .map(({ at, subnqn, portid }) => `${at} ${subnqn.split(/[.:]/).at(-1)} ${portid}`);
  t.same(shown(discover(world, 'A', { host: '10.0.0.8', port: 8009 })), [
    '10.9.9.9 8009 discovery 77',
    '10.9.9.9 8009 other-discovery 0',
    '10.0.0.7 8009 discovery 0',
  ]);
  t.equal(shown(discover(world, 'A', { host: '10.0.0.7', port: 8009 })).length, 2);
  t.same(shown(discover(world)), [], 'the first port has none');
  target.ports.setReferrals(port, []);
  t.same(shown(discover(world, 'A', { host: '10.0.0.8', port: 8009 })), []);
  t.end();
});

t.test(
  'DISCOVERY a connection with KATO stays while it is used; without, it ends after two quiet minutes',
  (t) => {
    const world = new TargetWorld();
    const persistent = world.host('A', { nqn: DISCOVERY_NQN, adminOnly: true, kato: 30_000 });
    const quiet = world.host('B', { nqn: DISCOVERY_NQN, adminOnly: true, kato: 0 });
    for (let i = 0; i < 13; i++) {
      world.env.clock.advance(20_000);
      header(persistent);
    }
    t.notOk(persistent.gone);
    t.ok(quiet.gone, 'looked at every two minutes');
    persistent.listen(1, EVENTS);
    world.target.addSubsystem({ nqn: 'nqn.x:late', serial: 'x', model: 'y' });
    t.same(persistent.events(), [Event.DiscoveryLogChange]);
    world.env.clock.advance(61_000);
    t.ok(persistent.gone, 'KATO');
    t.end();
  },
);

t.test('EVENTS a changed list that overflows says FFFFFFFFh, once', (t) => {
  const world = new TargetWorld({ namespaces: 1100, attachments: 1100, maxTransfer: 65536 });
  const host = world.host('A');
  host.listen(1);
  for (let nsid = 2; nsid <= 1026; nsid++) world.add(nsid);
  t.same(host.events(), [Event.NamespaceAttributeChanged]);
  const list = viewOf(host.log(LogId.ChangedNamespaces, 4096));
  t.equal(list.getUint32(0, true), 0xffffffff);
  t.equal(list.getUint32(4, true), 0);
  t.same(host.changes, []);
  t.same(host.active.length, 1024, 'as many as fit');
  t.end();
});

t.test('EVENTS of different kinds do not mask each other, and each waits once for a request', (t) => {
  const world = new TargetWorld();
  const host = world.host('A');
  host.listen(1);
  const [port] = world.target.ports.list;
  world.subsystem.changed(world.namespace);
  world.target.ports.setAnaState(port!, 1, 2);
  world.target.ports.setAnaState(port!, 1, 1);
  world.subsystem.changed(world.namespace);
  t.same(host.events(), [Event.NamespaceAttributeChanged]);
  host.request();
  t.same(host.events(), [Event.AnaChange]);
  host.request();
  t.same(host.events(), [], 'both are masked until their logs are read');
  host.log(LogId.Ana, 16, { rae: 1 });
  world.target.ports.setAnaState(port!, 1, 2);
  t.same(host.events(), [], 'RAE leaves it so');
  host.log(LogId.Ana, 16);
  world.target.ports.setAnaState(port!, 1, 1);
  t.same(host.events(), [Event.AnaChange]);
  t.end();
});
