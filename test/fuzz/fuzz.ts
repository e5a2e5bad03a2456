/**
 * `npm run fuzz`: throws changed and random input at everything that reads what a peer sent. What comes of it must be a
 * valid value or the error that is declared for it (ProtocolFault, DecodeError).
 */
import { parseArgs } from 'node:util';
import { Dice } from './random.ts';
import { SUBJECTS, type Subject } from './subjects.ts';

const HELP = `npm run fuzz -- [options]

Throws changed and random input at everything that reads what a peer sent. What breaks it is printed, with the seed that
brings it back.

  --seconds N    as long (60)
  --runs N       at most as many cases
  --seed N       of the first case (the time)
  --only NAME    one of: ${[...new Set(SUBJECTS.map(({ name }) => name))].join(', ')}

  npm run fuzz -- --seconds 600

Exit code: 0, nothing was found; 1, something was; 2, wrong options.
`;

interface Failure {
  readonly subject: Subject;
  readonly seed: number;
  readonly input: Uint8Array;
  readonly error: unknown;
}

/** One case: the seed says which subject and what input. */
function runCase(seed: number, subjects: readonly Subject[]): Failure | undefined {
  const dice = new Dice(seed);
  const subject = dice.pick(subjects);
  let input = new Uint8Array(0);
  try {
    subject.run(dice, (given) => {
      input = given.slice();
    });
    return undefined;
  } catch (error) {
    return { subject, seed, input, error };
  }
}

const options = () =>
  parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string' },
      runs: { type: 'string' },
      only: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  }).values;

function main(): number {
  let values: ReturnType<typeof options>;
  try {
    values = options();
  } catch (error) {
    console.error(`fuzz: ${(error as Error).message}; see --help`);
    return 2;
  }
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const first = values.seed === undefined ? Date.now() >>> 0 : Number(values.seed) >>> 0;
  const runs = values.runs === undefined ? Infinity : Number(values.runs);
  const end = performance.now() + Number(values.seconds) * 1000;
  const subjects = SUBJECTS.filter(({ name }) => values.only === undefined || name === values.only);
  if (subjects.length === 0 || !(end > 0) || !(runs > 0)) {
    console.error('fuzz: --seconds and --runs are numbers, --only a name that --help lists');
    return 2;
  }
  console.log(`seed ${first}`);
  let told = performance.now();
  let done = 0;
  for (; done < runs && (done % 64 !== 0 || performance.now() < end); done++) {
    const failure = runCase((first + done) >>> 0, subjects);
    if (failure !== undefined) {
      const only = values.only === undefined ? '' : ` --only '${values.only}'`;
      console.error(`\n${failure.subject.name}: after ${done} cases`);
      console.error(failure.error);
      console.error(`input ${Buffer.from(failure.input).toString('hex')}`);
      console.error(`again: npm run fuzz -- --seed ${failure.seed} --runs 1${only}`);
      return 1;
    }
    if (done % 64 === 0 && performance.now() - told >= 1000) {
      told = performance.now();
      if (process.stdout.isTTY)
        process.stdout.write(`\r${done} cases, ${Math.max(0, Math.round((end - told) / 1000))} s to go `);
    }
  }
  console.log(`${process.stdout.isTTY ? '\r' : ''}${done} cases, nothing found          `);
  return 0;
}

process.exitCode = main();
