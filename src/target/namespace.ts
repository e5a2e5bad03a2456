/**
 * A namespace: blocks under an NSID with an identity. It belongs to its subsystem, which outlives every controller
 * (LIFE.1, LIFE.2).
 */
import { uuidBytes } from '../layout/field.ts';
import type { IoError } from '../runtime/ports.ts';
import { must } from '../runtime/assert.ts';
import type { OperationKind } from '../storage/operation.ts';
import type { Volume } from '../storage/volume.ts';
import { DNR, Status } from '../nvme/status.ts';

/** What stays the same over restarts (LIFE.10). */
export interface NamespaceIdentity {
  readonly nsid: number;
  /** 8-4-4-4-12 digits. */
  readonly uuid: string;
}

export class Namespace {
  readonly nsid: number;
  readonly uuid: string;
  /** The UUID's bytes: ESXi wants an NGUID, and what is derived needs no place to be kept. */
  readonly nguid: Uint8Array;
  readonly volume: Volume;
  /** ANA group; all namespaces are in one until groups can be configured. */
  readonly anagrpid = 1;

  constructor(identity: NamespaceIdentity, volume: Volume) {
    this.nsid = identity.nsid;
    this.uuid = identity.uuid;
    this.nguid = must(uuidBytes(identity.uuid), 'a checked UUID');
    this.volume = volume;
  }

  get blockSize(): number {
    return this.volume.blockSize;
  }

  /** Logical blocks (NSZE). */
  get blocks(): number {
    return this.volume.blocks;
  }

  /** Nothing can be written: exported so, or a flush has failed (DISK.2). */
  get writeProtected(): boolean {
    return this.volume.readOnly || this.volume.failure !== undefined;
  }
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
