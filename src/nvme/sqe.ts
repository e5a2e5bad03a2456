/**
 * Submission queue entries: the 64 bytes common to all (NVMe Base 2.1, section 4.1.1) and, for each command that we
 * send or understand, its own table over the same bytes. Fabrics commands are in fabrics.ts.
 */
import { bits16, bits32, bits8 } from '../layout/bits.ts';
import { bytes, reserved, u16, u32, u53, u64, u8 } from '../layout/field.ts';
import { struct } from '../layout/struct.ts';

/** The SGL descriptor in DPTR (Base 2.1, section 4.3.2). NVMe/TCP knows two forms: data in the capsule, and "in transport". */
export const Sgl = struct('Sgl', 16, {
  address: [0, u53('Address, or offset into the capsule’s data')],
  length: [8, u32('Length')],
  rsvd12: [12, reserved(3)],
  type: [15, bits8({ subtype: [0, 3], type: [4, 7] }, 'SGL Identifier')],
});
/** SGL identifier bytes: type in the high nibble, subtype in the low one. */
export const SglId = {
  /** Data Block, offset: the data is in the capsule. */
  inCapsule: 0x01,
  /** Transport Data Block: H2CData or C2HData PDUs carry it. */
  transport: 0x5a,
} as const;

const head = {
  opc: [0, u8('Opcode (OPC)')],
  flags: [1, bits8({ fuse: [0, 1], psdt: [6, 7] }, 'FUSE, PSDT')],
  cid: [2, u16('Command Identifier (CID)')],
  nsid: [4, u32('Namespace Identifier (NSID)')],
} as const;
export const commonSqe = {
  ...head,
  cdw2: [8, u32('Command Dword 2')],
  cdw3: [12, u32('Command Dword 3')],
  mptr: [16, u64('Metadata Pointer (MPTR)')],
  dptr: [24, Sgl.kind('Data Pointer (DPTR)')],
} as const;

/** The common fields, with the command-specific dwords as they are. */
export const Sqe = struct('Sqe', 64, {
  ...commonSqe,
  cdw10: [40, u32('Command Dword 10')],
  cdw11: [44, u32('Command Dword 11')],
  cdw12: [48, u32('Command Dword 12')],
  cdw13: [52, u32('Command Dword 13')],
  cdw14: [56, u32('Command Dword 14')],
  cdw15: [60, u32('Command Dword 15')],
});
/** Hot accessors of DPTR inside an SQE. */
export const DPTR = 24;
export const PSDT_SGL = 1;
/** PSDT 10b: an SGL, and metadata is one too. */
export const PSDT_SGL_METADATA = 2;

/** NVM Command Set 1.1, sections 3.3.4 and 3.3.6. */
export const ReadWrite = struct('ReadWrite', 64, {
  ...commonSqe,
  slba: [40, u53('Starting LBA (SLBA)')],
  nlb: [48, u16('Number of Logical Blocks (NLB)', 1)],
  cdw12: [50, bits16({ cetype: [0, 3], dtype: [4, 7], stc: [8], prinfo: [10, 13], fua: [14], lr: [15] })],
  cdw13: [52, bits32({ dsm: [0, 7], dspec: [16, 31] })],
  lbst: [56, u32('Logical Block Storage Tag, low')],
  lbat: [60, u32('Logical Block Application Tag and Mask')],
});

/** NVM Command Set 1.1, section 3.3.1. The first half of the fused Compare and Write. */
export const Compare = struct('Compare', 64, {
  ...commonSqe,
  slba: [40, u53('Starting LBA (SLBA)')],
  nlb: [48, u16('Number of Logical Blocks (NLB)', 1)],
  cdw12: [50, bits16({ cetype: [0, 3], stc: [8], prinfo: [10, 13], fua: [14], lr: [15] })],
  cdw13: [52, u32('Command Dword 13')],
  lbst: [56, u32('Logical Block Storage Tag, low')],
  lbat: [60, u32('Logical Block Application Tag and Mask')],
});

/** NVM Command Set 1.1, section 3.3.5. */
export const Verify = struct('Verify', 64, {
  ...commonSqe,
  slba: [40, u53('Starting LBA (SLBA)')],
  nlb: [48, u16('Number of Logical Blocks (NLB)', 1)],
  cdw12: [50, bits16({ cetype: [0, 3], stc: [8], prinfo: [10, 13], fua: [14], lr: [15] })],
  cdw13: [52, u32('Command Dword 13')],
  lbst: [56, u32('Logical Block Storage Tag, low')],
  lbat: [60, u32('Logical Block Application Tag and Mask')],
});

