/** A client: keeps a few I/Os under way on the heads of its host, and tells the oracle what it asked and was told. */
import type { Connection as TargetConnection } from '../../src/target/connection.ts';
import type { Head } from '../../src/initiator/head.ts';
import { Io } from '../../src/initiator/io.ts';
import { copyCommand } from './copy.ts';
import type { HostMachine } from './host-machine.ts';
import { interrupt } from './interrupt.ts';
import { endProblem, submitProblem, watchIo } from './io-rules.ts';
import { ONE_COMMAND, type Op, type OpKind } from './oracle.ts';
import type { Plan } from './plan.ts';
import { controllerOf, drawProtection, lookAtProtection, setProtection } from './protect.ts';
import type { SimRandom } from './random.ts';
import { drawAction, drawPersistence, persist, reserve } from './reserve.ts';
import { swap, swapQueue } from './swap.ts';
import { verifyCommand } from './verify.ts';
import type { NamespaceState } from './target-machine.ts';
import type { Wire } from './wire.ts';
import type { World } from './world.ts';

/** A client that finds no disk so often gives up one I/O of its plan. */
const PATIENCE = 20;

/** Actions on the reservations of one namespace at once. */
const ACTIONS = 4;
/** Changes of its write protection at once. */
const PROTECTIONS = 3;

/** What a client puts into buffers that it got back. */
export const SCRIBBLE = 0xa5;

/** An I/O under way. */
export interface Outstanding {
  readonly op: Op;
  readonly io: Pick<Io, 'running'>;
  readonly client: string;
  readonly namespace: NamespaceState;
}

export class Client {
  readonly world: World;
  readonly name: string;
  readonly host: HostMachine;
  readonly #plan: Plan;
  readonly #random: SimRandom;
  /** What came later has dice of its own: older seeds keep their meaning. */
  readonly #verifyDice: SimRandom;
  readonly #interruptDice: SimRandom;
  readonly #protectDice: SimRandom;
  readonly #persistDice: SimRandom;
  /** I/Os that are not begun yet, and loops that still run. */
  #left: number;
  running = 0;
  #misses = 0;

  constructor(world: World, name: string, host: HostMachine, ios: number, plan: Plan) {
    this.world = world;
    this.name = name;
    this.host = host;
    this.#plan = plan;
    this.#random = world.random.fork(name);
    this.#verifyDice = world.random.fork(`${name} verify`);
    this.#interruptDice = world.random.fork(`${name} interrupt`);
    this.#protectDice = world.random.fork(`${name} protect`);
    this.#persistDice = world.random.fork(`${name} persist`);
    this.#left = ios;
  }

  start(): void {
    for (let i = 0; i < this.#plan.depth; i++) {
      this.running++;
      this.#later(0);
    }
  }

