// Edits and differences: pure functions, a row each.
import fc from 'fast-check';
import t from 'tap';
import type { NamespaceEntry, PortEntry, SubsystemEntry, TargetDocument } from '../../src/config/document.ts';
import {
  type Edit,
  addHost,
  addListener,
  addNamespace,
  addPort,
  addReferral,
  addSubsystem,
  drainPort,
  enableNamespace,
  enablePort,
  listenAt,
  maskNamespace,
  meantPort,
  meantSubsystem,
  moveNamespace,
  removeHost,
  removeListener,
  removeNamespace,
  removePort,
  removeReferral,
  removeSubsystem,
  setAna,
  setHosts,
  setPort,
  setSubsystem,
} from '../../src/config/edit.ts';
import { exportNamespaces } from '../../src/config/export.ts';
import { type Change, describeChange, diff, keyOf } from '../../src/config/plan.ts';
import type { NamespaceRequest } from '../../src/config/request.ts';
import { document as anyDocument } from './arbitrary.ts';

const A = 'nqn.2024-01.test:a';
const B = 'nqn.2024-01.test:b';
const HOST = 'nqn.2024-01.host:one';

const subsystem = (nqn: string, ...namespaces: NamespaceEntry[]): SubsystemEntry => ({
  nqn,
  serial: 's',
  model: 'm',
  shared: true,
  namespaces,
});
const disk = (nsid: number, more: Partial<NamespaceEntry> = {}): NamespaceEntry => ({
  nsid,
  uuid: `00000000-0000-4000-8000-00000000000${nsid}`,
  path: `/${nsid}`,
  fileId: `1:${nsid}`,
  blockSize: 512,
  readOnly: false,
  anagrpid: 1,
  enabled: true,
  shared: true,
  ...more,
});
const port = (id: number, ...subsystems: string[]): PortEntry => ({
  id,
  address: `10.0.0.${id}:4420`,
  enabled: true,
  subsystems,
  ana: [],
  referrals: [],
});

const base: TargetDocument = {
  version: 2,
  subsystems: [subsystem(A, disk(1), disk(2)), subsystem(B)],
  ports: [port(1, A, B), port(2, A)],
};

const entry =
  (nsid: number, more: Partial<NamespaceEntry>): Edit =>
  (document) => ({
    ...document,
    subsystems: document.subsystems.map((each) => ({
      ...each,
      namespaces: each.namespaces.map((one) => (one.nsid === nsid ? { ...one, ...more } : one)),
    })),
  });
const identity =
  (nqn: string, more: Partial<SubsystemEntry>): Edit =>
  (document) => ({
    ...document,
    subsystems: document.subsystems.map((each) => (each.nqn === nqn ? { ...each, ...more } : each)),
  });

