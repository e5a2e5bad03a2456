/** The completion queue entry (NVMe Base 2.1, section 4.2). */
import { u16, u32 } from '../layout/field.ts';
import { struct } from '../layout/struct.ts';

export const Cqe = struct('Cqe', 16, {
  dw0: [0, u32('Command Specific, dword 0')],
  dw1: [4, u32('Command Specific, dword 1')],
  sqhd: [8, u16('SQ Head Pointer (SQHD)')],
  sqid: [10, u16('SQ Identifier (SQID), reserved on fabrics')],
  cid: [12, u16('Command Identifier (CID)')],
  /** The status of status.ts, shifted past the phase tag. */
  status: [14, u16('Status, and the phase tag that fabrics reserve')],
});

/** SQHD of a queue whose SQ flow control is disabled. */
export const SQHD_NONE = 0xffff;
