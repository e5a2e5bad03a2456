/**
 * What a command costs in the target's own code: no socket, no file, only what was received and what is handed over to
 * be sent. Processor time, so that what else runs on the machine counts little: for profiles, for what a change gains,
 * and for what many namespaces or connections cost.
 *
 *     node dist/scripts/bench/core.js [--kind randread|randwrite] [--depth 32] [--namespaces 1] [--connections 1]
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { nodeEnv } from '../../src/runtime/node/env.ts';
import type { Net, Transport, TransportEvents } from '../../src/runtime/ports.ts';
import { Target } from '../../src/target/target.ts';
import { Commands, Encoded, connectCapsule, enableCapsule, icReq } from './encoded.ts';
import { median } from './numbers.ts';
import { BLOCK, SIZE, type Kind } from './work.ts';

const NQN = 'nqn.2014-08.org.nvmexpress:bench-core';
const ADDRESS = { host: '127.0.0.1', port: 4420 };

/** A socket that takes everything at once, and says so a little later. */
class Taker implements Transport {
  readonly local = ADDRESS;
  readonly remote = { host: '127.0.0.1', port: 50_000 };
  readonly readsPayload = false;
  events: TransportEvents | undefined = undefined;
  /** The last part that was handed over. */
  last: Uint8Array = new Uint8Array(0);
  taken = 0;
  #dones: (() => void)[] = [];

  start(events: TransportEvents): void {
    this.events = events;
  }
  write(parts: readonly Uint8Array[], done: () => void): void {
    this.last = parts.at(-1)!;
    for (const { length } of parts) this.taken += length;
    this.#dones.push(done);
  }
  /** The system gives `chunk`, and has taken what came of it. */
  receive(chunk: Uint8Array): void {
    this.events!.data(chunk);
    const dones = this.#dones;
    this.#dones = [];
    for (const done of dones) done();
  }
  pause(): void {}
  resume(): void {}
  end(): void {}
  close(): void {}
  reset(): void {}
}

export interface CoreOptions {
  readonly kind: Kind;
  readonly depth: number;
  readonly namespaces: number;
  readonly connections: number;
  readonly digests: boolean;
  readonly seconds: number;
}

/** Microseconds of processor time for one command. */
export async function core({
  kind,
  depth,
  namespaces,
  connections,
  digests,
  seconds,
}: CoreOptions): Promise<number> {
  let accept: (transport: Transport) => void = () => undefined;
  const net: Net = {
    listen: (_at, accepted, done) => {
      accept = accepted;
      done(undefined, { address: ADDRESS, close: (closed) => closed() });
    },
    connect: () => ({ cancel: () => undefined }),
  };
  const env = { ...nodeEnv(), net };
  const target = new Target(env, { capsuleBudget: 2 ** 40 });
  const subsystem = target.addSubsystem({ nqn: NQN, serial: 'S', model: 'bench' });
  for (let nsid = 1; nsid <= namespaces; nsid++) {
    const file = env.files.memory(SIZE / namespaces);
    const uuid = `00000000-0000-4000-8000-${String(nsid).padStart(12, '0')}`;
    target.addNamespace(subsystem, file, { nsid, uuid, blockSize: BLOCK, readOnly: false });
  }
  target.ports.listen(ADDRESS, () => undefined);
  const open = (qid: number, cntlid: number): { taker: Taker; cntlid: number } => {
    const taker = new Taker();
    accept(taker);
    taker.receive(icReq(digests));
    taker.receive(connectCapsule(NQN, qid, cntlid, depth, digests));
    const { last } = taker;
    const [low = 0, high = 0] = last.subarray(last.length - (digests ? 20 : 16));
    if (qid === 0) taker.receive(enableCapsule(digests));
    return { taker, cntlid: low + 256 * high };
  };
  const takers: Taker[] = [];
  for (let i = 0; i < connections; i++) {
    const { cntlid } = open(0, 0xffff);
    takers.push(open(1, cntlid).taker);
  }
  const work = { kind, bytes: BLOCK, depth, queues: 1, digests };
  const commands = new Commands(new Encoded(work, 12345, namespaces));
  let chunk: Uint8Array = new Uint8Array(0);
  const ignore = (): void => undefined;
  const send = (bytes: Uint8Array): void => {
    chunk = bytes;
  };
  let turn = 0;
  let done = 0;
  const run = async (ms: number): Promise<number> => {
    const [before, from] = [done, process.cpuUsage()];
    for (const end = performance.now() + ms; performance.now() < end;) {
      for (let i = 0; i < 50; i++) {
        commands.take(depth, ignore, send);
        takers[turn++ % takers.length]!.receive(chunk);
        done += depth;
        // What is answered by a file, a memory one even, is answered in the loop's next turn.
        if (kind !== 'randread') await new Promise((resolve) => setImmediate(resolve));
      }
    }
    const { user, system } = process.cpuUsage(from);
    const taken = takers.reduce((sum, taker) => sum + taker.taken, 0);
    if (taken < done * (kind === 'randread' ? BLOCK : 16))
      throw new Error(`${done} commands, ${taken} bytes`);
    return (user + system) / (done - before);
  };
  await run(500);
  const measured: number[] = [];
  for (let i = 0; i < 5; i++) measured.push(await run(seconds * 200));
  return median(measured);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      kind: { type: 'string', default: 'randread' },
      depth: { type: 'string', default: '32' },
      namespaces: { type: 'string', default: '1' },
      connections: { type: 'string', default: '1' },
      digests: { type: 'boolean', default: false },
      seconds: { type: 'string', default: '1' },
    },
  });
  const cost = await core({
    kind: values.kind as Kind,
    depth: Number(values.depth),
    namespaces: Number(values.namespaces),
    connections: Number(values.connections),
    digests: values.digests,
    seconds: Number(values.seconds),
  });
  console.log(`${cost.toFixed(3)} µs a command`);
  process.exit(0);
}
