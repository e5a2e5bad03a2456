import * as fc from 'fast-check';
import { SlabSharer, Slabs } from '../../src/storage/slabs.ts';
import { Operation } from '../../src/storage/operation.ts';
import t from 'tap';

const KIB = 1024;

/** A pool of 256 KiB with slabs of up to 16 KiB: 224 KiB for everybody, 32 KiB more for modest reads. */
class Bench {
  readonly slabs = new Slabs({ budget: 256 * KIB, largest: 16 * KIB });
  readonly sharers: SlabSharer[] = [];
  /** Reads that have waited and were served, in order. */
  readonly served: Operation[] = [];

  sharer(): SlabSharer {
    const sharer = new SlabSharer();
    this.sharers.push(sharer);
    return sharer;
  }

  /** A read of `length` bytes; `has` says whether it was served. */
  read(sharer: SlabSharer | undefined, length: number): Operation {
    const op = new Operation({ operationDone: () => undefined });
    op.length = length;
    op.sharer = sharer;
    this.slabs.take(op, { ready: () => this.served.push(op) });
    this.slabs.invariants(this.sharers);
    return op;
  }

  /** Reads of 16 KiB until one has to wait; returns them, that one last. */
  fill(sharer: SlabSharer): Operation[] {
    const ops = [this.read(sharer, 16 * KIB)];
    while (has(ops.at(-1)!)) ops.push(this.read(sharer, 16 * KIB));
    return ops;
  }

  giveBack(op: Operation): void {
    this.slabs.giveBack(op);
    this.slabs.invariants(this.sharers);
  }
}

const has = (op: Operation): boolean => op.parts.reduce((sum, part) => sum + part.length, 0) === op.length;

t.test('whoever holds nothing is served at once while others hold everything they may', (t) => {
  const bench = new Bench();
  const hogs = [1, 2, 3, 4, 5].map(() => bench.sharer());
  const all = hogs.flatMap((hog) => [bench.read(hog, 32 * KIB), bench.read(hog, 8 * KIB)]);
  const filled = bench.fill(hogs[0]!);
  t.ok(all.every(has));
  t.equal(bench.slabs.inUse, 216 * KIB, 'what is left of the seven eighths is smaller than a read');
  const more = hogs.map((hog) => bench.read(hog, 16 * KIB));
  t.notOk(more.some(has));

  const reader = bench.sharer();
  for (let i = 0; i < 100; i++) {
    const op = bench.read(reader, i % 2 === 0 ? 32 * KIB : 4 * KIB);
    t.ok(has(op), 'every time');
    bench.giveBack(op);
  }
  const three = [4, 4, 8].map((kib) => bench.read(reader, kib * KIB));
  t.ok(three.every(has), 'and several small ones at the same time');
  t.notOk(has(bench.read(reader, 4 * KIB)), 'until he is not modest any more');

  for (const op of [...three, filled[0]!]) bench.giveBack(op);
  t.equal(bench.served.length, 2);
  t.ok(has(filled.at(-1)!), 'the others go on when something is given back');
  t.end();
});

t.test('a read of one who holds nothing passes those of others who hold much', (t) => {
  const bench = new Bench();
  const [hog, a, b] = [bench.sharer(), bench.sharer(), bench.sharer()];
  const hogs = bench.fill(hog);
  const [a1, a2] = [bench.read(a, 16 * KIB), bench.read(a, 32 * KIB)];
  const b1 = bench.read(b, 32 * KIB);
  t.strictSame([a1, a2, b1].map(has), [true, false, false], 'the reserve is spent');
  bench.giveBack(hogs[0]!);
  t.ok(has(b1), 'before those who came earlier');
  bench.giveBack(a1);
  bench.giveBack(b1);
  t.ok(has(a2), 'then who holds nothing any more');
  t.equal(bench.served.length, 2);
  bench.giveBack(a2);
  t.equal(bench.served.length, 3, 'then the one who holds much');
  t.end();
});

t.test('whoever waits is served one read after the other, in turn with those that come later', (t) => {
  const bench = new Bench();
  const [hog, many, few] = [bench.sharer(), bench.sharer(), bench.sharer()];
  const first = bench.read(hog, 256 * KIB);
  const ops = [1, 2, 3].map(() => bench.read(many, 160 * KIB));
  const late = bench.read(few, 160 * KIB);
  bench.giveBack(first);
  t.ok(has(ops[0]!));
  bench.giveBack(ops[0]!);
  t.ok(has(late), 'one who came later, but whose turn it is');
  bench.giveBack(late);
  t.ok(has(ops[1]!));
  bench.giveBack(ops[1]!);
  t.ok(has(ops[2]!));
  t.end();
});

