import t from 'tap';
import { concat } from '../../src/layout/bytes.ts';
import type { Extent } from '../../src/nbd/device.ts';
import { ChunkType, CommandFlag as Flag, CommandType as Type, Errno } from '../../src/nbd/protocol.ts';
import { NbdWorld, type NbdClient } from '../doubles/nbd-world.ts';

const bytes = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 13) & 0xff);

function over(world: NbdWorld, ...clients: NbdClient[]): string[] {
  for (const client of clients) client.transport.close();
  return world.leftovers();
}

for (const structured of [false, true]) {
  const mode = structured ? 'structured' : 'simple';

  t.test(`what is written is read (${mode})`, (t) => {
    const world = new NbdWorld();
    const client = world.up({ structured });
    const data = bytes(12288);
    t.equal(client.write(4096, data).error, 0);
    const answer = client.read(4096, 12288);
    t.strictSame(answer.data, data);
    t.strictSame(answer.chunks, structured ? [ChunkType.OffsetData] : []);
    t.equal(client.write(0, bytes(512), Flag.fua).error, 0);
    t.equal(client.ask(Type.Flush, 0, 0).error, 0);
    t.equal(client.ask(Type.Trim, 512, 1024).error, 0);
    t.equal(client.ask(Type.Trim, 512, 1024, { flags: Flag.fua }).error, 0);
    t.equal(client.ask(Type.WriteZeroes, 4096, 512).error, 0);
    t.equal(client.ask(Type.WriteZeroes, 4608, 512, { flags: Flag.noHole | Flag.fua }).error, 0);
    t.strictSame(client.read(4096, 1024).data, new Uint8Array(1024));
    t.strictSame(world.disk.log, [
      'write 4096+12288',
      'read 4096+12288',
      'write 0+512 fua',
      'flush',
      'trim 512+1024',
      'trim 512+1024 fua',
      'zero 4096+512',
      'zero 4608+512 keep fua',
      'read 4096+1024',
    ]);
    t.strictSame(over(world, client), []);
    t.end();
  });

  t.test(`what cannot be done is refused, and the connection goes on (${mode})`, (t) => {
    const world = new NbdWorld({ maxPayload: 65536 });
    const client = world.up({ structured });
    const { size } = world.disk;
    const refused = (type: number, offset: number, length: number, flags = 0, data?: Uint8Array): number => {
      const { error } = client.ask(type, offset, length, { flags, ...(data && { data }) });
      t.equal(client.read(0, 512).error, 0, 'it goes on');
      return error;
    };
    t.equal(refused(Type.Read, size, 1), Errno.EINVAL, 'past the end');
    t.equal(refused(Type.Read, size - 1, 2), Errno.EINVAL);
    t.equal(refused(Type.Read, 2 ** 53 - 1, 2), Errno.EINVAL);
    t.equal(refused(Type.Read, 0, 65537), Errno.EINVAL, 'more than the most');
    t.equal(refused(Type.Write, size - 1, 2, 0, bytes(2)), Errno.ENOSPC);
    t.equal(refused(Type.Write, 0, 65537, 0, bytes(65537)), Errno.EINVAL);
    t.equal(refused(Type.Trim, size, 512), Errno.ENOSPC);
    t.equal(refused(Type.WriteZeroes, 0, 0xffffffff), Errno.ENOSPC);
    t.equal(refused(Type.WriteZeroes, 0, 512, Flag.fastZero), Errno.EINVAL, 'not offered');
    t.equal(refused(Type.Cache, 0, 512), Errno.EINVAL, 'not offered');
    t.equal(refused(Type.BlockStatus, 0, 512), Errno.EINVAL, 'not negotiated');
    t.equal(refused(99, 0, 0), Errno.EINVAL);
    t.equal(refused(Type.Read, 0, 512, 0x80), Errno.EINVAL);
    t.equal(refused(Type.Write, 0, 512, Flag.noHole, bytes(512)), Errno.EINVAL);
    t.equal(refused(Type.Flush, 512, 0), Errno.EINVAL);
    if (!structured) t.equal(refused(Type.Read, 0, 512, Flag.df), Errno.EINVAL, 'not offered');
    world.disk.readOnly = true;
    for (const type of [Type.Write, Type.Trim, Type.WriteZeroes])
      t.equal(refused(type, 0, 512, 0, type === Type.Write ? bytes(512) : undefined), Errno.EPERM);
    t.ok(world.disk.log.every((text) => text === 'read 0+512'));
    t.strictSame(over(world, client), []);
    t.end();
  });

  t.test(`what the disk says is passed on (${mode})`, (t) => {
    const world = new NbdWorld();
    const client = world.up({ structured });
    world.disk.broken = { errno: Errno.ENOSPC, message: 'Capacity Exceeded' };
    const errors = [
      client.read(0, 4096),
      client.read(1, 10),
      client.write(0, bytes(4096)),
      client.write(1, bytes(10)),
      client.ask(Type.Flush, 0, 0),
      client.ask(Type.Trim, 0, 4096),
      client.ask(Type.WriteZeroes, 0, 4096),
      client.ask(Type.WriteZeroes, 1, 4096),
    ];
    for (const { error, chunks } of errors) {
      t.equal(error, Errno.ENOSPC);
      t.strictSame(chunks, structured ? [ChunkType.Error] : []);
    }
    t.strictSame(over(world, client), []);
    t.end();
  });

  t.test(`nothing is done for a length of 0 (${mode})`, (t) => {
    const world = new NbdWorld();
    const client = world.up({ structured });
    for (const type of [Type.Read, Type.Write, Type.Trim, Type.WriteZeroes])
      t.equal(client.ask(type, 512, 0).error, 0);
    t.strictSame(world.disk.log, []);
    t.strictSame(over(world, client), []);
    t.end();
  });
}

