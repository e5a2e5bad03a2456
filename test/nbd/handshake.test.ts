import t, { type Test } from 'tap';
import { concat } from '../../src/layout/bytes.ts';
import { viewOf } from '../../src/layout/struct.ts';
import {
  ExportNameReply,
  InfoBlockSize,
  InfoExport,
  Magic,
  Option,
  OptionHeader,
  OptionReplyType as Rep,
  TransmissionFlag as Flag,
} from '../../src/nbd/protocol.ts';
import { NbdWorld, counted, u16, u32, type NbdClient, type OptionAnswer } from '../doubles/nbd-world.ts';

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const types = (answers: readonly OptionAnswer[]): number[] => answers.map(({ type }) => type);
const ask = (name: string, ...wanted: number[]): Uint8Array =>
  concat([counted(name), u16(wanted.length), ...wanted.map(u16)]);
const query = (name: string, ...queries: string[]): Uint8Array =>
  concat([counted(name), u32(queries.length), ...queries.map(counted)]);

/** Greeted, and nothing chosen. */
function greeted(world = new NbdWorld()): { world: NbdWorld; client: NbdClient } {
  const client = world.connect();
  client.greet();
  return { world, client };
}

/** Disconnects, and sees that nothing is left. */
function over(t: Test, world: NbdWorld, ...clients: NbdClient[]): void {
  for (const client of clients) if (!client.closed) client.transport.close();
  t.strictSame(world.leftovers(), []);
}

t.test('the usual flags of a disk', (t) => {
  const { world, client } = greeted();
  const flags =
    Flag.hasFlags | Flag.sendFlush | Flag.sendFua | Flag.sendTrim | Flag.sendWriteZeroes | Flag.canMultiConn;
  const [plain] = client.option(Option.Info, ask('disk'));
  t.strictSame(InfoExport.decode(viewOf(plain!.data)), { type: 0, exportSize: 1 << 20, flags });
  client.option(Option.StructuredReply);
  const [structured] = client.option(Option.Info, ask('disk'));
  t.equal(InfoExport.decode(viewOf(structured!.data)).flags, flags | Flag.sendDf, 'DF with chunks only');
  world.disk.readOnly = true;
  const [locked] = client.option(Option.Info, ask('disk'));
  t.equal(
    InfoExport.decode(viewOf(locked!.data)).flags,
    Flag.hasFlags | Flag.readOnly | Flag.sendFlush | Flag.sendFua | Flag.canMultiConn | Flag.sendDf,
  );
  over(t, world, client);
  t.end();
});

t.test('EXPORT_NAME: size and flags, with or without zeroes, and no refusal but the end', (t) => {
  for (const [flags, length] of [
    [3, 10],
    [1, 134],
    [0, 134],
  ] as const) {
    const world = new NbdWorld();
    const client = world.connect();
    client.greet(flags);
    client.say(
      OptionHeader.bytes({ magic: Magic.option, option: Option.ExportName, length: 4 }),
      Buffer.from('disk'),
    );
    t.equal(client.received, length);
    const reply = new Uint8Array(ExportNameReply.size);
    reply.set(client.take(length));
    t.equal(ExportNameReply.decode(viewOf(reply)).exportSize, 1 << 20);
    client.transmit();
    t.equal(client.read(0, 512).error, 0);
    over(t, world, client);
  }
  const { world, client } = greeted();
  client.option(Option.ExportName, Buffer.from('another'));
  t.ok(client.ended && client.received === 0);
  over(t, world, client);
  t.end();
});

t.test('the empty name is the first export, others are looked up', (t) => {
  const { world, client } = greeted();
  t.strictSame(types(client.option(Option.Info, ask(''))), [Rep.Info, Rep.Info, Rep.Ack]);
  t.strictSame(types(client.option(Option.Info, ask('no'))), [Rep.ErrUnknown]);
  t.strictSame(types(client.option(Option.Go, ask('dis'))), [Rep.ErrUnknown]);
  world.server.remove('disk');
  t.strictSame(types(client.option(Option.Go, ask(''))), [Rep.ErrUnknown]);
  t.strictSame(types(client.option(Option.List)), [Rep.Ack]);
  over(t, world, client);
  t.end();
});

