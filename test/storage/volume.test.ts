import * as fc from 'fast-check';
import { Operation, type OperationKind, type OperationOwner } from '../../src/storage/operation.ts';
import { FaultyFile } from '../doubles/faulty-file.ts';
import { MemoryFile } from '../../src/runtime/memory/file.ts';
import { Slabs } from '../../src/storage/slabs.ts';
import { Volume } from '../../src/storage/volume.ts';
import { memoryEnv } from '../../src/runtime/memory/env.ts';
import t from 'tap';

const BLOCK = 512;
const MIB = 1024 * 1024;

interface Asked {
  kind: OperationKind;
  block?: number;
  blocks?: number;
  fill?: number;
  fua?: boolean;
  deallocate?: boolean;
  hold?: boolean;
}

/** A volume of 512-byte blocks over a faulty file, and a record of what ended, in order. */
class Bench implements OperationOwner {
  readonly env = memoryEnv();
  readonly file: FaultyFile;
  readonly slabs: Slabs;
  readonly volume: Volume;
  readonly done: Operation[] = [];
  then: ((op: Operation) => void) | undefined = undefined;

  constructor(options: { blocks?: number; budget?: number; largest?: number; readOnly?: boolean } = {}) {
    this.file = new FaultyFile((options.blocks ?? 64) * BLOCK);
    this.slabs = new Slabs({ budget: options.budget ?? MIB, largest: options.largest });
    const readOnly = options.readOnly ?? false;
    this.volume = new Volume(this.env, this.file, { blockSize: BLOCK, readOnly, slabs: this.slabs });
  }

  operationDone(op: Operation): void {
    this.done.push(op);
    this.then?.(op);
  }

  submit(asked: Asked): Operation {
    const op = this.make(asked);
    this.volume.submit(op);
    this.volume.invariants();
    return op;
  }

  make(asked: Asked): Operation {
    const op = new Operation(this);
    op.kind = asked.kind;
    op.offset = (asked.block ?? 0) * BLOCK;
    op.length = asked.kind === 'flush' ? 0 : (asked.blocks ?? 1) * BLOCK;
    op.fua = asked.fua ?? false;
    op.deallocate = asked.deallocate ?? false;
    op.hold = asked.hold ?? false;
    if (asked.kind === 'write') op.parts.push(new Uint8Array(op.length).fill(asked.fill ?? 1));
    return op;
  }

  step(index = 0): boolean {
    const stepped = this.file.step(index);
    this.volume.invariants();
    return stepped;
  }

  run(): void {
    while (this.step());
  }

  isDone(op: Operation): boolean {
    return this.done.includes(op);
  }

  /** The first byte of a block, as everybody sees it. */
  byte(block: number, from = this.file.seen): number {
    const byte = new Uint8Array(1);
    from.read(block * BLOCK, byte);
    return byte[0]!;
  }
}

const codes = (...ops: Operation[]): (string | undefined)[] => ops.map((op) => op.error?.code);

