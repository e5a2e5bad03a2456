/**
 * How a controller becomes live: the steps that Linux takes, in its order, and what it checks. Each step asks
 * something and goes on with the answer; the first that fails ends the attempt.
 */
import { type Value, viewOf } from '../layout/struct.ts';
import { CNTLID_DYNAMIC, ConnectResponse } from '../nvme/fabrics.ts';
import { FeatureId, HostBehaviorData, NumberOfQueues } from '../nvme/features.ts';
import { Cns, ControllerType, Csi, IdController } from '../nvme/identify.ts';
import { NvmIdController } from '../nvme/identify-namespace.ts';
import { LogId } from '../nvme/logs.ts';
import { Cap, Csts, Property } from '../nvme/property.ts';
import { statusName } from '../nvme/status.ts';
import { AdminCommand } from './admin-command.ts';
import type { Association } from './association.ts';
import { connectRefused, ioProblem, keepsGhost1 } from './checks.ts';
import * as commands from './commands.ts';
import type { Connection } from './connection.ts';
import type { Controller } from './controller.ts';
import { failure, refused, type Failure } from './failure.ts';
import { ccWord, registerView, versionText } from './registers.ts';
import type { Request } from './request.ts';

/** CAP.CSS: bit 6, more than the NVM command set. */
const CSS_MANY = 0x40;
/** VS from which Identify CNS 06h and 08h may be asked. */
export const VERSION_2_0 = 0x00020000;
/** AUTHREQ: authentication, or secure channel and authentication, are required. */
const AUTHENTICATION = 0x6;
/** Set Features 0Bh: namespace attribute, ANA, discovery log. */
const EVENTS = { namespaceAttribute: 1 << 8, anaChange: 1 << 11, discoveryLog: 2 ** 31 } as const;
/** NSID FFFFFFFFh. */
const BROADCAST = 0xffffffff;
/** A queue of one entry could hold nothing. */
const LEAST_ENTRIES = 2;

type Step = (setup: Setup) => void;

const COMMON: readonly Step[] = [
  (setup) => setup.openAdmin(),
  (setup) => setup.readCap(),
  // CC is written once without EN: its CSS may change CAP.TO, as it does in Linux.
  (setup) => setup.writeCc(false),
  (setup) => setup.readCap(),
  (setup) => setup.readCrto(),
  (setup) => setup.writeCc(true),
  (setup) => setup.awaitReady(),
  (setup) => setup.readVersion(),
  (setup) => setup.identify(),
];
/** A discovery controller that stays: its keep-alive and its events are wanted. */
const PERSISTENT: readonly Step[] = [...COMMON, (setup) => setup.configureEvents()];
const IO: readonly Step[] = [
  ...COMMON,
  (setup) => setup.readNvmLimits(),
  (setup) => setup.enableRetryDelays(),
  (setup) => setup.readAnaLog(),
  (setup) => setup.setQueueCount(),
  (setup) => setup.openIoQueues(),
  (setup) => setup.configureEvents(),
];

export class Setup {
  readonly #association: Association;
  readonly #controller: Controller;
  readonly #steps: readonly Step[];
  #next = 0;
  /** How long CSTS.RDY may take, ms. */
  #readyTimeout = 0;
  /** CAP says that CRTO is there. */
  #hasCrto = false;

  constructor(association: Association) {
    const { controller } = association;
    this.#association = association;
    this.#controller = controller;
    this.#steps = !controller.discovery ? IO : controller.kato > 0 ? PERSISTENT : COMMON;
  }

  start(): void {
    this.#go();
  }

