/** The registers of an attempt: what CAP and VS say, CC.EN, and the wait for CSTS.RDY (NVMe Base 2.1, section 3.5.4). */
import { Cap, Csts, Property } from '../nvme/property.ts';
import * as commands from './commands.ts';
import { failure } from './failure.ts';
import { ccWord, registerView } from './registers.ts';
import type { Setup } from './setup.ts';

export class Enabling {
  readonly #setup: Setup;
  /** How long CSTS.RDY may take, ms. */
  #readyTimeout = 0;
  /** CAP says that CRTO is there. */
  #hasCrto = false;

  constructor(setup: Setup) {
    this.#setup = setup;
  }

  readCap(): void {
    this.#setup.property('CAP', Property.CAP, (low, high) => {
      const cap = registerView(low, high);
      this.#setup.controller.capabilities.learnCap(cap);
      // 500 ms units; 0 is taken for one.
      this.#readyTimeout = Math.max(1, Cap.low.to.get(cap, 0)) * 500;
      this.#hasCrto = Cap.high.crwms.get(cap, 0) === 1;
      this.#setup.go();
    });
  }

  /** CRTO.CRWMT: what CAP.TO cannot say. */
  readCrto(): void {
    if (!this.#hasCrto) {
      this.#setup.go();
      return;
    }
    const then = (low: number): void => {
      this.#readyTimeout = Math.max(this.#readyTimeout, (low & 0xffff) * 500);
      this.#setup.go();
    };
    this.#setup.property('CRTO', Property.CRTO, then, true);
  }

  writeCc(enable: boolean): void {
    const cc = ccWord(this.#setup.controller.capabilities, enable);
    this.#setup.send(
      'Property Set CC',
      (request) => commands.propertySet(request, Property.CC, cc),
      () => this.#setup.go(),
    );
  }

  awaitReady(): void {
    const { state, limits } = this.#setup.association;
    const ms = Math.min(this.#readyTimeout, limits.longestWait);
    state.after('CSTS.RDY', ms, () => {
      this.#setup.fail(failure('ETIMEDOUT', `the controller was not ready (CSTS.RDY) within ${ms / 1000} s`));
    });
    this.#pollReady();
  }

  #pollReady(wait = 1): void {
    const { state, limits } = this.#setup.association;
    this.#setup.property('CSTS', Property.CSTS, (low) => {
      const csts = registerView(low);
      if (Csts.csts.cfs.get(csts, 0) === 1)
        this.#setup.fail(failure('EIO', 'the controller reports a fatal status (CSTS.CFS)'));
      else if (Csts.csts.rdy.get(csts, 0) === 1) {
        state.cancel('CSTS.RDY');
        this.#setup.go();
      } else
        state.after('polls CSTS.RDY', Math.min(wait, limits.pollInterval), () => this.#pollReady(2 * wait));
    });
  }

  readVersion(): void {
    this.#setup.property('VS', Property.VS, (low) => {
      this.#setup.controller.capabilities.version = low;
      this.#setup.go();
    });
  }
}