t.test('LIFE.13 a plan has what changed and nothing else, in the order in which it is made', (t) => {
  const rows: [string, Edit, string[]][] = [
    ['nothing', (document) => document, []],
    ['a host', addHost(A, HOST), [`~ subsystem ${A}: for ${HOST}`]],
    [
      'fewer queues',
      setSubsystem(A, { ioQueues: 2 }),
      [`~ subsystem ${A}: I/O queues: 2; its hosts connect again`],
    ],
    ['a firmware', setSubsystem(A, { firmware: 'x' }), [`~ subsystem ${A}: firmware x`]],
    [
      'smaller capsules',
      setPort(2, { inlineDataSize: 4096 }),
      ['- port 2, 10.0.0.2:4420', `+ port 2, 10.0.0.2:4420: ${A}; 4096 bytes of in-capsule data`],
    ],
    [
      'an EUI-64',
      entry(1, { eui64: '0011223344556677' }),
      [`- namespace 1 of ${A}`, `+ namespace 1 of ${A}: /1, 512-byte blocks`],
    ],
    ['no host', setHosts(A, []), [`~ subsystem ${A}: for no host`]],
    ['a namespace', addNamespace(B, disk(3)), [`+ namespace 3 of ${B}: /3, 512-byte blocks`]],
    ['one less', removeNamespace(A, 1), [`- namespace 1 of ${A}`]],
    ['disabled', enableNamespace(A, 1, false), [`~ namespace 1 of ${A}: disabled`]],
    ['moved', moveNamespace(A, 2, 7), [`~ namespace 2 of ${A}: ANA group 7`]],
    ['masked', maskNamespace(A, 2, [HOST]), [`~ namespace 2 of ${A}: seen by ${HOST}`]],
    ['renamed: nothing to do', entry(1, { path: '/moved' }), []],
    [
      'another disk',
      entry(1, { path: '/moved', fileId: '1:9' }),
      [`- namespace 1 of ${A}`, `+ namespace 1 of ${A}: /moved, 512-byte blocks`],
    ],
    [
      'another block size',
      entry(1, { blockSize: 4096 }),
      [`- namespace 1 of ${A}`, `+ namespace 1 of ${A}: /1, 4096-byte blocks`],
    ],
    ['not exported here', entry(1, { dormant: true }), [`- namespace 1 of ${A}`]],
    ['a state', setAna(1, 1, 'inaccessible'), ['~ port 1: ANA group 1 is inaccessible, was optimized']],
    ['said, not changed', setAna(1, 1, 'optimized'), []],
    ['draining', drainPort(2, true), ['~ port 2: ANA group 1 is inaccessible, was optimized']],
    ['a listener', addListener(2, B), [`+ ${B} on port 2`]],
    ['one less listener', removeListener(1, B), [`- ${B} on port 1`]],
    ['a port', addPort(port(3)), ['+ port 3, 10.0.0.3:4420: discovery only']],
    ['one less port', removePort(2), ['- port 2, 10.0.0.2:4420']],
    ['a disabled port', enablePort(2, false), ['- port 2, 10.0.0.2:4420 (disabled, stays configured)']],
    [
      'a referral',
      addReferral(1, { name: 'x', address: '10.9.9.9:8009', id: 0 }),
      ['~ port 1: refers to 10.9.9.9:8009'],
    ],
    ['a subsystem', addSubsystem(subsystem('nqn.c')), ['+ subsystem nqn.c: every host may connect']],
    [
      'a subsystem goes after all that is behind it',
      removeSubsystem(A),
      [
        `- ${A} on port 1`,
        `- ${A} on port 2`,
        `- namespace 1 of ${A}`,
        `- namespace 2 of ${A}`,
        `- subsystem ${A}`,
      ],
    ],
    [
      'LIFE.11 another serial number is another subsystem, offered when it is complete',
      identity(A, { serial: 't' }),
      [
        `- ${A} on port 1`,
        `- ${A} on port 2`,
        `- namespace 1 of ${A}`,
        `- namespace 2 of ${A}`,
        `- subsystem ${A} (to be made anew)`,
        `+ subsystem ${A}: every host may connect`,
        `+ namespace 1 of ${A}: /1, 512-byte blocks`,
        `+ namespace 2 of ${A}: /2, 512-byte blocks`,
        `+ ${A} on port 1`,
        `+ ${A} on port 2`,
      ],
    ],
    [
      'a wider address takes the place of a narrower one',
      listenAt('0.0.0.0:4420', B),
      ['- port 1, 10.0.0.1:4420', '- port 2, 10.0.0.2:4420', `+ port 1, 0.0.0.0:4420: ${A}, ${B}`],
    ],
  ];
  for (const [name, edit, lines] of rows) t.same(diff(base, edit(base)).map(describeChange), lines, name);
  t.end();
});

t.test('a file that another namespace gives up is taken over', (t) => {
  const wanted = addNamespace(B, disk(5, { path: '/1', fileId: '1:1' }))(removeNamespace(A, 1)(base));
  t.match(diff(base, wanted), [
    { kind: 'remove namespace', nqn: A, nsid: 1 },
    { kind: 'add namespace', nqn: B, nsid: 5, from: { nqn: A, nsid: 1 } },
  ]);
  const disabled = enableNamespace(A, 1, false)(base);
  const free = addNamespace(B, disk(5, { path: '/1', fileId: '1:1' }))(removeNamespace(A, 1)(disabled));
  t.match(diff(disabled, free)[1], { from: undefined }, 'nobody has it open');
  t.end();
});

