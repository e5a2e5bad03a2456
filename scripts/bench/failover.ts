/**
 * The host while a path is lost, a process of its own: `failover.js JOB`. A head has two paths, both in use; something
 * happens to the first one, again and again. What is measured is the time from the moment that the host knows that the
 * path is dead (its class changes; for writes that are held, the moment that the old association is known dead on the
 * target) until the commands that were on it are sent by the other path and answered. Beside them an I/O of another
 * head on the second port goes on.
 */
import type { Association } from '../../src/initiator/association.ts';
import type { ControllerOptions } from '../../src/initiator/controller-options.ts';
import type { WriteFailover } from '../../src/initiator/failover.ts';
import type { Head } from '../../src/initiator/head.ts';
import { Io, type IoOwner } from '../../src/initiator/io.ts';
import type { Limits } from '../../src/initiator/limits.ts';
import type { Path } from '../../src/initiator/path.ts';
import { Registry } from '../../src/initiator/registry.ts';
import { nodeEnv } from '../../src/runtime/node/env.ts';
import type { Net, Transport } from '../../src/runtime/ports.ts';
import { type Child, say, start, wait } from './child.ts';
import { Latencies } from './numbers.ts';
import type { Deed, TwoPorts } from './two-ports.ts';
import { BLOCK } from './work.ts';

export interface FailoverCase {
  readonly name: string;
  readonly kind: 'read' | 'write';
  readonly writeFailover: WriteFailover;
  readonly break: Deed;
  /** How the path comes back, if not by itself. */
  readonly mend?: Deed | undefined;
  /** From where it counts: the path is lost; or the target is known to be through with it. */
  readonly from: 'lost' | 'freed';
  /** Keep Alive Timeout, ms; 0: none. */
  readonly kato: number;
  readonly limits?: Partial<Limits> | undefined;
}

export interface FailoverJob {
  readonly cases: readonly { readonly each: FailoverCase; readonly repeat: number }[];
}

/** Microseconds. */
export interface Distribution {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface FailoverResult {
  readonly name: string;
  readonly repeat: number;
  /** Until the host knows, ms. */
  readonly detection: Distribution;
  /** Turns of the event loop until the first command is with the other path's socket: the most, and times. */
  readonly turns: number | undefined;
  readonly sent: Distribution;
  /** Until the first command, and the last of those that were on the path, is answered. */
  readonly first: Distribution;
  readonly last: Distribution;
  /** Commands of the same head on the second path while nothing happens. */
  readonly trip: Distribution;
  /** The other head's commands while nothing happens, and from the event to the last answer. */
  readonly calm: Distribution;
  readonly beside: Distribution;
}

const ASKERS = 8;
const QUEUE = 128;
const UUID = '00000000-0000-4000-8000-00000000fa11';
const HOST = { hostnqn: `nqn.2014-08.org.nvmexpress:uuid:${UUID}`, hostid: UUID };
/** Nothing takes longer. */
const PATIENCE = 20_000;

const now = (): number => performance.now();
/** Turns of the event loop so far. */
const loops = (): number => performance.nodeTiming.uvMetricsInfo.loopCount;

function distribution(values: readonly number[]): Distribution {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? 0 };
}

const ofLatencies = (latencies: Latencies): Distribution => ({
  p50: latencies.percentile(50),
  p99: latencies.percentile(99),
  max: latencies.percentile(100),
});

/** Asks for a block again and again. */
class Asker implements IoOwner {
  readonly head: Head;
  readonly #kind: 'read' | 'write';
  readonly #blocks: number;
  readonly #over: (asker: Asker, microseconds: number) => void;
  readonly #buffers = [new Uint8Array(BLOCK).fill(3)];
  #random: number;
  #started = 0;
  stopped = false;
  io: Io | undefined = undefined;
  /** The way that its command took first. */
  path: Path | undefined = undefined;

  constructor(
    head: Head,
    kind: 'read' | 'write',
    blocks: number,
    seed: number,
    over: (asker: Asker, microseconds: number) => void,
  ) {
    this.head = head;
    this.#kind = kind;
    this.#blocks = blocks;
    this.#random = seed;
    this.#over = over;
  }

