/** `npm run sim`: simulations of targets and hosts, see HELP and docs/simulator.md. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { hashSeeds } from '../test/sim/hash-seeds.ts';
import { foundTable, hunt } from '../test/sim/mutant.ts';
import { MUTATIONS } from '../test/sim/mutations.ts';
import { NOTHING, planOf, readNumber, readOverrides, type Overrides } from '../test/sim/overrides.ts';
import { planText, report, seedText } from '../test/sim/report.ts';
import { shrink } from '../test/sim/shrink.ts';
import { simulate } from '../test/sim/simulation.ts';

const DIST = resolve(fileURLToPath(import.meta.url), '../..');
const ROOT = resolve(DIST, '..');
const HELP = `npm run sim -- [options]

Runs targets and hosts in one process under a simulated clock, network and disk, and checks every rule at every moment.
A seed is a whole world: it always runs the same way. One that fails is made smaller, and told how to run again.

  --seed N           the first seed, decimal or 0x… (1)
  --runs N           simulations (1,000 from the first; 1 with --seed)
  --until-failure    from a random seed, or --seed, until a rule is broken
  --trace            of one seed, everything that happens
  --set FIELD=N      a part of the seed's world as given, for example clients=1; may be repeated
  --faults LIST      of the seed's faults only these, for example 0,2; or none
  --soak FILE        on and on; goes on where FILE says that it stopped
  --bench            simulations a minute of one core
  --hashes N         one hash over the traces of N seeds: the same on every machine and Node
  --mutations        breaks this project in known ways, one after another: each must be found
  --only TEXT        of those, the ones whose names contain it
  --table FILE       writes what was found into a document

  npm run sim -- --seed 7 --runs 10000
  npm run sim -- --seed 0x1f --trace

Exit code: 0, every rule held; 1, one was broken; 2, wrong options.
`;
const HUNT_SECONDS = 60;
const BENCH_RUNS = 500;

class UsageError extends Error {}

/** Sums over many simulations. */
interface Sums {
  runs: number;
  ios: number;
  /** Simulated, and of the processor. */
  seconds: number;
}

const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

function parse(): ReturnType<typeof options> {
  try {
    return options();
  } catch (error) {
    throw new UsageError((error as Error).message.split(/\.?[ \n](?=To |Did )/)[0]);
  }
}

