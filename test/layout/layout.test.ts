import { readFileSync, readdirSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { array } from '../../src/layout/array.ts';
import { bits16, bits32, bits8 } from '../../src/layout/bits.ts';
import {
  ascii,
  bytes,
  reserved,
  text,
  u128,
  u16,
  u32,
  u53,
  u64,
  u8,
  uuid,
  uuidBytes,
} from '../../src/layout/field.ts';
import { n16, n32, n53, n64 } from '../../src/layout/network.ts';
import { struct, viewOf } from '../../src/layout/struct.ts';
import { MODULES, STRUCTURES } from './structures.ts';

t.test('a table that does not fill its structure exactly throws when it is made', (t) => {
  t.throws(() => struct('Gap', 4, { a: [0, u8('a')], b: [2, u16('b')] }), /Gap\.b: at 2, .* ends at 1/);
  t.throws(
    () => struct('Overlap', 4, { a: [0, u16('a')], b: [1, u16('b')] }),
    /Overlap\.b: at 1, .* ends at 2/,
  );
  t.throws(() => struct('Late', 2, { a: [1, u8('a')] }), /Late\.a: at 1, .* ends at 0/);
  t.throws(() => struct('Short', 8, { a: [0, u32('a')] }), /rows end at 4, the structure has 8/);
  t.throws(() => struct('Long', 2, { a: [0, u32('a')] }), /rows end at 4, the structure has 2/);
  t.throws(() => struct('Taken', 1, { decode: [0, u8('a')] }), /Taken\.decode: the name is taken/);
  t.doesNotThrow(() => struct('Unordered', 4, { b: [2, u16('b')], a: [0, u16('a')] }), 'rows in any order');
  t.end();
});

t.test('ranges of bits that overlap or do not fit throw when they are made', (t) => {
  t.throws(() => bits8({ a: [0, 3], b: [3] }), /b overlaps another range at bit 3/);
  t.throws(() => bits8({ a: [7, 8] }), /does not fit 8 bits/);
  t.throws(() => bits16({ a: [5, 4] }), /does not fit 16 bits/);
  t.throws(() => bits32({ a: [31], b: [30, 31] }), /overlaps/);
  t.throws(() => bits8({ offset: [0] }).place(0), /the name offset is taken/);
  t.throws(() => bits8({ rest: [0] }).place(0), /the name rest is taken/);
  t.end();
});

t.test('numbers: get, set, limits, 0’s based counts', (t) => {
  const S = struct('S', 16, {
    a: [0, u8('a')],
    b: [1, u8('b', 1)],
    c: [2, u16('c', 1)],
    d: [4, u32('d')],
    e: [8, u32('e', 1)],
    f: [12, reserved(4)],
  });
  const view = new DataView(new ArrayBuffer(32));
  for (const at of [0, 7]) {
    S.encode({ a: 255, b: 256, c: 1, d: 0xfedcba98, e: 0x100000000 }, view, at);
    t.same([S.a.get(view, at), S.b.get(view, at), S.c.get(view, at)], [255, 256, 1]);
    t.equal(S.d.get(view, at), 0xfedcba98);
    t.equal(S.e.get(view, at), 0x100000000);
    t.equal(view.getUint8(at + 1), 255, 'the wire has one less');
    S.c.set(view, at, 65536);
    t.equal(view.getUint16(at + 2, true), 65535);
  }
  for (const bad of [
    { a: 256 },
    { a: -1 },
    { a: 1.5 },
    { a: NaN },
    { b: 0 },
    { b: 257 },
    { d: 2 ** 32 },
    { e: 0 },
  ])
    t.throws(() => S.bytes(bad), RangeError, JSON.stringify(bad));
  t.end();
});

t.test('64 and 128 bits: exact, and refused when they do not fit', (t) => {
  const S = struct('S', 32, { n: [0, u53('n')], k: [8, u64('k')], w: [16, u128('w')] });
  const view = new DataView(new ArrayBuffer(32));
  for (const n of [0, 1, 0xffffffff, 0x100000000, 2 ** 52 + 1, Number.MAX_SAFE_INTEGER]) {
    S.n.set(view, 0, n);
    t.equal(S.n.get(view, 0), n);
    t.equal(S.n.decode(view, 0), n);
    S.w.set(view, 0, n);
    t.equal(S.w.decode(view, 0), BigInt(n));
  }
  S.encode({ n: 2n ** 53n, k: 2n ** 64n - 1n, w: 2n ** 128n - 1n }, view);
  t.equal(S.n.get(view, 0), Infinity, 'more than any limit');
  t.same(S.decode(view), { n: 2n ** 53n, k: 2n ** 64n - 1n, w: 2n ** 128n - 1n });
  for (const bad of [
    { n: -1 },
    { n: 2 ** 53 },
    { n: 1.5 },
    { n: 2n ** 64n },
    { k: -1n },
    { k: 2n ** 64n },
    { w: -1 },
    { w: 2n ** 128n },
  ])
    t.throws(() => S.bytes(bad), RangeError);
  t.end();
});

t.test('numbers in network byte order: get, set, limits', (t) => {
  const S = struct('S', 24, {
    a: [0, n16('a')],
    b: [2, n32('b')],
    rsvd6: [6, reserved(2)],
    n: [8, n53('n')],
    k: [16, n64('k')],
  });
  const made = S.bytes({ a: 0x0102, b: 0x03040506, n: 2 ** 40 + 7, k: 0x0102030405060708n });
  t.equal(
    Buffer.from(made).toString('hex'),
    '0102' + '03040506' + '0000' + '0000010000000007' + '0102030405060708',
  );
  const view = viewOf(made);
  t.strictSame([S.a.get(view, 0), S.b.get(view, 0), S.n.get(view, 0)], [0x0102, 0x03040506, 2 ** 40 + 7]);
  for (const n of [0, 0xffffffff, 0x100000000, Number.MAX_SAFE_INTEGER]) {
    S.n.set(view, 0, n);
    t.strictSame([S.n.get(view, 0), S.n.decode(view, 0)], [n, n]);
  }
  S.encode({ n: 2n ** 53n, k: 2n ** 64n - 1n }, view);
  t.equal(S.n.get(view, 0), Infinity, 'more than any limit');
  t.same(S.decode(view).n, 2n ** 53n);
  for (const bad of [{ a: 65536 }, { b: -1 }, { n: 2 ** 53 }, { n: -1n }, { k: 2n ** 64n }])
    t.throws(() => S.bytes(bad), RangeError);
  t.end();
});

t.test('bits: accessors, the word, and what no range names', (t) => {
  const S = struct('S', 8, {
    a: [0, bits8({ low: [0, 3], top: [7] })],
    rsvd1: [1, reserved(1)],
    b: [2, bits16({ mid: [4, 11] })],
    c: [4, bits32({ all: [0, 31] })],
  });
  const view = new DataView(new ArrayBuffer(10));
  S.encode({ a: { low: 5 }, c: { all: 0xffffffff } }, view, 2);
  t.same(S.decode(view, 2).a, { low: 5, top: 0 }, 'ranges left out are zero');
  t.equal(S.c.all.get(view, 2), 0xffffffff, 'all 32 bits are not a negative number');
  S.a.top.set(view, 2, 1);
  S.a.low.set(view, 2, 2);
  t.equal(S.a.word(view, 2), 0x82);
  view.setUint8(2, 0xff);
  t.same(S.decode(view, 2).a, { low: 15, top: 1, rest: 0x70 });
  S.b.mid.set(view, 2, 0xab);
  t.equal(view.getUint16(4, true), 0xab0);
  t.throws(() => S.bytes({ a: { low: 16 } }), /low: 16 is more than 15/);
  t.throws(() => S.bytes({ a: { low: -1 } }), RangeError);
  t.equal(S.format(viewOf(S.bytes({ a: { low: 10, top: 1 } }))), 'a low=ah top');
  t.end();
});

t.test('text, bytes, UUIDs', (t) => {
  const S = struct('S', 40, {
    sn: [0, ascii(8, 'sn')],
    nqn: [8, text(8, 'nqn')],
    id: [16, uuid('id')],
    raw: [32, bytes(4, 'raw')],
    rsvd36: [36, reserved(4)],
  });
  const id = '01234567-89ab-cdef-0123-456789abcdef';
  const made = S.bytes({ sn: 'ab', nqn: 'nq', id, raw: Uint8Array.of(1, 2) });
  t.equal(String.fromCharCode(...made.subarray(0, 8)), 'ab      ');
  t.same([...made.subarray(8, 16)], [110, 113, 0, 0, 0, 0, 0, 0]);
  t.same([...made.subarray(16, 20)], [0x01, 0x23, 0x45, 0x67], 'network byte order');
  t.same(S.decode(viewOf(made)), {
    sn: 'ab',
    nqn: 'nq',
    id,
    raw: Uint8Array.of(1, 2, 0, 0),
    rsvd36: new Uint8Array(4),
  });
  t.throws(() => S.bytes({ sn: '123456789' }), /room for 8/);
  t.throws(() => S.bytes({ sn: '→' }), /not ASCII/);
  t.throws(() => S.bytes({ id: 'no' }), /not a UUID/);
  t.throws(() => S.bytes({ raw: new Uint8Array(5) }), /5 bytes, room for 4/);
  t.equal(uuidBytes('0123456789abcdef0123456789abcdef'), undefined);
  t.equal(S.format(viewOf(made)), `sn "ab", nqn "nq", id ${id}, raw 0102`);
  t.end();
});

t.test('arrays and nested structures', (t) => {
  const Inner = struct('Inner', 4, { a: [0, u16('a')], b: [2, bits16({ x: [0], y: [1] })] });
  const S = struct('S', 16, { list: [0, array(3, Inner.kind('Inner'))], one: [12, Inner.kind('one')] });
  const made = S.bytes({ list: [{ a: 1 }, { b: { y: 1 } }], one: { a: 7 } });
  t.same([...made], [1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
  t.equal(S.decode(viewOf(made)).list[1]?.b.y, 1);
  t.equal(S.format(viewOf(made)), 'list [0: {a 1}, 1: {b y}], one {a 7}');
  t.throws(() => S.bytes({ list: [{}, {}, {}, {}] }), /4 values, room for 3/);
  t.end();
});

t.test('every file with tables is in the list', (t) => {
  const found = ['pdu', 'nvme', 'nbd'].flatMap((folder) => {
    const url = new URL(`../../src/${folder}/`, import.meta.url);
    return readdirSync(url)
      .filter((file) => file.endsWith('.ts') && /= struct\(/.test(readFileSync(new URL(file, url), 'utf8')))
      .map((file) => `${folder}/${file}`);
  });
  t.same(found.sort(), Object.keys(MODULES).sort());
  t.ok(STRUCTURES.length > 60, `${STRUCTURES.length} structures`);
  t.end();
});

t.test('every structure: any bytes decode, encode to the same bytes, and can be shown', (t) => {
  for (const layout of STRUCTURES) {
    t.pass(layout.structName);
    const view = new DataView(new ArrayBuffer(layout.size + 3));
    fc.assert(
      fc.property(fc.uint8Array({ minLength: layout.size, maxLength: layout.size }), (wire) => {
        new Uint8Array(view.buffer, 3).set(wire);
        const value = layout.decode(view, 3);
        layout.format(view, 3);
        return Buffer.compare(layout.bytes(value), wire) === 0;
      }),
      { numRuns: layout.size > 512 ? 10 : 50 },
    );
  }
  t.end();
});

t.test('every structure: nothing in, zeroes out, and nothing to say', (t) => {
  for (const layout of STRUCTURES) {
    t.same(layout.bytes({}), new Uint8Array(layout.size), layout.structName);
    for (const [name, field] of Object.entries(layout.fields)) {
      t.ok(
        field.reserved || field.label !== '' || 'word' in field,
        `${layout.structName}.${name} has a label`,
      );
      t.ok(
        field.reserved === /^(rsvd\d+|mi)$/.test(name),
        `${layout.structName}.${name}: reserved rows are named so`,
      );
      if (field.reserved && name !== 'mi') t.equal(`rsvd${field.offset}`, name, layout.structName);
    }
  }
  t.end();
});
