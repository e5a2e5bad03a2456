/**
 * A target's state: the document in its state folder, and what makes a new one. What `replace` was given is on stable
 * storage when its promise resolves (DISK.3), so whoever exports something waits for it first (LIFE.10).
 */
import { UUID_NQN_PREFIX, nqnProblem } from '../nvme/nqn.ts';
import type { Env, Random } from '../runtime/ports.ts';
import {
  DOCUMENT_NAME,
  MODEL_LENGTH,
  SERIAL_LENGTH,
  type TargetDocument,
  asciiProblem,
  formatDocument,
  parseDocument,
} from './target-document.ts';
import { answer, refusal } from './answer.ts';

/** What may be asked for; what is not is made up, once. */
export interface WantedIdentity {
  readonly nqn?: string | undefined;
  readonly serial?: string | undefined;
  readonly model?: string | undefined;
}

/** Version 4: random (RFC 9562, section 5.4). */
export function randomUuid(random: Random): string {
  const bytes = Uint8Array.from(random.bytes(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

export class TargetState {
  /** There was no document: everything in this one is new, and nothing of it is written yet. */
  readonly isNew: boolean;
  /** Where the document is, for messages. */
  readonly place: string;
  readonly #env: Pick<Env, 'store'>;
  #document: TargetDocument;
  #written: string | undefined = undefined;

  private constructor(env: Pick<Env, 'store'>, place: string, document: TargetDocument, isNew: boolean) {
    this.#env = env;
    this.place = place;
    this.#document = document;
    this.isNew = isNew;
  }

  /**
   * Reads the document, or makes one. `folder`: the store's, for messages. Rejects with EINVAL when the document is
   * not one, or is another target's than the one that is wanted: an identity is never changed by the way.
   */
  static async load(
    env: Pick<Env, 'store' | 'random'>,
    folder: string | undefined,
    wanted: WantedIdentity,
  ): Promise<TargetState> {
    for (const [key, problem] of wrong(wanted)) throw refusal('EINVAL', `${key} ${problem}`);
    const place = folder === undefined ? DOCUMENT_NAME : `${folder}/${DOCUMENT_NAME}`;
    const text = await answer<string | undefined>((done) => env.store.read(DOCUMENT_NAME, done));
    if (text === undefined) return new TargetState(env, place, fresh(env.random, wanted), true);
    const document = readDocument(text, place);
    for (const key of ['nqn', 'serial', 'model'] as const) {
      const value = wanted[key];
      if (value === undefined || value === document[key]) continue;
      const known = `its ${key} is ${document[key]}, not ${value}`;
      throw refusal(
        'EINVAL',
        `${place} belongs to another target: ${known}; use another state folder or edit it`,
      );
    }
    const state = new TargetState(env, place, document, false);
    state.#written = text;
    return state;
  }

  get document(): TargetDocument {
    return this.#document;
  }

  /** Writes nothing when the same is written already. */
  async replace(document: TargetDocument): Promise<void> {
    const text = formatDocument(document);
    if (text !== this.#written) {
      await answer<undefined>((done) => this.#env.store.write(DOCUMENT_NAME, text, done));
      this.#written = text;
    }
    this.#document = document;
  }
}

function* wrong({ nqn, serial, model }: WantedIdentity): Generator<[string, string]> {
  const problems = {
    NQN: nqn === undefined ? undefined : nqnProblem(nqn),
    'serial number': serial === undefined ? undefined : asciiProblem(serial, SERIAL_LENGTH),
    'model number': model === undefined ? undefined : asciiProblem(model, MODEL_LENGTH),
  };
  for (const [key, problem] of Object.entries(problems)) if (problem !== undefined) yield [key, problem];
}

function readDocument(text: string, place: string): TargetDocument {
  try {
    return parseDocument(text);
  } catch (error) {
    if (error instanceof RangeError) throw refusal('EINVAL', `${place}: ${error.message}`, error);
    throw error;
  }
}

function fresh(random: Random, wanted: WantedIdentity): TargetDocument {
  return {
    version: 1,
    nqn: wanted.nqn ?? UUID_NQN_PREFIX + randomUuid(random),
    serial: wanted.serial ?? hex(random.bytes(SERIAL_LENGTH / 2)),
    model: wanted.model ?? 'nvme-tcp',
    listen: [],
    namespaces: [],
  };
}