/** What the changes make of a document: a model of the target. */
function carriedOut(document: TargetDocument, changes: readonly Change[]): TargetDocument {
  let next: TargetDocument = {
    ...document,
    subsystems: document.subsystems.map((each) => ({
      ...each,
      namespaces: each.namespaces.filter(({ dormant }) => !dormant),
    })),
    ports: document.ports.filter(({ enabled }) => enabled),
  };
  for (const change of changes)
    switch (change.kind) {
      case 'remove listener':
        next = removeListener(change.id, change.nqn)(next);
        break;
      case 'remove port':
        next = removePort(change.id)(next);
        break;
      case 'remove namespace':
        next = removeNamespace(change.nqn, change.nsid)(next);
        break;
      case 'remove subsystem': {
        const left = next.subsystems.find(({ nqn }) => nqn === change.nqn);
        if (
          left?.namespaces.length !== 0 ||
          next.ports.some(({ subsystems }) => subsystems.includes(change.nqn))
        )
          throw new Error(`${change.nqn} is still in use`);
        next = removeSubsystem(change.nqn)(next);
        break;
      }
      case 'add subsystem':
        next = addSubsystem({ ...change.subsystem, namespaces: [] })(next);
        break;
      case 'set subsystem': {
        const { ioQueues = null, firmware = null } = change;
        next = setSubsystem(change.nqn, { ioQueues, firmware })(next);
        break;
      }
      case 'set hosts':
        next = setHosts(change.nqn, change.hosts)(next);
        break;
      case 'add namespace':
        next = addNamespace(change.nqn, change.entry)(next);
        break;
      case 'enable namespace':
      case 'disable namespace':
        next = enableNamespace(change.nqn, change.nsid, change.kind === 'enable namespace')(next);
        break;
      case 'move namespace':
        next = moveNamespace(change.nqn, change.nsid, change.anagrpid)(next);
        break;
      case 'mask namespace':
        next = maskNamespace(change.nqn, change.nsid, change.hosts)(next);
        break;
      case 'set ana':
        next = setAna(change.id, change.grpid, change.state)(next);
        break;
      case 'set referrals': {
        const { id, referrals } = change;
        next = { ...next, ports: next.ports.map((each) => (each.id === id ? { ...each, referrals } : each)) };
        break;
      }
      case 'add port':
        for (const nqn of change.port.subsystems) meantSubsystem(next, nqn);
        next = addPort(change.port)(next);
        break;
      case 'add listener':
        next = addListener(change.id, change.nqn)(next);
    }
  return next;
}

t.test('the changes of a plan, made in their order, lead from any document to any other', (t) => {
  fc.assert(
    fc.property(anyDocument, anyDocument, (running, wanted) => {
      const made = carriedOut(running, diff(running, wanted));
      t.same(diff(made, wanted), []);
      t.same(diff(wanted, wanted), []);
    }),
  );
  t.end();
});

t.test('what may fail has a name of its own', (t) => {
  fc.assert(
    fc.property(anyDocument, (wanted) => {
      const plan = diff({ version: 2, subsystems: [], ports: [] }, wanted);
      const keys = plan.map(keyOf);
      return new Set(keys).size === keys.length;
    }),
  );
  t.end();
});

t.test('an edit that cannot be says why: a row each', (t) => {
  const rows: [Edit, string, RegExp][] = [
    [addSubsystem(subsystem(A)), 'EEXIST', /a subsystem nqn.*:a already/],
    [removeSubsystem('nqn.c'), 'ENOENT', /no subsystem nqn\.c$/],
    [addNamespace(A, disk(1)), 'EEXIST', /namespace 1 exists/],
    [removeNamespace(A, 9), 'ENOENT', /no namespace 9 of nqn/],
    [moveNamespace(B, 1, 2), 'ENOENT', /no namespace 1 of nqn.*:b$/],
    [addPort(port(1)), 'EEXIST', /a port 1 already/],
    [removePort(9), 'ENOENT', /no port 9$/],
    [setAna(9, 1, 'change'), 'ENOENT', /no port 9$/],
    [addListener(1, A), 'EEXIST', /on port 1 already/],
    [addListener(1, 'nqn.c'), 'ENOENT', /no subsystem nqn\.c$/],
    [removeListener(2, B), 'ENOENT', /no nqn.*:b on port 2$/],
    [removeHost(A, HOST), 'ENOENT', /no host nqn.*one in nqn/],
    [removeReferral(1, 'x'), 'ENOENT', /no referral x on port 1$/],
    [(document) => (meantSubsystem(document, undefined), document), 'EINVAL', /there are 2 subsystems/],
    [(document) => (meantPort(document, '10.0.0.9:1'), document), 'ENOENT', /no port 10\.0\.0\.9:1/],
  ];
  for (const [edit, code, message] of rows) t.throws(() => edit(base), { code, message });
  t.equal(meantPort(base, '10.0.0.2:4420').id, 2);
  t.equal(meantPort(base, '2').id, 2);
  t.same(removeHost(A, HOST)(addHost(A, HOST)(base)).subsystems[0]?.hosts, [], 'the last host leaves nobody');
  t.same(setHosts(A, undefined)(addHost(A, HOST)(base)), base);
  t.end();
});

