/** Fabrics commands and their responses (NVMe Base 2.1, section 6). */
import { bits8 } from '../layout/bits.ts';
import { bytes, reserved, text, u16, u32, u64, u8, uuid } from '../layout/field.ts';
import { struct } from '../layout/struct.ts';
import { Sgl } from './sqe.ts';

const fabrics = {
  opc: [0, u8('Opcode (OPC)')],
  flags: [1, bits8({ fuse: [0, 1], psdt: [6, 7] }, 'FUSE, PSDT')],
  cid: [2, u16('Command Identifier (CID)')],
  fctype: [4, u8('Fabrics Command Type (FCTYPE)')],
} as const;

export const FabricsSqe = struct('FabricsSqe', 64, {
  ...fabrics,
  rest: [5, bytes(59, 'the rest of the command')],
});

/** Section 6.3. */
export const Connect = struct('Connect', 64, {
  ...fabrics,
  rsvd5: [5, reserved(19)],
  dptr: [24, Sgl.kind('SGL Descriptor 1')],
  recfmt: [40, u16('Record Format (RECFMT)')],
  qid: [42, u16('Queue ID (QID)')],
  sqsize: [44, u16('Submission Queue Size (SQSIZE), 0’s based')],
  cattr: [46, bits8({ priority: [0, 1], disableSqFlow: [2], iodel: [3] }, 'Connect Attributes (CATTR)')],
  rsvd47: [47, reserved(1)],
  kato: [48, u32('Keep Alive Timeout (KATO), ms')],
  rsvd52: [52, reserved(12)],
});

/** The data of Connect. */
export const ConnectData = struct('ConnectData', 1024, {
  hostid: [0, uuid('Host Identifier (HOSTID)')],
  cntlid: [16, u16('Controller ID (CNTLID)')],
  rsvd18: [18, reserved(238)],
  subnqn: [256, text(256, 'NVM Subsystem Qualified Name (SUBNQN)')],
  hostnqn: [512, text(256, 'Host NVMe Qualified Name (HOSTNQN)')],
  rsvd768: [768, reserved(256)],
});
/** CNTLID of a host that lets the target choose. */
export const CNTLID_DYNAMIC = 0xffff;

const response = {
  sqhd: [8, u16('SQ Head Pointer (SQHD)')],
  rsvd10: [10, reserved(2)],
  cid: [12, u16('Command Identifier (CID)')],
  status: [14, u16('Status')],
} as const;

/** A Connect that succeeded. */
export const ConnectResponse = struct('ConnectResponse', 16, {
  cntlid: [0, u16('Controller ID (CNTLID)')],
  authreq: [2, u16('Authentication and Security Requirements (AUTHREQ)')],
  rsvd4: [4, reserved(4)],
  ...response,
});
/** A Connect that ended with Connect Invalid Parameters. */
export const ConnectInvalidResponse = struct('ConnectInvalidResponse', 16, {
  ipo: [0, u16('Invalid Parameter Offset (IPO)')],
  iattr: [2, bits8({ data: [0] }, 'Invalid Attributes (IATTR)')],
  rsvd3: [3, reserved(5)],
  ...response,
});

/** Section 6.6. */
export const PropertySet = struct('PropertySet', 64, {
  ...fabrics,
  rsvd5: [5, reserved(35)],
  attrib: [40, bits8({ psz: [0, 2] }, 'Attributes (ATTRIB)')],
  rsvd41: [41, reserved(3)],
  ofst: [44, u32('Offset (OFST)')],
  value: [48, u64('Value')],
  rsvd56: [56, reserved(8)],
});
/** Section 6.5. */
export const PropertyGet = struct('PropertyGet', 64, {
  ...fabrics,
  rsvd5: [5, reserved(35)],
  attrib: [40, bits8({ psz: [0, 2] }, 'Attributes (ATTRIB)')],
  rsvd41: [41, reserved(3)],
  ofst: [44, u32('Offset (OFST)')],
  rsvd48: [48, reserved(16)],
});
export const PropertyGetResponse = struct('PropertyGetResponse', 16, {
  value: [0, u64('Value')],
  ...response,
});

/** Section 6.4. */
export const Disconnect = struct('Disconnect', 64, {
  ...fabrics,
  rsvd5: [5, reserved(35)],
  recfmt: [40, u16('Record Format (RECFMT)')],
  rsvd42: [42, reserved(22)],
});

const authentication = {
  ...fabrics,
  rsvd5: [5, reserved(19)],
  dptr: [24, Sgl.kind('SGL Descriptor 1')],
  rsvd40: [40, reserved(1)],
  spsp0: [41, u8('SP Specific 0 (SPSP0)')],
  spsp1: [42, u8('SP Specific 1 (SPSP1)')],
  secp: [43, u8('Security Protocol (SECP)')],
} as const;
/** Section 6.2. */
export const AuthenticationSend = struct('AuthenticationSend', 64, {
  ...authentication,
  tl: [44, u32('Transfer Length (TL)')],
  rsvd48: [48, reserved(16)],
});
/** Section 6.1. */
export const AuthenticationReceive = struct('AuthenticationReceive', 64, {
  ...authentication,
  al: [44, u32('Allocation Length (AL)')],
  rsvd48: [48, reserved(16)],
});