const options = () =>
  parseArgs({
    options: {
      seed: { type: 'string' },
      runs: { type: 'string' },
      'until-failure': { type: 'boolean', default: false },
      trace: { type: 'boolean', default: false },
      set: { type: 'string', multiple: true, default: [] },
      faults: { type: 'string' },
      bench: { type: 'boolean', default: false },
      hashes: { type: 'string' },
      mutations: { type: 'boolean', default: false },
      only: { type: 'string' },
      table: { type: 'string' },
      soak: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  }).values;

function count(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = readNumber(text);
  if (value === undefined) throw new UsageError(`--${name} ${text}: not a number from 0 to 0xffffffff`);
  return value;
}

/** Runs one seed; true: every rule held. A failure is made smaller and told. */
function runSeed(seed: number, overrides: Overrides, sums: Sums): boolean {
  const { failure, ios, seconds } = simulate(planOf(seed, overrides));
  sums.runs++;
  sums.ios += ios;
  sums.seconds += seconds;
  if (failure === undefined) return true;
  console.error(`\nseed ${seedText(seed)} breaks ${failure.rule}; looking for a smaller one`);
  console.error(report(seed, shrink(seed, overrides, failure.rule)));
  return false;
}

function runMany(first: number, runs: number, overrides: Overrides): boolean {
  console.log(`from seed ${seedText(first)}`);
  const sums: Sums = { runs: 0, ios: 0, seconds: 0 };
  let told = performance.now();
  while (sums.runs < runs) {
    if (!runSeed((first + sums.runs) >>> 0, overrides, sums)) return false;
    if (process.stdout.isTTY && performance.now() - told > 1000) {
      told = performance.now();
      process.stdout.write(`\r${progress(sums)} `);
    }
  }
  console.log(`${process.stdout.isTTY ? '\r' : ''}${progress(sums)}: every rule held`);
  return true;
}

const progress = ({ runs, ios, seconds }: Sums): string =>
  `${runs} simulations, ${ios} I/Os, ${Math.round(seconds)} simulated seconds`;

/** One seed with its whole trace. */
function trace(seed: number, overrides: Overrides): boolean {
  const plan = planOf(seed, overrides);
  console.log(`seed ${seedText(seed)}: ${planText(plan)}`);
  const { failure, hash } = simulate(plan, (line) => console.log(line));
  console.log(
    failure === undefined ? `every rule held; trace ${hash}` : `breaks ${failure.rule}: ${failure.text}`,
  );
  return failure === undefined;
}

function hashes(runs: number): boolean {
  console.log(`${runs} seeds: ${hashSeeds(runs)}`);
  return true;
}

function bench(): boolean {
  const start = cpuSeconds();
  const sums: Sums = { runs: 0, ios: 0, seconds: 0 };
  // The first ones are compiled while they run.
  for (let seed = 1; seed <= 50; seed++) simulate(planOf(seed, NOTHING));
  const warm = cpuSeconds();
  for (let seed = 1; seed <= BENCH_RUNS; seed++) if (!runSeed(seed, NOTHING, sums)) return false;
  const spent = cpuSeconds() - warm;
  console.log(
    `warm-up ${(warm - start).toFixed(1)} s; ${progress(sums)} in ${spent.toFixed(1)} s of one core`,
  );
  console.log(`${Math.round((sums.runs / spent) * 60)} simulations a minute`);
  console.log(`${Math.round(sums.seconds / spent)} simulated seconds a second`);
  return true;
}

async function mutations(only: string | undefined, table: string | undefined): Promise<boolean> {
  const found = [];
  for (const mutation of MUTATIONS.filter(({ name }) => only === undefined || name.includes(only))) {
    const result = await hunt(mutation, ROOT, DIST, 1, HUNT_SECONDS);
    found.push(result);
    const how = result.seed === undefined ? 'NOT FOUND' : `${result.rule}, seed ${seedText(result.seed)}`;
    console.log(`${mutation.name}: ${how}, ${result.runs} runs, ${result.seconds.toFixed(1)} s`);
  }
  if (table !== undefined) {
    const [start, end] = ['<!-- mutations -->', '<!-- end -->'];
    const text = readFileSync(table, 'utf8');
    const [before = '', rest = ''] = text.split(start);
    writeFileSync(table, `${before}${start}\n\n${foundTable(found)}\n\n${end}${rest.split(end)[1] ?? ''}`);
  }
  return found.every(({ seed }) => seed !== undefined);
}

/** Goes on where the last one stopped, until it is told to stop. */
function soak(file: string, runs: number): boolean {
  let state = { next: 1, ios: 0, seconds: 0, failed: [] as number[] };
  try {
    if (existsSync(file)) state = JSON.parse(readFileSync(file, 'utf8')) as typeof state;
  } catch (error) {
    throw new UsageError(`--soak ${file}: ${(error as Error).message}`);
  }
  const last = state.next + runs;
  const sums: Sums = { runs: 0, ios: state.ios, seconds: state.seconds };
  console.log(`soak from seed ${seedText(state.next)}, into ${file}`);
  for (let saved = 0; state.next < last; state.next++) {
    if (!runSeed(state.next, NOTHING, sums)) state.failed.push(state.next);
    state.ios = sums.ios;
    state.seconds = sums.seconds;
    if (performance.now() - saved < 2000 && state.next < last - 1) continue;
    saved = performance.now();
    writeFileSync(file, `${JSON.stringify({ ...state, next: state.next + 1 }, undefined, 2)}\n`);
    const line = `${state.next} seeds, ${sums.ios} I/Os, ${Math.round(sums.seconds)} simulated seconds, ${state.failed.length} failed`;
    if (process.stdout.isTTY) process.stdout.write(`\r${line} `);
    else console.log(line);
  }
  return state.failed.length === 0;
}

async function main(): Promise<boolean> {
  const values = parse();
  if (values.help) {
    process.stdout.write(HELP);
    return true;
  }
  const seed = count('seed', values.seed);
  const runs = count('runs', values.runs);
  const overrides = readOverrides(values.set, values.faults);
  if (typeof overrides === 'string') throw new UsageError(overrides);
  const hashed = count('hashes', values.hashes);
  if (hashed !== undefined) return hashes(hashed);
  if (values.bench) return bench();
  if (values.mutations) return mutations(values.only, values.table && join(process.cwd(), values.table));
  if (values.soak !== undefined) return soak(values.soak, runs ?? 2 ** 32);
  if (values.trace) return trace(seed ?? 1, overrides);
  if (values['until-failure']) return runMany(seed ?? Date.now() >>> 0, 2 ** 32, overrides);
  return runMany(seed ?? 1, runs ?? (seed === undefined ? 1000 : 1), overrides);
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`sim: ${error.message}; see --help`);
  process.exitCode = 2;
}
