/**
 * Identify structures of a namespace, and those of the NVM command set (NVMe Base 2.1, section 5.1.13.2;
 * NVM Command Set 1.1, section 4.1.5).
 */
import { array } from '../layout/array.ts';
import { bits16, bits32, bits8 } from '../layout/bits.ts';
import { bytes, reserved, u128, u16, u32, u53, u8 } from '../layout/field.ts';
import { struct } from '../layout/struct.ts';
import { IDENTIFY_SIZE } from './identify.ts';

export const LbaFormat = struct('LbaFormat', 4, {
  ms: [0, u16('Metadata Size (MS), bytes')],
  lbads: [2, u8('LBA Data Size (LBADS), a power of two')],
  rp: [3, bits8({ rp: [0, 1] }, 'Relative Performance (RP)')],
});

const nmic = bits8(
  { shared: [0], dispersed: [1] },
  'Namespace Multi-path I/O and Namespace Sharing Capabilities (NMIC)',
);
const rescap = bits8(
  {
    persistThroughPowerLoss: [0],
    writeExclusive: [1],
    exclusiveAccess: [2],
    writeExclusiveRegistrants: [3],
    exclusiveAccessRegistrants: [4],
    writeExclusiveAll: [5],
    exclusiveAccessAll: [6],
    /** Ignore Existing Key is used as NVMe 1.3 and later define it. */
    ignoreExistingKey: [7],
  },
  'Reservation Capabilities (RESCAP)',
);
const fpi = bits8({ remaining: [0, 6], supported: [7] }, 'Format Progress Indicator (FPI)');
const nsattr = bits8({ writeProtected: [0] }, 'Namespace Attributes (NSATTR)');

/** CNS 00h: a namespace of the NVM command set. */
export const IdNamespace = struct('IdNamespace', IDENTIFY_SIZE, {
  nsze: [0, u53('Namespace Size (NSZE), blocks')],
  ncap: [8, u53('Namespace Capacity (NCAP), blocks')],
  nuse: [16, u53('Namespace Utilization (NUSE), blocks')],
  nsfeat: [
    24,
    bits8(
      {
        thinProvisioning: [0],
        /** NAWUN, NAWUPF and NACWU are this namespace's own. */
        atomics: [1],
        deallocatedError: [2],
        uidReuse: [3],
        optperf: [4, 5],
        multipleAtomic: [6],
        optrperf: [7],
      },
      'Namespace Features (NSFEAT)',
    ),
  ],
  nlbaf: [25, u8('Number of LBA Formats (NLBAF), 0’s based', 1)],
  flbas: [26, bits8({ low: [0, 3], extendedMetadata: [4], high: [5, 6] }, 'Formatted LBA Size (FLBAS)')],
  mc: [27, bits8({ extended: [0], separate: [1] }, 'Metadata Capabilities (MC)')],
  dpc: [
    28,
    bits8(
      { type1: [0], type2: [1], type3: [2], first: [3], last: [4] },
      'End-to-end Data Protection Capabilities (DPC)',
    ),
  ],
  dps: [29, bits8({ type: [0, 2], first: [3] }, 'End-to-end Data Protection Type Settings (DPS)')],
  nmic: [30, nmic],
  rescap: [31, rescap],
  fpi: [32, fpi],
  dlfeat: [
    33,
    bits8(
      {
        /** What deallocated blocks read as; 0: not reported, 1: zeroes, 2: FFh. */
        read: [0, 2],
        writeZeroes: [3],
        guard: [4],
      },
      'Deallocate Logical Block Features (DLFEAT)',
    ),
  ],
  nawun: [34, u16('Namespace Atomic Write Unit Normal (NAWUN), 0’s based', 1)],
  nawupf: [36, u16('Namespace Atomic Write Unit Power Fail (NAWUPF), 0’s based', 1)],
  nacwu: [38, u16('Namespace Atomic Compare & Write Unit (NACWU), 0’s based', 1)],
  nabsn: [40, u16('Namespace Atomic Boundary Size Normal (NABSN), 0’s based; 0: none')],
  nabo: [42, u16('Namespace Atomic Boundary Offset (NABO)')],
  nabspf: [44, u16('Namespace Atomic Boundary Size Power Fail (NABSPF), 0’s based; 0: none')],
  noiob: [46, u16('Namespace Optimal I/O Boundary (NOIOB), blocks')],
  nvmcap: [48, u128('NVM Capacity (NVMCAP), bytes')],
  npwg: [64, u16('Namespace Preferred Write Granularity (NPWG), 0’s based', 1)],
  npwa: [66, u16('Namespace Preferred Write Alignment (NPWA), 0’s based', 1)],
  npdg: [68, u16('Namespace Preferred Deallocate Granularity (NPDG), 0’s based', 1)],
  npda: [70, u16('Namespace Preferred Deallocate Alignment (NPDA), 0’s based', 1)],
  nows: [72, u16('Namespace Optimal Write Size (NOWS), 0’s based', 1)],
  mssrl: [74, u16('Maximum Single Source Range Length (MSSRL), blocks')],
  mcl: [76, u32('Maximum Copy Length (MCL), blocks')],
  msrc: [80, u8('Maximum Source Range Count (MSRC), 0’s based', 1)],
  kpios: [81, bits8({ kpioens: [0], kpiosns: [1] }, 'Key Per I/O Status (KPIOS)')],
  nulbaf: [82, u8('Number of Unique Attribute LBA Formats (NULBAF)')],
  rsvd83: [83, reserved(1)],
  kpiodaag: [84, u32('Key Per I/O Data Access Alignment and Granularity (KPIODAAG)')],
  rsvd88: [88, reserved(4)],
  anagrpid: [92, u32('ANA Group Identifier (ANAGRPID)')],
  rsvd96: [96, reserved(3)],
  nsattr: [99, nsattr],
  nvmsetid: [100, u16('NVM Set Identifier (NVMSETID)')],
  endgid: [102, u16('Endurance Group Identifier (ENDGID)')],
  nguid: [104, bytes(16, 'Namespace Globally Unique Identifier (NGUID), big endian')],
  eui64: [120, bytes(8, 'IEEE Extended Unique Identifier (EUI64), big endian')],
  lbaf: [128, array(64, LbaFormat.kind('LBA Format Support (LBAF)'))],
  vs: [384, bytes(3712, 'Vendor Specific')],
});