t.test('ORDER.1', (t) => {
  t.test('operations on disjoint blocks pass each other', (t) => {
    const bench = new Bench();
    const a = bench.submit({ kind: 'write', block: 0 });
    const b = bench.submit({ kind: 'write', block: 1 });
    bench.step(1);
    t.strictSame(bench.done, [b]);
    bench.run();
    t.strictSame(bench.done, [b, a]);
    t.end();
  });

  t.test('a write waits for an earlier read of its blocks, a later read for the write', (t) => {
    const bench = new Bench();
    const first = bench.submit({ kind: 'read', blocks: 4 });
    const write = bench.submit({ kind: 'write', block: 3, blocks: 4, fill: 7 });
    const second = bench.submit({ kind: 'read', block: 6 });
    t.strictSame([first.stage, write.stage, second.stage], ['file', 'range', 'range']);
    t.strictSame(bench.volume.waits, { range: 2, sync: 0 });
    bench.run();
    t.strictSame(bench.done, [first, write, second]);
    t.equal(first.parts[0]?.[3 * BLOCK], 0);
    t.equal(second.parts[0]?.[0], 7);
    t.end();
  });

  t.test('reads of the same blocks run at the same time', (t) => {
    const bench = new Bench();
    const ops = [bench.submit({ kind: 'read' }), bench.submit({ kind: 'read' })];
    t.strictSame(
      ops.map((op) => op.stage),
      ['file', 'file'],
    );
    t.end();
  });

  t.test('an operation over the whole disk waits for what runs, and later ones wait for it', (t) => {
    const bench = new Bench({ blocks: 8192 });
    const write = bench.submit({ kind: 'write', block: 5000 });
    const whole = bench.submit({ kind: 'deallocate', blocks: 8192 });
    const read = bench.submit({ kind: 'read', block: 8000 });
    t.strictSame([write.stage, whole.stage, read.stage], ['file', 'range', 'range']);
    bench.run();
    t.strictSame(bench.done, [write, whole, read]);
    t.end();
  });

  t.test('a flush waits for nobody', (t) => {
    const bench = new Bench();
    bench.submit({ kind: 'write' });
    const flush = bench.submit({ kind: 'flush' });
    bench.step(1);
    t.ok(bench.isDone(flush));
    t.end();
  });

  t.test('an operation submitted from inside a completion does not overtake those who wait', (t) => {
    const bench = new Bench();
    const a = bench.submit({ kind: 'write', fill: 1 });
    const b = bench.submit({ kind: 'write', fill: 2 });
    const c = bench.make({ kind: 'write', fill: 3 });
    bench.then = (op) => {
      if (op === a) bench.volume.submit(c);
    };
    bench.run();
    t.strictSame(bench.done, [a, b, c]);
    t.equal(bench.byte(0), 3);
    t.end();
  });
  t.end();
});

t.test('ORDER.2: a held range stays closed between the read and the write of a fused pair', (t) => {
  const bench = new Bench();
  const compare = bench.submit({ kind: 'read', hold: true });
  const write = bench.submit({ kind: 'write', fill: 9 });
  const read = bench.submit({ kind: 'read' });
  bench.step();
  t.ok(bench.isDone(compare));
  t.equal(compare.stage, 'held');
  t.equal(write.stage, 'range');

  bench.volume.giveBack(compare);
  compare.kind = 'write';
  compare.hold = false;
  compare.parts.push(new Uint8Array(BLOCK).fill(5));
  bench.volume.submit(compare);
  bench.run();
  t.strictSame(bench.done, [compare, compare, write, read]);
  t.equal(bench.byte(0), 9);

  const again = bench.submit({ kind: 'read', hold: true });
  const later = bench.submit({ kind: 'read' });
  bench.run();
  t.equal(later.stage, 'range', 'readers wait for the hold too');
  bench.volume.release(again);
  bench.run();
  t.ok(bench.isDone(later));
  t.equal(bench.volume.inFlight, 0);
  t.end();
});

// One random run: a list of operations, and a list of numbers that pick which answer comes next.
const anyOperation = fc.record({
  kind: fc.constantFrom<OperationKind[]>('read', 'read', 'write', 'write', 'zero', 'deallocate', 'flush'),
  block: fc.nat(127),
  blocks: fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 1, max: 5 }) },
    fc.integer({ min: 1, max: 128 }),
  ),
  fua: fc.boolean(),
  deallocate: fc.boolean(),
});
const anyRun = fc.record({
  operations: fc.array(anyOperation, { maxLength: 40 }),
  answers: fc.array(fc.nat(1000), { maxLength: 80 }),
  resident: fc.boolean(),
});

// Blocks are 32 KiB apart in size here, so that 128 of them make a disk on which an operation can be wide.
const BIG = 32768;

