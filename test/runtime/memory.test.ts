import * as fc from 'fast-check';
import type { IoError, Transport } from '../../src/runtime/ports.ts';
import { Fifo } from '../../src/runtime/fifo.ts';
import { MemoryTransport } from '../../src/runtime/memory/net.ts';
import { Ring } from '../../src/runtime/ring.ts';
import { SparseBytes } from '../../src/runtime/memory/sparse.ts';
import { memoryEnv } from '../../src/runtime/memory/env.ts';
import t from 'tap';

t.test('a Fifo is an array with a cheap front', (t) => {
  const step = fc.oneof(fc.nat(99), fc.constant('shift' as const), fc.record({ remove: fc.nat(99) }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const fifo = new Fifo<number>();
      const model: number[] = [];
      for (const step of steps) {
        if (typeof step === 'number') {
          fifo.push(step);
          model.push(step);
        } else if (step === 'shift') {
          if (fifo.shift() !== model.shift()) return false;
        } else {
          const at = model.indexOf(step.remove);
          if (at >= 0) model.splice(at, 1);
          if (fifo.remove(step.remove) !== at >= 0) return false;
        }
        if (fifo.peek() !== model[0] || fifo.length !== model.length) return false;
      }
      return [...fifo].join() === model.join();
    }),
  );
  t.end();
});

t.test('a Ring remembers the last ones', (t) => {
  const ring = new Ring<number>(3);
  for (let i = 0; i < 2; i++) ring.push(i);
  t.strictSame(ring.items(), [0, 1]);
  for (let i = 2; i < 8; i++) ring.push(i);
  t.strictSame([ring.items(), ring.seen], [[5, 6, 7], 8]);
  t.end();
});

t.test('time passes when it is told to, timers in order', (t) => {
  const { clock } = memoryEnv();
  const order: string[] = [];
  clock.timer('late', 20, () => order.push(`late ${clock.now()}`));
  clock.timer('early', 10, () => {
    order.push(`early ${clock.now()}`);
    clock.defer(() => order.push('deferred'));
    clock.timer('nested', 5, () => order.push(`nested ${clock.now()}`));
  });
  const cancelled = clock.timer('cancelled', 12, () => order.push('cancelled'));
  clock.timer('too', 20, () => order.push('too'));
  cancelled.cancel();
  clock.advance(19);
  t.strictSame(order, ['early 10', 'deferred', 'nested 15']);
  t.strictSame(
    clock.timers.map((timer) => timer.name),
    ['late', 'too'],
  );
  clock.advance(1);
  t.strictSame(order.slice(3), ['late 20', 'too']);
  t.equal(clock.timers.length, 0);
  t.end();
});

t.test('the same seed gives the same numbers', (t) => {
  t.strictSame(memoryEnv(7).random.bytes(100), memoryEnv(7).random.bytes(100));
  t.notSame(memoryEnv(7).random.bytes(100), memoryEnv(8).random.bytes(100));
  t.end();
});

t.test('sparse bytes are bytes', (t) => {
  const SIZE = 1024 * 1024;
  const range = { at: fc.nat(SIZE - 1), length: fc.nat(SIZE) };
  fc.assert(
    fc.property(fc.array(fc.record({ ...range, fill: fc.nat(3) }), { maxLength: 12 }), (steps) => {
      const sparse = new SparseBytes(SIZE);
      const model = new Uint8Array(SIZE);
      for (const { at, length, fill } of steps) {
        const bytes = new Uint8Array(Math.min(length, SIZE - at)).fill(fill);
        if (fill === 0) sparse.punch(at, length);
        else sparse.write(at, bytes);
        model.set(bytes, at);
      }
      const all = new Uint8Array(SIZE + 10);
      return sparse.read(0, all) === SIZE && Buffer.compare(all.subarray(0, SIZE), model) === 0;
    }),
    { numRuns: 50 },
  );
  t.end();
});

t.test('files in memory have names and locks (DISK.5)', (t) => {
  const { files, clock } = memoryEnv();
  const answers: string[] = [];
  const open = (path: string, readOnly: boolean, createSize?: number): void =>
    files.open(path, { readOnly, createSize }, (error, file) => answers.push(error?.code ?? file!.id));
  open('/a', false);
  open('/a', false, 4096);
  files.link('/a', '/b');
  open('/b', true);
  clock.settle();
  t.strictSame(answers, ['ENOENT', '1:1', 'EBUSY']);
  t.end();
});

