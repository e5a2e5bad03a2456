/** Who takes part: servers that run for the whole time, and what is asked of them in turn. */
import { start, type Child } from './child.ts';
import type { BareInput, BareOutput } from './bare.ts';
import type { HostJob } from './host.ts';
import type { Job } from './load.ts';
import type { Measured } from './numbers.ts';
import type { Place } from './stream.ts';
import type { TargetInput, TargetOutput } from './target.ts';
import type { Row, Store, Work } from './work.ts';

/** Whom the host is asked to talk to: a responder, or our target. */
export const HOST_SUBJECTS = ['client', 'done', 'promise', 'both'] as const;
/** `client`: bare, with commands encoded beforehand; `done`, `promise`: ours at two levels; `both`: ours, to our target. */
export type HostSubject = (typeof HOST_SUBJECTS)[number];

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
  readonly #responder: Child<Place>;
  readonly #ports: BareOutput;
  readonly #places: TargetOutput;
  readonly #responds: Place;

  private constructor(
    children: readonly [Child<BareOutput>, Child<TargetOutput>, Child<Place>],
    said: readonly [BareOutput, TargetOutput, Place],
  ) {
    [this.#bare, this.#target, this.#responder] = children;
    [this.#ports, this.#places, this.#responds] = said;
  }

  /** `profile`: V8's flags for the target's process. */
  static async start(files: Readonly<Record<string, string>>, profile: readonly string[]): Promise<Servers> {
    const input: BareInput & TargetInput = { files };
    const bare = start<BareOutput>('server', 'bare', input);
    const target = start<TargetOutput>('server', 'target', input, profile);
    const responder = start<Place>('server', 'responder', {});
    const said = await Promise.all([bare.said, target.said, responder.said]);
    return new Servers([bare, target, responder], said);
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

  /** The responder knows no digests. */
  hostSubjects({ digests }: Work): HostSubject[] {
    return HOST_SUBJECTS.filter((subject) => !digests || subject === 'both');
  }

  async measureHost(subject: HostSubject, work: Work, timing: Timing): Promise<Measured> {
    const target = { place: this.#places['memory']!, server: this.#target.pid };
    const responder = { place: this.#responds, server: this.#responder.pid };
    const where = subject === 'both' ? target : responder;
    if (subject === 'client') {
      const job: Job = { ...where, works: [work], ...timing };
      return (await start<Measured[]>('client', 'load', job).said)[0]!;
    }
    const level = subject === 'promise' ? 'promise' : 'done';
    const job: HostJob = { ...where, work, level, ...timing };
    return (await start<Measured[]>('client', 'host', job).said)[0]!;
  }

  /** Several kinds of work on the target at once. */
  async together(store: Store, works: Job['works'], timing: Timing): Promise<Measured[]> {
    const { place, pid } = this.#server('target', store);
    // A client each, so that none of them waits for another's work.
    const jobs = works.map((work): Job => ({ place, works: [work], server: pid, ...timing }));
    const said = await Promise.all(jobs.map((job) => start<Measured[]>('client', 'load', job).said));
    return said.flat();
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
    this.#responder.process.kill();
  }
}
