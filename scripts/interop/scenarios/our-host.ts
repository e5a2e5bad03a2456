/** Our host → the kernel's target, through the API. */
import type { ConnectOptions } from '../../../src/api/connect-options.ts';
import type { NvmeDisk } from '../../../src/api/disk.ts';
import type { NvmeSubsystem } from '../../../src/api/host-subsystem.ts';
import type { Context } from '../context.ts';
import type { LinuxTarget, LinuxTargetOptions } from '../linux-target.ts';
import { manyRoundTrips, noise, roundTrip, sameBytes } from '../pattern.ts';
import { TO_LINUX, type Scenario } from '../scenario.ts';

const DIGESTS = [
  { hdr_digest: false, data_digest: false },
  { hdr_digest: true, data_digest: false },
  { hdr_digest: false, data_digest: true },
  { hdr_digest: true, data_digest: true },
] as const;

interface Connected {
  readonly subsystem: NvmeSubsystem;
  readonly disk: NvmeDisk;
}

async function connect(
  context: Context,
  linux: LinuxTarget,
  options: Partial<ConnectOptions> = {},
): Promise<Connected> {
  const host = context.host();
  const subsystem = await host.connect({ ...linux.address, ...options });
  return { subsystem, disk: subsystem.head(1) };
}

const identify: Scenario = {
  name: 'host-identify',
  shows: 'discover, connect, identify, logs and features of nvmet, and what nvmet knows of them',
  direction: TO_LINUX,
  async run(context) {
    const linux = await context.linux();
    const host = context.host();
    const { traddr, trsvcid } = linux.address;
    const { records } = await host.discover({ traddr, trsvcid });
    context.check(
      records.some(({ subnqn, trtype }) => subnqn === linux.nqn && trtype === 'tcp'),
      `the discovery log does not have ${linux.nqn}: ${JSON.stringify(records)}`,
    );
    const subsystem = await host.connect(linux.address);
    const [controller] = subsystem.controllers;
    if (controller === undefined) throw new Error('connected, and no controller');
    const { value } = await controller.identify();
    context.equal(subsystem.model, 'Linux', 'the model');
    context.equal(subsystem.serial, 'INTEROP1', 'the serial number');
    context.equal(value.cntlid, controller.cntlid, 'CNTLID of Identify');
    context.equal(value.subnqn, linux.nqn, 'SUBNQN of Identify');
    context.equal((await controller.listNamespaces()).join(), '1', 'the active namespaces');
    const { value: namespace } = await controller.identifyNamespace(1);
    context.equal(Number(namespace.nsze), 131_072, 'NSZE');
    const { value: ids } = await controller.identifyDescriptors(1);
    const uuid = await context.guest.run(`cat $nvmet/subsystems/${linux.nqn}/namespaces/1/device_uuid`);
    context.equal(ids.uuid, uuid, 'the UUID');
    context.equal(subsystem.head(1).uuid, uuid, 'the UUID of the disk');
    for (const [lid, length] of [
      [0x02, 512],
      [0x05, 4096],
      [0x0c, 16 + 32 + 4],
    ] as const)
      context.equal((await controller.getLogPage(lid, length)).length, length, `the length of log ${lid}`);
    context.note(
      `feature 7: ${await controller.getFeature(7)}, feature 15: ${await controller.getFeature(15)}`,
    );
    await host.close();
    await context.until('every connection is closed', 60, () => linux.wire.connected === 0);
  },
};

const data: Scenario = {
  name: 'host-data',
  shows:
    'read, write, FUA, flush, write zeroes, deallocate, with verification; null_blk and a file; 512 and 4096',
  direction: TO_LINUX,
  async run(context) {
    for (const backing of [
      { backing: 'null', blockSize: 512 },
      { backing: 'null', blockSize: 4096 },
      { backing: 'file' },
    ] satisfies LinuxTargetOptions[]) {
      const linux = await context.linux(backing);
      const { subsystem, disk } = await connect(context, linux);
      for (const blocks of [1, 3, 8, 32, 33, 257, 2048]) await roundTrip(disk, 5 * blocks + 1, blocks);
      await roundTrip(disk, 0, 8, true);
      await disk.flush();
      const before = await roundTrip(disk, 1024, 64);
      // nvmet carries Write Zeroes out where its disk can, and says Invalid Opcode elsewhere.
      const zeroed = await disk.writeZeroes(1040, 16).then(
        () => true,
        (error: unknown) => {
          context.note(`Write Zeroes on ${backing.backing}: ${String(error)}`);
          return false;
        },
      );
      const after = new Uint8Array(before);
      if (zeroed) after.fill(0, 16 * disk.blockSize, 32 * disk.blockSize);
      sameBytes(await disk.read(1024, 64), after, `after Write Zeroes on ${backing.backing}`);
      await disk.deallocate([
        { slba: 1024, blocks: 8 },
        { slba: 1080, blocks: 8 },
      ]);
      const kept = await disk.read(1024 + 8, 48);
      sameBytes(kept, after.subarray(8 * disk.blockSize, 56 * disk.blockSize), 'beside the deallocated');
      await subsystem.disconnect();
      const { fua, flushes, zeroes, deallocations } = linux.wire.traffic;
      context.check(
        fua > 0 && flushes > 0 && zeroes > 0 && deallocations > 0,
        `on the wire: ${fua} FUA, ${flushes} flushes, ${zeroes} zeroes, ${deallocations} deallocations`,
      );
      await context.guest.run('tidy');
      await linux.stop();
    }
  },
};

