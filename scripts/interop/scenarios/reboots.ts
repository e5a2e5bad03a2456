/** A machine that is both at once, host of our target and target of our host, loses its power under load. */
import { Load } from '../load.ts';
import { TO_LINUX, type Scenario } from '../scenario.ts';
import { MiB } from '../test-target.ts';

const reboot: Scenario = {
  name: 'reboot',
  shows:
    'Linux, with nvmet over a disk of ours, vanishes under verified I/O of our host and is booted anew: our target ' +
    'notices, the same host returns, and our host goes on; no I/O error, nothing lost',
  direction: TO_LINUX,
  seconds: 400,
  async run(context) {
    // A connection whose host is gone never ends by itself: our target ends it after this time.
    const ours = await context.target({ size: 32 * MiB, limits: { terminateTimeout: 3000 } });
    const linux = await context.linux({
      over: context.connect(ours, '-k 2').trimEnd(),
      uuid: '77777777-8888-4999-8aaa-bbbbbbbbbbbb',
    });
    const host = context.host({ limits: { commandQuiesceTime: 1000 } });
    const subsystem = await host.connect({
      ...linux.address,
      reconnect_delay: 1,
      ctrl_loss_tmo: 600,
      keep_alive_tmo: 2,
      nr_io_queues: 2,
      data_digest: true,
    });
    const disk = subsystem.head(1);
    const load = new Load(disk);
    await load.moves(context, 'I/O');
    const [lost] = ours.subsystem.controllers.values();
    await context.reboot();
    context.check(lost !== undefined, 'our target had no controller');
    const gone = (): boolean => ![...ours.subsystem.controllers.values()].includes(lost!);
    await context.until('our target has noticed', 60, gone);
    await linux.setUp();
    context.equal(ours.subsystem.controllers.size, 1, 'controllers of our target');
    await load.moves(context, 'I/O after the reboot', 120);
    context.equal(subsystem.heads.length, 1, 'disks');
    context.equal(subsystem.head(1).id, disk.id, 'the disk');
    await load.stop();
    context.note(`${load.done} commands`);
    await subsystem.disconnect();
  },
};

export const REBOOTS: readonly Scenario[] = [reboot];