t.test('LIST names every export', (t) => {
  const { world, client } = greeted();
  world.server.add('zweite – Platte', '', world.disk);
  const answers = client.option(Option.List);
  t.strictSame(types(answers), [Rep.Server, Rep.Server, Rep.Ack]);
  t.strictSame(
    answers.slice(0, 2).map(({ data }) => text(data.subarray(4))),
    ['disk', 'zweite – Platte'],
  );
  t.strictSame(types(client.option(Option.List, u16(1))), [Rep.ErrInvalid]);
  over(t, world, client);
  t.end();
});

t.test('INFO and GO tell size, block sizes, and on request name and description', (t) => {
  const { world, client } = greeted();
  world.disk.blockSize = 8192;
  const answers = client.option(Option.Info, ask('', 1, 2, 3, 77));
  t.strictSame(types(answers), [Rep.Info, Rep.Info, Rep.Info, Rep.Info, Rep.Ack]);
  const [, sizes, name, description] = answers.map(({ data }) => data);
  t.strictSame(InfoBlockSize.decode(viewOf(sizes!)), {
    type: 3,
    minimum: 1,
    preferred: 8192,
    maximum: 32 << 20,
  });
  t.strictSame([text(name!.subarray(2)), text(description!.subarray(2))], ['disk', 'a disk']);
  client.option(Option.Go, ask('disk'));
  client.transmit();
  t.equal(client.read(0, 8192).error, 0, 'GO ends the handshake');
  over(t, world, client);
  t.end();
});

t.test('a new connection sees the new size', (t) => {
  const world = new NbdWorld();
  const first = world.up();
  world.disk.bytes = new Uint8Array(1 << 21);
  const { client } = greeted(world);
  const [told] = client.option(Option.Info, ask(''));
  t.equal(InfoExport.decode(viewOf(told!.data)).exportSize, 1 << 21);
  t.equal(first.read(1 << 20, 512).error, 0, 'the old one may use it');
  world.disk.bytes = new Uint8Array(1 << 19);
  t.equal(first.read(1 << 19, 512).error, 22, 'what is not there any more is refused');
  over(t, world, client, first);
  t.end();
});

t.test('structured replies and base:allocation are negotiated in that order', (t) => {
  const { world, client } = greeted();
  const { SetMetaContext, ListMetaContext } = Option;
  t.strictSame(types(client.option(SetMetaContext, query('', 'base:allocation'))), [Rep.ErrInvalid]);
  t.strictSame(types(client.option(Option.StructuredReply, u16(0))), [Rep.ErrInvalid]);
  t.strictSame(types(client.option(Option.StructuredReply)), [Rep.Ack]);
  for (const [queries, found] of [
    [[], 1],
    [['base:'], 1],
    [['base:allocation', 'qemu:dirty-bitmap:a'], 1],
    [['qemu:'], 0],
    [['base:alloc'], 0],
  ] as const) {
    const answers = client.option(ListMetaContext, query('disk', ...queries));
    t.equal(answers.length, found + 1, `list ${queries.join()}`);
    if (found > 0) t.equal(text(answers[0]!.data.subarray(4)), 'base:allocation');
    t.equal(answers.at(-1)?.type, Rep.Ack);
  }
  t.strictSame(types(client.option(ListMetaContext, query('no'))), [Rep.ErrUnknown]);
  t.strictSame(types(client.option(SetMetaContext, query('', 'base:'))), [Rep.Ack], 'not a context');
  t.strictSame(types(client.option(SetMetaContext, query(''))), [Rep.Ack]);
  const [set] = client.option(SetMetaContext, query('', 'x:y', 'base:allocation'));
  t.equal(viewOf(set!.data).getUint32(0), 1, 'the ID that extents come with');
  over(t, world, client);
  t.end();
});

t.test('what was set for one export is not for another, and not after a later refusal', (t) => {
  const world = new NbdWorld();
  world.server.add('other', '', world.disk);
  const set = (name: string, again: boolean): NbdClient => {
    const { client } = greeted(world);
    client.option(Option.StructuredReply);
    client.structured = true;
    client.option(Option.SetMetaContext, query('disk', 'base:allocation'));
    if (again) client.option(Option.SetMetaContext, query('disk'));
    client.option(Option.Go, ask(name));
    client.transmit();
    return client;
  };
  const clients = [set('disk', false), set('other', false), set('disk', true)];
  t.strictSame(
    clients.map((client) => client.ask(7, 0, 512).error),
    [0, 22, 22],
  );
  over(t, world, ...clients);
  t.end();
});

