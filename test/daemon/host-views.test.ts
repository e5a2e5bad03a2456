// What a host has, in nvme-cli's words: the keys, and the text.
import t from 'tap';
import {
  connectedText,
  eventText,
  listText,
  subsystemsText,
  topologyText,
  usage,
  verboseListText,
  whyText,
} from '../../src/cli/host-show.ts';
import { hostDocumentText, parseHostDocument } from '../../src/daemon/host-document.ts';
import { type HostShown, showHost } from '../../src/daemon/host-show.ts';
import { simpleList, subsystemList, topology, verboseList } from '../../src/daemon/host-views.ts';
import { why } from '../../src/initiator/why.ts';
import { AnaState } from '../../src/nvme/ana-log.ts';
import { SUBNQN, UUID } from '../doubles/fake-controller.ts';
import { HOSTID, HOSTNQN } from '../doubles/host-world.ts';
import { Multipath } from '../doubles/multipath.ts';

const world = (): { multipath: Multipath; shown: () => HostShown } => {
  const multipath = new Multipath({ ana: [AnaState.Optimized, AnaState.NonOptimized] });
  const identity = { hostnqn: HOSTNQN, hostid: HOSTID };
  const served = { nbd: '/run/nvme0n1.sock', link: `/run/by-id/nvme-uuid.${UUID}.sock` };
  const shown = () =>
    // As it comes out of the control socket.
    JSON.parse(JSON.stringify(showHost(multipath.world.registry, identity, () => served))) as HostShown;
  return { multipath, shown };
};

t.test('NUM.2 NUM.10 JSON has the keys of nvme-cli, in its shape, and ours under one of their own', (t) => {
  const { shown } = world();
  const [device] = simpleList(shown()).Devices;
  t.strictSame(Object.keys(device ?? {}), [
    'NameSpace',
    'DevicePath',
    'GenericPath',
    'Firmware',
    'ModelNumber',
    'SerialNumber',
    'UsedBytes',
    'MaximumLBA',
    'PhysicalSize',
    'SectorSize',
    'nvmetcp',
  ]);
  const verbose = verboseList(shown());
  t.strictSame(Object.keys(verbose), ['Devices']);
  t.strictSame(Object.keys(verbose.Devices[0] ?? {}), ['HostNQN', 'HostID', 'Subsystems']);
  const [subsystem] = verbose.Devices[0]?.Subsystems ?? [];
  t.strictSame(Object.keys(subsystem ?? {}), ['Subsystem', 'SubsystemNQN', 'Controllers', 'Namespaces']);
  t.strictSame(Object.keys(subsystem?.Controllers[0] ?? {}), [
    'Controller',
    'Cntlid',
    'SerialNumber',
    'ModelNumber',
    'Firmware',
    'Transport',
    'Address',
    'Slot',
    'Namespaces',
    'Paths',
    'nvmetcp',
  ]);
  t.strictSame(Object.keys(subsystem?.Namespaces[0] ?? {}), [
    'NameSpace',
    'Generic',
    'NSID',
    'UsedBytes',
    'MaximumLBA',
    'PhysicalSize',
    'SectorSize',
    'nvmetcp',
  ]);
  t.strictSame(
    subsystem?.Controllers.map(({ Controller, Cntlid, Address, Paths }) => [
      Controller,
      Cntlid,
      Address,
      ...Paths,
    ]),
    [
      ['nvme0', '1', 'traddr=127.0.0.1,trsvcid=4420', { Path: 'nvme0c0n1', ANAState: 'optimized' }],
      ['nvme1', '2', 'traddr=127.0.0.1,trsvcid=4421', { Path: 'nvme0c1n1', ANAState: 'non-optimized' }],
    ],
  );
  t.match(subsystemList(shown()), [
    {
      HostNQN: HOSTNQN,
      HostID: HOSTID,
      Subsystems: [
        {
          Name: 'nvme-subsys0',
          NQN: SUBNQN,
          IOPolicy: 'numa',
          Paths: [
            { Name: 'nvme0', Transport: 'tcp', Address: 'traddr=127.0.0.1,trsvcid=4420', State: 'live' },
            { Name: 'nvme1', Transport: 'tcp', Address: 'traddr=127.0.0.1,trsvcid=4421', State: 'live' },
          ],
          nvmetcp: { write_failover: 'safe', delayed_removal_secs: 0 },
        },
      ],
    },
  ]);
  const [named] = topology(shown())[0]?.Subsystems ?? [];
  t.strictSame(Object.keys(named ?? {}), ['Name', 'NQN', 'IOPolicy', 'Namespaces', 'nvmetcp']);
  t.match(named?.Namespaces, [
    {
      NSID: 1,
      Paths: [
        { Name: 'nvme0', State: 'live', ANAState: 'optimized', nvmetcp: { name: 'nvme0c0n1', usable: true } },
        { Name: 'nvme1', State: 'live', ANAState: 'non-optimized' },
      ],
      nvmetcp: { name: 'nvme0n1', nbd: '/run/nvme0n1.sock' },
    },
  ]);
  t.end();
});