  ask(): void {
    this.#random = (Math.imul(this.#random, 1103515245) + 12345) >>> 0;
    this.#started = now();
    const slba = (this.#random >>> 8) % this.#blocks;
    const io = new Io(this, this.#kind, { slba, blocks: 1, buffers: this.#buffers });
    this.io = io;
    this.head.submit(io);
    this.path = io.running[0]?.path;
  }

  ioDone(io: Io): void {
    if (io.status !== 0) throw new Error(`${io.kind} ended with status ${io.status.toString(16)}h`);
    this.#over(this, (now() - this.#started) * 1000);
    if (!this.stopped) this.ask();
  }
}

/** One event, from what is done to the target to the last answer. */
class Event {
  readonly began = now();
  lost: number | undefined = undefined;
  /** From where it counts. */
  from: number | undefined = undefined;
  #loops = 0;
  /** Commands that were on the path. */
  readonly victims = new Set<Asker>();
  /** The first of them was handed to the other path; then its socket. */
  resubmitted = false;
  sent: number | undefined = undefined;
  turns = 0;
  first: number | undefined = undefined;
  last = 0;

  /** The path is lost. */
  losePath(path: Path, askers: readonly Asker[]): void {
    if (this.lost !== undefined) return;
    this.lost = now();
    for (const asker of askers) if (asker.path === path) this.victims.add(asker);
  }

  /** It counts from now on, or from `at` on. */
  count(at?: number): void {
    if (this.from !== undefined) return;
    this.from = at ?? now();
    this.#loops = at === undefined ? loops() : NaN;
  }

  /** Commands of these I/Os are handed to the other path. */
  resubmit(owner: unknown): void {
    if (this.from === undefined || this.resubmitted) return;
    for (const { io } of this.victims) this.resubmitted ||= io === owner;
  }

  /** Something is written to the other path's socket. */
  written(): void {
    if (!this.resubmitted || this.sent !== undefined) return;
    this.sent = now();
    this.turns = loops() - this.#loops;
  }

  answered(asker: Asker): void {
    if (!this.victims.delete(asker)) return;
    this.first ??= now();
    this.last = now();
  }
}

class Rig {
  readonly #target: Child<TwoPorts>;
  readonly #places: TwoPorts;
  readonly #each: FailoverCase;
  readonly #registry: Registry;
  readonly #other: Registry;
  #event: Event | undefined = undefined;
  readonly #trip = new Latencies();
  readonly #calm = new Latencies();
  readonly #beside = new Latencies();

  constructor(target: Child<TwoPorts>, places: TwoPorts, each: FailoverCase) {
    this.#target = target;
    this.#places = places;
    this.#each = each;
    const env = nodeEnv();
    const limits = { ioTimeout: PATIENCE, ...each.limits };
    this.#registry = new Registry({ ...env, net: this.#watched(env.net) }, limits);
    this.#other = new Registry(env);
  }

  /** Tells when something is written to the second port. */
  #watched(net: Net): Net {
    const watch = (transport: Transport): void => {
      const write = transport.write.bind(transport);
      transport.write = (parts, done) => {
        this.#event?.written();
        write(parts, done);
      };
    };
    return {
      listen: (at, accept, done) => net.listen(at, accept, done),
      connect: (options, done) =>
        net.connect(options, (error, transport) => {
          if (transport !== undefined && options.to.port === this.#places.ports[1]) watch(transport);
          done(error, transport);
        }),
    };
  }

  #options(nqn: string, port: number): ControllerOptions {
    return {
      address: { host: '127.0.0.1', port },
      localHost: undefined,
      subnqn: nqn,
      ...HOST,
      ioQueues: 1,
      queueEntries: QUEUE,
      kato: this.#each.kato,
      headerDigest: false,
      dataDigest: false,
      disableSqFlow: true,
      recovery: { reconnectDelay: 10 },
      heads: { iopolicy: 'round-robin', writeFailover: this.#each.writeFailover },
    };
  }

  #connect(registry: Registry, nqn: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      registry.connect(this.#options(nqn, port), (reason) => {
        if (reason === undefined) resolve();
        else reject(new Error(reason.message));
      });
    });
  }

  async run(repeat: number): Promise<FailoverResult> {
    const { ports, nqns, blocks } = this.#places;
    const { kind, name } = this.#each;
    for (const port of ports) await this.#connect(this.#registry, nqns[0], port);
    await this.#connect(this.#other, nqns[1], ports[1]);
    const head = [...this.#registry.subsystems][0]!.heads[0]!;
    const [path, second] = ports.map((port) =>
      head.paths.find(({ controller }) => controller.options.address.port === port)!,
    );
    await until(() => path!.usable && second!.usable);
    const askers: Asker[] = [];
    this.#watch(path!, second!, askers);
    for (let i = 0; i < ASKERS; i++)
      askers.push(
        new Asker(head, kind, blocks, 4711 * i, (asker, time) => {
          if (this.#event === undefined) {
            if (asker.path === second) this.#trip.add(time);
          } else this.#event.answered(asker);
        }),
      );
    const otherHead = [...this.#other.subsystems][0]!.heads[0]!;
    const beside = new Asker(otherHead, 'read', blocks, 99, (_, time) => {
      (this.#event === undefined ? this.#calm : this.#beside).add(time);
    });
    for (const asker of [...askers, beside]) asker.ask();
    await wait(200);
    this.#trip.clear();
    this.#calm.clear();
    const events: Event[] = [];
    for (let i = 0; events.length < repeat; i++) {
      await wait(20 + (i % 7));
      const event = await this.#lose(path!);
      if (event !== undefined) events.push(event);
    }
    for (const asker of [...askers, beside]) asker.stopped = true;
    await wait(20);
    for (const registry of [this.#registry, this.#other])
      await new Promise<void>((resolve) => {
        registry.stop(resolve);
      });
    const times = (of: (event: Event) => number): Distribution => distribution(events.map(of));
    const turns = Math.max(...events.map((event) => event.turns));
    return {
      name,
      repeat,
      detection: times(({ lost, began }) => lost! - began),
      turns: Number.isNaN(turns) ? undefined : turns,
      sent: times(({ sent, from }) => (sent! - from!) * 1000),
      first: times(({ first, from }) => (first! - from!) * 1000),
      last: times(({ last, from }) => (last - from!) * 1000),
      trip: ofLatencies(this.#trip),
      calm: ofLatencies(this.#calm),
      beside: ofLatencies(this.#beside),
    };
  }

  /** Looks for the moments that count. */
  #watch(path: Path, second: Path, askers: readonly Asker[]): void {
    const submit = second.submit.bind(second);
    second.submit = (request) => {
      this.#event?.resubmit(request.owner);
      return submit(request);
    };
    const { from } = this.#each;
    let dying: Association | undefined;
    this.#registry.journal.listen(({ kind, name, what }) => {
      const event = this.#event;
      if (event === undefined) return;
      if (kind === 'path changed' && name === path.name && !path.usable) {
        event.losePath(path, askers);
        dying = path.controller.association;
        if (from === 'lost') event.count();
      }
      const over =
        kind === 'controller state' && name === path.controller.name && what.startsWith('connecting');
      if (from === 'freed' && over && dying !== undefined) event.count(dying.dead ? undefined : dying.deadAt);
    });
  }

  /** Undefined: no command was on the path just then. */
  async #lose(path: Path): Promise<Event | undefined> {
    const event = new Event();
    this.#event = event;
    this.#target.process.send(this.#each.break);
    await until(() => event.lost !== undefined && event.victims.size === 0);
    this.#event = undefined;
    if (this.#each.mend !== undefined) this.#target.process.send(this.#each.mend);
    await until(() => path.usable);
    return event.first === undefined ? undefined : event;
  }
}

async function until(condition: () => boolean): Promise<void> {
  const end = now() + PATIENCE;
  while (!condition()) {
    if (now() > end) throw new Error('waited in vain');
    await wait(1);
  }
}

async function main({ cases }: FailoverJob): Promise<void> {
  const target = start<TwoPorts>('server', 'two-ports', {});
  const places = await target.said;
  const results: FailoverResult[] = [];
  for (const { each, repeat } of cases) results.push(await new Rig(target, places, each).run(repeat));
  target.process.kill();
  say(results);
  process.exit(0);
}
await main(JSON.parse(process.argv[2]!) as FailoverJob);
