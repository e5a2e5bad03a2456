/**
 * `npm run bench`: target and host beside what the socket could do. Subjects take turns within one run, several times;
 * their ratios are what counts, for machines are noisy.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { pinned, start } from './child.ts';
import type { FailoverJob, FailoverResult } from './failover.ts';
import { LOSSES } from './losses.ts';
import { type Measured, type Summary, ratio, summary } from './numbers.ts';
import { plot } from './plot.ts';
import { type HostSubject, Servers, type Subject, type Timing } from './subjects.ts';
import { type ScaleCase, type ScaleResult, type ScaleTiming, measureScale, scaleCases } from './scale.ts';
import { askedTable, filled } from './asked.ts';
import { table } from './table.ts';
import { KINDS, SIZE, STORES, plan, workName, type Kind, type Row, type Store, type Work } from './work.ts';

const HELP = `npm run bench -- [options]
  --seconds N      of each measurement (1)
  --repeat N       measurements of each subject (3)
  --what LIST      target,host,fairness,digests,scale,failover (all)
  --stores LIST    ${STORES.join(',')} (all)
  --kinds LIST     ${KINDS.join(',')} (all)
  --depths LIST    commands under way on a queue (1,32,128; 16 for sequential reads)
  --queues LIST    (1,2,4,8)
  --digests LIST   off,on (both)
  --cross          every combination, not only one thing varied at a time
  --folder PATH    where the disk's file goes (the system's temporary folder)
  --out FOLDER     also write results.md, results.svg and results-NODE.json there, of this version of Node
  --page FILE      with --out: put what is there, of all versions of Node, between the marks of this page
  --what none      with both: measure nothing
  --json           JSON instead of the table
  --cpu-prof DIR   a profile of the target's process goes there
  --smoke          a few seconds; fails when anything does not work`;

export interface Result {
  readonly row: Row;
  readonly name: string;
  readonly subjects: Readonly<Partial<Record<Subject, Summary>>>;
  /** Of the target's rate to that of the others. */
  readonly ratios: Readonly<Partial<Record<Subject, number>>>;
}

export interface HostResult {
  readonly work: Work;
  readonly name: string;
  readonly subjects: Readonly<Partial<Record<HostSubject, Summary>>>;
  /** Of rates to the bare client's. */
  readonly ratios: Readonly<Partial<Record<HostSubject, number>>>;
}

/** A reader at depth 1 beside a writer, and by itself. */
export interface FairnessResult {
  readonly store: Store;
  readonly alone: Summary;
  readonly beside: Summary;
  readonly writer: Summary;
}

/** Header and data digests, off and on. */
export interface DigestsResult {
  readonly name: string;
  readonly off: Summary;
  readonly on: Summary;
  /** Of the rates. */
  readonly ratio: number;
}

export interface Report {
  readonly node: string;
  readonly kernel: string;
  readonly processor: string;
  readonly processors: number;
  readonly pinned: boolean;
  /** File system of the disk's file. */
  readonly disk: string;
  readonly repeat: number;
  readonly seconds: number;
  readonly results: readonly Result[];
  readonly host: readonly HostResult[];
  readonly fairness: readonly FairnessResult[];
  readonly digests: readonly DigestsResult[];
  readonly scale: readonly ScaleResult[];
  readonly failover: readonly FailoverResult[];
}

const WHAT = ['target', 'host', 'fairness', 'digests', 'scale', 'failover'] as const;
type What = (typeof WHAT)[number];

interface Options {
  readonly rows: readonly Row[];
  readonly timing: Timing;
  readonly repeat: number;
  readonly stores: readonly Store[];
  readonly folder: string;
  readonly profile: string | undefined;
  readonly out: string | undefined;
  readonly page: string | undefined;
  readonly json: boolean;
  readonly what: readonly What[];
  readonly smoke: boolean;
}

function listOf<T extends string>(text: string | undefined, all: readonly T[]): T[] {
  if (text === undefined) return [...all];
  return text.split(',').map((word) => {
    const found = all.find((each) => each === word);
    if (found === undefined) throw new Error(`${word} is none of ${all.join(', ')}`);
    return found;
  });
}

const numbers = (text: string): number[] => text.split(',').map(Number);

