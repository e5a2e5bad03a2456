import { readFileSync } from 'node:fs';
import t from 'tap';
import { MUTATIONS } from './mutations.ts';
import { planOf, NOTHING, overridesText, readNumber, readOverrides } from './overrides.ts';
import { swarm } from './plan.ts';
import { REGRESSIONS } from './regressions.ts';
import { report } from './report.ts';
import { simulate } from './simulation.ts';
import { BlockHistory, type Change } from './history.ts';

/** Some hundred here, a thousand where nobody waits for them. */
const SEEDS = process.env['CI'] === undefined ? 150 : 1000;

t.test(`${SEEDS} seeds keep every rule`, (t) => {
  let failing: number | undefined;
  for (let seed = 1; seed <= SEEDS && failing === undefined; seed++)
    if (simulate(swarm(seed)).failure !== undefined) failing = seed;
  t.equal(failing, undefined, failing === undefined ? '' : report(failing, NOTHING));
  t.end();
});

t.test('regressions', (t) => {
  for (const { name, seed, plan } of REGRESSIONS)
    t.equal(simulate(swarm(seed, plan)).failure, undefined, name);
  t.end();
});

t.test('mutations apply to the code as it is', (t) => {
  for (const { name, edits } of MUTATIONS)
    for (const { file, from } of edits)
      t.equal(readFileSync(file, 'utf8').split(from).length, 2, `${name}: its text is once in ${file}`);
  t.end();
});

t.test('the same seed gives the same trace, and listening changes nothing', (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    let lines = 0;
    const { hash, events } = simulate(swarm(seed));
    const again = simulate(swarm(seed), () => lines++);
    t.same([again.hash, again.events], [hash, events], `seed ${seed}`);
    t.ok(lines > 100);
  }
  t.not(simulate(swarm(1)).hash, simulate(swarm(2)).hash);
  t.end();
});

t.test('a shrunk simulation is written down and read again', (t) => {
  const overrides = { set: { hosts: 1, ios: 7 }, faults: [0, 2] };
  t.equal(overridesText(overrides), ' --set hosts=1 --set ios=7 --faults 0,2');
  t.same(readOverrides(['hosts=1', 'ios=7'], '0,2'), overrides);
  t.equal(overridesText({ set: {}, faults: [] }), ' --faults none');
  t.same(readOverrides([], 'none'), { set: {}, faults: [] });
  t.match(readOverrides(['colour=1'], undefined), /--set colour=1: not FIELD=NUMBER/);
  t.match(readOverrides([], '0,x'), /not a list of indices/);
  t.same(
    [readNumber('0x1f'), readNumber('31'), readNumber('-1'), readNumber('x'), readNumber('0x100000000')],
    [31, 31, undefined, undefined, undefined],
  );
  t.equal(planOf(3, { set: { crashAtEnd: 0 }, faults: undefined }).crashAtEnd, false);
  t.end();
});

/** A change from `start` to `end`. */
const change = (value: number, start: number, end = Infinity): Change & { value: number } => ({
  value,
  name: `write #${value}`,
  start,
  end,
  closes: Infinity,
  durable: false,
  never: false,
});

t.test('the history of a block', (t) => {
  const begin = (...changes: readonly (Change & { value: number })[]): BlockHistory => {
    const block = new BlockHistory('block');
    for (const each of changes) block.begin(each, each.value);
    return block;
  };

  t.test('a read sees the last write that was acknowledged, or one that is under way', (t) => {
    const block = begin(change(1, 10, 20), change(2, 30));
    t.equal(block.read(1, 25, 28), undefined);
    t.equal(block.read(1, 31, 40), undefined);
    t.equal(block.read(2, 31, 41), undefined);
    t.match(
      block.read(1, 50, 60),
      /write #1 was there .* but write #2/,
      'what was overwritten is not seen again',
    );
    t.end();
  });
  t.test('a write that was acknowledged is not skipped', (t) => {
    const block = begin(change(1, 10, 20));
    t.match(block.read(0, 21, 22), /what was there first .* but write #1/);
    t.end();
  });
  t.test('a write whose outcome is unknown may happen late, but not after it is over', (t) => {
    const lost = change(1, 10);
    const block = begin(lost, change(2, 30, 40));
    lost.closes = 35;
    t.equal(block.read(2, 50, 51), undefined);
    t.match(block.read(1, 60, 61), /but write/);
    t.end();
  });
  t.test('what was never sent is never seen', (t) => {
    const block = begin({ ...change(1, 10), never: true });
    t.match(block.read(1, 20, 21), /never sent/);
    t.match(block.read(9, 20, 21), /nobody wrote/);
    t.end();
  });
  t.test('zeroes may come from an erasure, and not from before it', (t) => {
    const block = begin(change(1, 10, 20), change(0, 30, 40), change(2, 50, 60));
    t.equal(block.read(0, 45, 46), undefined);
    t.match(block.read(0, 70, 71), /overwritten before/);
    t.end();
  });
  t.test('a power cut keeps what was durable, and may lose the rest, but once', (t) => {
    const first = change(1, 10, 20);
    const block = begin(first, change(2, 30, 40), change(3, 50, 60));
    first.durable = true;
    BlockHistory.crash([block], 70);
    t.match(block.read(0, 80, 81), /cannot have left/);
    t.equal(block.read(2, 80, 81), undefined);
    t.match(block.read(3, 82, 83), /nobody wrote/, 'once it is known what was left, it stays so');
    t.end();
  });
  t.test('a copy is a read there and a write here', (t) => {
    const source = begin(change(1, 10, 20), change(2, 50, 60));
    const block = begin(change(3, 10, 20));
    block.begin(change(0, 30, 40), source);
    t.match(block.read(4, 45, 46), /nobody wrote/);
    t.match(block.read(2, 65, 66), /nobody wrote|write #2/, 'it brought nothing that came later');
    t.equal(block.read(1, 70, 71), undefined);
    t.match(block.read(3, 72, 73), /but write #0/, 'it has happened');
    t.end();
  });
  t.test('a copy that shows what its source held makes that a read of the source', (t) => {
    const lost = change(1, 10);
    const source = begin(lost, change(2, 50, 60));
    const block = begin();
    block.begin(change(0, 30, 40), source);
    t.equal(block.read(1, 45, 46), undefined);
    t.equal(source.read(2, 62, 63), undefined);
    t.match(source.read(1, 70, 71), /but write #2/, 'it was there when it was copied');
    t.end();
  });
  t.test('nobody can tell which of several copies it was, but it was one of them', (t) => {
    const source = begin(change(1, 10, 20));
    const block = begin();
    block.begin(change(0, 30, 40), source);
    block.begin(change(0, 50, 60), source);
    block.begin(change(3, 70, 80), 3);
    t.equal(block.read(1, 71, 72), undefined);
    t.match(block.read(1, 90, 91), /overwritten before/);
    t.end();
  });
  t.test('a power cut may leave what a copy may have brought', (t) => {
    const source = begin(change(1, 10, 20), change(2, 25));
    const block = begin();
    block.begin(change(0, 30, 40), source);
    BlockHistory.crash([source, block], 50);
    t.match(block.read(3, 60, 61), /cannot have left/);
    t.equal(block.read(2, 60, 61), undefined);
    t.end();
  });
  t.end();
});
