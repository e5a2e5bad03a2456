/**
 * How a controller becomes live: the steps that Linux takes, in its order, and what it checks. Each step asks
 * something and goes on with the answer; the first that fails ends the attempt. enabling.ts has its registers,
 * queue-setup.ts its connections.
 */
import { type Value, viewOf } from '../layout/struct.ts';
import { FeatureId, HostBehaviorData } from '../nvme/features.ts';
import { Cns, Csi } from '../nvme/identify.ts';
import { ControllerType, IdController } from '../nvme/identify-controller.ts';
import { LogId } from '../nvme/logs.ts';
import { isDnr, statusName } from '../nvme/status.ts';
import type { Association } from './association.ts';
import { VERSION_2_0 } from './capabilities.ts';
import { ioProblem, keepsGhost1 } from './checks.ts';
import * as commands from './commands.ts';
import type { Controller } from './controller.ts';
import { Enabling } from './enabling.ts';
import { failure, refused, type Failure } from './failure.ts';
import { QueueSetup } from './queue-setup.ts';
import { versionText } from './registers.ts';
import type { Request } from './request.ts';

/** Set Features 0Bh: namespace attribute, ANA, discovery log. */
const EVENTS = { namespaceAttribute: 1 << 8, anaChange: 1 << 11, discoveryLog: 2 ** 31 } as const;
/** NSID FFFFFFFFh. */
const BROADCAST = 0xffffffff;

type Step = (setup: Setup) => void;

const COMMON: readonly Step[] = [
  ({ queues }) => queues.openAdmin(),
  ({ enabling }) => enabling.readCap(),
  // CC is written once without EN: its CSS may change CAP.TO, as it does in Linux.
  ({ enabling }) => enabling.writeCc(false),
  ({ enabling }) => enabling.readCap(),
  ({ enabling }) => enabling.readCrto(),
  ({ enabling }) => enabling.writeCc(true),
  ({ enabling }) => enabling.awaitReady(),
  ({ enabling }) => enabling.readVersion(),
  (setup) => setup.identify(),
];
/** A discovery controller that stays: its keep-alive and its events are wanted. */
const PERSISTENT: readonly Step[] = [...COMMON, (setup) => setup.configureEvents()];
const IO: readonly Step[] = [
  ...COMMON,
  (setup) => setup.readNvmLimits(),
  (setup) => setup.enableRetryDelays(),
  (setup) => setup.readAnaLog(),
  ({ queues }) => queues.setCount(),
  ({ queues }) => queues.openIo(),
  (setup) => setup.configureEvents(),
];

export class Setup {
  readonly association: Association;
  readonly controller: Controller;
  readonly enabling: Enabling;
  readonly queues: QueueSetup;
  readonly #steps: readonly Step[];
  #next = 0;

  constructor(association: Association) {
    const { controller } = association;
    this.association = association;
    this.controller = controller;
    this.enabling = new Enabling(this);
    this.queues = new QueueSetup(this);
    this.#steps = !controller.discovery ? IO : controller.options.kato > 0 ? PERSISTENT : COMMON;
  }

  start(): void {
    this.go();
  }

  /** The next step. */
  go(): void {
    const step = this.#steps[this.#next++];
    if (step === undefined) this.controller.live();
    else step(this);
  }

  /** The controller was told to go, or lost a connection: what comes in does not matter. */
  get over(): boolean {
    return !this.association.open || !this.controller.state.is('connecting');
  }

  /** The attempt is over. */
  fail(reason: Failure): void {
    if (!this.over) this.association.connectionLost(reason);
  }

  /**
   * An admin command that goes on with `then` when it succeeds. An `optional` one that fails is just left out; one that
   * is so unless DNR is left out when it may succeed later.
   */
  send(
    name: string,
    build: (request: Request) => void,
    then: (request: Request) => void,
    optional: boolean | 'unless DNR' = false,
  ): void {
    const { limits } = this.controller;
    this.association.command(
      (request) => {
        build(request);
        request.timeout = limits.adminTimeout;
      },
      (request) => {
        if (this.over) return;
        const leaveOut = optional === 'unless DNR' ? !isDnr(request.status) : optional;
        if (request.status !== 0 && leaveOut) {
          this.controller.log('debug', 'not supported', {
            command: name,
            status: statusName(request.status),
          });
          this.go();
        } else if (request.status !== 0) this.fail(refused(name, request.status));
        else then(request);
      },
    );
  }

  property(name: string, offset: number, then: (low: number, high: number) => void, optional = false): void {
    this.send(
      `Property Get ${name}`,
      (request) => commands.propertyGet(request, offset),
      ({ dw0, dw1 }) => then(dw0, dw1),
      optional,
    );
  }

  // ---- what it is

