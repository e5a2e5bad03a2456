/**
 * The oracle of one namespace: what its blocks may hold, what must have survived, and with which status an I/O may end.
 * It knows only what the clients know, and the disk below.
 */
import { DNR, Status, isPathError, statusName } from '../../src/nvme/status.ts';
import type { IoKind } from '../../src/initiator/io.ts';
import type { SimDisk } from './disk.ts';
import { BlockHistory, type Change } from './history.ts';
import { homeOf, readStamp, stamp, valueOf, writerOf } from './stamp.ts';

export type OpKind = Exclude<IoKind, 'compare' | 'command'> | 'copy' | 'verify';

/** What every target takes in one command, bytes. */
export const ONE_COMMAND = 8192;

/** Kinds that change nothing. */
const LOOKS: ReadonlySet<OpKind> = new Set(['read', 'flush', 'verify']);

/** One I/O as its client sees it. */
export interface Op {
  readonly id: number;
  readonly kind: OpKind;
  readonly slba: number;
  readonly blocks: number;
  /** Copy: the blocks that it reads, one for each that it writes. */
  readonly from: readonly number[];
  readonly fua: boolean;
  /** It reaches past the end, as that was when it began. */
  readonly beyond: boolean;
  /** What is written, or room for what is read. */
  readonly data: Uint8Array;
  readonly start: number;
  readonly change: Change | undefined;
  /** Some of it may have left the host, and by how many connections. Known when it is over. */
  sent: boolean;
  ways: number;
  /** It went straight to a queue: there was no head that chooses another path. */
  direct: boolean;
  /** It went through somebody else, who was answered before its client was. */
  relayed: boolean;
  /** What reservations may have said while it was under way, and that its client knows how it ended. */
  readonly gates: {
    allowed: boolean;
    refused: boolean;
    preempted: boolean;
    /** What write protection may have said. */
    writable: boolean;
    protected: boolean;
    over: boolean;
  };
  /** Commands that were made of it. */
  commands: number;
}

/** What was done to the world so far, that may make an I/O fail. */
export interface Excuses {
  /** A network, process or administrative event may have cost this host a path. */
  readonly path: boolean;
  readonly corruption: boolean;
  readonly removed: boolean;
  /** This host has aborted or cancelled commands. */
  readonly aborted: boolean;
}

type Excusable = Pick<Op, 'kind' | 'direct' | 'beyond'> & {
  readonly gates: Pick<Op['gates'], 'refused' | 'preempted' | 'protected'>;
};

export type Report = (rule: string, text: string, about: readonly string[]) => void;

export class DiskOracle {
  readonly name: string;
  readonly disk: SimDisk;
  readonly #report: Report;
  readonly #blocks: BlockHistory[] = [];
  /** Acknowledged changes that no flush has covered yet. */
  #volatile: Change[] = [];
  /** By block: the value that was acknowledged or read last. By value and block: the swap that replaced it. */
  readonly #latest = new Map<number, number>();
  readonly #swaps = new Map<string, number>();
  /** By value: the write that leaves it. */
  readonly #changes = new Map<number, Change>();
  /** Changes that are under way, or whose outcome is unknown and still open. */
  readonly #open = new Set<Change>();
  /** When power was lost last. */
  #crashedAt = -1;

  constructor(name: string, disk: SimDisk, report: Report) {
    this.name = name;
    this.disk = disk;
    this.#report = report;
    this.grow();
  }

  get blockSize(): number {
    return this.disk.options.blockSize;
  }
  get blocks(): number {
    return this.#blocks.length;
  }

