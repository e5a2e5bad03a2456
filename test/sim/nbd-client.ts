/** An NBD client: connects to a disk of its host, asks for blocks, leaves in order or in the middle, and comes back. */
import { concat } from '../../src/layout/bytes.ts';
import { viewOf } from '../../src/layout/struct.ts';
import type { Head } from '../../src/initiator/head.ts';
import {
  ChunkType,
  ClientFlags,
  CommandFlag,
  CommandType,
  DataChunk,
  Errno,
  ErrorChunk,
  Greeting,
  InfoExport,
  InfoType,
  Magic,
  Option,
  OptionHeader,
  OptionReply,
  OptionReplyType,
  RequestHeader,
  SimpleReply,
  StringLength,
} from '../../src/nbd/protocol.ts';
import { DNR, Status, statusName } from '../../src/nvme/status.ts';
import type { Transport } from '../../src/runtime/ports.ts';
import { isOver, type Outstanding } from './client.ts';
import { MachineClock } from './clock.ts';
import type { HostMachine } from './host-machine.ts';
import type { NbdRoom, Served } from './nbd-room.ts';
import type { Op, OpKind } from './oracle.ts';
import type { SimRandom } from './random.ts';
import type { NamespaceState } from './target-machine.ts';
import type { World } from './world.ts';

/** What a client does that finds no disk. */
const PATIENCE = 20;
const WAIT = 50_000;
const MOST_AT_ONCE = 4;

const TYPES = {
  read: CommandType.Read,
  write: CommandType.Write,
  flush: CommandType.Flush,
  deallocate: CommandType.Trim,
  zeroes: CommandType.WriteZeroes,
} as const;
type Kind = keyof typeof TYPES;

const ERRNO = new Map<number, number>([
  [Status.LbaOutOfRange, Errno.EINVAL],
  [Status.CapacityExceeded, Errno.ENOSPC],
  [Status.NamespaceWriteProtected, Errno.EPERM],
  [Status.ReservationConflict, Errno.EPERM],
]);

/** A request under way. */
interface Asked {
  readonly op: Op;
  readonly kind: Kind;
  readonly outstanding: Outstanding;
  /** What the server asked for on its behalf, and perhaps some more. */
  readonly served: () => readonly Served[];
}

export class NbdClient {
  readonly world: World;
  readonly name: string;
  readonly host: HostMachine;
  readonly room: NbdRoom;
  readonly process: MachineClock;
  readonly #random: SimRandom;
  readonly #depth: number;
  readonly #think: number;
  #left: number;
  #misses = 0;
  running = 0;
  #link: Link | undefined = undefined;

  constructor(world: World, name: string, room: NbdRoom) {
    const { ios, clients, depth, duration } = world.plan;
    this.world = world;
    this.name = name;
    this.room = room;
    this.host = room.host;
    this.process = new MachineClock(world.clock, name);
    this.#random = world.random.fork(name);
    this.#depth = Math.min(depth, MOST_AT_ONCE);
    this.#left = Math.ceil(ios / clients / 2);
    this.#think = Math.floor((duration * 1000 * this.#depth) / this.#left);
  }

  start(): void {
    this.running = 1;
    this.#later(0, () => this.#connect());
  }

  #later(more: number, then: () => void): void {
    this.world.clock.after(`${this.name} thinks`, more + this.#random.below(2 * this.#think + 1), then);
  }

  #connect(): void {
    if (this.#left <= 0) {
      this.running = 0;
      return;
    }
    const { world, host, room, process } = this;
    const namespace = this.#random.pick(world.namespaces);
    const { nqn, nsid } = namespace.plan;
    const head = host.head(nqn, nsid);
    const again = (): void => {
      if (++this.#misses % PATIENCE === 0) this.#left--;
      this.#later(WAIT, () => this.#connect());
    };
    if (head === undefined || head.gone || head.blocks === 0) {
      again();
      return;
    }
    room.offer(head);
    world.local.port(process).connect({ to: room.address }, (error, transport) => {
      if (transport === undefined || error !== undefined) again();
      else this.#link = new Link(this, transport, namespace, head, this.#random.oneIn(2));
    });
  }

