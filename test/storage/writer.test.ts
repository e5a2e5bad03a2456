/** How writes go to the file: together or alone, at once or in another thread. */
import { Operation, type OperationOwner } from '../../src/storage/operation.ts';
import { FaultyFile } from '../doubles/faulty-file.ts';
import { Slabs } from '../../src/storage/slabs.ts';
import { Turn } from '../../src/storage/turn.ts';
import { Volume } from '../../src/storage/volume.ts';
import { type Dirty, WritePolicy } from '../../src/storage/write-policy.ts';
import { memoryEnv } from '../../src/runtime/memory/env.ts';
import t from 'tap';

const BLOCK = 4096;

class Bench implements OperationOwner {
  readonly env = memoryEnv();
  readonly file = new FaultyFile(64 * BLOCK);
  readonly turn = new Turn();
  readonly volume: Volume;
  readonly done: Operation[] = [];
  dirty: Dirty | undefined = undefined;
  readonly policy = new WritePolicy(() => this.dirty);

  constructor(blockSize = BLOCK) {
    this.volume = new Volume(this.env, this.file, {
      blockSize,
      readOnly: false,
      slabs: new Slabs({ budget: 2 ** 20 }),
      turn: this.turn,
      writes: this.policy,
    });
  }

  operationDone(op: Operation): void {
    this.done.push(op);
  }

  write(block: number, { fua = false, size = BLOCK } = {}): Operation {
    const op = new Operation(this);
    op.kind = 'write';
    op.offset = block * size;
    op.length = size;
    op.fua = fua;
    op.parts.push(new Uint8Array(size).fill(block + 1));
    this.volume.submit(op);
    this.volume.invariants();
    return op;
  }

  run(): void {
    while (this.file.step()) this.volume.invariants();
  }

  /** The calls that wrote, and the blocks as everybody sees them. */
  get calls(): string[] {
    return this.file.log.filter((line) => line.startsWith('write') && !line.endsWith('ok'));
  }
  block(index: number): number {
    const byte = new Uint8Array(1);
    this.file.seen.read(index * BLOCK, byte);
    return byte[0]!;
  }
}

t.test(
  'the system is asked now and then how much is dirty, and nothing is done at once past its limit',
  (t) => {
    let looks = 0;
    let dirty: Dirty | undefined = { bytes: 0, limit: 8192 };
    const policy = new WritePolicy(() => {
      looks++;
      return dirty;
    });
    t.ok(policy.atOnce(0, 4096));
    policy.took(0, 0, 4096);
    t.ok(policy.atOnce(1, 4096));
    policy.took(1, 0, 4096);
    t.notOk(policy.atOnce(2, 4096), 'what was written since counts');
    t.equal(looks, 1);
    t.ok(policy.atOnce(50, 4096));
    dirty = { bytes: 5000, limit: 8192 };
    t.notOk(policy.atOnce(100, 4096));
    dirty = undefined;
    t.ok(policy.atOnce(150, 4096), 'where nobody can tell, time does');
    t.notOk(policy.atOnce(150, 2 ** 20 + 1), 'what is long in any case');
    t.end();
  },
);

t.test('after a write that was held up nothing is done at once for a while, longer each time', (t) => {
  const policy = new WritePolicy();
  const pauses: number[] = [];
  let now = 0;
  for (let i = 0; i < 6; i++) {
    policy.took(now, 26, 4096);
    const from = now;
    while (!policy.atOnce(now, 4096)) now++;
    pauses.push(now - from);
  }
  t.strictSame(pauses, [100, 200, 400, 800, 1600, 2000]);
  now += 11_000;
  policy.took(now, 26, 4096);
  t.notOk(policy.atOnce(now + 99, 4096));
  t.ok(policy.atOnce(now + 100, 4096), 'long ago is forgotten');
  t.end();
});

t.test('several writes that took rather long count as one that was held up', (t) => {
  const policy = new WritePolicy();
  let count = 0;
  while (policy.atOnce(count, 4096)) policy.took(count++, 10, 4096);
  t.equal(count, 4);
  t.end();
});

t.test('a write into memory is over at once, without a range', (t) => {
  const bench = new Bench();
  bench.file.atOnce = true;
  const op = bench.write(3);
  t.strictSame(bench.done, [op]);
  t.equal(bench.block(3), 4);
  t.strictSame(bench.file.log, ['write now 12288+4096 ok']);
  t.end();
});

t.test('with FUA it is over after the sync that follows it', (t) => {
  const bench = new Bench();
  bench.file.atOnce = true;
  const op = bench.write(3, { fua: true });
  t.equal(op.stage, 'sync');
  bench.run();
  t.strictSame(bench.done, [op]);
  t.strictSame(bench.file.log, ['write now 12288+4096 ok', 'sync', 'sync ok']);
  t.end();
});

