/** The connections of an attempt: each becomes a queue by its Connect (NVMe Base 2.1, section 6.3). */
import { viewOf } from '../layout/struct.ts';
import { CNTLID_DYNAMIC, ConnectResponse } from '../nvme/fabrics.ts';
import { FeatureId, NumberOfQueues } from '../nvme/features.ts';
import { AdminCommand } from './admin-command.ts';
import { connectRefused } from './checks.ts';
import * as commands from './commands.ts';
import type { Connection } from './connection.ts';
import { failure } from './failure.ts';
import { divide, type Division } from './io-queues.ts';
import { registerView } from './registers.ts';
import type { Setup } from './setup.ts';

/** AUTHREQ: authentication, or secure channel and authentication, are required. */
const AUTHENTICATION = 0x6;
/** A queue of one entry could hold nothing. */
const LEAST_ENTRIES = 2;

export class QueueSetup {
  readonly #setup: Setup;
  /** IOCCSZ: bytes of data in a capsule of an I/O queue. */
  capsuleData = 0;
  #division: Division = { writes: 0, reads: 0 };

  constructor(setup: Setup) {
    this.#setup = setup;
  }

  setCount(): void {
    const { ioQueues, writeQueues = 0 } = this.#setup.controller.options;
    const count = ioQueues + writeQueues;
    const asked = viewOf(NumberOfQueues.bytes({ nsq: count, ncq: count })).getUint32(0, true);
    this.#setup.send(
      'Set Features, Number of Queues',
      (request) => commands.setFeatures(request, FeatureId.NumberOfQueues, asked),
      ({ dw0 }) => {
        const { nsq, ncq } = NumberOfQueues.decode(registerView(dw0));
        this.#division = divide(ioQueues, writeQueues, Math.min(count, nsq, ncq));
        this.#setup.go();
      },
    );
  }

  openAdmin(): void {
    const association = this.#setup.association;
    const connection = association.newConnection(0, association.limits.adminEntries);
    association.onReady = () => {
      this.#connect(connection, () => this.#setup.go());
    };
    connection.open();
  }

  openIo(): void {
    const controller = this.#setup.controller;
    const association = this.#setup.association;
    const { options, capabilities } = controller;
    const { maxEntries, identified } = capabilities;
    const maxcmd = identified?.maxcmd ?? 0;
    const entries = Math.max(
      LEAST_ENTRIES,
      Math.min(options.queueEntries, maxEntries, maxcmd === 0 ? Infinity : maxcmd),
    );
    if (entries < options.queueEntries)
      controller.log('info', 'smaller queues than asked for', { asked: options.queueEntries, entries });
    association.queues.division = this.#division;
    let left = this.#division.writes + this.#division.reads;
    association.onReady = (connection) => {
      this.#connect(connection, () => {
        if (--left === 0) this.#setup.go();
      });
    };
    const connections: Connection[] = [];
    for (let qid = 1; qid <= left; qid++) connections.push(association.newConnection(qid, entries));
    for (const connection of connections) connection.open();
  }

  /** The transport is there: Connect, which makes a queue of it. */
  #connect(connection: Connection, then: () => void): void {
    const controller = this.#setup.controller;
    const { options, limits } = controller;
    const { queue } = connection;
    const { qid, entries } = queue;
    const { request } = new AdminCommand((answer) => {
      if (this.#setup.over) return;
      if (answer.status !== 0) {
        this.#setup.fail(connectRefused(qid, answer));
        return;
      }
      const response = registerView(answer.dw0);
      const cntlid = ConnectResponse.cntlid.get(response, 0);
      if ((ConnectResponse.authreq.get(response, 0) & AUTHENTICATION) !== 0)
        this.#setup.fail(
          failure('EACCES', `${options.subnqn} requires authentication, which is not supported`),
        );
      else if (qid !== 0 && cntlid !== controller.cntlid)
        this.#setup.fail(
          failure(
            'EPROTO',
            `Connect of queue ${qid} answered controller ${cntlid}, not ${controller.cntlid}`,
          ),
        );
      else {
        controller.cntlid = cntlid;
        if (qid !== 0) queue.maxCapsuleData = this.capsuleData;
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
}