  /** The disk was chosen. */
  chosen(link: Link): void {
    for (let i = 0; i < this.#depth; i++) this.#later(0, () => this.#next(link));
  }

  #next(link: Link): void {
    if (link !== this.#link || link.leaving) return;
    if (this.#left <= 0) {
      // Some stay until they are thrown out.
      if (link.asked.size > 0) return;
      this.running = 0;
      if (!this.#random.oneIn(3)) link.leave('in order');
      return;
    }
    this.#left--;
    if (this.#random.oneIn(25)) {
      link.leave(this.#random.pick(['in order', 'close', 'reset']));
      return;
    }
    const { oracle } = link.namespace;
    const size = Math.min(link.blocks, oracle.blocks);
    const kind = this.#kind();
    const blocks = kind === 'flush' ? 0 : 1 + this.#random.below(Math.min(size, this.world.plan.ioBlocks));
    const slba = kind === 'flush' ? 0 : this.#random.below(size - blocks + 1);
    const fua = (kind === 'write' || kind === 'zeroes') && this.#random.oneIn(4);
    link.ask(kind, slba, blocks, fua, this.#random.oneIn(2));
  }

  #kind(): Kind {
    if (this.#random.oneIn(8)) return 'flush';
    if (this.#random.oneIn(8)) return this.#random.pick(['zeroes', 'deallocate']);
    return this.#random.oneIn(2) ? 'read' : 'write';
  }

  /** A request is over. */
  answered(link: Link, well: boolean): void {
    this.#later(well ? 0 : 20_000, () => this.#next(link));
  }

  /** The connection is over. */
  lost(link: Link): void {
    if (link !== this.#link) return;
    this.#link = undefined;
    if (this.running > 0) this.#later(0, () => this.#connect());
  }
}

/** One connection of a client. */
class Link {
  readonly client: NbdClient;
  readonly namespace: NamespaceState;
  readonly head: Head;
  readonly asked = new Map<number, Asked>();
  /** As the server told it. */
  blocks = 0;
  leaving = false;
  readonly #transport: Transport;
  readonly #structured: boolean;
  #phase: 'greeting' | 'options' | 'requests' = 'greeting';
  #bytes: Uint8Array = new Uint8Array(0);

  constructor(
    client: NbdClient,
    transport: Transport,
    namespace: NamespaceState,
    head: Head,
    structured: boolean,
  ) {
    this.client = client;
    this.namespace = namespace;
    this.head = head;
    this.#transport = transport;
    this.#structured = structured;
    transport.start({
      data: (chunk) => {
        this.#bytes = concat([this.#bytes, chunk]);
        while (this.#take());
      },
      end: () => transport.close(),
      closed: () => this.#closed(),
    });
  }

  /** In order, as DISC says it; or without a word, in the middle of everything. */
  leave(how: 'in order' | 'close' | 'reset'): void {
    this.leaving = true;
    if (how === 'in order') this.#send(this.#header(CommandType.Disconnect, 0, 0, 0, 0));
    else if (how === 'close') this.#transport.close();
    else this.#transport.reset();
  }

  #closed(): void {
    this.leaving = true;
    const { world, host } = this.client;
    const excuses = host.excuses(world.machineOf(this.namespace));
    for (const { op, outstanding } of this.asked.values()) {
      world.outstanding.delete(outstanding);
      world.trace.note(`nbd ${op.kind} is lost #${op.id} ${this.namespace.oracle.name}`, this.client.name);
      op.sent = true;
      this.namespace.oracle.end(op, Status.AbortedByHost, world.clock.micros, excuses, true);
    }
    this.asked.clear();
    this.client.lost(this);
  }

  // ---- what it says

  #send(...parts: Uint8Array[]): void {
    this.#transport.write(parts, () => undefined);
  }

  #option(option: number, ...parts: Uint8Array[]): void {
    const data = concat(parts);
    this.#send(OptionHeader.bytes({ magic: Magic.option, option, length: data.length }), data);
  }

  #header(type: number, flags: number, id: number, offset: number, length: number): Uint8Array {
    return RequestHeader.bytes({ magic: Magic.request, flags, type, cookieLow: id, offset, length });
  }

  ask(kind: Kind, slba: number, blocks: number, fua: boolean, odd: boolean): void {
    const { client, namespace, head } = this;
    const { world, room, host, name } = client;
    const { oracle, plan } = namespace;
    const id = world.nextOp();
    const op = oracle.begin(id, kind, slba, blocks, fua, world.clock.micros);
    op.relayed = true;
    world.trace.note(`nbd ${kind} begins #${id} ${oracle.name}`, name, slba, blocks);
    namespace.reservations.watch(op, host.hostid);
    namespace.protection.watch(op);
    const outstanding: Outstanding = { op, io: { running: [] }, client: name, namespace };
    world.outstanding.add(outstanding);
    const first = room.served.length;
    const served = (): readonly Served[] =>
      room.served.slice(first).filter((each) => each.head === head && isPartOf(op, each));
    this.asked.set(id, { op, kind, outstanding, served });
    if (op.change !== undefined) {
      const { change } = op;
      const connection = room.connections.get(this.#transport.local.port);
      change.over = () =>
        !this.asked.has(id) &&
        connection?.state.is('ended') !== false &&
        served().every(({ io, wires }) => io.over && [...wires].every(isOver));
      change.repeats = () => served().some(({ repeats }) => repeats());
    }
    const flags = (fua ? CommandFlag.fua : 0) | (kind === 'zeroes' && odd ? CommandFlag.noHole : 0);
    const length = blocks * plan.blockSize;
    const header = this.#header(TYPES[kind], flags, id, slba * plan.blockSize, length);
    if (kind === 'write') this.#send(header, new Uint8Array(op.data));
    else this.#send(header);
  }

  // ---- what it is told

  /** Takes one message; false: it is not all here. */
  #take(): boolean {
    const bytes = this.#bytes;
    const view = viewOf(bytes);
    const length =
      this.#phase === 'greeting'
        ? this.#greeting(bytes)
        : this.#phase === 'options'
          ? this.#reply(bytes, view)
          : this.#answer(bytes, view);
    if (length > 0) this.#bytes = bytes.subarray(length);
    return length > 0;
  }

  #greeting(bytes: Uint8Array): number {
    if (bytes.length < Greeting.size) return 0;
    this.#send(ClientFlags.bytes({ flags: 3 }));
    if (this.#structured) this.#option(Option.StructuredReply);
    const name = new TextEncoder().encode(this.head.name);
    this.#option(Option.Go, StringLength.bytes({ length: name.length }), name, new Uint8Array(2));
    this.#phase = 'options';
    return Greeting.size;
  }

  #reply(bytes: Uint8Array, view: DataView): number {
    if (bytes.length < OptionReply.size) return 0;
    const total = OptionReply.size + OptionReply.length.get(view, 0);
    if (bytes.length < total) return 0;
    const type = OptionReply.type.get(view, 0);
    const go = OptionReply.option.get(view, 0) === Option.Go;
    if (type === OptionReplyType.Info && InfoExport.type.get(view, OptionReply.size) === InfoType.Export)
      this.blocks = InfoExport.exportSize.get(view, OptionReply.size) / this.namespace.plan.blockSize;
    else if (go && type === OptionReplyType.Ack) {
      this.#phase = 'requests';
      this.client.chosen(this);
    } else if (type >= OptionReplyType.ErrUnsup) this.leave('close');
    return total;
  }

  #answer(bytes: Uint8Array, view: DataView): number {
    if (bytes.length < SimpleReply.size) return 0;
    const magic = SimpleReply.magic.get(view, 0);
    if (magic === Magic.simpleReply) {
      const found = this.#find(SimpleReply.cookieLow.get(view, 0));
      if (found === undefined) return bytes.length;
      const errno = SimpleReply.error.get(view, 0);
      const data = found.kind === 'read' && errno === 0 ? found.op.data.length : 0;
      if (bytes.length < SimpleReply.size + data) return 0;
      if (data > 0) found.op.data.set(bytes.subarray(SimpleReply.size, SimpleReply.size + data));
      this.#over(found, errno);
      return SimpleReply.size + data;
    }
    if (magic !== Magic.chunk) {
      this.client.world.violation('NBD', `${this.client.name} was sent what is no reply`, [this.client.name]);
      return 0;
    }
    const header = 20;
    if (bytes.length < header) return 0;
    const total = header + view.getUint32(16);
    if (bytes.length < total) return 0;
    const found = this.#find(DataChunk.cookieLow.get(view, 0));
    if (found === undefined) return bytes.length;
    const type = DataChunk.type.get(view, 0);
    if (type === ChunkType.OffsetData) {
      const at = DataChunk.offset.get(view, 0) - found.op.slba * this.namespace.plan.blockSize;
      found.op.data.set(bytes.subarray(DataChunk.size, total), at);
    }
    if (DataChunk.flags.get(view, 0) === 1)
      this.#over(found, type === ChunkType.Error ? ErrorChunk.error.get(view, 0) : 0);
    return total;
  }

  #find(id: number): Asked | undefined {
    const found = this.asked.get(id);
    if (found === undefined)
      this.client.world.violation('ONCE', `nbd request #${id} of ${this.client.name} was answered twice`, [
        `#${id} `,
      ]);
    return found;
  }

