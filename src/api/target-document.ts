/**
 * What a target keeps over restarts: one document, `target.json`, in its state folder. People may read it, and edit it
 * while the target does not run; so it is checked like any other input, and what is wrong is said by its path.
 */
import { nqnProblem } from '../nvme/nqn.ts';
import { uuidBytes } from '../layout/field.ts';
import { parseAddress } from '../config/address.ts';

export const DOCUMENT_NAME = 'target.json';

/** A namespace in a file. Memory namespaces are not kept: their data is gone with the process, and so is their name. */
export interface NamespaceEntry {
  readonly nsid: number;
  readonly uuid: string;
  /** Absolute. Where the file was last seen; what it is, `fileId` and `born` say. */
  readonly path: string;
  /** `device:inode`, or `block:major:minor`. */
  readonly fileId: string;
  /** When the file was made, in nanoseconds since 1970: an inode number comes back, this does not. */
  readonly born?: string;
  readonly blockSize: number;
  readonly readOnly: boolean;
}

export interface TargetDocument {
  readonly version: 1;
  readonly nqn: string;
  readonly serial: string;
  readonly model: string;
  /** Host NQNs that may connect; without it every host may. */
  readonly hosts?: readonly string[];
  readonly listen: readonly string[];
  readonly namespaces: readonly NamespaceEntry[];
}

export const BLOCK_SIZES: readonly number[] = [512, 4096];
/** Longest serial and model number, in ASCII characters. */
export const SERIAL_LENGTH = 20;
export const MODEL_LENGTH = 40;
const LAST_NSID = 0xffff_fffe;

const isAscii = (text: string): boolean => /^[\x20-\x7e]+$/.test(text);

/** Why it cannot be a serial or model number of up to `most` characters; undefined when it can. */
export function asciiProblem(text: string, most: number): string | undefined {
  if (text.trim() === '') return 'is blank';
  if (!isAscii(text)) return 'has characters other than printable ASCII';
  return text.length > most ? `has ${text.length} characters, at most ${most} are allowed` : undefined;
}

/** The document, with the line ends and indentation of a file that people read. */
export const formatDocument = (document: TargetDocument): string => `${JSON.stringify(document, null, 2)}\n`;

/** Throws a RangeError that says where and what is wrong. */
export function parseDocument(text: string): TargetDocument {
  const root = new Reader(parseJson(text), '');
  const version = root.value('version');
  if (version !== 1) throw new RangeError(`version is ${JSON.stringify(version)}, this program knows 1`);
  const hosts = root.value('hosts') === undefined ? undefined : root.list('hosts', placedText);
  const document: TargetDocument = {
    version: 1,
    nqn: root.text('nqn', nqnProblem),
    serial: root.text('serial', (serial) => asciiProblem(serial, SERIAL_LENGTH)),
    model: root.text('model', (model) => asciiProblem(model, MODEL_LENGTH)),
    ...(hosts && { hosts: hosts.map((host) => checked(host, nqnProblem)) }),
    listen: root.list('listen', placedText).map((address) => checked(address, addressProblem)),
    namespaces: root.list('namespaces', (value, path) => entry(new Reader(value, path))),
  };
  root.noMore(Object.keys({ ...document, hosts }));
  noneTwice(document.namespaces);
  return document;
}

function noneTwice(entries: readonly NamespaceEntry[]): void {
  for (const key of ['nsid', 'uuid', 'path', 'fileId'] as const) {
    const seen = new Set<string>();
    for (const { [key]: value, born } of entries) {
      // The inode of a file that is gone may be another file's now.
      const known = key === 'fileId' ? `${value} ${born ?? ''}` : String(value);
      if (seen.has(known)) throw new RangeError(`namespaces: two of them have the ${key} ${value}`);
      seen.add(known);
    }
  }
}

function entry(reader: Reader): NamespaceEntry {
  const born = reader.value('born') === undefined ? undefined : reader.text('born');
  const read: NamespaceEntry = {
    nsid: reader.number('nsid', (nsid) => nsid >= 1 && nsid <= LAST_NSID),
    uuid: reader.text('uuid', uuidProblem).toLowerCase(),
    path: reader.text('path', (path) => (path.startsWith('/') ? undefined : 'is not an absolute path')),
    fileId: reader.text('fileId'),
    ...(born !== undefined && { born }),
    blockSize: reader.number('blockSize', (size) => BLOCK_SIZES.includes(size)),
    readOnly: reader.flag('readOnly'),
  };
  reader.noMore(Object.keys({ ...read, born }));
  return read;
}

export function uuidProblem(uuid: string): string | undefined {
  const bytes = uuidBytes(uuid);
  if (bytes === undefined) return `${JSON.stringify(uuid)} is not a UUID`;
  return bytes.every((byte) => byte === 0) ? 'is all zeroes, which means none' : undefined;
}

const addressProblem = (text: string): string | undefined =>
  parseAddress(text) === undefined ? `${JSON.stringify(text)} is not HOST:PORT` : undefined;

type Problem = (text: string) => string | undefined;
interface Placed {
  readonly text: string;
  readonly path: string;
}

function checked({ text, path }: Placed, problem: Problem): string {
  const wrong = problem(text);
  if (wrong !== undefined) throw new RangeError(`${path} ${wrong}`);
  return text;
}

function placedText(value: unknown, path: string): Placed {
  if (typeof value !== 'string') throw new RangeError(`${path} is not a text`);
  return { text: value, path };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new RangeError(`not JSON: ${cause}`, { cause: error });
  }
}

/** One object of the document, with the path that leads to it. */
class Reader {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #path: string;

  constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new RangeError(`${path || 'the document'} is not an object`);
    this.#object = value as Readonly<Record<string, unknown>>;
    this.#path = path === '' ? '' : `${path}.`;
  }

  value(key: string): unknown {
    return this.#object[key];
  }

  text(key: string, problem: Problem = () => undefined): string {
    const placed = placedText(this.value(key), this.#path + key);
    if (placed.text === '') throw new RangeError(`${placed.path} is empty`);
    return checked(placed, problem);
  }

  number(key: string, allowed: (value: number) => boolean): number {
    const value = this.value(key);
    if (typeof value !== 'number' || !Number.isInteger(value) || !allowed(value))
      throw new RangeError(`${this.#path}${key} cannot be ${JSON.stringify(value)}`);
    return value;
  }

  flag(key: string): boolean {
    const value = this.value(key);
    if (typeof value !== 'boolean') throw new RangeError(`${this.#path}${key} is neither true nor false`);
    return value;
  }

  list<T>(key: string, each: (value: unknown, path: string) => T): T[] {
    const value = this.value(key);
    if (!Array.isArray(value)) throw new RangeError(`${this.#path}${key} is not a list`);
    return value.map((item: unknown, i) => each(item, `${this.#path}${key}[${i}]`));
  }

  /** A key that is not known is a misspelled one, or of a later version: either way not to be lost silently. */
  noMore(known: readonly string[]): void {
    const unknown = Object.keys(this.#object).find((key) => !known.includes(key));
    if (unknown !== undefined) throw new RangeError(`${this.#path}${unknown} is not known`);
  }
}