  /** The disk has become larger. */
  grow(): void {
    while (this.#blocks.length * this.blockSize < this.disk.seen.length)
      this.#blocks.push(new BlockHistory(`${this.name} block ${this.#blocks.length}`));
  }

  // ---- I/O

  /** `from`: the blocks that are copied, in order. */
  begin(
    id: number,
    kind: OpKind,
    slba: number,
    blocks: number,
    fua: boolean,
    now: number,
    from: readonly number[] = [],
  ): Op {
    const data = new Uint8Array(kind === 'read' || kind === 'write' ? blocks * this.blockSize : 0);
    let change: Change | undefined;
    if (!LOOKS.has(kind)) {
      change = {
        name: `${kind} #${id}`,
        start: now,
        end: Infinity,
        closes: Infinity,
        durable: false,
        never: false,
      };
      for (let i = 0; i < blocks; i++) {
        const value = kind === 'write' ? valueOf(id, slba + i) : 0;
        this.#blocks[slba + i]!.begin(change, kind === 'copy' ? this.#blocks[from[i]!]! : value);
        if (kind !== 'write') continue;
        stamp(data.subarray(i * this.blockSize, (i + 1) * this.blockSize), value);
        this.#changes.set(value, change);
      }
      this.#open.add(change);
    }
    return {
      id,
      kind,
      slba,
      blocks,
      from,
      fua,
      beyond: slba + blocks > this.blocks,
      data,
      start: now,
      change,
      sent: false,
      ways: 0,
      direct: false,
      relayed: false,
      gates: {
        allowed: false,
        refused: false,
        preempted: false,
        writable: false,
        protected: false,
        over: false,
      },
      commands: 1,
    };
  }

  /** What a Compare had better expect: the value that was last acknowledged or seen here. */
  expects(slba: number): { value: number; data: Uint8Array } {
    const value = this.#latest.get(slba) ?? 0;
    const data = new Uint8Array(this.blockSize);
    if (value !== 0) stamp(data, value);
    return { value, data };
  }

  /** A Compare of one block, with `write` a Compare and Write, ended; the statuses are without DNR. */
  swapped(
    op: Op,
    expected: number,
    status: { readonly compare: number; readonly write: number | undefined },
    now: number,
    excuses: Excuses,
  ): void {
    const { change, slba } = op;
    const { compare, write } = status;
    const block = this.#blocks[slba]!;
    const unknown = (code: number): boolean => code === Status.HostPathError || code === Status.AbortedByHost;
    // Nobody takes it to another path: a namespace that is disabled, or in a group that cannot be reached, says so.
    const refused = (code: number): boolean => isPathError(code) && !unknown(code);
    op.gates.over = true;
    if (compare === 0) {
      this.#checkAllowed(op);
      const wrong = block.read(expected, op.start, now);
      if (wrong !== undefined)
        this.#report('LINEARIZABLE', `compare #${op.id}: ${block.name}: ${wrong}`, this.#about(op));
    } else if (
      compare !== Status.CompareFailure &&
      compare !== Status.AbortedFailedFused &&
      !refused(compare)
    ) {
      const read = { ...op, kind: 'read', change: undefined } as const;
      this.#failed(read, compare, now, excuses, false);
    }
    // Whoever expects what is there now tries again with that; after a miscompare nobody knows.
    if (compare === Status.CompareFailure && this.#latest.get(slba) === expected) this.#latest.delete(slba);
    if (change === undefined || write === undefined) return;
    if (refused(write) || (compare !== 0 && write === Status.AbortedFailedFused)) {
      change.never = true;
      this.#open.delete(change);
    } else if (write === 0) {
      this.end(op, 0, now, excuses, false);
      if (compare === 0 && expected !== 0) this.#replaced(op, expected);
    } else if (unknown(write) || !unknown(compare)) this.#failed(op, write, now, excuses, false);
    else this.#failed(op, compare, now, excuses, false);
  }

  /**
   * ORDER.2: every write leaves a value of its own, so two swaps cannot both have replaced it; but a write that its
   * host repeated after a loss may have left it twice, and a copy may have brought it back.
   */
  #replaced(op: Op, expected: number): void {
    const before = this.#swaps.get(`${expected} ${op.slba}`);
    this.#swaps.set(`${expected} ${op.slba}`, op.id);
    const again =
      this.#changes.get(expected)?.repeats?.() === true || this.#blocks[op.slba]!.copied(expected);
    if (before !== undefined && !again)
      this.#report(
        'ORDER.2',
        `#${before} and #${op.id} both replaced value ${expected} of ${this.#blocks[op.slba]!.name}`,
        [...this.#about(op), `#${before} `],
      );
  }

  /** The I/O ended; `status` is what its client was told. */
  end(op: Op, status: number, now: number, excuses: Excuses, abandoned: boolean): void {
    op.gates.over = true;
    if (status === 0) this.#checkAllowed(op);
    if (status === 0 && op.change !== undefined && !op.gates.writable)
      this.#report(
        'PROTECT',
        `${op.kind} #${op.id} on ${this.name} was carried out, but it was write protected all the time`,
        this.#about(op),
      );
    if (status !== 0) this.#failed(op, status, now, excuses, abandoned);
    else if (op.kind === 'read') this.#read(op, now);
    else if (op.kind === 'flush') this.#flushed(op);
    else if (op.kind === 'verify') this.#verified(op);
    else this.#changed(op, now);
  }

