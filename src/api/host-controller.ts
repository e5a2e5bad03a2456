/** The public promises of one controller of a host: who it is, and admin commands. */
import { type Value, viewOf } from '../layout/struct.ts';
import * as commands from '../initiator/commands.ts';
import type { Controller } from '../initiator/controller.ts';
import type { ControllerState } from '../initiator/controller-state.ts';
import type { Request } from '../initiator/request.ts';
import { Cns, Csi } from '../nvme/identify.ts';
import { IdController } from '../nvme/identify-controller.ts';
import {
  MAX_NSID_LIST,
  type NamespaceIds,
  decodeNamespaceIds,
  decodeNsidList,
} from '../nvme/identify-lists.ts';
import { IdNamespace } from '../nvme/identify-namespace.ts';
import { DecodeError } from '../nvme/decode-error.ts';
import { type ControllerDescription, describeController } from '../initiator/describe.ts';
import { type RecoveryOptions, recoveryOptions } from './connect-options.ts';
import { NvmeError } from './error.ts';
import { invalid, statusError } from './failure.ts';

/** An answer, decoded and as it came. */
export interface Answer<T> {
  readonly value: T;
  readonly bytes: Uint8Array;
}

export interface LogPageOptions {
  /** Default FFFFFFFFh: the controller's. */
  readonly nsid?: number | undefined;
  /** Bytes; a multiple of 4. */
  readonly offset?: number | undefined;
  /** Retain Asynchronous Event: do not unmask the event that goes with the log. Default true. */
  readonly rae?: boolean | undefined;
}

const BROADCAST = 0xffffffff;

/** A controller of a subsystem: one association. Every method rejects with an NvmeError. */
export class NvmeController {
  readonly #controller: Controller;

  /** Made by `subsystem.controllers`. */
  constructor(controller: Controller) {
    this.#controller = controller;
  }

  /** `nvme0`. */
  get name(): string {
    return this.#controller.name;
  }
  /** Never used again, unlike the name. */
  get id(): number {
    return this.#controller.id;
  }
  get cntlid(): number {
    return this.#controller.cntlid;
  }
  get state(): ControllerState {
    return this.#controller.state.now;
  }
  /** Why it is in this state. */
  get why(): string {
    return this.#controller.reason?.message ?? this.#controller.state.why;
  }
  get traddr(): string {
    return this.#controller.options.address.host;
  }
  get trsvcid(): string {
    return String(this.#controller.options.address.port);
  }
  get subnqn(): string {
    return this.#controller.options.subnqn;
  }
  get hostnqn(): string {
    return this.#controller.options.hostnqn;
  }
  get hostid(): string {
    return this.#controller.options.hostid;
  }
  /** I/O queues that it has, and entries of each. */
  get queues(): { readonly count: number; readonly entries: number } {
    const { ioConnections } = this.#controller;
    return { count: ioConnections.length, entries: ioConnections[0]?.queue.entries ?? 0 };
  }

  /** Identify Controller, CNS 01h (NVMe Base 2.1, section 5.1.13.2.1). */
  async identify(): Promise<Answer<Value<typeof IdController>>> {
    const bytes = await this.#identify(Cns.Controller, 0);
    return { bytes, value: IdController.decode(viewOf(bytes)) };
  }

  /** Identify Namespace, CNS 00h (NVM Command Set 1.1, section 4.1.5.1). */
  async identifyNamespace(nsid: number): Promise<Answer<Value<typeof IdNamespace>>> {
    const bytes = await this.#identify(Cns.Namespace, nsid);
    return { bytes, value: IdNamespace.decode(viewOf(bytes)) };
  }

  /** Namespace Identification Descriptors, CNS 03h. */
  async identifyDescriptors(nsid: number): Promise<Answer<NamespaceIds>> {
    const bytes = await this.#identify(Cns.NamespaceDescriptors, nsid);
    return { bytes, value: decoded(() => decodeNamespaceIds(bytes)) };
  }

  /** NSIDs of the active namespaces, CNS 02h, in ascending order. */
  async listNamespaces(): Promise<number[]> {
    const nsids: number[] = [];
    const { namespaces } = this.#controller.limits;
    while (nsids.length < namespaces) {
      const after = nsids.at(-1) ?? 0;
      const bytes = await this.#identify(Cns.ActiveNamespaces, after);
      const page = decoded(() => decodeNsidList(bytes)).filter((nsid) => nsid > after);
      nsids.push(...page);
      if (page.length < MAX_NSID_LIST) break;
    }
    return nsids.slice(0, namespaces);
  }

  /** Get Log Page (NVMe Base 2.1, section 5.1.12). `length`: bytes, a multiple of 4. */
  async getLogPage(lid: number, length: number, options: LogPageOptions = {}): Promise<Uint8Array> {
    const { nsid = BROADCAST, offset = 0, rae = true } = options;
    if (
      !Number.isInteger(length) ||
      length < 4 ||
      length % 4 !== 0 ||
      length > this.#controller.capabilities.maxTransfer
    )
      throw invalid(`log page: ${length} is not a length that one command can have`);
    if (!Number.isSafeInteger(offset) || offset < 0 || offset % 4 !== 0)
      throw invalid(`log page: ${offset} is not an offset`);
    let bytes: Uint8Array = new Uint8Array(0);
    await this.#admin('Get Log Page', (request) => {
      bytes = commands.getLogPage(request, lid, nsid, offset, length, rae);
    });
    return bytes;
  }

  /** Get Features (NVMe Base 2.1, section 5.1.11): the current value, dword 0 of the completion. */
  async getFeature(fid: number, nsid = 0): Promise<number> {
    const { dw0 } = await this.#admin('Get Features', (request) => commands.getFeatures(request, fid, nsid));
    return dw0;
  }

  /** Its options, its present association, and its timers with what they will do; plain data. */
  describe(): ControllerDescription {
    return describeController(this.#controller);
  }

  /** Changes how a loss is dealt with, from now on. Throws EINVAL. */
  set(options: RecoveryOptions): void {
    this.#controller.set(recoveryOptions(options));
  }

  /**
   * Ends its connections and connects again at once; one that waits for its next attempt makes it now. I/O waits or
   * goes another way meanwhile. Throws ENODEV when it is on its way out.
   */
  reset(): void {
    if (!this.#controller.reset('asked for')) throw new NvmeError(`${this.name} is gone`, { code: 'ENODEV' });
  }

  /** Disconnects this controller alone, in order. Resolves when it is gone. */
  async disconnect(): Promise<void> {
    await new Promise<void>((resolve) => this.#controller.disconnect('disconnected', resolve));
  }

  async #identify(cns: number, nsid: number): Promise<Uint8Array> {
    if (!Number.isInteger(nsid) || nsid < 0 || nsid > BROADCAST) throw invalid(`${nsid} is not an NSID`);
    let bytes: Uint8Array = new Uint8Array(0);
    await this.#admin('Identify', (request) => {
      bytes = commands.identify(request, cns, nsid, Csi.Nvm);
    });
    return bytes;
  }

  #admin(what: string, build: (request: Request) => void): Promise<Request> {
    const controller = this.#controller;
    return new Promise((resolve, reject) => {
      controller.admin(
        (request) => {
          build(request);
          request.timeout = controller.limits.adminTimeout;
        },
        (request) => {
          if (request.status === 0) resolve(request);
          else reject(statusError(what, request.status));
        },
      );
    });
  }
}

/** A controller's nonsense is an error, not a crash. */
function decoded<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new NvmeError(error.message, { code: 'EPROTO', cause: error });
  }
}
