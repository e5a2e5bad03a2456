/** What commands keep of what was received, over real sockets, whose chunks are Node's buffers. */
import t from 'tap';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Journal } from '../../scripts/interop/journal.ts';
import { manyRoundTrips } from '../../scripts/interop/pattern.ts';
import { TestTarget } from '../../scripts/interop/test-target.ts';
import { createHost } from '../../src/api/host.ts';

t.test('what a write keeps of a chunk whose memory is used again is its own', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'pieces-'));
  const target = await TestTarget.start({ size: 2 ** 23 }, folder, new Journal());
  const host = createHost({
    hostnqn: 'nqn.2024-01.test:host',
    hostid: '0e5d5b1c-33c7-4f0a-9c55-6f9f3c7a1d22',
  });
  t.teardown(async () => {
    await host.close();
    await target.stop();
    rmSync(folder, { recursive: true });
  });
  const to = { traddr: '127.0.0.1', trsvcid: target.port, subnqn: target.nqn };
  const subsystem = await host.connect({ ...to, keep_alive_tmo: 60 });
  const disk = subsystem.head(1);
  // Where a chunk ends is the system's business: many commands of odd sizes, so that it is in all kinds of places.
  for (const [depth, blocks] of [
    [16, 33],
    [40, 8],
    [32, 17],
  ] as const)
    await manyRoundTrips(disk, 300, depth, blocks);
  t.pass('every byte is as it was written');
});
