/**
 * A namespace: blocks under an NSID with an identity. It belongs to its subsystem, which outlives every controller
 * (LIFE.1, LIFE.2), and has a volume while it is enabled.
 */
import { uuidBytes } from '../layout/field.ts';
import type { IoDone, IoError } from '../runtime/ports.ts';
import { assert, must } from '../runtime/assert.ts';
import { machine } from '../runtime/machine.ts';
import { Operation, type OperationKind } from '../storage/operation.ts';
import { VolumeCounters } from '../storage/counters.ts';
import type { Volume } from '../storage/volume.ts';
import { DNR, Status } from '../nvme/status.ts';
import type { Attachment } from './attachment.ts';
import type { NamespaceFacts } from './facts.ts';
import { reservationPlace } from './reservation-place.ts';
import { fromFacts } from './reservation-facts.ts';
import { Reservations } from './reservations.ts';
import type { Subsystem } from './subsystem.ts';
import { protectionOf } from './write-protect.ts';

/** What stays the same over restarts (LIFE.10). */
export interface NamespaceIdentity {
  readonly nsid: number;
  /** 8-4-4-4-12 digits. */
  readonly uuid: string;
  /** 16 bytes; the UUID's if not given: ESXi wants one, and what is derived needs no place to be kept. */
  readonly nguid?: Uint8Array | undefined;
  /** 8 bytes; none if not given. */
  readonly eui64?: Uint8Array | undefined;
}

export interface NamespaceSettings extends NamespaceIdentity {
  /** ANA group, 1 if not given. */
  readonly anagrpid?: number | undefined;
  /** False: private, one host's (LIFE.4). */
  readonly shared?: boolean | undefined;
  /** Host NQNs that see it; undefined: every host of the subsystem. */
  readonly hosts?: Iterable<string> | undefined;
  /** As `FactsStore.load` gave them. */
  readonly facts?: NamespaceFacts | undefined;
}

/** As much of a volume as is known when it is closed. */
export type NamespaceFile = Pick<Volume, 'id' | 'path' | 'readOnly' | 'reopened'>;

/** The host that a private namespace was first attached to. */
export interface Owner {
  readonly hostnqn: string;
  readonly hostid: string;
}

const STATES = {
  enabled: ['disabling', 'removed'],
  /** I/O gets Internal Path Error; the last operation, then the file's close, wakes it. */
  disabling: ['disabled', 'removed'],
  /** Still in the active list; the operator wakes it with a file of the same identity. */
  disabled: ['enabled', 'removed'],
  removed: [],
} as const;

export class Namespace {
  readonly subsystem: Subsystem;
  readonly nsid: number;
  readonly uuid: string;
  readonly nguid: Uint8Array;
  readonly eui64: Uint8Array | undefined;
  readonly blockSize: number;
  readonly shared: boolean;
  readonly state;
  /** By CNTLID. */
  readonly attachments = new Map<number, Attachment>();
  /** ANA group; `Subsystem.move` changes it. */
  anagrpid: number;
  /** Host NQNs that see it; `Subsystem.mask` changes it. */
  hosts: ReadonlySet<string> | undefined;
  /** Of a private namespace; `ownerSaved` once that survives a restart. */
  owner: Owner | undefined = undefined;
  ownerSaved = true;
  /** All parts, each with its owner's shape. */
  readonly facts: NamespaceFacts;
  readonly reservations: Reservations;
  /** Namespace Write Protection state (write-protect.ts), and whether it is being changed. */
  protection: number;
  protecting = false;
  /** Absent while it is disabled. */
  volume: Volume | undefined;
  #blocks: number;
  #file: NamespaceFile;
  /** What volumes before the present one counted. */
  readonly #past = new VolumeCounters();
  /** The volume that is being closed, and who waits for that. */
  #leaving: Volume | undefined = undefined;
  #waiters: IoDone[] = [];

