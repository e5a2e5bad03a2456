/** The second half of a change: what cannot fail. The configuration is on stable storage by now. */
import type { NodeEnv } from '../runtime/node/env.ts';
import { addressOf } from '../config/address.ts';
import {
  type AnaStateName,
  type FileEntry,
  type NamespaceEntry,
  type PortEntry,
  type ReferralEntry,
  type TargetDocument,
  isFile,
} from '../config/document.ts';
import { type Change, anaOf, groupsOf, keyOf } from '../config/plan.ts';
import { AnaState, anaStateName } from '../nvme/ana-log.ts';
import { must } from '../runtime/assert.ts';
import type { FileIo } from '../runtime/ports.ts';
import { leadsHere } from '../target/discovery.ts';
import type { Namespace } from '../target/namespace.ts';
import type { Port } from '../target/port.ts';
import type { Subsystem } from '../target/subsystem.ts';
import type { Target } from '../target/target.ts';
import { type Preparation, type Problem, asNvmeError } from './prepare.ts';

/** How long a change waits for the last operations of what it removed. The files close later, then. */
const CLOSE_PATIENCE = 30_000;

export class Commit {
  readonly #env: NodeEnv;
  readonly #target: Target;
  readonly #preparation: Preparation;
  readonly #wanted: TargetDocument;
  readonly #closing: Promise<unknown>[] = [];
  /** Of the namespaces whose file is to be taken over, by `keyOf`. */
  readonly #freed = new Map<string, Promise<unknown>>();

  constructor(env: NodeEnv, target: Target, preparation: Preparation, wanted: TargetDocument) {
    this.#env = env;
    this.#target = target;
    this.#preparation = preparation;
    this.#wanted = wanted;
  }

  async run(plan: readonly Change[]): Promise<void> {
    for (const change of plan) if (!this.#preparation.left.has(keyOf(change))) await this.#make(change);
    await this.#inTime(Promise.all(this.#closing));
  }

  async #make(change: Change): Promise<void> {
    const target = this.#target;
    switch (change.kind) {
      case 'remove listener':
        target.ports.removeListener(this.#subsystem(change.nqn), this.#port(change.id));
        break;
      case 'remove port':
        await new Promise<void>((resolve) => target.ports.remove(this.#port(change.id), resolve));
        break;
      case 'remove namespace':
        this.#remove(change.nqn, change.nsid);
        break;
      case 'remove subsystem':
        this.#closing.push(
          new Promise<void>((resolve) => target.removeSubsystem(this.#subsystem(change.nqn), true, resolve)),
        );
        break;
      case 'add subsystem': {
        const { cntlids, ioQueues, ieeeOui, ...options } = change.subsystem;
        const oui = ieeeOui !== undefined && { ieeeOui: parseInt(ieeeOui, 16) };
        const range = cntlids && { cntlids: { first: cntlids[0], last: cntlids[1] } };
        target.addSubsystem({ ...options, ioQueues: this.#queues(ioQueues), ...oui, ...range });
        break;
      }
      case 'set subsystem':
        this.#subsystem(change.nqn).setFirmware(change.firmware);
        this.#subsystem(change.nqn).setIoQueues(this.#queues(change.ioQueues));
        break;
      case 'set hosts':
        this.#subsystem(change.nqn).setHosts(change.hosts);
        break;
      case 'add namespace':
        await this.#add(change);
        break;
      case 'enable namespace':
        this.#enable(this.#namespace(change.nqn, change.nsid), change);
        break;
      case 'disable namespace':
        this.#disable(this.#namespace(change.nqn, change.nsid));
        break;
      case 'move namespace':
        this.#subsystem(change.nqn).move(this.#namespace(change.nqn, change.nsid), change.anagrpid);
        break;
      case 'mask namespace':
        this.#subsystem(change.nqn).mask(this.#namespace(change.nqn, change.nsid), change.hosts);
        break;
      case 'set ana':
        target.ports.setAnaState(this.#port(change.id), change.grpid, anaStateOf(change.state));
        break;
      case 'add port':
        this.#open(change.port);
        break;
      case 'add listener':
        target.ports.addListener(this.#subsystem(change.nqn), this.#port(change.id));
        break;
      case 'set referrals':
        this.#refer(this.#port(change.id), change.referrals);
        break;
    }
  }

  // ---- finding

  #subsystem(nqn: string): Subsystem {
    return must(this.#target.subsystems.get(nqn), `a subsystem ${nqn} that runs`);
  }

  #namespace(nqn: string, nsid: number): Namespace {
    return must(this.#subsystem(nqn).namespaces.get(nsid), `a namespace ${nsid} that is exported`);
  }

  #port(id: number): Port {
    return must(
      this.#target.ports.list.find((port) => port.id === id),
      `a port ${id} that listens`,
    );
  }

  /** A number from another target may be more than this one allows. */
  #queues(asked: number | undefined): number | undefined {
    return asked === undefined ? undefined : Math.min(asked, this.#target.limits.ioQueues);
  }

  // ---- namespaces

  #remove(nqn: string, nsid: number): void {
    const namespace = this.#namespace(nqn, nsid);
    const { uuid } = namespace;
    const forGood = !this.#wanted.subsystems.some(({ namespaces }) =>
      namespaces.some((entry) => entry.uuid === uuid),
    );
    const closed = new Promise<void>((resolve) =>
      this.#target.removeNamespace(namespace, () => {
        // Closing may take longer than a change waits, and the UUID be somebody's again.
        if (forGood && !this.#isExported(uuid)) this.#target.facts.remove(uuid, () => resolve());
        else resolve();
      }),
    );
    this.#closing.push(closed);
    this.#freed.set(`${nqn} ${nsid}`, closed);
  }

  #isExported(uuid: string): boolean {
    for (const { namespaces } of this.#target.subsystems.values())
      for (const namespace of namespaces.values()) if (namespace.uuid === uuid) return true;
    return false;
  }

  #enable(namespace: Namespace, change: Extract<Change, { entry: NamespaceEntry }>): void {
    // Memory is where it was; of a file that was opened anew it is the name that counts.
    const file = isFile(change.entry) ? undefined : namespace.file.reopened();
    this.#target.enableNamespace(namespace, file ?? this.#file(change), change.entry.readOnly);
  }

  #disable(namespace: Namespace): void {
    this.#closing.push(new Promise<void>((resolve) => namespace.disable(() => resolve())));
  }

  async #add(change: Extract<Change, { kind: 'add namespace' }>): Promise<void> {
    const { nqn, nsid, entry, from } = change;
    if (from !== undefined && isFile(entry)) {
      const problem = await this.#takeOver(change, entry, `${from.nqn} ${from.nsid}`);
      if (problem !== undefined) {
        this.#preparation.left.set(keyOf(change), problem);
        return;
      }
    }
    const { uuid, blockSize, readOnly, anagrpid, shared, hosts, enabled } = entry;
    const subsystem = this.#subsystem(nqn);
    const file = this.#file(change);
    const nguid = bytesOf(entry.nguid);
    const eui64 = bytesOf(entry.eui64);
    const facts = this.#preparation.facts.get(uuid);
    const options = { nsid, uuid, nguid, eui64, blockSize, readOnly, anagrpid, shared, hosts, facts };
    const namespace = this.#target.addNamespace(subsystem, file, options);
    if (!enabled) this.#disable(namespace);
  }

  /** The file is another namespace's until this one's last operation; it was ours all the time, so it should open. */
  async #takeOver(change: Change, entry: FileEntry, from: string): Promise<Problem | undefined> {
    await this.#inTime(this.#freed.get(from) ?? Promise.resolve());
    try {
      this.#preparation.files.set(keyOf(change), await this.#preparation.open(entry));
      return undefined;
    } catch (thrown) {
      const error = asNvmeError(thrown);
      if (error === undefined) throw thrown;
      return { change, error };
    }
  }

