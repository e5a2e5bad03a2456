/** Where accepted sockets read into. */
import { Socket, connect } from 'node:net';
import { READ_BYTES, ReadBuffer, withBuffer } from '../../src/runtime/node/read-buffer.ts';
import type { Transport } from '../../src/runtime/ports.ts';
import { nodeEnv } from '../../src/runtime/node/env.ts';
import t, { type Test } from 'tap';

const sizes = [5000, 72, 60_000, 1, 70_000, 4168];

/** Sends `sizes`, each once the one before it was received; gives the chunks, and copies of them. */
function receive(t: Test, keeps: (() => boolean) | undefined): Promise<[Uint8Array[], Buffer[]]> {
  return new Promise((resolve) => {
    const env = nodeEnv();
    const chunks: Uint8Array[] = [];
    const copies: Buffer[] = [];
    let left = [...sizes];
    let missing = 0;
    env.net.listen(
      { host: '127.0.0.1', port: 0 },
      (server: Transport) => {
        server.start({
          data(chunk) {
            chunks.push(chunk);
            copies.push(Buffer.from(chunk));
            missing -= chunk.length;
            if (missing === 0) server.write([new Uint8Array(1)], () => undefined);
          },
          ...(keeps && { keeps }),
          end: () => server.end(),
          closed: () => resolve([chunks, copies]),
        });
      },
      (_error, listener) => {
        const { host, port } = listener!.address;
        const client = connect({ host, port });
        const send = (): void => {
          const [size] = left;
          left = left.slice(1);
          missing = size ?? 0;
          if (size === undefined) client.end();
          else client.write(new Uint8Array(size).fill(left.length + 1));
        };
        client.on('connect', send);
        client.on('data', send);
        client.on('close', () => listener!.close(() => undefined));
        t.ok(port > 0);
      },
    );
  });
}

const total = sizes.reduce((sum, size) => sum + size, 0);
const lengthOf = (chunks: readonly Uint8Array[]): number =>
  chunks.reduce((sum, { length }) => sum + length, 0);

t.test('the memory of a chunk of which nothing is kept is used for the next one', async (t) => {
  const [chunks] = await receive(t, () => false);
  t.equal(lengthOf(chunks), total);
  t.equal(new Set(chunks.map(({ buffer }) => buffer)).size, 1);
  t.ok(chunks.every(({ byteOffset, length }) => byteOffset === 0 && length <= READ_BYTES));
});

for (const [name, keeps] of [
  ['who says so', () => true],
  ['who does not say', undefined],
] as const)
  t.test(`what is kept stays as it is: by somebody ${name}`, async (t) => {
    const [chunks, copies] = await receive(t, keeps);
    t.equal(lengthOf(chunks), total);
    for (const [i, chunk] of chunks.entries()) t.ok(Buffer.from(chunk).equals(copies[i]!));
    t.ok(
      chunks.some(({ buffer, byteOffset }) => byteOffset > 0 && buffer === chunks[0]!.buffer),
      'what is left of a buffer is used',
    );
  });

t.test('a chunk that is kept costs what it needs of a buffer, and no chunk gets little room', (t) => {
  let kept = true;
  const buffer = new ReadBuffer(() => kept);
  const first = buffer.buffer();
  const rooms: number[] = [];
  for (let i = 0; i < 40; i++) {
    rooms.push(buffer.buffer().length);
    buffer.callback(4096);
  }
  t.ok(Math.min(...rooms) >= READ_BYTES / 4);
  t.same(rooms.slice(0, 3), [READ_BYTES, READ_BYTES - 4096, READ_BYTES - 8192]);
  kept = false;
  const now = buffer.buffer();
  t.not(now.buffer, first.buffer);
  buffer.callback(4096);
  t.equal(buffer.buffer(), now);
  t.end();
});

t.test('a socket that has no handle is left as it is', (t) => {
  t.equal(withBuffer(new Socket(), new ReadBuffer(() => false)), undefined);
  t.end();
});
