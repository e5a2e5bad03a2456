// The state document and configuration files as text: what is read, what is refused, and in which words.
import fc from 'fast-check';
import t from 'tap';
import { applyConfig } from '../../src/config/apply.ts';
import {
  EMPTY,
  type NamespaceEntry,
  type TargetDocument,
  formatDocument,
} from '../../src/config/document.ts';
import { isSameFile } from '../../src/config/file-identity.ts';
import { readConfig } from '../../src/config/nvmet.ts';
import { writeConfig } from '../../src/config/nvmet-write.ts';
import { diff } from '../../src/config/plan.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { parseDocument } from '../../src/config/schema.ts';
import { must } from '../../src/runtime/assert.ts';
import { document, namespace } from './arbitrary.ts';

const NQN = 'nqn.2024-01.test:one';
const UUID = '6b2f8f6c-6e0b-4cc1-8f8e-0d5e7c8a9b10';

let uuids = 0;
const facts = {
  seen: new Map(),
  newUuid: () => `00000000-0000-4000-8000-${String(++uuids).padStart(12, '0')}`,
  newSerial: () => 'fresh',
  lastNsid: 1024,
};

t.test('LIFE.10 the state document reads back as written, and anything else is a ConfigError', (t) => {
  fc.assert(
    fc.property(document, (value) => {
      t.same(parseDocument(formatDocument(value)), value);
    }),
  );
  const keys = fc.constantFrom('version', 'subsystems', 'ports', 'more');
  fc.assert(
    fc.property(document, keys, fc.jsonValue(), (value, key, nonsense) => {
      try {
        parseDocument(JSON.stringify({ ...value, [key]: nonsense }));
        return key !== 'more';
      } catch (error) {
        return error instanceof ConfigError && !error.message.includes('\n');
      }
    }),
  );
  t.end();
});

t.test('what goes with the process is not written', (t) => {
  const [entry] = fc.sample(namespace, { numRuns: 1, seed: 1 });
  const value: TargetDocument = {
    version: 2,
    subsystems: [
      {
        nqn: NQN,
        serial: 's',
        model: 'm',
        shared: true,
        namespaces: [
          { ...must(entry, 'one'), nsid: 1, dormant: true },
          { ...must(entry, 'one'), nsid: 2, volatile: true },
        ],
      },
    ],
    ports: [
      { id: 1, address: 'a:1', enabled: true, subsystems: [], ana: [], referrals: [], draining: true },
      { id: 2, address: 'a:0', enabled: true, subsystems: [], ana: [], referrals: [], volatile: true },
    ],
  };
  const read = parseDocument(formatDocument(value));
  t.same(read.subsystems[0]?.namespaces, [{ ...entry, nsid: 1 }]);
  t.same(read.ports, [{ id: 1, address: 'a:1', enabled: true, subsystems: [], ana: [], referrals: [] }]);
  t.end();
});

t.test('a document of version 1 is one subsystem on every address', (t) => {
  const old = {
    version: 1,
    nqn: NQN,
    serial: 's',
    model: 'm',
    hosts: ['nqn.a'],
    listen: ['127.0.0.1:4420', '0.0.0.0:4420', '[::1]:8009'],
    namespaces: [
      {
        nsid: 2,
        uuid: UUID.toUpperCase(),
        path: '/a',
        fileId: '1:2',
        born: '3',
        blockSize: 4096,
        readOnly: true,
      },
    ],
  };
  const port = { enabled: true, subsystems: [NQN], ana: [], referrals: [] };
  t.same(parseDocument(JSON.stringify(old)), {
    version: 2,
    subsystems: [
      {
        nqn: NQN,
        serial: 's',
        model: 'm',
        shared: true,
        hosts: ['nqn.a'],
        namespaces: [{ ...old.namespaces[0], uuid: UUID, anagrpid: 1, enabled: true, shared: true }],
      },
    ],
    ports: [
      { ...port, id: 1, address: '0.0.0.0:4420' },
      { ...port, id: 2, address: '[::1]:8009' },
    ],
  });
  t.end();
});

const good = {
  version: 2,
  subsystems: [
    {
      nqn: NQN,
      serial: 's',
      model: 'm',
      shared: true,
      namespaces: [
        {
          nsid: 1,
          uuid: UUID,
          path: '/a',
          blockSize: 512,
          readOnly: false,
          anagrpid: 1,
          enabled: true,
          shared: true,
        },
      ],
    },
  ],
  ports: [{ id: 1, address: '127.0.0.1:4420', enabled: true, subsystems: [NQN], ana: [], referrals: [] }],
};