/** NVM Command Set 1.1, section 3.3.8. */
export const WriteZeroes = struct('WriteZeroes', 64, {
  ...commonSqe,
  slba: [40, u53('Starting LBA (SLBA)')],
  nlb: [48, u16('Number of Logical Blocks (NLB)', 1)],
  cdw12: [50, bits16({ cetype: [0, 3], stc: [8], deac: [9], prinfo: [10, 13], fua: [14], lr: [15] })],
  cdw13: [52, u32('Command Dword 13')],
  lbst: [56, u32('Logical Block Storage Tag, low')],
  lbat: [60, u32('Logical Block Application Tag and Mask')],
});

/** NVM Command Set 1.1, section 3.3.3. */
export const DatasetManagement = struct('DatasetManagement', 64, {
  ...commonSqe,
  nr: [40, u8('Number of Ranges (NR)', 1)],
  rsvd41: [41, reserved(3)],
  cdw11: [44, bits32({ idr: [0], idw: [1], ad: [2] })],
  rsvd48: [48, reserved(16)],
});
/** One entry of the range list that goes with Dataset Management. */
export const DsmRange = struct('DsmRange', 16, {
  cattr: [0, u32('Context Attributes')],
  length: [4, u32('Length in logical blocks')],
  slba: [8, u53('Starting LBA')],
});

/** NVM Command Set 1.1, section 3.3.2. The list of source ranges goes with it as data. */
export const Copy = struct('Copy', 64, {
  ...commonSqe,
  sdlba: [40, u53('Starting Destination LBA (SDLBA)')],
  nr: [48, u8('Number of Ranges (NR)', 1)],
  descriptor: [49, bits8({ desfmt: [0, 3], prinfor: [4, 7] }, 'Descriptor Format (DESFMT), PRINFOR')],
  cdw12: [
    50,
    bits16({ cetype: [0, 3], dtype: [4, 7], stcw: [8], stcr: [9], prinfow: [10, 13], fua: [14], lr: [15] }),
  ],
  cdw13: [52, bits32({ cev: [0, 15], dspec: [16, 31] })],
  lbst: [56, u32('Logical Block Storage Tag, low')],
  lbat: [60, u32('Logical Block Application Tag and Mask')],
});
const copySource = {
  /** Formats 2h and 3h; reserved in the others. */
  snsid: [0, u32('Source Namespace Identifier (SNSID)')],
  rsvd4: [4, reserved(4)],
  slba: [8, u53('Starting LBA (SLBA)')],
  nlb: [16, u16('Number of Logical Blocks (NLB)', 1)],
  cetype: [18, bits8({ cetype: [0, 3] }, 'Command Extension Type (CETYPE)')],
  rsvd19: [19, reserved(1)],
  cev: [20, u16('Command Extension Value (CEV)')],
  sopt: [22, u16('Source Options (SOPT)')],
} as const;
/** A source range of Copy, descriptor formats 0h and 2h. */
export const CopyRange = struct('CopyRange', 32, {
  ...copySource,
  elbt: [24, u32('Expected Logical Block Tags (ELBT)')],
  elbat: [28, u16('Expected Logical Block Application Tag (ELBAT)')],
  elbatm: [30, u16('Expected Logical Block Application Tag Mask (ELBATM)')],
});
/** Descriptor formats 1h and 3h: larger protection information. */
export const CopyRangeLarge = struct('CopyRangeLarge', 40, {
  ...copySource,
  rsvd24: [24, reserved(2)],
  elbt: [26, bytes(10, 'Expected Logical Block Tags (ELBT)')],
  elbat: [36, u16('Expected Logical Block Application Tag (ELBAT)')],
  elbatm: [38, u16('Expected Logical Block Application Tag Mask (ELBATM)')],
});

/** Base 2.1, section 7.1. `acode` 0: the command with `cancelCid`; 1: all of the namespace on this queue. */
export const Cancel = struct('Cancel', 64, {
  ...commonSqe,
  sqid: [40, u16('Submission Queue Identifier (SQID)')],
  cancelCid: [42, u16('Command Identifier (CID)')],
  cdw11: [44, bits32({ acode: [0, 1] }, 'Action Code (ACODE)')],
  rsvd48: [48, reserved(16)],
});

/** Base 2.1, section 7.2. */
export const Flush = struct('Flush', 64, { ...commonSqe, rsvd40: [40, reserved(24)] });

/** Base 2.1, section 5.1.13. */
export const Identify = struct('Identify', 64, {
  ...commonSqe,
  cns: [40, u8('Controller or Namespace Structure (CNS)')],
  rsvd41: [41, reserved(1)],
  cntid: [42, u16('Controller Identifier (CNTID)')],
  cnssid: [44, u16('CNS Specific Identifier')],
  rsvd46: [46, reserved(1)],
  csi: [47, u8('Command Set Identifier (CSI)')],
  rsvd48: [48, reserved(8)],
  cdw14: [56, bits32({ uidx: [0, 6] })],
  rsvd60: [60, reserved(4)],
});

