/** What is changed of the plan that a seed draws: how a shrunk simulation is written down, and read again. */
import { swarm, type Plan } from './plan.ts';

/** Fields of a plan that are one number, or yes (1) and no (0). */
const NUMBERS = [
  'hosts',
  'targets',
  'addresses',
  'lastAddressAt',
  'subsystems',
  'namespaces',
  'blocks',
  'ways',
  'ioQueues',
  'queueEntries',
  'kato',
  'clients',
  'ios',
  'depth',
  'ioBlocks',
  'fuaOneIn',
  'flushOneIn',
  'eraseOneIn',
  'abandonOneIn',
  'swapOneIn',
  'copyOneIn',
  'reserveOneIn',
  'verifyOneIn',
  'interruptOneIn',
  'protectOneIn',
  'persistOneIn',
  'nbdClients',
  'duration',
] as const;
const YES_NO = ['headerDigest', 'dataDigest', 'disableSqFlow', 'crashAtEnd'] as const;

export type Field = (typeof NUMBERS)[number] | (typeof YES_NO)[number];
export const FIELDS: readonly Field[] = [...NUMBERS, ...YES_NO];

/** Fields that mean something when they are 0; of everything else there is one at least. */
const ZERO: readonly Field[] = [
  ...YES_NO,
  'lastAddressAt',
  'kato',
  'abandonOneIn',
  'eraseOneIn',
  'flushOneIn',
  'fuaOneIn',
  'swapOneIn',
  'copyOneIn',
  'reserveOneIn',
  'verifyOneIn',
  'interruptOneIn',
  'protectOneIn',
  'persistOneIn',
  'nbdClients',
];
const MOST = 1_000_000;

export const leastOf = (field: Field): number =>
  ZERO.includes(field) ? 0 : field === 'queueEntries' ? 2 : 1;

export interface Overrides {
  readonly set: Readonly<Partial<Record<Field, number>>>;
  /** Indices of the faults that are kept; undefined: all. */
  readonly faults: readonly number[] | undefined;
}

export const NOTHING: Overrides = { set: {}, faults: undefined };

export function planOf(seed: number, { set, faults }: Overrides): Plan {
  const changed: Record<string, number | boolean> = {};
  for (const [field, value] of Object.entries(set))
    changed[field] = (YES_NO as readonly string[]).includes(field) ? value !== 0 : value;
  const plan = swarm(seed, changed);
  return faults === undefined ? plan : { ...plan, faults: plan.faults.filter((_, i) => faults.includes(i)) };
}

/** As they are given to `npm run sim`. */
export function overridesText({ set, faults }: Overrides): string {
  const words = Object.entries(set).map(([field, value]) => ` --set ${field}=${value}`);
  return words.join('') + (faults === undefined ? '' : ` --faults ${faults.join(',') || 'none'}`);
}

/** The number of a seed or count, or undefined. */
export function readNumber(text: string): number | undefined {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) return undefined;
  const value = Number(text);
  return value < 2 ** 32 ? value : undefined;
}

/** Reads what `overridesText` writes; text: what is wrong with it. */
export function readOverrides(sets: readonly string[], faults: string | undefined): Overrides | string {
  const set: Partial<Record<Field, number>> = {};
  for (const text of sets) {
    const [field = '', value = ''] = text.split('=');
    const number = readNumber(value);
    if (!(FIELDS as readonly string[]).includes(field) || number === undefined)
      return `--set ${text}: not FIELD=NUMBER; fields are ${FIELDS.join(', ')}`;
    if (number < leastOf(field as Field) || number > MOST)
      return `--set ${text}: from ${leastOf(field as Field)} to ${MOST}`;
    set[field as Field] = number;
  }
  if (faults === undefined) return { set, faults: undefined };
  if (faults === 'none') return { set, faults: [] };
  const kept = faults.split(',').map(readNumber);
  if (kept.includes(undefined)) return `--faults ${faults}: not a list of indices, or none`;
  return { set, faults: kept as number[] };
}
