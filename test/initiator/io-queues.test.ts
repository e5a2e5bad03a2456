import t from 'tap';
import { why } from '../../src/initiator/why.ts';
import { divide } from '../../src/initiator/io-queues.ts';
import { BLOCK } from '../doubles/fake-controller.ts';
import { Multipath } from '../doubles/multipath.ts';

const block = (value: number): Uint8Array => new Uint8Array(BLOCK).fill(value);

t.test('what is made of the queues that are granted, as Linux divides them', (t) => {
  const rows: [io: number, write: number, granted: number, writes: number, reads: number][] = [
    [4, 0, 4, 4, 0],
    [4, 0, 2, 2, 0],
    [4, 2, 6, 2, 4],
    [4, 2, 5, 1, 4],
    [4, 2, 4, 4, 0],
    [4, 2, 1, 1, 0],
    [1, 3, 4, 3, 1],
    [1, 3, 2, 1, 1],
    [1, 1, 1, 1, 0],
  ];
  for (const [io, write, granted, writes, reads] of rows)
    t.strictSame(divide(io, write, granted), { writes, reads }, `${io} and ${write}, granted ${granted}`);
  t.end();
});

const READS = ['Read'];
const OTHERS = ['Write', 'Write Zeroes', 'Dataset Management', 'Compare', 'Flush'];

/** Sends some of everything; gives the queues that took reads, and those that took anything else. */
function queuesOf(m: Multipath): { reads: number[]; others: number[] } {
  m.a.fake.log.length = 0;
  for (let i = 0; i < 12; i++) {
    // Two, so that queues which take turns all get one.
    m.world.read(m.head, i, 1);
    m.world.read(m.head, i, 1);
    m.world.write(m.head, i, block(1));
    m.world.submit(m.head, 'zeroes', { slba: i, blocks: 1 });
    m.world.submit(m.head, 'deallocate', { ranges: [{ slba: i, blocks: 1 }] });
    m.world.submit(m.head, 'compare', { slba: i, blocks: 1, buffers: [block(0)] });
    m.world.submit(m.head, 'flush');
  }
  m.world.settle();
  const of = (names: readonly string[]): number[] => {
    const lines = m.a.fake.log.map((line) => /^q(\d+) (.*)$/.exec(line)!);
    const found = lines.filter(([, qid, name]) => qid !== '0' && names.includes(name!));
    return [...new Set(found.map(([, qid]) => Number(qid)))].sort();
  };
  return { reads: of(READS), others: of(OTHERS) };
}

t.test('nr_write_queues: reads have nr_io_queues of their own, everything else the write queues', (t) => {
  const m = new Multipath({ sides: 1, options: { ioQueues: 2, writeQueues: 3 } });
  t.equal(m.a.controller.ioConnections.length, 5);
  t.strictSame(queuesOf(m), { reads: [4, 5], others: [1, 2, 3] });
  t.match(why(m.head).paths, [{ ioQueues: 5, readQueues: 2 }]);
  t.strictSame(m.stop(), []);
  t.end();
});

t.test('QUIESCE.8 nr_write_queues: the division follows what is granted; no I/O is lost', (t) => {
  const options = { ioQueues: 2, writeQueues: 1, heads: { writeFailover: 'immediate' } } as const;
  const m = new Multipath({ sides: 1, options });
  const both = { reads: [2, 3], others: [1] };
  t.strictSame(queuesOf(m), both);
  for (const [granted, queues, expected] of [
    [1, 1, { reads: [1], others: [1] }],
    [64, 3, both],
    [2, 2, { reads: [1, 2], others: [1, 2] }],
    [3, 3, both],
  ] as const) {
    m.a.holding = true;
    const ios = Array.from({ length: 300 }, (_, i) =>
      i % 2 === 0 ? m.world.write(m.head, i, block(granted)) : m.world.read(m.head, i, 1),
    );
    m.world.settle();
    m.a.fake.maxQueues = granted;
    m.a.commands.length = 0;
    m.a.holding = false;
    m.a.fake.cut();
    m.world.advance(2000);
    t.equal(m.a.controller.ioConnections.length, queues);
    t.ok(ios.every(({ status, calls }) => status === 0 && calls === 1));
    t.strictSame(queuesOf(m), expected, `granted ${granted}`);
  }
  t.strictSame(m.stop(), []);
  t.end();
});
