/**
 * A world: one clock, one network, the machines on it, and the loop in which one thing happens after the other. It is
 * built from a plan, checks what an event touched after it and everything now and then, and stops at the first rule
 * that is broken.
 */
import { Connection as HostConnection } from '../../src/initiator/connection.ts';
import type { Failure } from '../../src/initiator/failure.ts';
import { Status } from '../../src/nvme/status.ts';
import { AssertionFailure } from '../../src/runtime/assert.ts';
import { Connection as TargetConnection } from '../../src/target/connection.ts';
import { Client, SCRIBBLE, type Outstanding } from './client.ts';
import { SimClock } from './clock.ts';
import { SimDisk } from './disk.ts';
import { HostMachine, type Way } from './host-machine.ts';
import { hangReport } from './hang.ts';
import { NbdClient } from './nbd-client.ts';
import { NbdRoom } from './nbd-room.ts';
import { SimNet } from './net.ts';
import { DiskOracle, type Op } from './oracle.ts';
import type { Plan } from './plan.ts';
import { SimRandom } from './random.ts';
import { ProtectionOracle } from './protection-oracle.ts';
import { ReservationOracle } from './reservation-oracle.ts';
import type { HostRules } from './rules.ts';
import { TargetMachine, type NamespaceState } from './target-machine.ts';
import { SimTrace } from './trace.ts';

/** Everything is checked every so many events; what is unknown is looked at as often. */
const CHECK_ALL = 256;
/** No simulation needs more: something spins. */
const MOST_EVENTS = 3_000_000;

/** How a local socket behaves. */
const LOCAL = { latency: 5, jitter: 50, bandwidth: 2_000_000, segment: 65_536, window: 16_384, take: 2000 };

/** A broken rule. */
export interface Violation {
  readonly rule: string;
  readonly text: string;
  /** Words that lines of the trace are about, if they explain it. */
  readonly about: readonly string[];
}

/** Milliseconds within which things must have happened. */
export interface Bounds {
  /** One I/O, whatever goes wrong. */
  readonly io: number;
  /** After healing: every controller is live. */
  readonly live: number;
  /** A target, or a host, stops. */
  readonly stop: number;
  /** A transport port that is unregistered goes. */
  readonly port: number;
}

export class World {
  readonly plan: Plan;
  readonly clock = new SimClock();
  readonly random: SimRandom;
  readonly trace: SimTrace;
  readonly net: SimNet;
  readonly targets: TargetMachine[] = [];
  readonly hosts: HostMachine[] = [];
  readonly clients: Client[] = [];
  readonly nbdClients: NbdClient[] = [];
  /** Sockets that only one machine sees. */
  readonly local: SimNet;
  readonly namespaces: NamespaceState[] = [];
  readonly outstanding = new Set<Outstanding>();
  /** Reads that are over, with their buffers. */
  readonly returned: Op[] = [];
  /** Machines whose connections may have suffered from what was done. */
  readonly disturbances = new Set<string>();
  /** Rules of hosts that the present event may have broken. */
  readonly touchedRules = new Set<HostRules>();
  /** What simulations came to; scenarios say what they must have come to. */
  readonly marks = new Set<string>();
  readonly bounds: Bounds;
  failure: Violation | undefined = undefined;
  #ops = 0;
  #nextCheck = CHECK_ALL;

  constructor(plan: Plan, listener?: (line: string) => void) {
    this.plan = plan;
    this.random = new SimRandom(plan.seed).fork('world');
    this.clock.timersLast = this.random.fork('ties').oneIn(2);
    this.trace = new SimTrace(this.clock, listener);
    this.net = new SimNet(this.clock, this.random.fork('net'), this.trace, plan.link);
    this.local = new SimNet(this.clock, this.random.fork('local'), this.trace, LOCAL);
    this.net.onTouched = (events) => this.#touched(events);
    this.bounds = boundsOf(plan);
    for (let i = 0; i < plan.targets; i++) this.#addTarget(i);
    for (let i = 0; i < plan.subsystems; i++) this.#addSubsystem(i);
    for (let i = 0; i < plan.hosts; i++) this.#addHost(i);
    for (let i = 0; i < plan.clients; i++) this.#addClient(i);
    for (let i = 0; i < plan.nbdClients; i++) this.#addNbdClient(i);
  }

  // ---- what there is

