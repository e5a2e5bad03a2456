/**
 * Asymmetric Namespace Access as one controller tells it (NVMe Base 2.1, section 8.1.1): the state of each group, from
 * the log, which is read when the controller is live, after an ANA Change event, and after a command that ended with
 * an ANA status. A log that is not right is not believed at all, and asked for again.
 *
 * A group in transition has ANATT to come out of it. When that is over, the log is read once more, as an event may
 * have been lost; if it still says the same, the controller is reset.
 */
import {
  AnaState,
  anaLogSize,
  anaStateName,
  type AnaGroup,
  type AnaLimits,
  type AnaLog,
  decodeAnaLog,
} from '../nvme/ana-log.ts';
import { DecodeError } from '../nvme/decode-error.ts';
import { assert } from '../runtime/assert.ts';
import type { Clock, Level, Timer } from '../runtime/ports.ts';
import type { NamespaceInfo } from './namespace.ts';

/** What it needs of its controller. */
export interface AnaOwner {
  readonly name: string;
  readonly clock: Clock;
  /** Before a log that could not be had is asked for again, ms. */
  readonly again: number;
  /** The controller is live: what the log says may be applied (QUIESCE.11). */
  readonly live: boolean;
  /** ANA groups that a path of ours is in. */
  groupsInUse(): ReadonlySet<number>;
  /** Reads the log, `bytes` of it; an empty answer: it cannot be had now. Nothing is answered once the association is over. */
  readLog(bytes: number, done: (log: Uint8Array | string) => void): void;
  /** States may be others than before. */
  anaChanged(): void;
  reset(why: string): void;
  log(level: Level, what: string, fields: Record<string, string | number | undefined>): void;
}

/** What Identify Controller says about it. */
export interface AnaCapabilities extends AnaLimits {
  readonly nanagrpid: number;
  readonly mnan: number;
  /** Seconds. */
  readonly anatt: number;
}

/** Bytes of the whole log, or why ANA cannot be used. */
export function anaLogBytes(
  { nanagrpid, mnan, nn, anagrpmax }: AnaCapabilities,
  most: number,
): number | string {
  if (mnan > nn) return `MNAN ${mnan} is more than NN ${nn}`;
  if (nanagrpid === 0 || nanagrpid > anagrpmax)
    return `NANAGRPID ${nanagrpid} is not from 1 to ANAGRPMAX ${anagrpmax}`;
  const bytes = anaLogSize(nanagrpid, mnan === 0 ? nn : mnan);
  return bytes > most ? `its log of ${bytes} bytes is more than one command can read, ${most}` : bytes;
}

/** Where a controller does not say how long a transition takes, ms. */
const DEFAULT_ANATT = 10_000;

interface Transition {
  readonly chgcnt: number;
  readonly timer: Timer;
  overdue: boolean;
}

export class Ana {
  readonly #owner: AnaOwner;
  readonly #capabilities: AnaCapabilities;
  readonly #bytes: number;
  /** Undefined: nothing is known of this association. */
  #groups: ReadonlyMap<number, AnaGroup> | undefined = undefined;
  /** Which group a namespace is in, where the log says so. */
  #homes: ReadonlyMap<number, number> = new Map<number, number>();
  /** Read before the controller was live. */
  #early: AnaLog | undefined = undefined;
  #reading = false;
  #again = false;
  #retry: Timer | undefined = undefined;
  readonly #transitions = new Map<number, Transition>();
  /** Logs that were not believed. */
  refused = 0;
  /** CHGCNT of the last log. */
  chgcnt = 0;
  #ended = false;