/** A copy with another value at a path; undefined takes it away. */
function spoiled(path: string, value: unknown, root: unknown = good): string {
  const copy = structuredClone(root) as Record<string, unknown>;
  const parts = path.split('.');
  const last = parts.pop() ?? '';
  let at = copy;
  for (const part of parts) at = at[part] as Record<string, unknown>;
  at[last] = value;
  return JSON.stringify(copy);
}

t.test('what is wrong with a document is said by its path: a row each', (t) => {
  const entry = good.subsystems[0]?.namespaces[0];
  const rows: [string, unknown, RegExp][] = [
    ['version', 3, /^version is 3, this program knows 1 and 2$/],
    ['ports', undefined, /^ports is missing$/],
    ['ports', 'x', /^ports is not a list$/],
    ['subsystems.0', [], /^subsystems\[0\] is not an object$/],
    ['subsystems.0.extra', 1, /^subsystems\[0\]\.extra is not known$/],
    ['subsystems.0.nqn', 'disk', /^subsystems\[0\]\.nqn "disk" does not begin with "nqn\."$/],
    ['subsystems.0.nqn', 7, /^subsystems\[0\]\.nqn is not a text$/],
    [
      'subsystems.0.serial',
      'x'.repeat(21),
      /^subsystems\[0\]\.serial has 21 characters, at most 20 are allowed$/,
    ],
    ['subsystems.0.shared', 1, /^subsystems\[0\]\.shared is neither true nor false$/],
    ['subsystems.0.cntlids', [5, 1], /^subsystems\[0\]\.cntlids: 5 is above 1$/],
    ['subsystems.0.namespaces.0.nsid', 0, /^subsystems\[0\]\.namespaces\[0\]\.nsid cannot be 0, at least 1$/],
    ['subsystems.0.namespaces.0.nsid', 1.5, /\.nsid cannot be 1\.5$/],
    ['subsystems.0.namespaces.0.blockSize', 100, /\.blockSize has to be 512 or 4096$/],
    ['subsystems.0.namespaces.0.path', 'a', /\.path is not an absolute path$/],
    ['subsystems.0.namespaces.0.path', undefined, /namespaces\[0\] has neither a path nor memory$/],
    ['subsystems.0.namespaces.0.memory', 512, /namespaces\[0\] has both a path and memory$/],
    [
      'subsystems.0.namespaces.0.uuid',
      '00000000-0000-0000-0000-000000000000',
      /\.uuid is all zeroes, which means none$/,
    ],
    ['subsystems.0.namespaces.0.anagrpid', 129, /\.anagrpid cannot be 129, at most 128$/],
    ['subsystems.0.namespaces.1', entry, /^subsystems\[0\]\.namespaces: two of them have the nsid 1$/],
    ['subsystems.0.namespaces.1', { ...entry, nsid: 2 }, /namespaces: two of them have the uuid 6b2f/],
    [
      'subsystems.0.namespaces.1',
      { ...entry, nsid: 2, uuid: UUID.replace('6b', '7b'), nguid: UUID.replaceAll('-', '') },
      /namespaces: two of them have the nguid 6b2f/,
    ],
    ['subsystems.0.namespaces.1', { ...entry, nsid: 2, uuid: NQN }, /\.uuid ".*" is not a UUID$/],
    ['subsystems.1', good.subsystems[0], /^subsystems: two of them have the nqn nqn\.2024-01\.test:one$/],
    ['ports.0.id', 0, /^ports\[0\]\.id cannot be 0, at least 1$/],
    ['ports.0.address', 'x', /^ports\[0\]\.address "x" is not HOST:PORT$/],
    ['ports.0.subsystems', ['nqn.b'], /^ports\[0\]\.subsystems\[0\]: there is no subsystem nqn\.b$/],
    ['ports.0.ana', [{ grpid: 1, state: 'fine' }], /\.ana\[0\]\.state cannot be "fine"; "optimized", /],
    ['ports.1', { ...good.ports[0], id: 2 }, /^ports\[1\]\.address: 127\.0\.0\.1:4420 is taken by port 1/],
    ['ports.1', { ...good.ports[0], id: 2, address: '0.0.0.0:4420' }, /is taken by port 1/],
    ['ports.1', { ...good.ports[0], address: '127.0.0.1:1' }, /^ports: two of them have the id 1$/],
  ];
  for (const [path, value, message] of rows)
    t.throws(() => parseDocument(spoiled(path, value)), { message }, path);
  t.throws(() => parseDocument('{'), { message: /^not JSON: / });
  const deep = (levels: number): string => `{"hosts": ${'['.repeat(levels)}"[\\"["${']'.repeat(levels)}}`;
  t.throws(() => parseDocument(deep(99)), { message: /^version is/ }, 'brackets in a text do not count');
  t.throws(() => parseDocument(deep(200_000)), { message: /^more than 100 lists or objects in each other$/ });
  t.throws(() => parseDocument('[]'), { message: /^the document is not an object$/ });
  t.doesNotThrow(() => parseDocument(JSON.stringify(good)));
  t.end();
});

