/** Features (NVMe Base 2.1, section 5.1.25): one row per Feature Identifier, and the values of one controller. */
import { viewOf, type Value } from '../layout/struct.ts';
import { uuidBytes } from '../layout/field.ts';
import { ErrorRecovery, FeatureId, HostBehaviorData, TimestampData } from '../nvme/features.ts';
import { DNR, Status } from '../nvme/status.ts';
import type { Command } from './command.ts';
import type { Controller } from './controller.ts';
import { grantedKato } from './limits.ts';
import { LATER } from './handler.ts';
import { flushThen } from './namespace.ts';
import { reservationMask, reservationPersistence } from './reservation-features.ts';
import type { Subsystem } from './subsystem.ts';
import { protect } from './write-protect.ts';

/** Bits of Asynchronous Event Configuration, the same as in OAES. */
export const EventEnable = {
  smart: 0xff,
  namespaceAttribute: 0x100,
  anaChange: 0x800,
  discoveryLog: 0x80000000,
} as const;
/** Those that an I/O controller of the subsystem raises, beside SMART's. */
export const ioEvents = ({ ana }: Subsystem): number =>
  EventEnable.namespaceAttribute | (ana ? EventEnable.anaChange : 0);

/** What a host has set on one controller. */
export class FeatureValues {
  /** I/O queues that the host may create: all, until it asks for a number. */
  ioQueues: number;
  readonly mostIoQueues: number;
  /** Keep Alive Timeout as granted, ms. */
  kato: number;
  asyncEvents = 0;
  /** Volatile Write Cache Enable; without it every write is forced to stable storage. */
  writeCache = true;
  /** Milliseconds since 1970, as set by the host, and the monotonic time of then. */
  timestamp: { readonly set: number; readonly at: number } | undefined = undefined;
  /** Host Behavior Support: what the host says that it can do. */
  hostBehavior: Uint8Array = new Uint8Array(HostBehaviorData.size);
  /** Dwords that are kept and mean nothing to a file: arbitration, thresholds, … */
  readonly kept = new Map<string, number>();
  /** Reservation Notification Mask by NSID: a bit per `ReservationLogType`. */
  readonly reservationMasks = new Map<number, number>();

  constructor(mostIoQueues: number, kato: number) {
    this.mostIoQueues = this.ioQueues = mostIoQueues;
    this.kato = kato;
  }

  /**
   * A controller reset; KATO and the timestamp are the association's and stay, as do the reservation masks (Base 2.1,
   * figure 385).
   */
  reset(): void {
    this.ioQueues = this.mostIoQueues;
    this.asyncEvents = 0;
    this.writeCache = true;
    this.hostBehavior = new Uint8Array(HostBehaviorData.size);
    this.kept.clear();
  }
}

export interface Feature {
  /** Discovery controllers have it too. */
  readonly discovery?: true;
  readonly perNamespace?: true;
  /** What a set changes is told by Identify (the Namespace Capability Change of the effects log). */
  readonly changesNamespace?: true;
  /** Bytes of data that Get Features gives, and that Set Features takes. */
  readonly gives?: number;
  readonly takes?: number;
  /** With what a Get is refused, or 0. */
  refuses?(cdw11: number): number;
  /** Dword 0 of Get Features; `cdw11` selects where there are several values. */
  get(controller: Controller, cdw11: number, command: Command): number;
  /** The same for the default, which is the saved value too, as nothing can be saved. */
  readonly initial: number | ((controller: Controller, cdw11: number) => number);
  getData?(controller: Controller): Uint8Array;
  /** The default; zeroes if not given. */
  initialData?(controller: Controller): Uint8Array;
  /** Gives the status, or `LATER` when it answers the command itself. Without it the feature cannot be changed. */
  set?(controller: Controller, cdw11: number, command: Command): number;
}

/** A dword that is kept for the host; `valid` says which values it may have. */
const keep = (fid: number, initial: number, valid: (value: number) => boolean = () => true): Feature => ({
  initial,
  get: ({ features }) => features.kept.get(`${fid}`) ?? initial,
  set({ features }, value) {
    if (!valid(value)) return Status.InvalidField | DNR;
    features.kept.set(`${fid}`, value);
    return 0;
  },
});

