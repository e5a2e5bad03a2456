/** Linux host → our target: controllers, namespaces and queues go and come while it works; odd commands in between. */
import { answer } from '../../../src/api/answer.ts';
import { pause } from '../context.ts';
import { FROM_LINUX, type Scenario } from '../scenario.ts';
import { MiB, type TestTarget } from '../test-target.ts';
import { underFio } from '../under-fio.ts';

const deletion: Scenario = {
  name: 'delete',
  shows:
    'the controller is deleted under fio, which ends at once; connected again, everything works (nvme/040)',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target({ size: 16 * MiB });
    for (let round = 0; round < 2; round++) {
      const { reads } = target.wire.traffic;
      await context.guest.run(
        `${context.connect(target)}
        (fio --name=load --filename=$disk --direct=1 --ioengine=libaio --rw=randrw --bs=4k --iodepth=32 \\
          --eta=never --time_based --runtime=300 >/tmp/job 2>&1; echo $? >/tmp/job.status) >/dev/null 2>&1 &`,
      );
      await context.until('fio reads', 60, () => target.wire.traffic.reads > reads + 100);
      await context.guest.run(
        `[ ! -e /tmp/job.status ] || fail "fio ended early: $(cat /tmp/job)"
        echo 1 >$(ls -d /sys/class/nvme/nvme*)/delete_controller || fail "delete_controller"
        wait_for 60 test -s /tmp/job.status
        wait_for 60 no_controller ${target.nqn}
        rm /tmp/job.status`,
      );
      await context.until('our target has let go', 60, () => target.left.controllers === 0);
    }
    await context.guest.run(`${context.connect(target)} verify $disk 512; disconnect ${target.nqn}`);
  },
};

/** Disabled and enabled again, so often, at its own pace. */
async function flap(target: TestTarget, nsid: number, rounds: number): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    const namespace = target.subsystem.namespaces.get(nsid)!;
    await answer<undefined>((done) => namespace.disable(done));
    await pause((i * 37 + nsid * 101) % 200);
    await target.enable(nsid);
    await pause((i * 53 + nsid * 17) % 300);
  }
}

const flaps: Scenario = {
  name: 'flaps',
  shows:
    'namespaces are disabled and enabled, removed and put back with other UUIDs, and the kernel looks for them anew, all ' +
    'at once and under I/O: none of it fails where the namespace stayed (nvme/051, 052, 053, 055, 058)',
  direction: FROM_LINUX,
  seconds: 240,
  async run(context) {
    const target = await context.target({ size: 16 * MiB });
    for (const nsid of [2, 3, 4]) await target.add(nsid, 8 * MiB);
    await context.guest.run(
      `${context.connect(target)}
      for nsid in 1 2 3; do
        disk=$(disk ${target.nqn} $nsid)
        (fio --name=verify --filename=$disk --direct=1 --ioengine=libaio --rw=randrw --bs=4k --iodepth=4 --size=1m \\
          --verify=crc32c --verify_fatal=1 --verify_backlog=16 --time_based --runtime=10 --eta=never \\
          >/tmp/job.$nsid 2>&1; echo $? >/tmp/status.$nsid) >/dev/null 2>&1 &
      done`,
      90,
    );
    await context.until('fio reads', 60, () => target.wire.traffic.reads > 50);
    const remap = async (): Promise<void> => {
      for (let i = 1; i <= 6; i++) {
        await target.remove(4);
        await pause((i * 71) % 150);
        await target.add(4, 8 * MiB, i % 2 === 0 ? undefined : 1000 + i);
        await pause((i * 97) % 250);
      }
    };
    const rescan = context.guest.run(
      `for i in $(seq 15); do sleep 0.$((i * 7 % 4)); echo 1 >$(ls -d /sys/class/nvme/nvme*)/rescan_controller; done`,
    );
    await Promise.all([flap(target, 2, 10), flap(target, 3, 10), remap(), rescan]);
    context.note(
      await context.guest.run(
        `for nsid in 1 2 3; do
          wait_for 90 test -s /tmp/status.$nsid
          [ $(cat /tmp/status.$nsid) = 0 ] || fail "fio on $nsid: $(tail -15 /tmp/job.$nsid)"
        done
        uuid() { grep -q 000000000004 /sys/block/$(basename $(find_disk ${target.nqn} 4))/uuid; }
        wait_for 60 uuid
        for nsid in 1 2 3 4; do verify $(disk ${target.nqn} $nsid) 256; done
        grep -h IOPS= /tmp/job.*
        disconnect ${target.nqn}`,
        150,
      ),
    );
  },
};

