/** The discovery log, LID 70h (NVMe Base 2.1, section 5.1.12.3.1). */
import { bits16, bits8 } from '../layout/bits.ts';
import { ascii, bytes, reserved, text, u16, u32, u53, u8 } from '../layout/field.ts';
import { struct } from '../layout/struct.ts';

export const DiscoveryHeader = struct('DiscoveryHeader', 1024, {
  genctr: [0, u53('Generation Counter (GENCTR)')],
  numrec: [8, u53('Number of Records (NUMREC)')],
  recfmt: [16, u16('Record Format (RECFMT)')],
  dlpf: [18, bits8({ extended: [0], portLocal: [1], allSubsystems: [2] }, 'Discovery Log Page Flags (DLPF)')],
  rsvd19: [19, reserved(1)],
  tdlpl: [20, u32('Total Discovery Log Page Length (TDLPL), bytes')],
  rsvd24: [24, reserved(1000)],
});

/** Log Specific Parameter (LSP) of the Get Log Page that asks: bits. */
export const DiscoveryLsp = { extended: 1, portLocal: 2, allSubsystems: 4 } as const;

/** Transport Type (TRTYPE). */
export const Trtype = { Rdma: 1, FibreChannel: 2, Tcp: 3, Loop: 254 } as const;
/** Address Family (ADRFAM). */
export const Adrfam = { Ipv4: 1, Ipv6: 2, InfiniBand: 3, FibreChannel: 4, Loop: 254 } as const;
/** Subsystem Type (SUBTYPE). */
export const Subtype = {
  /** Another discovery subsystem. */
  Referral: 1,
  /** A subsystem with namespaces. */
  Nvm: 2,
  /** The discovery subsystem that answers. */
  CurrentDiscovery: 3,
} as const;
/** Secure Channel, bits 1:0 of TREQ. */
export const SecureChannel = { NotSpecified: 0, Required: 1, NotRequired: 2 } as const;
/** Security Type (SECTYPE) of NVMe/TCP. */
export const Sectype = { None: 0, Tls12: 1, Tls13: 2 } as const;

export const DiscoveryEntry = struct('DiscoveryEntry', 1024, {
  trtype: [0, u8('Transport Type (TRTYPE)')],
  adrfam: [1, u8('Address Family (ADRFAM)')],
  subtype: [2, u8('Subsystem Type (SUBTYPE)')],
  treq: [3, bits8({ secureChannel: [0, 1], disableSqFlow: [2] }, 'Transport Requirements (TREQ)')],
  portid: [4, u16('Port ID (PORTID)')],
  cntlid: [6, u16('Controller ID (CNTLID); FFFFh: dynamic')],
  asqsz: [8, u16('Admin Max SQ Size (ASQSZ)')],
  eflags: [
    10,
    bits16(
      {
        /** Duplicate Returned Information: the other entries with this PORTID and address tell the same. */
        dupretinfo: [0],
        /** Explicit Persistent Connection Support for Discovery. */
        epcsd: [1],
        /** No CDC Connectivity. */
        ncc: [2],
      },
      'Entry Flags (EFLAGS)',
    ),
  ],
  rsvd12: [12, reserved(20)],
  trsvcid: [32, ascii(32, 'Transport Service Identifier (TRSVCID)')],
  rsvd64: [64, reserved(192)],
  subnqn: [256, text(256, 'NVM Subsystem Qualified Name (SUBNQN)')],
  traddr: [512, ascii(256, 'Transport Address (TRADDR)')],
  /** Transport Specific Address Subtype, as NVMe/TCP defines it. */
  sectype: [768, u8('Security Type (SECTYPE)')],
  tsas: [769, bytes(255, 'Transport Specific Address Subtype (TSAS)')],
});

/** What follows an entry in a log of extended entries; then its extended attributes. */
export const DiscoveryExtension = struct('DiscoveryExtension', 8, {
  tel: [0, u32('Total Entry Length (TEL), bytes')],
  numexat: [4, u16('Number of Extended Attributes (NUMEXAT)')],
  rsvd6: [6, reserved(2)],
});

/** What TRADDR or TRSVCID says: up to the first NUL (some targets pad with them), without the spaces around it. */
export const addressText = (value: string): string => value.replace(/\0.*$/s, '').trim();
