/** Linux host → our target: data, file systems, and what is promised about them. */
import { statSync } from 'node:fs';
import { IoOpcode } from '../../../src/nvme/opcode.ts';
import type { Context } from '../context.ts';
import { manyRoundTrips } from '../pattern.ts';
import { FROM_LINUX, type Scenario } from '../scenario.ts';
import { MiB, type TestTarget } from '../test-target.ts';

const DIGESTS = ['', '-g', '-G', '-g -G'];

function checkDigests(context: Context, target: TestTarget, options: string): void {
  const { granted } = target.wire.traffic;
  context.equal(granted.header > 0, options.includes('-g'), `header digests with "${options}"`);
  context.equal(granted.data > 0, options.includes('-G'), `data digests with "${options}"`);
}

const digests: Scenario = {
  name: 'digests',
  shows: 'header and data digests, each, both and none, over in-capsule and R2T writes',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target();
    for (const options of DIGESTS) {
      target.wire.traffic.granted = { header: 0, data: 0 };
      await context.guest.run(
        `${context.connect(target, options)}
        verify $disk 64 4; verify $disk 1024 128
        disconnect ${target.nqn}`,
      );
      checkDigests(context, target, options);
    }
    const { inCapsule, r2ts } = target.wire.traffic;
    context.check(inCapsule > 0 && r2ts > 0, `${inCapsule} writes in-capsule, ${r2ts} R2Ts`);
  },
};

const fio = (name: string, options: string): Scenario => ({
  name,
  shows: `fio with crc32c verification${options === '' ? '' : ', both digests on'}`,
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target();
    context.note(
      await context.guest.run(`${context.connect(target, options)} fio_verify $disk --size=5m`, 100),
    );
    checkDigests(context, target, options);
  },
});

const SUMS = `(cd /mnt && find . -type f ! -name sums -exec sha256sum {} + | sort >/tmp/sums)`;

const fileSystem = (kind: string, make: string, check: string, size: number, full: boolean): Scenario => ({
  name: kind,
  shows: `mkfs.${kind}, mount, files, the same after a new mount, ${check.split(' ')[0]}`,
  direction: FROM_LINUX,
  full,
  seconds: full ? 600 : 120,
  async run(context) {
    const target = await context.target({ size });
    await context.guest.run(
      `${context.connect(target)}
      modprobe -q ${kind}
      ${make} $disk >/tmp/mkfs 2>&1 || fail "mkfs: $(cat /tmp/mkfs)"
      mount -t ${kind} $disk /mnt || fail "mount"
      for i in 1 2 3 4 5 6 7 8; do
        mkdir /mnt/$i
        dd if=/dev/urandom of=/mnt/$i/file bs=8k count=$((i * 4)) 2>/dev/null || fail "write"
        sync /mnt/$i/file 2>/dev/null || sync
      done
      cp /usr/bin/busybox /mnt/ && rm /mnt/3/file && mv /mnt/5 /mnt/moved || fail "files"
      ${SUMS}
      [ "$(wc -l </tmp/sums)" = 8 ] || fail "files are missing: $(cat /tmp/sums)"
      cp /tmp/sums /run/sums.before
      umount /mnt && echo 3 >/proc/sys/vm/drop_caches
      mount -t ${kind} $disk /mnt || fail "second mount"
      ${SUMS}
      cmp /tmp/sums /run/sums.before || fail "other files than before"
      umount /mnt
      ${check} $disk >/tmp/check 2>&1 || fail "${check}: $(cat /tmp/check)"`,
      full ? 500 : 100,
    );
    const { flushes, fua } = target.wire.traffic;
    context.note(`${flushes} flushes, ${fua} writes with FUA`);
    context.check(flushes > 0 && fua > 0, `a journal, and ${flushes} flushes, ${fua} writes with FUA`);
  },
});

