/** Reads that are answered with the file's own memory: who may have it, and what waits for it. */
import * as fc from 'fast-check';
import { type Borrower, mayBorrow } from '../../src/storage/lending.ts';
import { Operation, type OperationKind, type OperationOwner } from '../../src/storage/operation.ts';
import { FaultyFile } from '../doubles/faulty-file.ts';
import { MemoryFile } from '../../src/runtime/memory/file.ts';
import { Slabs } from '../../src/storage/slabs.ts';
import { Volume } from '../../src/storage/volume.ts';
import { memoryEnv } from '../../src/runtime/memory/env.ts';
import t from 'tap';

const BLOCK = 512;
const WAIT = 2000;

/** A connection that takes what it is lent when the test says so. */
class Reader implements Borrower {
  willing = true;
  overdues = 0;
  mayBorrow(): boolean {
    return this.willing;
  }
  overdue(): void {
    this.overdues++;
  }
}

class Bench implements OperationOwner {
  readonly env = memoryEnv();
  readonly file: FaultyFile;
  readonly slabs = new Slabs({ budget: 2 ** 20 });
  readonly volume: Volume;
  readonly reader = new Reader();
  readonly done: Operation[] = [];
  then: (op: Operation) => void = () => undefined;

  constructor({ mappable = true, most = 64 * BLOCK } = {}) {
    this.file = new FaultyFile(64 * BLOCK);
    this.file.mappable = mappable;
    // A chunk that is there, so that slices are of it.
    this.file.seen.write(0, new Uint8Array(64 * BLOCK).fill(1));
    this.volume = new Volume(this.env, this.file, {
      blockSize: BLOCK,
      readOnly: false,
      slabs: this.slabs,
      lending: { most, wait: WAIT },
    });
  }

  operationDone(op: Operation): void {
    this.done.push(op);
    this.then(op);
  }

  ask(kind: OperationKind, block = 0, blocks = 1, reader: Borrower | 'nobody' = this.reader): Operation {
    const op = new Operation(this);
    op.kind = kind;
    op.offset = block * BLOCK;
    op.length = kind === 'flush' ? 0 : blocks * BLOCK;
    op.mayBeLent = kind === 'read';
    op.borrower = reader === 'nobody' ? undefined : reader;
    if (kind === 'copy') op.sources = [{ offset: 32 * BLOCK, length: op.length }];
    if (kind === 'write') op.parts.push(new Uint8Array(op.length).fill(9));
    this.volume.submit(op);
    this.volume.invariants();
    return op;
  }

  /** Reads the blocks once by a copy, so that they are known to be in memory. */
  warm(block = 0, blocks = 64): void {
    const op = this.ask('read', block, blocks, 'nobody');
    this.run();
    this.giveBack(op);
  }

  giveBack(op: Operation): void {
    this.volume.giveBack(op);
    this.volume.invariants();
  }

  run(): void {
    while (this.file.step()) this.volume.invariants();
  }

  isDone(op: Operation): boolean {
    return this.done.includes(op);
  }

  later(ms: number): void {
    this.env.clock.advance(ms);
    this.volume.invariants();
  }
}

t.test(
  'a connection borrows while its socket is drained, so much at a time, and never what it must look at',
  (t) => {
    const rows = [
      // readsPayload, backlog, turn, length → lent
      [false, 0, 0, 4096, true],
      [false, 0, 4096, 4096, true],
      [false, 0, 4097, 4096, false],
      [false, 1, 0, 4096, false],
      [true, 0, 0, 4096, false],
    ] as const;
    for (const [readsPayload, backlog, turn, length, lent] of rows)
      t.equal(mayBorrow({ readsPayload, backlog, turn }, length, 8192), lent);
    t.end();
  },
);

t.test('what was read or written a moment ago is lent as it is, anything else is copied', (t) => {
  const bench = new Bench();
  const cold = bench.ask('read');
  t.equal(cold.stage, 'file');
  bench.run();
  t.notOk(cold.lent);
  bench.giveBack(cold);
  const warm = bench.ask('read');
  t.ok(bench.isDone(warm) && warm.lent);
  t.equal(warm.parts[0]!.buffer, bench.ask('read').parts[0]!.buffer);
  t.equal(bench.volume.lent, 2 * BLOCK);
  t.equal(bench.slabs.inUse, 0);
  bench.ask('write', 7);
  bench.run();
  t.ok(bench.ask('read', 7).lent);
  t.notOk(bench.ask('read', 8).lent);
  t.end();
});