t.test(
  'options that are not known, TLS and extended headers among them, are refused, and nothing else happens',
  (t) => {
    const { world, client } = greeted();
    for (const option of [0, 4, Option.StartTls, 12, Option.ExtendedHeaders, 0xffffffff]) {
      const [answer] = client.option(option, new Uint8Array(3));
      t.equal(answer?.type, Rep.ErrUnsup);
      t.match(text(answer!.data), 'is not known');
    }
    t.strictSame(types(client.option(Option.Go, ask(''))).at(-1), Rep.Ack);
    over(t, world, client);
    t.end();
  },
);

t.test('data whose lengths do not agree is refused', (t) => {
  const { world, client } = greeted();
  client.option(Option.StructuredReply);
  const bad = [
    new Uint8Array(0),
    u32(4),
    concat([u32(5), Buffer.from('disk'), u16(0)]),
    concat([ask('disk'), u16(0)]),
    concat([counted('disk'), u16(3), u16(0)]),
    concat([u32(0xffffffff), new Uint8Array(10)]),
    concat([u32(1), Uint8Array.of(0xff), u16(0)]),
  ];
  for (const data of bad)
    for (const option of [Option.Info, Option.Go]) {
      const [type] = types(client.option(option, data));
      t.ok(type === Rep.ErrInvalid || type === Rep.ErrTooBig, Buffer.from(data).toString('hex'));
    }
  for (const data of [
    new Uint8Array(0),
    counted('disk'),
    concat([counted('disk'), u32(0xffffffff)]),
    concat([counted('disk'), u32(1), u32(400), new Uint8Array(399)]),
    concat([query('disk', 'base:'), new Uint8Array(1)]),
  ])
    for (const option of [Option.SetMetaContext, Option.ListMetaContext])
      t.strictSame(types(client.option(option, data)), [Rep.ErrInvalid]);
  const long = concat([counted('x'.repeat(4097)), u16(0)]);
  t.strictSame(types(client.option(Option.Info, long)), [Rep.ErrTooBig]);
  over(t, world, client);
  t.end();
});

t.test('ABORT is answered, then both sides close', (t) => {
  const { world, client } = greeted();
  t.strictSame(types(client.option(Option.Abort)), [Rep.Ack]);
  t.ok(client.ended);
  client.transport.end();
  t.strictSame(world.leftovers(), []);
  t.end();
});

t.test('who breaks the handshake is disconnected', (t) => {
  const say: Record<string, (client: NbdClient) => void> = {
    'flags that are not known': (client) => client.greet(4),
    'another magic': (client) => {
      client.greet();
      client.say(OptionHeader.bytes({ magic: Magic.server, option: 3 }));
    },
    'an option of 4 GiB': (client) => {
      client.greet();
      client.say(OptionHeader.bytes({ magic: Magic.option, option: 3, length: 0xffffffff }));
    },
    'options without end': (client) => {
      client.greet();
      const list = OptionHeader.bytes({ magic: Magic.option, option: 3 });
      client.say(concat(Array.from({ length: 1001 }, () => list)));
    },
  };
  for (const [what, talk] of Object.entries(say)) {
    const world = new NbdWorld();
    const client = world.connect();
    talk(client);
    world.settle();
    t.ok(client.ended || client.closed, what);
    over(t, world, client);
  }
  t.end();
});

t.test('who chooses nothing in time is disconnected, at whatever step', (t) => {
  for (const steps of [0, 1, 2]) {
    const world = new NbdWorld({ handshakeTimeout: 1000 });
    const client = world.connect();
    if (steps > 0) client.greet();
    world.env.clock.advance(900);
    if (steps > 1) client.option(Option.List);
    world.env.clock.advance(200);
    t.equal(client.ended, steps < 2, `${steps} steps`);
    world.env.clock.advance(1000);
    t.ok(client.ended);
    world.env.clock.advance(5000);
    over(t, world);
  }
  t.end();
});

t.test('a client too many is turned away, and the others stay', (t) => {
  const world = new NbdWorld({ connections: 2 });
  const clients = [world.up(), world.up()];
  const third = world.connect();
  t.ok(third.ended && third.received === 0);
  t.equal(clients[0]!.read(0, 512).error, 0);
  clients[1]!.transport.close();
  world.settle();
  const fourth = world.up();
  t.equal(fourth.read(0, 512).error, 0);
  over(t, world, clients[0]!, third, fourth);
  t.end();
});
