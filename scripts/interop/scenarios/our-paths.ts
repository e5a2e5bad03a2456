/** Our host → the kernel's target: paths, namespaces and queues change under I/O, and what discovery offers changes. */
import { Status, statusCode } from '../../../src/nvme/status.ts';
import { controllerOptions, discoveryOptions } from '../../../src/api/connect-options.ts';
import type { NvmeDisk } from '../../../src/api/disk.ts';
import { NvmeSubsystem } from '../../../src/api/host-subsystem.ts';
import type { Destination } from '../../../src/initiator/destination.ts';
import { Follower } from '../../../src/initiator/follow.ts';
import { Registry } from '../../../src/initiator/registry.ts';
import { nodeEnv } from '../../../src/runtime/node/env.ts';
import { HOST_NQN, HOST_UUID } from '../context.ts';
import { GUEST_PORTS, type LinuxTarget } from '../linux-target.ts';
import { Load } from '../load.ts';
import { roundTrip } from '../pattern.ts';
import { TO_LINUX, type Scenario } from '../scenario.ts';
import type { Wire } from '../wire.ts';

/** Short, so that what has to wait for a lost association does not wait long. */
const LIMITS = { commandQuiesceTime: 1000 } as const;
const QUICK = { reconnect_delay: 1, ctrl_loss_tmo: 120, keep_alive_tmo: 2, nr_io_queues: 2 } as const;

const multipath: Scenario = {
  name: 'host-multipath',
  shows:
    'two ports under verified I/O, digests on: ANA states change, the namespace changes its group, a port goes and ' +
    'returns; no I/O error',
  direction: TO_LINUX,
  seconds: 240,
  async run(context) {
    const linux = await context.linux({ ports: 2 });
    const [first, second] = linux.wires as readonly [Wire, Wire];
    const host = context.host({ limits: LIMITS });
    const digests = { hdr_digest: true, data_digest: true };
    const subsystem = await host.connect({ ...linux.addresses, ...QUICK, ...digests });
    const disk = subsystem.head(1);
    const paths = (): number => disk.paths.length;
    await context.until('two paths', 60, () => paths() === 2);
    subsystem.set({ iopolicy: 'round-robin' });
    const load = new Load(disk);
    const moves = async (what: string, wire: Wire): Promise<void> => {
      const before = wire.traffic.reads;
      await context.until(what, 60, () => wire.traffic.reads > before + 20);
      await load.moves(context, what);
    };
    /** I/O goes over this wire, and over the other one no more. */
    const only = async (what: string, wire: Wire, not: Wire): Promise<void> => {
      await moves(what, wire);
      const before = not.traffic.reads;
      await moves(what, wire);
      context.equal(not.traffic.reads - before, 0, `${what}: reads over the other path`);
    };
    const both = async (what: string): Promise<void> => {
      await moves(what, first);
      await moves(what, second);
    };
    await both('round-robin');
    await linux.ana(0, 1, 'inaccessible');
    await only('the first port is inaccessible', second, first);
    await linux.ana(0, 1, 'non-optimized');
    await only('the first port is non-optimized', second, first);
    await linux.ana(1, 1, 'change');
    await only('the second port changes', first, second);
    await linux.ana(1, 1, 'optimized');
    await only('the second port is optimized', second, first);
    await linux.ana(0, 2, 'optimized');
    await linux.ana(1, 2, 'persistent-loss');
    await linux.set('namespaces/1/ana_grpid', 2);
    await only('the namespace is in group 2, lost on the second port', first, second);
    await linux.ana(1, 2, 'optimized');
    await both('group 2 is optimized on both');

    await linux.down(0);
    await context.until('the first port has no connection', 60, () => first.connected === 0);
    await only('the first port is gone', second, first);
    await linux.up(0);
    await both('the first port is back');
    first.cut();
    await load.moves(context, 'the network of the first port broke');
    await both('the first port is back again');
    await load.stop();
    context.note(`${load.done} commands`);
    context.equal(paths(), 2, 'paths');
    context.check(first.traffic.granted.data > 0 && second.traffic.granted.header > 0, 'no digests');
    await subsystem.disconnect();
  },
};