/** Base 2.1, section 5.1.12. */
export const GetLogPage = struct('GetLogPage', 64, {
  ...commonSqe,
  lid: [40, u8('Log Page Identifier (LID)')],
  cdw10: [41, bits8({ lsp: [0, 6], rae: [7] })],
  numdl: [42, u16('Number of Dwords Lower (NUMDL), with NUMDU a 0’s based count')],
  numdu: [44, u16('Number of Dwords Upper (NUMDU)')],
  lsi: [46, u16('Log Specific Identifier (LSI)')],
  lpo: [48, u53('Log Page Offset (LPO)')],
  cdw14: [56, bits32({ uidx: [0, 6], ot: [23], csi: [24, 31] })],
  rsvd60: [60, reserved(4)],
});
/** Bytes that a Get Log Page asks for. */
export const logLength = (sqe: DataView, at: number): number =>
  (GetLogPage.numdu.get(sqe, at) * 0x10000 + GetLogPage.numdl.get(sqe, at) + 1) * 4;

const features = {
  ...commonSqe,
  fid: [40, u8('Feature Identifier (FID)')],
  rsvd41: [41, reserved(2)],
} as const;
const featureRest = {
  cdw11: [44, u32('Command Dword 11')],
  cdw12: [48, u32('Command Dword 12')],
  cdw13: [52, u32('Command Dword 13')],
  cdw14: [56, bits32({ uidx: [0, 6] })],
  cdw15: [60, u32('Command Dword 15')],
} as const;
/** Base 2.1, section 5.1.25. */
export const SetFeatures = struct('SetFeatures', 64, {
  ...features,
  sv: [43, bits8({ sv: [7] })],
  ...featureRest,
});
/** Base 2.1, section 5.1.11. */
export const GetFeatures = struct('GetFeatures', 64, {
  ...commonSqe,
  fid: [40, u8('Feature Identifier (FID)')],
  sel: [41, bits8({ sel: [0, 2] })],
  rsvd42: [42, reserved(2)],
  ...featureRest,
});

/** Base 2.1, section 5.1.1. */
export const Abort = struct('Abort', 64, {
  ...commonSqe,
  sqid: [40, u16('Submission Queue Identifier (SQID)')],
  abortCid: [42, u16('Command Identifier (CID)')],
  rsvd44: [44, reserved(20)],
});

/** Asynchronous Event Request and Keep Alive carry nothing of their own; Base 2.1, sections 5.1.2 and 5.1.14. */
export const AsyncEventRequest = struct('AsyncEventRequest', 64, {
  ...commonSqe,
  rsvd40: [40, reserved(24)],
});
export const KeepAlive = struct('KeepAlive', 64, { ...commonSqe, rsvd40: [40, reserved(24)] });

/** Base 2.1, section 5.1.21. `sel` 0: create, 1: delete. */
export const NamespaceManagement = struct('NamespaceManagement', 64, {
  ...commonSqe,
  cdw10: [40, bits32({ sel: [0, 3] }, 'Select (SEL)')],
  cdw11: [44, bits32({ csi: [24, 31] }, 'Command Set Identifier (CSI)')],
  rsvd48: [48, reserved(16)],
});
/** Base 2.1, section 5.1.20. `sel` 0: attach, 1: detach; the list of controllers goes with it as data. */
export const NamespaceAttachment = struct('NamespaceAttachment', 64, {
  ...commonSqe,
  cdw10: [40, bits32({ sel: [0, 3] }, 'Select (SEL)')],
  rsvd44: [44, reserved(20)],
});
/** Base 2.1, section 5.1.10. */
export const FormatNvm = struct('FormatNvm', 64, {
  ...commonSqe,
  cdw10: [
    40,
    bits32({ lbafl: [0, 3], mset: [4], pi: [5, 7], pil: [8], ses: [9, 11], lbafu: [12, 13] }, 'Format'),
  ],
  rsvd44: [44, reserved(20)],
});
/** Base 2.1, section 5.1.22. */
export const Sanitize = struct('Sanitize', 64, {
  ...commonSqe,
  cdw10: [
    40,
    bits32({ sanact: [0, 2], ause: [3], owpass: [4, 7], oipbp: [8], nodas: [9], emvs: [10] }, 'Sanitize'),
  ],
  ovrpat: [44, u32('Overwrite Pattern (OVRPAT)')],
  rsvd48: [48, reserved(16)],
});

/** The first eight bytes are the same in every command. */
export const SqeHead = struct('SqeHead', 64, { ...head, rest: [8, bytes(56, 'the rest of the command')] });