  identify(): void {
    let bytes: Uint8Array = new Uint8Array(0);
    this.send(
      'Identify Controller',
      (request) => {
        bytes = commands.identify(request, Cns.Controller, 0);
      },
      () => {
        const controller = this.controller;
        const id = IdController.decode(viewOf(bytes));
        const problem =
          this.#problem(id.cntlid, id.cntrltype) ?? (controller.discovery ? undefined : ioProblem(id));
        if (problem !== undefined) {
          this.fail(failure('EPROTO', `Identify Controller: ${problem}`));
          return;
        }
        controller.capabilities.learnController(id, controller.limits.maxTransfer);
        this.queues.capsuleData = id.ioccsz * 16 - 64;
        if (id.maxcmd === 0 && !controller.discovery) controller.log('debug', 'MAXCMD is 0');
        this.#learn(id);
        const refusal = controller.registry.attach(controller);
        if (refusal !== undefined) this.fail(refusal);
        else this.go();
      },
    );
  }

  /** What the association is to know, so that it can be told when the target is through with it (GHOST.2). */
  #learn(id: Value<typeof IdController>): void {
    const association = this.association;
    const { kato } = this.controller.options;
    // Granted in units of KAS, rounded up.
    const unit = Math.max(1, id.kas) * 100;
    association.kato = Math.ceil(kato / unit) * unit;
    association.tbkas = id.ctratt.tbkas === 1;
    if (id.cqt > 0) association.cqt = id.cqt;
    association.targetKeepsGhost1 = keepsGhost1(id.vs);
    association.keepAlive.start();
  }

  #problem(cntlid: number, type: number): string | undefined {
    const { cntlid: connected, discovery } = this.controller;
    if (cntlid !== connected) return `CNTLID ${cntlid}, but Connect said ${connected}`;
    if (!discovery && type === ControllerType.Discovery) return 'it is a discovery controller';
    if (discovery && type === ControllerType.Io) return 'it is not a discovery controller';
    return undefined;
  }

  /** CNS 06h: the limits of Write Zeroes and Dataset Management. */
  readNvmLimits(): void {
    const { capabilities } = this.controller;
    if (capabilities.version < VERSION_2_0 && !capabilities.commandSets) {
      this.go();
      return;
    }
    let bytes: Uint8Array = new Uint8Array(0);
    this.send(
      'Identify CNS 06h',
      (request) => {
        bytes = commands.identify(request, Cns.CsController, 0, Csi.Nvm);
      },
      () => {
        capabilities.learnNvm(bytes);
        this.go();
      },
      true,
    );
  }

  /** ACRE: without it a controller may not ask for a delay before a command is repeated (CRD). */
  enableRetryDelays(): void {
    if ((this.controller.capabilities.identified?.crdt1 ?? 0) === 0) {
      this.go();
      return;
    }
    this.send(
      'Set Features, Host Behavior Support',
      (request) => {
        commands.setFeatures(request, FeatureId.HostBehavior, 0);
        request.add('out', HostBehaviorData.bytes({ acre: 1 }));
      },
      () => this.go(),
      true,
    );
  }

  /**
   * As early as Linux does, so that paths are known as soon as it is live; applied no earlier (QUIESCE.11). Without a
   * log to believe no path could ever be used, so that a wrong one ends the attempt, and one that will never be there.
   */
  readAnaLog(): void {
    const controller = this.controller;
    const { subsystem } = controller;
    const length = subsystem?.anaLogBytes(controller) ?? 0;
    if (length === 0) {
      this.go();
      return;
    }
    let bytes: Uint8Array = new Uint8Array(0);
    this.send(
      'Get Log Page, ANA',
      (request) => {
        bytes = commands.getLogPage(request, LogId.Ana, BROADCAST, 0, length, false);
        request.exact = false;
      },
      ({ received }) => {
        const problem = subsystem?.earlyAnaLog(controller, bytes.subarray(0, received));
        if (problem === undefined) this.go();
        else this.fail(failure('EPROTO', problem));
      },
      'unless DNR',
    );
  }

  // ---- events

  configureEvents(): void {
    const controller = this.controller;
    const { oaes, aerl } = controller.capabilities.identified!;
    const events =
      (oaes.namespaceAttribute ? EVENTS.namespaceAttribute : 0) +
      (oaes.anaChange ? EVENTS.anaChange : 0) +
      (controller.discovery && oaes.discoveryLog ? EVENTS.discoveryLog : 0);
    const association = this.association;
    const start = (): void => {
      association.events.start(Math.min(controller.limits.asyncEvents, aerl));
      controller.log('info', 'connected', {
        cntlid: controller.cntlid,
        version: versionText(controller.capabilities.version),
        queues: association.io.length,
        entries: association.io[0]?.queue.entries,
      });
      this.go();
    };
    if (events === 0) {
      start();
      return;
    }
    association.command(
      (request) => {
        commands.setFeatures(request, FeatureId.AsyncEventConfiguration, events);
        request.timeout = controller.limits.adminTimeout;
      },
      ({ status }) => {
        if (this.over) return;
        if (status !== 0)
          controller.log('warn', 'events cannot be configured', { status: statusName(status) });
        start();
      },
    );
  }
}