t.test(
  'ORDER.1, ORDER.3: in whatever order the disk answers, the bytes are those of the order of arrival',
  (t) => {
    fc.assert(
      fc.property(anyRun, ({ operations, answers, resident }) => {
        const env = memoryEnv();
        const file = new FaultyFile(128 * BIG);
        const slabs = new Slabs({ budget: 8 * BIG, largest: 4 * BIG });
        const volume = new Volume(env, file, { blockSize: BIG, readOnly: false, slabs });
        file.resident = resident;
        const model = new Uint8Array(128);
        let ended = 0;
        let number = 0;
        for (const asked of operations) {
          const blocks = Math.min(asked.blocks, 128 - asked.block);
          const fill = (++number % 255) + 1;
          const expected = model.slice(asked.block, asked.block + blocks);
          let over = false;
          const op = new Operation({
            operationDone: () => {
              if (over || op.error) throw new Error(`operation ${number}: twice, or ${op.error?.code}`);
              over = true;
              ended++;
              if (op.kind !== 'read') return;
              let at = 0;
              for (const part of op.parts) {
                for (let byte = 0; byte < part.length; byte += BIG / 8, at += BIG / 8) {
                  if (part[byte] !== expected[Math.floor(at / BIG)])
                    throw new Error('a read saw other bytes');
                }
              }
              if (at !== op.length) throw new Error('a read has a wrong length');
              volume.giveBack(op);
            },
          });
          Object.assign(op, asked, { offset: asked.block * BIG, length: blocks * BIG });
          if (op.kind === 'write') {
            op.parts.push(new Uint8Array(op.length).fill(fill));
            model.fill(fill, asked.block, asked.block + blocks);
          } else if (op.kind === 'zero' || op.kind === 'deallocate') {
            model.fill(0, asked.block, asked.block + blocks);
          }
          volume.submit(op);
          volume.invariants();
          const answer = answers[number];
          if (answer !== undefined && file.pending.length > 0) file.step(answer % file.pending.length);
          volume.invariants();
        }
        for (let i = 0; file.pending.length > 0; i++) {
          file.step((answers[i % answers.length] ?? 0) % file.pending.length);
          volume.invariants();
        }
        const bytes = new Uint8Array(1);
        for (const [block, fill] of model.entries()) {
          file.seen.read(block * BIG, bytes);
          if (bytes[0] !== fill) throw new Error(`block ${block} holds ${bytes[0]}, not ${fill}`);
        }
        return ended === operations.length && volume.inFlight === 0 && slabs.inUse === 0;
      }),
      { numRuns: 400 },
    );
    t.end();
  },
);

t.test('DISK.1, DISK.6: what was acknowledged as durable survives a crash at any moment', (t) => {
  fc.assert(
    fc.property(anyRun, ({ operations, answers }) => {
      const bench = new Bench({ blocks: 132 });
      // By block: the newest write that was submitted, and the newest that must survive.
      const newest = new Map<number, Operation>();
      const durable = new Map<number, Operation>();
      const keep = (writes: Iterable<[number, Operation]>): void => {
        for (const [block, write] of writes) if (newest.get(block) === write) durable.set(block, write);
      };
      const blocksOf = (op: Operation): [number, Operation][] =>
        Array.from({ length: op.length / BLOCK }, (_, i) => [op.offset / BLOCK + i, op]);
      const covered = new Map<Operation, [number, Operation][]>();
      bench.then = (op) => {
        if (op.kind === 'read') bench.volume.giveBack(op);
        if (op.kind === 'write' && op.fua) keep(blocksOf(op));
        if (op.kind === 'flush') keep(covered.get(op)!);
      };
      for (const [i, asked] of operations.entries()) {
        const kind = asked.kind === 'flush' || asked.kind === 'read' ? asked.kind : 'write';
        const blocks = Math.min(asked.blocks, 5);
        const op = bench.make({ kind, block: asked.block, blocks, fill: i + 1, fua: asked.fua });
        if (kind === 'write') for (const [block] of blocksOf(op)) newest.set(block, op);
        covered.set(
          op,
          [...newest].filter(([, write]) => bench.isDone(write)),
        );
        bench.volume.submit(op);
        const answer = answers[i];
        if (answer !== undefined && bench.file.pending.length > 0)
          bench.step(answer % bench.file.pending.length);
      }
      bench.file.crash();
      for (const [block, write] of durable) {
        if (newest.get(block) !== write) continue;
        if (bench.byte(block, bench.file.stable) !== write.parts[0]![0])
          throw new Error(`block ${block} is lost`);
      }
    }),
    { numRuns: 400 },
  );
  t.end();
});