  #checkAllowed(op: Op): void {
    if (!op.gates.allowed)
      this.#report(
        'RESERVATION',
        `${op.kind} #${op.id} on ${this.name} was carried out, but no reservation allowed it meanwhile`,
        this.#about(op),
      );
  }

  #about(op: Op): string[] {
    return [this.name, this.disk.name, `#${op.id} `];
  }

  /** A part of it may have ended before the power was lost, and nobody can tell which. */
  #spansCrash({ start, relayed, blocks }: Op): boolean {
    return start <= this.#crashedAt && (relayed || blocks * this.blockSize > ONE_COMMAND);
  }

  #read(op: Op, now: number): void {
    const spans = this.#spansCrash(op);
    for (let i = 0; i < op.blocks; i++) {
      const block = this.#blocks[op.slba + i]!;
      const value = readStamp(op.data.subarray(i * this.blockSize, (i + 1) * this.blockSize));
      if (typeof value === 'string')
        this.#report('TORN', `read #${op.id} of ${block.name} saw ${value}`, this.#about(op));
      else if (spans) continue;
      else if (value !== 0 && homeOf(value) !== op.slba + i && !block.mayHold(value))
        this.#report(
          'TORN',
          `read #${op.id} of ${block.name} saw write #${writerOf(value)} of block ${homeOf(value)}, which nobody copied`,
          [...this.#about(op), `#${writerOf(value)} `],
        );
      else {
        this.#latest.set(op.slba + i, value);
        const wrong = block.read(value, op.start, now);
        if (wrong !== undefined)
          this.#report('LINEARIZABLE', `read #${op.id}: ${block.name}: ${wrong}`, [
            ...this.#about(op),
            `#${writerOf(value)} `,
          ]);
      }
    }
  }

  /** It has read all of it meanwhile; with FUA what it read is not waiting for a sync. */
  #verified(op: Op): void {
    const { disk, blockSize } = this;
    const end = op.slba + op.blocks;
    const wrong = (rule: string, text: string): void =>
      this.#report(rule, `verify #${op.id} of ${this.name} ${text}`, this.#about(op));
    if (op.beyond && end > this.blocks) wrong('VERIFY', `reaches past block ${this.blocks}, and succeeded`);
    for (let block = op.slba; block < end; block++)
      if ((disk.readAt[block] ?? Infinity) < op.start)
        wrong('VERIFY', `succeeded, but block ${block} was not read`);
    if (!op.fua) return;
    this.#checkFailed(op);
    const late = disk.unsynced.find(
      ({ offset, length, at }) =>
        at < op.start && offset < end * blockSize && op.slba * blockSize < offset + length,
    );
    if (late !== undefined) wrong('DISK.1', 'had FUA and was answered before what it read was synced');
  }

  #changed(op: Op, now: number): void {
    const change = op.change!;
    this.#open.delete(change);
    if (this.#spansCrash(op)) {
      change.closes = now;
      return;
    }
    // Deallocate is advice: acknowledged, it may still have done nothing (DISK.4).
    if (op.kind === 'deallocate') change.closes = now;
    else change.end = now;
    for (let i = 0; i < op.blocks; i++) {
      if (op.kind !== 'deallocate') this.#latest.set(op.slba + i, this.#left(op, i));
      const wrong = this.#blocks[op.slba + i]!.acknowledged(change);
      if (wrong !== undefined)
        this.#report('LINEARIZABLE', `${this.#blocks[op.slba + i]!.name}: ${wrong}`, this.#about(op));
    }
    if (op.fua) {
      change.durable = true;
      this.#checkFua(op);
    } else if (op.kind !== 'deallocate') this.#volatile.push(change);
  }

  /** The value that it left, of a copy at a guess. */
  #left({ kind, id, slba, from }: Op, i: number): number {
    if (kind === 'write') return valueOf(id, slba + i);
    return kind === 'copy' ? (this.#latest.get(from[i]!) ?? 0) : 0;
  }

  /** DISK.1, DISK.6: what was acknowledged with FUA is not waiting for a sync. */
  #checkFua(op: Op): void {
    this.#checkFailed(op);
    if (op.kind !== 'write') return;
    const { unsynced, clock } = this.disk;
    for (const { offset, length, bytes, at } of unsynced) {
      const from = Math.max(offset, op.slba * this.blockSize);
      if (bytes === undefined || from >= Math.min(offset + length, (op.slba + op.blocks) * this.blockSize))
        continue;
      const slba = from / this.blockSize;
      const value = valueOf(op.id, slba);
      const found = readStamp(bytes.subarray(from - offset, from - offset + this.blockSize));
      // It may also have been synced, copied away, and copied back by somebody else.
      if (at < clock.micros && found === value && !this.#blocks[slba]!.copied(value))
        this.#report('DISK.1', `FUA write #${op.id} was acknowledged before it was synced`, this.#about(op));
    }
  }

  /** DISK.1: what was complete before the flush began is not waiting for a sync. */
  #flushed(op: Op): void {
    this.#checkFailed(op);
    const late = this.disk.unsynced.find(({ at }) => at < op.start);
    if (late !== undefined)
      this.#report(
        'DISK.1',
        `flush #${op.id} was acknowledged, but bytes ${late.offset}+${late.length} were not synced`,
        this.#about(op),
      );
    this.#harden(op.start);
  }

  /** What was complete before `start` is on stable storage now. */
  settled(name: string, start: number): void {
    const late = this.disk.unsynced.find(({ at }) => at < start);
    if (late !== undefined)
      this.#report(
        'DISK.1',
        `${name} of ${this.name} was answered, but bytes ${late.offset}+${late.length} were not synced`,
        [this.name, this.disk.name],
      );
    this.#harden(start);
  }

  #harden(start: number): void {
    this.#volatile = this.#volatile.filter((change) => {
      if (change.end < start) change.durable = true;
      return !change.durable;
    });
  }

  #checkFailed(op: Op): void {
    const { failedAt } = this.disk;
    if (failedAt !== undefined && failedAt < op.start)
      this.#report('DISK.2', `${op.kind} #${op.id} was called durable after a failed sync`, this.#about(op));
  }

  // ---- failures

  #failed(op: Op, status: number, now: number, excuses: Excuses, abandoned: boolean): void {
    const code = status & ~DNR;
    if (!abandoned && !this.#excused(op, code, excuses))
      this.#report(
        'STATUS',
        `${op.kind} #${op.id} on ${this.name} ended with ${statusName(status)}, and nothing explains it`,
        this.#about(op),
      );
    const { change } = op;
    if (change === undefined) return;
    // With several connections an attempt before the last one may be on its way still.
    if (code === Status.HostPathError && !op.sent) change.never = true;
    // The only command of it was refused before it was begun.
    else if (
      code === Status.NamespaceWriteProtected &&
      op.commands === 1 &&
      !this.disk.struck.has('sync EIO')
    )
      change.never = true;
    // What storage has begun of a write is never taken from it.
    else if (code === Status.AbortRequested && op.direct && op.kind === 'write') change.never = true;
    else if (code !== Status.HostPathError && code !== Status.AbortedByHost && op.ways <= 1)
      change.closes = now;
    if (change.never || change.closes !== Infinity) this.#open.delete(change);
  }

  /** A command that is no I/O failed; `direct`: as in `Op`. */
  checkExcused(name: string, status: number, excuses: Excuses, preempted = false, direct = false): void {
    const op = {
      kind: 'flush',
      direct,
      beyond: false,
      gates: { refused: false, preempted, protected: false },
    } as const;
    if (!this.#excused(op, status & ~DNR, excuses))
      this.#report(
        'STATUS',
        `${name} on ${this.name} ended with ${statusName(status)}, and nothing explains it`,
        [this.name],
      );
  }

  /** Every status that a client may see, and what must have happened for it. */
  #excused(op: Excusable, code: number, excuses: Excuses): boolean {
    const { struck } = this.disk;
    switch (code) {
      case Status.HostPathError:
      case Status.AbortedByHost:
        return excuses.path;
      case Status.AbortRequested:
        // Its host asked for that, or had waited too long, and it is not to be repeated.
        return excuses.path || excuses.aborted;
      case Status.InternalPathError:
      case Status.AnaPersistentLoss:
      case Status.AnaInaccessible:
      case Status.AnaTransition:
      case Status.CommandSequenceError:
        // Its controller is being disabled, or says so of the namespace.
        return op.direct && excuses.path;
      case Status.TransientTransportError:
        return excuses.corruption;
      case Status.InvalidNamespace:
        return excuses.removed;
      case Status.LbaOutOfRange:
        return op.beyond;
      case Status.ReservationConflict:
        return op.gates.refused;
      case Status.AbortedPreempt:
        return op.gates.preempted;
      case Status.UnrecoveredReadError:
        return (
          (op.kind === 'read' || op.kind === 'copy' || op.kind === 'verify') &&
          (struck.has('read EIO') || struck.has('read short'))
        );
      case Status.WriteFault:
        // A copy that cannot read cannot write.
        if (op.kind === 'copy' && (struck.has('read EIO') || struck.has('read short'))) return true;
        return struck.has('write EIO') || struck.has('sync EIO');
      case Status.CapacityExceeded:
        return struck.has('write ENOSPC');
      case Status.NamespaceWriteProtected:
        return !LOOKS.has(op.kind) && (op.gates.protected || struck.has('sync EIO'));
      default:
        return false;
    }
  }

  // ---- what the world does

  /** Looks for changes whose outcome is unknown and that cannot happen any more. */
  closeUnknown(now: number): void {
    for (const change of this.#open)
      if (change.over?.() === true) {
        change.closes = now;
        this.#open.delete(change);
      }
  }

  /** The target's process is gone: what was under way, and is given up by its host, has happened or never will. */
  targetEnded(now: number): void {
    this.closeUnknown(now);
  }

  /** Power was lost, after `targetEnded`. */
  crashed(now: number): void {
    this.#crashedAt = now;
    BlockHistory.crash(this.#blocks, now);
    // A value that was replaced may be back.
    this.#swaps.clear();
    this.#volatile = [];
  }
}
