/** Verify, as a scrubber sends it: the target reads the blocks, and nothing comes of it but a status. */
import type { RawCommand } from '../../src/initiator/commands.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { IoOpcode } from '../../src/nvme/opcode.ts';
import { ReadWrite } from '../../src/nvme/sqe.ts';

/** With `fua`, what it reads is on stable storage before it is answered. */
export function verifyCommand(slba: number, blocks: number, fua: boolean): RawCommand {
  const sqe = viewOf(ReadWrite.bytes({ slba, nlb: blocks, cdw12: { fua: fua ? 1 : 0 } }));
  const dwords = Array.from({ length: 6 }, (_, i) => sqe.getUint32(40 + 4 * i, true));
  return { opcode: IoOpcode.Verify, dwords, direction: 'none', changes: false, repeatable: true };
}