  /** Throws RangeError when the facts cannot be its. */
  constructor(subsystem: Subsystem, settings: NamespaceSettings, volume: Volume) {
    const { env } = subsystem.target;
    this.subsystem = subsystem;
    this.nsid = settings.nsid;
    this.uuid = settings.uuid;
    this.nguid = settings.nguid ?? must(uuidBytes(settings.uuid), 'a checked UUID');
    this.eui64 = settings.eui64;
    this.blockSize = volume.blockSize;
    this.shared = settings.shared ?? true;
    this.anagrpid = settings.anagrpid ?? 1;
    this.hosts = settings.hosts && new Set(settings.hosts);
    this.facts = { ...settings.facts };
    this.owner = ownerOf(this.facts.owner);
    this.protection = protectionOf(this.facts.writeProtect);
    this.state = machine(env, `namespace ${this.nsid} of ${subsystem.nqn}`, STATES, 'enabled');
    this.reservations = new Reservations(reservationPlace(this), this.facts.reservation);
    this.volume = volume;
    this.#blocks = volume.blocks;
    this.#file = volume;
    this.#watch(volume);
  }

  /** The file that it has, or had last: to be shown; one in memory, to be had again. */
  get file(): NamespaceFile {
    return this.#file;
  }

  /** Logical blocks (NSZE); while it is disabled, as it was. */
  get blocks(): number {
    return this.volume?.blocks ?? this.#blocks;
  }

  get size(): number {
    return this.blocks * this.blockSize;
  }

  /** Nothing can be written: exported so, a host has said so, or a flush has failed (DISK.2). */
  get writeProtected(): boolean {
    if (this.protection !== 0) return true;
    return this.volume !== undefined && (this.volume.readOnly || this.volume.failure !== undefined);
  }

  /** It has a volume, and nothing that must survive a restart is still on its way to stable storage. */
  get usable(): boolean {
    return this.volume !== undefined && (this.owner === undefined || this.ownerSaved);
  }

  get removed(): boolean {
    return this.state.is('removed');
  }