t.test('nobody borrows without a borrower, past the limit, or where the file cannot be mapped', (t) => {
  for (const options of [{ mappable: false }, { most: BLOCK - 1 }]) {
    const bench = new Bench(options);
    bench.warm();
    t.notOk(bench.ask('read').lent);
  }
  const bench = new Bench();
  bench.warm();
  t.notOk(bench.ask('read', 0, 1, 'nobody').lent);
  bench.reader.willing = false;
  t.notOk(bench.ask('read').lent);
  bench.reader.willing = true;
  bench.file.windows = false;
  const op = bench.ask('read');
  t.notOk(op.lent, 'the system has no more mappings');
  bench.run();
  t.equal(op.parts[0]![0], 1);
  t.end();
});

for (const kind of ['write', 'zero', 'deallocate', 'copy'] as const)
  t.test(`a ${kind} waits until what it changes was taken, and nothing new of that is lent`, (t) => {
    const bench = new Bench();
    bench.warm();
    const [one, two, other] = [bench.ask('read', 0, 4), bench.ask('read', 2, 4), bench.ask('read', 9)];
    const change = bench.ask(kind, 3, 2);
    t.equal(change.stage, 'lent');
    const late = bench.ask('read', 3);
    t.equal(late.stage, 'range');
    bench.giveBack(one);
    bench.run();
    t.equal(change.stage, 'lent');
    t.equal(two.parts[0]![2 * BLOCK], 1, 'the socket still sends what was there');
    bench.giveBack(two);
    t.equal(change.stage, 'file');
    bench.run();
    t.ok(bench.isDone(change) && bench.isDone(late));
    t.equal(late.parts[0]![0], { write: 9, copy: 1, zero: 0, deallocate: 0 }[kind]);
    t.ok(other.lent);
    t.equal(bench.reader.overdues, 0);
    t.end();
  });

t.test('a change that shares a cell of the ledger with something lent, but no byte, does not wait', (t) => {
  const bench = new Bench();
  bench.warm();
  bench.ask('read', 0, 4);
  t.equal(bench.ask('write', 4).stage, 'file');
  t.end();
});

t.test('past the bound the slow reader is told, and nobody else', (t) => {
  const bench = new Bench();
  bench.warm();
  const other = new Reader();
  const slow = bench.ask('read', 0, 4);
  bench.ask('read', 8, 1, other);
  const write = bench.ask('write', 1);
  bench.later(WAIT - 1);
  t.equal(bench.reader.overdues, 0);
  bench.later(1);
  t.equal(bench.reader.overdues, 1);
  t.equal(other.overdues, 0);
  t.equal(write.stage, 'lent', 'told is not back');
  bench.giveBack(slow);
  bench.run();
  t.ok(bench.isDone(write));
  bench.later(10 * WAIT);
  t.equal(bench.reader.overdues, 1);
  t.end();
});

t.test('a write that is given up waits no more, and the slice is not awaited for it', (t) => {
  const bench = new Bench();
  bench.warm();
  const lent = bench.ask('read', 0, 4);
  const write = bench.ask('write', 1);
  t.ok(bench.volume.cancel(write));
  bench.volume.invariants();
  t.equal(write.stage, 'idle');
  bench.later(10 * WAIT);
  t.equal(bench.reader.overdues, 0);
  bench.giveBack(lent);
  t.strictSame(
    bench.file.log.filter((line) => line.startsWith('write')),
    [],
  );
  t.end();
});

t.test('a file is closed and unmapped when the last slice is back; the bound holds for that as well', (t) => {
  const bench = new Bench();
  bench.warm();
  const lent = bench.ask('read');
  let closed = false;
  bench.volume.close(() => {
    closed = true;
  });
  bench.run();
  t.notOk(closed);
  bench.later(WAIT);
  bench.run();
  t.equal(bench.reader.overdues, 1);
  bench.giveBack(lent);
  bench.run();
  t.ok(closed);
  t.strictSame(
    bench.file.log.filter((line) => /unmap|close/.test(line)),
    ['unmap', 'close', 'close ok'],
  );
  t.end();
});

t.test(
  'a socket that cannot read what it was lent: nothing is lent until the file was looked at, and not that',
  (t) => {
    const bench = new Bench();
    bench.warm();
    const sizes: number[] = [];
    bench.volume.onResize = (size) => sizes.push(size);
    const lent = bench.ask('read', 40);
    bench.file.truncate(32 * BLOCK);
    bench.volume.lentFault(lent);
    bench.giveBack(lent);
    t.notOk(bench.ask('read', 1).lent);
    bench.run();
    t.strictSame(sizes, [32 * BLOCK]);
    t.ok(bench.ask('read', 1).lent);
    const past = bench.ask('read', 40);
    t.equal(past.error?.code, 'ETRUNC');
    t.end();
  },
);