  #file(change: Extract<Change, { entry: NamespaceEntry }>): FileIo {
    const { entry } = change;
    if (!isFile(entry)) return this.#env.files.memory(entry.memory);
    return must(this.#preparation.files.get(keyOf(change)), 'a file that was opened').file;
  }

  // ---- ports

  #open(entry: PortEntry): void {
    const port = must(this.#preparation.ports.get(entry.id), 'a port that was bound');
    for (const grpid of groupsOf(this.#wanted)) {
      const state = anaOf(entry, grpid);
      if (state !== 'optimized') port.ana.set(grpid, anaStateOf(state));
    }
    this.#refer(port, entry.referrals);
    this.#target.ports.add(
      port,
      entry.subsystems.map((nqn) => this.#subsystem(nqn)),
    );
  }

  /** What leads to this target, to a port whose number the system has chosen, is left out. */
  #refer(port: Port, entries: readonly ReferralEntry[]): void {
    const referrals = entries.map(({ address, id }) => ({ address: addressOf(address), portid: id }));
    const target = this.#target;
    target.ports.setReferrals(
      port,
      referrals.filter((referral) => !leadsHere(target, referral)),
    );
  }

  async #inTime(work: Promise<unknown>): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = this.#env.clock.timer('waits for files to close', CLOSE_PATIENCE, () => {
        this.#env.trace.event('warn', 'storage does not finish what it has; not waiting any longer', {});
        resolve();
      });
      void work.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}

/** Of digits that were checked. */
const bytesOf = (digits: string | undefined): Uint8Array | undefined =>
  digits === undefined ? undefined : Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));

const ANA = new Map(Object.values(AnaState).map((state) => [anaStateName(state), state]));
const anaStateOf = (name: AnaStateName): AnaState => must(ANA.get(name), name);
