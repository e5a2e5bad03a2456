import type { Level, Trace, TraceFields } from '../ports.ts';
import { Ring } from '../ring.ts';
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';

/** The part of a pino logger that is used. */
export type Logger = Readonly<Record<Level, (fields: object, message: string) => void>> & {
  readonly level: string;
};

const REMEMBERED = 1000;

/** Passes events to a logger, and remembers the last ones for the day when something is wrong with us. */
export class NodeTrace implements Trace {
  /** Whether events of single commands are wanted. */
  debug: boolean;
  readonly #logger: Logger | undefined;
  readonly #folder: string | undefined;
  readonly #ring = new Ring<string>(REMEMBERED);

  /** `folder`: where `dump` writes. */
  constructor(logger: Logger | undefined, folder: string | undefined) {
    this.#logger = logger;
    this.#folder = folder;
    this.debug = logger !== undefined && ['debug', 'trace'].includes(logger.level);
  }

  event(level: Level, what: string, fields: TraceFields): void {
    this.#ring.push(`${new Date().toISOString()} ${level} ${what} ${JSON.stringify(fields)}`);
    this.#logger?.[level](fields, what);
  }

  /** The last events, oldest first, one line each. */
  lines(): string[] {
    return this.#ring.items();
  }

  /** Writes the last events and `reason` into the state folder, at once; gives the file's path. */
  dump(reason: unknown): string | undefined {
    if (this.#folder === undefined) return undefined;
    const path = join(this.#folder, `trace-${process.pid}.txt`);
    const why = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason);
    writeFileSync(path, [...this.lines(), '', why, ''].join('\n'), { mode: 0o600 });
    return path;
  }

  /** From now on an assertion, or any other exception that ends the process, leaves a dump. Undone by the result. */
  dumpOnCrash(): () => void {
    const dump = (error: unknown): void => {
      try {
        const path = this.dump(error);
        if (path !== undefined) process.stderr.write(`The last events are in ${path}\n`);
      } catch {
        // The process ends with the first exception, not with this one.
      }
    };
    // The monitor only watches: the process ends as it would have.
    process.on('uncaughtExceptionMonitor', dump);
    return () => void process.off('uncaughtExceptionMonitor', dump);
  }
}
