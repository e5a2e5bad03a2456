import * as fc from 'fast-check';
import { Operation, type OperationOwner } from '../../src/storage/operation.ts';
import { FaultyFile } from '../doubles/faulty-file.ts';
import { Slabs } from '../../src/storage/slabs.ts';
import { Volume } from '../../src/storage/volume.ts';
import { memoryEnv } from '../../src/runtime/memory/env.ts';
import t from 'tap';

const BLOCK = 512;
const MIB = 2 ** 20;

/** A volume whose blocks hold their own numbers, and what is done to it. */
class Bench implements OperationOwner {
  readonly file: FaultyFile;
  readonly slabs: Slabs;
  readonly volume: Volume;
  readonly done: Operation[] = [];
  readonly blocks: number;

  constructor(blocks = 64, budget = MIB) {
    this.blocks = blocks;
    this.file = new FaultyFile(blocks * BLOCK);
    for (let i = 0; i < blocks; i++) this.file.seen.write(i * BLOCK, new Uint8Array(BLOCK).fill(i));
    this.slabs = new Slabs({ budget });
    this.volume = new Volume(memoryEnv(), this.file, {
      blockSize: BLOCK,
      readOnly: false,
      slabs: this.slabs,
    });
  }

  operationDone(op: Operation): void {
    this.done.push(op);
  }

  submit(kind: Operation['kind'], block: number, blocks: number): Operation {
    const op = new Operation(this);
    op.kind = kind;
    op.offset = block * BLOCK;
    op.length = blocks * BLOCK;
    if (kind === 'write') op.parts.push(new Uint8Array(op.length).fill(0xee));
    this.volume.submit(op);
    this.volume.invariants();
    return op;
  }

  /** `sources`: first block and count. */
  copy(to: number, ...sources: readonly (readonly [number, number])[]): Operation {
    const op = new Operation(this);
    op.kind = 'copy';
    op.offset = to * BLOCK;
    op.sources = sources.map(([block, count]) => ({ offset: block * BLOCK, length: count * BLOCK }));
    op.length = op.sources.reduce((sum, { length }) => sum + length, 0);
    this.volume.submit(op);
    this.volume.invariants();
    return op;
  }

  run(): void {
    while (this.file.step()) this.volume.invariants();
  }

  /** The first byte of some blocks, from `first` on. */
  bytes(first: number, count: number): number[] {
    const all = new Uint8Array(count * BLOCK);
    this.file.seen.read(first * BLOCK, all);
    return Array.from({ length: count }, (_, i) => all[i * BLOCK]!);
  }
}

t.test('a copy puts its sources one after the other, by the file or through a buffer', (t) => {
  for (const able of [true, false]) {
    const bench = new Bench();
    if (!able) bench.file.fail('copy', 'ENOTSUP');
    const op = bench.copy(40, [5, 2], [1, 1], [5, 1]);
    bench.run();
    t.equal(op.error, undefined);
    t.strictSame(bench.bytes(40, 4), [5, 6, 1, 5]);
    t.strictSame([op.copied, op.guards.length, bench.volume.inFlight, bench.slabs.inUse], [3, 0, 0, 0]);
    const again = bench.copy(50, [2, 1]);
    bench.run();
    t.equal(again.error, undefined);
    t.equal(
      bench.file.log.filter((line) => line.startsWith('copy') && line.endsWith(' ok')).length,
      able ? 4 : 0,
      'a file that cannot is not asked again',
    );
  }
  t.end();
});

t.test('a copy through a buffer takes a bounded piece at a time', (t) => {
  const bench = new Bench(8192, 2 * MIB);
  bench.file.fail('copy', 'ENOTSUP');
  const op = bench.copy(4096, [0, 4096]);
  let most = 0;
  while (bench.file.step()) most = Math.max(most, bench.slabs.inUse);
  t.equal(op.error, undefined);
  t.equal(most, MIB / 4);
  t.strictSame(bench.bytes(8191, 1), [4095 & 255]);
  t.end();
});

t.test('ORDER.2: a copy holds its sources and where it goes until the end', (t) => {
  const bench = new Bench();
  const copy = bench.copy(40, [5, 2], [20, 1]);
  const blocked = [bench.submit('write', 20, 1), bench.submit('read', 41, 1), bench.submit('write', 42, 4)];
  const reader = bench.submit('read', 5, 1);
  t.strictSame(
    blocked.map(({ stage }) => stage),
    ['range', 'range', 'range'],
  );
  t.equal(reader.stage, 'file', 'its sources may be read');
  bench.run();
  t.equal(copy.error, undefined);
  t.strictSame(bench.bytes(40, 3), [5, 6, 0xee]);
  t.equal(bench.done.indexOf(copy) < bench.done.indexOf(blocked[0]!), true);
  t.end();
});

