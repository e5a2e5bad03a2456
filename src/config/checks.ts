/** What a single value of a configuration may be: each says why a text is wrong, as a sentence without its subject. */
import { uuidBytes } from '../layout/field.ts';
import { parseAddress } from './address.ts';

export type Check = (text: string) => string | undefined;

const isAscii = (text: string): boolean => /^[\x20-\x7e]+$/.test(text);

/** Why it cannot be a serial or model number of up to `most` characters; undefined when it can. */
export function asciiProblem(text: string, most: number): string | undefined {
  if (text.trim() === '') return 'is blank';
  if (!isAscii(text)) return 'has characters other than printable ASCII';
  return text.length > most ? `has ${text.length} characters, at most ${most} are allowed` : undefined;
}

export function uuidProblem(uuid: string): string | undefined {
  const bytes = uuidBytes(uuid);
  if (bytes === undefined) return `${JSON.stringify(uuid)} is not a UUID`;
  return bytes.every((byte) => byte === 0) ? 'is all zeroes, which means none' : undefined;
}

/** `6b2f8f6c6e0b4cc18f8e0d5e7c8a9b10` of that, or of what nvmetcli writes, which has the dashes of a UUID. */
export const nguidDigits = (text: string): string => text.replaceAll('-', '').toLowerCase();

export function nguidProblem(text: string): string | undefined {
  const digits = nguidDigits(text);
  if (!/^[0-9a-f]{32}$/.test(digits)) return `${JSON.stringify(text)} is not 32 hexadecimal digits`;
  return /^0+$/.test(digits) ? 'is all zeroes, which means none' : undefined;
}

/** Like `nguidDigits`, of an EUI-64. */
export const eui64Digits = (text: string): string => text.replaceAll(/[-:.]/g, '').toLowerCase();

export function eui64Problem(text: string): string | undefined {
  const digits = eui64Digits(text);
  if (!/^[0-9a-f]{16}$/.test(digits)) return `${JSON.stringify(text)} is not 16 hexadecimal digits`;
  return /^0+$/.test(digits) ? 'is all zeroes, which means none' : undefined;
}

/** `00a098` of that, or of what nvmetcli writes, `0x00a098`. */
export const ieeeOuiDigits = (text: string): string => text.replace(/^0x/i, '').toLowerCase();

export function ieeeOuiProblem(text: string): string | undefined {
  const digits = ieeeOuiDigits(text);
  if (!/^[0-9a-f]{6}$/.test(digits)) return `${JSON.stringify(text)} is not 6 hexadecimal digits`;
  return /^0+$/.test(digits) ? 'is all zeroes, which means none' : undefined;
}

export const addressProblem: Check = (text) =>
  parseAddress(text) === undefined ? `${JSON.stringify(text)} is not HOST:PORT` : undefined;

export const pathProblem: Check = (path) => {
  if (path.includes('\0')) return 'has a NUL character';
  return path.startsWith('/') ? undefined : 'is not an absolute path';
};
