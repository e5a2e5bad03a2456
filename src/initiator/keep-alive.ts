/**
 * The keep-alive timer of a controller (NVMe Base 2.1, section 3.9). A Keep Alive goes out every KATO/2; with
 * Traffic Based Keep Alive (CTRATT.TBKAS) the timer looks every KATO/4, and any command that went out and was answered
 * since the last look makes it unnecessary. A controller that does not answer for KATO has given us up: so do we.
 */
import { keepAlive } from './commands.ts';
import type { Association } from './association.ts';
import { refused } from './failure.ts';

export class KeepAlive {
  readonly #association: Association;
  #outstanding = false;

  constructor(association: Association) {
    this.#association = association;
  }

  /** To be called when CTRATT is known; the timer goes with the association. */
  start(): void {
    const { state, controller, tbkas } = this.#association;
    const { kato } = controller.options;
    if (kato === 0) return;
    state.after('keep alive', kato / (tbkas ? 4 : 2), () => {
      this.#look();
      this.start();
    });
  }

  #look(): void {
    const association = this.#association;
    const traffic = association.traffic();
    if (this.#outstanding || (association.tbkas && traffic)) return;
    this.#outstanding = true;
    association.command(
      (request) => {
        keepAlive(request);
        request.timeout = association.controller.options.kato;
      },
      ({ status }) => {
        this.#outstanding = false;
        if (status === 0 || !association.open || association.admin?.ready !== true) return;
        association.connectionLost(refused('Keep Alive', status));
      },
    );
  }
}
