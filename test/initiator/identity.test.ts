import t from 'tap';
import { Identities, resolveIdentity, uuidOf } from '../../src/initiator/identity.ts';

const A = '11111111-2222-3333-4444-555555555555';
const B = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee';
const nqn = (uuid: string): string => `nqn.2014-08.org.nvmexpress:uuid:${uuid}`;
const NAMED = 'nqn.2024-01.org.example:host1';
const GENERATED = '99999999-8888-4777-8666-555555555555';
const DERIVED = '77777777-8888-5777-8666-555555555555';
type Source = Parameters<typeof resolveIdentity>[0];

/** Options, /etc/nvme, persisted, and the pair that comes out of it, or the problem. */
const rows: [string, Source, Source, Source, [string, string] | RegExp][] = [
  ['nothing anywhere: generated', {}, {}, {}, [nqn(GENERATED), GENERATED]],
  ['persisted', {}, {}, { hostnqn: nqn(A), hostid: A }, [nqn(A), A]],
  [
    '/etc/nvme before persisted',
    {},
    { hostnqn: nqn(B), hostid: B },
    { hostnqn: nqn(A), hostid: A },
    [nqn(B), B],
  ],
  ['/etc/nvme with line ends', {}, { hostnqn: `${nqn(B)}\n`, hostid: ` ${B}\n` }, {}, [nqn(B), B]],
  ['/etc/nvme/hostnqn alone brings its UUID', {}, { hostnqn: nqn(B) }, {}, [nqn(B), B]],
  ['/etc/nvme/hostid alone makes an NQN', {}, { hostid: B }, {}, [nqn(B), B]],
  ['/etc/nvme with two UUIDs is a pair like any', {}, { hostnqn: nqn(A), hostid: B }, {}, [nqn(A), B]],
  ['empty files are none', {}, { hostnqn: '\n', hostid: '' }, {}, [nqn(GENERATED), GENERATED]],
  [
    'options before everything',
    { hostnqn: NAMED, hostid: A },
    { hostnqn: nqn(B), hostid: B },
    {},
    [NAMED, A],
  ],
  ['hostnqn alone, of a UUID', { hostnqn: nqn(A) }, {}, {}, [nqn(A), A]],
  ['hostnqn alone, of /etc/nvme', { hostnqn: NAMED }, { hostnqn: NAMED, hostid: A }, {}, [NAMED, A]],
  ['hostnqn alone, persisted', { hostnqn: NAMED }, { hostid: B }, { hostnqn: NAMED, hostid: A }, [NAMED, A]],
  ['hostid alone, of /etc/nvme', { hostid: A.toUpperCase() }, { hostnqn: NAMED, hostid: A }, {}, [NAMED, A]],
  ['hostid alone, unknown', { hostid: A }, { hostnqn: NAMED, hostid: B }, {}, [nqn(A), A]],
  ['hostid in capitals', { hostnqn: NAMED, hostid: B.toUpperCase() }, {}, {}, [NAMED, B]],
  ['hostnqn without a UUID: one is derived from it', { hostnqn: NAMED }, {}, {}, [NAMED, DERIVED]],
  ['hostid that is none', { hostid: 'x' }, {}, {}, /not a UUID/],
  ['hostid that is zero', { hostid: '00000000-0000-0000-0000-000000000000' }, {}, {}, /all zero/],
  ['hostnqn that is none', { hostnqn: 'host' }, {}, {}, /nqn\./],
  [
    'one NQN with two IDs',
    { hostnqn: NAMED, hostid: B },
    { hostnqn: NAMED, hostid: A },
    {},
    /belongs to hostid 1111.*one NQN, one ID/,
  ],
  [
    'one ID with two NQNs',
    { hostnqn: nqn(A), hostid: A },
    { hostnqn: NAMED, hostid: A },
    {},
    /belongs to hostnqn .*host1/,
  ],
  ['broken /etc/nvme, nothing asked', {}, { hostid: 'x' }, {}, /\/etc\/nvme: .*not a UUID/],
  ['broken /etc/nvme, all asked', { hostnqn: NAMED, hostid: A }, { hostid: 'x' }, {}, [NAMED, A]],
];
for (const [name, options, etc, persisted, expected] of rows)
  t.test(`identity: ${name}`, (t) => {
    const result = resolveIdentity(options, etc, persisted, GENERATED, () => DERIVED);
    if (expected instanceof RegExp) t.match(result, { problem: expected });
    else t.strictSame(result, { identity: { hostnqn: expected[0], hostid: expected[1] } });
    t.end();
  });

t.test('two connections of one process may share both halves or none', (t) => {
  const identities = new Identities();
  const first = { hostnqn: nqn(A), hostid: A };
  t.equal(identities.use(first), undefined);
  t.equal(identities.use(first), undefined);
  t.match(identities.use({ hostnqn: nqn(A), hostid: B }), /one NQN, one ID/);
  t.match(identities.use({ hostnqn: NAMED, hostid: A }), /one NQN, one ID/);
  t.equal(identities.use({ hostnqn: NAMED, hostid: B }), undefined);
  identities.release(first);
  t.match(identities.use({ hostnqn: nqn(A), hostid: B }), /one NQN/, 'still in use');
  identities.release(first);
  identities.release({ hostnqn: NAMED, hostid: B });
  t.equal(identities.use({ hostnqn: nqn(A), hostid: B }), undefined);
  t.equal(identities.size, 1);
  t.end();
});

t.test('a generated UUID is of version 4', (t) => {
  t.equal(uuidOf(new Uint8Array(16)), '00000000-0000-4000-8000-000000000000');
  t.equal(uuidOf(new Uint8Array(16).fill(255)), 'ffffffff-ffff-4fff-bfff-ffffffffffff');
  t.end();
});
