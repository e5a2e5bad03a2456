/**
 * The orderly end of an association (NVMe Base 2.1, section 3.6): its I/O queues end first, then CC.SHN says normal and
 * CSTS.SHST when that is complete, then the admin queue ends. Bounded: a controller that does not answer is left all
 * the same.
 */
import { Csts, Property, Shn, Shst } from '../nvme/property.ts';
import { statusName } from '../nvme/status.ts';
import { propertyGet, propertySet } from './commands.ts';
import type { Association } from './association.ts';
import type { CloseWhy } from './close-why.ts';
import { ccWord, registerView } from './registers.ts';

const COMPLETE = 'complete';

export class Shutdown {
  readonly #association: Association;
  readonly #why: CloseWhy;
  #told = false;
  #over = false;
  /** Until the next look at CSTS, ms. */
  #wait = 1;

  constructor(association: Association, why: CloseWhy) {
    this.#association = association;
    this.#why = why;
  }

  start(): void {
    for (const connection of this.#association.io) connection.close(this.#why);
    this.settle();
  }

  /** Goes on when the last I/O queue has ended, and the admin queue. Idempotent. */
  settle(): void {
    if (this.#over) this.#association.settle();
    if (this.#told || this.#association.io.some(({ state }) => !state.is('ended'))) return;
    this.#told = true;
    this.#tell();
  }

  #tell(): void {
    const { controller, limits, state } = this.#association;
    const { capabilities } = controller;
    const asked = (capabilities.identified?.rtd3e ?? 0) / 1000;
    const ms = Math.min(Math.max(asked, limits.shutdownTimeout), limits.longestWait);
    state.after('shutdown', ms, () => this.#end('warn', `not complete after ${ms} ms`));
    this.#association.command(
      (request) => propertySet(request, Property.CC, ccWord(capabilities, true, Shn.normal)),
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
    this.#association.shutDown = how === COMPLETE;
    this.#association.admin?.close(this.#why);
    this.settle();
  }
}
