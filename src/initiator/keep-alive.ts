/**
 * The keep-alive timer of a controller (NVMe Base 2.1, section 3.9). A Keep Alive goes out every KATO/2; with
 * Traffic Based Keep Alive (CTRATT.TBKAS) the timer looks every KATO/4, and an answer to any command since the last
 * look makes it unnecessary. A controller that does not answer for KATO has given us up: so do we.
 */
import { Status } from '../nvme/status.ts';
import { keepAlive } from './commands.ts';
import type { Controller } from './controller.ts';
import { refused } from './failure.ts';

export class KeepAlive {
  readonly #controller: Controller;
  #seen = 0;
  #outstanding = false;

  constructor(controller: Controller) {
    this.#controller = controller;
  }

  /** To be called in every state in which the controller is to be kept: the timer goes with the state. */
  start(): void {
    const { state, kato, trafficBased } = this.#controller;
    if (kato === 0) return;
    state.after('keep alive', kato / (trafficBased ? 4 : 2), () => {
      this.#look();
      this.start();
    });
  }

  #look(): void {
    const controller = this.#controller;
    const seen = controller.completed;
    const traffic = seen !== this.#seen;
    this.#seen = seen;
    if (this.#outstanding || (controller.trafficBased && traffic)) return;
    this.#outstanding = true;
    controller.admin(
      (request) => {
        keepAlive(request);
        request.timeout = controller.kato;
      },
      (request) => {
        this.#outstanding = false;
        const { status } = request;
        if (status === 0 || status === Status.HostPathError || status === Status.AbortedByHost) return;
        controller.fail('a command was refused', refused('Keep Alive', status));
      },
    );
  }
}