/** Two ends that write down what happens to them. */
function pair(split?: number[], capacity?: number) {
  const { clock } = memoryEnv();
  const record: string[] = [];
  const ends = MemoryTransport.pair(clock, { split, capacity });
  for (const [name, end] of Object.entries({ a: ends[0], b: ends[1] })) {
    end.start({
      data: (chunk) => record.push(`${name} ${chunk.join('')}`),
      end: () => record.push(`${name} end`),
      closed: (error) => record.push(`${name} closed${error === undefined ? '' : ` ${error.split(':')[0]}`}`),
    });
  }
  return { clock, record, a: ends[0], b: ends[1] };
}
const digits = (text: string): Uint8Array => Uint8Array.from(text, Number);

t.test('net in memory: a stream arrives in pieces of the sizes asked for', (t) => {
  const { clock, record, a } = pair([1, 3]);
  a.write([digits('12'), digits('345')], () => record.push('done'));
  a.write([digits('678')], () => record.push('done'));
  t.strictSame(record, [], 'nothing happens inside the call');
  clock.settle();
  t.strictSame(record, ['done', 'done', 'b 1', 'b 234', 'b 5', 'b 678']);
  t.end();
});

t.test('net in memory: half-close, and closed when both sides are through', (t) => {
  const { clock, record, a, b } = pair();
  a.write([digits('1')], () => undefined);
  a.end();
  clock.settle();
  b.write([digits('2')], () => undefined);
  b.end();
  clock.settle();
  t.strictSame(record, ['b 1', 'b end', 'a 2', 'a end', 'b closed', 'a closed']);
  t.end();
});

t.test('net in memory: a reader that does not read stops the writer; every write is done once', (t) => {
  const { clock, record, a, b } = pair(undefined, 4);
  b.pause();
  for (let i = 0; i < 4; i++) a.write([digits('123')], () => record.push(`done ${i}`));
  clock.settle();
  t.strictSame(record, ['done 0', 'done 1']);
  b.resume();
  clock.settle();
  t.strictSame(record.length, 8);
  b.pause();
  record.length = 0;
  for (let i = 0; i < 4; i++) a.write([digits('123')], () => record.push(`done ${i}`));
  a.reset();
  clock.settle();
  t.strictSame(record.slice(0, 4), ['done 0', 'done 1', 'done 2', 'done 3']);
  t.strictSame(record.slice(4), ['a closed', 'b closed ECONNRESET']);
  b.write([digits('1')], () => record.push('done after'));
  clock.settle();
  t.equal(record.at(-1), 'done after');
  t.equal(record.length, 7);
  t.end();
});

t.test('net in memory: a side that closes ends the stream of the other', (t) => {
  const { clock, record, a, b } = pair();
  a.close();
  clock.settle();
  t.strictSame(record, ['a closed', 'b end']);
  b.end();
  clock.settle();
  t.strictSame(record, ['a closed', 'b end', 'b closed']);
  t.end();
});

t.test('net in memory: listen, connect, refuse, cancel', (t) => {
  const { clock, net } = memoryEnv();
  const record: string[] = [];
  const connected = (error: IoError | undefined, transport?: Transport): void => {
    record.push(error?.code ?? `to ${transport!.remote.port}`);
  };
  net.listen(
    { host: '0.0.0.0', port: 4420 },
    (server) => record.push(`from ${server.remote.host}`),
    connectedNot,
  );
  net.listen({ host: '0.0.0.0', port: 4420 }, () => undefined, connectedNot);
  clock.settle();
  net.connect({ to: { host: '10.0.0.1', port: 4420 }, localHost: '10.0.0.2' }, connected);
  net.connect({ to: { host: '10.0.0.1', port: 4421 } }, connected);
  net.connect({ to: { host: '10.0.0.1', port: 4420 } }, connected).cancel();
  clock.settle();
  t.strictSame(record, ['listening', 'EADDRINUSE', 'from 10.0.0.2', 'to 4420', 'ECONNREFUSED']);
  t.end();

  function connectedNot(error: IoError | undefined): void {
    record.push(error?.code ?? 'listening');
  }
});