const fua: Scenario = {
  name: 'fua',
  shows:
    'writes, Write Zeroes, copies and reads with FUA, and flushes, are answered when the data is synced, and not before',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target();
    await context.guest.run(
      `${context.connect(target)}
      fio --name=fua --filename=$disk --rw=write --bs=4k --size=128k --direct=1 --sync=dsync --output=/tmp/fio ||
        fail "$(cat /tmp/fio)"
      dd if=/dev/urandom of=$disk bs=64k count=4 oflag=direct conv=fsync,notrunc 2>/dev/null || fail "dd"
      nvme flush $disk || fail "nvme flush"
      at() { local command=$1; shift; nvme $command $disk "$@" >/tmp/said 2>&1 || fail "nvme $command $*: $(cat /tmp/said)"; }
      for i in 1 2 3 4; do
        at write-zeroes -s $((i * 16)) -c 7 --force-unit-access
        at copy --sdlba=$((1024 + i * 16)) --slbs=$((512 + i * 16)) --blocks=7 --force-unit-access
        at write-zeroes -s $((2048 + i * 16)) -c 7
        at read -s $((2048 + i * 16)) -c 7 -z 4096 -d /tmp/back --force-unit-access
      done
      blkdiscard -o ${MiB} -l ${MiB} $disk || fail "blkdiscard"
      nvme flush $disk || fail "nvme flush"`,
    );
    const { checked, syncs } = target.durability;
    for (const [name, least] of [
      ['Write', 32],
      ['WriteZeroes', 4],
      ['Copy', 4],
      ['Read', 4],
      ['Flush', 3],
    ] as const) {
      const count = checked.get(IoOpcode[name]) ?? 0;
      context.note(`${name}: ${count} were looked at`);
      context.check(
        count >= least,
        `${count} of ${name}${name === 'Flush' ? '' : ' with FUA'} reached our target`,
      );
    }
    context.note(`${syncs} syncs`);
  },
};

const discard: Scenario = {
  name: 'discard',
  shows: 'blkdiscard and Write Zeroes: blocks read as zeroes, and the file gives up their space',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target({ size: 16 * MiB });
    const space = (): number => statSync(target.path(1)).blocks * 512;
    await context.guest.run(`${context.connect(target)} verify $disk 8192 128`);
    const before = space();
    context.check(before >= 8 * MiB, `the file takes ${before} bytes`);
    const disk = `disk=$(disk ${target.nqn})`;
    await context.guest.run(
      `${disk}; blkdiscard -o ${MiB} -l ${4 * MiB} $disk || fail "blkdiscard"; is_zero $disk 4096 1024
      sum=$(dd if=$disk bs=64k count=16 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c)
      [ $sum -gt 1000000 ] || fail "what was not discarded is gone"`,
    );
    context.check(target.wire.traffic.deallocations > 0, 'no Dataset Management was sent');
    context.check(
      space() <= before - 3 * MiB,
      `after the discard of 4 MiB the file takes ${space()} bytes, before ${before}`,
    );
    await context.guest.run(
      `${disk}; nvme write-zeroes $disk -s 0 -c 2047 || fail "write-zeroes"; is_zero $disk 1024
      blkdiscard $disk || fail "blkdiscard"; is_zero $disk 2048; is_zero $disk 1024 8192`,
    );
    context.check(target.wire.traffic.zeroes > 0, 'no Write Zeroes was sent');
  },
};

const sizes = (name: string, full: boolean): Scenario => ({
  name,
  shows: full
    ? 'transfers of 1 to 2,049 blocks around every power of two, at odd places, every digest, both block sizes'
    : 'transfers of odd sizes at odd places',
  direction: FROM_LINUX,
  full,
  seconds: full ? 3600 : 120,
  async run(context) {
    const counts = full
      ? [
          1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 63, 127, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 2047,
          2049,
        ]
      : [1, 15, 17, 32, 33, 513, 1025];
    for (const blockSize of full ? [512, 4096] : [512])
      for (const options of full ? DIGESTS : ['-g -G']) {
        const target = await context.target({ blockSize });
        await context.guest.run(
          `${context.connect(target, options)}
          for count in ${counts.join(' ')}; do
            bytes=$((count * ${blockSize}))
            head -c $bytes /dev/urandom >/tmp/data
            dd if=/tmp/data of=$disk bs=$bytes count=1 seek=${3 * blockSize} oflag=direct,seek_bytes conv=notrunc 2>/tmp/dd ||
              fail "write of $count blocks: $(cat /tmp/dd)"
            dd if=$disk bs=$bytes count=1 skip=${3 * blockSize} iflag=direct,skip_bytes 2>/tmp/dd | cmp - /tmp/data ||
              fail "$count blocks of ${blockSize}, digests '${options}': not what was written $(cat /tmp/dd)"
          done
          disconnect ${target.nqn}`,
          600,
        );
        await target.stop();
      }
  },
});

