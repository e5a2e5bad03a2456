/** The host under test, a process of its own: `host.js JOB`. Reads and writes through the promises, or one level below. */
import { controllerOptions } from '../../src/api/connect-options.ts';
import { createHost } from '../../src/api/host.ts';
import type { Head } from '../../src/initiator/head.ts';
import { Io, type IoOwner } from '../../src/initiator/io.ts';
import { DEFAULT_LIMITS } from '../../src/initiator/limits.ts';
import { Registry } from '../../src/initiator/registry.ts';
import { nodeEnv } from '../../src/runtime/node/env.ts';
import { measuring, say, wait } from './child.ts';
import { cpuOf } from './cpu.ts';
import { Latencies, type Measured } from './numbers.ts';
import type { Place } from './stream.ts';
import { BLOCK, READS_OF_100, SIZE, type Work } from './work.ts';

export interface HostJob {
  readonly place: Place;
  readonly work: Work;
  /** `done`: submit and done, below the promises. */
  readonly level: 'promise' | 'done';
  readonly warmUp: number;
  /** Milliseconds. */
  readonly time: number;
  /** Whose processor time is counted. */
  readonly server: number;
}

const IDENTITY = {
  hostnqn: 'nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000004',
  hostid: '00000000-0000-4000-8000-000000000004',
};

/** What is asked for next: a write or a read, and where. */
class Choice {
  readonly #work: Work;
  readonly #places: number;
  readonly #blocks: number;
  #random = 12345;
  #next = 0;

  constructor(work: Work) {
    this.#work = work;
    this.#blocks = work.bytes / BLOCK;
    this.#places = SIZE / work.bytes;
  }

  get blocks(): number {
    return this.#blocks;
  }

  write(): boolean {
    const { kind } = this.#work;
    this.#random = (Math.imul(this.#random, 1103515245) + 12345) >>> 0;
    return kind.endsWith('write') || (kind === 'randrw' && (this.#random >>> 4) % 100 >= READS_OF_100);
  }

  slba(): number {
    const random = this.#work.kind.startsWith('rand');
    const place = random ? (this.#random >>> 8) % this.#places : this.#next++ % this.#places;
    return place * this.#blocks;
  }
}

/** Counts what is over. */
class Tally {
  readonly latencies = new Latencies();
  done = 0;
  add(started: number): void {
    this.done++;
    this.latencies.add((performance.now() - started) * 1000);
  }
  clear(): void {
    this.done = 0;
    this.latencies.clear();
  }
}

/** One of `depth`: asks again when it is answered. */
class Asker implements IoOwner {
  readonly #head: Head;
  readonly #choice: Choice;
  readonly #tally: Tally;
  readonly #buffers: readonly Uint8Array[];
  #started = 0;

  constructor(head: Head, choice: Choice, tally: Tally, bytes: number) {
    this.#head = head;
    this.#choice = choice;
    this.#tally = tally;
    this.#buffers = [new Uint8Array(bytes)];
  }

  ask(): void {
    this.#started = performance.now();
    const kind = this.#choice.write() ? 'write' : 'read';
    const { blocks } = this.#choice;
    this.#head.submit(new Io(this, kind, { slba: this.#choice.slba(), blocks, buffers: this.#buffers }));
  }

  ioDone(io: Io): void {
    if (io.status !== 0) throw new Error(`${io.kind} ended with status ${io.status.toString(16)}h`);
    this.#tally.add(this.#started);
    this.ask();
  }
}

function connectOptions({ place, work }: HostJob) {
  return {
    traddr: '127.0.0.1',
    trsvcid: place.port,
    subnqn: place.nqn!,
    nr_io_queues: work.queues,
    queue_size: Math.max(16, work.depth + 1),
    disable_sqflow: true,
    hdr_digest: work.digests,
    data_digest: work.digests,
    ...IDENTITY,
  };
}

async function byPromise(job: HostJob, tally: Tally): Promise<void> {
  const subsystem = await createHost().connect(connectOptions(job));
  const disk = subsystem.heads[0]!;
  const choice = new Choice(job.work);
  const work = async (): Promise<void> => {
    const buffer = new Uint8Array(job.work.bytes);
    for (;;) {
      const started = performance.now();
      if (choice.write()) await disk.write(choice.slba(), buffer);
      else await disk.readInto(choice.slba(), buffer);
      tally.add(started);
    }
  };
  for (let i = 0; i < job.work.depth * job.work.queues; i++)
    work().catch((error: unknown) => {
      throw error;
    });
}

async function byDone(job: HostJob, tally: Tally): Promise<void> {
  const registry = new Registry(nodeEnv());
  const options = controllerOptions(connectOptions(job), IDENTITY, DEFAULT_LIMITS, 1);
  await new Promise<void>((resolve, reject) => {
    registry.connect(options, (reason) => {
      if (reason === undefined) resolve();
      else reject(new Error(reason.message));
    });
  });
  const [subsystem] = registry.subsystems;
  const head = subsystem!.heads[0]!;
  const choice = new Choice(job.work);
  for (let i = 0; i < job.work.depth * job.work.queues; i++)
    new Asker(head, choice, tally, job.work.bytes).ask();
}

async function main(job: HostJob): Promise<void> {
  const tally = new Tally();
  await (job.level === 'done' ? byDone : byPromise)(job, tally);
  await wait(job.warmUp);
  tally.clear();
  const started = performance.now();
  const [server, client] = [cpuOf(job.server), process.cpuUsage()];
  await measuring(job.time, () => tally.done > 0);
  const seconds = (performance.now() - started) / 1000;
  const after = cpuOf(job.server);
  const { user, system } = process.cpuUsage(client);
  const { done, latencies } = tally;
  if (done === 0) throw new Error('nothing was answered in time');
  const measured: Measured = {
    rate: done / seconds,
    serverCpu: server === undefined || after === undefined ? undefined : (after - server) / done,
    clientCpu: (user + system) / done,
    p50: latencies.percentile(50),
    p99: latencies.percentile(99),
    p999: latencies.percentile(99.9),
  };
  say([measured]);
  process.exit(0);
}
await main(JSON.parse(process.argv[2]!) as HostJob);
