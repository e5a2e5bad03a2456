/** Who takes part: servers that run for the whole time, and what is asked of them in turn. */
import { start, type Child } from './child.ts';
import type { BareInput, BareOutput } from './bare.ts';
import type { Job } from './load.ts';
import type { Measured } from './numbers.ts';
import type { Place } from './stream.ts';
import type { TargetInput, TargetOutput } from './target.ts';
import type { Row, Store } from './work.ts';

/** `socket`: the bare server from memory; `file`: the bare server with the same file; `target`: ours. */
export const SUBJECTS = ['socket', 'file', 'mapped', 'target'] as const;
export type Subject = (typeof SUBJECTS)[number];

export interface Timing {
  /** Milliseconds. */
  readonly warmUp: number;
  readonly time: number;
}

/** Where a subject of a row is, and the process that serves it. */
interface Server {
  readonly place: Place;
  readonly pid: number;
}

export class Servers {
  readonly #bare: Child<BareOutput>;
  readonly #target: Child<TargetOutput>;
  readonly #ports: BareOutput;
  readonly #places: TargetOutput;

  private constructor(
    bare: Child<BareOutput>,
    target: Child<TargetOutput>,
    ports: BareOutput,
    places: TargetOutput,
  ) {
    this.#bare = bare;
    this.#target = target;
    this.#ports = ports;
    this.#places = places;
  }

  /** `profile`: V8's flags for the target's process. */
  static async start(files: Readonly<Record<string, string>>, profile: readonly string[]): Promise<Servers> {
    const input: BareInput & TargetInput = { files };
    const bare = start<BareOutput>('server', 'bare', input);
    const target = start<TargetOutput>('server', 'target', input, profile);
    return new Servers(bare, target, await bare.said, await target.said);
  }

  /** Those that can do this row; `mapped` needs koffi, and only reads. */
  subjects({ store, work }: Row): Subject[] {
    return SUBJECTS.filter((subject) => {
      if (work.digests) return subject === 'target';
      if (subject === 'mapped')
        return work.kind.endsWith('read') && this.#ports[`${store} mapped`] !== undefined;
      return subject !== 'file' || store !== 'memory';
    });
  }

  async measure(subject: Subject, { store, work }: Row, timing: Timing): Promise<Measured> {
    const { place, pid } = this.#server(subject, store);
    const job: Job = { place, works: [work], server: pid, ...timing };
    return (await start<Measured[]>('client', 'load', job).said)[0]!;
  }

  /** Several kinds of work on the target at once. */
  async together(store: Store, works: Job['works'], timing: Timing): Promise<Measured[]> {
    const { place, pid } = this.#server('target', store);
    return start<Measured[]>('client', 'load', { place, works, server: pid, ...timing } satisfies Job).said;
  }

  #server(subject: Subject, store: Store): Server {
    if (subject === 'target') return { place: this.#places[store]!, pid: this.#target.pid };
    const port = this.#ports[subject === 'socket' ? 'memory' : `${store} ${subject}`]!;
    return { place: { port }, pid: this.#bare.pid };
  }

  stop(): void {
    // A profile is written at the end of a process that ends by itself.
    this.#target.process.kill('SIGINT');
    this.#bare.process.kill();
  }
}
