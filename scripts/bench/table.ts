/** A report as a Markdown table. */
import type { DigestsResult, FairnessResult, HostResult, Report, Result } from './main.ts';
import type { Summary } from './numbers.ts';
import type { Distribution, FailoverResult } from './failover.ts';
import type { ScaleResult } from './scale.ts';
import type { HostSubject, Subject } from './subjects.ts';

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

const HOST_HEAD = [
  'host',
  'bare client',
  'submit/done',
  'ratio',
  'promises',
  'ratio',
  'with our target',
  'CPU µs/IO done, promises, client',
  'p50 / p99 / p99.9 µs',
];

function hostCells({ name, subjects, ratios }: HostResult): string[] {
  const { client, done, promise, both } = subjects;
  const to = (subject: HostSubject): string => ratios[subject]?.toFixed(2) ?? '';
  const cpu = [done, promise, client].map((each) => each?.clientCpu?.toFixed(2) ?? '–').join(', ');
  const times = done === undefined ? '' : [done.p50, done.p99, done.p999].join(' / ');
  return [name, rate(client), rate(done), to('done'), rate(promise), to('promise'), rate(both), cpu, times];
}

const FAIRNESS_HEAD = [
  'fairness: 4 KiB reader at depth 1',
  'alone /s',
  'p99 µs',
  'beside a 128 KiB writer at depth 128 /s',
  'p99 µs',
  'writer MiB/s',
];

const fairnessCells = ({ store, alone, beside, writer }: FairnessResult): string[] => [
  store,
  rate(alone),
  String(alone.p99),
  rate(beside),
  String(beside.p99),
  String(Math.round(writer.rate / 8)),
];

const DIGESTS_HEAD = [
  'header and data digests',
  'off /s',
  'on /s',
  'ratio',
  'CPU µs/IO target, off, on',
  'client, off, on',
];

const digestsCells = ({ name, off, on, ratio }: DigestsResult): string[] => [
  name,
  rate(off),
  rate(on),
  ratio.toFixed(2),
  [off, on].map(({ serverCpu }) => serverCpu?.toFixed(2) ?? '–').join(', '),
  [off, on].map(({ clientCpu }) => clientCpu?.toFixed(2) ?? '–').join(', '),
];

const SCALE_HEAD = [
  'scale',
  'with one /s',
  'CPU µs',
  'p50 µs',
  'with many /s',
  'CPU µs',
  'p50 µs',
  'CPU ratio',
];

const scaleCells = ({ name, few, many, ratio }: ScaleResult): string[] => [
  name,
  ...[few, many].flatMap(({ rate, cpu, p50 }) => [
    Math.round(rate).toLocaleString('en'),
    cpu.toFixed(2),
    String(Math.round(p50)),
  ]),
  ratio.toFixed(2),
];

const FAILOVER_HEAD = [
  'failover, p50 / p99 / most',
  'times',
  'until known, ms',
  'turns',
  'known → sent, µs',
  '→ first answer, µs',
  '→ last answer, µs',
  'a round trip, µs',
  'other head before, µs',
  'meanwhile, µs',
];

const spread = ({ p50, p99, max }: Distribution): string =>
  [p50, p99, max].map((value) => Math.round(value).toLocaleString('en')).join(' / ');

const failoverCells = ({ name, repeat, turns, ...of }: FailoverResult): string[] => [
  name,
  String(repeat),
  spread(of.detection),
  String(turns ?? '–'),
  ...[of.sent, of.first, of.last, of.trip, of.calm, of.beside].map(spread),
];

function lines(head: readonly string[], cells: readonly (readonly string[])[]): string[] {
  if (cells.length === 0) return [];
  const rows = [head, ...cells];
  const widths = head.map((_, i) => Math.max(3, ...rows.map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = `| ${widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  return ['', line(head), rule, ...cells.map(line)];
}

export function table(report: Report): string {
  const { node, kernel, processor, processors, pinned, disk, repeat, seconds } = report;
  const where = `Node ${node}, Linux ${kernel}, ${processors} × ${processor}, ${
    pinned ? 'server and client on a processor each' : 'not pinned'
  }; disk: ${disk}; medians of ${repeat} × ${seconds} s, commands per second.`;
  return [
    where,
    ...lines(HEAD, report.results.map(cells)),
    ...lines(HOST_HEAD, report.host.map(hostCells)),
    ...lines(FAIRNESS_HEAD, report.fairness.map(fairnessCells)),
    ...lines(DIGESTS_HEAD, report.digests.map(digestsCells)),
    ...lines(SCALE_HEAD, report.scale.map(scaleCells)),
    ...lines(FAILOVER_HEAD, report.failover.map(failoverCells)),
  ].join('\n');
}