t.test('DISK.1', (t) => {
  t.test('a FUA write is a write, then a sync, and holds its range until then', (t) => {
    const bench = new Bench();
    const write = bench.submit({ kind: 'write', fua: true });
    const read = bench.submit({ kind: 'read' });
    bench.step();
    t.strictSame(bench.file.log, ['write 0+512', 'write 0+512 ok', 'sync']);
    t.strictSame([write.stage, read.stage], ['sync', 'range']);
    bench.step();
    t.strictSame(bench.done, [write]);
    t.equal(bench.byte(0, bench.file.stable), 1);
    t.end();
  });

  t.test('whoever asks while a sync runs shares the next one', (t) => {
    const bench = new Bench();
    const a = bench.submit({ kind: 'flush' });
    const b = bench.submit({ kind: 'flush' });
    const c = bench.submit({ kind: 'write', fua: true });
    bench.step(1);
    t.strictSame(bench.volume.waits.sync, 3);
    bench.step();
    t.strictSame(bench.done, [a]);
    bench.step();
    t.strictSame(bench.done, [a, b, c]);
    t.equal(bench.file.log.filter((line) => line === 'sync').length, 2);
    t.end();
  });
  t.end();
});

t.test('DISK.2: after a failed sync nothing but reads ever succeeds', (t) => {
  const bench = new Bench();
  const failed: string[] = [];
  bench.volume.onFailed = (error) => failed.push(error.code);
  bench.file.fail('sync', 'EIO');
  const running = bench.submit({ kind: 'write', block: 9 });
  const flush = bench.submit({ kind: 'flush' });
  const joined = bench.submit({ kind: 'flush' });
  const waiting = bench.submit({ kind: 'write', block: 9, blocks: 2 });
  bench.step(1);
  t.strictSame(codes(flush, joined), ['EIO', 'EIO']);
  t.equal(bench.volume.state.now, 'failed');
  bench.run();
  t.strictSame(codes(running, waiting), ['EFAILED', 'EFAILED'], 'those under way cannot be vouched for');
  const later = (['flush', 'write', 'zero', 'deallocate'] as const).map((kind) => bench.submit({ kind }));
  const read = bench.submit({ kind: 'read' });
  bench.run();
  t.equal(codes(...later).filter((code) => code === undefined).length, 0);
  t.equal(read.error, undefined);
  t.strictSame(failed, ['EIO']);
  t.equal(bench.file.log.filter((line) => line === 'sync').length, 1, 'the kernel is not asked again');
  t.end();
});

