/** Copy, as a user of raw commands sends it: one descriptor for each run of source blocks. */
import type { RawCommand } from '../../src/initiator/commands.ts';
import { viewOf } from '../../src/layout/struct.ts';
import { IoOpcode } from '../../src/nvme/opcode.ts';
import { Copy, CopyRange } from '../../src/nvme/sqe.ts';

/** Copies the blocks `from`, in order, to `slba` and on. It is never repeated: its source may be another by then. */
export function copyCommand(
  slba: number,
  from: readonly number[],
  fua: boolean,
): { command: RawCommand; data: Uint8Array } {
  const runs: { slba: number; nlb: number }[] = [];
  for (const block of from) {
    const last = runs.at(-1);
    if (last !== undefined && last.slba + last.nlb === block) last.nlb++;
    else runs.push({ slba: block, nlb: 1 });
  }
  const sqe = viewOf(Copy.bytes({ sdlba: slba, nr: runs.length, cdw12: { fua: fua ? 1 : 0 } }));
  const dwords = Array.from({ length: 6 }, (_, i) => sqe.getUint32(40 + 4 * i, true));
  const data = new Uint8Array(runs.length * CopyRange.size);
  runs.forEach((run, i) => data.set(CopyRange.bytes(run), i * CopyRange.size));
  return {
    command: { opcode: IoOpcode.Copy, dwords, direction: 'out', changes: true, repeatable: false },
    data,
  };
}
