/**
 * A controller: what one association of a host with a subsystem sees. It is made by the Connect of an Admin queue and
 * goes with that queue's connection; namespaces do not notice (LIFE.7).
 */
import { Cap, Cc, Csts, Shn, Shst, VERSION_2_1 } from '../nvme/property.ts';
import { Status, statusCode, statusName } from '../nvme/status.ts';
import { viewOf } from '../layout/struct.ts';
import { machine } from '../runtime/machine.ts';
import type { Env, Timer } from '../runtime/ports.ts';
import { Event, type AsyncEvent } from '../nvme/event.ts';
import { GroupMembers } from './ana.ts';
import { AsyncEvents } from './async-events.ts';
import type { Attachment } from './attachment.ts';
import type { Command } from './command.ts';
import type { CloseWhy } from './close-why.ts';
import type { DiscoveryView } from './discovery.ts';
import { ErrorLog } from './error-log.ts';
import { EventEnable, FeatureValues } from './features.ts';
import { ChangedNamespaces } from './changed-namespaces.ts';
import { flushThen } from './namespace.ts';
import type { Port } from './port.ts';
import type { Queue } from './queue.ts';
import { ReservationLog } from './reservation-log.ts';
import type { Subsystem } from './subsystem.ts';

const STATES = {
  /** CC.EN is 0: the host enables it. */
  disabled: ['ready', 'failed', 'shutdown', 'gone'],
  /** CSTS.RDY is 1. */
  ready: ['disabled', 'failed', 'shutdown', 'gone'],
  /** CC.SHN was set; flushes run, then CSTS.SHST says complete. The host disables it or goes. */
  shutdown: ['disabled', 'ready', 'failed', 'gone'],
  /** CSTS.CFS is 1: only a reset by the host helps. */
  failed: ['disabled', 'gone'],
  gone: [],
} as const;

/** CAP.TO: how long a host waits for CSTS.RDY, in 500 ms. We are ready at once. */
const READY_TIMEOUT = 15;
/** Sizes of queue entries that CC.IOSQES and CC.IOCQES must name, as powers of two. */
const SQE_SIZE = 6;
const CQE_SIZE = 4;
const CSS_NVM = 0;
const CSS_ALL_SUPPORTED = 6;

export class Controller {
  readonly env: Env;
  readonly subsystem: Subsystem;
  /** Through which the host came; its ANA states are the controller's. */
  readonly port: Port;
  readonly cntlid: number;
  readonly hostnqn: string;
  readonly hostid: string;
  readonly state;
  readonly admin: Queue;
  /** Every queue whose connection has not ended, also those that are on their way out. */
  readonly #queues = new Set<Queue>();
  /** By QID. */
  readonly ioQueues = new Map<number, Queue>();
  /** What the host can use, by NSID; filled when CC.EN becomes 1, and by the subsystem from then on. */
  readonly attachments = new Map<number, Attachment>();
  /** ANA groups of what is attached. */
  readonly groups = new GroupMembers();
  /** NSIDs that were explicitly detached; resets do not bring them back (LIFE.4). */
  readonly detached = new Set<number>();
  /** Of a discovery controller: the records of its log as it was read last. */
  discoveryView: DiscoveryView | undefined = undefined;
  readonly features: FeatureValues;
  /** `Clock.now()` of its beginning. */
  readonly madeAt: number;
  readonly asyncEvents: AsyncEvents;
  readonly changedNamespaces = new ChangedNamespaces();
  readonly reservationLog = new ReservationLog();
  readonly errors = new ErrorLog();
  /** Some command came since the keep-alive timer was last looked at. */
  traffic = false;

  #cc = 0;
  #shutdownComplete = false;
  /** Counts shutdowns: the flushes of an earlier one say nothing of this one. */
  #shutdowns = 0;
  #keepAlive: Timer | undefined = undefined;

  constructor(
    subsystem: Subsystem,
    cntlid: number,
    admin: Queue,
    hostnqn: string,
    hostid: string,
    kato: number,
  ) {
    const { env, limits } = subsystem.target;
    this.env = env;
    this.subsystem = subsystem;
    this.cntlid = cntlid;
    this.admin = admin;
    this.port = admin.connection.port;
    this.#queues.add(admin);
    this.hostnqn = hostnqn;
    this.hostid = hostid;
    this.madeAt = env.clock.now();
    this.features = new FeatureValues(subsystem.ioQueues, kato);
    this.asyncEvents = new AsyncEvents(limits.asyncEvents);
    this.state = machine(env, `controller ${cntlid} of ${subsystem.nqn}`, STATES, 'disabled');
    this.keepAliveTimer();
  }

  get discovery(): boolean {
    return this.subsystem.discovery;
  }

