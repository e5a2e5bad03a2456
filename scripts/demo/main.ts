/** `npm run demo`: two paths to one disk, everything is done to them, and no I/O fails. */
import { parseArgs } from 'node:util';
import type { Kernel } from '../interop/kernels.ts';
import { LabError } from '../interop/tool.ts';
import { kernelNames, kernelOf, playOnLinux } from './on-linux.ts';
import { Play, type View } from './play.ts';
import { Screen } from './screen.ts';

const HELP = `npm run demo -- [options]
  A target with two ports and a host with a path to each, in this process over real sockets. Verified reads and writes
  run while a path is cut and comes back, ANA states change, and everything is removed and added again. About 30 s.
  --plain     one line for each step instead of the picture; so it is without a terminal
  --pace N    looks at each step N times as long (1)
  --linux [K] the target is that of a Linux kernel, which is booted under QEMU first: ${kernelNames.join(' or ')} (${kernelNames[0]!}).
              Debian only; what it needs is said (docs/interop.md)
  --help      this
Exit codes: 0 no I/O failed and all data was right, 1 not so, 2 wrong options, or no kernel can be booted here.

Examples: npm run demo -- --plain --pace 0.2
          npm run demo -- --linux 6.1`;

/** One step, or the end, in one line. */
const line = (view: View, what: string): string => `${view.seconds.toFixed(1).padStart(6)} s  ${what}`;

/** Plays and draws, or tells a line for each step. Rejects when it does not go as it should. */
async function show(play: Play, plain: boolean): Promise<void> {
  const screen = plain ? undefined : new Screen(process.stdout);
  const drawing = screen && setInterval(() => screen.draw(play.view), 100);
  const told: string[] = [];
  const say = (text: string): void => {
    if (plain) console.log(text);
    else told.push(text);
  };
  // The terminal is as it was, whatever ends the process.
  const leave = (): void => {
    clearInterval(drawing);
    screen?.close();
    for (const text of told.splice(0)) console.log(text);
  };
  process.once('exit', leave);
  try {
    const end = await play.run((view, operations) => {
      const paths = view.why.paths.map(({ name, is }) => `${name} ${is}`).join(', ');
      say(line(view, `${view.title} [${paths === '' ? 'no path' : paths}; ${operations} I/Os]`));
    });
    say(line(end, `ok: ${end.operations} I/Os, ${end.verified} blocks verified, ${end.failed} failed`));
  } finally {
    process.off('exit', leave);
    leave();
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** The exit code. */
async function main({ pace, plain, kernel }: Options): Promise<number> {
  try {
    if (kernel !== undefined) return (await playOnLinux(kernel, pace, (play) => show(play, plain))) ? 0 : 1;
    process.once('SIGINT', () => process.exit(130)).once('SIGTERM', () => process.exit(143));
    await show(await Play.open(pace), plain);
    return 0;
  } catch (error) {
    console.error(`failed: ${textOf(error)}`);
    return error instanceof LabError ? 2 : 1;
  }
}

interface Options {
  readonly pace: number;
  readonly plain: boolean;
  /** Whose target it is; undefined: our own. */
  readonly kernel: Kernel | undefined;
}

/** Throws an Error with what is wrong. */
function options(): Options | 'help' {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      plain: { type: 'boolean', default: false },
      pace: { type: 'string', default: '1' },
      linux: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const { plain, pace, linux, help } = values;
  if (help) return 'help';
  const [name = kernelNames[0]!, ...more] = positionals;
  if ((positionals.length > 0 && !linux) || more.length > 0)
    throw new Error(`"${positionals.at(-1) ?? ''}" is not understood`);
  const kernel = linux ? kernelOf(name) : undefined;
  if (linux && kernel === undefined)
    throw new Error(`--linux ${name}: there are ${kernelNames.join(' and ')}`);
  if (!/^\d+(\.\d+)?$/.test(pace)) throw new Error(`--pace ${pace} is not a number`);
  return { pace: Number(pace), plain: plain || !process.stdout.isTTY, kernel };
}

/** The exit code. */
async function start(): Promise<number> {
  let asked;
  try {
    asked = options();
  } catch (error) {
    console.error(`${textOf(error)}; --help says more`);
    return 2;
  }
  if (asked !== 'help') return main(asked);
  console.log(HELP);
  return 0;
}

process.exitCode = await start();
