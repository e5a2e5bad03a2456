import t from 'tap';
import { viewOf } from '../../src/layout/struct.ts';
import { AnaLogHeader, AnaState, anaLogSize, decodeAnaLog, encodeAnaLog } from '../../src/nvme/ana-log.ts';
import { DecodeError } from '../../src/nvme/decode-error.ts';
import { addressText } from '../../src/nvme/discovery.ts';
import { Event, eventDword, eventName, eventOf } from '../../src/nvme/event.ts';
import {
  decodeControllerList,
  decodeNamespaceIds,
  decodeNsidList,
  encodeControllerList,
  encodeNamespaceIds,
  encodeNsidList,
} from '../../src/nvme/identify-lists.ts';
import { formatIndex } from '../../src/nvme/identify-namespace.ts';
import { DISCOVERY_NQN, isStandardNqn, nqnProblem } from '../../src/nvme/nqn.ts';

const words = (...numbers: number[]): Uint8Array => new Uint8Array(Uint32Array.from(numbers).buffer);
const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

t.test('namespace lists: 1024 at most, rising, ended by 0', (t) => {
  t.same(decodeNsidList(encodeNsidList([1, 5, 0xfffffffe])), [1, 5, 0xfffffffe]);
  t.same(decodeNsidList(encodeNsidList(numbers(1024))), numbers(1024), 'full, without an end');
  t.same(decodeNsidList(encodeNsidList(numbers(1025))), numbers(1024), 'more are left out');
  t.same(decodeNsidList(words(1, 0, 9)), [1]);
  t.same(decodeNsidList(new Uint8Array(3)), []);
  t.throws(() => decodeNsidList(words(2, 2)), DecodeError);
  t.throws(() => decodeNsidList(words(3, 1)), DecodeError);
  t.throws(() => decodeNsidList(words(1, 0xffffffff)), DecodeError);
  t.end();
});

t.test('controller lists', (t) => {
  t.same(decodeControllerList(encodeControllerList([1, 2, 0xffef])), [1, 2, 0xffef]);
  t.same(decodeControllerList(encodeControllerList(numbers(3000))), numbers(2047));
  t.same(decodeControllerList(new Uint8Array(0)), []);
  t.throws(() => decodeControllerList(Uint8Array.of(2, 0, 1, 0)), DecodeError, 'shorter than it says');
  t.throws(() => decodeControllerList(Uint8Array.of(2, 0, 1, 0, 1, 0)), DecodeError, 'twice');
  t.end();
});

t.test('namespace identification descriptors', (t) => {
  const uuid = '00112233-4455-6677-8899-aabbccddeeff';
  const eui64 = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  const nguid = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
  const ids = { eui64, nguid, uuid, csi: 2 };
  const made = encodeNamespaceIds(ids);
  t.equal(made.length, 4096);
  t.same(decodeNamespaceIds(made), ids);
  t.same([...made.subarray(0, 16)], [1, 8, 0, 0, ...eui64, 2, 16, 0, 0]);
  t.same(
    decodeNamespaceIds(encodeNamespaceIds({ nguid: new Uint8Array(16), csi: 0 })),
    { csi: 0 },
    'zero is no identifier',
  );
  t.same(
    decodeNamespaceIds(Uint8Array.of(9, 2, 0, 0, 1, 1, 4, 1, 0, 0, 7)),
    { csi: 7 },
    'types not known are skipped',
  );
  t.same(decodeNamespaceIds(Uint8Array.of(1, 0, 0, 0)), {}, 'length 0 ends the list');
  t.same(decodeNamespaceIds(new Uint8Array(2)), {});
  t.throws(
    () => decodeNamespaceIds(Uint8Array.of(1, 7, 0, 0, 1, 2, 3, 4, 5, 6, 7)),
    DecodeError,
    'EUI-64 of 7 bytes',
  );
  t.throws(() => decodeNamespaceIds(made.slice(0, 20)), DecodeError, 'past the end');
  t.throws(
    () => decodeNamespaceIds(Uint8Array.of(4, 1, 0, 0, 0, 4, 1, 0, 0, 1)),
    DecodeError,
    'two that differ',
  );
  t.throws(() => encodeNamespaceIds({ eui64: nguid }), RangeError);
  t.throws(() => encodeNamespaceIds({ uuid: 'x' }), RangeError);
  t.end();
});