const matrix: Scenario = {
  name: 'matrix',
  shows: 'fio verification for every digest × in-capsule or R2T × block size',
  direction: FROM_LINUX,
  full: true,
  seconds: 3600,
  async run(context) {
    for (const blockSize of [512, 4096])
      for (const options of DIGESTS) {
        const target = await context.target({ blockSize });
        for (const [way, bs] of [
          ['in-capsule', '4k'],
          ['in-capsule', '16k'],
          ['R2T', '20k'],
          ['R2T', '256k'],
        ] as const) {
          const { inCapsule: capsulesBefore, r2ts: r2tsBefore } = target.wire.traffic;
          await context.guest.run(
            `${context.connect(target, options)}
            fio_verify $disk --bs=${bs} --size=2m
            disconnect ${target.nqn}`,
            300,
          );
          const inCapsule = target.wire.traffic.inCapsule - capsulesBefore;
          const r2ts = target.wire.traffic.r2ts - r2tsBefore;
          const what = `${bs} writes, ${blockSize}-byte blocks: ${inCapsule} in-capsule, ${r2ts} R2Ts`;
          context.check(way === 'R2T' ? r2ts > 0 : inCapsule > 0 && r2ts === 0, what);
        }
        await target.stop();
      }
  },
};

/** Of the load. */
const SECONDS = 300;
/** Seconds. An emulated processor may stand still for long, and its clock makes up for it at once. */
const KEEP_ALIVE = 60;

const long: Scenario = {
  name: 'long',
  shows:
    'five minutes of verified I/O in both directions at once, many sizes, deep queues, both digests: fio with four ' +
    'jobs on our target, our host with two full queues on nvmet',
  direction: FROM_LINUX,
  full: true,
  seconds: 1800,
  async run(context) {
    const target = await context.target({ size: 256 * MiB });
    const linux = await context.linux({ size: 256 });
    const options = { hdr_digest: true, data_digest: true, nr_io_queues: 2, keep_alive_tmo: KEEP_ALIVE };
    const subsystem = await context.host().connect({ ...linux.address, ...options });
    const disk = subsystem.head(1);
    let over = false;
    const job = context.guest
      .run(
        `${context.connect(target, `-g -G -k ${KEEP_ALIVE}`)}
        fio_verify $disk --bssplit=512/10:4k/50:16k/20:64k/15:1m/5 --blockalign=512 --rw=randrw --numjobs=4 \\
          --size=32m --offset_increment=64m --iodepth=32 --verify_backlog=256 --time_based --runtime=${SECONDS}`,
        3 * SECONDS,
      )
      .finally(() => (over = true));
    const load = async (): Promise<number> => {
      for (let rounds = 0; ;)
        for (const blocks of [1, 8, 32, 33, 256, 1025]) {
          if (over) return rounds;
          await manyRoundTrips(disk, Math.min(512, Math.floor(65_536 / blocks)), 256, blocks);
          rounds++;
        }
    };
    const [said, rounds] = await Promise.all([job, load()]);
    context.note(`${said}\nour host: ${rounds} rounds`);
    context.check(rounds > 0, 'our host did not come round');
    await subsystem.disconnect();
    await context.guest.run(`disconnect ${target.nqn}`);
  },
};

export const LINUX_DATA: readonly Scenario[] = [
  digests,
  fio('fio', ''),
  fio('fio-digests', '-g -G'),
  fileSystem('ext4', 'mkfs.ext4 -q -F', 'e2fsck -fn', 64 * MiB, false),
  fua,
  discard,
  sizes('sizes', false),
  fileSystem('xfs', 'mkfs.xfs -q -f', 'xfs_repair -n', 512 * MiB, true),
  sizes('all-sizes', true),
  matrix,
  long,
];
