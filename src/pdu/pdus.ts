/** The nine PDUs of the NVMe/TCP transport (TCP Transport 1.1, section 3.6.2) as tables. */
import { bits8 } from '../layout/bits.ts';
import { bytes, reserved, u16, u32, u8 } from '../layout/field.ts';
import { struct } from '../layout/struct.ts';

export const PduType = {
  ICReq: 0x00,
  ICResp: 0x01,
  H2CTermReq: 0x02,
  C2HTermReq: 0x03,
  CapsuleCmd: 0x04,
  CapsuleResp: 0x05,
  H2CData: 0x06,
  C2HData: 0x07,
  R2T: 0x09,
} as const;

/** Bits of FLAGS. Each PDU defines some of them; the others are reserved. */
export const Flag = { hdgst: 0x01, ddgst: 0x02, last: 0x04, success: 0x08 } as const;

export const commonHeader = {
  type: [0, u8('PDU Type (PDU-Type)')],
  flags: [1, bits8({ hdgstf: [0], ddgstf: [1], last: [2], success: [3] }, 'FLAGS')],
  hlen: [2, u8('Header Length (HLEN)')],
  pdo: [3, u8('PDU Data Offset (PDO)')],
  plen: [4, u32('PDU Length (PLEN)')],
} as const;
export const CommonHeader = struct('CommonHeader', 8, commonHeader);

const initialize = (aligned: string) =>
  ({
    ...commonHeader,
    pfv: [8, u16('PDU Format Version (PFV)')],
    /** 0's based count of dwords: data starts at a multiple of (n + 1) × 4 bytes. */
    pda: [10, u8(aligned)],
    dgst: [11, bits8({ hdgst: [0], ddgst: [1] }, 'Digest (DGST)')],
  }) as const;

export const ICReq = struct('ICReq', 128, {
  ...initialize('Host PDU Data Alignment (HPDA)'),
  maxr2t: [12, u32('Maximum Number of Outstanding R2Ts (MAXR2T)', 1)],
  rsvd16: [16, reserved(112)],
});
export const ICResp = struct('ICResp', 128, {
  ...initialize('Controller PDU Data Alignment (CPDA)'),
  maxh2cdata: [12, u32('Maximum Host to Controller Data Length (MAXH2CDATA)')],
  rsvd16: [16, reserved(112)],
});

const terminate = {
  ...commonHeader,
  fes: [8, u16('Fatal Error Status (FES)')],
  fei: [10, u32('Fatal Error Information (FEI)')],
  rsvd14: [14, reserved(10)],
} as const;
export const H2CTermReq = struct('H2CTermReq', 24, terminate);
export const C2HTermReq = struct('C2HTermReq', 24, terminate);

export const CapsuleCmd = struct('CapsuleCmd', 72, {
  ...commonHeader,
  sqe: [8, bytes(64, 'NVMe-oF Command Capsule SQE (CCSQE)')],
});
export const CapsuleResp = struct('CapsuleResp', 24, {
  ...commonHeader,
  cqe: [8, bytes(16, 'NVMe-oF Response Capsule CQE (RCCQE)')],
});

export const H2CData = struct('H2CData', 24, {
  ...commonHeader,
  cccid: [8, u16('Command Capsule CID (CCCID)')],
  ttag: [10, u16('Transfer Tag (TTAG)')],
  datao: [12, u32('Data Offset (DATAO)')],
  datal: [16, u32('Data Length (DATAL)')],
  rsvd20: [20, reserved(4)],
});
export const C2HData = struct('C2HData', 24, {
  ...commonHeader,
  cccid: [8, u16('Command Capsule CID (CCCID)')],
  rsvd10: [10, reserved(2)],
  datao: [12, u32('Data Offset (DATAO)')],
  datal: [16, u32('Data Length (DATAL)')],
  rsvd20: [20, reserved(4)],
});
export const R2T = struct('R2T', 24, {
  ...commonHeader,
  cccid: [8, u16('Command Capsule CID (CCCID)')],
  ttag: [10, u16('Transfer Tag (TTAG)')],
  r2to: [12, u32('Requested Data Offset (R2TO)')],
  r2tl: [16, u32('Requested Data Length (R2TL)')],
  rsvd20: [20, reserved(4)],
});

export type Role = 'host' | 'controller';

export interface PduInfo {
  readonly type: number;
  readonly name: string;
  readonly layout: typeof CommonHeader;
  /** The header length that HLEN must have. */
  readonly hlen: number;
  readonly sentBy: Role;
  /** May carry data (and a data digest). */
  readonly data: boolean;
  /** May carry a header digest: all but the ones that set the connection up or end it. */
  readonly digest: boolean;
}

const pdu = (
  type: number,
  layout: { structName: string; size: number },
  sentBy: Role,
  data: boolean,
): PduInfo => ({
  type,
  name: layout.structName,
  layout: layout as typeof CommonHeader,
  hlen: layout.size,
  sentBy,
  data,
  digest: type > PduType.C2HTermReq,
});

/** By PDU type; undefined where there is none. */
export const PDUS: readonly (PduInfo | undefined)[] = [
  pdu(PduType.ICReq, ICReq, 'host', false),
  pdu(PduType.ICResp, ICResp, 'controller', false),
  pdu(PduType.H2CTermReq, H2CTermReq, 'host', true),
  pdu(PduType.C2HTermReq, C2HTermReq, 'controller', true),
  pdu(PduType.CapsuleCmd, CapsuleCmd, 'host', true),
  pdu(PduType.CapsuleResp, CapsuleResp, 'controller', false),
  pdu(PduType.H2CData, H2CData, 'host', true),
  pdu(PduType.C2HData, C2HData, 'controller', true),
  undefined,
  pdu(PduType.R2T, R2T, 'controller', false),
];