/** nvmet of Linux 6.1 answers so while a namespace is disabled; there is nothing in it that asks for another try. */
const disabled = (status: number | undefined): boolean =>
  status !== undefined && statusCode(status) === Status.InvalidNamespace;

const UUIDS = ['11111111-2222-4333-8444-555555555555', '66666666-7777-4888-8999-aaaaaaaaaaaa'] as const;

const namespaces: Scenario = {
  name: 'host-namespaces',
  shows:
    'the namespace grows, goes and returns under verified I/O, which waits; another UUID under its NSID is another disk',
  direction: TO_LINUX,
  seconds: 240,
  async run(context) {
    const linux = await context.linux({ ports: 2, backing: 'file', size: 32 });
    await replace(linux, UUIDS[0]);
    const host = context.host({ limits: LIMITS });
    const subsystem = await host.connect({ ...linux.addresses, ...QUICK, delayed_removal_secs: 60 });
    const disk = subsystem.head(1);
    context.equal(disk.uuid, UUIDS[0], 'the UUID');
    const load = new Load(disk, { allows: ({ status }) => disabled(status) });
    await load.moves(context, 'I/O');

    const place = `$nvmet/subsystems/${linux.nqn}/namespaces/1`;
    await context.guest.run(`truncate -s 48M $(cat ${place}/device_path); echo 1 >${place}/revalidate_size`);
    await context.until('48 MiB', 60, () => disk.size === 48 * 2 ** 20);
    await load.moves(context, 'I/O after it grew');

    for (let round = 0; round < 2; round++) {
      await linux.set('namespaces/1/enable', 0);
      await context.until('no path', 60, () => disk.paths.length === 0);
      await linux.set('namespaces/1/enable', 1);
      await load.moves(context, 'I/O after it returned');
      context.equal(subsystem.heads.length, 1, 'disks');
    }

    await replace(linux, UUIDS[1]);
    const theOther = (): NvmeDisk | undefined => subsystem.heads.find(({ uuid }) => uuid === UUIDS[1]);
    await context.until('a disk with the other UUID', 60, () => theOther()?.paths.length === 2);
    const other = theOther()!;
    context.check(other.id !== disk.id, 'the same disk with another UUID');
    context.equal(disk.paths.length, 0, 'paths of the disk that waits');
    await roundTrip(other, 8000, 64);
    const before = load.done;
    await roundTrip(other, 9000, 64);
    context.equal(load.done, before, 'commands of the disk that waits');

    await replace(linux, UUIDS[0]);
    await load.moves(context, 'I/O after the first UUID is back');
    other.delayedRemovalSecs = 0;
    await context.until('one disk', 60, () => subsystem.heads.length === 1);
    context.equal(subsystem.head(1).id, disk.id, 'the disk that is left');
    await load.stop();
    context.note(`${load.done} commands, ${load.allowed.length} while it was disabled`);
    await subsystem.disconnect();
  },
};

/** The same namespace as somebody else. */
async function replace(linux: LinuxTarget, uuid: string): Promise<void> {
  await linux.set('namespaces/1/enable', 0);
  await linux.set('namespaces/1/device_uuid', uuid);
  await linux.set('namespaces/1/enable', 1);
}

const queueCounts: Scenario = {
  name: 'host-qid-max',
  shows: 'attr_qid_max goes from 1 to 2 to 1 under verified I/O: our host reconnects with as many queues',
  direction: TO_LINUX,
  async run(context) {
    const linux = await context.linux();
    const attribute = `$nvmet/subsystems/${linux.nqn}/attr_qid_max`;
    const { status } = await context.guest.step(`[ -e ${attribute} ]`);
    if (status !== 0) {
      context.say(`nvmet of Linux ${context.guest.release} has no attr_qid_max: nothing to see`);
      return;
    }
    await linux.set('attr_qid_max', 1);
    const host = context.host({ limits: LIMITS });
    const subsystem = await host.connect({ ...linux.address, ...QUICK });
    const load = new Load(subsystem.head(1));
    const queues = (): number => subsystem.controllers[0]?.queues.count ?? 0;
    context.equal(queues(), 1, 'I/O queues');
    for (const count of [2, 1]) {
      await load.moves(context, 'I/O');
      const { connections } = linux.wire.traffic;
      await linux.set('attr_qid_max', count);
      const ended = (): boolean => linux.wire.connected === 0 || linux.wire.traffic.connections > connections;
      // 6.12 ends the controllers; 6.1 only has other numbers for those that come.
      await context.until('nvmet ends the controller', 3, ended).catch(() => linux.wire.cut());
      await context.until(
        `${count} I/O queues`,
        30,
        () => linux.wire.traffic.connections > connections && queues() === count,
      );
    }
    await load.moves(context, 'I/O');
    await load.stop();
    await subsystem.disconnect();
  },
};