t.test('part of a page that may not be in memory is not written at once', (t) => {
  const bench = new Bench(512);
  bench.file.atOnce = true;
  t.equal(bench.write(1, { size: 512 }).stage, 'file');
  t.ok(bench.done.length === 0);
  bench.run();
  t.equal(bench.done.length, 1);
  t.end();
});

t.test('what is dirty beyond the limit sends writes to another thread', (t) => {
  const bench = new Bench();
  bench.file.atOnce = true;
  bench.dirty = { bytes: 100, limit: 100 };
  t.equal(bench.write(1).stage, 'file');
  bench.run();
  t.equal(bench.done.length, 1);
  t.end();
});

t.test('where no disk is behind the file every write is at once: nothing says that it would wait', (t) => {
  const slow = (bench: Bench): void => bench.policy.took(bench.env.clock.now(), 26, BLOCK);
  const ways: readonly [string, (bench: Bench) => void][] = [
    ['another write took as long as one that is held up', slow],
    ['more is dirty than may be', (bench) => (bench.dirty = { bytes: 100, limit: 100 })],
    ['part of a page', () => undefined],
  ];
  for (const [what, happens] of ways)
    for (const diskless of [true, false]) {
      const bench = new Bench(512);
      bench.file.atOnce = true;
      bench.file.diskless = diskless;
      happens(bench);
      const size = what === 'part of a page' ? 512 : BLOCK;
      bench.write(1, { size });
      t.equal(bench.done.length, diskless ? 1 : 0, `${what}, ${diskless ? 'tmpfs' : 'a disk'}`);
      bench.run();
    }
  const bench = new Bench();
  bench.file.atOnce = bench.file.diskless = true;
  const long = new Operation(bench);
  long.kind = 'write';
  long.length = bench.volume.size;
  long.parts.push(new Uint8Array(long.length));
  bench.volume.submit(long);
  t.equal(bench.done.length, 1, 'up to a MiB');
  t.end();
});

for (const atOnce of [true, false])
  t.test(`writes of a turn that follow each other go as one, ${atOnce ? 'at once' : 'later'}`, (t) => {
    const bench = new Bench();
    bench.file.atOnce = atOnce;
    bench.turn.begin();
    const ops = [7, 0, 1, 2, 3, 20, 21].map((block) => bench.write(block));
    bench.turn.end();
    bench.volume.invariants();
    bench.run();
    t.strictSame(new Set(bench.done), new Set(ops));
    t.strictSame(
      [7, 0, 1, 2, 3, 20, 21].map((block) => bench.block(block)),
      [8, 1, 2, 3, 4, 21, 22],
    );
    const calls = bench.file.log.filter((line) => /^write/.test(line) && (atOnce || !line.endsWith('ok')));
    const words = calls.map((line) => line.replace(/^write (now )?| ok$/g, ''));
    t.strictSame(words, ['28672+4096', '0+4096', '81920+4096', '4096+12288', '86016+4096']);
    t.end();
  });

for (const atOnce of [true, false])
  t.test(
    `writes that went as one and failed each get an answer of their own, ${atOnce ? 'at once' : 'later'}`,
    (t) => {
      const bench = new Bench();
      bench.file.atOnce = atOnce;
      bench.turn.begin();
      const ops = [0, 1, 2, 3].map((block) => bench.write(block));
      // The one that was not merged, the merged one, then one by one.
      if (atOnce) bench.file.fail('write', 'ENOSPC');
      bench.turn.end();
      if (atOnce) bench.file.fail('write', 'ENOSPC');
      else {
        bench.file.step();
        bench.file.fail('write', 'ENOSPC', 'ENOSPC');
      }
      bench.run();
      t.equal(bench.done.length, 4);
      t.strictSame(
        ops.map(({ error }) => error?.code),
        [undefined, 'ENOSPC', undefined, undefined],
      );
      t.strictSame(
        [0, 2, 3].map((block) => bench.block(block)),
        [1, 3, 4],
      );
      t.end();
    },
  );

t.test('a write waits for what it follows in the same turn, and a read for both', (t) => {
  const bench = new Bench();
  bench.file.atOnce = true;
  bench.turn.begin();
  bench.write(0);
  const merged = bench.write(1);
  const again = bench.write(1);
  const read = new Operation(bench);
  read.offset = BLOCK;
  read.length = BLOCK;
  bench.volume.submit(read);
  t.strictSame([merged.stage, again.stage, read.stage], ['file', 'range', 'range']);
  bench.turn.end();
  bench.run();
  t.strictSame(bench.done.slice(1), [merged, again, read]);
  bench.volume.giveBack(read);
  t.end();
});

t.test('a full file system is told as such, at once as well', (t) => {
  const bench = new Bench();
  bench.file.atOnce = true;
  bench.file.fail('write', 'ENOSPC');
  t.equal(bench.write(5).error?.code, 'ENOSPC');
  t.equal(bench.write(5).error, undefined);
  t.end();
});
