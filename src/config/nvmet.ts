/**
 * Configuration files: the JSON that nvmetcli writes, and a few keys more. What nvmetcli does not know stands beside
 * its groups of attributes, where it does not look, so that it reads our files, too.
 */
import { z } from 'zod';
import { formatAddress } from './address.ts';
import { checked, parseJson } from './checked.ts';
import { addressProblem, pathProblem } from './checks.ts';
import { FIRMWARE_LENGTH } from './document.ts';
import { ConfigError } from './problem.ts';
import { parseSize } from './units.ts';
import { type Unsupported, setAside } from './unsupported.ts';
import {
  anaGroup,
  anaState,
  anyPortId,
  blockSize,
  cntlid,
  eui64,
  firmware,
  ieeeOui,
  inlineDataSize,
  ioQueues,
  maxQueueSize,
  model,
  nguid,
  nqn,
  nsid,
  portId,
  serial,
  text,
  uuid,
  whole,
} from './values.ts';

/** nvmetcli writes what it reads from configfs: numbers as text. */
const digits = (number: z.ZodType<number, number>) =>
  z.union([z.int(), z.string().regex(/^\d+$/).transform(Number)]).pipe(number);

/** Configfs shows what was never set, too. */
const orUnset = <T extends z.ZodType>(isUnset: (value: unknown) => boolean, schema: T) =>
  z.preprocess((value) => (isUnset(value) ? undefined : value), schema.optional()).optional();
const isZeroes = (value: unknown): boolean => typeof value === 'string' && /^(0x)?[0-]*$/.test(value);
const isMinusOne = (value: unknown): boolean => value === -1 || value === '-1';

const flag = z
  .union([z.boolean(), z.literal([0, 1]), z.enum(['0', '1'])])
  .transform((value) => value === true || value === 1 || value === '1');

const size = z.union([whole(1, Number.MAX_SAFE_INTEGER), z.string()]).transform((value, context) => {
  const bytes = typeof value === 'number' ? value : parseSize(value);
  if (bytes !== undefined && bytes > 0) return bytes;
  context.addIssue({
    code: 'custom',
    message: `${JSON.stringify(value)} is not a size; 4096, "4k" and "1G" are`,
  });
  return z.NEVER;
});

const namespace = z.strictObject({
  nsid: digits(nsid).optional(),
  enable: flag.default(true),
  device: z
    .strictObject({
      path: text(pathProblem).optional(),
      uuid: orUnset(isZeroes, uuid),
      nguid: orUnset(isZeroes, nguid),
    })
    .default({}),
  ana: z.strictObject({ grpid: digits(anaGroup).optional() }).default({}),
  ana_grpid: digits(anaGroup).optional(),
  // Ours.
  eui64: eui64.optional(),
  memory: size.optional(),
  size: size.optional(),
  block_size: blockSize.optional(),
  read_only: z.boolean().optional(),
  shared: z.boolean().optional(),
  hosts: z.array(nqn).optional(),
});

const subsystem = z.strictObject({
  nqn,
  attr: z
    .strictObject({
      allow_any_host: flag.default(false),
      serial: serial.optional(),
      model: model.optional(),
      cntlid_min: digits(cntlid).optional(),
      cntlid_max: digits(cntlid).optional(),
      qid_max: digits(ioQueues).optional(),
      // Linux shows its whole release where none was set, and tells hosts what fits.
      firmware: z
        .string()
        .transform((value) => value.slice(0, FIRMWARE_LENGTH).trim())
        .pipe(firmware)
        .optional(),
      ieee_oui: orUnset(isZeroes, ieeeOui),
    })
    .default({ allow_any_host: false }),
  allowed_hosts: z.array(nqn).default([]),
  namespaces: z.array(namespace).default([]),
  // Ours.
  shared: z.boolean().default(true),
  ana: z.boolean().default(true),
});

/** Which kinds of address there are. */
const adrfam = z.enum(['ipv4', 'ipv6']);

