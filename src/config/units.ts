/** Sizes and rates as people write and read them. K is 1024 here, as in every tool that makes disk images. */

const POWERS: Readonly<Record<string, number>> = { '': 0, k: 1, m: 2, g: 3, t: 4, p: 5 };
const NAMES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/**
 * Bytes of `4096`, `4k`, `1G`, `1.5GiB`, `512 MB`; case does not matter. Undefined: it is not a size, is not a whole
 * number of bytes, or has no exact number (2^53 and more).
 */
export function parseSize(text: string): number | undefined {
  const match = /^\s*(\d{1,16}(?:\.\d{1,9})?)\s*(?:([kmgtp])i?)?b?\s*$/i.exec(text);
  if (match === null) return undefined;
  const [, digits = '', letter = ''] = match;
  const bytes = Number(digits) * 1024 ** (POWERS[letter.toLowerCase()] ?? 0);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** `1 GiB`, `1.5 KiB`, `700 B`: at most so many digits after the point, and no more than are there. */
export function formatSize(bytes: number, digits = 3): string {
  let power = 0;
  while (power < NAMES.length - 1 && bytes >= 1024 ** (power + 1)) power++;
  return `${Number((bytes / 1024 ** power).toFixed(digits))} ${NAMES[power] ?? 'B'}`;
}