t.test('a page that cannot be read is read through the file from then on, which says why', (t) => {
  const bench = new Bench();
  bench.warm();
  const lent = bench.ask('read', 40);
  bench.volume.lentFault(lent);
  bench.giveBack(lent);
  bench.run();
  bench.file.fail('read', 'EIO');
  const again = bench.ask('read', 40);
  t.equal(again.stage, 'file');
  bench.run();
  t.equal(again.error?.code, 'EIO');
  t.end();
});

t.test('while there are reads the system is asked what is in memory, a stretch at a time', (t) => {
  const bench = new Bench();
  bench.warm(0, 1);
  t.notOk(bench.ask('read', 5).lent);
  bench.run();
  bench.later(100);
  t.ok(bench.file.log.some((line) => line.startsWith('resident 0+')));
  bench.file.inMemory = (page) => page === 5;
  bench.run();
  t.ok(bench.ask('read', 5).lent);
  t.notOk(bench.ask('read', 0).lent, 'it has left in the meantime');
  bench.later(100);
  bench.run();
  const asked = bench.file.log.length;
  bench.later(10_000);
  bench.run();
  t.ok(bench.file.log.length - asked <= 2, 'nobody asks when nobody reads');
  t.end();
});

t.test('an answer about pages that comes after the close is the one that unmaps', (t) => {
  const bench = new Bench();
  bench.warm();
  bench.giveBack(bench.ask('read'));
  bench.later(100);
  bench.volume.close(() => undefined);
  t.notOk(bench.file.log.includes('unmap'));
  bench.run();
  t.equal(bench.file.log.filter((line) => line === 'unmap').length, 1);
  t.end();
});

t.test('memory is lent without asking, across its chunks', (t) => {
  const env = memoryEnv();
  const file = new MemoryFile(env.clock, 2 ** 20);
  const slabs = new Slabs({ budget: 2 ** 20 });
  const volume = new Volume(env, file, {
    blockSize: BLOCK,
    readOnly: false,
    slabs,
    lending: { most: 2 ** 20, wait: WAIT },
  });
  const op = new Operation({ operationDone: () => undefined });
  op.offset = 2 ** 18 - BLOCK;
  op.length = 2 * BLOCK;
  op.mayBeLent = true;
  op.borrower = new Reader();
  volume.submit(op);
  t.ok(op.lent);
  t.strictSame(
    op.parts.map(({ length }) => length),
    [BLOCK, BLOCK],
  );
  volume.giveBack(op);
  volume.invariants();
  t.end();
});

t.test('whatever is asked in whatever order, nobody writes to what a socket has (property)', (t) => {
  const step = fc.record({
    kind: fc.constantFrom('read', 'read', 'write', 'back', 'step', 'cancel', 'later'),
    block: fc.nat(15),
    blocks: fc.integer({ min: 1, max: 4 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const bench = new Bench();
      bench.warm();
      /** What is lent, as it was then. */
      const lent = new Map<Operation, Uint8Array>();
      bench.then = (op) => {
        if (op.lent) lent.set(op, op.parts[0]!.slice());
      };
      const waiting: Operation[] = [];
      let fill = 10;
      const check = (): boolean =>
        [...lent].every(([op, before]) => Buffer.compare(op.parts[0]!, before) === 0);
      for (const { kind, block, blocks } of steps) {
        if (kind === 'read') bench.ask('read', block, blocks);
        else if (kind === 'write') {
          const op = bench.ask('write', block, blocks);
          op.parts[0]?.fill(fill++);
          waiting.push(op);
        } else if (kind === 'back') {
          const [first] = lent.keys();
          if (first !== undefined) {
            lent.delete(first);
            bench.giveBack(first);
          }
        } else if (kind === 'step') bench.file.step(block % Math.max(1, bench.file.pending.length));
        else if (kind === 'later') bench.later(block * 200);
        else {
          const op = waiting.shift();
          if (op !== undefined && !bench.isDone(op)) bench.volume.cancel(op);
        }
        bench.volume.invariants();
        if (!check()) return false;
      }
      bench.run();
      // What is given back may let a write go on, and that a read.
      for (let [op] = lent.keys(); op !== undefined; [op] = lent.keys()) {
        lent.delete(op);
        bench.giveBack(op);
        bench.run();
      }
      return bench.volume.inFlight === 0;
    }),
  );
  t.end();
});
