/**
 * What a target learns about a namespace while it runs and must know again after a restart: who owns it, whether it is
 * write protected, its reservation. One document per namespace, `namespace-<uuid>.json`, always replaced as a whole.
 * What the operator decides is not here but in the configuration.
 */
import type { IoDone, IoError, StateStore } from '../runtime/ports.ts';

/** The parts belong to different owners, who check what they find; a part that is left out is as for a new namespace. */
export interface NamespaceFacts {
  owner?: unknown;
  writeProtect?: unknown;
  reservation?: unknown;
}

const VERSION = 1;
export const factsDocument = (uuid: string): string => `namespace-${uuid}.json`;

/** A save that runs, and the one that follows it: newer facts replace what was not begun yet. */
interface Saving {
  told: readonly IoDone[];
  next: { text: string; told: IoDone[] } | undefined;
  /** The namespace is gone: what is to be done behind all of them. */
  readonly after: (() => void)[];
}

export class FactsStore {
  readonly #store: StateStore;
  readonly #saving = new Map<string, Saving>();

  constructor(store: StateStore) {
    this.#store = store;
  }

  /**
   * What is known of a namespace; nothing yet: no parts. EBADMSG: there is a document that cannot be understood, and a
   * namespace must not be exported as if it had no reservation.
   */
  load(uuid: string, done: (error: IoError | undefined, facts: NamespaceFacts) => void): void {
    this.#store.read(factsDocument(uuid), (error, text) => {
      if (error !== undefined || text === undefined) {
        done(error, {});
        return;
      }
      const facts = parse(text);
      if (facts !== undefined) done(undefined, facts);
      else
        done(
          { code: 'EBADMSG', message: `${factsDocument(uuid)} is not the facts of a namespace: restore it` },
          {},
        );
    });
  }

  /**
   * Writes all parts as they are now; `done` is called when they are on stable storage. Saves of one namespace run one
   * after the other, and those that wait are one.
   */
  save(uuid: string, facts: NamespaceFacts, done: IoDone): void {
    const text = `${JSON.stringify({ version: VERSION, ...facts }, undefined, 2)}\n`;
    const running = this.#saving.get(uuid);
    if (running === undefined) this.#write(uuid, text, [done]);
    else running.next = { text, told: [...(running.next?.told ?? []), done] };
  }

  /** Tells when what was saved until now is on stable storage, and with what error the last save ended. */
  settled(uuid: string, done: IoDone): void {
    const running = this.#saving.get(uuid);
    if (running === undefined) done(undefined);
    else if (running.next === undefined) running.told = [...running.told, done];
    else running.next.told.push(done);
  }

  /** The namespace is gone for good; behind what is being saved of it, which would bring the document back. */
  remove(uuid: string, done: IoDone): void {
    const remove = (): void => this.#store.remove(factsDocument(uuid), done);
    const running = this.#saving.get(uuid);
    if (running === undefined) remove();
    else running.after.push(remove);
  }

  /** Saves that are under way. */
  get saving(): number {
    return this.#saving.size;
  }

  #write(uuid: string, text: string, told: readonly IoDone[], after: (() => void)[] = []): void {
    const saving: Saving = { told, next: undefined, after };
    this.#saving.set(uuid, saving);
    this.#store.write(factsDocument(uuid), text, (error) => {
      this.#saving.delete(uuid);
      // First the next one, so that a save that somebody makes when he is told stands behind it.
      if (saving.next !== undefined) this.#write(uuid, saving.next.text, saving.next.told, after);
      else for (const then of after) then();
      for (const done of saving.told) done(error);
    });
  }
}

function parse(text: string): NamespaceFacts | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('version' in value) || value.version !== VERSION)
    return undefined;
  const { owner, writeProtect, reservation } = value as NamespaceFacts;
  return {
    ...(owner !== undefined && { owner }),
    ...(writeProtect !== undefined && { writeProtect }),
    ...(reservation !== undefined && { reservation }),
  };
}
