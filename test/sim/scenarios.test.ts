import t from 'tap';
import { swarm } from './plan.ts';
import { SCENARIOS, STALE_WRITES } from './scenarios.ts';
import { simulate } from './simulation.ts';

t.test('scenarios', (t) => {
  for (const { name, plan, marks } of SCENARIOS) {
    const reached = new Set<string>();
    for (let seed = 1; seed <= 5; seed++) {
      const result = simulate(swarm(seed, plan));
      t.equal(result.failure, undefined, `${name}, seed ${seed}`);
      for (const mark of result.marks) reached.add(mark);
    }
    t.strictSame(
      marks.filter((mark) => !reached.has(mark)),
      [],
      `${name}: it came to what it is about`,
    );
  }
  t.end();
});

t.test('GHOST.4 the oracle finds the stale write under immediate, and never under safe', (t) => {
  const find = (writeFailover: 'safe' | 'immediate', seeds: number): string | undefined => {
    for (let seed = 1; seed <= seeds; seed++) {
      const heads = { ...STALE_WRITES.heads, writeFailover };
      const { failure } = simulate(swarm(seed, { ...STALE_WRITES, heads }));
      if (failure !== undefined) return failure.rule;
    }
    return undefined;
  };
  t.equal(find('immediate', 60), 'LINEARIZABLE');
  t.equal(find('safe', 60), undefined);
  t.end();
});