t.test('a copy waits for writes to its sources and for readers of where it goes', (t) => {
  const bench = new Bench();
  bench.submit('write', 5, 1);
  const read = bench.submit('read', 40, 1);
  const copy = bench.copy(40, [5, 1]);
  t.equal(copy.stage, 'range');
  bench.file.step();
  t.equal(copy.stage, 'range', 'one range is there, the other is not');
  bench.volume.invariants();
  bench.run();
  t.equal(read.parts[0]![0], 40);
  t.strictSame(bench.bytes(40, 1), [0xee]);
  t.end();
});

t.test('two copies that are in each other’s way do not wait for each other', (t) => {
  const bench = new Bench();
  const first = bench.copy(40, [5, 4]);
  const second = bench.copy(5, [40, 4]);
  t.equal(second.stage, 'range');
  bench.run();
  t.strictSame(bench.done, [first, second]);
  t.strictSame(bench.bytes(5, 4), [5, 6, 7, 8]);
  t.end();
});

t.test('a copy that is cancelled leaves no range, whether it waited or ran', (t) => {
  const bench = new Bench();
  bench.submit('write', 5, 1);
  const waiting = bench.copy(40, [5, 1], [6, 1]);
  t.ok(bench.volume.cancel(waiting));
  bench.volume.invariants();
  bench.run();
  t.equal(bench.volume.inFlight, 0);

  const running = bench.copy(40, [5, 1], [6, 1]);
  t.notOk(bench.volume.cancel(running));
  bench.run();
  t.match(running, { error: { code: 'ECANCELED' }, copied: 1 }, 'it stops between two pieces');
  t.equal(bench.volume.inFlight, 0);
  t.strictSame(bench.bytes(41, 1), [41]);
  t.end();
});

t.test('DISK.1: a copy with FUA ends after a sync; what fails says how far it came', (t) => {
  const bench = new Bench();
  const op = new Operation(bench);
  Object.assign(op, { kind: 'copy', offset: 40 * BLOCK, length: BLOCK, fua: true });
  op.sources = [{ offset: 0, length: BLOCK }];
  bench.volume.submit(op);
  bench.run();
  t.strictSame(bench.file.log.slice(-2), ['sync', 'sync ok']);

  for (const calls of [['copy'], ['read', 'ENOTSUP'], ['write', 'ENOTSUP']]) {
    if (calls[1]) bench.file.fail('copy', calls[1]);
    const [call] = calls;
    bench.file.fail(call as 'copy', 'EIO');
    const failed = bench.copy(40, [1, 1]);
    bench.run();
    t.match(failed, { error: { code: 'EIO' }, copied: 0 });
    t.equal(bench.slabs.inUse, 0);
  }
  const short = bench.copy(40, [1, 1], [bench.blocks - 1, 2]);
  bench.run();
  t.equal(short.error?.code, 'ETRUNC', 'a source past the end');
  t.end();
});

t.test('copies and everything else, in any order, end as if one came after the other', (t) => {
  const blocks = 12;
  const range = fc.tuple(fc.nat(blocks - 1), fc.integer({ min: 1, max: 3 }));
  const step = fc.oneof(
    fc.record({ kind: fc.constant('copy' as const), to: fc.nat(blocks - 1), from: range }),
    fc.record({
      kind: fc.constantFrom('read' as const, 'write' as const),
      to: fc.nat(blocks - 1),
      from: range,
    }),
    fc.record({ kind: fc.constant('step' as const), to: fc.nat(5), from: range }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.boolean(), (steps, able) => {
      const bench = new Bench(blocks, MIB);
      if (!able) bench.file.fail('copy', 'ENOTSUP');
      const model = Array.from({ length: blocks }, (_, i) => i);
      let submitted = 0;
      for (const { kind, to, from } of steps) {
        const [first, wanted] = from;
        const count = Math.min(wanted, blocks - first, blocks - to);
        if (kind === 'step') bench.file.step(to % Math.max(1, bench.file.pending.length));
        else if (kind === 'copy') {
          if (first < to + count && to < first + count) continue;
          submitted++;
          bench.copy(to, [first, count]);
          model.splice(to, count, ...model.slice(first, first + count));
        } else {
          submitted++;
          bench.submit(kind, to, count);
          if (kind === 'write') model.splice(to, count, ...Array<number>(count).fill(0xee));
        }
      }
      bench.run();
      if (bench.done.length !== submitted) throw new Error(`${bench.done.length} of ${submitted} ended`);
      const left = bench.bytes(0, blocks);
      if (left.join() !== model.join()) throw new Error(`${left.join()}, not ${model.join()}`);
    }),
    { numRuns: 400 },
  );
  t.end();
});