let made = 0;
const facts = {
  seen: new Map([
    ['/1', { fileId: '1:1', born: undefined }],
    ['/2', { fileId: '1:99', born: undefined }],
    ['/new', { fileId: '1:5', born: '7' }],
    ['/link', { fileId: '1:5', born: '7' }],
    ['/moved', { fileId: '1:1', born: undefined }],
    ['/absent', undefined],
  ]),
  resolve: (path: string) => path,
  newUuid: () => `ffffffff-0000-4000-8000-${String(++made).padStart(12, '0')}`,
  lastNsid: 10,
  place: 'target.json',
};

t.test(
  'LIFE.10 requests become entries: known files keep theirs, new ones take the lowest free NSID',
  (t) => {
    const ask = (...requests: NamespaceRequest[]) => exportNamespaces(base, A, requests, facts);
    t.same(ask({ file: '/1' }).document, base);
    t.match(ask({ file: '/moved' }).document.subsystems[0]?.namespaces[0], { ...disk(1), path: '/moved' });
    const both: NamespaceRequest[] = [{ memory: 512 }, { file: '/new', blockSize: 4096 }];
    const { document, nsids } = ask(...both);
    t.same(
      [...nsids],
      [
        [both[1], 3],
        [both[0], 4],
      ],
      'files first',
    );
    t.same(document.subsystems[0]?.namespaces[2], {
      nsid: 3,
      uuid: 'ffffffff-0000-4000-8000-000000000001',
      path: '/new',
      fileId: '1:5',
      born: '7',
      blockSize: 4096,
      readOnly: false,
      anagrpid: 1,
      enabled: true,
      shared: true,
    });
    t.end();
  },
);

t.test('a request that cannot be says why: a row each', (t) => {
  const rows: [NamespaceRequest[], string, RegExp][] = [
    [[{ file: '/2' }], 'ESTALE', /another file than the one that is namespace 2 \(1:2, now 1:99\)/],
    [[{ file: '/new' }, { file: '/link' }], 'EEXIST', /\/link is the same file as \/new/],
    [[{ file: '/1', nsid: 4 }], 'EINVAL', /namespace 1 with nsid 1, not 4; to change it, edit target\.json/],
    [[{ memory: 512, nsid: 11 }], 'EINVAL', /NSIDs go up to 10/],
    [[{ memory: 512, nsid: 1 }], 'EEXIST', /namespace 1 exists/],
    [[{ memory: 512, anagrpid: 129 }], 'EINVAL', /129 is not an ANA group/],
    [[{ memory: 512, nguid: 'x' }], 'EINVAL', /the NGUID "x" is not 32 hexadecimal digits/],
    [[{ memory: 512, uuid: disk(1).uuid }], 'EEXIST', /the UUID .* is taken/],
    [[{ memory: 512, hosts: ['me'] }], 'EINVAL', /the host NQN "me" does not begin/],
  ];
  for (const [requests, code, message] of rows)
    t.throws(() => exportNamespaces(base, A, requests, facts), { code, message });
  t.throws(() => exportNamespaces(base, B, [{ file: '/1' }], facts), {
    code: 'EEXIST',
    message: /\/1 is namespace 1 of nqn.*:a$/,
  });
  t.end();
});