t.test('a long read comes in chunks, in whatever order the disk has them; DF forbids that', (t) => {
  const world = new NbdWorld({ readChunk: 4096 });
  const client = world.up();
  world.disk.bytes.set(bytes(16384));
  world.disk.manual = true;
  const cookie = client.send(Type.Read, 512, 10000);
  t.strictSame(
    world.disk.waiting.map(({ text }) => text),
    ['read 512+4096', 'read 4608+4096', 'read 8704+2048'],
  );
  for (const operation of [...world.disk.waiting].reverse()) {
    operation.finish();
    world.settle();
  }
  const answer = client.answer(cookie);
  t.strictSame(answer.data, bytes(16384).subarray(512, 10512));
  t.strictSame(answer.chunks, [ChunkType.OffsetData, ChunkType.OffsetData, ChunkType.OffsetData]);
  world.disk.manual = false;
  const whole = client.read(512, 10000, Flag.df);
  t.strictSame(whole.chunks, [ChunkType.OffsetData]);
  t.strictSame(whole.data, answer.data);
  t.equal(client.read(0, 1 << 20, Flag.df).error, 0);
  t.strictSame(over(world, client), []);
  t.end();
});

t.test('an error in one chunk is told once, after the others', (t) => {
  const world = new NbdWorld({ readChunk: 4096 });
  const client = world.up();
  world.disk.manual = true;
  const cookie = client.send(Type.Read, 0, 12288);
  const [first, second, third] = [...world.disk.waiting];
  second!.finish({ errno: Errno.EIO, message: 'Unrecovered Read Error' });
  third!.finish();
  world.settle();
  t.notOk(client.answers.has(cookie), 'the buffers are still in use');
  first!.finish();
  world.settle();
  t.equal(client.answer(cookie).error, Errno.EIO);
  t.strictSame(client.answer(cookie).chunks.at(-1), ChunkType.Error);
  t.strictSame(over(world, client), []);
  t.end();
});

const MAP = (offset: number, length: number): Extent[] => {
  // 64 KiB of data, then 64 KiB that are a hole, and so on.
  const extents: Extent[] = [];
  for (let at = offset; at < offset + length;) {
    const end = Math.min(offset + length, (Math.floor(at / 65536) + 1) * 65536);
    const hole = Math.floor(at / 65536) % 2 === 1;
    extents.push({ length: end - at, hole, zero: hole });
    at = end;
  }
  return extents;
};

