/**
 * The orderly end of a controller (NVMe Base 2.1, section 3.6): CC.SHN says normal, CSTS.SHST says when it is
 * complete. Bounded: a controller that does not answer is left all the same.
 */
import { Csts, Property, Shn, Shst } from '../nvme/property.ts';
import { statusName } from '../nvme/status.ts';
import { propertyGet, propertySet } from './commands.ts';
import type { Controller } from './controller.ts';
import { ccWord, registerView } from './registers.ts';

export class Shutdown {
  readonly #controller: Controller;
  readonly #done: () => void;
  #over = false;

  /** `done` is called once: complete, refused, or out of time. */
  constructor(controller: Controller, done: () => void) {
    this.#controller = controller;
    this.#done = done;
  }

  start(): void {
    const controller = this.#controller;
    const { limits, state } = controller;
    const asked = controller.shutdownMicroseconds / 1000;
    const ms = Math.min(
      asked === 0 ? limits.shutdownTimeout : Math.max(asked, limits.shutdownTimeout),
      limits.longestWait,
    );
    state.after('shutdown', ms, () => this.#end('warn', `not complete after ${ms} ms`));
    controller.admin(
      (request) => propertySet(request, Property.CC, ccWord(controller.commandSets, true, Shn.normal)),
      ({ status }) => {
        if (status === 0) this.#poll();
        else this.#end('warn', statusName(status));
      },
    );
  }

  #poll(): void {
    const controller = this.#controller;
    if (this.#over) return;
    controller.admin(
      (request) => propertyGet(request, Property.CSTS),
      ({ status, dw0 }) => {
        if (this.#over) return;
        if (status !== 0) this.#end('warn', statusName(status));
        else if (Csts.csts.shst.get(registerView(dw0), 0) === Shst.complete) this.#end('debug', 'complete');
        else controller.state.after('polls CSTS.SHST', controller.limits.pollInterval, () => this.#poll());
      },
    );
  }

  #end(level: 'debug' | 'warn', how: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#controller.state.cancel('shutdown');
    this.#controller.log(level, 'shutdown', { how });
    this.#done();
  }
}
