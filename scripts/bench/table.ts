/** A report as a Markdown table. */
import type { Report, Result } from './main.ts';
import type { Summary } from './numbers.ts';
import type { Subject } from './subjects.ts';

const HEAD = [
  'work',
  'target',
  '±',
  'socket',
  'ratio',
  'socket + file',
  'ratio',
  'mapped',
  'ratio',
  'CPU µs/IO target, socket, file',
  'p50 / p99 / p99.9 µs',
];

const rate = (summary: Summary | undefined): string =>
  summary === undefined ? '' : Math.round(summary.rate).toLocaleString('en');

function cells({ name, subjects, ratios }: Result): string[] {
  const { target, socket } = subjects;
  const to = (subject: Subject): string => ratios[subject]?.toFixed(2) ?? '';
  const cpu = [target, socket, ...(subjects.file ? [subjects.file] : [])]
    .map((each) => each?.serverCpu?.toFixed(2) ?? '–')
    .join(', ');
  const spread = target === undefined ? '' : `${Math.round(target.spread * 50)} %`;
  const times = target === undefined ? '' : [target.p50, target.p99, target.p999].join(' / ');
  return [
    name,
    rate(target),
    spread,
    rate(socket),
    to('socket'),
    rate(subjects.file),
    to('file'),
    rate(subjects.mapped),
    to('mapped'),
    cpu,
    times,
  ];
}

export function table(report: Report): string {
  const rows = [HEAD, ...report.results.map(cells)];
  const widths = HEAD.map((_, i) => Math.max(3, ...rows.map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = `| ${widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  const { node, kernel, processor, processors, pinned, disk, repeat, seconds } = report;
  const where = `Node ${node}, Linux ${kernel}, ${processors} × ${processor}, ${
    pinned ? 'server and client on a processor each' : 'not pinned'
  }; disk: ${disk}; medians of ${repeat} × ${seconds} s, commands per second.`;
  return [where, '', line(HEAD), rule, ...rows.slice(1).map(line)].join('\n');
}
