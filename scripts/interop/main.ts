/** `npm run interop`: this package against real Linux kernels. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder, imageOf } from './image.ts';
import { findMutations } from './mutations.ts';
import { FROM_NBD, type LocalScenario, runLocal } from './local.ts';
import { type Options, USAGE, UsageError, parseOptions } from './options.ts';
import { prepareNbdTools, preparePackages } from './packages.ts';
import { type Result, Runner, sizeOf } from './runner.ts';
import type { Scenario } from './scenario.ts';
import { LOCAL_SCENARIOS, SCENARIOS } from './scenarios/index.ts';
import { LabError, run, say } from './tool.ts';

/** Compiled, this file is dist/scripts/interop/main.js. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

const CI = ['1', 'true'].includes(process.env['CI'] ?? '');

function chosen({ only, full }: Options): Scenario[] {
  const known = [...SCENARIOS, ...LOCAL_SCENARIOS];
  for (const name of only)
    if (!known.some((scenario) => scenario.name === name))
      throw new UsageError(`--only ${name}: there is no such scenario; --list shows them`);
  if (only.length > 0) return SCENARIOS.filter(({ name }) => only.includes(name));
  return SCENARIOS.filter((scenario) => full || scenario.full !== true);
}

/** Those without a kernel: all, unless something else was asked for. */
function chosenLocal({ only, kernelAsked, build, mutations }: Options): LocalScenario[] {
  if (only.length > 0) return LOCAL_SCENARIOS.filter(({ name }) => only.includes(name));
  return kernelAsked || build || mutations ? [] : [...LOCAL_SCENARIOS];
}

function list(): void {
  const width = Math.max(...[...SCENARIOS, ...LOCAL_SCENARIOS].map(({ name }) => name.length));
  for (const direction of new Set(SCENARIOS.map((scenario) => scenario.direction))) {
    say(`${direction}:`);
    for (const { name, shows, full } of SCENARIOS.filter((scenario) => scenario.direction === direction))
      say(`  ${name.padEnd(width)}  ${shows}${full === true ? ' (full set)' : ''}`);
  }
  say(`${FROM_NBD}:`);
  for (const { name, shows } of LOCAL_SCENARIOS) say(`  ${name.padEnd(width)}  ${shows}`);
}

function table(results: readonly Result[]): string {
  const rows = [
    ['scenario', 'direction', 'kernel', 'result', 'time'],
    ...results.map(({ scenario, kernel, reason, ms }) => [
      scenario.name,
      scenario.direction,
      kernel,
      reason === undefined ? 'passed' : 'FAILED',
      `${(ms / 1000).toFixed(1)} s`,
    ]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** The exit code. */
async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options.help) {
    say(USAGE);
    return 0;
  }
  if (options.list) {
    list();
    return 0;
  }
  const scenarios = chosen(options);
  const local = chosenLocal(options);
  const results: Result[] = [];
  if (local.length > 0) {
    prepareNbdTools(options.install || CI);
    const cli = join(ROOT, 'dist/src/cli/main.js');
    for (let i = 0; i < options.times; i++)
      results.push(...(await runLocal(local, cli, options.only.length > 0)));
  }
  if (scenarios.length === 0 && local.length > 0) return summary(results);
  // Nothing is skipped silently there: what is missing is installed, or this fails.
  preparePackages(options.install || CI);
  const cache = cacheFolder();
  say(run('qemu-system-x86_64', ['--version']).split('\n')[0] ?? '');
  const images = options.kernels.map((kernel) => ({
    kernel,
    image: imageOf(kernel, cache, options.rebuild),
  }));
  const bytes = sizeOf(cache);
  say(`cache: ${cache}, ${Math.round(bytes / 1e6)} MB; it may be deleted at any time`);
  if (options.build) return 0;
  if (options.mutations) {
    const args = options.kernels.flatMap(({ name }) => ['--kernel', name]);
    return findMutations(ROOT, args) ? 0 : 1;
  }

  for (let i = 0; i < options.times; i++)
    for (const { kernel, image } of images) {
      const runner = new Runner({ kernel, image, full: options.full, root: ROOT, folder: cache });
      results.push(...(await runner.run(scenarios)));
    }
  return summary(results);
}

/** Says how it went. The exit code. */
function summary(results: readonly Result[]): number {
  const failed = results.filter(({ reason }) => reason !== undefined).length;
  say(`\n${table(results)}\n`);
  say(`interop: ${results.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError || error instanceof LabError)) throw error;
  process.stderr.write(`interop: ${error.message}\n`);
  process.exitCode = 2;
}
process.exit();
