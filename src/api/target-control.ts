/**
 * The one way in which anything of a target changes: an edit of the document, the difference to what runs, everything
 * that can fail, the document on stable storage (DISK.3), and then what cannot fail. Changes are made one after the
 * other. What cannot be done yet, an address that no interface has, a disk that is not there, may stay pending; it is
 * tried again, and shown.
 */
import type { NodeEnv } from '../runtime/node/env.ts';
import type { Timer } from '../runtime/ports.ts';
import { consistencyProblem } from '../config/consistency.ts';
import { EMPTY, type TargetDocument } from '../config/document.ts';
import { type Change, describeChange, diff, keyOf } from '../config/plan.ts';
import type { Target } from '../target/target.ts';
import { refusal } from './answer.ts';
import { Commit } from './commit.ts';
import { NvmeError } from './error.ts';
import { Preparation, type Problem, asNvmeError } from './prepare.ts';
import type { TargetState } from './target-state.ts';

export const RETRY = 5000;

/** What is wanted, and files that have to be made for it, by path, with their sizes. */
export interface Wanted {
  readonly document: TargetDocument;
  readonly make?: ReadonlyMap<string, number>;
}

export type WantedEdit = (document: TargetDocument) => Wanted | Promise<Wanted>;

export interface ChangeOptions {
  /** Subsystems go although hosts are connected to them. */
  readonly force?: boolean;
  /** What may stay pending; without it only what was pending before. */
  readonly lenient?: (change: Change, error: NvmeError) => boolean;
  /** Nothing is done: only the plan is wanted. */
  readonly dry?: boolean;
}

/** Something that is configured and not there. */
export interface Pending {
  readonly change: Change;
  readonly error: NvmeError;
}

export class TargetControl {
  readonly env: NodeEnv;
  readonly target: Target;
  readonly state: TargetState;
  #running: TargetDocument = EMPTY;
  #pending = new Map<string, Problem>();
  #last: Promise<unknown> = Promise.resolve();
  #retry: Timer | undefined = undefined;
  #started = false;
  #stopped = false;

  constructor(env: NodeEnv, target: Target, state: TargetState) {
    this.env = env;
    this.target = target;
    this.state = state;
  }

  /** The configuration, with what goes with the process. */
  get wanted(): TargetDocument {
    return this.state.document;
  }

  get pending(): readonly Pending[] {
    return [...this.#pending.values()];
  }

  /**
   * Makes what `edit` makes of the document, or nothing at all: rejects with an NvmeError, whose `cause` is a
   * ConfigError with a path where it is about one. The result: what was done, or would be.
   */
  change(edit: WantedEdit, options: ChangeOptions = {}): Promise<Change[]> {
    const mine = this.#last.then(() => this.#change(edit, options));
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  /** What `edit` would change, now. */
  plan(edit: WantedEdit): Promise<Change[]> {
    return this.change(edit, { dry: true });
  }

  /** No more changes; resolves when the last one is over. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#retry?.cancel();
    await this.#last;
  }

  async #change(edit: WantedEdit, options: ChangeOptions): Promise<Change[]> {
    if (this.#stopped) throw refusal('ESHUTDOWN', 'the target stops');
    const { document, make = new Map<string, number>() } = await this.#edited(edit);
    const plan = diff(this.#running, document);
    if (options.dry) return plan;
    const { env, target, state } = this;
    const preparation = new Preparation(env, target, {
      make,
      force: options.force ?? false,
      lenient: (change, error) =>
        isSame(this.#pending.get(keyOf(change))?.change, change) || options.lenient?.(change, error) === true,
      place: state.place,
    });
    await preparation.run(plan, document);
    const wanted = preparation.completed(document, plan);
    try {
      await state.replace(wanted);
    } catch (error) {
      await preparation.undo();
      throw error;
    }
    await new Commit(env, target, preparation, wanted).run(plan);
    this.#running = withoutPending(wanted, preparation.left);
    this.#settlePending(preparation.left, new Set(plan.map(keyOf)));
    const made = plan.filter((change) => !preparation.left.has(keyOf(change)));
    // What it begins with is said by whoever starts it.
    if (this.#started) for (const change of made) env.trace.event('info', describeChange(change), {});
    this.#started = true;
    return made;
  }

  async #edited(edit: WantedEdit): Promise<Wanted> {
    try {
      const wanted = await edit(this.wanted);
      const problem = consistencyProblem(wanted.document);
      if (problem !== undefined) throw problem;
      return wanted;
    } catch (thrown) {
      throw asNvmeError(thrown) ?? thrown;
    }
  }

  /** Says what is new about what is not there, and tries again later. */
  #settlePending(left: ReadonlyMap<string, Problem>, tried: ReadonlySet<string>): void {
    const { trace } = this.env;
    for (const [key, { change }] of this.#pending)
      if (!left.has(key) && tried.has(key)) trace.event('info', `${nameOf(change)} is there now`, {});
    for (const [key, { change, error }] of left) {
      if (this.#pending.get(key)?.error.message === error.message) continue;
      const what =
        change.kind === 'add port' ? error.message : `${nameOf(change)} is not exported: ${error.message}`;
      trace.event('error', `${what}; it is tried again every ${RETRY / 1000} s`, {});
    }
    this.#pending = new Map(left);
    this.#retry?.cancel();
    if (left.size === 0 || this.#stopped) return;
    this.#retry = this.env.clock.timer('tries again what is not there', RETRY, () => void this.#again());
  }

  async #again(): Promise<void> {
    try {
      await this.change((document) => ({ document }));
    } catch (error) {
      // Nothing new was asked for, so only the disk of the state folder can refuse.
      if (!(error instanceof NvmeError)) throw error;
      if (!this.#stopped) this.env.trace.event('error', error.message, {});
    }
  }
}

const isSame = (one: Change | undefined, other: Change): boolean =>
  JSON.stringify(one) === JSON.stringify(other);

const nameOf = (change: Change): string =>
  'nsid' in change
    ? `namespace ${change.nsid} of ${change.nqn}`
    : change.kind === 'add port'
      ? `port ${change.id}, ${change.port.address},`
      : keyOf(change);

/** What runs: the document without what is not there. */
function withoutPending(document: TargetDocument, left: ReadonlyMap<string, Problem>): TargetDocument {
  if (left.size === 0) return document;
  return {
    ...document,
    subsystems: document.subsystems.map((subsystem) => ({
      ...subsystem,
      namespaces: subsystem.namespaces.filter(({ nsid }) => !left.has(`${subsystem.nqn} ${nsid}`)),
    })),
    ports: document.ports.filter(({ id }) => !left.has(`port ${id}`)),
  };
}