/** As nvmetcli 0.8 writes it, sorted keys and all. */
const NVMETCLI = {
  hosts: [
    {
      dhchap: { ctrl_key: '', dhgroup: 'null', hash: 'hmac(sha256)', key: 'DHHC-1:00:x:' },
      nqn: 'nqn.2024-01.host:a',
    },
  ],
  ports: [
    {
      addr: {
        adrfam: 'ipv4',
        traddr: '0.0.0.0',
        treq: 'not specified',
        trsvcid: '4420',
        trtype: 'tcp',
        tsas: 'none',
      },
      ana_groups: [
        { ana: { state: 'optimized' }, grpid: 1 },
        { ana: { state: 'inaccessible' }, grpid: 2 },
      ],
      param: { inline_data_size: '16384', max_queue_size: '-1', pi_enable: '0' },
      portid: 1,
      referrals: [
        {
          addr: {
            adrfam: 'ipv6',
            portid: '7',
            traddr: '2001:db8::1',
            treq: 'not specified',
            trsvcid: '8009',
            trtype: 'tcp',
          },
          enable: 1,
          name: 'other',
        },
      ],
      subsystems: [NQN],
    },
  ],
  subsystems: [
    {
      allowed_hosts: ['nqn.2024-01.host:a'],
      attr: {
        allow_any_host: '0',
        cntlid_max: '65519',
        cntlid_min: '1',
        firmware: '6.12.0',
        ieee_oui: '0x00a098',
        model: 'Linux',
        pi_enable: '1',
        qid_max: '128',
        serial: '46d2b9e0c9d1',
        version: '2.1',
      },
      namespaces: [
        {
          ana: { grpid: '2' },
          ana_grpid: 2,
          device: { nguid: '00000000-0000-0000-0000-000000000000', path: '/srv/a', uuid: UUID },
          enable: 1,
          nsid: 1,
          resv: { enable: '0' },
        },
      ],
      nqn: NQN,
      passthru: [{ admin_timeout: 0, clear_ids: 0, device: { path: '(null)' }, io_timeout: 0 }],
    },
  ],
};

t.test('what nvmetcli writes is read; what it asks for and there is not is listed by its path', (t) => {
  const { config, unsupported } = readConfig(JSON.stringify(NVMETCLI));
  t.same(
    unsupported.map(({ path }) => path),
    [
      'hosts[0].dhchap',
      'subsystems[0].attr.pi_enable',
      'subsystems[0].attr.version',
      'subsystems[0].namespaces[0].resv',
    ],
  );
  const { document: made } = applyConfig(EMPTY, config, facts);
  t.same(made, {
    version: 2,
    subsystems: [
      {
        nqn: NQN,
        serial: '46d2b9e0c9d1',
        model: 'Linux',
        shared: true,
        ioQueues: 128,
        firmware: '6.12.0',
        ieeeOui: '00a098',
        hosts: ['nqn.2024-01.host:a'],
        namespaces: [
          {
            nsid: 1,
            uuid: UUID,
            path: '/srv/a',
            blockSize: 512,
            readOnly: false,
            anagrpid: 2,
            enabled: true,
            shared: true,
          },
        ],
      },
    ],
    ports: [
      {
        id: 1,
        address: '0.0.0.0:4420',
        enabled: true,
        subsystems: [NQN],
        ana: [{ grpid: 2, state: 'inaccessible' }],
        referrals: [{ name: 'other', address: '[2001:db8::1]:8009', id: 7 }],
        inlineDataSize: 16_384,
      },
    ],
  });
  t.end();
});

