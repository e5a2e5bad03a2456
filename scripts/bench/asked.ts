/** The ratios that are asked for, beside what was measured, on one Node or several: what docs/performance.md shows. */
import type { Report, Result } from './main.ts';
import { type Store, type Work, workName } from './work.ts';
import { table } from './table.ts';

export interface Asked {
  readonly name: string;
  /** Of what. */
  readonly to: string;
  readonly asked: number;
  /** The ratio is to be no more than `asked`, instead of no less. */
  readonly isMost?: true;
  /** Undefined: it was not measured. */
  measured(report: Report): number | undefined;
}

const randread = (depth: number): Work => ({
  kind: 'randread',
  bytes: 4096,
  depth,
  queues: 1,
  digests: false,
});
const FILES: readonly Store[] = ['tmpfs', 'disk'];
const ALL: readonly Store[] = ['memory', ...FILES];

const find = ({ results }: Report, store: Store, work: Work): Result | undefined =>
  results.find(({ row, name }) => row.store === store && name === `${store}: ${workName(work)}`);

function target(stores: readonly Store[], work: Work, to: 'socket' | 'file', asked: number): Asked[] {
  return stores.map((store) => ({
    name: `target, ${store}: ${workName(work)}`,
    to: to === 'socket' ? 'socket' : 'socket + file',
    asked,
    measured: (report) => find(report, store, work)?.ratios[to],
  }));
}

/** Digests on to digests off: both of the target. */
function digests(store: Store, work: Work, asked: number): Asked {
  return {
    name: `target, ${store}: ${workName({ ...work, digests: true })}`,
    to: 'digests off',
    asked,
    measured(report) {
      const on = find(report, store, { ...work, digests: true })?.subjects.target;
      const off = find(report, store, work)?.subjects.target;
      return on && off && on.rate / off.rate;
    },
  };
}

function host(work: Work, asked: number): Asked {
  return {
    name: `host, submit/done: ${workName(work)}`,
    to: 'bare client',
    asked,
    measured: ({ host }) => host.find(({ name }) => name === workName(work))?.ratios.done,
  };
}

const WRITE: Work = { ...randread(32), kind: 'randwrite' };

/** In the order in which they are shown; `scale` names its own. */
const FIXED: readonly Asked[] = [
  ...target(['memory'], randread(32), 'socket', 0.6),
  ...target(['memory'], randread(128), 'socket', 0.6),
  ...target(FILES, randread(1), 'socket', 0.85),
  ...target(FILES, randread(32), 'socket', 0.5),
  ...target(FILES, randread(128), 'socket', 0.42),
  ...target(FILES, WRITE, 'file', 0.7),
  ...target(FILES, { kind: 'read', bytes: 128 * 1024, depth: 16, queues: 1, digests: false }, 'socket', 0.8),
  ...ALL.flatMap((store) => [digests(store, randread(32), 0.5), digests(store, WRITE, 0.5)]),
  host(randread(32), 0.5),
  host(randread(128), 0.5),
];

const SCALE = 1.1;

/** Those, and what the reports know of scale: CPU for each I/O, not for a connect, with many to that with one. */
export function askedOf(reports: readonly Report[]): Asked[] {
  const io = reports.flatMap(({ scale }) =>
    scale.filter(({ load }) => load !== 'connect' && load !== 'host'),
  );
  const names = new Set(io.map(({ name }) => name));
  return [
    ...FIXED,
    ...[...names].map((name): Asked => ({
      name,
      to: 'CPU with one',
      asked: SCALE,
      isMost: true,
      measured: ({ scale }) => scale.find((each) => each.name === name)?.ratio,
    })),
  ];
}

/** `0.55`, `**0.55**` when that is not what is asked for. */
function shown({ asked, isMost }: Asked, measured: number | undefined): string {
  if (measured === undefined) return '–';
  const rounded = Math.round(measured * 100) / 100;
  const isMet = isMost === true ? rounded <= asked : rounded >= asked;
  return isMet ? rounded.toFixed(2) : `**${rounded.toFixed(2)}**`;
}

/** A column for each report; bold: missed. */
export function askedTable(reports: readonly Report[]): string {
  const rows = askedOf(reports).map((each) => [
    each.name,
    each.to,
    `${each.isMost === true ? '≤' : '≥'} ${each.asked.toFixed(2)}`,
    ...reports.map((report) => shown(each, each.measured(report))),
  ]);
  const head = ['work', 'to', 'asked', ...reports.map(({ node }) => `Node ${node}`)];
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i < 2 ? '---' : '--:'))), ...rows.map(line)].join('\n');
}

const BEGIN = '<!-- results -->';
const END = '<!-- end of results -->';

/** The page with what is between its marks replaced by the sections of these reports. */
export function filled(page: string, reports: readonly Report[]): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`the page has no ${BEGIN} and ${END}`);
  const sections = [
    '## Ratios that are asked for',
    'Bold: missed. Medians of the ratios of neighbours.',
    askedTable(reports),
    '## Results',
    ...reports.flatMap((report) => [`### Node ${report.node}`, table(report)]),
  ];
  return `${page.slice(0, begin)}${BEGIN}\n\n${sections.join('\n\n')}\n\n${page.slice(end)}`;
}