/** Undefined: help was asked for. */
function options(): Options | undefined {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string' },
      repeat: { type: 'string' },
      what: { type: 'string' },
      stores: { type: 'string' },
      kinds: { type: 'string' },
      depths: { type: 'string' },
      queues: { type: 'string' },
      digests: { type: 'string' },
      cross: { type: 'boolean', default: false },
      folder: { type: 'string', default: tmpdir() },
      out: { type: 'string' },
      page: { type: 'string' },
      json: { type: 'boolean', default: false },
      'cpu-prof': { type: 'string' },
      smoke: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const { smoke } = values;
  const stores = listOf<Store>(values.stores, STORES);
  const rows = plan({
    stores,
    kinds: listOf<Kind>(values.kinds ?? (smoke ? 'randread,write' : undefined), KINDS),
    depths: numbers(values.depths ?? (smoke ? '32' : '1,16,32,128')),
    queues: numbers(values.queues ?? (smoke ? '1' : '1,2,4,8')),
    digests: listOf(values.digests ?? (smoke ? 'off' : undefined), ['off', 'on']).map(
      (word) => word === 'on',
    ),
    cross: values.cross,
  });
  const seconds = Number(values.seconds ?? (smoke ? 0.3 : 1));
  return {
    rows,
    timing: { warmUp: smoke ? 50 : 400, time: seconds * 1000 },
    repeat: Number(values.repeat ?? (smoke ? 1 : 3)),
    stores,
    folder: values.folder,
    profile: values['cpu-prof'],
    out: values.out,
    page: values.page,
    json: values.json,
    what: values.what === 'none' ? [] : listOf<What>(values.what, WHAT),
    smoke,
  };
}

/** They take turns; every other time in the opposite order. */
async function inTurn<S extends string>(
  subjects: readonly S[],
  repeat: number,
  measure: (subject: S) => Promise<Measured>,
): Promise<Partial<Record<S, Summary>>> {
  const measured = new Map<S, Measured[]>(subjects.map((subject) => [subject, []]));
  for (let i = 0; i < repeat; i++)
    for (const subject of i % 2 === 0 ? subjects : [...subjects].reverse())
      measured.get(subject)!.push(await measure(subject));
  const summaries: Partial<Record<S, Summary>> = {};
  for (const [subject, each] of measured) summaries[subject] = summary(each);
  return summaries;
}

async function measureHost(
  servers: Servers,
  work: Work,
  timing: Timing,
  repeat: number,
): Promise<HostResult> {
  const subjects = servers.hostSubjects(work);
  const summaries = await inTurn(subjects, repeat, (subject) => servers.measureHost(subject, work, timing));
  const ratios: Partial<Record<HostSubject, number>> = {};
  const { client } = summaries;
  for (const subject of subjects)
    if (client !== undefined && subject !== 'client') ratios[subject] = ratio(summaries[subject]!, client);
  return { work, name: workName(work), subjects: summaries, ratios };
}

const READER: Work = { kind: 'randread', bytes: 4096, depth: 1, queues: 1, digests: false };
const WRITER: Work = { kind: 'write', bytes: 128 * 1024, depth: 128, queues: 1, digests: false };

async function measureFairness(
  servers: Servers,
  store: Store,
  timing: Timing,
  repeat: number,
): Promise<FairnessResult> {
  const alone: Measured[] = [];
  const beside: Measured[] = [];
  const writer: Measured[] = [];
  for (let i = 0; i < repeat; i++) {
    alone.push((await servers.together(store, [READER], timing))[0]!);
    const [reads, writes] = await servers.together(store, [READER, WRITER], timing);
    beside.push(reads!);
    writer.push(writes!);
  }
  return { store, alone: summary(alone), beside: summary(beside), writer: summary(writer) };
}

/** The target asked by the load generator, which checks no digests, and by our host, which does. */
async function measureDigests(servers: Servers, timing: Timing, repeat: number): Promise<DigestsResult[]> {
  const work: Work = { ...READER, depth: 32 };
  const [store, results]: [Store, DigestsResult[]] = ['memory', []];
  for (const who of ['target', 'host'] as const) {
    const { off, on } = await inTurn(['off', 'on'], repeat, (each) => {
      const digested = { ...work, digests: each === 'on' };
      return who === 'target'
        ? servers.measure('target', { store, work: digested }, timing)
        : servers.measureHost('both', digested, timing);
    });
    const name = `${who}${who === 'host' ? ', with our target' : ''}: ${workName(work)}`;
    results.push({ name, off: off!, on: on!, ratio: ratio(on!, off!) });
  }
  return results;
}

async function measure(servers: Servers, row: Row, timing: Timing, repeat: number): Promise<Result> {
  const subjects = servers.subjects(row);
  const summaries = await inTurn(subjects, repeat, (subject) => servers.measure(subject, row, timing));
  const target = summaries.target!;
  const ratios: Partial<Record<Subject, number>> = {};
  for (const subject of subjects)
    if (subject !== 'target') ratios[subject] = ratio(target, summaries[subject]!);
  return { row, name: `${row.store}: ${workName(row.work)}`, subjects: summaries, ratios };
}