t.test('a large modest read is not passed for ever by small ones', (t) => {
  const bench = new Bench();
  const hog = bench.sharer();
  const held = bench.fill(hog);
  const large = bench.read(bench.sharer(), 128 * KIB);
  const small = [1, 2, 3].map(() => bench.read(bench.sharer(), 4 * KIB));
  t.notOk([large, ...small].some(has), 'there is room for the small ones');
  for (const op of held.slice(0, 7)) bench.giveBack(op);
  t.ok([large, ...small].every(has));
  t.end();
});

t.test('reads on nobody’s account share the whole budget, first come, first served', (t) => {
  const bench = new Bench();
  const ops = [1, 2, 3, 4, 5].map(() => bench.read(undefined, 64 * KIB));
  t.strictSame(ops.map(has), [true, true, true, true, false]);
  const small = bench.read(undefined, 4 * KIB);
  bench.slabs.forget([ops[4]!, ops[0]!]);
  bench.slabs.invariants(bench.sharers);
  t.strictSame([has(small), bench.slabs.waiting, bench.slabs.inUse], [true, 0, 196 * KIB]);
  t.end();
});

const anyStep = fc.record({
  what: fc.constantFrom('read', 'read', 'read', 'give back', 'forget'),
  sharer: fc.nat(6),
  kib: fc.constantFrom(4, 8, 12, 16, 20, 64, 128, 250, 300),
  which: fc.nat(1000),
});

t.test('whatever is asked, given up and given back: the sums are right, and everybody is served', (t) => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 80 }), (steps) => {
      const bench = new Bench();
      const sharers = [undefined, ...[1, 2, 3, 4, 5, 6].map(() => bench.sharer())];
      let open: Operation[] = [];
      let read = 0;
      for (const { what, sharer, kib, which } of steps) {
        if (what === 'read') {
          open.push(bench.read(sharers[sharer], kib * KIB));
          read++;
        } else if (what === 'give back') {
          const holders = open.filter(has);
          const op = holders[which % Math.max(holders.length, 1)];
          if (op) bench.giveBack(op);
          open = open.filter((each) => each !== op);
        } else {
          const gone = open.filter((op) => op.sharer === sharers[sharer]);
          bench.slabs.forget(gone);
          bench.slabs.invariants(bench.sharers);
          open = open.filter((op) => !gone.includes(op));
          read -= gone.length;
        }
        // What a sharer is said to hold is what his reads hold.
        for (const each of sharers) {
          const slabs = open.filter((op) => op.sharer === each).flatMap((op) => op.slabs);
          const sum = slabs.reduce((bytes, slab) => bytes + slab.length, 0);
          if (each && each.held !== sum) throw new Error('a sharer holds something else');
        }
      }
      // Every host reads: everybody is served, one after the other.
      while (open.length > 0) {
        const holders = open.filter(has);
        if (holders.length === 0) throw new Error(`${open.length} wait for ever`);
        const op = holders[read % holders.length]!;
        open = open.filter((each) => each !== op);
        bench.giveBack(op);
      }
      return bench.slabs.inUse === 0 && bench.slabs.waiting === 0;
    }),
    { numRuns: 500 },
  );
  t.end();
});

t.test('whoever holds something is served too, however many come who hold nothing', (t) => {
  const bench = new Bench();
  const hog = bench.sharer();
  const held = bench.fill(hog);
  const waits = held.pop()!;
  // The host of `hog` reads on; at every moment there are others whose first read waits.
  const others: Operation[] = [];
  for (let i = 0; !has(waits); i++) {
    t.ok(i < 100, 'it is served in the end');
    if (i >= 100) break;
    for (let k = 0; k < 4; k++) others.push(bench.read(bench.sharer(), 32 * KIB));
    const op = held.shift();
    if (op) bench.giveBack(op);
    const other = others.findIndex(has);
    if (other >= 0) bench.giveBack(others.splice(other, 1)[0]!);
  }
  t.ok(has(waits));
  t.end();
});