const place = z
  .strictObject({
    trtype: z.literal('tcp').default('tcp'),
    adrfam: adrfam.optional(),
    traddr: text(),
    trsvcid: digits(whole(0, 65_535)).default(4420),
    portid: digits(anyPortId).default(0),
  })
  .superRefine(({ adrfam: family, traddr, trsvcid }, context) => {
    const isV6 = traddr.includes(':');
    const problem = addressProblem(formatAddress({ host: traddr, port: trsvcid }));
    if (problem !== undefined)
      context.addIssue({
        code: 'custom',
        path: ['traddr'],
        message: `${JSON.stringify(traddr)} is not an address`,
      });
    else if (family !== undefined && (family === 'ipv6') !== isV6)
      context.addIssue({ code: 'custom', path: ['adrfam'], message: `is ${family}, and ${traddr} is not` });
  });

const port = z.strictObject({
  portid: digits(portId),
  addr: place,
  param: z
    .strictObject({
      inline_data_size: orUnset(isMinusOne, digits(inlineDataSize)),
      max_queue_size: orUnset(isMinusOne, digits(maxQueueSize)),
    })
    .default({}),
  subsystems: z.array(nqn).default([]),
  ana_groups: z
    .array(
      z.strictObject({
        grpid: digits(anaGroup),
        ana: z.strictObject({ state: anaState.default('optimized') }).default({ state: 'optimized' }),
      }),
    )
    .default([]),
  referrals: z.array(z.strictObject({ name: text(), addr: place, enable: flag.default(true) })).default([]),
  // Ours.
  enable: flag.default(true),
});

const file = z.strictObject({
  hosts: z.array(z.strictObject({ nqn })).default([]),
  subsystems: z.array(subsystem).default([]),
  ports: z.array(port).default([]),
});

export type Config = z.infer<typeof file>;
export type ConfigNamespace = Config['subsystems'][number]['namespaces'][number];

export interface ReadConfig {
  readonly config: Config;
  /** What the file asks for that there is not. */
  readonly unsupported: readonly Unsupported[];
}

/** Throws a ConfigError that says where and what is wrong. */
export function readConfig(json: string): ReadConfig {
  const value = parseJson(json);
  if (typeof value === 'object' && value !== null && 'version' in value)
    throw new ConfigError(
      'version is not known: this looks like target.json, a target\'s own state; "nvmetcp target save" writes a configuration',
      { path: 'version' },
    );
  const { rest, unsupported } = setAside(value);
  const config = checked(file, rest, 'the configuration');
  for (const [i, { namespaces }] of config.subsystems.entries())
    for (const [j, entry] of namespaces.entries()) checkNamespace(entry, `subsystems[${i}].namespaces[${j}]`);
  return { config, unsupported };
}

function checkNamespace(entry: ConfigNamespace, at: string): void {
  const { memory, size: bytes, device, ana, ana_grpid, block_size = 512 } = entry;
  const wrong = (key: string, message: string): never => {
    throw new ConfigError(`${at}${key} ${message}`, { path: `${at}${key}` });
  };
  if ((device.path === undefined) === (memory === undefined))
    wrong(
      '',
      memory === undefined ? 'has neither device.path nor memory' : 'has both device.path and memory',
    );
  if (ana.grpid !== undefined && ana_grpid !== undefined && ana.grpid !== ana_grpid)
    wrong('.ana_grpid', `is ${ana_grpid}, and ana.grpid is ${ana.grpid}`);
  for (const [key, value] of [
    ['.memory', memory],
    ['.size', bytes],
  ] as const)
    if (value !== undefined && value % block_size !== 0)
      wrong(key, `is not a whole number of ${block_size}-byte blocks`);
  if (memory !== undefined && entry.read_only) wrong('.read_only', 'makes no sense for memory');
}

export const groupOf = ({ ana, ana_grpid }: ConfigNamespace): number => ana_grpid ?? ana.grpid ?? 1;