/** The same for each namespace; NSID FFFFFFFFh sets it for all that the controller has. */
const keepEach = (fid: number, initial: number, valid: (value: number) => boolean): Feature => ({
  perNamespace: true,
  initial,
  get: ({ features }, _, { nsid }) => features.kept.get(`${fid} of ${nsid}`) ?? initial,
  set({ features, attachments }, value, command) {
    if (!valid(value)) return Status.InvalidField | DNR;
    const nsids = attachments.has(command.nsid) ? [command.nsid] : attachments.keys();
    for (const nsid of nsids) features.kept.set(`${fid} of ${nsid}`, value);
    return 0;
  },
});

/** Where the threshold in a Temperature Threshold dword is kept: sensor and over/under. */
const threshold = (cdw11: number): string => `threshold ${(cdw11 >>> 16) & 0x3f}`;
/** Nothing is ever too hot, nor too cold. */
const initialThreshold = (cdw11: number): number => ((cdw11 >>> 20) & 3 ? 0 : 0xffff);

export const FEATURES: ReadonlyMap<number, Feature> = new Map<number, Feature>([
  [FeatureId.Arbitration, keep(FeatureId.Arbitration, 0)],
  [FeatureId.PowerManagement, keep(FeatureId.PowerManagement, 0, (value) => (value & 0x1f) === 0)],
  [
    FeatureId.TemperatureThreshold,
    {
      initial: (_, cdw11) => initialThreshold(cdw11),
      refuses: (cdw11) => (((cdw11 >>> 20) & 3) > 1 ? Status.InvalidField | DNR : 0),
      get: ({ features }, cdw11) => features.kept.get(threshold(cdw11)) ?? initialThreshold(cdw11),
      set({ features }, cdw11) {
        if (((cdw11 >>> 20) & 3) > 1) return Status.InvalidField | DNR;
        features.kept.set(threshold(cdw11), cdw11 & 0xffff);
        return 0;
      },
    },
  ],
  [
    FeatureId.ErrorRecovery,
    keepEach(FeatureId.ErrorRecovery, 0, (value) => ErrorRecovery.dulbe.dulbe.get(dword(value), 0) === 0),
  ],
  [
    FeatureId.VolatileWriteCache,
    {
      initial: 1,
      get: ({ features }) => (features.writeCache ? 1 : 0),
      set(controller, value, command) {
        const { features } = controller;
        const was = features.writeCache;
        features.writeCache = (value & 1) === 1;
        if (!was || features.writeCache) return 0;
        // What was answered from the cache goes to stable storage with it.
        flushAll(controller, (status) => command.complete(status));
        return LATER;
      },
    },
  ],
  [
    FeatureId.NumberOfQueues,
    {
      initial: ({ features }) => (features.mostIoQueues - 1) * 0x10001,
      get: ({ features }) => (features.ioQueues - 1) * 0x10001,
      set(controller, value, command) {
        const submission = value & 0xffff;
        const completion = value >>> 16;
        if (submission === 0xffff || completion === 0xffff) return Status.InvalidField | DNR;
        if (controller.ioQueues.size > 0) return Status.CommandSequenceError | DNR;
        // A connection is a pair of queues, so there are as many of the one as of the other.
        const { features } = controller;
        features.ioQueues = Math.min(submission + 1, completion + 1, features.mostIoQueues);
        command.dw0 = (features.ioQueues - 1) * 0x10001;
        return 0;
      },
    },
  ],
  [FeatureId.WriteAtomicity, keep(FeatureId.WriteAtomicity, 0)],
  [
    FeatureId.AsyncEventConfiguration,
    {
      discovery: true,
      initial: 0,
      get: ({ features }) => features.asyncEvents >>> 0,
      set(controller, value) {
        const { discovery, subsystem } = controller;
        const known = EventEnable.smart | (discovery ? EventEnable.discoveryLog : ioEvents(subsystem));
        if ((value & ~known) !== 0) return Status.InvalidField | DNR;
        controller.features.asyncEvents = value;
        return 0;
      },
    },
  ],
  [
    FeatureId.Timestamp,
    {
      gives: TimestampData.size,
      takes: TimestampData.size,
      initial: 0,
      get: () => 0,
      getData: ({ env, features, madeAt }) => {
        // Not set by the host, it counts from the beginning of the controller.
        const { set, at } = features.timestamp ?? { set: 0, at: madeAt };
        const now = set + Math.floor(env.clock.now() - at);
        return TimestampData.bytes({
          low: now % 0x100000000,
          high: Math.floor(now / 0x100000000) & 0xffff,
          attributes: { synch: 0, origin: features.timestamp ? 1 : 0 },
        });
      },
      set({ env, features }, _, command) {
        const data = viewOf(command.data());
        const set = TimestampData.low.get(data, 0) + TimestampData.high.get(data, 0) * 0x100000000;
        features.timestamp = { set, at: env.clock.now() };
        return 0;
      },
    },
  ],
  [
    FeatureId.KeepAliveTimer,
    {
      discovery: true,
      initial: 0,
      get: ({ features }) => features.kato,
      set(controller, value) {
        // The TCP transport requires a keep-alive; a host that wants none says so in Connect.
        if (value === 0) return Status.KeepAliveInvalid | DNR;
        controller.features.kato = grantedKato(value);
        controller.keepAliveTimer();
        return 0;
      },
    },
  ],
  [
    FeatureId.HostIdentifier,
    {
      gives: 16,
      initial: 0,
      // EXHID: fabrics know only the long form.
      refuses: (cdw11) => ((cdw11 & EXHID) === 0 ? Status.InvalidField | DNR : 0),
      get: () => EXHID,
      getData: ({ hostid }) => uuidBytes(hostid) ?? new Uint8Array(16),
      // A fabrics host has said who it is in Connect.
      set: () => Status.CommandSequenceError | DNR,
    },
  ],
  [FeatureId.ReservationMask, reservationMask],
  [FeatureId.ReservationPersistence, reservationPersistence],
  [
    FeatureId.HostBehavior,
    {
      gives: HostBehaviorData.size,
      takes: HostBehaviorData.size,
      initial: 0,
      get: () => 0,
      getData: ({ features }) => features.hostBehavior,
      set({ features }, _, command) {
        const data = HostBehaviorData.decode(viewOf(command.data()));
        if (!knownBehavior(data)) return Status.InvalidField | DNR;
        features.hostBehavior = HostBehaviorData.bytes({ ...data, rsvd6: new Uint8Array(506) });
        return 0;
      },
    },
  ],
  [
    FeatureId.WriteProtection,
    {
      perNamespace: true,
      changesNamespace: true,
      initial: 0,
      get: ({ attachments }, _, { nsid }) => attachments.get(nsid)?.namespace.protection ?? 0,
      set({ attachments }, value, command) {
        const found = attachments.get(command.nsid);
        if (found === undefined) return Status.InvalidNamespace | DNR;
        protect(found.namespace, value & 7, (status) => command.complete(status));
        return LATER;
      },
    },
  ],
]);

