import { test } from 'tap';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Capture } from '../../scripts/interop/capture.ts';
import { Stream, packets, segment } from '../../scripts/pcap.ts';

/** What a reader of the file has of each direction, by sender. */
function streams(path: string): Map<string, Buffer> {
  const sides = new Map<string, { stream: Stream; bytes: Uint8Array[] }>();
  for (const packet of packets(readFileSync(path))) {
    const given = segment(packet);
    if (given === undefined) continue;
    const side = sides.get(given.from) ?? { stream: new Stream(), bytes: [] };
    sides.set(given.from, side);
    side.bytes.push(...side.stream.push(given));
  }
  return new Map([...sides].map(([from, { bytes }]) => [from, Buffer.concat(bytes)]));
}

void test('a capture reads as what was added, also what fills many segments', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'capture-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const capture = new Capture();
  t.ok(capture.empty);
  const one = capture.connection(50_001);
  const two = capture.connection(50_002);
  const large = Buffer.alloc(200_000, 7);
  one.add('host', Uint8Array.of(1, 2, 3));
  two.add('host', Uint8Array.of(9));
  one.add('controller', large);
  one.add('host', Uint8Array.of(4));
  const path = join(folder, 'wire.pcap');
  capture.write(path, 4420);
  const read = streams(path);
  t.same(read.get('10.0.2.15:50001'), Buffer.of(1, 2, 3, 4));
  t.same(read.get('10.0.2.15:50002'), Buffer.of(9));
  t.ok(read.get('10.0.2.2:4420')?.equals(large));
  t.equal(capture.dropped, 0);
  t.end();
});

void test('of a long connection the beginning and the end are kept, as if nothing was between them', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'capture-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const capture = new Capture();
  const connection = capture.connection(50_001);
  for (let i = 0; i < 40; i++) connection.add('host', Buffer.alloc(2 ** 19, i));
  t.ok(capture.dropped > 0);
  const path = join(folder, 'wire.pcap');
  capture.write(path, 4420);
  const bytes = streams(path).get('10.0.2.15:50001') ?? Buffer.alloc(0);
  t.equal(bytes.length, (40 - capture.dropped) * 2 ** 19);
  t.equal(bytes[0], 0);
  t.equal(bytes.at(-1), 39);
  t.end();
});