t.test('what configfs shows of what was never set is nothing that was asked for', (t) => {
  const file = {
    subsystems: [
      {
        nqn: NQN,
        attr: { ieee_oui: '0x000000' },
        namespaces: [{ device: { path: '/a', uuid: '', nguid: '00000000-0000-0000-0000-000000000000' } }],
      },
    ],
    ports: [
      {
        portid: '1',
        addr: { traddr: '127.0.0.1', portid: '1' },
        param: { inline_data_size: '-1', max_queue_size: -1, mdts: '-1' },
      },
    ],
  };
  const { config, unsupported } = readConfig(JSON.stringify(file));
  t.same(unsupported, []);
  const [subsystem] = config.subsystems;
  t.equal(subsystem?.attr.ieee_oui, undefined);
  t.strictSame(Object.values({ ...subsystem?.namespaces[0]?.device, path: undefined }), [
    undefined,
    undefined,
    undefined,
  ]);
  t.strictSame(Object.values(config.ports[0]?.param ?? {}), [undefined, undefined]);
  t.end();
});

t.test('what is wrong with a configuration is said by its path: a row each', (t) => {
  const at = 'subsystems.0.namespaces.0';
  const rows: [string, unknown, RegExp][] = [
    ['version', 2, /^version is not known: this looks like target\.json/],
    ['subsytems', [], /^subsytems is not known$/],
    ['subsystems.0.attr.allow_any_hosts', '1', /^subsystems\[0\]\.attr\.allow_any_hosts is not known$/],
    [`${at}.device.pfad`, '/a', /namespaces\[0\]\.device\.pfad is not known$/],
    [`${at}.device.path`, 'a', /device\.path is not an absolute path$/],
    [`${at}.device.path`, undefined, /namespaces\[0\] has neither device\.path nor memory$/],
    [`${at}.memory`, '1G', /namespaces\[0\] has both device\.path and memory$/],
    ['subsystems.0.attr.ieee_oui', '0xa098', /attr\.ieee_oui "0xa098" is not 6 hexadecimal digits$/],
    ['ports.0.param.inline_data_size', 17, /inline_data_size has to be a multiple of 16$/],
    ['ports.0.param.max_queue_size', '2', /max_queue_size cannot be "2", at least 16$/],
    [`${at}.size`, '1Q', /\.size "1Q" is not a size; 4096, "4k" and "1G" are$/],
    [`${at}.size`, 1000, /\.size is not a whole number of 512-byte blocks$/],
    [`${at}.ana_grpid`, 1, /\.ana_grpid is 1, and ana\.grpid is 2$/],
    [`${at}.enable`, 'yes', /\.enable cannot be "yes"$/],
    [`${at}.nsid`, '0', /\.nsid cannot be "0", at least 1$/],
    ['ports.0.addr.trtype', 'rdma', /^ports\[0\]\.addr\.trtype cannot be "rdma"; "tcp" can$/],
    ['ports.0.addr.traddr', '1.2.3', /^ports\[0\]\.addr\.traddr "1\.2\.3" is not an address$/],
    ['ports.0.addr.adrfam', 'ipv6', /^ports\[0\]\.addr\.adrfam is ipv6, and 0\.0\.0\.0 is not$/],
    ['subsystems.0.attr.qid_max', '0', /attr\.qid_max cannot be "0", at least 1$/],
    [`${at}.eui64`, '12', /namespaces\[0\]\.eui64 "12" is not 16 hexadecimal digits$/],
    ['ports.0.param.inline_data_size', 100, /inline_data_size has to be a multiple of 16$/],
    ['ports.0.portid', undefined, /^ports\[0\]\.portid is missing$/],
  ];
  for (const [path, value, message] of rows)
    t.throws(() => readConfig(spoiled(path, value, NVMETCLI)), { name: 'ConfigError', message }, path);
  t.end();
});

