/** What a command that seems to hang waits for, in words on stderr: nobody is left to guess. */
import type { Why } from '../initiator/why.ts';
import { whyText } from './host-show.ts';
import { harmless } from './print.ts';

/** How often the disk is asked, ms. I/O that waits at two looks in a row is told. */
const LOOK = 1000;

/** Decides from look to look what is said. */
export class Waiting {
  #waited = false;
  #told: string | undefined;

  /** What is to be said now: something that waits is told once, and again when what is in its way has changed. */
  look(why: Why): string | undefined {
    const { requeued, held, delayed } = why.waiting;
    const waits = requeued + held + delayed > 0;
    const again = waits && this.#waited;
    this.#waited = waits;
    if (again) {
      const what = JSON.stringify([why.verdict, why.paths.map((path) => [path.why, path.reason]), held > 0]);
      if (what === this.#told) return undefined;
      this.#told = what;
      return whyText(why);
    }
    if (waits || this.#told === undefined) return undefined;
    this.#told = undefined;
    return `${why.head}: I/O goes on`;
  }
}

/** Runs `use`, and tells what the I/O of `disk` waits for meanwhile. */
export async function telling<T>(disk: { why(): Why }, use: () => Promise<T>): Promise<T> {
  const waiting = new Waiting();
  // A line that says how far a command is, gives way.
  const clear = process.stderr.isTTY ? '\r\u001b[K' : '';
  const timer = setInterval(() => {
    const text = waiting.look(disk.why());
    if (text !== undefined) process.stderr.write(`${clear}${harmless(text)}\n`);
  }, LOOK);
  try {
    return await use();
  } finally {
    clearInterval(timer);
  }
}