/** The index of the LBA format in use. FLBAS has it in two pieces; the upper one counts with more than 16 formats. */
export const formatIndex = (flbas: { low: number; high: number }, nlbaf: number): number =>
  nlbaf > 16 ? (flbas.high << 4) | flbas.low : flbas.low;

export const ExtendedLbaFormat = struct('ExtendedLbaFormat', 4, {
  elbaf: [0, bits32({ sts: [0, 6], pif: [7, 8], qpif: [9, 12] }, 'Extended LBA Format (ELBAF)')],
});

/** CNS 05h, CSI 00h. */
export const NvmIdNamespace = struct('NvmIdNamespace', IDENTIFY_SIZE, {
  lbstm: [0, bytes(8, 'Logical Block Storage Tag Mask (LBSTM)')],
  pic: [
    8,
    bits8(
      { guard16: [0], storageTag16: [1], storageTagMasking: [2], qpifs: [3] },
      'Protection Information Capabilities (PIC)',
    ),
  ],
  pifa: [9, bits8({ stmla: [0, 2] }, 'Protection Information Format Attribute (PIFA)')],
  rsvd10: [10, reserved(2)],
  elbaf: [12, array(64, ExtendedLbaFormat.kind('Extended LBA Format (ELBAF)'))],
  npdgl: [268, u32('Namespace Preferred Deallocate Granularity Large (NPDGL), blocks')],
  nprg: [272, u32('Namespace Preferred Read Granularity (NPRG), 0’s based', 1)],
  npra: [276, u32('Namespace Preferred Read Alignment (NPRA), 0’s based', 1)],
  nors: [280, u32('Namespace Optimal Read Size (NORS), 0’s based', 1)],
  npdal: [284, u32('Namespace Preferred Deallocate Alignment Large (NPDAL), blocks')],
  lbapss: [288, u32('LBA Format Placement Shard Size (LBAPSS)')],
  tlbaag: [292, u32('Tracked LBA Allocation Granularity (TLBAAG)')],
  rsvd296: [296, reserved(3800)],
});

/** CNS 06h, CSI 00h. The size limits are powers of two of CAP.MPSMIN, 0: not limited by this. */
export const NvmIdController = struct('NvmIdController', IDENTIFY_SIZE, {
  vsl: [0, u8('Verify Size Limit (VSL)')],
  wzsl: [1, u8('Write Zeroes Size Limit (WZSL)')],
  wusl: [2, u8('Write Uncorrectable Size Limit (WUSL)')],
  dmrl: [3, u8('Dataset Management Ranges Limit (DMRL)')],
  dmrsl: [4, u32('Dataset Management Range Size Limit (DMRSL), blocks')],
  dmsl: [8, u53('Dataset Management Size Limit (DMSL), blocks')],
  kpiocap: [16, bits8({ kpiosc: [0], kpioscd: [1] }, 'Key Per I/O Capabilities (KPIOCAP)')],
  wzdsl: [17, u8('Write Zeroes With Deallocate Size Limit (WZDSL)')],
  aocs: [18, bits16({ ralbas: [0] }, 'Admin Optional Command Support (AOCS)')],
  ver: [20, bits32({ ter: [0, 7], mnr: [8, 15], mjr: [16, 31] }, 'Version (VER)')],
  lbamqf: [24, u8('LBA Migration Queue Format (LBAMQF)')],
  rsvd25: [25, reserved(4071)],
});

/** CNS 08h: what all command sets have in common. */
export const IndependentIdNamespace = struct('IndependentIdNamespace', IDENTIFY_SIZE, {
  nsfeat: [
    0,
    bits8({ uidReuse: [3], rotational: [4], vwcNotPresent: [5] }, 'Common Namespace Features (NSFEAT)'),
  ],
  nmic: [1, nmic],
  rescap: [2, rescap],
  fpi: [3, fpi],
  anagrpid: [4, u32('ANA Group Identifier (ANAGRPID)')],
  nsattr: [8, nsattr],
  rsvd9: [9, reserved(1)],
  nvmsetid: [10, u16('NVM Set Identifier (NVMSETID)')],
  endgid: [12, u16('Endurance Group Identifier (ENDGID)')],
  nstat: [14, bits8({ ready: [0], identifyFailed: [1, 2] }, 'Namespace Status (NSTAT)')],
  kpios: [15, bits8({ kpioens: [0], kpiosns: [1] }, 'Key Per I/O Status (KPIOS)')],
  maxkt: [16, u16('Maximum Key Tag (MAXKT)')],
  rsvd18: [18, reserved(2)],
  rgrpid: [20, u32('Reachability Group Identifier (RGRPID)')],
  rsvd24: [24, reserved(4072)],
});
