/** Values of flags, parsed; what is wrong becomes commander's error about that flag. */
import { InvalidArgumentError } from 'commander';
import type { FileNamespace, MemoryNamespace } from '../config/request.ts';
import { parseSize } from '../config/units.ts';

export function count(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It is not a number from ${least} to ${most}.`);
  };
}

/** As `count`, and one number more that means something of its own. */
export const countOr =
  (special: number, least: number, most: number): ((text: string) => number) =>
  (text) =>
    text === String(special) ? special : count(least, most)(text);

export function size(text: string): number {
  const bytes = parseSize(text);
  if (bytes !== undefined && bytes > 0) return bytes;
  throw new InvalidArgumentError('It is not a size; 4096, 4k and 1G are.');
}

/** Seconds: `5`, `0.5`, `2m`. */
export function seconds(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)(s|m|h)?$/.exec(text) ?? [];
  const value = Number(digits) * ({ s: 1, m: 60, h: 3600 }[unit ?? 's'] ?? NaN);
  if (value > 0 && value <= 86_400) return value;
  throw new InvalidArgumentError('It is not a time in seconds, up to a day; 5, 0.5 and 2m are.');
}

/** For a flag that may be given more than once. */
export const many =
  <T>(parse: (text: string) => T) =>
  (text: string, before: readonly T[] = []): T[] => [...before, parse(text)];

/** `PATH[,size=1G][,lba=4096][,ro]`; the path may have commas. */
export function fileFlag(text: string): FileNamespace {
  const options: { size?: string; blockSize?: number; readOnly?: boolean } = {};
  const parts = text.split(',');
  for (let last = parts.at(-1); parts.length > 1 && last !== undefined; last = parts.at(-1)) {
    if (last === 'ro') options.readOnly = true;
    else if (last.startsWith('size=')) options.size = last.slice(5);
    else if (last.startsWith('lba=')) options.blockSize = blockSize(last.slice(4));
    else if (/^\w*=/.test(last))
      throw new InvalidArgumentError(`"${last}" is not known; size=, lba= and ro are.`);
    else break;
    parts.pop();
  }
  const file = parts.join(',');
  if (file === '') throw new InvalidArgumentError('The path is missing.');
  if (options.size !== undefined) size(options.size);
  return { file, ...options };
}

/** `1G[,lba=4096]`. */
export function memoryFlag(text: string): MemoryNamespace {
  const [bytes = '', ...options] = text.split(',');
  const memory = size(bytes);
  const [lba, more] = options;
  if (lba === undefined) return { memory };
  if (more !== undefined || !lba.startsWith('lba='))
    throw new InvalidArgumentError(`"${options.join(',')}" is not known; lba= is.`);
  return { memory, blockSize: blockSize(lba.slice(4)) };
}

function blockSize(text: string): number {
  if (text === '512' || text === '4096') return Number(text);
  throw new InvalidArgumentError(`lba=${text}: blocks have 512 or 4096 bytes.`);
}