t.test('DISK.4', (t) => {
  t.test('deallocate does nothing where holes cannot be punched, and the volume says so', (t) => {
    const bench = new Bench();
    bench.submit({ kind: 'write', fill: 3 });
    bench.run();
    t.equal(bench.volume.canPunch, true);
    bench.file.fail('punch', 'ENOTSUP');
    const ops = [bench.submit({ kind: 'deallocate' }), bench.submit({ kind: 'deallocate' })];
    bench.run();
    t.strictSame(codes(...ops), [undefined, undefined]);
    t.equal(bench.volume.canPunch, false);
    t.equal(bench.byte(0), 3);
    t.equal(bench.file.log.filter((line) => line.startsWith('punch')).length, 2, 'asked and answered once');
    t.end();
  });

  t.test('zeroes are written in pieces where the file cannot make them', (t) => {
    const bench = new Bench({ blocks: 5000 });
    bench.submit({ kind: 'write', block: 4999, fill: 3 });
    bench.run();
    bench.file.fail('punch', 'ENOTSUP');
    bench.file.fail('zero', 'ENOTSUP');
    const zero = bench.submit({ kind: 'zero', blocks: 5000, deallocate: true });
    bench.run();
    t.equal(zero.error, undefined);
    t.equal(bench.byte(4999), 0);
    t.strictSame(bench.file.log.filter((line) => line.endsWith('ok')).slice(1), [
      'write 0+1048576 ok',
      'write 1048576+1048576 ok',
      `write 2097152+${5000 * BLOCK - 2 * MIB} ok`,
    ]);
    t.end();
  });

  t.test('zeroing in pieces stops at the next one when it is cancelled', (t) => {
    const bench = new Bench({ blocks: 5000 });
    bench.file.fail('zero', 'ENOTSUP');
    const zero = bench.submit({ kind: 'zero', blocks: 5000 });
    bench.step();
    bench.step();
    t.equal(bench.volume.cancel(zero), false);
    const next = bench.submit({ kind: 'write', block: 4999 });
    t.equal(next.stage, 'range', 'its range stays closed until the piece under way is over');
    bench.run();
    t.strictSame(codes(zero, next), ['ECANCELED', undefined]);
    t.equal(bench.file.log.filter((line) => line.endsWith('+1048576')).length, 2, 'of three pieces');
    t.end();
  });
  t.end();
});

t.test('reads wait for slabs, first come, first served', (t) => {
  const bench = new Bench({ budget: 8192, largest: 4096 });
  const small = { kind: 'read', blocks: 8 } as const;
  const [a, b] = [bench.submit(small), bench.submit(small)];
  const big = bench.submit({ kind: 'read', blocks: 16 });
  const last = bench.submit(small);
  const write = bench.submit({ kind: 'write', block: 20 });
  t.equal(write.stage, 'file', 'writes need none');
  t.equal(bench.slabs.waiting, 2);
  t.strictSame([big.stage, last.stage], ['slab', 'slab']);
  bench.run();
  t.strictSame(bench.done, [a, b, write]);
  bench.volume.giveBack(a);
  t.equal(last.stage, 'slab', 'the small one does not pass the big one');
  const newcomer = bench.submit({ kind: 'read', block: 40 });
  t.equal(newcomer.stage, 'slab', 'nor does one that comes when there is room for it');
  t.equal(bench.volume.cancel(newcomer), true);
  bench.volume.giveBack(b);
  bench.run();
  t.ok(bench.isDone(big));
  t.strictSame(
    big.parts.map((part) => part.length),
    [4096, 4096],
  );
  bench.volume.giveBack(big);
  bench.run();
  t.ok(bench.isDone(last));
  bench.volume.giveBack(last);
  t.equal(bench.slabs.inUse, 0);
  t.equal(bench.slabs.allocated, 8192, 'kept for the next');

  const huge = bench.submit({ kind: 'read', blocks: 48 });
  t.equal(huge.stage, 'file', 'one that is larger than the budget runs when it is alone');
  bench.run();
  bench.volume.giveBack(huge);
  t.ok(bench.slabs.allocated <= 8192, 'and what it took is let go');
  t.end();
});

t.test('cancel drops what was not handed to the file, wherever it waits', (t) => {
  const bench = new Bench({ budget: 4096 });
  const running = bench.submit({ kind: 'write' });
  const waiting = bench.submit({ kind: 'write', blocks: 2 });
  const behind = bench.submit({ kind: 'write', block: 1 });
  t.equal(bench.volume.cancel(running), false);
  t.equal(bench.volume.cancel(waiting), true);
  bench.volume.invariants();
  t.equal(behind.stage, 'file', 'whoever waited for it alone runs');

  const reader = bench.submit({ kind: 'read', block: 30 });
  const hungry = bench.submit({ kind: 'read', block: 40 });
  t.equal(hungry.stage, 'slab');
  t.equal(bench.volume.cancel(hungry), true);
  bench.volume.invariants();

  const flush = bench.submit({ kind: 'flush' });
  const next = bench.submit({ kind: 'flush' });
  t.equal(bench.volume.cancel(flush), false);
  t.equal(bench.volume.cancel(next), true);
  bench.run();
  t.strictSame(new Set(bench.done), new Set([running, behind, reader, flush]));
  t.equal(bench.volume.inFlight, 0);
  bench.volume.submit(waiting);
  bench.run();
  t.ok(bench.isDone(waiting), 'a dropped operation can be used again');
  t.end();
});