const digests: Scenario = {
  name: 'host-digests',
  shows: 'header and data digests, each, both and none',
  direction: TO_LINUX,
  async run(context) {
    const linux = await context.linux();
    for (const options of DIGESTS) {
      const { traffic } = linux.wire;
      traffic.granted = { header: 0, data: 0 };
      const { subsystem, disk } = await connect(context, linux, options);
      for (const blocks of [1, 8, 32, 33, 2048]) await roundTrip(disk, blocks, blocks);
      await subsystem.disconnect();
      context.equal(traffic.granted.header > 0, options.hdr_digest, 'header digests were on');
      context.equal(traffic.granted.data > 0, options.data_digest, 'data digests were on');
    }
  },
};

const queues: Scenario = {
  name: 'host-queues',
  shows: 'one and several queues of 16 to 1,024 entries, each kept full',
  direction: TO_LINUX,
  async run(context) {
    const linux = await context.linux();
    for (const [entries, count] of [
      [16, 1],
      [17, 4],
      [128, 2],
      [1023, 1],
      [1024, 2],
    ] as const) {
      const before = linux.wire.traffic.ioQueues;
      const { subsystem, disk } = await connect(context, linux, { queue_size: entries, nr_io_queues: count });
      const [controller] = subsystem.controllers;
      // nvmet may have fewer queues than we ask for.
      const made = linux.wire.traffic.ioQueues - before;
      context.equal(controller?.queues.count, made, 'I/O queues');
      context.check(made >= 1 && made <= count, `${made} I/O queues, asked for ${count}`);
      context.equal(linux.wire.traffic.entries, Math.min(entries, 1024), 'the queue size');
      await manyRoundTrips(disk, 200 + entries, entries * count, 8);
      context.note(`${made} queues of ${entries}`);
      await subsystem.disconnect();
    }
  },
};

const events: Scenario = {
  name: 'host-events',
  shows: 'a namespace that appears, one that grows and one that goes, seen without being asked to look',
  direction: TO_LINUX,
  async run(context) {
    const linux = await context.linux();
    const { subsystem, disk } = await connect(context, linux);
    await linux.add(2, { backing: 'file', size: 16 });
    await context.until('a second disk', 60, () => subsystem.heads.length === 2);
    await roundTrip(subsystem.head(2), 0, 64);
    const namespaces = `$nvmet/subsystems/${linux.nqn}/namespaces`;
    await context.guest.run(
      `truncate -s 24M $(cat ${namespaces}/2/device_path); echo 1 >${namespaces}/2/revalidate_size`,
    );
    await context.until('24 MiB', 60, () => subsystem.head(2).size === 24 * 2 ** 20);
    await context.guest.run(`echo 0 >${namespaces}/2/enable`);
    await context.until('one disk', 60, () => subsystem.heads.length === 1);
    await roundTrip(disk, 0, 64);
    context.check(linux.wire.traffic.asyncEvents >= 3, 'fewer events than changes');
  },
};

const restart: Scenario = {
  name: 'host-restart',
  shows:
    'nvmet goes away under I/O, which ends in an error or goes on later; connected again, the data is there',
  direction: TO_LINUX,
  async run(context) {
    const linux = await context.linux();
    const host = context.host();
    const subsystem = await host.connect(linux.address);
    const disk = subsystem.head(1);
    const kept = await roundTrip(disk, 0, 256);
    let busy = true;
    let done = 0;
    const load = async (): Promise<void> => {
      while (busy) {
        await disk.write(1024, noise(4096));
        done++;
      }
    };
    const ended = load().then(
      () => undefined,
      (error: unknown) => error,
    );
    await context.until('some writes', 60, () => done > 20);
    await linux.down();
    await context.until('the connections are gone', 60, () => linux.wire.connected === 0);
    await linux.up();
    const again = await host.connect(linux.address);
    sameBytes(await again.head(1).read(0, 256), kept, 'what was written before');
    busy = false;
    context.note(`${done} writes, then: ${String(await ended)}`);
    await roundTrip(again.head(1), 300, 64);
  },
};

const matrix: Scenario = {
  name: 'host-matrix',
  shows: 'every digest × in-capsule or R2T × block size × backing, at many sizes',
  direction: TO_LINUX,
  full: true,
  seconds: 3600,
  async run(context) {
    const sizes = [1, 2, 3, 4, 5, 31, 32, 33, 127, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 2049];
    for (const backing of ['null', 'file'] as const)
      for (const blockSize of backing === 'null' ? [512, 4096] : [512]) {
        const linux = await context.linux({ backing, blockSize });
        for (const options of DIGESTS) {
          const { traffic } = linux.wire;
          const before = { inCapsule: traffic.inCapsule, r2ts: traffic.r2ts };
          const { subsystem, disk } = await connect(context, linux, options);
          for (const blocks of sizes) await roundTrip(disk, blocks, blocks);
          await manyRoundTrips(disk, 256, 64, 4);
          await subsystem.disconnect();
          context.check(traffic.inCapsule > before.inCapsule, 'nothing was written in-capsule');
          context.check(traffic.r2ts > before.r2ts, 'nothing was written by R2T');
        }
        await context.guest.run('tidy');
        await linux.stop();
      }
  },
};

const manyConnects: Scenario = {
  name: 'host-1000-connects',
  shows: '1,000 times connect, read, disconnect',
  direction: TO_LINUX,
  full: true,
  seconds: 3600,
  async run(context) {
    const linux = await context.linux();
    const host = context.host();
    for (let i = 0; i < 1000; i++) {
      const subsystem = await host.connect({ ...linux.address, nr_io_queues: 1 + (i % 2) });
      await subsystem.head(1).read(i, 8);
      await subsystem.disconnect();
    }
    context.equal(host.subsystems.length, 0, 'subsystems that are left');
  },
};

export const OUR_HOST: readonly Scenario[] = [
  identify,
  data,
  digests,
  queues,
  events,
  restart,
  matrix,
  manyConnects,
];
