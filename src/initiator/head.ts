/**
 * A head: the namespace as a disk, whichever controllers lead to it. Its I/O is in traffic.ts, the choice of a path in
 * select.ts; here are its paths, and its own coming and going.
 *
 * With `delayed_removal_secs` a head that lost its last path stays: same name, same handles. Meanwhile I/O waits,
 * unless the last path had failed fast, or fails again once the time is over (HEAD.1 to HEAD.13).
 */
import { DNR, Status } from '../nvme/status.ts';
import { assert } from '../runtime/assert.ts';
import { machine, type Machine } from '../runtime/machine.ts';
import type { Env } from '../runtime/ports.ts';
import type { BlockRange } from './commands.ts';
import type { ControllerPaths } from './controller-paths.ts';
import type { WriteFailover } from './failover.ts';
import type { Io } from './io.ts';
import type { Limits } from './limits.ts';
import type { NamespaceInfo } from './namespace.ts';
import { wwid } from './namespace.ts';
import { Path } from './path.ts';
import { candidates, pick, type IoPolicy } from './select.ts';
import type { Subsystem } from './subsystem.ts';
import { Traffic } from './traffic.ts';

const STATES = {
  /** It has a path; whether that is usable is another matter. */
  serving: ['orphaned', 'lost', 'gone'],
  /** It has none, or none that will come back. A path wakes it, or the timer. */
  orphaned: ['serving', 'lost', 'gone'],
  /** Nobody waited for a path any longer, but controllers still list the namespace (ANA persistent loss). */
  lost: ['serving', 'gone'],
  gone: [],
} as const;

export type HeadState = keyof typeof STATES;

/** The longest that a timer runs, seconds. */
export const MAX_DELAYED_REMOVAL = Math.floor((2 ** 31 - 1) / 1000);

export class Head {
  readonly subsystem: Subsystem;
  /** The M of nvmeNnM: allocated by the subsystem, the same for as long as the head lives (NUM.9). */
  readonly instance: number;
  /** Never used again, unlike the name (NUM.11). */
  readonly id: number;
  readonly state: Machine<HeadState>;
  readonly paths: Path[] = [];
  readonly traffic: Traffic;
  /** As the path told it that was looked at last. */
  info: NamespaceInfo;
  #delayedRemoval: number;
  /** The last path had failed fast: I/O does not wait for the next one (HEAD.13). */
  #failsFast = false;
  #candidates: readonly Path[] | 'requeue' | 'fail' = 'fail';
  #last: Path | undefined = undefined;
  /** What the journal said of it last. */
  #told: 'usable' | 'requeue' | 'fail' | undefined = undefined;

  constructor(subsystem: Subsystem, instance: number, id: number, info: NamespaceInfo) {
    this.subsystem = subsystem;
    this.instance = instance;
    this.id = id;
    this.info = info;
    this.#delayedRemoval = subsystem.settings.delayedRemoval;
    this.state = machine(this.env, this.name, STATES, 'serving');
    this.traffic = new Traffic(this);
  }

  get env(): Env {
    return this.subsystem.registry.env;
  }
  get limits(): Limits {
    return this.subsystem.registry.limits;
  }
  get name(): string {
    return `nvme${this.subsystem.instance}n${this.instance}`;
  }
  get nsid(): number {
    return this.info.nsid;
  }
  /** Bytes. */
  get blockSize(): number {
    return this.info.blockSize;
  }
  get blocks(): number {
    return this.info.blocks;
  }
  get wwid(): string {
    return wwid(this.info, this.subsystem);
  }
  get gone(): boolean {
    return this.state.is('gone');
  }
  /** I/O that is not over. */
  get inFlight(): number {
    return this.traffic.inFlight;
  }
  get policy(): IoPolicy {
    return this.subsystem.settings.iopolicy;
  }
  get writeFailover(): WriteFailover {
    return this.subsystem.settings.writeFailover;
  }

  // ---- delayed removal

  /** `delayed_removal_secs`: how long it stays without a path, seconds. */
  get delayedRemoval(): number {
    return this.#delayedRemoval;
  }

  /**
   * Counts from the next loss of the last path on; 0 ends at once what waits now (HEAD.1, HEAD.11). Whole seconds from
   * 0 to `MAX_DELAYED_REMOVAL`.
   */
  setDelayedRemoval(seconds: number): void {
    assert(
      Number.isInteger(seconds) && seconds >= 0 && seconds <= MAX_DELAYED_REMOVAL,
      `${this.name}: delayed_removal_secs ${seconds}`,
    );
    this.#delayedRemoval = seconds;
    if (seconds === 0 && this.state.is('orphaned')) this.#giveUp('delayed_removal_secs is 0 now');
  }

  // ---- paths

  addPath(side: ControllerPaths, info: NamespaceInfo): Path {
    assert(!this.gone, `${this.name}: gone, but it gets a path (HEAD.10)`);
    const path = new Path(this, side, this.subsystem.registry.nextId(), info);
    this.paths.push(path);
    side.paths.set(info.nsid, path);
    return path;
  }

