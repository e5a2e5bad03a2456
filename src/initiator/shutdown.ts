/**
 * The orderly end of a controller (NVMe Base 2.1, section 3.6): CC.SHN says normal, CSTS.SHST says when it is
 * complete. Bounded: a controller that does not answer is left all the same.
 */
import { Csts, Property, Shn, Shst } from '../nvme/property.ts';
import { statusName } from '../nvme/status.ts';
import { propertyGet, propertySet } from './commands.ts';
import type { Association } from './association.ts';
import { ccWord, registerView } from './registers.ts';

const COMPLETE = 'complete';

export class Shutdown {
  readonly #association: Association;
  readonly #done: (complete: boolean) => void;
  #over = false;
  /** Until the next look at CSTS, ms. */
  #wait = 1;

  /** `done` is called once: complete, refused, or out of time. */
  constructor(association: Association, done: (complete: boolean) => void) {
    this.#association = association;
    this.#done = done;
  }

  start(): void {
    const { controller, limits, state } = this.#association;
    const asked = controller.shutdownMicroseconds / 1000;
    const ms = Math.min(
      asked === 0 ? limits.shutdownTimeout : Math.max(asked, limits.shutdownTimeout),
      limits.longestWait,
    );
    state.after('shutdown', ms, () => this.#end('warn', `not complete after ${ms} ms`));
    this.#association.command(
      (request) => propertySet(request, Property.CC, ccWord(controller.commandSets, true, Shn.normal)),
      ({ status }) => {
        if (status === 0) this.#poll();
        else this.#end('warn', statusName(status));
      },
    );
  }

  #poll(): void {
    const { state, limits } = this.#association;
    if (this.#over) return;
    this.#association.command(
      (request) => propertyGet(request, Property.CSTS),
      ({ status, dw0 }) => {
        if (this.#over) return;
        if (status !== 0) this.#end('warn', statusName(status));
        else if (Csts.csts.shst.get(registerView(dw0), 0) === Shst.complete) this.#end('debug', COMPLETE);
        else {
          state.after('polls CSTS.SHST', Math.min(this.#wait, limits.pollInterval), () => this.#poll());
          this.#wait *= 2;
        }
      },
    );
  }

  #end(level: 'debug' | 'warn', how: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#association.state.cancel('shutdown');
    this.#association.controller.log(level, 'shutdown', { how });
    this.#done(how === COMPLETE);
  }
}
