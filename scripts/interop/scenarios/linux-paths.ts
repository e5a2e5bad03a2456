/** Linux host → our target: paths, states of ANA groups and namespaces come and go under I/O; and large numbers. */
import { answer } from '../../../src/api/answer.ts';
import { AnaState } from '../../../src/nvme/ana-log.ts';
import { HOST_ADDRESS, accelerator } from '../guest.ts';
import { FROM_LINUX, type Scenario } from '../scenario.ts';
import { MiB } from '../test-target.ts';
import { underFio } from '../under-fio.ts';
import type { Wire } from '../wire.ts';

const multipath: Scenario = {
  name: 'multipath',
  shows:
    'two ports under fio: ANA states change, the namespace changes its group, a port goes and returns; no I/O error',
  direction: FROM_LINUX,
  seconds: 240,
  async run(context) {
    const target = await context.target({ size: 16 * MiB });
    const { target: core, subsystem } = target;
    const [first] = core.ports.list;
    const other = await target.listen();
    context.wires.push(other.wire);
    const options = '-c 1 -l 600';
    await context.guest.run(
      `${context.connect(target, options)}
      connect ${target.nqn} ${HOST_ADDRESS} ${other.wire.port} ${options}
      [ $(ls -d /sys/class/nvme-subsystem/*/nvme* | grep -c 'nvme[0-9]*$') = 2 ] || fail "two paths"
      case $disk in *c*) fail "no multipath: $disk" ;; esac`,
    );
    const moves = (what: string, wire: Wire): Promise<void> => {
      const before = wire.traffic.reads;
      return context.until(what, 60, () => wire.traffic.reads > before + 20);
    };
    /** I/O goes over this wire, and over the other one no more. */
    const only = async (what: string, wire: Wire, not: Wire): Promise<void> => {
      await moves(what, wire);
      const before = not.traffic.reads;
      await moves(what, wire);
      context.equal(not.traffic.reads - before, 0, `${what}: reads over the other path`);
    };
    await underFio(context, target, async () => {
      await context.until('fio reads', 60, () => target.wire.traffic.reads + other.wire.traffic.reads > 100);
      core.ports.setAnaState(first!, 1, AnaState.Inaccessible);
      await only('the first port is inaccessible', other.wire, target.wire);
      core.ports.setAnaState(first!, 1, AnaState.NonOptimized);
      await only('the first port is non-optimized', other.wire, target.wire);
      core.ports.setAnaState(other.port, 1, AnaState.Change);
      await only('the second port changes', target.wire, other.wire);
      core.ports.setAnaState(other.port, 1, AnaState.Optimized);
      await only('the second port is optimized', other.wire, target.wire);
      core.ports.setAnaState(other.port, 7, AnaState.PersistentLoss);
      subsystem.move(subsystem.namespaces.get(1)!, 7);
      await only('the namespace is in group 7, lost on the second port', target.wire, other.wire);
      core.ports.setAnaState(other.port, 7, AnaState.NonOptimized);

      const { port } = first!.address;
      const before = target.wire.traffic.ioQueues;
      await new Promise<void>((resolve) => core.ports.remove(first!, resolve));
      await moves('the first port is gone', other.wire);
      await answer((done) => core.ports.listen({ host: '127.0.0.1', port }, done));
      await context.until('the kernel is back', 60, () => target.wire.traffic.ioQueues >= before + 2);
      await only('the first port is back', target.wire, other.wire);
    });
    await context.guest.run(`disconnect ${target.nqn}`);
  },
};

/** What an operator does is seen within this time; an emulated processor gets more. */
const SEEN = accelerator() === 'kvm' ? 1000 : 5000;

