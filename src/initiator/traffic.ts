/**
 * The I/O of one head: makes commands of it, sends each by the path that the head chooses, and decides with
 * failover.ts what becomes of one that failed.
 *
 *     submit → piece → choose → path.submit ─┬─ requestDone: ok ─────────────────────────────→ ioDone
 *                                            ├─ failover: choose again
 *                                            ├─ retry: when its delay is over, choose again
 *                                            └─ hold: when its association is dead, choose again
 *
 * Nothing here waits while something is decided, and nobody who waits is in the way of a path: I/O that has no path is
 * in one list, which is looked at again, in a turn of its own, after every change of the head (QUIESCE.2, QUIESCE.3).
 */
import { isPathError, Status } from '../nvme/status.ts';
import { assert } from '../runtime/assert.ts';
import { empty } from '../runtime/empty.ts';
import type { Association } from './association.ts';
import type { BlockRange } from './commands.ts';
import { isAnaStatus, retryDelay, verdict } from './failover.ts';
import { Ghosts } from './ghost.ts';
import type { Head } from './head.ts';
import type { Io } from './io.ts';
import { build, extent, type Piece } from './pieces.ts';
import { Request } from './request.ts';

/** Requests that are kept to be used again. */
const SPARE = 256;

export class Traffic {
  readonly #head: Head;
  /** I/O that is not over, and the commands of it that are under way. */
  inFlight = 0;
  #running = 0;
  /** I/O that waits for a path. */
  readonly #requeued = new Set<Io>();
  /** Parts that wait for blocks, and parts that wait for their delay; in the order of arrival. */
  readonly #held = new Set<Piece>();
  readonly #delayed = new Set<Piece>();
  readonly #ghosts = new Ghosts<Association>((association, proved) => this.#freed(association, proved));
  /** The list will be looked at. */
  #kicked = false;
  readonly #spare: Request[] = [];

  constructor(head: Head) {
    this.#head = head;
    // What became of writes to the same namespace, when it was another head, is not known yet.
    for (const { association, ranges } of head.subsystem.registry.departed.take(head.wwid))
      if (head.writeFailover === 'safe') this.#ghosts.add(association, ranges);
  }

  /** I/O that waits for a path, parts that wait for blocks, parts that wait for their delay. */
  get waiting(): { readonly requeued: number; readonly held: number; readonly delayed: number } {
    return { requeued: this.#requeued.size, held: this.#held.size, delayed: this.#delayed.size };
  }
  get held(): ReadonlySet<Piece> {
    return this.#held;
  }
  get delayed(): ReadonlySet<Piece> {
    return this.#delayed;
  }
  get ghosts(): Pick<Ghosts<Association>, 'list' | 'empty'> {
    return this.#ghosts;
  }

  submit(io: Io): void {
    this.inFlight++;
    this.#advance(io);
  }

  // ---- down

  /** Makes commands, a few at a time, until nothing is left of it; ends it when all of them are over. */
  #advance(io: Io): void {
    const { pieces, ioTimeout } = this.#head.limits;
    this.#requeued.delete(io);
    while (io.status === 0 && io.running.length < pieces && (io.again.length > 0 || io.started < io.total)) {
      const path = this.#head.choose();
      if (path === 'requeue') {
        this.#requeued.add(io);
        break;
      }
      if (path === 'fail') {
        this.#noPath(io);
        break;
      }
      const again = io.again.at(-1);
      const start = again?.start ?? io.started;
      const left = again?.count ?? io.total - io.started;
      const request = this.#spare.pop() ?? new Request(io);
      request.owner = io;
      const count = build(io, start, left, request, path.namespace, path.controller.capabilities);
      if (io.changes && !this.#ghosts.empty && this.#ghosts.cover(extent(io, start, count))) {
        // GHOST.3
        const [retries, lostOn] = [again?.retries ?? 0, again?.lostOn];
        this.#held.add({ io, start, count, retries, lostOn, timer: undefined });
        io.waiting++;
        this.#recycle(request);
      } else {
        request.start = start;
        request.count = count;
        request.retries = again?.retries ?? 0;
        request.timeout = ioTimeout;
        const outcome = path.submit(request);
        if (outcome === 'gone' || outcome === 'not ready') {
          // It says otherwise than it looks: not this way for a moment.
          this.#recycle(request);
          path.rest();
          continue;
        }
        io.running.push(request);
        this.#running++;
      }
      if (again === undefined) io.started += count;
      else if (count === again.count) io.again.pop();
      else {
        again.start += count;
        again.count -= count;
      }
    }
    this.#finish(io);
  }

