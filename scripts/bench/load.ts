/** The load generator, a process of its own: `load.js JOB`. */
import { measuring, say, wait } from './child.ts';
import { cpuOf } from './cpu.ts';
import { Encoded } from './encoded.ts';
import type { Measured } from './numbers.ts';
import { type Place, Stream } from './stream.ts';
import type { Work } from './work.ts';

export interface Job {
  readonly place: Place;
  /** Several are asked for at the same time, on queues of their own. */
  readonly works: readonly Work[];
  readonly warmUp: number;
  /** Milliseconds. */
  readonly time: number;
  /** Whose processor time is counted. */
  readonly server: number;
}

async function open({ place, works }: Job): Promise<Stream[][]> {
  const admin = new Stream(place, { ...works[0]!, depth: 1 }, new Encoded(works[0]!, 0));
  const cntlid = await admin.open(0, 0xffff);
  let qid = 0;
  const all: Stream[][] = [];
  for (const work of works) {
    const streams: Stream[] = [];
    for (let i = 0; i < work.queues; i++) {
      const stream = new Stream(place, work, new Encoded(work, 12345 + 777 * qid));
      await stream.open(++qid, cntlid);
      streams.push(stream);
    }
    all.push(streams);
  }
  return all;
}

/** Percentiles are those of the first queue: all of them do the same. */
function measured(
  streams: readonly Stream[],
  seconds: number,
  server: number | undefined,
  client: number,
): Measured {
  const done = streams.reduce((sum, stream) => sum + stream.done, 0);
  if (done === 0) throw new Error('nothing was answered in time');
  const { latencies } = streams[0]!;
  return {
    rate: done / seconds,
    serverCpu: server === undefined ? undefined : server / done,
    clientCpu: client / done,
    p50: latencies.percentile(50),
    p99: latencies.percentile(99),
    p999: latencies.percentile(99.9),
  };
}

async function main(job: Job): Promise<void> {
  const all = await open(job);
  for (const stream of all.flat()) stream.run();
  await wait(job.warmUp);
  for (const stream of all.flat()) stream.clear();
  const started = performance.now();
  const [server, client] = [cpuOf(job.server), process.cpuUsage()];
  await measuring(job.time, () => all.every((streams) => streams.some(({ done }) => done > 0)));
  const seconds = (performance.now() - started) / 1000;
  const after = cpuOf(job.server);
  const { user, system } = process.cpuUsage(client);
  const spent = server === undefined || after === undefined ? undefined : after - server;
  say(all.map((streams) => measured(streams, seconds, spent, user + system)));
  process.exit(0);
}
await main(JSON.parse(process.argv[2]!) as Job);
