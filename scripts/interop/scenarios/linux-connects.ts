/** Linux host → our target: finding it, connecting to it, being told of changes, leaving. */
import { FROM_LINUX, type Scenario } from '../scenario.ts';
import { HOST_ADDRESS } from '../guest.ts';
import { MiB } from '../test-target.ts';
import { underFio } from '../under-fio.ts';

const connect: Scenario = {
  name: 'connect',
  shows:
    'nvme connect with other queue shapes; identify, logs and features as nvme-cli reads them; keep-alive',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target();
    const facts = await context.guest.run(
      `${context.connect(target)}
      cd /sys/class/nvme/$ctrl
      echo "$(cat model) $(cat serial) $(cat state) $(cat queue_count) $(cat sqsize)"
      cat /sys/class/nvme-subsystem/nvme-subsys*/nvme*n*/uuid | head -1
      for log in "id-ctrl" "smart-log" "error-log -e 4" "effects-log" "ana-log" "fw-log"; do
        nvme \${log%% *} /dev/$ctrl $([ "$log" = "\${log#* }" ] || echo "\${log#* }") >/tmp/out 2>&1 ||
          fail "nvme $log: $(cat /tmp/out)"
      done
      for id in 2 4 5 6 7 8 9 10 11 14 15 22 129; do
        nvme get-feature /dev/$ctrl -f $id >/tmp/out 2>&1 || echo "feature $id: $(head -1 /tmp/out)"
      done
      nvme id-ns $disk >/dev/null && nvme ns-descs $disk >/dev/null || fail "namespace"
      disconnect ${target.nqn}`,
    );
    context.note(facts);
    const [line, uuid] = facts.split('\n');
    context.equal(line?.replaceAll(/\s+/g, ' '), 'nvme-tcp INTEROP2 live 3 127', 'what sysfs says');
    context.equal(uuid, '5c3f2a10-6c1e-4a53-9d5e-000000000001', 'the UUID');
    for (const options of ['-i 1 -Q 16', '-i 2 -Q 1024', '-k 1']) {
      await context.guest.run(
        `${context.connect(target, options)}
        verify $disk 256 16
        ${options.startsWith('-k') ? 'sleep 4; [ "$(cat /sys/class/nvme/$ctrl/state)" = live ] || fail "keep-alive"' : ''}
        disconnect ${target.nqn}`,
      );
      const entries = /-Q (\d+)/.exec(options)?.[1];
      if (entries !== undefined)
        context.equal(target.wire.traffic.entries, Number(entries), `the queue size with ${options}`);
    }
  },
};

const changes: Scenario = {
  name: 'changes',
  shows:
    'a disk that grows and shrinks, one more and one less, seen by the kernel without being asked to look',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target({ size: 16 * MiB });
    await context.guest.run(`${context.connect(target)} has_size $disk ${16 * MiB} || fail "size"`);
    for (const size of [32 * MiB, 24 * MiB]) {
      await target.resize(1, size);
      await context.guest.run(`wait_for 60 has_size $(disk ${target.nqn}) ${size}`);
    }
    await target.add(2, 8 * MiB);
    await context.guest.run(
      `wait_for 60 find_disk ${target.nqn} 2
      disk=$(disk ${target.nqn} 2)
      has_size $disk ${8 * MiB} || fail "size of the second"
      verify $disk 512`,
    );
    await target.remove(2);
    await context.guest.run(
      `gone() { ! find_disk ${target.nqn} 2; }
      wait_for 60 gone
      verify $(disk ${target.nqn}) 512`,
    );
    context.check(target.wire.traffic.asyncEvents >= 4, 'fewer events than changes');
  },
};

const reset: Scenario = {
  name: 'reset',
  shows: 'the controller is reset under fio, three times, and nothing is lost',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target();
    await context.guest.run(
      `${context.connect(target)}
      fio_verify $disk --size=2m --verify_backlog=64 --time_based --runtime=8 >/tmp/job 2>&1 &
      job=$!
      for i in 1 2 3; do
        sleep 1
        kill -0 $job || fail "fio ended early: $(cat /tmp/job)"
        nvme reset /dev/$ctrl || fail "nvme reset"
      done
      wait $job || fail "$(cat /tmp/job)"
      cat /tmp/job`,
    );
    context.check(target.wire.traffic.connections >= 12, 'no new connections after a reset');
  },
};