  /** Commands on their way through it end by their connection, not by this. */
  removePath(path: Path): void {
    const at = this.paths.indexOf(path);
    assert(at >= 0, `${path.name} is a path of ${this.name}`);
    this.#failsFast = path.is === 'failed';
    path.end();
    this.paths.splice(at, 1);
    path.side.paths.delete(path.info.nsid);
    if (this.#last === path) this.#last = undefined;
    this.update();
  }

  /** Something about its paths changed: looks at all of them. Idempotent. */
  update(): void {
    if (this.gone) return;
    for (const path of this.paths) path.look();
    this.#settle();
    this.#candidates = this.#choose();
    this.traffic.kick();
    // Of a head that went just now, nothing is told any more (NUM.11).
    if (!this.state.is('gone')) this.#tell();
  }

  /** In the journal: it can be used, or not any more. */
  #tell(): void {
    const { outlook } = this;
    if (outlook === this.#told) return;
    const what =
      outlook === 'usable'
        ? this.#told === undefined
          ? 'usable'
          : 'usable again'
        : outlook === 'requeue'
          ? 'no path is usable: I/O waits'
          : 'no path is usable: I/O fails';
    // A head that is new has no path yet that could be used.
    if (this.#told === undefined && outlook !== 'usable') return;
    this.#told = outlook;
    this.subsystem.registry.journal.record('head changed', this.name, this.id, what);
  }

  #settle(): void {
    const none = this.paths.every((path) => path.is === 'gone');
    if (!none) {
      if (!this.state.is('serving')) this.state.to('serving', 'it has a path');
      return;
    }
    if (this.state.is('serving')) {
      if (this.paths.length > 0) this.#failsFast = false;
      if (this.#delayedRemoval === 0) this.#giveUp('the last path is gone');
      else {
        this.state.to('orphaned', 'the last path is gone');
        this.state.after('delayed removal', this.#delayedRemoval * 1000, () => {
          // Looked at again: a path may have come in this very tick (HEAD.10).
          if (this.paths.every((path) => path.is === 'gone')) this.#giveUp('no path came in time');
        });
      }
    } else if (this.state.is('lost') && this.paths.length === 0) this.#giveUp('the last path is gone');
  }

  /** Nobody waits any more. The head goes, unless controllers still list its namespace. */
  #giveUp(why: string): void {
    if (this.paths.length > 0) {
      if (!this.state.is('lost')) this.state.to('lost', why);
      this.#candidates = 'fail';
      this.traffic.kick();
    } else this.remove(why);
  }

  /** The head goes now, whatever waits (HEAD.12). */
  remove(why: string): void {
    if (this.gone) return;
    this.state.to('gone', why);
    this.#candidates = 'fail';
    for (const path of this.paths.splice(0)) {
      path.end();
      path.side.paths.delete(path.info.nsid);
    }
    this.#last = undefined;
    this.subsystem.headGone(this, why);
    this.traffic.stop();
  }

  // ---- the choice

  #choose(): readonly Path[] | 'requeue' | 'fail' {
    if (this.state.is('gone', 'lost')) return 'fail';
    if (this.state.is('orphaned')) return this.#failsFast ? 'fail' : 'requeue';
    return candidates(this.paths);
  }

  /** What would become of an I/O now. */
  get outlook(): 'usable' | 'requeue' | 'fail' {
    return typeof this.#candidates === 'string' ? this.#candidates : 'usable';
  }

  /** The path for the next command. */
  choose(): Path | 'requeue' | 'fail' {
    if (typeof this.#candidates === 'string') return this.#candidates;
    this.#last = pick(this.#candidates, this.policy, this.#last);
    return this.#last;
  }

  // ---- I/O

  /** Takes the I/O; `ioDone` follows, never inside this call unless nothing can be sent. */
  submit(io: Io): void {
    assert(io.head === undefined, 'an I/O is submitted once');
    io.head = this;
    const outside =
      io.kind === 'deallocate'
        ? io.ranges.some((range) => this.#outside(range))
        : io.kind !== 'command' && this.#outside(io);
    if (outside) io.failed(Status.LbaOutOfRange | DNR);
    this.traffic.submit(io);
  }

  #outside({ slba, blocks }: BlockRange): boolean {
    return slba + blocks > this.blocks;
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    this.traffic.invariants();
    assert(!this.gone || this.paths.length === 0, `${this.name}: gone, but it has a path`);
    assert(
      this.state.has('delayed removal') === this.state.is('orphaned'),
      `${this.name}: delayed removal runs exactly while no path is there`,
    );
    for (const path of this.paths) {
      assert(!path.gone, `${path.name}: gone, but still there`);
      const { is } = path;
      path.look();
      assert(is === path.is, `${path.name}: ${is}, but nobody was told that it is ${path.is}`);
    }
  }
}
