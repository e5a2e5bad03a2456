/** Discovery records in the words of nvme-cli. */
import type { Decoded } from '../layout/field.ts';
import { viewOf } from '../layout/struct.ts';
import {
  Adrfam,
  DiscoveryEntry,
  SecureChannel,
  Sectype,
  Subtype,
  Trtype,
  addressText,
} from '../nvme/discovery.ts';

/** One way to a subsystem, or to another discovery service. Strings are nvme-cli's. */
export interface DiscoveryRecord {
  readonly trtype: string;
  readonly adrfam: string;
  readonly subtype: string;
  readonly treq: string;
  readonly portid: number;
  readonly trsvcid: string;
  readonly subnqn: string;
  readonly traddr: string;
  readonly eflags: string;
  readonly sectype: string;
  /** FFFFh: chosen when a host connects. */
  readonly cntlid: number;
  /** Entries of the largest admin queue. */
  readonly asqsz: number;
}

const nameOf = (names: Readonly<Record<number, string>>, value: number): string =>
  names[value] ?? `unrecognized (${value})`;

const TRTYPE = {
  [Trtype.Rdma]: 'rdma',
  [Trtype.FibreChannel]: 'fc',
  [Trtype.Tcp]: 'tcp',
  [Trtype.Loop]: 'loop',
};
const ADRFAM = {
  [Adrfam.Ipv4]: 'ipv4',
  [Adrfam.Ipv6]: 'ipv6',
  [Adrfam.InfiniBand]: 'infiniband',
  [Adrfam.FibreChannel]: 'fibre-channel',
  [Adrfam.Loop]: 'loop',
};
const SUBTYPE = {
  [Subtype.Referral]: 'discovery subsystem referral',
  [Subtype.Nvm]: 'nvme subsystem',
  [Subtype.CurrentDiscovery]: 'current discovery subsystem',
};
const TREQ = {
  [SecureChannel.NotSpecified]: 'not specified',
  [SecureChannel.Required]: 'required',
  [SecureChannel.NotRequired]: 'not required',
};
const SECTYPE = { [Sectype.None]: 'none', [Sectype.Tls12]: 'tls', [Sectype.Tls13]: 'tls13' };

function eflagsText(eflags: Decoded<typeof DiscoveryEntry.eflags>): string {
  const named = [
    ...(eflags.epcsd ? ['explicit discovery connections'] : []),
    ...(eflags.dupretinfo ? ['duplicate discovery information'] : []),
    ...(eflags.ncc ? ['no cdc connectivity'] : []),
  ];
  return named.length === 0 ? 'none' : named.join(', ');
}

/** Only hosts with a secure channel, which we do not have, are let in: it is required, or named without saying more. */
export const asksForTls = ({ treq, sectype }: DiscoveryRecord): boolean =>
  treq.startsWith(TREQ[SecureChannel.Required]) ||
  (sectype !== SECTYPE[Sectype.None] && !treq.startsWith(TREQ[SecureChannel.NotRequired]));

export function discoveryRecord(bytes: Uint8Array): DiscoveryRecord {
  const entry = DiscoveryEntry.decode(viewOf(bytes));
  return {
    trtype: nameOf(TRTYPE, entry.trtype),
    adrfam: nameOf(ADRFAM, entry.adrfam),
    subtype: nameOf(SUBTYPE, entry.subtype),
    treq:
      nameOf(TREQ, entry.treq.secureChannel) +
      (entry.treq.disableSqFlow ? ', sq flow control disable supported' : ''),
    portid: entry.portid,
    trsvcid: addressText(entry.trsvcid),
    subnqn: addressText(entry.subnqn),
    traddr: addressText(entry.traddr),
    eflags: eflagsText(entry.eflags),
    sectype: nameOf(SECTYPE, entry.sectype),
    cntlid: entry.cntlid,
    asqsz: entry.asqsz,
  };
}