  /** Since the target started, over all volumes. */
  get counters(): VolumeCounters {
    const sum = new VolumeCounters();
    for (const counters of [this.#past, this.volume?.counters, this.#leaving?.counters])
      if (counters !== undefined) sum.add(counters);
    return sum;
  }

  /** Something changed that gates depend on. */
  update(): void {
    for (const attachment of this.attachments.values()) attachment.update();
  }

  saveFacts(done: IoDone): void {
    this.subsystem.target.facts.save(this.uuid, this.facts, done);
  }

  /** As `FactsStore.settled`. */
  factsSettled(done: IoDone): void {
    this.subsystem.target.facts.settled(this.uuid, done);
  }

  /**
   * Takes the volume away; hosts keep the namespace and get Internal Path Error. `done` is called when the file is
   * closed, and at once if it is already. A second call joins the first.
   */
  disable(done: IoDone): void {
    if (!this.state.is('enabled')) {
      this.whenClosed(done);
      return;
    }
    this.state.to('disabling', 'disabled by the operator');
    this.#leave();
    this.whenClosed(done);
  }

  /** Gives it a volume again. Throws RangeError when it cannot be this namespace's, or when there is one. */
  enable(volume: Volume): void {
    if (!this.state.is('disabled'))
      throw new RangeError(`namespace ${this.nsid} is ${this.state.now}, not disabled`);
    if (volume.blockSize !== this.blockSize)
      throw new RangeError(
        `namespace ${this.nsid} has blocks of ${this.blockSize} bytes, not ${volume.blockSize}`,
      );
    this.state.to('enabled', 'enabled by the operator');
    this.volume = volume;
    this.#file = volume;
    this.#watch(volume);
    this.update();
    this.#blocks = volume.blocks;
    // A host that looked meanwhile found it not ready (NSTAT) and waits to be told.
    this.subsystem.changed(this);
  }

  /** The subsystem has let it go: the file is closed after its last operation, synced if `sync` says so. */
  close(done: IoDone, sync = false): void {
    if (!this.removed) this.state.to('removed', 'taken out of its subsystem');
    if (this.volume !== undefined) this.#leave(sync);
    this.whenClosed(done);
  }

  #watch(volume: Volume): void {
    volume.onResize = () => {
      this.#blocks = volume.blocks;
      if (this.volume === volume) this.subsystem.changed(this);
    };
    volume.onFailed = (error) => {
      this.subsystem.target.env.trace.event(
        'error',
        'flush failed: the namespace is read-only from here on',
        { subsystem: this.subsystem.nqn, nsid: this.nsid, path: volume.path, error: error.message },
      );
      if (this.volume !== volume) return;
      this.update();
      this.subsystem.changed(this);
    };
  }

  /** New operations are refused from here on; the file closes after the last one that runs. */
  #leave(sync = true): void {
    const volume = must(this.volume, 'a volume to leave');
    assert(this.#leaving === undefined, 'one volume leaves at a time');
    this.#blocks = volume.blocks;
    this.volume = undefined;
    this.#leaving = volume;
    this.update();
    const close = (): void => {
      volume.close((error) => {
        this.#leaving = undefined;
        this.#past.add(volume.counters);
        if (this.state.is('disabling')) this.state.to('disabled', 'the file is closed');
        for (const done of this.#waiters.splice(0)) done(error);
      });
    };
    // A volume that cannot be flushed is closed all the same: what was not acknowledged as flushed was never promised.
    if (sync && !volume.readOnly) volume.submit(flushThen(close));
    else close();
  }

  /** Calls `done` when no volume is on its way out: nothing that was begun in one goes on. */
  whenClosed(done: IoDone): void {
    if (this.#leaving === undefined) done(undefined);
    else this.#waiters.push(done);
  }

  /** The status that tells a host what the file said. */
  statusOf(error: IoError, kind: OperationKind): number {
    if (error.code === 'ESHUTDOWN' && !this.removed) return Status.InternalPathError;
    return statusOf(error, kind);
  }

  /** For tests and the simulator, after an event. */
  invariants(): void {
    this.volume?.invariants();
    this.reservations.invariants();
    this.#leaving?.invariants();
    assert((this.volume !== undefined) === this.state.is('enabled'), 'an enabled namespace has a volume');
    assert(this.shared || this.attachments.size <= 1, 'a private namespace has one controller');
    for (const [cntlid, attachment] of this.attachments)
      assert(
        attachment.controller.cntlid === cntlid &&
          attachment.controller.attachments.get(this.nsid) === attachment,
        'an attachment is known to both sides',
      );
  }
}

/** An operation of nobody's that flushes, whatever comes of it. */
export function flushThen(then: (flush: Operation) => void): Operation {
  const flush = new Operation({ operationDone: then });
  flush.kind = 'flush';
  return flush;
}

/** Throws RangeError when a namespace could not begin with these facts: for those who want to know before they make one. */
export function checkFacts({ owner, writeProtect, reservation }: NamespaceFacts): void {
  ownerOf(owner);
  protectionOf(writeProtect);
  fromFacts(reservation);
}

function ownerOf(value: unknown): Owner | undefined {
  if (value === undefined) return undefined;
  const { hostnqn, hostid } = (value ?? {}) as Partial<Owner>;
  if (typeof hostnqn === 'string' && typeof hostid === 'string') return { hostnqn, hostid };
  throw new RangeError('its owner has neither a Host NQN nor a Host ID');
}

/** The status that tells a host what the file said. */
export function statusOf(error: IoError, kind: OperationKind): number {
  switch (error.code) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return Status.CapacityExceeded;
    case 'EROFS':
      return Status.NamespaceWriteProtected | DNR;
    case 'EFAILED':
      return kind === 'flush' ? Status.WriteFault | DNR : Status.NamespaceWriteProtected | DNR;
    case 'ECANCELED':
      return Status.AbortRequested;
    case 'ESHUTDOWN':
      return Status.InvalidNamespace | DNR;
    default:
      return kind === 'read' ? Status.UnrecoveredReadError : Status.WriteFault;
  }
}
