/**
 * Which local ports there are as far as this machine's interfaces are concerned: pure. A local port is named by an
 * address of this host, by an interface (`%eth0`), or by both (`10.0.0.1%eth0`); one without a name is any.
 */
import type { InterfaceAddress } from '../runtime/ports.ts';

/** What a local port is asked for by: nvme-cli's host_traddr and host_iface. */
export interface LocalPlace {
  readonly localHost?: string | undefined;
  readonly localInterface?: string | undefined;
}

/** Name of the local port of those who do not ask for one. */
export const ANY_LOCAL = '';

export const localName = ({ localHost = '', localInterface }: LocalPlace): string =>
  localInterface === undefined ? localHost : `${localHost}%${localInterface}`;

/** The eight groups of an IPv6 address; undefined: it is none. */
function groups(address: string): number[] | undefined {
  const halves = address.split('::');
  if (!address.includes(':') || halves.length > 2) return undefined;
  const [left = [], right = []] = halves.map((half) => (half === '' ? [] : half.split(':')));
  const missing = 8 - left.length - right.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const all = [...left, ...new Array<string>(Math.max(0, missing)).fill('0'), ...right];
  return all.every((group) => /^[0-9a-f]{1,4}$/i.test(group))
    ? all.map((group) => parseInt(group, 16))
    : undefined;
}

const isIpv4 = (address: string): boolean => /^\d{1,3}(\.\d{1,3}){3}$/.test(address);

/** Written alike or not. */
const same = (a: string, b: string): boolean => a === b || String(groups(a) ?? a) === String(groups(b) ?? b);

/**
 * Whether a local port of that name can be used. `all`: the addresses of interfaces that are up; undefined: nobody can
 * tell, so the system will say. So it will of names that are no addresses, and of loopback, all of which is there.
 */
export function isHere(name: string, all: readonly InterfaceAddress[] | undefined): boolean {
  if (name === ANY_LOCAL || all === undefined) return true;
  const [host = '', device] = name.split('%');
  const known = host === '' || isIpv4(host) || groups(host) !== undefined;
  if (!known || (device === undefined && host.startsWith('127.'))) return true;
  return all.some(
    (each) => (host === '' || same(host, each.address)) && (device === undefined || device === each.name),
  );
}

/**
 * The address to come from. Of an interface: one of the same family as where it goes to, and a link-local one only to
 * a link-local one. Undefined: whatever the system chooses.
 */
export function sourceAddress(
  { localHost, localInterface }: LocalPlace,
  to: string,
  all: readonly InterfaceAddress[] | undefined,
): string | undefined {
  if (localHost !== undefined || localInterface === undefined) return localHost;
  const linkLocal = (address: string): boolean => /^fe[89ab]/i.test(address);
  const fits = (all ?? [])
    .filter(({ name, address }) => name === localInterface && address.includes(':') === to.includes(':'))
    .map(({ address }) => address);
  return fits.find((address) => linkLocal(address) === linkLocal(to)) ?? fits[0];
}