t.test('ANA log', (t) => {
  const limits = { anagrpmax: 128, nn: 1024 };
  const log = {
    chgcnt: 7,
    groups: [
      { agid: 1, chgcnt: 3, state: AnaState.Optimized, nsids: [1, 4] },
      { agid: 2, chgcnt: 7, state: AnaState.Change, nsids: [] },
      { agid: 128, chgcnt: 0, state: AnaState.PersistentLoss, nsids: [1024] },
    ],
  };
  const made = encodeAnaLog(log, false);
  t.equal(made.length, anaLogSize(3, 3));
  t.equal(made.length, 16 + 3 * 32 + 3 * 4);
  t.same(decodeAnaLog(made, limits), log);
  const brief = encodeAnaLog(log, true);
  t.equal(brief.length, 16 + 3 * 32);
  t.same(
    decodeAnaLog(brief, limits).groups.map(({ nsids }) => nsids.length),
    [0, 0, 0],
    'RGO',
  );
  t.same(decodeAnaLog(Buffer.concat([made, new Uint8Array(100)]), limits), log, 'read longer than it is');

  const one = (change: object): Uint8Array =>
    encodeAnaLog(
      { chgcnt: 0, groups: [{ agid: 1, chgcnt: 0, state: AnaState.Optimized, nsids: [1], ...change }] },
      false,
    );
  const wrong: [string, Uint8Array, RegExp][] = [
    ['shorter than its header', made.slice(0, 15), /no room for the header/],
    ['cut inside a descriptor', made.slice(0, 40), /descriptor 0 of 3 runs past the end/],
    ['cut inside a list', made.slice(0, 50), /2 namespaces of group 1 run past the end/],
    ['group 0', one({ agid: 0 }), /group 0/],
    ['a group above ANAGRPMAX', one({ agid: 129 }), /group 129, ANAGRPMAX is 128/],
    ['state 0', one({ state: 0 }), /state 0h/],
    ['state 5', one({ state: 5 }), /state 5h/],
    ['NSID 0', one({ nsids: [0] }), /NSID 0 in group 1/],
    ['NSID above NN', one({ nsids: [1025] }), /NSID 1025 in group 1, NN is 1024/],
    [
      'a group twice',
      encodeAnaLog({ chgcnt: 0, groups: [log.groups[0]!, { ...log.groups[0]!, nsids: [] }] }, false),
      /group 1 twice/,
    ],
    [
      'an NSID in two groups',
      encodeAnaLog({ chgcnt: 0, groups: [log.groups[0]!, { ...log.groups[0]!, agid: 2 }] }, false),
      /NSID 1 in groups 1 and 2/,
    ],
  ];
  for (const [name, bytes, message] of wrong)
    t.throws(() => decodeAnaLog(bytes, limits), { name: 'DecodeError', message }, name);
  const many = made.slice();
  AnaLogHeader.nagd.set(viewOf(many), 0, 65535);
  t.throws(() => decodeAnaLog(many, limits), DecodeError, 'more descriptors than there are');
  t.end();
});

t.test('NQNs', (t) => {
  const uuid = 'nqn.2014-08.org.nvmexpress:uuid:00112233-4455-6677-8899-aabbccddeeff';
  const good = [
    DISCOVERY_NQN,
    uuid,
    'nqn.2026-11.example:golden',
    'nqn.x',
    `nqn.${'a'.repeat(219)}`,
    'nqn.2014-08.org.é:ü',
  ];
  for (const nqn of good) t.equal(nqnProblem(nqn), undefined, nqn);
  const bad: [string, RegExp][] = [
    ['', /is blank/],
    ['   ', /is blank/],
    ['nqn.', /nothing after/],
    ['iqn.2014-08.org.example', /does not begin with "nqn\."/],
    ['NQN.2014-08.org.example', /does not begin/],
    [' nqn.2014-08.org.example', /20h at position 0/],
    ['nqn.a b', /20h at position 5/],
    ['nqn.a\0b', /00h at position 5/],
    ['nqn.a\nb', /0ah/],
    ['nqn.a\ud800', /d800h/],
    [`nqn.${'a'.repeat(220)}`, /has 224 bytes, at most 223/],
    [`nqn.${'é'.repeat(110)}`, /has 224 bytes/],
  ];
  for (const [nqn, message] of bad) t.match(nqnProblem(nqn), message, JSON.stringify(nqn));
  t.ok(isStandardNqn(uuid));
  t.ok(isStandardNqn('nqn.2014-08.com.example:disk.1'));
  t.ok(isStandardNqn(DISCOVERY_NQN));
  t.notOk(isStandardNqn('nqn.x'));
  t.notOk(isStandardNqn('nqn.2014-13.com.example'));
  t.notOk(isStandardNqn('nqn.2014-08.org.nvmexpress:uuid:no'));
  t.end();
});

t.test('events, addresses, format index', (t) => {
  t.equal(eventDword(Event.AnaChange), 0x0c0302, 'as the Linux target sends it');
  t.equal(eventDword(Event.NamespaceAttributeChanged), 0x040002);
  t.equal(eventDword(Event.DiscoveryLogChange), 0x70f002);
  for (const event of Object.values(Event)) t.same(eventOf(eventDword(event)), event);
  t.equal(eventName(Event.AnaChange), 'Notice: Ana Change (read log Asymmetric Namespace Access)');
  t.equal(eventName({ type: 5, info: 0xab, lid: 0 }), 'event type 5: abh');
  t.equal(addressText('10.0.0.1   '), '10.0.0.1');
  t.equal(addressText('4420\0\0 \0junk'), '4420');
  t.equal(formatIndex({ low: 3, high: 2 }, 16), 3);
  t.equal(formatIndex({ low: 3, high: 2 }, 64), 35);
  t.end();
});