t.test('holes that the disk knows are sent as holes, and not read', (t) => {
  const world = new NbdWorld();
  world.disk.knows(MAP);
  world.disk.bytes.set(bytes(65536));
  const client = world.up();
  const answer = client.read(4096, 131072);
  t.strictSame(answer.chunks.sort(), [ChunkType.OffsetData, ChunkType.OffsetData, ChunkType.OffsetHole]);
  t.strictSame(answer.data, world.disk.bytes.slice(4096, 135168));
  t.strictSame(world.disk.log, ['status 4096+131072', 'read 4096+61440', 'read 131072+4096']);
  t.strictSame(client.read(65536, 65536).chunks, [ChunkType.OffsetHole], 'nothing but a hole');
  t.strictSame(client.read(0, 131072, Flag.df).chunks, [ChunkType.OffsetData]);
  t.strictSame(over(world, client), []);
  t.end();
});

const extentsOf = ({ data }: { data: Uint8Array }): number[][] => {
  const view = new DataView(data.buffer, data.byteOffset);
  return Array.from({ length: (data.length - 4) / 8 }, (_, i) => [
    view.getUint32(4 + 8 * i),
    view.getUint32(8 + 8 * i),
  ]);
};

t.test('BLOCK_STATUS: what the disk knows, joined, cut, and within the limit', (t) => {
  const world = new NbdWorld({ extents: 3 });
  const client = world.up({ status: true });
  t.strictSame(extentsOf(client.ask(Type.BlockStatus, 512, 1 << 18)), [[1 << 18, 0]], 'who knows nothing');
  world.disk.knows(MAP);
  const { BlockStatus } = Type;
  t.strictSame(extentsOf(client.ask(BlockStatus, 60000, 100000)), [
    [5536, 0],
    [65536, 3],
    [28928, 0],
  ]);
  t.equal(extentsOf(client.ask(BlockStatus, 0, 1 << 20)).length, 3);
  t.strictSame(extentsOf(client.ask(BlockStatus, 0, 1 << 20, { flags: Flag.reqOne })), [[65536, 0]]);
  t.equal(client.ask(BlockStatus, 0, 0).error, Errno.EINVAL);
  t.equal(client.ask(BlockStatus, 1 << 20, 1).error, Errno.EINVAL);
  world.disk.knows((_, length) => [
    { length: 512, hole: true, zero: false },
    { length: 512, hole: true, zero: false },
    { length, hole: false, zero: false },
  ]);
  t.strictSame(extentsOf(client.ask(BlockStatus, 0, 4096)), [
    [1024, 1],
    [3072, 0],
  ]);
  world.disk.broken = { errno: Errno.EIO, message: 'broken' };
  t.equal(client.ask(BlockStatus, 0, 4096).error, Errno.EIO);
  t.strictSame(over(world, client), []);
  t.end();
});

t.test('replies leave in the order of the disk, and a slow request holds up no other', (t) => {
  const world = new NbdWorld();
  const client = world.up();
  world.disk.manual = true;
  const slow = client.send(Type.Read, 0, 512);
  const fast = client.send(Type.Write, 512, 512, { data: bytes(512) });
  world.disk.waiting[1]!.finish();
  world.settle();
  t.equal(client.answer(fast).error, 0);
  world.env.clock.advance(86_400_000 * 20);
  t.notOk(client.answers.has(slow) || client.closed || client.ended, 'nothing is timed out');
  world.disk.waiting[0]!.finish();
  world.settle();
  t.equal(client.answer(slow).error, 0);
  t.strictSame(over(world, client), []);
  t.end();
});