t.test('UsedBytes is NUSE in bytes, as of the last scan; -v adds what nvme-cli adds', (t) => {
  const { multipath, shown } = world();
  const [namespace] = multipath.a.fake.namespaces;
  t.equal(simpleList(shown()).Devices[0]?.UsedBytes, 8192 * 512, 'a namespace that is not thin');
  multipath.a.fake.namespaces = [{ ...namespace!, change: { ...namespace!.change, nuse: 100 } }];
  multipath.a.rescan();
  t.match(simpleList(shown()).Devices[0], { UsedBytes: 100 * 512, PhysicalSize: 8192 * 512 });
  multipath.a.fake.namespaces = [{ ...namespace!, change: { ...namespace!.change, nuse: 2 ** 50 } }];
  multipath.a.rescan();
  t.equal(simpleList(shown()).Devices[0]?.UsedBytes, 8192 * 512, 'never more than there is');
  const more = { Model: 'fake controller', Serial: 'FAKE', Firmware: '1', Type: 'nvm' };
  for (const [of, text] of [
    [subsystemList, subsystemsText(subsystemList(shown(), true))],
    [topology, topologyText(topology(shown(), true))],
  ] as const) {
    t.match(of(shown(), true)[0]?.Subsystems, [more]);
    t.match(text, /\n +model=fake controller\n +serial=FAKE\n +firmware=1\n +iopolicy=numa\n +type=nvm\n/);
  }
  t.end();
});

t.test('a head without a path, whose controllers are gone, is still there to be seen', (t) => {
  const { multipath, shown } = world();
  multipath.head.setDelayedRemoval(10);
  for (const { controller } of multipath.sides) controller.disconnect('disconnected', () => undefined);
  multipath.world.advance(1000);
  t.match(verboseList(shown()).Devices, [
    {
      HostNQN: HOSTNQN,
      Subsystems: [
        { Controllers: [], Namespaces: [{ NameSpace: 'nvme0n1', nvmetcp: { state: 'orphaned' } }] },
      ],
    },
  ]);
  t.match(topologyText(topology(shown())), / \+- ns 1 \(nvme0n1, orphaned\)\n \\$/);
  t.end();
});

t.test('text is nvme-cli’s', (t) => {
  const { multipath, shown } = world();
  t.match(
    listText(simpleList(shown())),
    /^Node {5}SN +Model +Namespace {2}Usage +Format +FW Rev\n-{7} .*\nnvme0n1 {2}\S+ .* 0x1 .*B +\+ {2}0 B/,
  );
  t.match(
    verboseListText(verboseList(shown())),
    /^Subsystem .*\n-.*\nnvme-subsys0 .* nvme0, nvme1\n\nDevice/,
  );
  t.equal(
    subsystemsText(subsystemList(shown())),
    [
      `nvme-subsys0 - NQN=${SUBNQN}`,
      `               hostnqn=${HOSTNQN}`,
      '               iopolicy=numa',
      '\\',
      ' +- nvme0 tcp traddr=127.0.0.1,trsvcid=4420 live',
      ' +- nvme1 tcp traddr=127.0.0.1,trsvcid=4421 live',
    ].join('\n'),
  );
  t.match(
    topologyText(topology(shown())),
    /\n \+- ns 1 \(nvme0n1, serving\)\n \\\n {2}\+- nvme0 tcp \S+ live optimized\n {2}\+- nvme1 tcp \S+ live non-optimized$/,
  );
  for (const [bytes, text] of [
    [0, '  0.00   B'],
    [512, '512.00   B'],
    [1_073_741_824, '  1.07  GB'],
    [1e13, ' 10.00  TB'],
  ] as const)
    t.equal(usage(bytes), text);
  const where = {
    id: 1,
    subsystem: 'nvme-subsys0',
    subnqn: SUBNQN,
    traddr: 'a',
    trsvcid: '1',
    state: 'live',
  };
  t.equal(
    connectedText({ device: 'nvme0', already: false, warnings: [], ...where }),
    'connecting to device: nvme0',
  );
  t.match(
    connectedText({ device: 'nvme0', already: true, warnings: [], ...where }),
    /^already connected: nvme0 to /,
  );
  const [first] = multipath.world.registry.journal.since(0);
  t.match(first === undefined ? '' : eventText(first), /^\S+Z controller added nvme0 #\d+: nqn/);
  t.end();
});

t.test('why, as text: each path with its reason, and the timer that acts next', (t) => {
  const { multipath } = world();
  t.match(whyText(why(multipath.head)), /^nvme0n1, serving: I\/O goes by nvme0c0n1, as numa says\n/);
  for (const side of multipath.sides) multipath.down(side);
  const text = whyText(why(multipath.head));
  t.match(text, /^nvme0n1, serving: I\/O waits: no path is usable, but 2 may be again\n/);
  t.match(text, /\n {2}nvme0c1n1 by nvme1, traddr=127\.0\.0\.1,trsvcid=4421, connecting/);
  t.match(text, /\n {4}nvme0: reconnect in 1\.0 s: connects the controller again\n/);
  t.match(text, /\n {2}next: nvme\d: reconnect in 1\.0 s: connects the controller again$/);
  t.end();
});

t.test('the document is checked, and what is wrong is said by its place', (t) => {
  const good = {
    version: 1 as const,
    connections: [{ traddr: '::1', trsvcid: '4420', subnqn: SUBNQN, iopolicy: 'numa' as const }],
    following: [{ traddr: 'a', disconnect_after: -1 }],
  };
  t.strictSame(parseHostDocument(hostDocumentText(good)), good);
  const rows: [unknown, RegExp][] = [
    [{ ...good, version: 2 }, /^version cannot be 2/],
    [{ ...good, connections: [{ traddr: 'a' }] }, /^connections\[0\]\.subnqn is missing/],
    [{ ...good, connections: [{ traddr: 'a', subnqn: 'x' }] }, /^connections\[0\]\.subnqn "x"/],
    [{ ...good, following: [{ traddr: 'a', subnqn: SUBNQN }] }, /^following\[0\]\.subnqn is not known/],
    [{ version: 1 }, /is missing/],
  ];
  for (const [value, message] of rows)
    t.throws(() => parseHostDocument(JSON.stringify(value)), { name: 'ConfigError', message });
  t.throws(() => parseHostDocument('{'), { message: /^not JSON/ });
  t.end();
});
