/** A host with several controllers of one subsystem, each a fake of its own, over one disk. */
import type { Controller } from '../../src/initiator/controller.ts';
import type { ControllerOptions } from '../../src/initiator/controller-options.ts';
import type { Head } from '../../src/initiator/head.ts';
import type { Limits } from '../../src/initiator/limits.ts';
import type { Path } from '../../src/initiator/path.ts';
import { encodeAnaLog, type AnaState } from '../../src/nvme/ana-log.ts';
import { Event, eventDword } from '../../src/nvme/event.ts';
import { LogId } from '../../src/nvme/logs.ts';
import { FakeController, type FakeCommand } from './fake-controller.ts';
import { HostWorld } from './host-world.ts';

/** Milliseconds. */
export const RECOVERY = { reconnectDelay: 1000, ctrlLossTmo: 600_000 };

export class Side {
  readonly fake: FakeController;
  readonly controller: Controller;
  /** Commands of its I/O queues that wait, while `holding`. */
  readonly commands: FakeCommand[] = [];
  holding = false;
  /** ANA state of each group. */
  readonly ana = new Map<number, AnaState>();
  chgcnt = 1;

  constructor(fake: FakeController, state: AnaState | undefined, connect: () => Controller) {
    this.fake = fake;
    if (state !== undefined) this.ana.set(1, state);
    fake.script = (command) => this.#script(command);
    fake.logPage = (lid, offset, length) => {
      const page = new Uint8Array(length);
      if (lid === LogId.Ana) page.set(this.anaLog.subarray(offset, offset + length));
      return page;
    };
    this.controller = connect();
  }

  get anaLog(): Uint8Array {
    const { chgcnt } = this;
    const groups = [...this.ana].map(([agid, state]) => ({
      agid,
      chgcnt,
      state,
      nsids: this.fake.namespaces.filter(({ change }) => change?.anagrpid === agid).map(({ nsid }) => nsid),
    }));
    return encodeAnaLog({ chgcnt, groups }, false);
  }

  #script(command: FakeCommand): boolean {
    if (!this.holding || command.on.qid === 0 || command.name === 'Connect') return false;
    this.commands.push(command);
    return true;
  }

  /** Answers what waits, as the fake would. */
  release(): void {
    this.holding = false;
    const commands = this.commands.splice(0);
    for (const command of commands) if (!command.on.gone) this.fake.run(command);
    this.fake.env.clock.settle();
  }

  /** Answers what waits with this status. */
  refuse(status: number): void {
    for (const { on, cid } of this.commands.splice(0)) on.respond(cid, status);
    this.fake.env.clock.settle();
  }

  /** The state of its groups changes; the host is told, unless the event is lost. */
  setAna(state: AnaState, told = true): void {
    this.chgcnt++;
    for (const agid of this.ana.keys()) this.ana.set(agid, state);
    if (told) this.fake.event(eventDword(Event.AnaChange));
  }

  rescan(): void {
    this.fake.event(eventDword(Event.NamespaceAttributeChanged));
  }
}

export interface MultipathOptions {
  readonly sides?: number | undefined;
  readonly limits?: Partial<Limits> | undefined;
  readonly options?: Partial<ControllerOptions> | undefined;
  /** Before each of them is connected. */
  readonly prepare?: ((fake: FakeController, index: number) => void) | undefined;
  /** The state that each side's only ANA group has at first; undefined: no ANA. */
  readonly ana?: readonly AnaState[] | undefined;
  /** ANATT, seconds. */
  readonly anatt?: number | undefined;
}

export class Multipath {
  readonly world: HostWorld;
  readonly sides: Side[] = [];

  constructor({ sides = 2, limits, options, prepare, ana, anatt = 10 }: MultipathOptions = {}) {
    this.world = new HostWorld(limits);
    for (let index = 0; index < sides; index++) {
      const fake = index === 0 ? this.world.fake : new FakeController(this.world.env, 4420 + index);
      fake.cntlid = index + 1;
      if (index > 0) fake.disk.set(this.world.fake.disk);
      const state = ana?.[index];
      if (state !== undefined) {
        fake.identify = {
          cmic: { multipleControllers: 1, ana: 1 },
          oaes: { namespaceAttribute: 1, anaChange: 1 },
          anatt,
          anagrpmax: 8,
          nanagrpid: 8,
        };
        for (const each of fake.namespaces) each.change = { anagrpid: 1 };
      }
      prepare?.(fake, index);
      const side = new Side(fake, state, () => {
        const { controller } = this.world.connect({
          address: { host: '127.0.0.1', port: fake.port },
          recovery: RECOVERY,
          ...options,
        });
        return controller;
      });
      this.sides.push(side);
    }
  }

  get a(): Side {
    return this.sides[0]!;
  }
  get b(): Side {
    return this.sides[1]!;
  }
  get head(): Head {
    return this.world.registry.subsystem(this.a.controller.options.subnqn)!.heads[0]!;
  }
  path(side: Side): Path {
    return this.head.paths.find(({ controller }) => controller === side.controller)!;
  }

  /** The way to a side is gone: connections are reset, and nobody listens. */
  down(side: Side): void {
    side.fake.onInitialize = ({ transport }) => transport.reset();
    side.fake.cut();
    this.world.settle();
  }

  up(side: Side): void {
    side.fake.onInitialize = undefined;
  }

  /** Stops the host; gives what is left. */
  stop(): string[] {
    const left = new Set(['the host did not stop']);
    this.world.registry.stop(() => left.clear());
    this.world.advance(60_000);
    return [...left, ...this.world.leftovers()];
  }
}