t.test('DISC: what is under way is finished and answered, then both sides close', (t) => {
  const world = new NbdWorld({ requests: 2 });
  const client = world.up();
  world.disk.manual = true;
  const parts = Array.from({ length: 5 }, (_, i) =>
    client.request(Type.Write, i * 512, 512, { data: bytes(512) }),
  );
  client.say(...parts.map((each) => each.bytes), client.request(Type.Disconnect, 0, 0).bytes, bytes(100));
  for (let turn = 0; turn < 5; turn++) {
    t.notOk(client.ended);
    world.disk.waiting[0]!.finish();
    world.settle();
  }
  t.ok(parts.every(({ cookie }) => client.answer(cookie).error === 0));
  t.ok(client.ended);
  client.transport.end();
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('who closes without a word is not waited for: the disk is told to give up', (t) => {
  const world = new NbdWorld({ requests: 2 });
  world.disk.manual = true;
  for (const how of ['close', 'end', 'reset'] as const) {
    const client = world.up();
    for (let i = 0; i < 4; i++) client.send(Type.Read, i * 512, 512);
    client.send(Type.Write, 0, 1024, { data: bytes(700) });
    client.transport[how]();
    t.strictSame(world.leftovers(), [], how);
  }
  t.equal(world.disk.cancelled, 6);
  t.end();
});

t.test('an export that is taken away: answered, disconnected; other exports are not', (t) => {
  const world = new NbdWorld();
  world.server.add('other', '', world.disk);
  const client = world.up();
  const other = world.connect();
  other.go('other');
  world.disk.manual = true;
  const cookie = client.send(Type.Read, 0, 512);
  world.server.remove('disk');
  world.settle();
  t.notOk(client.ended);
  world.disk.waiting[0]!.finish();
  world.settle();
  t.equal(client.answer(cookie).error, 0);
  t.ok(client.ended);
  world.disk.manual = false;
  t.equal(other.read(0, 512).error, 0);
  t.strictSame(over(world, client, other), []);
  t.end();
});

t.test('the server stops when every client is answered; forced, at once', (t) => {
  const world = new NbdWorld();
  world.disk.manual = true;
  const busy = world.up();
  const idle = world.up();
  const early = world.connect();
  const cookie = busy.send(Type.Read, 0, 512);
  let stopped = 0;
  world.server.stop(() => stopped++);
  world.settle();
  t.ok(idle.ended && early.ended && !busy.ended);
  t.ok(world.connect().ended, 'no more clients');
  idle.transport.end();
  early.transport.end();
  world.disk.waiting[0]!.finish();
  world.settle();
  t.equal(busy.answer(cookie).error, 0);
  busy.transport.end();
  world.settle();
  t.equal(stopped, 1);

  const second = new NbdWorld();
  second.disk.manual = true;
  const stuck = second.up();
  stuck.send(Type.Write, 0, 512, { data: bytes(512) });
  second.server.stop(() => stopped++);
  second.settle();
  t.equal(stopped, 1, 'the disk has not answered');
  second.server.force();
  second.settle();
  t.equal(stopped, 2);
  t.equal(second.disk.cancelled, 1);
  t.strictSame([...world.leftovers(), ...second.leftovers()], []);
  t.end();
});

t.test('a flush over one connection is for the whole disk', (t) => {
  const world = new NbdWorld();
  const [a, b] = [world.up(), world.up()];
  a.write(0, bytes(512));
  b.ask(Type.Flush, 0, 0);
  t.strictSame(world.disk.log, ['write 0+512', 'flush'], 'one disk under both');
  t.strictSame(over(world, a, b), []);
  t.end();
});

t.test('several requests in one chunk of the stream, and one request in many', (t) => {
  const world = new NbdWorld({}, { split: [1, 3, 29, 2, 4096] });
  const client = world.up();
  const asked = Array.from({ length: 20 }, (_, i) =>
    client.request(Type.Write, i * 512, 512, { data: bytes(512, i) }),
  );
  client.say(concat(asked.map((each) => each.bytes)));
  t.ok(asked.every(({ cookie }) => client.answer(cookie).error === 0));
  for (let i = 0; i < 20; i++) t.strictSame(client.read(i * 512, 512).data, bytes(512, i));
  t.strictSame(over(world, client), []);
  t.end();
});
