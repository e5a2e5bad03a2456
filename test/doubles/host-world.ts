/** An initiator and a fake controller in a world of their own. */
import type { Controller } from '../../src/initiator/controller.ts';
import type { ControllerOptions } from '../../src/initiator/controller-options.ts';
import type { Failure } from '../../src/initiator/failure.ts';
import type { Head } from '../../src/initiator/head.ts';
import { Io, type IoKind } from '../../src/initiator/io.ts';
import type { Limits } from '../../src/initiator/limits.ts';
import { Registry } from '../../src/initiator/registry.ts';
import { memoryEnv, type MemoryEnv } from '../../src/runtime/memory/env.ts';
import type { MemoryNetOptions } from '../../src/runtime/memory/net.ts';
import { FakeController, SUBNQN } from './fake-controller.ts';

export const HOSTNQN = 'nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555';
export const HOSTID = '11111111-2222-3333-4444-555555555555';

export const OPTIONS: ControllerOptions = {
  address: { host: '127.0.0.1', port: 4420 },
  localHost: undefined,
  subnqn: SUBNQN,
  hostnqn: HOSTNQN,
  hostid: HOSTID,
  ioQueues: 1,
  queueEntries: 128,
  kato: 0,
  headerDigest: false,
  dataDigest: false,
  disableSqFlow: false,
  // A controller that is lost goes, unless a test is about what comes then.
  recovery: { ctrlLossTmo: 0 },
};

/** What became of an attempt to connect. */
export interface Attempt {
  readonly controller: Controller;
  done: boolean;
  reason: Failure | undefined;
}

/** What became of an I/O. */
export interface Outcome {
  readonly io: Io;
  /** Undefined: it is not over. */
  status: number | undefined;
  calls: number;
}

export class HostWorld {
  readonly env: MemoryEnv;
  readonly fake: FakeController;
  readonly registry: Registry;

  constructor(limits: Partial<Limits> = {}, net: MemoryNetOptions = {}) {
    this.env = memoryEnv(1, net);
    this.fake = new FakeController(this.env);
    this.registry = new Registry(this.env, limits);
  }

  settle(): void {
    this.env.clock.settle();
    this.registry.invariants();
  }

  advance(ms: number): void {
    this.env.clock.advance(ms);
    this.registry.invariants();
  }

  connect(options: Partial<ControllerOptions> = {}): Attempt {
    const attempt: { controller: Controller | undefined; done: boolean; reason: Failure | undefined } = {
      controller: undefined,
      done: false,
      reason: undefined,
    };
    attempt.controller = this.registry.connect({ ...OPTIONS, ...options }, (reason) => {
      if (attempt.done) throw new Error('connect answered twice');
      attempt.done = true;
      attempt.reason = reason;
    });
    this.settle();
    return attempt as Attempt;
  }

  /** A controller that is live; the head of its first namespace. */
  up(options: Partial<ControllerOptions> = {}): { controller: Controller; head: Head } {
    const attempt = this.connect(options);
    if (!attempt.done || attempt.reason !== undefined)
      throw new Error(`not connected: ${attempt.reason?.message ?? 'no answer'}`);
    return { controller: attempt.controller, head: attempt.controller.subsystem!.heads[0]! };
  }

  submit(head: Head, kind: IoKind, what: ConstructorParameters<typeof Io>[2] = {}): Outcome {
    const outcome: { io: Io | undefined; status: number | undefined; calls: number } = {
      io: undefined,
      status: undefined,
      calls: 0,
    };
    outcome.io = new Io(
      {
        ioDone: (io) => {
          outcome.status = io.status;
          outcome.calls++;
        },
      },
      kind,
      what,
    );
    head.submit(outcome.io);
    return outcome as Outcome;
  }

  read(head: Head, slba: number, blocks: number, buffer = new Uint8Array(blocks * head.blockSize)): Outcome {
    return this.submit(head, 'read', { slba, blocks, buffers: [buffer] });
  }

  write(head: Head, slba: number, data: Uint8Array, fua = false): Outcome {
    return this.submit(head, 'write', { slba, blocks: data.length / head.blockSize, buffers: [data], fua });
  }

  /** What is left of everything: nothing. Gives the problems as text. */
  leftovers(): string[] {
    this.settle();
    return [
      ...this.env.clock.timers.map((timer) => `timer ${timer.name}`),
      ...[...this.registry.controllers].map((each) => `controller ${each.name} ${each.state.now}`),
      ...[...this.registry.subsystems].map((each) => `subsystem ${each.name}`),
      ...this.registry.taken.map((number) => `number ${number}`),
      ...this.registry.ports.remotes.map((each) => `remote port ${each.name}`),
      ...(this.registry.identities.size > 0 ? ['identity'] : []),
      ...this.fake.connections.filter((each) => !each.gone).map((each) => `connection of queue ${each.qid}`),
    ];
  }
}