  /** No path, and none will come. */
  #noPath(io: Io): void {
    io.failed(io.sent ? Status.AbortedByHost : Status.HostPathError);
  }

  /** A part of it that was not answered may be carried out. */
  #mayHappen(io: Io): boolean {
    if (io.again.some(({ lostOn }) => lostOn !== undefined)) return true;
    if (io.waiting === 0) return false;
    for (const list of [this.#held, this.#delayed])
      for (const piece of list) if (piece.io === io && piece.lostOn !== undefined) return true;
    return false;
  }

  #finish(io: Io): void {
    if (io.over) return;
    if (io.status !== 0) this.#drop(io);
    const left = io.again.length > 0 || io.started < io.total || io.waiting > 0;
    if (io.running.length > 0 || (io.status === 0 && left)) return;
    io.over = true;
    this.inFlight--;
    io.owner.ioDone(io);
  }

  /** It failed: what waits of it does not any more. */
  #drop(io: Io): void {
    io.unknown ||= this.#mayHappen(io);
    this.#requeued.delete(io);
    io.again.length = 0;
    if (io.waiting === 0) return;
    for (const list of [this.#held, this.#delayed])
      for (const piece of list)
        if (piece.io === io) {
          piece.timer?.cancel();
          list.delete(piece);
          io.waiting--;
        }
  }

  // ---- up

  /** A command of the I/O is over. */
  requestDone(io: Io, request: Request): void {
    const at = io.running.indexOf(request);
    assert(at >= 0, `${this.#head.name}: a command ends once`);
    io.running[at] = io.running.at(-1)!;
    io.running.pop();
    this.#running--;
    const { status } = request;
    request.path!.requestDone();
    // What was answered with a status of the path was not carried out.
    io.sent ||= status === Status.AbortedByHost || !isPathError(status);
    if (status === 0) {
      io.dw0 = request.dw0;
      io.dw1 = request.dw1;
    } else this.#failed(io, request);
    this.#recycle(request);
    this.#advance(io);
  }

  #failed(io: Io, request: Request): void {
    const { status, start, count, retries } = request;
    const association = request.association!;
    const path = request.path!;
    const { writeFailover, limits } = this.#head;
    // What its owner gives up while the connection is well is not lost: the controller answers it, some time.
    const lost = status === Status.AbortedByHost && (!io.abandoned || !association.open);
    // A raw command has none that we know of: nothing could be kept from them, so it is not held either.
    const blocks = lost && io.changes ? extent(io, start, count) : [];
    const provable = !association.hopeless && blocks.length > 0;
    if (provable && writeFailover === 'safe') this.haunt(association, blocks);
    if (io.status !== 0) {
      io.unknown ||= lost && io.changes;
      return;
    }
    const then = verdict(
      {
        status,
        changes: io.changes,
        repeatable: io.repeatable,
        retries,
        faulted: lost && association.protocolFault,
        provable,
      },
      writeFailover,
      limits.retries,
    );
    const piece: Piece = {
      io,
      start,
      count,
      retries: then === 'retry' || (lost && association.protocolFault) ? retries + 1 : retries,
      lostOn: lost && (io.changes || !io.repeatable) ? association : undefined,
      timer: undefined,
    };
    switch (then) {
      case 'complete':
        io.failed(status);
        return;
      case 'unknown':
        io.unknown = io.changes || !io.repeatable;
        io.failed(status);
        return;
      case 'failover':
        if (status !== Status.HostPathError && !lost) path.refused(isAnaStatus(status));
        io.again.push(piece);
        return;
      case 'hold':
        if (this.#head.outlook === 'fail') {
          io.unknown = true;
          io.failed(status);
          return;
        }
        this.#held.add(piece);
        io.waiting++;
        return;
      case 'retry': {
        const ms = retryDelay(status, path.retryDelays);
        if (ms === 0) io.again.push(piece);
        else if (this.#head.outlook === 'fail') io.failed(status);
        else this.#delay(piece, ms);
      }
    }
  }

  /** A write to these blocks left on `association` and was not answered. */
  haunt(association: Association, blocks: readonly BlockRange[]): void {
    const { gone, wwid, info, subsystem } = this.#head;
    if (!gone) {
      this.#ghosts.add(association, blocks);
      return;
    }
    const { registry } = subsystem;
    const heir = [...registry.headsById.of(info)].find((head) => !head.gone && head.wwid === wwid);
    if (heir !== undefined) heir.traffic.haunt(association, blocks);
    else registry.departed.keep(wwid, association, blocks);
  }

  #delay(piece: Piece, ms: number): void {
    const { env, name } = this.#head;
    const { io } = piece;
    this.#delayed.add(piece);
    io.waiting++;
    piece.timer = env.clock.timer(`${name}: a command is repeated`, ms, () => {
      piece.timer = undefined;
      this.#delayed.delete(piece);
      io.waiting--;
      io.again.push(piece);
      this.#advance(io);
    });
  }

  /** See `Io.abandon`. */
  abandon(io: Io): void {
    for (const request of [...io.running]) request.queue?.abandon(request);
    this.#finish(io);
  }

  // ---- those who wait

  /** An association is dead on the target, or nobody will ever know. */
  #freed(association: Association, proved: boolean): void {
    for (const piece of [...this.#held]) {
      const { io } = piece;
      if (!this.#held.has(piece)) continue;
      if (!proved && piece.lostOn === association) {
        io.unknown = true;
        io.failed(Status.AbortedByHost);
        this.#finish(io);
      } else if (!this.#ghosts.cover(extent(io, piece.start, piece.count))) {
        this.#held.delete(piece);
        io.waiting--;
        io.again.unshift(piece);
        this.#advance(io);
      }
    }
  }

  /** Something changed for the better or the worse: whoever waits for a path is looked at again, after this turn. */
  kick(): void {
    const { outlook, env } = this.#head;
    const any = this.#requeued.size + (outlook === 'fail' ? this.#held.size + this.#delayed.size : 0) > 0;
    if (!any || this.#kicked || outlook === 'requeue') return;
    this.#kicked = true;
    env.clock.defer(() => {
      this.#kicked = false;
      this.drain();
    });
  }

  /** Gives everybody who waits a path, or an end. */
  drain(): void {
    for (const io of [...this.#requeued]) {
      if (this.#head.outlook === 'requeue') break;
      if (this.#requeued.has(io)) this.#advance(io);
    }
    if (this.#head.outlook !== 'fail') return;
    for (const list of [this.#held, this.#delayed])
      for (const { io } of [...list])
        if (!io.over && io.status === 0) {
          this.#noPath(io);
          this.#finish(io);
        }
  }

  /** `write_failover` is immediate from now on: nobody waits for blocks. */
  releaseHeld(): void {
    this.#ghosts.clear();
    for (const piece of [...this.#held])
      if (this.#held.delete(piece)) {
        piece.io.waiting--;
        piece.io.again.push(piece);
        this.#advance(piece.io);
      }
  }

  /** The head is gone: everything that waits ends now. What may still be written is kept for the next head. */
  stop(): void {
    this.drain();
    const left = this.#ghosts.list();
    this.#ghosts.clear();
    for (const { association, ranges } of left) this.haunt(association, ranges);
  }

  #recycle(request: Request): void {
    empty(request.parts);
    request.path = undefined;
    request.association = undefined;
    if (this.#spare.length < SPARE) this.#spare.push(request);
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    const { name, outlook } = this.#head;
    assert(this.inFlight >= 0 && this.#running >= 0, `${name}: something ended twice`);
    assert(this.#running === 0 || this.inFlight > 0, `${name}: a command without its I/O`);
    // QUIESCE.3
    assert(
      this.#requeued.size === 0 || outlook === 'requeue' || this.#kicked,
      `${name}: I/O waits although ${outlook === 'fail' ? 'no path will come' : 'a path is usable'}`,
    );
    assert(
      outlook !== 'fail' || this.#kicked || this.#held.size + this.#delayed.size === 0,
      `${name}: a command waits although no path will come`,
    );
    for (const piece of this.#held)
      assert(!this.#ghosts.empty && !piece.io.over, `${name}: a command waits for blocks that nobody has`);
    for (const io of this.#requeued) assert(!io.over, `${name}: I/O that is over waits for a path`);
  }
}
