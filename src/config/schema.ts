/**
 * The state document as text: read, checked, and brought to the version of today. People may read it, and edit it while
 * the target does not run; so it is checked like any other input, and what is wrong is said by its path.
 */
import { z } from 'zod';
import { nqnProblem } from '../nvme/nqn.ts';
import { addressOf, formatAddress, withoutCovered } from './address.ts';
import {
  addressProblem,
  asciiProblem,
  type Check,
  eui64Problem,
  nguidProblem,
  pathProblem,
  uuidProblem,
} from './checks.ts';
import { consistencyProblem } from './consistency.ts';
import {
  ANA_GROUPS,
  ANA_STATES,
  BLOCK_SIZES,
  FIRMWARE_LENGTH,
  INLINE_DATA_UNIT,
  LAST_CNTLID,
  LAST_NSID,
  LAST_PORT_ID,
  LAST_QID,
  LEAST_QUEUE_SIZE,
  MODEL_LENGTH,
  MOST_INLINE_DATA,
  MOST_QUEUE_SIZE,
  type NamespaceEntry,
  SERIAL_LENGTH,
  type TargetDocument,
} from './document.ts';
import { ConfigError, type Path, formatPath } from './problem.ts';

/** A text with something more to ask of it. */
export const text = (check: Check = () => undefined): z.ZodType<string> =>
  z.string().superRefine((value, context) => {
    const problem = value === '' ? 'is empty' : check(value);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  });

export const whole = (least: number, most: number): z.ZodInt => z.int().min(least).max(most);

export const blockSize = z
  .int()
  .refine((size) => BLOCK_SIZES.includes(size), `has to be ${BLOCK_SIZES.join(' or ')}`);

const uuid = text(uuidProblem).transform((value) => value.toLowerCase());
export const nqn = text(nqnProblem);
export const serial = text((value) => asciiProblem(value, SERIAL_LENGTH));
export const firmware = text((value) => asciiProblem(value, FIRMWARE_LENGTH));
export const ioQueues = whole(1, LAST_QID);
export const inlineDataSize = whole(0, MOST_INLINE_DATA).refine(
  (bytes) => bytes % INLINE_DATA_UNIT === 0,
  `has to be a multiple of ${INLINE_DATA_UNIT}`,
);
export const maxQueueSize = whole(LEAST_QUEUE_SIZE, MOST_QUEUE_SIZE);
export const model = text((value) => asciiProblem(value, MODEL_LENGTH));

const file = {
  path: text(pathProblem),
  fileId: text().exactOptional(),
  born: text().exactOptional(),
};

const namespace = z
  .strictObject({
    nsid: whole(1, LAST_NSID),
    uuid,
    nguid: text(nguidProblem).exactOptional(),
    eui64: text(eui64Problem).exactOptional(),
    blockSize,
    readOnly: z.boolean(),
    anagrpid: whole(1, ANA_GROUPS),
    enabled: z.boolean(),
    shared: z.boolean(),
    hosts: z.array(nqn).exactOptional(),
    ...file,
    path: file.path.exactOptional(),
    memory: whole(1, Number.MAX_SAFE_INTEGER).exactOptional(),
  })
  .superRefine((entry, context) => {
    if ((entry.path === undefined) !== (entry.memory === undefined)) return;
    const message = entry.path === undefined ? 'has neither a path nor memory' : 'has both a path and memory';
    context.addIssue({ code: 'custom', message });
  });

const version2 = z.strictObject({
  version: z.literal(2),
  subsystems: z.array(
    z.strictObject({
      nqn,
      serial,
      model,
      shared: z.boolean(),
      ioQueues: ioQueues.exactOptional(),
      firmware: firmware.exactOptional(),
      ana: z.literal(false).exactOptional(),
      hosts: z.array(nqn).exactOptional(),
      cntlids: z.tuple([whole(1, LAST_CNTLID), whole(1, LAST_CNTLID)]).exactOptional(),
      namespaces: z.array(namespace),
    }),
  ),
  ports: z.array(
    z.strictObject({
      id: whole(1, LAST_PORT_ID),
      address: text(addressProblem),
      enabled: z.boolean(),
      subsystems: z.array(nqn),
      ana: z.array(z.strictObject({ grpid: whole(1, ANA_GROUPS), state: z.enum(ANA_STATES) })),
      referrals: z.array(
        z.strictObject({ name: text(), address: text(addressProblem), id: whole(0, LAST_PORT_ID) }),
      ),
      inlineDataSize: inlineDataSize.exactOptional(),
      maxQueueSize: maxQueueSize.exactOptional(),
    }),
  ),
});

