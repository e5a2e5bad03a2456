import fc from 'fast-check';
import t from 'tap';
import { concat } from '../../src/layout/bytes.ts';
import { ByteDevice } from '../../src/nbd/byte-device.ts';
import { NbdFault } from '../../src/nbd/fault.ts';
import { CommandType as Type, Magic, Option, OptionHeader, RequestHeader } from '../../src/nbd/protocol.ts';
import { Receiver } from '../../src/nbd/receiver.ts';
import { memoryEnv } from '../../src/runtime/memory/env.ts';
import { NbdDisk, NbdWorld, counted, u16, u32 } from '../doubles/nbd-world.ts';

const KiB = 1024;

t.test('no more requests than allowed are under way; the others wait, and nothing more is read', (t) => {
  const world = new NbdWorld({ requests: 4, waitingRequests: 8 }, { capacity: 4096 });
  const client = world.up();
  world.disk.manual = true;
  const asked = Array.from({ length: 1000 }, () => client.request(Type.Read, 0, 512));
  for (const { bytes } of asked) client.transport.write([bytes], () => undefined);
  world.settle();
  t.equal(world.disk.waiting.length, 4);
  const [connection] = world.server.connections;
  t.ok(connection!.inFlight < 400, `${connection!.inFlight} of 1000 were read`);
  let done = 0;
  for (let next = world.disk.waiting[0]; next !== undefined; next = world.disk.waiting[0]) {
    t.ok(world.disk.waiting.length <= 4);
    next.finish();
    done++;
    world.settle();
  }
  t.equal(done, 1000);
  t.equal(client.answers.size, 1000);
  client.transport.close();
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('no more data than allowed is under way; a request that fits alone gets its turn', (t) => {
  const world = new NbdWorld({ maxPayload: 64 * KiB, bytesInFlight: 64 * KiB });
  const client = world.up();
  world.disk.manual = true;
  const sizes = [40, 64, 1, 30, 34, 64].map((size) => size * KiB);
  const asked = sizes.map((size, i) =>
    i % 2 === 0
      ? client.request(Type.Read, 0, size)
      : client.request(Type.Write, 0, size, { data: new Uint8Array(size) }),
  );
  client.transport.write(
    asked.map(({ bytes }) => bytes),
    () => undefined,
  );
  const together: string[] = [];
  world.settle();
  while (world.disk.waiting.length > 0) {
    together.push(world.disk.waiting.map(({ text }) => text.split('+')[1]).join(' '));
    world.disk.waiting[0]!.finish();
    world.settle();
  }
  t.strictSame(together, ['40960', '65536', '1024 30720', '30720 34816', '34816', '65536']);
  t.equal(client.answers.size, 6);
  client.transport.close();
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('a client that does not read is not read from, for as long as it likes', (t) => {
  const world = new NbdWorld({ requests: 8, waitingRequests: 8 }, { capacity: 8192 });
  const client = world.up();
  client.transport.pause();
  const asked = Array.from({ length: 200 }, () => client.request(Type.Read, 0, 4096));
  for (const { bytes } of asked) client.transport.write([bytes], () => undefined);
  world.env.clock.advance(3_600_000);
  world.settle();
  t.ok(world.disk.log.length < 20, `${world.disk.log.length} reads were made`);
  t.ok(world.server.buffers.lent <= 8);
  client.transport.resume();
  world.settle();
  t.equal(client.answers.size, 200);
  client.transport.close();
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('data that waits for its turn has a limit too', (t) => {
  const world = new NbdWorld({ maxPayload: 64 * KiB, bytesInFlight: 64 * KiB }, { capacity: 8192 });
  const client = world.up();
  world.disk.manual = true;
  const asked = Array.from({ length: 20 }, () =>
    client.request(Type.Write, 0, 16 * KiB, { data: new Uint8Array(16 * KiB) }),
  );
  for (const { bytes } of asked) client.transport.write([bytes], () => undefined);
  world.settle();
  t.equal(world.disk.waiting.length, 4);
  const [connection] = world.server.connections;
  t.ok(connection!.inFlight <= 4 + 4 + 2, `${connection!.inFlight} of 20 were read`);
  world.disk.manual = false;
  for (const operation of [...world.disk.waiting]) operation.finish();
  world.settle();
  t.equal(client.answers.size, 20);
  client.transport.close();
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('buffers are used again, and what is kept of them has a limit', (t) => {
  const world = new NbdWorld({ spareBytes: 64 * KiB });
  const client = world.up();
  for (let i = 0; i < 50; i++) client.read(0, 16 * KiB);
  t.equal(world.server.buffers.spareBytes, 16 * KiB);
  client.read(0, 256 * KiB);
  t.equal(world.server.buffers.spareBytes, 16 * KiB);
  client.transport.close();
  t.strictSame(world.leftovers(), []);
  t.end();
});

/** A client that pipelines LIST, 40 times, and does not read what it is told. */
function flood(limits: { optionReplyBytes?: number } = {}) {
  const world = new NbdWorld(limits, { capacity: 8192 });
  for (let i = 0; i < 100; i++) world.server.add(`export-${i}`.padEnd(200, 'x'), '', world.disk);
  const client = world.connect();
  client.greet();
  const before = client.received;
  client.transport.pause();
  const list = OptionHeader.bytes({ magic: Magic.option, option: Option.List });
  client.transport.write([concat(Array.from({ length: 40 }, () => list))], () => undefined);
  world.settle();
  const [connection] = world.server.connections;
  const one = 4 + 20 + 4 + 20 + 100 * (4 + 20 + 200);
  return { world, client, connection: connection!, one, all: (): number => client.received - before };
}

t.test('a client that does not read the answers to its options is not read from', (t) => {
  const { world, client, connection, one, all } = flood({ optionReplyBytes: 4 * KiB });
  t.ok(connection.sender.pending <= one + 4 * KiB, `${connection.sender.pending} bytes are kept for it`);
  client.transport.resume();
  world.settle();
  t.equal(all(), 40 * one, 'whoever reads again gets every answer');
  client.transport.close();
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('a client that never reads the answers to its options is disconnected in time', (t) => {
  const { world, client } = flood();
  world.env.clock.advance(30_000 + 5_000);
  t.strictSame(world.leftovers(), []);
  t.ok(client.received < 8192 * 2);
  t.end();
});

// ---- hostile streams

const REQUESTS = concat([
  RequestHeader.bytes({ magic: Magic.request, type: Type.Write, offset: 1000, length: 700, cookieLow: 1 }),
  new Uint8Array(700).fill(7),
  RequestHeader.bytes({ magic: Magic.request, type: Type.Read, offset: 0, length: 2048, cookieLow: 2 }),
  RequestHeader.bytes({
    magic: Magic.request,
    type: Type.WriteZeroes,
    offset: 511,
    length: 1026,
    cookieLow: 3,
  }),
  RequestHeader.bytes({ magic: Magic.request, type: Type.Flush, cookieLow: 4 }),
]);
const CONVERSATION = concat([
  u32(3),
  OptionHeader.bytes({ magic: Magic.option, option: 8 }),
  OptionHeader.bytes({ magic: Magic.option, option: 10, length: 27 }),
  concat([counted(''), u32(1), counted('base:allocation')]),
  OptionHeader.bytes({ magic: Magic.option, option: 7, length: 6 }),
  concat([counted(''), u16(0)]),
  REQUESTS,
]);

t.test('a client that leaves half-way, after any byte, leaves nothing behind', (t) => {
  for (let at = 0; at <= CONVERSATION.length; at++)
    for (const manual of [false, true]) {
      const world = new NbdWorld();
      world.disk.manual = manual;
      const client = world.connect();
      client.say(CONVERSATION.subarray(0, at));
      if (at % 3 === 0) client.transport.close();
      else if (at % 3 === 1) client.transport.end();
      else client.transport.reset();
      const left = world.leftovers();
      if (left.length > 0) t.strictSame(left, [], `after ${at} bytes`);
    }
  t.end();
});

t.test('the stream means the same however it is split', (t) => {
  const heard = (chunks: readonly Uint8Array[]): string[] => {
    const said: string[] = [];
    let data: number[] = [];
    const receiver = new Receiver(
      {
        onClientFlags: (flags) => said.push(`flags ${flags}`),
        onOption(option, bytes) {
          said.push(`option ${option} ${Buffer.from(bytes).toString('hex')}`);
          if (option === 7) receiver.phase = 'requests';
        },
        onRequest(header) {
          said.push(`request ${Buffer.from(header.buffer, 0, 28).toString('hex')}`);
          data = [];
          return RequestHeader.type.get(header, 0) === Type.Write ? RequestHeader.length.get(header, 0) : 0;
        },
        onData: (chunk, start, end) => data.push(...chunk.subarray(start, end)),
        onDataEnd: () => said.push(`data ${Buffer.from(data).toString('hex')}`),
      },
      65536,
    );
    try {
      for (const chunk of chunks) receiver.push(chunk);
      said.push(receiver.midMessage ? 'half' : 'whole');
    } catch (error) {
      if (!(error instanceof NbdFault)) throw error;
      said.push(error.message);
    }
    return said;
  };
  const split = (stream: Uint8Array, at: readonly number[]): Uint8Array[] => {
    const cuts = [0, ...[...at].sort((a, b) => a - b), stream.length];
    return cuts.slice(1).map((end, i) => stream.subarray(cuts[i], end));
  };
  const whole = heard([CONVERSATION]);
  t.equal(whole.at(-1), 'whole');
  t.equal(whole.length, 10);
  for (let at = 1; at < CONVERSATION.length; at++)
    if (heard(split(CONVERSATION, [at])).join('\n') !== whole.join('\n')) t.fail(`split at ${at}`);
  fc.assert(
    fc.property(
      fc.array(fc.nat(CONVERSATION.length), { maxLength: 20 }),
      fc.array(fc.tuple(fc.nat(CONVERSATION.length - 1), fc.nat(255)), { maxLength: 3 }),
      (cuts, changes) => {
        const stream = CONVERSATION.slice();
        for (const [at, value] of changes) stream[at] = value;
        t.equal(heard(split(stream, cuts)).join('\n'), heard([stream]).join('\n'));
      },
    ),
    { numRuns: 300 },
  );
  t.end();
});

// ---- any offset

interface Change {
  readonly kind: 'write' | 'zero';
  readonly offset: number;
  readonly length: number;
  readonly value: number;
}

t.test('changes of any offset and length are those of a plain array, whatever runs beside them', (t) => {
  const size = 8192;
  const change = fc
    .record({
      kind: fc.constantFrom('write' as const, 'zero' as const),
      offset: fc.nat(size - 1),
      length: fc.integer({ min: 1, max: 3000 }),
      value: fc.integer({ min: 1, max: 255 }),
    })
    .map((each): Change => ({ ...each, length: Math.min(each.length, size - each.offset) }));
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 30 }),
      fc.array(fc.nat(10), { maxLength: 200 }),
      (changes, order) => {
        const env = memoryEnv();
        const disk = new NbdDisk(env, size);
        disk.manual = true;
        const device = new ByteDevice(disk);
        // Those that overlap may be done in any order: only what a byte could be is known.
        const could = Array.from({ length: size }, () => new Set<number>([0]));
        let done = 0;
        const began: Change[] = [];
        for (const each of changes) {
          const { kind, offset, length, value } = each;
          const finished = (): void => {
            done++;
          };
          for (let at = offset; at < offset + length; at++) {
            // One that was done before all others that touch the byte is gone.
            could[at]!.add(kind === 'write' ? value : 0);
          }
          began.push(each);
          if (kind === 'write') device.write(offset, [new Uint8Array(length).fill(value)], false, finished);
          else device.zero(offset, length, true, false, finished);
          device.invariants();
        }
        for (let turn = 0; disk.waiting.length > 0; turn++) {
          disk.waiting[(order[turn % Math.max(1, order.length)] ?? 0) % disk.waiting.length]!.finish();
          device.invariants();
        }
        t.equal(done, changes.length);
        t.equal(device.busy, 0);
        for (let at = 0; at < size; at++) {
          const touching = began.filter(({ offset, length }) => offset <= at && at < offset + length);
          if (touching.length > 0) could[at]!.delete(0);
          for (const { kind, value } of touching) could[at]!.add(kind === 'write' ? value : 0);
          if (!could[at]!.has(disk.bytes[at]!)) return false;
        }
        return true;
      },
    ),
    { numRuns: 150 },
  );
  t.end();
});

t.test('one after the other, odd writes, zeroes and reads are those of a plain array', (t) => {
  const size = 16384;
  const step = fc.record({
    kind: fc.constantFrom(Type.Write, Type.WriteZeroes, Type.Read),
    offset: fc.nat(size - 1),
    length: fc.integer({ min: 1, max: 5000 }),
  });
  fc.assert(
    fc.property(fc.constantFrom(512, 4096), fc.array(step, { maxLength: 30 }), (blockSize, steps) => {
      const world = new NbdWorld({}, {}, size, blockSize);
      const client = world.up();
      const model = new Uint8Array(size);
      for (const [i, { kind, offset, length: wanted }] of steps.entries()) {
        const length = Math.min(wanted, size - offset);
        if (kind === Type.Read) {
          if (Buffer.compare(client.read(offset, length).data, model.subarray(offset, offset + length)) !== 0)
            return false;
        } else if (kind === Type.Write) {
          const data = new Uint8Array(length).fill(i + 1);
          model.set(data, offset);
          client.write(offset, data);
        } else {
          model.fill(0, offset, offset + length);
          client.ask(Type.WriteZeroes, offset, length);
        }
      }
      client.transport.close();
      return world.leftovers().length === 0 && Buffer.compare(world.disk.bytes, model) === 0;
    }),
    { numRuns: 100 },
  );
  t.end();
});

t.test('a trim of odd bytes is of the whole blocks in it, or of nothing', (t) => {
  const world = new NbdWorld();
  const client = world.up();
  t.equal(client.ask(Type.Trim, 100, 2000).error, 0);
  t.equal(client.ask(Type.Trim, 100, 500).error, 0);
  t.strictSame(world.disk.log, ['trim 512+1536']);
  client.transport.close();
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('a change that waits for its turn can be given up, and the next one has its turn', (t) => {
  const env = memoryEnv();
  const disk = new NbdDisk(env, 8192);
  disk.manual = true;
  const device = new ByteDevice(disk);
  const said: string[] = [];
  const tell = (name: string) => (problem: unknown) =>
    said.push(`${name} ${problem === undefined ? 'done' : 'failed'}`);
  const one = new Uint8Array(1);
  device.write(0, [new Uint8Array(512)], false, tell('whole'));
  const odd = device.write(1, [one], false, tell('odd'));
  device.write(512, [new Uint8Array(512)], false, tell('second'));
  t.strictSame(disk.log, ['write 0+512']);
  odd();
  t.strictSame(disk.log, ['write 0+512', 'write 512+512']);
  odd();
  for (const operation of [...disk.waiting]) operation.finish();
  t.strictSame(said, ['odd failed', 'whole done', 'second done']);
  const half = device.write(1, [one], false, tell('half'));
  t.equal(disk.waiting[0]?.text, 'read 0+512');
  half();
  t.strictSame(disk.waiting, []);
  t.equal(said.at(-1), 'half failed');
  t.equal(device.busy, 0);
  t.end();
});