const namespacesLive: Scenario = {
  name: 'namespaces-live',
  shows: 'a namespace appears, grows, goes, and another one changes its ANA group, under fio: seen at once',
  direction: FROM_LINUX,
  seconds: 240,
  async run(context) {
    const target = await context.target({ size: 16 * MiB });
    const { subsystem } = target;
    await context.guest.run(context.connect(target));
    const seen = async (what: string, change: () => unknown, test: string): Promise<void> => {
      await change();
      const started = Date.now();
      await context.guest.run(`wait_for 60 ${test}`);
      const ms = Date.now() - started;
      context.note(`${what}: ${ms} ms`);
      context.check(ms <= SEEN, `${what}: the kernel sees it after ${ms} ms`);
    };
    await underFio(context, target, async () => {
      await context.until('fio reads', 60, () => target.wire.traffic.reads > 50);
      for (let round = 0; round < 2; round++) {
        await seen('appears', () => target.add(2, 8 * MiB), `find_disk ${target.nqn} 2`);
        const size = 24 * MiB + round * MiB;
        await seen('grows', () => target.resize(2, size), `disk_has_size ${target.nqn} 2 ${size}`);
        await seen('goes', () => target.remove(2), `no_disk ${target.nqn} 2`);
        const group = 5 + round;
        const move = (): void => subsystem.move(subsystem.namespaces.get(1)!, group);
        await seen('moves', move, `grep -qx ${group} /sys/block/nvme*c*n1/ana_grpid`);
      }
      const namespace = subsystem.namespaces.get(1)!;
      const before = target.wire.traffic.reads;
      await answer<undefined>((done) => namespace.disable(done));
      await target.enable(1);
      await context.until(
        'it goes on after disable and enable',
        30,
        () => target.wire.traffic.reads > before + 20,
      );
    });
    await context.guest.run(`disconnect ${target.nqn}`);
  },
};

const manySubsystems: Scenario = {
  name: 'discovery-1000',
  shows: 'nvme discover lists 1,000 subsystems, while others come and go',
  direction: FROM_LINUX,
  seconds: 240,
  async run(context) {
    const target = await context.target();
    const nqn = (i: number): string => `nqn.2024-01.test.interop:many-${i}`;
    for (let i = 0; i < 999; i++)
      target.target.addSubsystem({ nqn: nqn(i), serial: `MANY${i}`, model: 'nvme-tcp' });
    const discover = `nvme discover -t tcp -a ${HOST_ADDRESS} -s ${target.port} -q $hostnqn -I $hostid`;
    const found = await context.guest.run(
      `${discover} >/tmp/log 2>&1 || fail "discover: $(tail -3 /tmp/log)"; grep -c 'subtype: nvme subsystem' /tmp/log`,
      200,
    );
    context.equal(Number(found), 1000, 'the count of subsystems');
    // A change on the way means another try of nvme-cli's.
    const extra = target.target.addSubsystem({ nqn: nqn(999), serial: 'MANY', model: 'nvme-tcp' });
    target.target.removeSubsystem(extra, false, () => undefined);
    const again = await context.guest.run(`${discover} 2>&1 | grep -c 'subtype: nvme subsystem'`, 200);
    context.equal(Number(again), 1000, 'the count of subsystems');
  },
};

const manyNamespaces: Scenario = {
  name: 'namespaces-1000',
  shows: '1,000 namespaces in one subsystem: the kernel has a disk for each, and one more appears and goes',
  direction: FROM_LINUX,
  full: true,
  seconds: 900,
  async run(context) {
    const target = await context.target();
    for (let nsid = 2; nsid <= 1000; nsid++) target.addMemory(nsid, MiB);
    await context.guest.run(
      `${context.connect(target)}
      all() { [ $(ls -d /sys/block/nvme*n* | grep -c 'nvme[0-9]*n[0-9]*$') = 1000 ]; }
      wait_for 600 all
      verify $(disk ${target.nqn} 1000) 512 64`,
      700,
    );
    target.addMemory(1001, MiB);
    await context.guest.run(`wait_for 300 find_disk ${target.nqn} 1001`, 330);
    await target.remove(1001);
    await context.guest.run(`wait_for 300 no_disk ${target.nqn} 1001; disconnect ${target.nqn}`, 400);
  },
};

export const LINUX_PATHS: readonly Scenario[] = [multipath, namespacesLive, manySubsystems, manyNamespaces];