  /** The next I/O of one loop comes after a while that makes the traffic as long as planned. */
  #later(more: number): void {
    const { clients, depth, ios, duration } = this.#plan;
    const think = Math.floor((duration * 1000 * clients * depth) / ios);
    this.world.clock.after(`${this.name} thinks`, more + this.#random.below(2 * think + 1), () =>
      this.#next(),
    );
  }

  #next(): void {
    if (this.#left <= 0) {
      this.running--;
      return;
    }
    const namespace = this.#random.pick(this.world.namespaces);
    const head = this.host.head(namespace.plan.nqn, namespace.plan.nsid);
    if (head === undefined || head.blocks === 0) {
      if (++this.#misses % PATIENCE === 0) this.#left--;
      this.#later(50_000);
      return;
    }
    this.#left--;
    if (this.#random.oneIn(this.#plan.swapOneIn) && this.#swap(namespace, head)) return;
    if (this.#random.oneIn(this.#plan.reserveOneIn) && this.#reserve(namespace, head)) return;
    const size = Math.min(head.blocks, namespace.oracle.blocks);
    if (this.#verifyDice.oneIn(this.#plan.verifyOneIn)) {
      this.#verify(namespace, head, size);
      return;
    }
    if (this.#wantsProtection(namespace) && this.#protect(namespace, head)) return;
    if (this.#interruptDice.oneIn(this.#plan.interruptOneIn) && this.#interrupt(namespace, head)) return;
    if (this.#random.oneIn(this.#plan.copyOneIn) && this.#copy(namespace, head, size)) return;
    const kind = this.#kind();
    const blocks = kind === 'flush' ? 0 : 1 + this.#random.below(Math.min(size, this.#plan.ioBlocks));
    const slba = kind === 'flush' ? 0 : this.#random.below(size - blocks + 1);
    const fua = (kind === 'write' || kind === 'zeroes') && this.#random.oneIn(this.#plan.fuaOneIn);
    this.#submit(namespace, head, { kind, slba, blocks, fua });
  }

  /** One or two ranges, to a place that they do not cover; false: there is none. */
  #copy(namespace: NamespaceState, head: Head, size: number): boolean {
    const random = this.#random;
    const blocks = 1 + random.below(Math.min(size >> 1, this.#plan.ioBlocks));
    const slba = random.below(size - blocks + 1);
    const first = random.below(size - blocks + 1);
    const split = 1 + random.below(blocks);
    const second = random.below(size - blocks + 1);
    const from = Array.from({ length: blocks }, (_, i) => (i < split ? first : second) + i);
    const fua = random.oneIn(this.#plan.fuaOneIn);
    if (from.some((block) => block >= slba && block < slba + blocks)) return false;
    this.#submit(namespace, head, { kind: 'copy', slba, blocks, fua, from });
    return true;
  }

  /** Of any length; now and then past the end. */
  #verify(namespace: NamespaceState, head: Head, size: number): void {
    const dice = this.#verifyDice;
    const past = dice.oneIn(6);
    const blocks =
      1 + dice.below(Math.min(size, this.#plan.ioBlocks, ONE_COMMAND / namespace.plan.blockSize));
    const slba = past ? namespace.oracle.blocks + 1 - blocks + dice.below(4) : dice.below(size - blocks + 1);
    const fua = dice.oneIn(this.#plan.fuaOneIn);
    this.#submit(namespace, head, { kind: 'verify', slba, blocks, fua });
  }

  /** What is protected is so for a few I/Os. */
  #wantsProtection({ protection }: NamespaceState): boolean {
    const { protectOneIn } = this.#plan;
    return this.#protectDice.oneIn(protection.some === 0 ? protectOneIn : Math.min(protectOneIn, 4));
  }

  #protect(namespace: NamespaceState, head: Head): boolean {
    const controller = controllerOf(head);
    if (controller === undefined || namespace.protection.pending >= PROTECTIONS) return false;
    const to = drawProtection(this.#protectDice, namespace.protection.some);
    const asker = { world: this.world, client: this.name, host: this.host, namespace, controller };
    const ended = (status: number): void => this.#later(status === 0 ? 0 : 20_000);
    if (to === 'look') lookAtProtection(asker, ended);
    else setProtection(asker, to, ended);
    return true;
  }

  #interrupt(namespace: NamespaceState, head: Head): boolean {
    return interrupt(this.world, this.name, this.host, namespace, head, this.#interruptDice, (status) =>
      this.#later(status === 0 ? 0 : 20_000),
    );
  }

  /** On one of a few blocks, so that they meet; false: no path takes it now. */
  #swap(namespace: NamespaceState, head: Head): boolean {
    const queue = swapQueue(head);
    if (queue === undefined) return false;
    swap(this.world, this.name, queue, {
      namespace,
      hostid: this.host.hostid,
      slba: this.#random.below(Math.min(2, head.blocks, namespace.oracle.blocks)),
      only: this.#random.oneIn(4),
      timeout: head.limits.ioTimeout,
      excuses: () => this.host.excuses(this.world.machineOf(namespace)),
      ended: (status) => this.#later(status === 0 ? 0 : 20_000),
    });
    return true;
  }

  /** A few at once, as every order of them is thought through; false: there are that many. */
  #reserve(namespace: NamespaceState, head: Head): boolean {
    if (namespace.reservations.pending.size >= ACTIONS) return false;
    const { world, host } = this;
    const ended = (): void => this.#later(0);
    const controller = this.#persistDice.oneIn(this.#plan.persistOneIn) ? controllerOf(head) : undefined;
    if (controller !== undefined) {
      const wanted = drawPersistence(this.#persistDice);
      persist(world, this.name, host, namespace, controller, wanted, ended);
      return true;
    }
    const action = drawAction(this.#random, host.number, host.hostid, namespace.reservations.some);
    reserve(world, this.name, host, namespace, head, action, ended);
    return true;
  }

  #kind(): OpKind {
    const { flushOneIn, eraseOneIn } = this.#plan;
    if (this.#random.oneIn(flushOneIn)) return 'flush';
    if (this.#random.oneIn(eraseOneIn)) return this.#random.pick(['zeroes', 'deallocate']);
    return this.#random.oneIn(2) ? 'read' : 'write';
  }

  #submit(namespace: NamespaceState, head: Head, what: Wanted): void {
    const io = submitIo(this.world, this.name, this.host, namespace, head, what, (op, ended) => {
      const excuses = this.host.excuses(this.world.machineOf(namespace));
      namespace.oracle.end(op, ended.status, this.world.clock.micros, excuses, ended.abandoned);
      this.#later(ended.status === 0 ? 0 : 20_000);
    });
    if (!io.over && this.#random.oneIn(this.#plan.abandonOneIn)) {
      const micros = this.#random.below(20_000);
      this.world.clock.after(`${this.name} gives up`, micros, () => io.abandon());
    }
  }
}

/** An I/O that a client wants; `from`: as in `Op`. */
export interface Wanted {
  readonly kind: OpKind;
  readonly slba: number;
  readonly blocks: number;
  readonly fua: boolean;
  readonly from?: readonly number[] | undefined;
}

/** Sends one I/O and has the oracle know of it; `ended` is called once. */
export function submitIo(
  world: World,
  client: string,
  host: HostMachine,
  namespace: NamespaceState,
  head: Head,
  what: Wanted,
  ended: (op: Op, io: Io) => void,
): Io {
  const { kind, slba, blocks, fua, from } = what;
  const id = world.nextOp();
  const op = namespace.oracle.begin(id, kind, slba, blocks, fua, world.clock.micros, from);
  world.trace.note(`${kind} begins #${id} ${namespace.oracle.name}`, client, slba, blocks);
  let calls = 0;
  const done = (): void => {
    if (++calls > 1) {
      world.violation('ONCE', `${kind} #${id} of ${client} ended twice`, [client, `#${id} `]);
      return;
    }
    const early = endProblem(io);
    if (early !== undefined) world.violation('HEAD.6', `${kind} #${id} ${early}`, [`#${id} `]);
    world.outstanding.delete(outstanding);
    op.sent = io.sent;
    op.ways = wires.size;
    op.commands = sent();
    world.trace.note(`${kind} ends #${id} ${namespace.oracle.name}`, client, io.status);
    ended(op, io);
    // The buffers are the client's again: whoever still sends from them, or reads into them, is found out.
    op.data.fill(SCRIBBLE);
    if (kind === 'read') world.returned.push(op);
  };
  const raw = rawOf(what);
  namespace.reservations.watch(op, host.hostid);
  namespace.protection.watch(op);
  const io: Io = new Io({ ioDone: done }, kind === 'copy' || kind === 'verify' ? 'command' : kind, {
    command: raw?.command,
    slba,
    blocks,
    fua,
    // A read lands in two buffers, as a caller's list of them may be.
    buffers: raw
      ? [raw.data]
      : [op.data.subarray(0, 512), op.data.subarray(512)].filter(({ length }) => length > 0),
    ranges: kind === 'deallocate' ? [{ slba, blocks }] : [],
    deallocate: kind === 'zeroes' && id % 2 === 0,
  });
  const outstanding: Outstanding = { op, io, client, namespace };
  world.outstanding.add(outstanding);
  const { wires, repeats, sent } = watchWires(world, io);
  watchIo(world, io, `#${id}`);
  head.submit(io);
  const problem = submitProblem(io);
  if (problem !== undefined) world.violation('QUIESCE.1', `${kind} #${id} is ${problem}`, [`#${id} `]);
  const { change } = op;
  if (change !== undefined) {
    change.over = () => calls > 0 && [...wires].every(isOver);
    change.repeats = repeats;
  }
  return io;
}

const NO_DATA = new Uint8Array(0);

/** What a head has no kind of its own for. */
function rawOf({ kind, slba, blocks, fua, from }: Wanted): ReturnType<typeof copyCommand> | undefined {
  if (kind === 'copy') return copyCommand(slba, from!, fua);
  return kind === 'verify' ? { command: verifyCommand(slba, blocks, fua), data: NO_DATA } : undefined;
}

/** The connections that its commands go by, whenever they do, how many those are, and whether some went again. */
export function watchWires(
  world: World,
  io: Io,
): { wires: Set<Wire>; repeats: () => boolean; sent: () => number } {
  const wires = new Set<Wire>();
  let handed = 0;
  let commands = 0;
  const push = io.running.push.bind(io.running);
  io.running.push = (...requests) => {
    for (const { queue, count } of requests) {
      commands++;
      handed += count;
      const transport = queue?.connection.transport;
      const wire = transport && world.net.wireOf(transport.local, transport.remote);
      if (wire !== undefined) wires.add(wire);
    }
    return push(...requests);
  };
  return { wires, repeats: () => handed > io.total, sent: () => commands };
}

/** Nothing of it executes on the target any more. */
export function isOver({ server }: Wire): boolean {
  if (server.process.dead) return true;
  const connection = server.events as TargetConnection | undefined;
  return connection === undefined ? server.over : connection.state.is('ended');
}