/** One subsystem, on every address. */
const version1 = z.strictObject({
  version: z.literal(1),
  nqn,
  serial,
  model,
  hosts: z.array(nqn).exactOptional(),
  listen: z.array(text(addressProblem)),
  namespaces: z.array(
    z.strictObject({
      nsid: whole(1, LAST_NSID),
      uuid,
      ...file,
      blockSize,
      readOnly: z.boolean(),
    }),
  ),
});

/** Throws a ConfigError that says where and what is wrong. */
export function parseDocument(json: string): TargetDocument {
  const value = parseJson(json);
  const version =
    typeof value === 'object' && value !== null && 'version' in value ? value.version : undefined;
  const document = version === 1 ? upgrade(checked(version1, value)) : current(value, version);
  const problem = consistencyProblem(document);
  if (problem !== undefined) throw problem;
  return document;
}

function current(value: unknown, version: unknown): TargetDocument {
  if (version !== 2 && typeof value === 'object' && value !== null && !Array.isArray(value))
    throw new ConfigError(`version is ${JSON.stringify(version)}, this program knows 1 and 2`, {
      path: 'version',
    });
  return checked(version2, value) as TargetDocument;
}

function upgrade(old: z.infer<typeof version1>): TargetDocument {
  const { hosts, listen } = old;
  return {
    version: 2,
    subsystems: [
      {
        nqn: old.nqn,
        serial: old.serial,
        model: old.model,
        shared: true,
        ...(hosts && { hosts }),
        namespaces: old.namespaces
          .map((entry): NamespaceEntry => ({ ...entry, anagrpid: 1, enabled: true, shared: true }))
          .sort((a, b) => a.nsid - b.nsid),
      },
    ],
    // A wildcard and an address that it covers were one listener.
    ports: withoutCovered(listen.map(addressOf)).map((address, i) => ({
      id: i + 1,
      address: formatAddress(address),
      enabled: true,
      subsystems: [old.nqn],
      ana: [],
      referrals: [],
    })),
  };
}

export function parseJson(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`not JSON: ${cause}`);
  }
}

/** What the schema makes of `value`. Throws a ConfigError about the first thing that is wrong. */
export function checked<T>(schema: z.ZodType<T>, value: unknown, what = 'the document'): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  if (issue === undefined) throw new ConfigError(`${what} is wrong`);
  const { path, problem } = explained(issue, value);
  const place = formatPath(path);
  throw new ConfigError(`${place || what} ${problem}`, { path: place });
}

function explained(issue: z.core.$ZodIssue, root: unknown): { path: Path; problem: string } {
  const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
  const value = valueAt(root, path);
  // A key that is not known is a misspelled one, or of a later version: either way not to be lost silently.
  if (issue.code === 'unrecognized_keys')
    return { path: [...path, ...issue.keys.slice(0, 1)], problem: 'is not known' };
  if (value === undefined) return { path, problem: 'is missing' };
  if (issue.code === 'custom') return { path, problem: issue.message };
  if (issue.code === 'invalid_type')
    return { path, problem: TYPES[issue.expected] ?? `cannot be ${shown(value)}` };
  if (issue.code === 'invalid_value')
    return {
      path,
      problem: `cannot be ${shown(value)}; ${issue.values.map((each) => JSON.stringify(each)).join(', ')} can`,
    };
  if (issue.code === 'too_small' && issue.origin !== 'array')
    return { path, problem: `cannot be ${shown(value)}, at least ${String(issue.minimum)}` };
  if (issue.code === 'too_big' && issue.origin !== 'array')
    return { path, problem: `cannot be ${shown(value)}, at most ${String(issue.maximum)}` };
  return { path, problem: `cannot be ${shown(value)}` };
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'is not a text',
  boolean: 'is neither true nor false',
  array: 'is not a list',
  tuple: 'is not a list',
  object: 'is not an object',
};

function shown(value: unknown): string {
  const json = JSON.stringify(value);
  return json.length > 60 ? `${json.slice(0, 60)}…` : json;
}

function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[part];
  }
  return value;
}
