import * as fc from 'fast-check';
import { Operation, type OperationKind } from '../../src/storage/operation.ts';
import { Fifo } from '../../src/runtime/fifo.ts';
import { Ranges } from '../../src/storage/ranges.ts';
import t from 'tap';

const BLOCK = 512;
const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

function operation(kind: OperationKind, offset: number, length: number): Operation {
  const op = new Operation({ operationDone: () => undefined });
  op.kind = kind;
  op.offset = offset;
  op.length = length;
  return op;
}

// Sizes and places in blocks that make every kind of meeting likely: the same block, neighbours, one inside another,
// borders of cells of all sizes.
const anyBlocks = fc.oneof(
  fc.integer({ min: 1, max: 20 }),
  fc.constantFrom(8, 128, 256, 2048, 2 ** 15, 2 ** 23, 2 ** 27, 2 ** 28),
  fc.integer({ min: 1, max: 2 ** 28 }),
);
const anyBlock = fc.oneof(
  { weight: 3, arbitrary: fc.nat(20) },
  fc
    .tuple(fc.constantFrom(8, 128, 2048, 2 ** 15, 2 ** 23, 2 ** 27), fc.integer({ min: -9, max: 9 }))
    .map(([border, by]) => Math.max(0, border + by)),
  fc.nat(2 ** 28),
);
const anyStep = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom<OperationKind>('read', 'read', 'write', 'zero'),
      hold: fc.integer({ min: 0, max: 7 }).map((n) => n === 0),
      block: anyBlock,
      blocks: anyBlocks,
    }),
  },
  // Somebody ends, or gives up although he waits: the `n`-th of those that are there.
  { weight: 2, arbitrary: fc.nat(1000) },
);

t.test('ORDER.1: an operation waits exactly for the earlier ones that conflict, whoever gives up', (t) => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 60 }), (steps) => {
      const ranges = new Ranges();
      const freed = new Fifo<Operation>();
      const there: Operation[] = [];
      const conflict = (a: Operation, b: Operation): boolean => {
        const modify = a.kind !== 'read' || b.kind !== 'read' || a.hold || b.hold;
        return modify && a.offset < b.offset + b.length && b.offset < a.offset + a.length;
      };
      const isFree = (op: Operation, earlier: readonly Operation[]): boolean =>
        !earlier.some((other) => conflict(other, op));
      const takeOut = (op: Operation): void => {
        const before = there.filter((each, i) => isFree(each, there.slice(0, i)));
        there.splice(there.indexOf(op), 1);
        const expected = there.filter((each, i) => !before.includes(each) && isFree(each, there.slice(0, i)));
        ranges.remove(op, freed);
        if (![...freed].every((each, i) => each === expected[i]) || freed.length !== expected.length)
          throw new Error('others were freed, or in another order');
        freed.clear();
        ranges.invariants();
      };
      for (const step of steps) {
        if (typeof step === 'number') {
          if (there.length > 0) takeOut(there[step % there.length]!);
          continue;
        }
        const op = operation(step.kind, step.block * BLOCK, step.blocks * BLOCK);
        op.hold = step.hold;
        const expected = isFree(op, there);
        if (step.kind === 'read' && !step.hold && ranges.isClear(op) !== expected)
          throw new Error('isClear is wrong');
        if (ranges.add(op) !== expected) throw new Error('add is wrong');
        there.push(op);
        ranges.invariants();
        const waiting = there.filter((each, i) => !isFree(each, there.slice(0, i))).length;
        if (ranges.count !== there.length || ranges.waiting !== waiting) throw new Error('miscounted');
      }
      while (there.length > 0) takeOut(there[there.length >> 1]!);
      return ranges.count === 0 && ranges.waiting === 0;
    }),
    { numRuns: 1000 },
  );
  t.end();
});

/** A shuffle that is the same every time. */
function shuffled<T>(items: readonly T[]): T[] {
  const result = [...items];
  let seed = 1;
  for (let i = result.length - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    const j = (seed >>> 8) % (i + 1);
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

/** By name: what `count` operations do at the same time, and how many steps one of them may take to come and go. */
const rushes: Record<string, { most: number; make: (i: number) => Operation }> = {
  'writes of one block': { most: 20, make: () => operation('write', 0, BLOCK) },
  'writes that overlap like tiles of a roof': {
    most: 20,
    make: (i) => operation('write', i * BLOCK, 2 * BLOCK),
  },
  'zeroes over a range that is aligned to nothing': {
    most: 450,
    make: (i) => operation('zero', BLOCK * (1 + (i % 3)), 32 * MIB - 7 * BLOCK),
  },
  'deallocations of nearly everything': {
    most: 900,
    make: (i) => operation('deallocate', BLOCK * (1 + (i % 7)), 2048 * GIB - 13 * BLOCK),
  },
  'small writes, then large reads over all of them': {
    most: 20,
    make: (i) => (i < 2048 ? operation('write', i * BLOCK, BLOCK) : operation('read', 0, MIB)),
  },
  'reads and writes of one block by turns': {
    most: 20,
    make: (i) => operation(i % 2 === 0 ? 'read' : 'write', 0, 4 * KIB),
  },
};
const endings: Record<string, (ops: readonly Operation[]) => Operation[]> = {
  'completed one after the other': (ops) => [...ops],
  'given up in order of arrival, the running one last': (ops) => [...ops.slice(1), ops[0]!],
  'given up in reverse order': (ops) => [...ops].reverse(),
  'given up in any order': shuffled,
};

for (const [rush, { most, make }] of Object.entries(rushes)) {
  t.test(`${rush}: n operations cost n times what one costs`, (t) => {
    const perOperation = (count: number, ending: (ops: readonly Operation[]) => Operation[]): number => {
      const ranges = new Ranges();
      const freed = new Fifo<Operation>();
      const ops = Array.from({ length: count }, (_, i) => make(i));
      for (const op of ops) ranges.add(op);
      let free = count - ranges.waiting;
      for (const op of ending(ops)) {
        if (op.waitsIn > 0) free++;
        ranges.remove(op, freed);
        while (freed.shift()) free++;
      }
      t.strictSame([ranges.count, ranges.waiting, free], [0, 0, count]);
      return ranges.steps / count;
    };
    for (const [name, ending] of Object.entries(endings)) {
      const steps = perOperation(most > 100 ? 2000 : 8000, ending);
      t.ok(steps <= most, `${name}: ${steps.toFixed(1)} steps each, of ${most}`);
    }
    t.end();
  });
}

t.test('operations that are far from each other take few places, whatever their length', (t) => {
  const ranges = new Ranges();
  const freed = new Fifo<Operation>();
  const ops: Operation[] = [];
  for (let i = 0; i < 20_000; i++) {
    const op = operation('write', (i % 100) * 10 * GIB + ((i * 7919) % 4096) * 4 * KIB, MIB);
    ranges.add(op);
    ops.push(op);
    if (ops.length > 50) ranges.remove(ops.shift()!, freed);
  }
  t.ok(ranges.steps / 20_000 < 12, `${ranges.steps / 20_000} steps`);
  t.end();
});
