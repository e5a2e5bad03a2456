/** One controller's way to a namespace. */
import { AnaState } from '../nvme/ana-log.ts';
import type { Timer } from '../runtime/ports.ts';
import type { Controller } from './controller.ts';
import type { ControllerPaths } from './controller-paths.ts';
import type { Head } from './head.ts';
import type { IoQueues } from './io-queues.ts';
import type { NamespaceInfo } from './namespace.ts';
import type { Request } from './request.ts';
import { classify, type Candidate, type Classified, type PathClass, type PathFacts } from './select.ts';

/**
 * What became of handing over a request (QUIESCE.1): `accepted`; `busy`: taken too, and in line for a slot; `not
 * ready` and `gone`: not taken.
 */
export type Handover = 'accepted' | 'busy' | 'not ready' | 'gone';

export class Path implements Candidate {
  readonly head: Head;
  readonly controller: Controller;
  /** What all paths of its controller have in common. */
  readonly side: ControllerPaths;
  /** Never used again (NUM.11). */
  readonly id: number;
  /** As this controller told it last. */
  info: NamespaceInfo;
  /** It told it in this association. */
  seen = false;
  /** Set when the path is taken away; a request that asks again gets nothing. */
  gone = false;
  /** An ANA status came: what is known of its group is old until the log is read. */
  anaStale = false;
  /** As of the last look. */
  classified: Classified = { is: 'waiting', why: 'it is new' };
  #rest: Timer | undefined = undefined;

  constructor(head: Head, side: ControllerPaths, id: number, info: NamespaceInfo) {
    this.head = head;
    this.side = side;
    this.controller = side.controller;
    this.id = id;
    this.info = info;
  }

  /** `nvme<subsystem>c<controller>n<head>` (NUM.10). */
  get name(): string {
    const { subsystem, instance } = this.head;
    return `nvme${subsystem.instance}c${this.controller.instance}n${instance}`;
  }

  /** Commands can go this way now. */
  get usable(): boolean {
    return this.is === 'optimized' || this.is === 'non-optimized';
  }
  get is(): PathClass {
    return this.gone ? 'gone' : this.classified.is;
  }
  /** Commands that are with its controller. */
  get inFlight(): number {
    return this.side.inFlight;
  }
  get preferred(): boolean {
    return this.side.preferred;
  }
  /** CRDT1 to CRDT3, in 100 ms. */
  get retryDelays(): readonly number[] {
    return this.side.retryDelays;
  }
  /** How commands name the namespace on this way. */
  get namespace(): { readonly nsid: number; readonly blockSize: number } {
    return this.info;
  }
  get ana(): AnaState | undefined {
    return this.anaStale ? undefined : this.side.anaState(this.info);
  }
  get queues(): IoQueues | undefined {
    return this.controller.association?.queues;
  }
  /** Until it may be tried again. */
  get resting(): Timer | undefined {
    return this.#rest;
  }

  get facts(): PathFacts {
    const { controller, side } = this;
    return {
      controller: controller.state.is('live')
        ? 'live'
        : !controller.mayReturn
          ? 'ending'
          : controller.failedFast
            ? 'failed fast'
            : 'returning',
      lookedAt: side.lookedAt && this.seen,
      ana: this.ana,
      sameSize: this.info.blocks === this.head.info.blocks,
      resting: this.#rest !== undefined,
    };
  }

  /** Classifies it anew. */
  look(): void {
    const before = this.classified.is;
    this.classified = classify(this.facts);
    const { is, why } = this.classified;
    if (is !== before)
      this.head.subsystem.registry.journal.record('path changed', this.name, this.id, `${is}: ${why}`);
  }

  /** Hands the request to a queue, in one step (QUIESCE.1). */
  submit(request: Request): Handover {
    if (this.gone) return 'gone';
    const queue = this.usable ? this.queues?.next(request.direction === 'in') : undefined;
    if (queue?.submit(request) !== true) return 'not ready';
    request.path = this;
    request.association = this.controller.association;
    this.side.inFlight++;
    return request.place === 'waiting' ? 'busy' : 'accepted';
  }

  /** A request that it took is over. */
  requestDone(): void {
    this.side.inFlight--;
  }

  /** A command was answered with a status of the path: another one is better for a while. */
  refused(ana: boolean): void {
    if (this.gone) return;
    if (ana && this.side.ana !== undefined) {
      // A late answer is no news where the log has told already that this way is closed.
      this.anaStale ||= this.ana === AnaState.Optimized || this.ana === AnaState.NonOptimized;
      this.side.ana.read();
    }
    this.rest();
  }

  rest(): void {
    if (this.gone || this.#rest !== undefined) return;
    const { env, limits } = this.head;
    this.#rest = env.clock.timer(`${this.name}: is tried again`, limits.pathRest, () => {
      this.#rest = undefined;
      this.head.update();
    });
    this.head.update();
  }

  /** It is taken away. */
  end(): void {
    this.gone = true;
    this.#rest?.cancel();
    this.#rest = undefined;
  }
}