const cut: Scenario = {
  name: 'cut',
  shows: 'the network breaks under fio, twice; the kernel reconnects and nothing is lost',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target();
    await context.guest.run(context.connect(target, '-c 1 -l 60'));
    const job = context.guest.run(
      `fio_verify $(disk ${target.nqn}) --size=2m --verify_backlog=64 --time_based --runtime=10`,
      100,
    );
    for (const more of [3, 3]) {
      const before = target.wire.traffic.connections;
      const { reads } = target.wire.traffic;
      await Promise.race([context.until('fio reads', 60, () => target.wire.traffic.reads > reads + 20), job]);
      target.wire.cut();
      await context.until(
        'the kernel has reconnected',
        30,
        () => target.wire.traffic.connections >= before + more,
      );
    }
    context.note(await job);
  },
};

const shortLived: Scenario = {
  name: 'short-lived',
  shows: 'ten controllers that are deleted as soon as they are there, before their disks are (nvme/031)',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target();
    await context.guest.run(
      `for i in $(seq 10); do
        connect ${target.nqn} ${HOST_ADDRESS} ${target.port} >/dev/null
        nvme disconnect -n ${target.nqn} >/dev/null || fail "disconnect"
      done
      wait_for 60 no_controller ${target.nqn}`,
    );
    context.equal(target.wire.traffic.ioQueues, 20, 'I/O queues connected');
  },
};

const kick: Scenario = {
  name: 'kick',
  shows:
    'our target ends the controller under fio, orderly and without a word; the kernel returns and nothing is lost ' +
    '(nvme/060)',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target({ size: 16 * MiB });
    await context.guest.run(context.connect(target, '-c 1 -l 60'));
    const { subsystem, wire } = target;
    await underFio(context, target, async () => {
      for (const abrupt of [false, true, false]) {
        const { reads, ioQueues } = wire.traffic;
        await context.until('fio reads', 60, () => wire.traffic.reads > reads + 20);
        for (const controller of [...subsystem.controllers.values()]) {
          const queues = [controller.admin, ...controller.ioQueues.values()];
          if (abrupt) for (const { connection } of queues) connection.transport.reset();
          else controller.remove('controller removed');
        }
        await context.until('the kernel is back', 60, () => wire.traffic.ioQueues >= ioQueues + 2);
      }
    });
    await context.guest.run(`disconnect ${target.nqn}`);
  },
};

/**
 * One after the other, and without nvme-cli. It looks at every controller that there is, and where others go meanwhile, that
 * of Linux 6.1 ends by a double free, and Linux 6.12 itself by a fault in the controller's `address`.
 */
const manyConnects: Scenario = {
  name: '1000-connects',
  shows: '1,000 times connect, read, disconnect; nothing piles up',
  direction: FROM_LINUX,
  full: true,
  seconds: 3600,
  async run(context) {
    const target = await context.target({ size: 8 * MiB });
    const { nqn, port } = target;
    for (let i = 0; i < 20; i++)
      await context.guest.run(
        `for i in $(seq 50); do
          echo "transport=tcp,traddr=${HOST_ADDRESS},trsvcid=${port},nqn=${nqn},hostnqn=$hostnqn,hostid=$hostid" \\
            >/dev/nvme-fabrics || fail "connect"
          wait_for 60 find_disk ${nqn} 1
          dd if=$(find_disk ${nqn} 1) of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null || fail "read"
          echo 1 >$(echo /sys/class/nvme/nvme*)/delete_controller || fail "disconnect"
          wait_for 60 no_controller ${nqn}
        done`,
        900,
      );
    context.equal(target.wire.traffic.ioQueues, 2000, 'I/O queues connected');
  },
};

export const LINUX_CONNECTS: readonly Scenario[] = [
  connect,
  shortLived,
  changes,
  reset,
  kick,
  cut,
  manyConnects,
];
