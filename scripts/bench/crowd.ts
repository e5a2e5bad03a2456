/**
 * Many connections at once, a process of its own: `crowd.js JOB`. Asks two targets in turn, for a moment each, one that
 * has few of something and one that has many, so that what disturbs the machine disturbs both.
 */
import { controllerOptions } from '../../src/api/connect-options.ts';
import { DEFAULT_LIMITS } from '../../src/initiator/limits.ts';
import { Registry } from '../../src/initiator/registry.ts';
import { nodeEnv } from '../../src/runtime/node/env.ts';
import { say, wait } from './child.ts';
import { cpuOf } from './cpu.ts';
import { Encoded } from './encoded.ts';
import { median } from './numbers.ts';
import { type Place, Stream } from './stream.ts';
import type { Work } from './work.ts';

/**
 * `one`: the first connection keeps `depth` commands under way, the others are there; `turns`: `depth` commands to
 * each connection, one connection after the other; `all`: each keeps `depth` under way. `connect`: one more host
 * connects and goes; `host`: the same with our own host, whose processor time is what counts.
 */
export type CrowdLoad = 'one' | 'turns' | 'all' | 'connect' | 'host';

export interface Party {
  readonly place: Place;
  readonly server: number;
  /** Namespaces that are asked for in turn, and bytes of each. */
  readonly asked: number;
  readonly span: number;
  /** Each with an Admin queue and one I/O queue, of a host of its own. */
  readonly controllers: number;
}

export interface CrowdJob {
  readonly parties: readonly Party[];
  readonly load: CrowdLoad;
  readonly depth: number;
  /** Turns of each party that count, the time of one, and of one before, ms. */
  readonly windows: number;
  readonly window: number;
  readonly warmUp: number;
}

/** Of one party, a number for each window. */
export interface CrowdMeasured {
  /** Commands, or connects, per second. */
  readonly rates: readonly number[];
  /** Microseconds of processor time for each: of the target, and of this process. */
  readonly serverCpus: readonly number[];
  readonly clientCpus: readonly number[];
  /** Median, microseconds. */
  readonly p50: number;
}

interface Pair {
  readonly admin: Stream;
  readonly io: Stream;
}

async function open(party: Party, work: Work, encoded: Encoded, host: number): Promise<Pair> {
  const { place } = party;
  const admin = new Stream(place, { ...work, depth: 1 }, encoded, 0, host);
  const cntlid = await admin.open(0, 0xffff);
  await admin.identify();
  const io = new Stream(place, work, encoded, 37 * host, host);
  await io.open(1, cntlid);
  return { admin, io };
}

function close({ admin, io }: Pair): void {
  io.close();
  admin.close();
}

/** Does a party's work for a while; gives how much was done. */
interface Worker {
  run(ms: number): Promise<number>;
  readonly p50: number;
}

class Reader implements Worker {
  readonly #streams: readonly Stream[];
  readonly #load: CrowdLoad;

  constructor(streams: readonly Stream[], load: CrowdLoad) {
    this.#streams = load === 'one' ? streams.slice(0, 1) : streams;
    this.#load = load;
  }

  get p50(): number {
    return this.#streams[0]!.latencies.percentile(50);
  }

  async run(ms: number): Promise<number> {
    const before = this.#done;
    if (this.#load === 'turns') await this.#turns(ms);
    else {
      for (const stream of this.#streams) stream.run();
      await wait(ms);
      await Promise.all(this.#streams.map((stream) => stream.halt()));
    }
    return this.#done - before;
  }

  get #done(): number {
    return this.#streams.reduce((sum, { done }) => sum + done, 0);
  }

  #turns(ms: number): Promise<void> {
    const end = performance.now() + ms;
    const streams = this.#streams;
    let next = 0;
    return new Promise((resolve) => {
      const burst = (): void => {
        const stream = streams[next++ % streams.length]!;
        stream.onQuiet = performance.now() < end ? burst : resolve;
        stream.burst();
      };
      burst();
    });
  }
}

class Connector implements Worker {
  readonly #connect: () => Promise<() => Promise<void> | void>;
  readonly #times: number[] = [];

  /** `connect` gives what ends it. */
  constructor(connect: () => Promise<() => Promise<void> | void>) {
    this.#connect = connect;
  }

  get p50(): number {
    return median(this.#times);
  }

  async run(ms: number): Promise<number> {
    let done = 0;
    const end = performance.now() + ms;
    do {
      const started = performance.now();
      const leave = await this.#connect();
      this.#times.push((performance.now() - started) * 1000);
      await leave();
      done++;
    } while (performance.now() < end);
    return done;
  }
}

const UUID = '00000000-0000-4000-8000-00000000ffff';
const HOST = { hostnqn: `nqn.2014-08.org.nvmexpress:uuid:${UUID}`, hostid: UUID };

/** Our host: connected means that its namespaces are known. */
async function hostConnect({ place }: Party): Promise<() => Promise<void>> {
  const registry = new Registry(nodeEnv());
  const wanted = { traddr: '127.0.0.1', trsvcid: place.port, subnqn: place.nqn!, nr_io_queues: 1 };
  const options = controllerOptions(wanted, HOST, DEFAULT_LIMITS, 1);
  await new Promise<void>((resolve, reject) => {
    registry.connect(options, (reason) => {
      if (reason === undefined) resolve();
      else reject(new Error(reason.message));
    });
  });
  return () => new Promise((resolve) => registry.stop(resolve));
}

async function worker(party: Party, { load, depth }: CrowdJob): Promise<Worker> {
  const work: Work = { kind: 'randread', bytes: 4096, depth, queues: 1, digests: false };
  const encoded = new Encoded(work, 12345, party.asked, party.span);
  const pairs: Pair[] = [];
  for (let host = 1; host <= party.controllers; host++) pairs.push(await open(party, work, encoded, host));
  if (load === 'host') return new Connector(() => hostConnect(party));
  if (load === 'connect')
    return new Connector(async () => {
      const pair = await open(party, work, encoded, 0);
      return () => close(pair);
    });
  return new Reader(
    pairs.map(({ io }) => io),
    load,
  );
}

async function main(job: CrowdJob): Promise<void> {
  const { parties, windows, window, warmUp } = job;
  const sides = [];
  for (const party of parties)
    sides.push({
      party,
      worker: await worker(party, job),
      rates: [] as number[],
      serverCpus: [] as number[],
      clientCpus: [] as number[],
    });
  for (const { worker } of sides) await worker.run(warmUp);
  for (let i = 0; i < windows; i++)
    for (const side of i % 2 === 0 ? sides : sides.toReversed()) {
      const [started, server, client] = [performance.now(), cpuOf(side.party.server), process.cpuUsage()];
      const done = await side.worker.run(window);
      const { user, system } = process.cpuUsage(client);
      const spent = (cpuOf(side.party.server) ?? 0) - (server ?? 0);
      if (done === 0) throw new Error('nothing was answered in time');
      side.rates.push((done * 1000) / (performance.now() - started));
      side.serverCpus.push(spent / done);
      side.clientCpus.push((user + system) / done);
    }
  say(
    sides.map(({ worker, rates, serverCpus, clientCpus }): CrowdMeasured => ({
      rates,
      serverCpus,
      clientCpus,
      p50: worker.p50,
    })),
  );
  process.exit(0);
}
await main(JSON.parse(process.argv[2]!) as CrowdJob);