const EXHID = 1;

/** Formats of LBAs with more than 16 entries, and of Copy across namespaces, are not there to be enabled. */
function knownBehavior({ acre, etdas, lbafee, hdisns, cdfe }: Value<typeof HostBehaviorData>): boolean {
  const isFlag = (value: number): boolean => value <= 1;
  const formats = cdfe.format2 + cdfe.format3 + cdfe.format4;
  return isFlag(acre) && isFlag(etdas) && lbafee === 0 && isFlag(hdisns) && formats === 0;
}

/** Puts what hosts were answered for on stable storage, in all namespaces of a controller. */
function flushAll({ attachments }: Controller, done: (status: number) => void): void {
  let left = 1;
  let status = 0;
  const flushed = (): void => {
    if (--left === 0) done(status);
  };
  for (const { namespace } of attachments.values()) {
    if (namespace.volume === undefined || namespace.writeProtected) continue;
    left++;
    const flush = flushThen(({ error }) => {
      if (error !== undefined) status = namespace.statusOf(error, 'flush');
      flushed();
    });
    namespace.volume.submit(flush);
  }
  flushed();
}

function dword(value: number): DataView {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value, true);
  return view;
}

/** The row, if this controller has the feature. */
export function findFeature(controller: Controller, fid: number): Feature | undefined {
  const feature = FEATURES.get(fid);
  return feature !== undefined && (!controller.discovery || feature.discovery) ? feature : undefined;
}
