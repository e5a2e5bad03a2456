/** The bench's arithmetic: what is run, what many measurements say together, how it is shown. */
import t from 'tap';
import type { Report } from '../../scripts/bench/main.ts';
import { askedTable, filled } from '../../scripts/bench/asked.ts';
import { Latencies, type Measured, median, ratio, summary } from '../../scripts/bench/numbers.ts';
import { plot } from '../../scripts/bench/plot.ts';
import { table } from '../../scripts/bench/table.ts';
import { KINDS, STORES, plan, workName } from '../../scripts/bench/work.ts';

const measured = (rate: number, serverCpu?: number): Measured => ({
  rate,
  serverCpu,
  clientCpu: 1,
  p50: 10,
  p99: 20,
  p999: 30,
});

t.test('a median is the middle one, or half-way between the two', (t) => {
  t.equal(median([]), 0);
  t.equal(median([3, 1, 2]), 2);
  t.equal(median([4, 1, 2, 3]), 2.5);
  t.end();
});

t.test('a summary has the spread of the rates, and no processor time where there is none', (t) => {
  const all = summary([measured(100), measured(90), measured(120)]);
  t.equal(all.rate, 100);
  t.equal(all.spread, 0.3);
  t.equal(all.serverCpu, undefined);
  t.equal(summary([measured(1, 4), measured(1, 2), measured(1, 3)]).serverCpu, 3);
  t.end();
});

t.test('a ratio compares neighbours, so that a machine that turns slow hits both', (t) => {
  const fast = [measured(100), measured(10), measured(50)];
  const half = [measured(50), measured(5), measured(25)];
  t.equal(ratio(summary(half), summary(fast)), 0.5);
  t.end();
});

t.test('latencies are exact in microseconds, and those past a tenth of a second count as that', (t) => {
  const latencies = new Latencies();
  for (let i = 1; i <= 100; i++) latencies.add(i);
  t.equal(latencies.percentile(50), 50);
  t.equal(latencies.percentile(99), 99);
  latencies.clear();
  latencies.add(10_000_000);
  t.equal(latencies.percentile(50), 100_000);
  t.end();
});

t.test('the plan varies one thing at a time unless everything is asked for', (t) => {
  const options = {
    stores: STORES,
    kinds: KINDS,
    depths: [1, 32, 128],
    queues: [1, 2, 4, 8],
    digests: [false, true],
    cross: false,
  };
  const rows = plan(options);
  t.equal(plan({ ...options, cross: true }).length, 3 * 5 * 3 * 4 * 2);
  t.equal(rows.filter(({ work }) => work.queues === 1 && !work.digests).length, 3 * 5 * 3);
  t.ok(rows.every(({ work }) => work.queues === 1 || !work.digests));
  t.ok(rows.some(({ work }) => work.queues === 8) && rows.some(({ work }) => work.digests));
  t.equal(
    workName({ kind: 'randread', bytes: 4096, depth: 32, queues: 4, digests: true }),
    '4 KiB random read, depth 32, 4 queues, digests',
  );
  t.end();
});

t.test('of several depths, 16 is for large sequential reads', (t) => {
  const options = { stores: STORES, kinds: KINDS, queues: [1], digests: [false], cross: false };
  const rows = plan({ ...options, depths: [1, 16] });
  t.same(
    rows.filter(({ work }) => work.depth === 16).map(({ store, work }) => `${store} ${work.kind}`),
    STORES.map((store) => `${store} read`),
  );
  t.equal(plan({ ...options, depths: [16] }).length, 3 * 5);
  t.end();
});

/** The target does `ratio` of the socket. */
function reportOf(node: string, ratio: number): Report {
  const row = plan({
    stores: ['memory'],
    kinds: ['randread'],
    depths: [32],
    queues: [1],
    digests: [false],
    cross: false,
  })[0]!;
  const subjects = { target: summary([measured(1000 * ratio, 2)]), socket: summary([measured(1000, 1)]) };
  const digested = { ...row.work, digests: true };
  return {
    node,
    kernel: '6',
    processor: 'a <fast> one',
    processors: 2,
    pinned: true,
    disk: 'ext4',
    repeat: 1,
    seconds: 1,
    host: [],
    fairness: [],
    digests: [],
    scale: [
      {
        name: 'many',
        load: 'one',
        few: { rate: 1, cpu: 1, p50: 1 },
        many: { rate: 1, cpu: 1, p50: 1 },
        ratio: 1.2,
      },
    ],
    failover: [],
    results: [
      { row, name: `memory: ${workName(row.work)}`, subjects, ratios: { socket: ratio } },
      {
        row: { ...row, work: digested },
        name: `memory: ${workName(digested)}`,
        subjects: { target: summary([measured(300, 2)]) },
        ratios: {},
      },
    ],
  };
}

t.test('a report is a table and a chart', (t) => {
  const report = reportOf('v20', 0.6);
  t.match(table(report), /memory: 4 KiB random read, depth 32 +\| +600 .*\| +1,000 \| +0\.60 /);
  t.match(plot(report), /<rect [^>]*width="249\.6"/);
  t.end();
});

t.test('what is asked for is shown beside what each Node reached; what was missed is bold', (t) => {
  const shown = askedTable([reportOf('v20', 0.6), reportOf('v24', 0.594)]);
  t.match(shown, '| work | to | asked | Node v20 | Node v24 |');
  t.match(shown, '| target, memory: 4 KiB random read, depth 32 | socket | ≥ 0.60 | 0.60 | **0.59** |');
  t.match(
    shown,
    '| target, memory: 4 KiB random read, depth 32, digests | digests off | ≥ 0.50 | 0.50 | 0.51 |',
  );
  t.match(shown, '| many | CPU with one | ≤ 1.10 | **1.20** | **1.20** |');
  t.match(shown, /host, submit\/done: 4 KiB random read, depth 128 .* – \| – \|/);
  t.end();
});

t.test('a page gets the sections between its marks, again and again', (t) => {
  const page = 'before\n<!-- results -->\nstale\n<!-- end of results -->\nafter\n';
  const once = filled(page, [reportOf('v20', 0.6)]);
  t.match(once, /^before\n<!-- results -->\n\n## Ratios/);
  t.match(once, /<!-- end of results -->\nafter\n$/);
  t.notMatch(once, 'stale');
  t.match(once, '### Node v20\n');
  t.equal(filled(once, [reportOf('v20', 0.6)]), once);
  t.throws(() => filled('nothing', []), /no <!-- results -->/);
  t.end();
});