  #addTarget(index: number): void {
    const { plan } = this;
    const name = `t${index}`;
    const addresses = Array.from({ length: plan.addresses }, (_, i) => ({
      host: `${name}.${i}`,
      from: i === plan.addresses - 1 ? plan.lastAddressAt * 1000 : 0,
    }));
    this.targets.push(new TargetMachine(this, name, addresses, plan.targetLimits));
  }

  #addSubsystem(index: number): void {
    const { plan } = this;
    const machine = this.targets[index % plan.targets]!;
    const { blockSize } = plan.disk;
    for (let nsid = 1; nsid <= plan.namespaces; nsid++) {
      const name = `s${index}n${nsid}`;
      const options = { ...plan.disk, size: plan.blocks * blockSize };
      const disk = new SimDisk(`disk ${name}`, this.clock, this.random.fork(name), this.trace, options);
      const oracle = new DiskOracle(name, disk, (...what) => this.violation(...what));
      const namespace: NamespaceState = {
        plan: { nqn: `nqn.2024-01.sim:s${index}`, nsid, blockSize },
        uuid: `00000000-0000-4000-8000-${String(index * 100 + nsid).padStart(12, '0')}`,
        disk,
        oracle,
        reservations: new ReservationOracle(name, (...what) => this.violation(...what)),
        protection: new ProtectionOracle(name, (...what) => this.violation(...what)),
        exported: true,
        volume: undefined,
        made: undefined,
        disabled: false,
        impostor: undefined,
      };
      disk.onViolation = (rule, text) => this.violation(rule, text, [name, disk.name]);
      disk.onTouched = () => {
        const { volume } = namespace;
        if (volume !== undefined && volume.inFlight > 0) volume.invariants();
      };
      machine.namespaces.push(namespace);
      this.namespaces.push(namespace);
    }
  }

  #addHost(index: number): void {
    const { plan } = this;
    const { kato, headerDigest, dataDigest, hostLimits: limits, recovery, heads, keepTrying } = plan;
    const look = 50_000 + this.random.below(300_000);
    const host = new HostMachine(this, `h${index + 1}`, {
      kato,
      headerDigest,
      dataDigest,
      look,
      limits,
      recovery,
      heads,
      keepTrying,
    });
    for (let s = 0; s < plan.subsystems; s++) {
      const target = this.targets[s % plan.targets]!;
      for (const { host: address } of target.addresses.slice(-plan.ways))
        host.ways.push({
          target,
          address,
          nqn: `nqn.2024-01.sim:s${s}`,
          ioQueues: plan.ioQueues,
          queueEntries: plan.queueEntries,
          disableSqFlow: plan.disableSqFlow,
          controller: undefined,
          connected: false,
          notBefore: 0,
          began: 0,
          took: 0,
        });
    }
    this.hosts.push(host);
  }

  #addClient(index: number): void {
    const { plan } = this;
    const share = Math.floor(plan.ios / plan.clients) + (index < plan.ios % plan.clients ? 1 : 0);
    this.clients.push(new Client(this, `c${index}`, this.hosts[index % plan.hosts]!, share, plan));
  }

  #addNbdClient(index: number): void {
    const host = this.hosts[index % this.plan.hosts]!;
    host.nbd ??= new NbdRoom(this, host);
    this.nbdClients.push(new NbdClient(this, `n${index}`, host.nbd));
  }

  nextOp(): number {
    return ++this.#ops;
  }

  /** I/Os that were begun. */
  get ops(): number {
    return this.#ops;
  }

  /** Of the namespace that the oracle knows, whatever else has its NSID for a while. */
  uuidOf(nqn: string, nsid: number): string | undefined {
    return this.namespaces.find(({ plan }) => plan.nqn === nqn && plan.nsid === nsid)?.uuid;
  }

  machineOf(namespace: NamespaceState): TargetMachine {
    return this.targets.find(({ namespaces }) => namespaces.includes(namespace))!;
  }

  /** From here on paths over this machine may fail. */
  disturb(machine: string): void {
    this.disturbances.add(machine);
  }

  /** A host was told how its attempt to connect ended. */
  connected(host: HostMachine, way: Way, reason: Failure | undefined): void {
    this.trace.note(
      reason === undefined ? 'connected' : 'not connected',
      host.name,
      way.controller?.cntlid ?? 0,
    );
    const expected =
      reason === undefined ||
      this.disturbances.has(host.name) ||
      this.disturbances.has(way.target.name) ||
      // A controller that keeps trying tells of its last attempt.
      this.plan.lastAddressAt * 1000 >= this.clock.micros - (this.plan.keepTrying ? 12_000_000 : 1_000_000) ||
      host.excuses(way.target).corruption ||
      // The capsules of an association that is not over yet may take the room.
      reason.status === Status.ConnectControllerBusy ||
      reason.code === 'ECANCELED';
    if (!expected)
      this.violation(
        'CONNECT',
        `${host.name} could not connect to ${way.address}: ${reason.message}, and nothing explains it`,
        [host.name],
      );
  }

  // ---- the loop

  violation(rule: string, text: string, about: readonly string[]): void {
    this.failure ??= { rule, text, about };
  }

  /** Goes on until `until`; not to get there within `ms` breaks `rule`. False: some rule is broken. */
  run(what: string | (() => string), ms: number, until: () => boolean, rule = 'HANG'): boolean {
    const deadline = this.clock.micros + ms * 1000;
    try {
      // What was done between two phases.
      this.#checkRules();
      while (this.failure === undefined && !until()) {
        if (!this.clock.step() || this.clock.micros > deadline || this.clock.events > MOST_EVENTS) {
          const why =
            this.clock.micros > deadline
              ? `not within ${ms} ms`
              : this.clock.events > MOST_EVENTS
                ? 'something spins'
                : 'nothing is left to happen';
          this.failure ??= hangReport(this, rule, typeof what === 'string' ? what : what(), why);
          continue;
        }
        if (this.touchedRules.size > 0) this.#checkRules();
        if (this.clock.events >= this.#nextCheck) this.#checkAll();
      }
    } catch (error) {
      const own = error instanceof AssertionFailure;
      const text =
        error instanceof Error ? (own ? error.message : (error.stack ?? error.message)) : String(error);
      this.violation(own ? 'ASSERT' : 'THROWS', text, []);
    }
    return this.failure === undefined;
  }

  /** It came to this. */
  mark(what: string): void {
    this.marks.add(what);
  }

  #checkRules(): void {
    for (const rules of this.touchedRules) rules.check();
    this.touchedRules.clear();
  }

  #touched(events: unknown): void {
    if (events instanceof TargetConnection || events instanceof HostConnection) events.queue.invariants();
  }

  #checkAll(): void {
    this.#nextCheck = this.clock.events + CHECK_ALL;
    this.checkAll();
    const now = this.clock.micros;
    for (const { oracle, reservations, protection } of this.namespaces) {
      oracle.closeUnknown(now);
      protection.closeUnknown();
      reservations.closeUnknown();
    }
    for (const each of this.outstanding)
      if (now - each.op.start > this.bounds.io * 1000) {
        this.failure ??= hangReport(
          this,
          'HANG',
          `${each.op.kind} #${each.op.id} of ${each.client} to end`,
          `not within ${this.bounds.io} ms`,
        );
        return;
      }
  }

  checkAll(): void {
    for (const target of this.targets) target.invariants();
    for (const host of this.hosts) {
      host.registry.invariants();
      host.nbd?.check();
      host.checkNames();
      host.rules.checkTime();
    }
  }

  /** At the end: nobody has touched a buffer after its I/O was over. */
  checkReturned(): void {
    const word = SCRIBBLE * 0x01010101;
    for (const { id, data } of this.returned)
      for (const found of new Uint32Array(data.buffer))
        if (found !== word) {
          this.violation('BUFFER', `read #${id} wrote into its buffer after it had ended`, [`#${id} `]);
          return;
        }
  }

  /** Everything that was broken is whole again. */
  heal(): void {
    this.trace.note('heals', 'world');
    for (const link of this.net.links.values()) link.heal();
    this.net.probe();
    for (const namespace of this.namespaces) namespace.disk.heal();
    for (const host of this.hosts) host.heal();
    for (const target of this.targets) {
      if (target.namespaces.some(({ disk }) => disk.failedAt !== undefined)) {
        // The operator's answer to a failed sync.
        this.disturb(target.name);
        target.kill();
      }
      if (target.state === 'off') target.start();
      for (const namespace of target.namespaces) if (!namespace.exported) target.toggle(namespace);
      target.heal();
    }
  }
}