  #over({ op, outstanding, served }: Asked, errno: number): void {
    const { client, namespace } = this;
    const { world, host, name } = client;
    const { oracle } = namespace;
    this.asked.delete(op.id);
    world.outstanding.delete(outstanding);
    world.trace.note(`nbd ${op.kind} ends #${op.id} ${oracle.name}`, name, errno);
    const mine = served();
    op.sent = true;
    op.ways = new Set(mine.flatMap(({ wires }) => [...wires])).size;
    op.commands = mine.reduce((sum, { sent }) => sum + sent(), 0);
    const excuses = host.excuses(world.machineOf(namespace));
    const status = errno === 0 ? 0 : this.#statusOf(op, mine, errno);
    oracle.end(op, status, world.clock.micros, excuses, false);
    op.data.fill(0);
    client.answered(this, status === 0);
  }

  /** The status behind an error: of what the server asked for, or of a disk that it knows to be read-only. */
  #statusOf(op: Op, served: readonly Served[], errno: number): number {
    // What was given up was for a client that has left: flushes look alike.
    const mine = served.filter(({ io }) => !io.abandoned);
    const failed = mine.map(({ io }) => io.status).filter((status) => status !== 0);
    if (failed.length === 0 && errno === Errno.EPERM && op.change !== undefined) {
      op.commands = 1;
      // The host learns by an event that a protection is over.
      op.gates.protected ||= this.namespace.protection.ever;
      return Status.NamespaceWriteProtected;
    }
    const found = failed.find((status) => (ERRNO.get(status & ~DNR) ?? Errno.EIO) === errno);
    if (found === undefined)
      this.client.world.violation(
        'NBD',
        `nbd ${op.kind} #${op.id} ended with errno ${errno}, which ${failed.map((each) => statusName(each)).join(', ') || 'nothing'} explains`,
        [`#${op.id} `],
      );
    return found ?? Status.InternalError;
  }
}

/** The I/O may be this request, or a piece of it. */
function isPartOf({ kind, slba, blocks, fua }: Op, { io }: Served): boolean {
  if (kind === 'flush') return io.kind === 'flush';
  const range = kind === 'deallocate' ? io.ranges[0] : io;
  const within = range !== undefined && range.slba >= slba && range.slba + range.blocks <= slba + blocks;
  return io.kind === (kind satisfies OpKind) && io.fua === fua && within;
}
