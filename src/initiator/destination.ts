/** Where the records of a discovery log lead. */
import { type Value, viewOf } from '../layout/struct.ts';
import { DiscoveryEntry, SecureChannel, Sectype, Subtype, Trtype, addressText } from '../nvme/discovery.ts';
import { nqnProblem } from '../nvme/nqn.ts';
import type { Address } from '../runtime/ports.ts';
import type { DiscoveryLog } from './discovery.ts';

export interface Destination {
  readonly kind: 'service' | 'subsystem';
  readonly address: Address;
  readonly subnqn: string;
}

/** The same for the same place. */
export const placeOf = ({ address, subnqn }: Pick<Destination, 'address' | 'subnqn'>): string =>
  `${address.host} ${address.port} ${subnqn}`;

/** Only hosts with a secure channel, which we do not have, are let in: it is required, or named without saying more. */
const asksForTls = ({ treq, sectype }: Value<typeof DiscoveryEntry>): boolean =>
  treq.secureChannel === SecureChannel.Required ||
  (sectype !== Sectype.None && treq.secureChannel !== SecureChannel.NotRequired);

/** The destinations of a log that can be gone to, each once; the rest is counted. */
export function destinations(log: DiscoveryLog): { found: Destination[]; unusable: number } {
  const found = new Map<string, Destination>();
  let unusable = 0;
  for (const record of log.records) {
    const entry = DiscoveryEntry.decode(viewOf(record));
    const host = addressText(entry.traddr);
    const port = addressText(entry.trsvcid);
    const subnqn = addressText(entry.subnqn);
    const kind =
      entry.subtype === Subtype.Nvm
        ? 'subsystem'
        : entry.subtype === Subtype.Referral
          ? 'service'
          : undefined;
    const tcp = entry.trtype === Trtype.Tcp && !asksForTls(entry);
    const good = /^\d{1,5}$/.test(port) && Number(port) > 0 && Number(port) < 65536 && host !== '';
    if (kind === undefined) continue;
    if (!tcp || !good || nqnProblem(subnqn) !== undefined) {
      unusable++;
      continue;
    }
    const destination: Destination = { kind, address: { host, port: Number(port) }, subnqn };
    found.set(`${kind} ${placeOf(destination)}`, destination);
  }
  return { found: [...found.values()], unusable };
}
