/** The captured PDUs; see README.md. */
import { readFileSync } from 'node:fs';
import type { Role } from '../../src/pdu/pdus.ts';

export interface CapturedPdu {
  readonly connection: number;
  readonly role: Role;
  readonly bytes: Uint8Array;
}

export const CAPTURES = ['linux612-plain', 'linux612-digest'] as const;

export function captured(name: (typeof CAPTURES)[number]): CapturedPdu[] {
  // The compiled fuzzer runs from dist; the data stays where it is.
  const here = import.meta.url.replace('/dist/test/', '/test/');
  return readFileSync(new URL(`${name}.txt`, here), 'latin1')
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [connection, side, digits = ''] = line.split(' ');
      const full = digits.replaceAll(/\((..)\*(\d+)\)/g, (_, byte: string, count: string) =>
        byte.repeat(Number(count)),
      );
      return {
        connection: Number(connection),
        role: side === 'h' ? 'host' : 'controller',
        bytes: Uint8Array.from(Buffer.from(full, 'hex')),
      };
    });
}

/** The PDUs of each connection, in order. */
export function connections(pdus: readonly CapturedPdu[]): CapturedPdu[][] {
  const found = new Map<number, CapturedPdu[]>();
  for (const pdu of pdus) found.set(pdu.connection, [...(found.get(pdu.connection) ?? []), pdu]);
  return [...found.values()];
}
