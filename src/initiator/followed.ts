/** A subsystem's controller that discovery logs ask for: connected while they do, kept or disconnected when not. */
import type { Timer } from '../runtime/ports.ts';
import type { Controller } from './controller.ts';
import type { ControllerOptions } from './controller-options.ts';
import type { Registry } from './registry.ts';

export class Followed {
  readonly key: string;
  readonly options: ControllerOptions;
  readonly #registry: Registry;
  readonly #changed: () => void;
  /** Made by us, or found; undefined: there is none. */
  controller: Controller | undefined;
  /** We made it, and may end it. */
  #ours: boolean;
  /** Somebody disconnected it: it is left alone until it has been away from the logs. */
  #leftAlone = false;
  /** No log names it any more. */
  #missing = false;
  /** Until it is tried again, or disconnected. */
  #timer: Timer | undefined = undefined;

  /** `changed` is called when `settle` has something to do. */
  constructor(registry: Registry, key: string, options: ControllerOptions, changed: () => void) {
    this.#registry = registry;
    this.key = key;
    this.options = options;
    this.#changed = changed;
    this.controller = registry.find(options);
    this.#ours = this.controller === undefined;
  }

  /** Why it is as it is, for people. */
  get why(): string {
    const waits = this.#timer !== undefined;
    if (this.#missing) return `no log names it, it ${waits ? 'will be disconnected' : 'is kept'}`;
    if (this.#leftAlone) return 'somebody disconnected it';
    if (this.controller !== undefined) return 'a log names it';
    return waits ? 'it cannot be connected, and is tried again' : 'it is not wanted';
  }

  /**
   * Does what is due. `wanted`: a log names it; else it is disconnected after so many milliseconds, Infinity: kept.
   * True: nothing is left of it. Idempotent.
   */
  settle(wanted: boolean, disconnectAfter: number): boolean {
    const { controller } = this;
    if (controller?.state.is('dead') === true) {
      this.controller = undefined;
      this.#leftAlone ||= controller.reason?.code === 'ECANCELED' && !this.#missing;
    }
    if (wanted && this.#missing) {
      this.#missing = this.#leftAlone = false;
      this.stop();
    } else if (!wanted && !this.#missing) this.#miss(disconnectAfter);
    if (wanted) {
      if (this.controller === undefined && !this.#leftAlone && this.#timer === undefined) this.#connect();
      return false;
    }
    if (this.controller !== undefined) return false;
    this.stop();
    return true;
  }

  #miss(disconnectAfter: number): void {
    this.#missing = true;
    this.stop();
    if (disconnectAfter === Infinity || !this.#ours || this.controller === undefined) return;
    this.#after('disconnects what no log names', disconnectAfter, () => {
      this.controller?.disconnect('disconnected', () => undefined);
    });
  }

  #connect(): void {
    this.#after('tries again', this.#registry.limits.followRetry, () => this.#changed());
    const known = this.#registry.find(this.options);
    this.#ours = known === undefined;
    this.controller = known ?? this.#registry.connect(this.options, () => this.#changed());
  }

  #after(what: string, ms: number, then: () => void): void {
    this.#timer = this.#registry.env.clock.timer(`discovery ${this.key}: ${what}`, ms, () => {
      this.#timer = undefined;
      then();
    });
  }

  /** Nothing is due any more. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