  constructor(owner: AnaOwner, capabilities: AnaCapabilities, bytes: number) {
    this.#owner = owner;
    this.#capabilities = capabilities;
    this.#bytes = bytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Undefined: not known yet. A namespace that is in no group is as good as any. */
  state({ nsid, anagrpid }: NamespaceInfo): AnaState | undefined {
    if (this.#groups === undefined) return undefined;
    const group = this.#homes.get(nsid) ?? anagrpid;
    return group === 0 ? AnaState.Optimized : this.#groups.get(group)?.state;
  }

  group({ nsid, anagrpid }: NamespaceInfo): number {
    return this.#homes.get(nsid) ?? anagrpid;
  }

  /** Transitions that end some time, and a log that is to be read again. */
  get timers(): readonly Timer[] {
    const timers = [...this.#transitions.values()].map(({ timer }) => timer);
    return this.#retry === undefined ? timers : [...timers, this.#retry];
  }

  // ---- reading

  /** Asks for the log; once more when it is being read already, as what comes may be old. */
  read(): void {
    this.#again = this.#reading;
    if (this.#reading || this.#ended || !this.#owner.live) return;
    this.#reading = true;
    this.#retry?.cancel();
    this.#retry = undefined;
    this.#owner.readLog(this.#bytes, (log) => {
      this.#reading = false;
      if (this.#ended) return;
      if (typeof log === 'string') this.#cannot(log);
      else this.receive(log);
      if (this.#again) this.read();
    });
  }

  #cannot(why: string): void {
    const { clock, name, again } = this.#owner;
    this.#owner.log('warn', 'the ANA log is not used', { why });
    this.#retry ??= clock.timer(`${name}: reads the ANA log again`, again, () => {
      this.#retry = undefined;
      this.read();
    });
  }

  /** A log came, on whatever way; gives why it is not believed. Before the controller is live it is only kept (QUIESCE.11). */
  receive(bytes: Uint8Array): string | undefined {
    let log: AnaLog;
    try {
      log = decodeAnaLog(bytes, this.#capabilities);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.refused++;
      this.#cannot(error.message);
      return error.message;
    }
    if (this.#owner.live) this.#apply(log);
    else this.#early = log;
    return undefined;
  }

  /** The controller is live: what was read on the way is applied, and asked for anew. */
  live(): void {
    if (this.#early !== undefined) this.#apply(this.#early);
    this.#early = undefined;
    this.read();
  }

  #apply(log: AnaLog): void {
    assert(this.#owner.live, `${this.#owner.name}: an ANA log is applied only when it is live (QUIESCE.11)`);
    const groups = new Map(log.groups.map((group) => [group.agid, group]));
    const homes = new Map<number, number>();
    for (const { agid, nsids } of log.groups) for (const nsid of nsids) homes.set(nsid, agid);
    for (const [agid, { state }] of groups) {
      const before = this.#groups?.get(agid)?.state;
      if (before !== undefined && before !== state)
        this.#owner.log('info', 'ANA group changes', {
          group: agid,
          before: anaStateName(before),
          state: anaStateName(state),
        });
    }
    this.#groups = groups;
    this.#homes = homes;
    this.chgcnt = log.chgcnt;
    this.#owner.anaChanged();
    this.watch();
  }

  // ---- transitions

  /** Starts and ends the timers of groups in transition that are in use. */
  watch(): void {
    const inUse = this.#owner.groupsInUse();
    for (const [agid, { timer, chgcnt, overdue }] of [...this.#transitions]) {
      const group = this.#groups?.get(agid);
      const same = group?.state === AnaState.Change && group.chgcnt === chgcnt && inUse.has(agid);
      if (same && overdue) {
        this.#owner.reset(`ANA group ${agid} is in transition for longer than ANATT`);
        return;
      }
      if (same) continue;
      timer.cancel();
      this.#transitions.delete(agid);
    }
    for (const agid of inUse) {
      const group = this.#groups?.get(agid);
      if (group?.state !== AnaState.Change || this.#transitions.has(agid)) continue;
      const { clock, name } = this.#owner;
      const ms = this.#capabilities.anatt * 1000 || DEFAULT_ANATT;
      const timer = clock.timer(`${name}: ANATT of group ${agid}`, ms, () => {
        transition.overdue = true;
        this.read();
      });
      const transition: Transition = { chgcnt: group.chgcnt, timer, overdue: false };
      this.#transitions.set(agid, transition);
    }
  }

  /** The association is over: nothing of this is true any more. */
  end(): void {
    this.#ended = true;
    this.#retry?.cancel();
    this.#retry = undefined;
    for (const { timer } of this.#transitions.values()) timer.cancel();
    this.#transitions.clear();
  }
}
