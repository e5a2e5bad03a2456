/** Features (NVMe Base 2.1, section 5.1.25): one row per Feature Identifier, and the values of one controller. */
import { viewOf } from '../layout/struct.ts';
import { uuidBytes } from '../layout/field.ts';
import { ErrorRecovery, FeatureId, TimestampData } from '../nvme/features.ts';
import { DNR, Status } from '../nvme/status.ts';
import type { Command } from './command.ts';
import type { Controller } from './controller.ts';
import { grantedKato } from './limits.ts';
import { reservationMask, reservationPersistence } from './reservation-features.ts';

/** Bits of Asynchronous Event Configuration, the same as in OAES. */
export const EventEnable = {
  smart: 0xff,
  namespaceAttribute: 0x100,
  anaChange: 0x800,
  discoveryLog: 0x80000000,
} as const;
export const IO_EVENTS = EventEnable.namespaceAttribute | EventEnable.anaChange;

/** What a host has set on one controller. */
export class FeatureValues {
  /** I/O queues that the host may create: all, until it asks for a number. */
  ioQueues: number;
  readonly #mostIoQueues: number;
  /** Keep Alive Timeout as granted, ms. */
  kato: number;
  asyncEvents = 0;
  /** Volatile Write Cache Enable; without it every write is forced to stable storage. */
  writeCache = true;
  /** Milliseconds since 1970, as set by the host, and the monotonic time of then. */
  timestamp: { readonly set: number; readonly at: number } | undefined = undefined;
  /** Dwords that are kept and mean nothing to a file: arbitration, thresholds, … */
  readonly kept = new Map<number, number>();
  /** Reservation Notification Mask by NSID: a bit per `ReservationLogType`. */
  readonly reservationMasks = new Map<number, number>();

  constructor(mostIoQueues: number, kato: number) {
    this.#mostIoQueues = this.ioQueues = mostIoQueues;
    this.kato = kato;
  }

  /** A controller reset; KATO is the association's and stays, as do the reservation masks (Base 2.1, figure 385). */
  reset(): void {
    this.ioQueues = this.#mostIoQueues;
    this.asyncEvents = 0;
    this.writeCache = true;
    this.kept.clear();
  }
}

export interface Feature {
  /** Discovery controllers have it too. */
  readonly discovery?: true;
  readonly perNamespace?: true;
  /** Bytes of data that Get Features gives, and that Set Features takes. */
  readonly gives?: number;
  readonly takes?: number;
  /** Dword 0 of Get Features; `cdw11` selects where there are several values. */
  get(controller: Controller, cdw11: number, command: Command): number;
  readonly initial: number;
  getData?(controller: Controller): Uint8Array;
  /** Gives the status, or `LATER` when it answers the command itself. Without it the feature cannot be changed. */
  set?(controller: Controller, cdw11: number, command: Command): number;
}

/** A dword that is kept for the host; `valid` says which values it may have. */
const keep = (fid: number, initial: number, valid: (value: number) => boolean = () => true): Feature => ({
  initial,
  get: ({ features }) => features.kept.get(fid) ?? initial,
  set({ features }, value) {
    if (!valid(value)) return Status.InvalidField | DNR;
    features.kept.set(fid, value);
    return 0;
  },
});

/** Where the threshold in a Temperature Threshold dword is kept: sensor and over/under. */
const threshold = (cdw11: number): number => 0x10000 | ((cdw11 >>> 16) & 0x3f);

export const FEATURES: ReadonlyMap<number, Feature> = new Map<number, Feature>([
  [FeatureId.Arbitration, keep(FeatureId.Arbitration, 0)],
  [FeatureId.PowerManagement, keep(FeatureId.PowerManagement, 0, (value) => (value & 0x1f) === 0)],
  [
    FeatureId.TemperatureThreshold,
    {
      initial: 0xffff,
      get: ({ features }, cdw11) => features.kept.get(threshold(cdw11)) ?? ((cdw11 >>> 20) & 3 ? 0 : 0xffff),
      set({ features }, cdw11) {
        if (((cdw11 >>> 20) & 3) > 1) return Status.InvalidField | DNR;
        features.kept.set(threshold(cdw11), cdw11 & 0xffff);
        return 0;
      },
    },
  ],
  [
    FeatureId.ErrorRecovery,
    {
      ...keep(FeatureId.ErrorRecovery, 0, (value) => ErrorRecovery.dulbe.dulbe.get(dword(value), 0) === 0),
      perNamespace: true,
    },
  ],
  [
    FeatureId.VolatileWriteCache,
    {
      initial: 1,
      get: ({ features }) => (features.writeCache ? 1 : 0),
      set({ features }, value) {
        features.writeCache = (value & 1) === 1;
        return 0;
      },
    },
  ],
  [
    FeatureId.NumberOfQueues,
    {
      initial: 0,
      get: ({ features }) => (features.ioQueues - 1) * 0x10001,
      set(controller, value, command) {
        const submission = value & 0xffff;
        const completion = value >>> 16;
        if (submission === 0xffff || completion === 0xffff) return Status.InvalidField | DNR;
        if (controller.ioQueues.size > 0) return Status.CommandSequenceError | DNR;
        // A connection is a pair of queues, so there are as many of the one as of the other.
        const { limits } = controller.subsystem.target;
        controller.features.ioQueues = Math.min(submission + 1, completion + 1, limits.ioQueues);
        command.dw0 = (controller.features.ioQueues - 1) * 0x10001;
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
        const known = EventEnable.smart | (controller.discovery ? EventEnable.discoveryLog : IO_EVENTS);
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
      getData: ({ env, features }) => {
        const now = features.timestamp
          ? features.timestamp.set + Math.floor(env.clock.now() - features.timestamp.at)
          : env.clock.wall();
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
      get: () => 0,
      getData: ({ hostid }) => uuidBytes(hostid) ?? new Uint8Array(16),
      // A fabrics host has said who it is in Connect.
      set: () => Status.CommandSequenceError | DNR,
    },
  ],
  [FeatureId.ReservationMask, reservationMask],
  [FeatureId.ReservationPersistence, reservationPersistence],
]);

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