t.test('whatever a configuration file is, it is read or refused by a ConfigError of one line', (t) => {
  const keys = fc.constantFrom(
    ...[
      'hosts',
      'subsystems',
      'ports',
      'nqn',
      'attr',
      'namespaces',
      'device',
      'path',
      'addr',
      'traddr',
      'ana',
    ],
    ...[
      'ana_groups',
      'referrals',
      'passthru',
      'dhchap',
      'grpid',
      'nsid',
      'memory',
      'enable',
      'param',
      'mdts',
    ],
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'medium' },
      fc.constantFrom(null, true, 0, 1, '1', -1, 1e99, '', '/a', NQN, UUID, 'tcp', 'x\n\u0000', '__proto__'),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(keys, tie('value'), { maxKeys: 5 }),
    ),
  }));
  const file = fc.oneof(
    value,
    fc.record({
      subsystems: fc.array(fc.dictionary(keys, value)),
      ports: fc.array(fc.dictionary(keys, value)),
    }),
  );
  fc.assert(
    fc.property(file, (one) => {
      try {
        readConfig(JSON.stringify(one));
        return true;
      } catch (error) {
        return error instanceof ConfigError && !error.message.includes('\n');
      }
    }),
    { numRuns: 2000 },
  );
  t.end();
});

t.test('a file that is written and applied again changes nothing', (t) => {
  fc.assert(
    fc.property(document, (value) => {
      const { json, lost } = writeConfig(value, true);
      const { config, unsupported } = readConfig(json);
      t.same([lost, unsupported], [[], []]);
      const { document: applied } = applyConfig(value, config, facts);
      t.same(diff(value, applied), []);
      t.same(
        applied.subsystems.map(({ nqn }) => nqn),
        value.subsystems.map(({ nqn }) => nqn),
      );
    }),
  );
  fc.assert(
    fc.property(document, (value) => {
      readConfig(writeConfig(value, false).json);
    }),
  );
  t.end();
});

t.test('identities that a file does not give are kept, for the same file wherever it is', (t) => {
  const file = (path: string, more: object = {}) =>
    readConfig(
      JSON.stringify({ subsystems: [{ nqn: NQN, namespaces: [{ nsid: 1, device: { path }, ...more }] }] }),
    ).config;
  const { document: first } = applyConfig(EMPTY, file('/a'), {
    ...facts,
    seen: new Map([['/a', { fileId: '1:1', born: '5' }]]),
  });
  const [entry] = first.subsystems[0]?.namespaces ?? [];
  const again = applyConfig(first, file('/a'), facts).document;
  t.same(again, first);
  const moved = applyConfig(first, file('/b'), {
    ...facts,
    seen: new Map([['/b', { fileId: '1:1', born: '5' }]]),
  });
  t.same(moved.document.subsystems[0]?.namespaces, [{ ...entry, path: '/b' }]);
  const another = applyConfig(first, file('/b'), { ...facts, seen: new Map([['/b', { fileId: '1:2' }]]) });
  t.not(another.document.subsystems[0]?.namespaces[0]?.uuid, entry?.uuid);
  const made = applyConfig(first, file('/c', { size: '1M' }), {
    ...facts,
    seen: new Map([['/c', undefined]]),
  });
  t.same([...made.make], [['/c', 2 ** 20]]);
  t.end();
});

t.test('which file is the same one: a row each', (t) => {
  const known = { fileId: '8:1', born: '5' };
  const unborn = { fileId: '8:1' };
  t.ok(isSameFile(known, { fileId: '8:1', born: '5' }));
  t.ok(isSameFile(known, { fileId: '8:1' }), 'a file system that does not say');
  t.ok(isSameFile(unborn, { fileId: '8:1', born: '5' }));
  t.ok(isSameFile(known, { fileId: '9:1', born: '5' }), 'the device has another number since the restart');
  t.notOk(isSameFile(known, { fileId: '8:1', born: '6' }), 'the inode number was given to another file');
  t.notOk(isSameFile(unborn, { fileId: '9:1', born: '5' }));
  t.notOk(isSameFile(known, { fileId: '8:2', born: '5' }));
  t.notOk(isSameFile(known, { fileId: 'block:8:1', born: '5' }));
  t.notOk(isSameFile({}, { fileId: '8:1' }), 'a file that was never open is no other one');
  t.end();
});

t.test('a namespace in memory that a file names keeps its name', (t) => {
  const { config } = readConfig(
    JSON.stringify({ subsystems: [{ nqn: NQN, namespaces: [{ memory: '1M', nsid: 3, block_size: 4096 }] }] }),
  );
  const { document: made } = applyConfig(EMPTY, config, facts);
  const [entry]: readonly NamespaceEntry[] = made.subsystems[0]?.namespaces ?? [];
  t.match(entry, { nsid: 3, memory: 2 ** 20, blockSize: 4096 });
  t.notOk(entry?.volatile);
  t.same(applyConfig(made, config, facts).document, made);
  t.end();
});