/** Short turns, as the parties are there all the time. */
const scaleTiming = ({ time, warmUp }: Timing, repeat: number, smoke: boolean): ScaleTiming =>
  smoke
    ? { repeat: 1, windows: 1, window: 20, warmUp: 10 }
    : { repeat, windows: 8, window: time / 4, warmUp: 2 * warmUp };

/** One of each of the loads that differ most. */
const smokeCases = (cases: readonly ScaleCase[]): ScaleCase[] =>
  (['turns', 'connect', 'host'] as const).map((load) => cases.find((each) => each.load === load)!);

function fileSystemOf(path: string): string {
  try {
    return execFileSync('stat', ['-f', '-c', '%T', path], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

function write(folder: string, report: Report): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `results-${report.node}.json`), JSON.stringify(report, undefined, 1));
  writeFileSync(join(folder, 'results.md'), `${askedTable([report])}\n\n${table(report)}\n`);
  writeFileSync(join(folder, 'results.svg'), plot(report));
}

/** Of every version of Node that has measured into this folder, in their order. */
function fill(page: string, folder: string): void {
  const files = readdirSync(folder).filter((name) => /^results-v.*\.json$/.test(name));
  const reports = files.map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Report);
  reports.sort((a, b) => a.node.localeCompare(b.node, 'en', { numeric: true }));
  writeFileSync(page, filled(readFileSync(page, 'utf8'), reports));
}

async function run({
  rows,
  timing,
  repeat,
  stores,
  folder,
  profile,
  out,
  json,
  what,
  smoke,
}: Options): Promise<void> {
  const folders: Partial<Record<Store, string>> = {};
  if (stores.includes('tmpfs')) folders.tmpfs = mkdtempSync('/dev/shm/nvmetcp-bench-');
  if (stores.includes('disk')) folders.disk = mkdtempSync(join(folder, 'nvmetcp-bench-'));
  const content = new Uint8Array(SIZE).fill(1);
  const files: Record<string, string> = {};
  for (const [store, path] of Object.entries(folders)) {
    files[store] = join(path, 'namespace.img');
    writeFileSync(files[store], content);
  }
  let servers: Servers | undefined;
  try {
    const flags = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
    servers = await Servers.start(files, flags);
    const results: Result[] = [];
    for (const row of what.includes('target') ? rows : []) {
      results.push(await measure(servers, row, timing, repeat));
      if (process.stderr.isTTY) process.stderr.write(`\r${results.length} of ${rows.length}\u001b[K`);
    }
    const host: HostResult[] = [];
    // The memory rows say what the host is asked for, once.
    if (what.includes('host'))
      for (const work of new Map(rows.map(({ work }) => [workName(work), work])).values())
        host.push(await measureHost(servers, work, timing, repeat));
    const fairness: FairnessResult[] = [];
    if (what.includes('fairness'))
      for (const store of stores) fairness.push(await measureFairness(servers, store, timing, repeat));
    const digests = what.includes('digests') ? await measureDigests(servers, timing, repeat) : [];
    const scale: ScaleResult[] = [];
    if (what.includes('scale'))
      for (const each of smoke ? smokeCases(scaleCases(8, 8)) : scaleCases(1024, 500))
        scale.push(await measureScale(each, scaleTiming(timing, repeat, smoke)));
    const failover: FailoverResult[] = [];
    if (what.includes('failover')) {
      const cases = LOSSES.map((loss) => ({ each: loss.each, repeat: smoke ? loss.smoke : loss.repeat }));
      // In a process of its own, each of them.
      const runs = smoke ? [cases.filter(({ repeat }) => repeat > 0)] : cases.map((one) => [one]);
      for (const run of runs) {
        const job: FailoverJob = { cases: run };
        failover.push(...(await start<FailoverResult[]>('client', 'failover', job).said));
      }
    }
    const report: Report = {
      node: process.version,
      kernel: release(),
      processor: cpus()[0]?.model ?? 'unknown',
      processors: availableParallelism(),
      pinned,
      disk: folders.disk === undefined ? 'none' : fileSystemOf(folders.disk),
      repeat,
      seconds: timing.time / 1000,
      results,
      host,
      fairness,
      digests,
      scale,
      failover,
    };
    console.log(json ? JSON.stringify(report, undefined, 1) : table(report));
    if (out !== undefined) write(out, report);
  } finally {
    servers?.stop();
    for (const path of Object.values(folders)) rmSync(path, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const chosen = options();
  if (chosen === undefined) console.log(HELP);
  else {
    if (chosen.what.length > 0) await run(chosen);
    if (chosen.page !== undefined && chosen.out !== undefined) fill(chosen.page, chosen.out);
  }
}