const queueCounts: Scenario = {
  name: 'qid-max',
  shows:
    'the kernel has 1 I/O queue, comes back with 2, then with 1, as that is changed under fio (nvme/048)',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target({ size: 16 * MiB, limits: { ioQueues: 2 } });
    target.subsystem.setIoQueues(1);
    const queues = (count: number): string =>
      `has_queues() { [ "$(cat /sys/class/nvme/$ctrl/state) $(cat /sys/class/nvme/$ctrl/queue_count)" = "live ${count + 1}" ]; }
      wait_for 60 has_queues`;
    const ctrl = `ctrl=$(basename $(ls -d /sys/class/nvme/nvme*))`;
    await context.guest.run(`${context.connect(target, '-c 1 -l 60')} ${queues(1)}`);
    await underFio(context, target, async () => {
      for (const count of [2, 1]) {
        const { reads } = target.wire.traffic;
        await context.until('fio reads', 60, () => target.wire.traffic.reads > reads + 20);
        target.subsystem.setIoQueues(count);
        await context.guest.run(`${ctrl}\n${queues(count)}`);
      }
    });
    await context.guest.run(`disconnect ${target.nqn}`);
  },
};

const commands: Scenario = {
  name: 'passthru',
  shows:
    'nvme read, write, compare, write-zeroes, dsm, verify, copy, flush; commands that are wrong are refused (nvme/018, 029)',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target({ size: 8 * MiB });
    const said = await context.guest.run(
      `${context.connect(target)}
      dd if=/dev/urandom of=/tmp/data bs=4k count=2 2>/dev/null
      dd if=/dev/urandom of=/tmp/wrong bs=4k count=2 2>/dev/null
      at() { local command=$1; shift; nvme $command $disk "$@" >/tmp/said 2>&1 || fail "nvme $command $*: $(cat /tmp/said)"; }
      refuses() {
        local expected=$1 command=$2; shift 2
        nvme $command "$@" >/tmp/said 2>&1 && fail "nvme $command $* was accepted"
        grep -qiE "$expected" /tmp/said || fail "nvme $command $*: $(cat /tmp/said)"
      }
      at write -s 100 -c 15 -z 8192 -d /tmp/data
      at read -s 100 -c 15 -z 8192 -d /tmp/back
      cmp /tmp/data /tmp/back || fail "what nvme read gives back"
      at compare -s 100 -c 15 -z 8192 -d /tmp/data
      refuses 'compare' compare $disk -s 100 -c 15 -z 8192 -d /tmp/wrong
      at verify -s 100 -c 15
      at copy --sdlba=200 --slbs=100 --blocks=15
      at compare -s 200 -c 15 -z 8192 -d /tmp/data
      at write-zeroes -s 100 -c 7
      at dsm -d -s 200 -b 16
      at flush -n 1
      rm /tmp/back
      at read -s 100 -c 7 -z 4096 -d /tmp/back
      [ $(tr -d '\\0' </tmp/back | wc -c) = 0 ] || fail "write-zeroes leaves something"
      refuses 'range' read $disk -s ${(8 * MiB) / 512} -c 0 -z 512
      refuses 'range' read $disk -s ${(8 * MiB) / 512 - 1} -c 1 -z 1024
      refuses 'namespace' id-ns /dev/$ctrl -n 0xfffffffe
      nvme ns-rescan /dev/$ctrl && nvme list-subsys >/dev/null && nvme list -v >/dev/null || fail "lists"
      verify $disk 256; disconnect ${target.nqn}; echo done`,
    );
    context.note(said);
  },
};

export const LINUX_CHANGES: readonly Scenario[] = [deletion, flaps, queueCounts, commands];