  #go(): void {
    const step = this.#steps[this.#next++];
    if (step === undefined) this.#controller.live();
    else step(this);
  }

  /** The controller was told to go, or lost a connection: what comes in does not matter. */
  get #over(): boolean {
    return !this.#association.open || !this.#controller.state.is('connecting');
  }

  #fail(reason: Failure): void {
    if (!this.#over) this.#association.connectionLost(reason);
  }

  /** An admin command that goes on with `then` when it succeeds. An `optional` one that fails is just left out. */
  #send(
    name: string,
    build: (request: Request) => void,
    then: (request: Request) => void,
    optional = false,
  ): void {
    const { limits } = this.#controller;
    this.#association.command(
      (request) => {
        build(request);
        request.timeout = limits.adminTimeout;
      },
      (request) => {
        if (this.#over) return;
        if (request.status !== 0 && optional) {
          this.#controller.log('debug', 'not supported', {
            command: name,
            status: statusName(request.status),
          });
          this.#go();
        } else if (request.status !== 0) this.#fail(refused(name, request.status));
        else then(request);
      },
    );
  }

  #property(name: string, offset: number, then: (low: number, high: number) => void, optional = false): void {
    this.#send(
      `Property Get ${name}`,
      (request) => commands.propertyGet(request, offset),
      ({ dw0, dw1 }) => then(dw0, dw1),
      optional,
    );
  }

  // ---- connections

  openAdmin(): void {
    const association = this.#association;
    const connection = association.newConnection(0, association.limits.adminEntries);
    association.onReady = () => {
      this.#connect(connection, () => this.#go());
    };
    connection.open();
  }

  openIoQueues(): void {
    const controller = this.#controller;
    const association = this.#association;
    const { options, maxEntries } = controller;
    const maxcmd = controller.identified?.maxcmd ?? 0;
    const entries = Math.max(
      LEAST_ENTRIES,
      Math.min(options.queueEntries, maxEntries, maxcmd === 0 ? Infinity : maxcmd),
    );
    if (entries < options.queueEntries)
      controller.log('info', 'smaller queues than asked for', { asked: options.queueEntries, entries });
    let left = this.#ioQueues;
    association.onReady = (connection) => {
      this.#connect(connection, () => {
        if (--left === 0) this.#go();
      });
    };
    const connections: Connection[] = [];
    for (let qid = 1; qid <= left; qid++) connections.push(association.newConnection(qid, entries));
    for (const connection of connections) connection.open();
  }
  #ioQueues = 0;

  /** The transport is there: Connect, which makes a queue of it. */
  #connect(connection: Connection, then: () => void): void {
    const controller = this.#controller;
    const { options, limits } = controller;
    const { queue } = connection;
    const { qid, entries } = queue;
    const { request } = new AdminCommand((answer) => {
      if (this.#over) return;
      if (answer.status !== 0) {
        this.#fail(connectRefused(qid, answer));
        return;
      }
      const response = registerView(answer.dw0);
      const cntlid = ConnectResponse.cntlid.get(response, 0);
      if ((ConnectResponse.authreq.get(response, 0) & AUTHENTICATION) !== 0)
        this.#fail(failure('EACCES', `${options.subnqn} requires authentication, which is not supported`));
      else if (qid !== 0 && cntlid !== controller.cntlid)
        this.#fail(
          failure(
            'EPROTO',
            `Connect of queue ${qid} answered controller ${cntlid}, not ${controller.cntlid}`,
          ),
        );
      else {
        controller.cntlid = cntlid;
        if (qid !== 0) queue.maxCapsuleData = this.#ioCapsuleData;
        then();
      }
    });
    commands.connect(request, {
      qid,
      entries,
      disableSqFlow: options.disableSqFlow,
      kato: qid === 0 ? options.kato : 0,
      cntlid: qid === 0 ? CNTLID_DYNAMIC : controller.cntlid,
      hostid: options.hostid,
      hostnqn: options.hostnqn,
      subnqn: options.subnqn,
    });
    request.timeout = limits.connectTimeout;
    queue.submit(request);
  }

  // ---- properties

  readCap(): void {
    this.#property('CAP', Property.CAP, (low, high) => {
      const controller = this.#controller;
      const cap = registerView(low, high);
      controller.maxEntries = Cap.mqes.get(cap, 0) + 1;
      controller.commandSets = (Cap.high.css.get(cap, 0) & CSS_MANY) !== 0;
      controller.minimumPage = 2 ** (12 + Cap.high.mpsmin.get(cap, 0));
      // 500 ms units; 0 is taken for one.
      this.#readyTimeout = Math.max(1, Cap.low.to.get(cap, 0)) * 500;
      this.#hasCrto = Cap.high.crwms.get(cap, 0) === 1;
      this.#go();
    });
  }

  /** CRTO.CRWMT: what CAP.TO cannot say. */
  readCrto(): void {
    if (!this.#hasCrto) {
      this.#go();
      return;
    }
    const then = (low: number): void => {
      this.#readyTimeout = Math.max(this.#readyTimeout, (low & 0xffff) * 500);
      this.#go();
    };
    this.#property('CRTO', Property.CRTO, then, true);
  }

  writeCc(enable: boolean): void {
    const cc = ccWord(this.#controller.commandSets, enable);
    this.#send(
      'Property Set CC',
      (request) => commands.propertySet(request, Property.CC, cc),
      () => this.#go(),
    );
  }

  awaitReady(): void {
    const { state, limits } = this.#association;
    const ms = Math.min(this.#readyTimeout, limits.longestWait);
    state.after('CSTS.RDY', ms, () => {
      this.#fail(failure('ETIMEDOUT', `the controller was not ready (CSTS.RDY) within ${ms / 1000} s`));
    });
    this.#pollReady();
  }

  #pollReady(wait = 1): void {
    const { state, limits } = this.#association;
    this.#property('CSTS', Property.CSTS, (low) => {
      const csts = registerView(low);
      if (Csts.csts.cfs.get(csts, 0) === 1)
        this.#fail(failure('EIO', 'the controller reports a fatal status (CSTS.CFS)'));
      else if (Csts.csts.rdy.get(csts, 0) === 1) {
        state.cancel('CSTS.RDY');
        this.#go();
      } else
        state.after('polls CSTS.RDY', Math.min(wait, limits.pollInterval), () => this.#pollReady(2 * wait));
    });
  }

  readVersion(): void {
    this.#property('VS', Property.VS, (low) => {
      this.#controller.version = low;
      this.#go();
    });
  }

  // ---- what it is

  identify(): void {
    let bytes: Uint8Array = new Uint8Array(0);
    this.#send(
      'Identify Controller',
      (request) => {
        bytes = commands.identify(request, Cns.Controller, 0);
      },
      () => {
        const controller = this.#controller;
        const id = IdController.decode(viewOf(bytes));
        const problem =
          this.#problem(id.cntlid, id.cntrltype) ?? (controller.discovery ? undefined : ioProblem(id));
        if (problem !== undefined) {
          this.#fail(failure('EPROTO', `Identify Controller: ${problem}`));
          return;
        }
        controller.identified = id;
        controller.identifiedBytes = bytes;
        const { limits, minimumPage } = controller;
        const mdts = id.mdts === 0 ? Infinity : minimumPage * 2 ** id.mdts;
        controller.maxTransfer = Math.min(mdts, limits.maxTransfer);
        // Without CNS 06h Linux keeps Write Zeroes to MDTS, though MDTS is not about it: some controllers think so.
        controller.maxZeroes = controller.maxZeroesDeallocate = mdts;
        this.#ioCapsuleData = id.ioccsz * 16 - 64;
        if (id.maxcmd === 0 && !controller.discovery) controller.log('debug', 'MAXCMD is 0');
        this.#learn(id);
        const refusal = controller.registry.attach(controller);
        if (refusal !== undefined) this.#fail(refusal);
        else this.#go();
      },
    );
  }
  #ioCapsuleData = 0;

  /** What the association is to know, so that it can be told when the target is through with it (GHOST.2). */
  #learn(id: Value<typeof IdController>): void {
    const association = this.#association;
    const { kato } = this.#controller;
    // Granted in units of KAS, rounded up.
    const unit = Math.max(1, id.kas) * 100;
    association.kato = Math.ceil(kato / unit) * unit;
    association.tbkas = id.ctratt.tbkas === 1;
    if (id.cqt > 0) association.cqt = id.cqt;
    association.targetKeepsGhost1 = keepsGhost1(id.vs);
    association.keepAlive.start();
  }

  #problem(cntlid: number, type: number): string | undefined {
    const { cntlid: connected, discovery } = this.#controller;
    if (cntlid !== connected) return `CNTLID ${cntlid}, but Connect said ${connected}`;
    if (!discovery && type === ControllerType.Discovery) return 'it is a discovery controller';
    if (discovery && type === ControllerType.Io) return 'it is not a discovery controller';
    return undefined;
  }

  /** CNS 06h: the limits of Write Zeroes and Dataset Management. */
  readNvmLimits(): void {
    const controller = this.#controller;
    if (controller.version < VERSION_2_0 && !controller.commandSets) {
      this.#go();
      return;
    }
    let bytes: Uint8Array = new Uint8Array(0);
    this.#send(
      'Identify CNS 06h',
      (request) => {
        bytes = commands.identify(request, Cns.CsController, 0, Csi.Nvm);
      },
      () => {
        const id = NvmIdController.decode(viewOf(bytes));
        const size = (exponent: number): number =>
          exponent === 0 ? Infinity : controller.minimumPage * 2 ** exponent;
        controller.maxZeroes = size(id.wzsl);
        controller.maxZeroesDeallocate = id.wzdsl === 0 ? controller.maxZeroes : size(id.wzdsl);
        if (id.dmrl !== 0) controller.maxRanges = id.dmrl;
        if (id.dmrsl !== 0) controller.maxRangeBlocks = id.dmrsl;
        if (id.dmsl !== 0) controller.maxDeallocate = Number(id.dmsl);
        this.#go();
      },
      true,
    );
  }

  /** ACRE: without it a controller may not ask for a delay before a command is repeated (CRD). */
  enableRetryDelays(): void {
    if ((this.#controller.identified?.crdt1 ?? 0) === 0) {
      this.#go();
      return;
    }
    this.#send(
      'Set Features, Host Behavior Support',
      (request) => {
        commands.setFeatures(request, FeatureId.HostBehavior, 0);
        request.add('out', HostBehaviorData.bytes({ acre: 1 }));
      },
      () => this.#go(),
      true,
    );
  }

  /** As early as Linux does, so that paths are known as soon as it is live; applied no earlier (QUIESCE.11). */
  readAnaLog(): void {
    const controller = this.#controller;
    const { subsystem } = controller;
    const length = subsystem?.anaLogBytes(controller) ?? 0;
    if (length === 0) {
      this.#go();
      return;
    }
    let bytes: Uint8Array = new Uint8Array(0);
    this.#send(
      'Get Log Page, ANA',
      (request) => {
        bytes = commands.getLogPage(request, LogId.Ana, BROADCAST, 0, length, false);
        request.exact = false;
      },
      ({ received }) => {
        subsystem?.earlyAnaLog(controller, bytes.subarray(0, received));
        this.#go();
      },
      true,
    );
  }

  // ---- queues and events

  setQueueCount(): void {
    const { ioQueues } = this.#controller.options;
    const asked = viewOf(NumberOfQueues.bytes({ nsq: ioQueues, ncq: ioQueues })).getUint32(0, true);
    this.#send(
      'Set Features, Number of Queues',
      (request) => commands.setFeatures(request, FeatureId.NumberOfQueues, asked),
      ({ dw0 }) => {
        const { nsq, ncq } = NumberOfQueues.decode(registerView(dw0));
        this.#ioQueues = Math.min(ioQueues, nsq, ncq);
        this.#go();
      },
    );
  }

  configureEvents(): void {
    const controller = this.#controller;
    const { oaes, aerl } = controller.identified!;
    const events =
      (oaes.namespaceAttribute ? EVENTS.namespaceAttribute : 0) +
      (oaes.anaChange ? EVENTS.anaChange : 0) +
      (controller.discovery && oaes.discoveryLog ? EVENTS.discoveryLog : 0);
    const association = this.#association;
    const start = (): void => {
      association.events.start(Math.min(controller.limits.asyncEvents, aerl));
      controller.log('info', 'connected', {
        cntlid: controller.cntlid,
        version: versionText(controller.version),
        queues: association.io.length,
        entries: association.io[0]?.queue.entries,
      });
      this.#go();
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
        if (this.#over) return;
        if (status !== 0)
          controller.log('warn', 'events cannot be configured', { status: statusName(status) });
        start();
      },
    );
  }
}
