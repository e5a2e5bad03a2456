/** Linux host → our daemon: it is stopped and started again, and the kernel's disk stays the same. */
import { Daemon } from '../daemon.ts';
import { FROM_LINUX, type Scenario } from '../scenario.ts';

const daemon: Scenario = {
  name: 'daemon',
  shows:
    'targetd is stopped by SIGTERM under fio and started again; the kernel finds the same disk and goes on',
  direction: FROM_LINUX,
  async run(context) {
    const running = await Daemon.start(context);
    const { nqn, wire } = running;
    await context.guest.run(`${context.connect(running, '-c 1 -l 60')} verify $disk 512`);
    const job = context.guest.run(
      `fio_verify $(disk ${nqn}) --size=2m --verify_backlog=64 --time_based --runtime=10`,
      100,
    );
    const busy = (): boolean => wire.traffic.reads > 100;
    await Promise.race([context.until('fio reads', 60, busy), job]);
    await running.stop();
    await running.again();
    context.note(await job);
    await context.guest.run(`disconnect ${nqn}`);
    await running.stop();
  },
};

export const LINUX_STAYS: readonly Scenario[] = [daemon];
