import t from 'tap';
import { CaptureError, Stream, packets, segment, type Segment } from '../../scripts/pcap.ts';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const bytes = (value: string): Buffer => Buffer.from(value, 'latin1');
const u16 = (...values: number[]): Buffer =>
  Buffer.from(values.flatMap((value) => [value >>> 8, value & 0xff]));

function tcp(payload: string, { seq = 0, flags = 0x10 } = {}): Buffer {
  const head = Buffer.alloc(24);
  head.writeUInt16BE(1111, 0);
  head.writeUInt16BE(4420, 2);
  head.writeUInt32BE(seq, 4);
  head[12] = 0x60; // four bytes of options
  head[13] = flags;
  return Buffer.concat([head, bytes(payload)]);
}
function ipv4(inner: Buffer, { fragment = 0, protocol = 6 } = {}): Buffer {
  const head = Buffer.from([0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
  head.writeUInt16BE(20 + inner.length, 2);
  head.writeUInt16BE(fragment, 6);
  return Buffer.concat([head, inner]);
}
function ipv6(inner: Buffer, extension = false): Buffer {
  const head = Buffer.alloc(40);
  head[0] = 0x60;
  const option = extension ? Buffer.from([6, 0, 1, 4, 0, 0, 0, 0]) : Buffer.alloc(0);
  head.writeUInt16BE(inner.length + option.length, 4);
  head[6] = extension ? 0 : 6;
  head[23] = 1;
  head[39] = 2;
  return Buffer.concat([head, option, inner]);
}
function pcap(linkType: number, frames: Buffer[], little = true, nano = false): Buffer {
  const word = (value: number): Buffer => {
    const made = Buffer.alloc(4);
    if (little) made.writeUInt32LE(value);
    else made.writeUInt32BE(value);
    return made;
  };
  const head = [word(nano ? 0xa1b23c4d : 0xa1b2c3d4), word(0), word(0), word(0), word(65535), word(linkType)];
  const parts = frames.flatMap((frame) => [
    word(5),
    word(nano ? 250_000_000 : 250_000),
    word(frame.length),
    word(frame.length),
    frame,
  ]);
  return Buffer.concat([...head, ...parts]);
}
const segments = (file: Uint8Array): Segment[] =>
  [...packets(file)].map(segment).filter((found) => found !== undefined);

t.test('every link type, both byte orders, both resolutions', (t) => {
  const four = ipv4(tcp('hello'));
  const ethernet = (type: number, inner: Buffer): Buffer =>
    Buffer.concat([Buffer.alloc(12), u16(type), inner]);
  const links: [number, Buffer, string][] = [
    [1, ethernet(0x0800, four), '10.0.0.1:1111'],
    [1, ethernet(0x8100, Buffer.concat([u16(5, 0x0800), four])), '10.0.0.1:1111'],
    [1, Buffer.concat([ethernet(0x0800, four), Buffer.alloc(6)]), '10.0.0.1:1111'],
    [1, ethernet(0x86dd, ipv6(tcp('hello'))), '[0:0:0:0:0:0:0:1]:1111'],
    [1, ethernet(0x86dd, ipv6(tcp('hello'), true)), '[0:0:0:0:0:0:0:1]:1111'],
    [113, Buffer.concat([Buffer.alloc(14), u16(0x0800), four]), '10.0.0.1:1111'],
    [276, Buffer.concat([u16(0x0800), Buffer.alloc(18), four]), '10.0.0.1:1111'],
    [101, four, '10.0.0.1:1111'],
    [0, Buffer.concat([Buffer.from([2, 0, 0, 0]), four]), '10.0.0.1:1111'],
  ];
  for (const [linkType, frame, from] of links)
    for (const little of [true, false])
      for (const nano of [true, false]) {
        const [found, ...more] = segments(pcap(linkType, [frame], little, nano));
        t.same(more, []);
        t.match(found, { from, fromPort: 1111, toPort: 4420, time: 5.25, syn: false });
        t.equal(text(found!.payload), 'hello', `link type ${linkType}`);
      }
  t.end();
});

t.test('what is not TCP is passed over, what is not a capture is said', (t) => {
  t.same(
    segments(
      pcap(101, [ipv4(tcp('x'), { fragment: 0x2000 }), ipv4(tcp('x'), { protocol: 17 }), Buffer.alloc(3)]),
    ),
    [],
  );
  t.throws(() => segments(Buffer.alloc(10)), CaptureError);
  t.throws(() => segments(Buffer.alloc(100)), /neither a pcap nor a pcapng/);
  t.throws(() => segments(pcap(147, [Buffer.alloc(60)])), /link type 147 is not supported/);
  t.throws(() => segments(pcap(101, [ipv4(tcp('x'))]).subarray(0, -1)), /cut off inside a packet/);
  t.throws(() => segments(Buffer.concat([pcap(101, []), Buffer.alloc(5)])), /cut off inside a packet header/);
  t.end();
});

t.test('a stream gives each byte once and in order', (t) => {
  const part = (seq: number, payload: string, syn = false): Segment => ({
    ...segments(pcap(101, [ipv4(tcp(payload, { seq: seq >>> 0, flags: syn ? 2 : 16 }))]))[0]!,
  });
  const read = (...parts: Segment[]): [string, number] => {
    const stream = new Stream();
    return [parts.flatMap((each) => stream.push(each).map(text)).join(''), stream.stuck];
  };
  t.same(read(part(99, '', true), part(100, 'abc'), part(103, 'def')), ['abcdef', 0]);
  t.same(read(part(99, '', true), part(103, 'def'), part(100, 'abc')), ['abcdef', 0], 'overtaken');
  t.same(
    read(part(99, '', true), part(100, 'abc'), part(100, 'abc'), part(103, 'd')),
    ['abcd', 0],
    'sent twice',
  );
  t.same(read(part(99, '', true), part(100, 'abc'), part(101, 'bcde')), ['abcde', 0], 'overlapping');
  t.same(read(part(99, '', true), part(106, 'g'), part(103, 'def'), part(100, 'abcdefg')), ['abcdefg', 0]);
  t.same(read(part(-3, '', true), part(-2, 'abc'), part(1, 'def')), ['abcdef', 0], 'the number wraps');
  t.same(read(part(-3, '', true), part(1, 'def'), part(-2, 'abc')), ['abcdef', 0]);
  t.same(read(part(50, 'abc'), part(53, 'd')), ['abcd', 0], 'a capture that begins late');
  t.same(read(part(99, '', true), part(104, 'xyz')), ['', 3], 'a hole');
  t.end();
});
