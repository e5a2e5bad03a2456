/** What the heads keep of one controller: its paths, its ANA states, and how much of their I/O it has. */
import { AnaState } from '../nvme/ana-log.ts';
import { LogId } from '../nvme/logs.ts';
import { statusName } from '../nvme/status.ts';
import { Ana, anaLogBytes } from './ana.ts';
import type { Association } from './association.ts';
import { getLogPage } from './commands.ts';
import type { Controller } from './controller.ts';
import type { Head } from './head.ts';
import type { NamespaceInfo } from './namespace.ts';
import type { Path } from './path.ts';

const BROADCAST = 0xffffffff;

export class ControllerPaths {
  readonly controller: Controller;
  /** By NSID. */
  readonly paths = new Map<number, Path>();
  /** Namespaces that it has and that cannot be used, with the reason. */
  readonly refused = new Map<number, { readonly info: NamespaceInfo; readonly why: string }>();
  /** The same of those that no head could have, whatever else is there. */
  skipped: ReadonlyMap<number, string> = new Map();
  /** The user would rather take its paths (`iopolicy` preferred). */
  preferred = false;
  /** Commands of all heads that it has. */
  inFlight = 0;
  ana: Ana | undefined = undefined;
  #association: Association | undefined = undefined;
  /** Its namespaces were looked at in this association. */
  #lookedAt = false;

  constructor(controller: Controller) {
    this.controller = controller;
  }

  get lookedAt(): boolean {
    return this.#lookedAt && this.#association === this.controller.association;
  }

  /** CRDT1 to CRDT3, in 100 ms. */
  get retryDelays(): readonly number[] {
    const { crdt1 = 0, crdt2 = 0, crdt3 = 0 } = this.controller.capabilities.identified ?? {};
    return [crdt1, crdt2, crdt3];
  }

  anaState(info: NamespaceInfo): AnaState | undefined {
    this.#follow();
    return this.ana === undefined ? AnaState.Optimized : this.ana.state(info);
  }

  /** A log that was read while the association was set up; gives why it is not believed. */
  earlyAnaLog(bytes: Uint8Array): string | undefined {
    this.#follow();
    return this.ana?.receive(bytes);
  }

  /** Bytes of the ANA log to read while the association is set up; 0: ANA is not used. */
  get anaLogBytes(): number {
    this.#follow();
    return this.ana?.bytes ?? 0;
  }

  /** The controller is live, its namespaces are about to be looked at. */
  live(): void {
    this.#follow();
    this.ana?.live();
  }

  /**
   * They were looked at. `more`: namespaces came, and what the log that we have says of their groups is old, if it says
   * anything: nobody is told of changes to a group that he has no namespace of. One that went and came back between two
   * looks, in another group or not, seems to have been there all the time, so that the log is read after every look but
   * the first of an association, which has just read it.
   */
  scanned(more: boolean): void {
    this.#follow();
    const again = this.lookedAt;
    this.#lookedAt = true;
    this.ana?.watch();
    if (more || again) this.ana?.read();
  }

  /** The log is not what it was. True: it is read. */
  anaChanged(): boolean {
    this.#follow();
    this.ana?.read();
    return this.ana !== undefined;
  }

  /** With a new association nothing of the old one is true. */
  #follow(): void {
    const { association, capabilities } = this.controller;
    if (association === this.#association || association === undefined) return;
    if (capabilities.identified === undefined) return;
    this.#association = association;
    this.#lookedAt = false;
    for (const path of this.paths.values()) path.anaStale = path.seen = false;
    this.ana?.end();
    this.ana = this.#newAna(association);
  }

  #newAna(association: Association): Ana | undefined {
    const { controller } = this;
    const { identified, maxTransfer } = controller.capabilities;
    const id = identified!;
    if (id.cmic.ana === 0) return undefined;
    const bytes = anaLogBytes(id, maxTransfer);
    if (typeof bytes === 'string') {
      controller.log('warn', 'ANA is not used', { why: bytes });
      return undefined;
    }
    const { paths } = this;
    return new Ana(
      {
        name: controller.name,
        clock: controller.env.clock,
        again: controller.limits.rescanDelay,
        get live() {
          return controller.state.is('live') && controller.association === association;
        },
        groupsInUse: () =>
          new Set([...paths.values()].map(({ info }) => this.ana?.group(info) ?? info.anagrpid)),
        readLog: (length, done) => this.#readLog(association, length, done),
        anaChanged: () => this.#anaApplied(),
        reset: (why) => controller.reset(why),
        log: (level, what, fields) => controller.log(level, what, fields),
      },
      id,
      bytes,
    );
  }

  /** Without RAE: an event that names the log is unmasked by this. */
  #readLog(association: Association, length: number, done: (log: Uint8Array | string) => void): void {
    let bytes: Uint8Array = new Uint8Array(0);
    association.command(
      (request) => {
        bytes = getLogPage(request, LogId.Ana, BROADCAST, 0, length, false);
        request.exact = false;
        request.timeout = this.controller.limits.adminTimeout;
      },
      ({ status, received }) => {
        if (!association.open) return;
        done(status === 0 ? bytes.subarray(0, received) : `Get Log Page, ANA: ${statusName(status)}`);
      },
    );
  }

  #anaApplied(): void {
    for (const path of this.paths.values()) path.anaStale = false;
    this.update();
  }

  /** Its paths may be good for something else than before. */
  update(): void {
    for (const head of new Set([...this.paths.values()].map((path): Head => path.head))) head.update();
  }

  /** It goes. */
  end(): void {
    this.ana?.end();
    this.ana = undefined;
  }
}