  get ready(): boolean {
    return this.state.is('ready');
  }

  // ---- queues

  /** Connect made an I/O queue. */
  add(queue: Queue): void {
    this.ioQueues.set(queue.qid, queue);
    this.#queues.add(queue);
  }

  /** The queue's connection has ended, and nothing of it executes. */
  ended(queue: Queue): void {
    this.#queues.delete(queue);
  }

  /** Commands of the association execute, on whichever queue. */
  get executing(): boolean {
    for (const { executing } of this.#queues) if (executing > 0) return true;
    return false;
  }

  // ---- properties

  /** CAP, as two dwords. */
  cap(into: DataView): void {
    Cap.mqes.set(into, 0, this.port.queueEntries - 1);
    Cap.low.cqr.set(into, 0, 1);
    Cap.low.to.set(into, 0, READY_TIMEOUT);
    // Bit 0: the NVM command set.
    Cap.high.css.set(into, 0, 1);
    // CRTO is there and RDY does not wait for media.
    Cap.high.crwms.set(into, 0, 1);
  }

  get version(): number {
    return VERSION_2_1;
  }

  /** CRTO: CRWMT in 500 ms; no CRIMT, for CRIMS is not set. */
  get crto(): number {
    return READY_TIMEOUT;
  }

  get cc(): number {
    return this.#cc;
  }

  get csts(): number {
    const value = new Uint8Array(4);
    const shst = this.state.is('shutdown')
      ? this.#shutdownComplete
        ? Shst.complete
        : Shst.occurring
      : Shst.normal;
    Csts.encode(
      {
        csts: {
          rdy: (this.#cc & 1) === 1 && this.state.is('ready', 'shutdown') ? 1 : 0,
          cfs: this.state.is('failed') ? 1 : 0,
          shst,
          nssro: 0,
          pp: 0,
          st: 0,
        },
      },
      viewOf(value),
    );
    return viewOf(value).getUint32(0, true);
  }

  /** The host writes CC (Base 2.1, section 3.1.4.5). */
  setCc(value: number): void {
    const before = viewOf(Cc.bytes({}));
    before.setUint32(0, this.#cc, true);
    const after = viewOf(Cc.bytes({}));
    after.setUint32(0, value, true);
    this.#cc = value;
    const enabled = Cc.cc.en.get(before, 0) === 1;
    const enable = Cc.cc.en.get(after, 0) === 1;
    const shn = Cc.cc.shn.get(after, 0);
    if (enabled && !enable) this.#disable();
    if (shn !== Shn.none && shn !== Cc.cc.shn.get(before, 0)) this.#shutdown();
    else if (!enabled && enable) this.#enable(after);
  }

  #enable(cc: DataView): void {
    // A shutdown of a disabled controller ends by enabling it; one of an enabled controller by disabling it first.
    if (!this.state.is('disabled', 'shutdown')) return;
    const css = Cc.cc.css.get(cc, 0);
    const problem =
      css !== CSS_NVM && css !== CSS_ALL_SUPPORTED
        ? `CSS ${css}`
        : Cc.cc.mps.get(cc, 0) !== 0
          ? `MPS ${Cc.cc.mps.get(cc, 0)}`
          : Cc.cc.ams.get(cc, 0) !== 0
            ? `AMS ${Cc.cc.ams.get(cc, 0)}`
            : !this.discovery &&
                (Cc.cc.iosqes.get(cc, 0) !== SQE_SIZE || Cc.cc.iocqes.get(cc, 0) !== CQE_SIZE)
              ? `IOSQES ${Cc.cc.iosqes.get(cc, 0)}, IOCQES ${Cc.cc.iocqes.get(cc, 0)}`
              : undefined;
    if (problem === undefined) {
      this.state.to('ready', 'enabled by the host');
      this.subsystem.enabled(this);
    } else {
      this.#log('warn', 'controller cannot be enabled', { cc: this.#cc.toString(16), problem });
      this.state.to('failed', problem);
    }
  }

  /** Controller reset: I/O queues go, features are as after Connect, the Admin queue stays. */
  #disable(): void {
    if (this.state.is('disabled', 'gone')) return;
    this.state.to('disabled', 'disabled by the host');
    this.subsystem.disabled(this);
    for (const queue of [...this.ioQueues.values()]) queue.connection.close('controller disabled');
    this.ioQueues.clear();
    this.asyncEvents.abortAll(Status.AbortedSqDeletion);
    this.changedNamespaces.clear();
    this.reservationLog.reset();
    this.features.reset();
  }

  /** What the host wrote is put on stable storage before SHST says so. */
  #shutdown(): void {
    if (!this.state.is('disabled', 'ready')) return;
    this.state.to('shutdown', 'shut down by the host');
    this.#shutdownComplete = false;
    const shutdown = ++this.#shutdowns;
    this.asyncEvents.abortAll(Status.AbortedSqDeletion);
    let left = 1;
    const done = (): void => {
      if (--left === 0 && shutdown === this.#shutdowns) this.#shutdownComplete = true;
    };
    for (const { namespace } of this.attachments.values()) {
      // A volume that leaves is flushed anyway.
      if (namespace.volume === undefined || namespace.writeProtected) continue;
      left++;
      namespace.volume.submit(flushThen(done));
    }
    done();
  }

  // ---- keep-alive

  /** (Re)starts the timer with the present KATO. Traffic on any queue counts (CTRATT.TBKAS). */
  keepAliveTimer(): void {
    this.#keepAlive?.cancel();
    this.#keepAlive = undefined;
    const kato =
      this.features.kato === 0 && this.discovery
        ? this.subsystem.target.limits.discoveryKato
        : this.features.kato;
    if (kato === 0 || this.state.is('gone')) return;
    this.#keepAlive = this.env.clock.timer(`keep-alive of controller ${this.cntlid}`, kato, () => {
      if (this.traffic) {
        this.traffic = false;
        this.keepAliveTimer();
        return;
      }
      this.#log('warn', 'keep-alive expired', { kato });
      if (this.state.can('failed')) this.state.to('failed', 'keep-alive expired');
      this.remove('keep-alive expired');
    });
  }

  // ---- events

  namespaceChanged(nsid: number): void {
    if (this.discovery || !this.ready) return;
    this.changedNamespaces.add(nsid);
    this.#raise(EventEnable.namespaceAttribute, Event.NamespaceAttributeChanged);
  }

  anaChanged(): void {
    if (!this.discovery && this.ready && this.subsystem.ana)
      this.#raise(EventEnable.anaChange, Event.AnaChange);
  }

  discoveryChanged(): void {
    if (this.discovery && this.ready) this.#raise(EventEnable.discoveryLog, Event.DiscoveryLogChange);
  }

  /** A notification of `type` (`ReservationLogType`) about an attached namespace, unless its mask says no. */
  reservationNotice(nsid: number, type: number): void {
    if (!this.ready || ((this.features.reservationMasks.get(nsid) ?? 0) & (1 << type)) !== 0) return;
    this.reservationLog.add(type, nsid);
    this.asyncEvents.raise(Event.ReservationLogAvailable);
  }

  #raise(enable: number, event: AsyncEvent): void {
    if ((this.features.asyncEvents & enable) !== 0) this.asyncEvents.raise(event);
  }

  /** A command of this controller ended with an error. */
  failed(command: Command, status: number): void {
    const code = statusCode(status);
    if (code === Status.AbortedSqDeletion || code === Status.AbortRequested) return;
    this.errors.add(command, status);
    if (code >= 0x280 && code <= 0x2ff && code !== Status.CompareFailure)
      this.#log('warn', 'media error', {
        nsid: command.nsid,
        status: statusName(status),
        why: command.op.error?.message,
      });
  }

  // ---- the end

  /**
   * A queue's connection is lost or closed. That of the Admin queue ends the association. That of an I/O queue ends that
   * queue alone, with or without Disconnect: we support individual I/O queue deletion (OFCS), and then a lost connection
   * ends the association only where the host does not (Base 2.1, section 3.3.2.4, CATTR.INDIVIOQDELS). No host that is
   * known sets that bit, neither Linux, which ends the association itself when it loses a queue, nor SPDK, which deletes
   * queues by closing their connections and goes on with the others. So the bit tells nothing, and we do what Linux'
   * and SPDK's targets do.
   */
  lost(queue: Queue, why: CloseWhy): void {
    if (queue === this.admin) this.remove(why);
    else if (this.ioQueues.get(queue.qid) === queue) this.ioQueues.delete(queue.qid);
  }

  /** Ends the association: every queue, then the controller. */
  remove(why: CloseWhy): void {
    if (this.state.is('gone')) return;
    this.state.to('gone', why);
    this.#keepAlive?.cancel();
    this.asyncEvents.clear();
    this.subsystem.controllers.delete(this.cntlid);
    this.subsystem.disabled(this);
    this.#log('info', 'controller removed', { why });
    for (const queue of [...this.ioQueues.values(), this.admin]) queue.connection.close(why);
    this.ioQueues.clear();
  }

  #log(level: 'info' | 'warn', what: string, fields: Record<string, string | number | undefined>): void {
    this.env.trace.event(level, what, {
      subsystem: this.subsystem.nqn,
      cntlid: this.cntlid,
      host: this.hostnqn,
      ...fields,
    });
  }
}
