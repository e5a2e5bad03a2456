/** `npm run demo`: two paths to one disk, everything is done to them, and no I/O fails. */
import { parseArgs } from 'node:util';
import { Play, type View } from './play.ts';
import { Screen } from './screen.ts';

const HELP = `npm run demo -- [options]
  A target with two ports and a host with a path to each, in this process over real sockets. Verified reads and writes
  run while a path is cut and comes back, ANA states change, and everything is removed and added again. About 30 s.
  --plain     one line for each step instead of the picture; so it is without a terminal
  --pace N    looks at each step N times as long (1)
  --help      this
Exit codes: 0 no I/O failed and all data was right, 1 not so, 2 wrong options.

Example: npm run demo -- --plain --pace 0.2`;

/** One step, or the end, in one line. */
const line = (view: View, what: string): string => `${view.seconds.toFixed(1).padStart(6)} s  ${what}`;

async function main(pace: number, plain: boolean): Promise<number> {
  const play = await Play.open(pace);
  const screen = plain ? undefined : new Screen(process.stdout);
  const drawing = screen && setInterval(() => screen.draw(play.view), 100);
  const told: string[] = [];
  const say = (text: string): void => {
    if (plain) console.log(text);
    else told.push(text);
  };
  const leave = (): void => {
    clearInterval(drawing);
    screen?.close();
    for (const text of told) console.log(text);
  };
  const stopped = (signal: NodeJS.Signals): void => {
    leave();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.once('SIGINT', stopped).once('SIGTERM', stopped);
  try {
    const end = await play.run((view, operations) => {
      const paths = view.why.paths.map(({ name, is }) => `${name} ${is}`).join(', ');
      say(line(view, `${view.title} [${paths === '' ? 'no path' : paths}; ${operations} I/Os]`));
    });
    say(line(end, `ok: ${end.operations} I/Os, ${end.verified} blocks verified, ${end.failed} failed`));
    leave();
    return 0;
  } catch (error) {
    leave();
    console.error(`failed: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}

function options(): { pace: number; plain: boolean } | number {
  try {
    const { values } = parseArgs({
      options: { plain: { type: 'boolean' }, pace: { type: 'string' }, help: { type: 'boolean' } },
    });
    const { plain = false, pace = '1', help } = values;
    if (help === true) {
      console.log(HELP);
      return 0;
    }
    if (!/^\d+(\.\d+)?$/.test(pace)) throw new Error(`--pace ${pace} is not a number`);
    return { pace: Number(pace), plain: plain || !process.stdout.isTTY };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}; --help says more`);
    return 2;
  }
}

const asked = options();
process.exitCode = typeof asked === 'number' ? asked : await main(asked.pace, asked.plain);