t.test('GHOST.1: of operations that are dropped together, none is started because another one goes', (t) => {
  const bench = new Bench({ budget: 4096 });
  const running = bench.submit({ kind: 'write' });
  const lost = [bench.submit({ kind: 'write', blocks: 2 }), bench.submit({ kind: 'write', block: 1 })];
  const stays = bench.submit({ kind: 'write', block: 1, fill: 7 });
  const reader = bench.submit({ kind: 'read', block: 30 });
  lost.push(bench.submit({ kind: 'read', block: 40 }), bench.submit({ kind: 'read', block: 50 }));
  const hungry = bench.submit({ kind: 'read', block: 60 });
  const flush = bench.submit({ kind: 'flush' });
  lost.push(bench.submit({ kind: 'flush' }));

  const over = bench.make({ kind: 'write' });
  const dropped = bench.volume.cancelAll([running, flush, over, reader, ...lost, ...lost]);
  bench.volume.invariants();
  t.equal(dropped.length, lost.length, 'each is dropped once');
  t.ok(lost.every((op) => dropped.includes(op) && op.stage === 'idle'));
  t.equal(stays.stage, 'file', 'whoever stays and waited for them alone runs');
  t.strictSame(bench.file.log, ['write 0+512', `read ${30 * BLOCK}+512`, 'sync', 'write 512+512']);
  bench.run();
  const ended = [running, reader, flush, stays];
  t.ok(bench.done.length === 4 && ended.every((op, i) => bench.done[i] === op), 'and nothing else ends');
  bench.volume.giveBack(reader);
  bench.run();
  t.ok(bench.isDone(hungry));
  bench.volume.giveBack(hungry);
  t.strictSame([bench.volume.inFlight, bench.slabs.inUse], [0, 0]);
  t.end();
});