const follow: Scenario = {
  name: 'host-follow',
  shows:
    'our host follows nvmet’s discovery: what it and a referral offer is connected, what goes is left; no question asked',
  direction: TO_LINUX,
  async run(context) {
    const linux = await context.linux({ ports: 2 });
    const [, second] = GUEST_PORTS;
    await linux.down(1);
    const identity = { hostnqn: HOST_NQN, hostid: HOST_UUID };
    const registry = new Registry(nodeEnv({ logger: context.journal }), { ...LIMITS, followRetry: 1000 });
    const recovery = { reconnectDelay: 1000, ctrlLossTmo: Infinity };
    const service = (trsvcid: number) => ({
      ...discoveryOptions({ traddr: '127.0.0.1', trsvcid, keep_alive_tmo: 10 }, identity),
      recovery,
    });
    /** nvmet says where it is in the guest; from here, that is behind a relay. */
    const connect = ({ kind, address, subnqn }: Destination) => {
      const trsvcid = linux.wires[GUEST_PORTS.findIndex((port) => port === address.port)]?.port;
      if (trsvcid === undefined) return undefined;
      if (kind === 'service') return service(trsvcid);
      return controllerOptions(
        { traddr: '127.0.0.1', trsvcid, subnqn, ...QUICK },
        identity,
        registry.limits,
        2,
      );
    };
    const follower = new Follower(registry, {
      service: service(linux.wire.port),
      connect,
      disconnectAfter: 1000,
    });
    const stop = (): Promise<void> =>
      new Promise((resolve) => follower.stop(() => registry.stop(() => resolve())));
    context.later(stop);
    follower.start();
    /** The subsystems that have a disk with a path. */
    const connected = (): string[] =>
      [...registry.subsystems]
        .filter(({ discovery, heads }) => !discovery && heads.some(({ paths }) => paths.length > 0))
        .map(({ nqn }) => nqn)
        .sort();
    const has = (what: string, ...nqns: string[]): Promise<void> =>
      context.until(what, 30, () => connected().join() === nqns.join());
    await has('the subsystem', linux.nqn);
    // The referral is there before anybody listens where it leads: it is tried again.
    const other = `${linux.nqn}-other`;
    await context.guest.run(
      `mkdir $nvmet/subsystems/${other} && echo 1 >$nvmet/subsystems/${other}/attr_allow_any_host
      add_namespace ${other} 1 $(backing null 16 512)
      refer ${GUEST_PORTS[0]} other ${second}
      serve ${other} ${second}`,
    );
    await has('the one that a referral leads to', linux.nqn, other);
    for (const subsystem of registry.subsystems)
      if (!subsystem.discovery) await roundTrip(new NvmeSubsystem(subsystem).head(1), 8, 64);
    await context.guest.run(`serve ${linux.nqn} ${second}`);
    const ways = (): number => registry.subsystem(linux.nqn)?.heads[0]?.paths.length ?? 0;
    await context.until('a second path', 60, () => ways() === 2);
    await context.guest.run(`unserve ${other} ${second}`);
    await has('one less', linux.nqn);
    await context.guest.run(`unserve ${linux.nqn} ${second}; unrefer ${GUEST_PORTS[0]} other`);
    await context.until('one path', 60, () => ways() === 1);
    await roundTrip(new NvmeSubsystem(registry.subsystem(linux.nqn)!).head(1), 8, 64);
    await stop();
    await context.until('every connection is closed', 60, () =>
      linux.wires.every(({ connected: open }) => open === 0),
    );
  },
};

export const OUR_PATHS: readonly Scenario[] = [multipath, namespaces, queueCounts, follow];
