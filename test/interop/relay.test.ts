import { test } from 'tap';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Journal } from '../../scripts/interop/journal.ts';
import { manyRoundTrips, roundTrip } from '../../scripts/interop/pattern.ts';
import { TestTarget } from '../../scripts/interop/test-target.ts';
import { createHost } from '../../src/api/host.ts';
import { IoOpcode } from '../../src/nvme/opcode.ts';

const HOST = {
  hostnqn: 'nqn.2014-08.org.nvmexpress:uuid:0e5d5b1c-33c7-4f0a-9c55-6f9f3c7a1d22',
  hostid: '0e5d5b1c-33c7-4f0a-9c55-6f9f3c7a1d22',
};

void test('the relay counts what goes over it, and promises about durability are watched', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'relay-'));
  const target = await TestTarget.start({ size: 2 ** 23 }, folder, new Journal());
  const host = createHost(HOST);
  t.teardown(async () => {
    await host.close();
    await target.stop();
    rmSync(folder, { recursive: true });
  });
  const options = { traddr: '127.0.0.1', trsvcid: target.port, subnqn: target.nqn, nr_io_queues: 2 };
  // Only what cuts the line here ends an association.
  const recovery = { reconnect_delay: 1, keep_alive_tmo: 60 };
  const subsystem = await host.connect({ ...options, queue_size: 32, data_digest: true, ...recovery });
  const disk = subsystem.head(1);
  await roundTrip(disk, 0, 8, true);
  await roundTrip(disk, 8, 1024);
  await disk.flush();
  await disk.writeZeroes(0, 4);
  await disk.deallocate(8, 8);
  await manyRoundTrips(disk, 100, 40, 8);
  const { traffic } = target.wire;
  t.equal(traffic.connections, 3);
  t.equal(traffic.ioQueues, 2);
  t.equal(traffic.entries, 32);
  t.equal(traffic.writes, 102);
  t.equal(traffic.inCapsule, 101);
  t.equal(traffic.fua, 1);
  t.equal(traffic.flushes, 1);
  t.equal(traffic.zeroes, 1);
  t.equal(traffic.deallocations, 1);
  t.ok(traffic.r2ts >= 1 && traffic.h2cData >= 1 && traffic.c2hData > 100);
  t.same(traffic.granted, { header: 0, data: 3 });
  t.ok(traffic.dataDigests > 200);
  t.equal(traffic.terminations, 0);
  t.same(
    [...target.durability.checked].sort(([a], [b]) => a - b),
    [
      [IoOpcode.Flush, 1],
      [IoOpcode.Write, 1],
    ],
  );
  t.same(target.durability.violations, []);

  await target.resize(1, 2 ** 22);
  while (disk.size !== 2 ** 22) await new Promise((resolve) => setTimeout(resolve, 5));
  t.equal(traffic.asyncEvents, 1);

  t.equal(target.wire.connected, 3);
  target.wire.cut();
  await disk.read(0, 1);
  t.equal(traffic.connections, 6, 'the line was cut, and the host came back');
  t.equal(target.wire.connected, 3);
});
