/**
 * A target's state: the document in its state folder, and what makes a new one. What `replace` was given is on stable
 * storage when its promise resolves (DISK.3), so whoever exports something waits for it first (LIFE.10).
 */
import { DEFAULT_MODEL } from '../config/apply.ts';
import { asciiProblem } from '../config/checks.ts';
import {
  DOCUMENT_NAME,
  EMPTY,
  MODEL_LENGTH,
  SERIAL_LENGTH,
  type SubsystemEntry,
  type TargetDocument,
  formatDocument,
} from '../config/document.ts';
import { parseDocument } from '../config/schema.ts';
import { UUID_NQN_PREFIX, nqnProblem } from '../nvme/nqn.ts';
import type { Env, Random } from '../runtime/ports.ts';
import { answer, refusal } from './answer.ts';
import { asNvmeError } from './prepare.ts';

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

export const randomSerial = (random: Random): string => hex(random.bytes(SERIAL_LENGTH / 2));

/** The name of the target's discovery subsystem: made up once, whatever becomes of the subsystems. */
const DISCOVERY_DOCUMENT = 'discovery.json';

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

export class TargetState {
  /** There was no document: everything in this one is new, and nothing of it is written yet. */
  readonly isNew: boolean;
  /** Where the document is, for messages. */
  readonly place: string;
  /** The discovery subsystem's own name; hosts find the same one after a restart. */
  readonly discoveryNqn: string;
  #discoveryWritten: boolean;
  readonly #env: Pick<Env, 'store'>;
  #document: TargetDocument;
  #written: string | undefined;

  private constructor(
    env: Pick<Env, 'store'>,
    place: string,
    document: TargetDocument,
    written: string | undefined,
    discovery: { readonly nqn: string; readonly written: boolean },
  ) {
    this.#env = env;
    this.place = place;
    this.#document = document;
    this.#written = written;
    this.isNew = written === undefined;
    this.discoveryNqn = discovery.nqn;
    this.#discoveryWritten = discovery.written;
  }

  /** Reads the document, or takes an empty one. `folder`: the store's. Rejects with EINVAL when it is not one. */
  static async load(env: Pick<Env, 'store' | 'random'>, folder: string | undefined): Promise<TargetState> {
    const place = folder === undefined ? DOCUMENT_NAME : `${folder}/${DOCUMENT_NAME}`;
    const text = await answer<string | undefined>((done) => env.store.read(DOCUMENT_NAME, done));
    const discovery = await readDiscovery(env, place.slice(0, -DOCUMENT_NAME.length));
    if (text === undefined) return new TargetState(env, place, EMPTY, undefined, discovery);
    try {
      return new TargetState(env, place, parseDocument(text), text, discovery);
    } catch (thrown) {
      const error = asNvmeError(thrown);
      throw error ? refusal(error.code, `${place}: ${error.message}`, error.cause) : thrown;
    }
  }

  get document(): TargetDocument {
    return this.#document;
  }

  /** Writes nothing when the same is written already. */
  async replace(document: TargetDocument): Promise<void> {
    if (!this.#discoveryWritten) {
      const nqn = `${JSON.stringify({ version: 1, nqn: this.discoveryNqn }, undefined, 2)}\n`;
      await answer<undefined>((done) => this.#env.store.write(DISCOVERY_DOCUMENT, nqn, done));
      this.#discoveryWritten = true;
    }
    const text = formatDocument(document);
    if (text !== this.#written) {
      await answer<undefined>((done) => this.#env.store.write(DOCUMENT_NAME, text, done));
      this.#written = text;
    }
    this.#document = document;
  }
}

async function readDiscovery(
  { store, random }: Pick<Env, 'store' | 'random'>,
  folder: string,
): Promise<{ nqn: string; written: boolean }> {
  const text = await answer<string | undefined>((done) => store.read(DISCOVERY_DOCUMENT, done));
  if (text === undefined) return { nqn: UUID_NQN_PREFIX + randomUuid(random), written: false };
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    found = undefined;
  }
  const nqn = typeof found === 'object' && found && 'nqn' in found ? found.nqn : undefined;
  const problem = typeof nqn === 'string' ? nqnProblem(nqn) : 'is missing';
  if (typeof nqn === 'string' && problem === undefined) return { nqn, written: true };
  throw refusal(
    'EINVAL',
    `${folder}${DISCOVERY_DOCUMENT}: "nqn" ${problem}; without the file a new name is made up`,
  );
}

/**
 * The subsystem that flags and options are about: the one that is named, the only one, or a new one. Throws an NvmeError
 * when the document is another target's than the one that is wanted: an identity is never changed by the way.
 */
export function mainSubsystem(state: TargetState, random: Random, wanted: WantedIdentity): SubsystemEntry {
  for (const [key, problem] of wrong(wanted)) throw refusal('EINVAL', `${key} ${problem}`);
  const { subsystems } = state.document;
  const [first] = subsystems;
  if (first === undefined)
    return {
      nqn: wanted.nqn ?? UUID_NQN_PREFIX + randomUuid(random),
      serial: wanted.serial ?? randomSerial(random),
      model: wanted.model ?? DEFAULT_MODEL,
      shared: true,
      namespaces: [],
    };
  const found = wanted.nqn === undefined ? first : subsystems.find(({ nqn }) => nqn === wanted.nqn);
  for (const key of ['nqn', 'serial', 'model'] as const) {
    const value = wanted[key];
    const known = (found ?? first)[key];
    if (value === undefined || value === known) continue;
    const what = `its ${key} is ${known}, not ${value}`;
    throw refusal(
      'EINVAL',
      `${state.place} belongs to another target: ${what}; use another state folder or edit it`,
    );
  }
  return found ?? first;
}

function* wrong({ nqn, serial, model }: WantedIdentity): Generator<[string, string]> {
  const problems = {
    NQN: nqn === undefined ? undefined : nqnProblem(nqn),
    'serial number': serial === undefined ? undefined : asciiProblem(serial, SERIAL_LENGTH),
    'model number': model === undefined ? undefined : asciiProblem(model, MODEL_LENGTH),
  };
  for (const [key, problem] of Object.entries(problems)) if (problem !== undefined) yield [key, problem];
}