/** What the plan's time-outs add up to. */
function boundsOf({ targetLimits: target, hostLimits: host, kato, faults, recovery, heads }: Plan): Bounds {
  const longest = Math.max(0, ...faults.map(({ ms }) => ms));
  const slowest = Math.max(0, ...faults.filter(({ kind }) => kind === 'slow close').map(({ ms }) => ms));
  const gone = (host.terminateTimeout ?? 5000) + 10_000 + slowest;
  const setup = (host.connectTimeout ?? 10_000) * 2 + (host.adminTimeout ?? 60_000);
  const longestDelay = (recovery.maxReconnectDelay ?? 0) + (recovery.reconnectDelay ?? 10_000);
  const end = (target.stallTimeout ?? 60_000) + (target.terminateTimeout ?? 30_000);
  const live = setup * 2 + gone + 3 * kato + 10_000 + longest + longestDelay;
  const aborted = (host.ioTimeout ?? 30_000) + (host.abortTimeout ?? 5000);
  const changes = faults.some(({ kind }) => kind === 'delayed removal');
  const kept = Math.max(heads.delayedRemoval ?? 0, changes ? 10 : 0) * 1000;
  return {
    // Sent, not answered, aborted in vain; held for 3 × KATO + CQT; and again after its controller has returned.
    io: aborted * 2 + gone + longest + 3 * kato + (host.commandQuiesceTime ?? 10_000) + live + kept,
    live,
    stop: end + setup + gone + 3 * kato + 130_000,
    port: (host.terminateTimeout ?? 5000) + 1000 + slowest,
  };
}