t.test(
  'ORDER.1: whatever is dropped, and when, the bytes are those of what stays, in order of arrival',
  (t) => {
    const anyDrop = fc.record({
      operations: fc.array(
        fc.record({
          kind: fc.constantFrom<OperationKind[]>('read', 'write', 'zero', 'flush'),
          block: fc.nat(4),
          blocks: fc.integer({ min: 1, max: 4 }),
          fua: fc.boolean(),
          connection: fc.nat(2),
        }),
        { maxLength: 40 },
      ),
      // What happens after each: an answer of the disk, a connection that is lost, one command that is aborted.
      events: fc.array(
        fc.tuple(fc.constantFrom('answer', 'answer', 'nothing', 'drop', 'abort'), fc.nat(1000)),
        {
          maxLength: 60,
        },
      ),
    });
    fc.assert(
      fc.property(anyDrop, ({ operations, events }) => {
        const bench = new Bench({ budget: 8192 });
        const all: { op: Operation; connection: number; gone: boolean }[] = [];
        bench.then = (op) => bench.volume.giveBack(op);
        const drop = (chosen: typeof all): void => {
          const ops = chosen.map((each) => each.op);
          const before = bench.file.log.length;
          const dropped = new Set(bench.volume.cancelAll(ops));
          bench.volume.invariants();
          for (const each of chosen) {
            if (!dropped.has(each.op)) continue;
            if (each.op.stage !== 'idle' || bench.isDone(each.op)) throw new Error('dropped, but not idle');
            each.gone = true;
          }
          const started = all.filter((each) => !each.gone && each.op.stage === 'file').length;
          if (bench.file.log.length > before && started === 0) throw new Error('a lost one was started');
        };
        for (const [i, { connection, ...asked }] of operations.entries()) {
          const op = bench.make({ ...asked, fill: i + 1 });
          all.push({ op, connection, gone: false });
          bench.volume.submit(op);
          bench.volume.invariants();
          const [event, number] = events[i] ?? ['nothing', 0];
          if (event === 'answer' && bench.file.pending.length > 0)
            bench.step(number % bench.file.pending.length);
          if (event === 'drop') drop(all.filter((each) => each.connection === number % 3));
          if (event === 'abort') drop([all[number % all.length]!]);
        }
        for (let i = operations.length; bench.file.pending.length > 0; i++)
          bench.step((events[i]?.[1] ?? 0) % bench.file.pending.length);

        const model = new Uint8Array(64);
        for (const [i, { op, gone }] of all.entries()) {
          if (gone === bench.isDone(op)) throw new Error('an operation is dropped or done, never both');
          const stopped = op.error?.code === 'ECANCELED';
          if (op.error && !stopped) throw new Error(op.error.code);
          if (gone || op.kind === 'read' || op.kind === 'flush') continue;
          // All of these fit into one piece: what was stopped after it had begun is done.
          model.fill(op.kind === 'zero' ? 0 : i + 1, op.offset / BLOCK, (op.offset + op.length) / BLOCK);
        }
        for (let block = 0; block < 8; block++)
          if (bench.byte(block) !== model[block]) throw new Error(`block ${block} is wrong`);
        return bench.volume.inFlight === 0 && bench.slabs.inUse === 0;
      }),
      { numRuns: 500 },
    );
    t.end();
  },
);

t.test('LIFE.6: close waits for the last operation, refuses new ones, and closes the file once', (t) => {
  const bench = new Bench();
  const write = bench.submit({ kind: 'write', fua: true });
  const read = bench.submit({ kind: 'read' });
  let closed = 0;
  bench.volume.close(() => closed++);
  bench.volume.close(() => closed++);
  const late = bench.submit({ kind: 'read' });
  t.strictSame(codes(late), ['ESHUTDOWN']);
  for (let i = 0; i < 3; i++) bench.step();
  t.strictSame(bench.done, [late, write, read]);
  t.equal(closed, 0);
  bench.run();
  t.equal(closed, 2);
  t.equal(bench.volume.state.now, 'closed');
  t.strictSame(bench.file.log.slice(-2), ['close', 'close ok']);
  bench.volume.giveBack(read);
  bench.volume.close(() => closed++);
  t.equal(closed, 3);
  t.end();
});

t.test(
  'GHOST.1: the range of an operation whose owner went away stays closed until the file is done',
  (t) => {
    const bench = new Bench();
    const ghost = bench.submit({ kind: 'write', fill: 1 });
    let buried = 0;
    ghost.owner = { operationDone: () => buried++ };
    const write = bench.submit({ kind: 'write', fill: 2 });
    t.equal(write.stage, 'range');
    bench.run();
    t.equal(buried, 1);
    t.equal(bench.byte(0), 2);
    t.end();
  },
);

t.test('a file that shrank behind our back is an error, never zeroes and never made longer', (t) => {
  const bench = new Bench({ blocks: 8 });
  const sizes: number[] = [];
  bench.volume.onResize = (size) => sizes.push(size);
  bench.file.truncate(4 * BLOCK);
  const cut = bench.submit({ kind: 'read', block: 2, blocks: 4 });
  bench.run();
  bench.file.resident = true;
  const cutNow = bench.submit({ kind: 'read', block: 2, blocks: 4 });
  t.strictSame(codes(cut, cutNow), ['ETRUNC', 'ETRUNC']);
  t.strictSame([cut.parts.length, bench.slabs.inUse], [0, 0]);
  bench.file.resident = false;
  bench.file.shorten(1);
  const short = bench.submit({ kind: 'read' });
  bench.volume.refresh(() => undefined);
  bench.run();
  t.strictSame(codes(short), ['ETRUNC']);
  t.strictSame(sizes, [4 * BLOCK]);
  t.equal(bench.volume.blocks, 4);
  const write = bench.submit({ kind: 'write', block: 4 });
  t.strictSame(codes(write), ['ETRUNC']);
  t.equal(bench.file.seen.size, 4 * BLOCK);
  t.end();
});

