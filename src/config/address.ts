/** Addresses to listen on, as text: `127.0.0.1:4420`, `[::1]:4420`, `localhost:0`. */
import { must } from '../runtime/assert.ts';
import type { Address } from '../runtime/ports.ts';

const isIPv4 = (text: string): boolean =>
  /^\d{1,3}(\.\d{1,3}){3}$/.test(text) && text.split('.').every((part) => Number(part) <= 255);

/** A zone (`%eth0`) may follow. */
const isIPv6 = (text: string): boolean => URL.canParse(`http://[${text.replace(/%[\w.-]+$/, '')}]/`);

/** Undefined: it is none. A name may be given, IPv6 needs brackets. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text.trim());
  if (match === null) return undefined;
  const [, v6, name, digits] = match;
  const port = Number(digits);
  if (port > 65535 || (v6 !== undefined && !isIPv6(v6))) return undefined;
  // Digits and dots that are no address would be looked up as a name, at length.
  if (name !== undefined && /^[\d.]+$/.test(name) && !isIPv4(name)) return undefined;
  return { host: v6 ?? name ?? '', port };
}

/** Of a text that is known to be one. */
export const addressOf = (text: string): Address => must(parseAddress(text), `${text} is an address`);

export const formatAddress = ({ host, port }: Address): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

/** Whether only this machine can reach it. */
export const isLoopback = ({ host }: Address): boolean =>
  (isIPv4(host) && host.startsWith('127.')) || host === '::1' || host === 'localhost';

export const isWildcard = ({ host }: Address): boolean => host === '0.0.0.0' || host === '::';

/** Whether listening on `wide` leaves nothing to listen on for `narrow`. `::` takes IPv4 as well. */
export function covers(wide: Address, narrow: Address): boolean {
  if (wide.port !== narrow.port || wide.port === 0) return false;
  if (wide.host === narrow.host || wide.host === '::') return true;
  return wide.host === '0.0.0.0' && !narrow.host.includes(':');
}

/** Without those that another one covers, in the same order. */
export function withoutCovered(addresses: readonly Address[]): Address[] {
  return addresses.filter(
    (address, i) =>
      !addresses.some((other, j) => i !== j && covers(other, address) && (!covers(address, other) || j < i)),
  );
}
