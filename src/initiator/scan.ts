/**
 * Looks at the namespaces of a controller: the list (CNS 02h), and of each its identifiers (CNS 03h), whether it is
 * ready (CNS 08h, from version 2.0), and its size and format (CNS 00h). What was found is told to the subsystem as a
 * whole. One scan runs at a time; a change while it runs starts it over when it is through. What fails but may be
 * retried is asked for a few times more, then the scan is repeated a while later.
 */
import { viewOf } from '../layout/struct.ts';
import { DecodeError } from '../nvme/decode-error.ts';
import { Cns } from '../nvme/identify.ts';
import {
  type NamespaceIds,
  decodeNamespaceIds,
  decodeNsidList,
  MAX_NSID_LIST,
} from '../nvme/identify-lists.ts';
import { IndependentIdNamespace } from '../nvme/identify-namespace.ts';
import { isDnr, statusName } from '../nvme/status.ts';
import { VERSION_2_0 } from './capabilities.ts';
import { identify } from './commands.ts';
import type { Association } from './association.ts';
import type { Controller } from './controller.ts';
import type { DeleteWhy } from './controller-state.ts';
import { type Failure, failure, refused } from './failure.ts';
import { type NamespaceInfo, namespaceInfo } from './namespace.ts';

/** VS from which the identification descriptors (CNS 03h) are there. */
const VERSION_1_3 = 0x00010300;
/** How often an Identify that fails without DNR is sent in all. */
const TRIES = 3;

const LATER = 'looks at the namespaces again';

export class Scan {
  readonly #association: Association;
  readonly #controller: Controller;
  #running = false;
  #again = false;
  /** Something could not be asked now that may be answered later. */
  #incomplete = false;
  #nsids: number[] = [];
  #found: NamespaceInfo[] = [];
  /** Listed, but nothing can be said of them now. */
  readonly #unknown = new Set<number>();
  /** Listed, but not used, and why. */
  #skipped = new Map<number, string>();

  constructor(association: Association) {
    this.#association = association;
    this.#controller = association.controller;
  }

  start(): void {
    this.#again = this.#running;
    if (this.#running) return;
    this.#running = true;
    this.#incomplete = false;
    this.#nsids = [];
    this.#found = [];
    this.#unknown.clear();
    this.#skipped = new Map();
    this.#association.state.cancel(LATER);
    this.#list(0);
  }

  /** Identify; `then` gets the status, and nothing is asked any more once the controller is not live. */
  #identify(
    cns: number,
    nsid: number,
    then: (status: number, bytes: Uint8Array) => void,
    tries = TRIES,
  ): void {
    const controller = this.#controller;
    let bytes: Uint8Array = new Uint8Array(0);
    this.#association.command(
      (request) => {
        bytes = identify(request, cns, nsid);
        request.timeout = controller.limits.adminTimeout;
      },
      ({ status }) => {
        if (!this.#association.open || !controller.state.is('live')) this.#running = false;
        else if (status !== 0 && !isDnr(status) && tries > 1) this.#identify(cns, nsid, then, tries - 1);
        else then(status, bytes);
      },
    );
  }

  /** A page of the list: NSIDs above `after`. */
  #list(after: number): void {
    this.#identify(Cns.ActiveNamespaces, after, (status, bytes) => {
      const controller = this.#controller;
      if (status !== 0) {
        this.#fail('a command was refused', refused('Identify, namespace list', status));
        return;
      }
      let page: number[];
      try {
        page = decodeNsidList(bytes);
        if ((page[0] ?? Infinity) <= after)
          throw new DecodeError(`namespace list: NSID ${page[0]!} is not above ${after}`);
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
        this.#fail('protocol fault', failure('EPROTO', error.message));
        return;
      }
      this.#nsids.push(...page);
      const { namespaces } = controller.limits;
      if (this.#nsids.length > namespaces) {
        controller.log('warn', 'more namespaces than are looked at', { limit: namespaces });
        this.#nsids.length = namespaces;
        this.#descriptors(0);
      } else if (page.length === MAX_NSID_LIST) this.#list(page.at(-1)!);
      else this.#descriptors(0);
    });
  }

  /** There is no list. Those that were there before stay, and are looked at later. */
  #fail(why: DeleteWhy, reason: Failure): void {
    this.#running = false;
    if (this.#controller.scanFailed(why, reason)) return;
    this.#controller.log('warn', 'the namespaces cannot be looked at', { why: reason.message });
    this.#later();
  }

  #later(): void {
    const { state, limits } = this.#association;
    state.after(LATER, limits.rescanDelay, () => this.start());
  }

  #descriptors(index: number): void {
    const nsid = this.#nsids[index];
    if (nsid === undefined) this.#finish();
    else if (this.#controller.capabilities.version < VERSION_1_3) this.#ready(index, nsid, {});
    else
      this.#identify(Cns.NamespaceDescriptors, nsid, (status, bytes) => {
        if (status !== 0) {
          this.#failed(nsid, status);
          this.#skip(index, nsid, `Identify, descriptors: ${statusName(status)}`);
          return;
        }
        try {
          this.#ready(index, nsid, decodeNamespaceIds(bytes));
        } catch (error) {
          if (!(error instanceof DecodeError)) throw error;
          this.#skip(index, nsid, error.message);
        }
      });
  }

  #ready(index: number, nsid: number, ids: NamespaceIds): void {
    if (this.#controller.capabilities.version < VERSION_2_0) {
      this.#namespace(index, nsid, ids);
      return;
    }
    this.#identify(Cns.CsIndependentNamespace, nsid, (status, bytes) => {
      // Some that report 2.0 do not know it.
      if (status === 0 && IndependentIdNamespace.nstat.ready.get(viewOf(bytes), 0) === 0) {
        // An event tells when it is.
        this.#unknown.add(nsid);
        this.#skip(index, nsid, 'it is not ready');
      } else this.#namespace(index, nsid, ids);
    });
  }

  #namespace(index: number, nsid: number, ids: NamespaceIds): void {
    this.#identify(Cns.Namespace, nsid, (status, bytes) => {
      if (status !== 0) this.#failed(nsid, status);
      const info = status === 0 ? namespaceInfo(nsid, bytes, ids) : `Identify: ${statusName(status)}`;
      if (typeof info === 'string') this.#skip(index, nsid, info);
      else {
        this.#found.push(info);
        this.#descriptors(index + 1);
      }
    });
  }

  /** An Identify of it failed, and may succeed later. */
  #failed(nsid: number, status: number): void {
    if (isDnr(status)) return;
    this.#incomplete = true;
    this.#unknown.add(nsid);
  }

  /** A namespace that cannot be used; it may have gone since the list was made. */
  #skip(index: number, nsid: number, why: string): void {
    this.#controller.log('warn', 'namespace is not used', { nsid, why });
    this.#skipped.set(nsid, why);
    this.#descriptors(index + 1);
  }

  #finish(): void {
    const controller = this.#controller;
    this.#running = false;
    controller.subsystem!.scanned(controller, this.#found, this.#unknown, this.#skipped);
    controller.ready();
    if (this.#again) this.start();
    else if (this.#incomplete) this.#later();
  }
}