t.test('a file that is cut while something goes through it in pieces is an error as well', (t) => {
  for (const kind of ['zero', 'copy', 'copy through a buffer'] as const) {
    const bench = new Bench({ blocks: 200_000 });
    bench.file.fail(kind === 'zero' ? 'zero' : 'copy', ...(kind === 'copy' ? [] : ['ENOTSUP']));
    const op = bench.make({ kind: kind === 'zero' ? 'zero' : 'copy', block: 100_000, blocks: 98_304 });
    op.sources = [{ offset: 0, length: op.length }];
    bench.volume.submit(op);
    bench.step();
    bench.file.truncate(198_000 * BLOCK);
    bench.volume.refresh(() => undefined);
    bench.step(bench.file.pending.length - 1);
    bench.run();
    t.strictSame(codes(op), ['ETRUNC'], kind);
    t.equal(bench.file.seen.size, 198_000 * BLOCK);
    t.strictSame([bench.volume.inFlight, bench.slabs.inUse], [0, 0]);
  }
  t.end();
});

t.test('what the file says of one operation is the end of that one only', (t) => {
  const bench = new Bench({ budget: 8192, largest: 4096 });
  bench.file.fail('write', 'ENOSPC', 'EIO');
  bench.file.fail('read', 'EIO');
  const full = bench.submit({ kind: 'write', fua: true });
  const next = bench.submit({ kind: 'write' });
  const read = bench.submit({ kind: 'read', block: 8, blocks: 16 });
  const good = bench.submit({ kind: 'write' });
  bench.run();
  t.strictSame(codes(full, next, read, good), ['ENOSPC', 'EIO', 'EIO', undefined]);
  t.equal(bench.slabs.inUse, 0);
  t.equal(bench.volume.state.now, 'online');
  t.match(bench.volume.counters, { reads: 0, writes: 1, bytesWritten: BLOCK, errors: 3 });
  t.end();
});

t.test('a read-only volume refuses to be changed', (t) => {
  const bench = new Bench({ readOnly: true });
  const ops = (['write', 'zero', 'deallocate', 'flush', 'read'] as const).map((kind) =>
    bench.submit({ kind }),
  );
  bench.run();
  t.strictSame(codes(...ops), ['EROFS', 'EROFS', 'EROFS', undefined, undefined]);
  t.end();
});

t.test('a volume in memory answers a read at once, and takes no room for what was not written', (t) => {
  const env = memoryEnv();
  const file = new MemoryFile(env.clock, 2 ** 40);
  const slabs = new Slabs({ budget: MIB });
  const volume = new Volume(env, file, { blockSize: 4096, readOnly: false, slabs });
  let ended = 0;
  const op = new Operation({ operationDone: () => ended++ });
  Object.assign(op, { kind: 'write', offset: 2 ** 39, length: 8192 });
  op.parts.push(new Uint8Array(4096).fill(1), new Uint8Array(4096).fill(2));
  volume.submit(op);
  env.clock.settle();
  op.parts.length = 0;
  op.kind = 'read';
  volume.submit(op);
  t.equal(ended, 2);
  t.strictSame([op.parts[0]![0], op.parts[0]![4096]], [1, 2]);
  volume.giveBack(op);
  t.ok(file.bytes.allocated <= MIB);
  op.kind = 'deallocate';
  Object.assign(op, { offset: 0, length: 2 ** 40 });
  volume.submit(op);
  env.clock.settle();
  t.equal(ended, 3);
  t.equal(file.bytes.allocated, 0);
  t.end();
});
