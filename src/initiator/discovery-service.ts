/**
 * A discovery service that is followed: it stays connected, and its log is read whenever it is live anew or says that
 * the log changed. One that cannot be reached says nothing: what its last log named stays.
 */
import type { Timer } from '../runtime/ports.ts';
import type { Controller } from './controller.ts';
import type { ControllerOptions } from './controller-options.ts';
import { destinations, type Destination } from './destination.ts';
import { DiscoveryReader } from './discovery.ts';
import type { Registry } from './registry.ts';

export class DiscoveryService {
  /** Its place: who refers to it, and who describes it, knows it by that. */
  readonly key: string;
  readonly options: ControllerOptions;
  readonly #registry: Registry;
  readonly #changed: () => void;
  controller: Controller | undefined = undefined;
  /** As it was read last. */
  log: readonly Destination[] = [];
  genctr = 0;
  /** The log is to be read; it is being read. */
  #stale = true;
  #reading = false;
  /** Until it is tried again. */
  #retry: Timer | undefined = undefined;

  /** `changed` is called when `settle` has something to do, or the log is another. */
  constructor(registry: Registry, key: string, options: ControllerOptions, changed: () => void) {
    this.#registry = registry;
    this.key = key;
    this.options = options;
    this.#changed = changed;
  }

  /** Its controller is in another state, or gone. */
  controllerChanged(): void {
    if (this.controller?.state.is('live') === true) this.#stale = true;
    this.#changed();
  }

  /** Idempotent. */
  settle(): void {
    if (this.controller?.state.is('dead') === true) {
      this.controller = undefined;
      this.#reading = false;
    }
    if (this.controller === undefined) {
      if (this.#retry === undefined) this.#connect();
    } else if (this.#stale && !this.#reading && this.controller.state.is('live')) this.#read(this.controller);
  }

  #connect(): void {
    const { env, limits } = this.#registry;
    this.#retry = env.clock.timer(`discovery ${this.key}: tries again`, limits.followRetry, () => {
      this.#retry = undefined;
      this.#changed();
    });
    this.controller = this.#registry.connect(this.options, () => this.#changed());
    if (this.controller !== undefined) this.controller.onDiscoveryChange = () => this.#readAgain();
  }

  #readAgain(): void {
    this.#stale = true;
    this.#changed();
  }

  #read(controller: Controller): void {
    const { journal, limits } = this.#registry;
    this.#stale = false;
    this.#reading = true;
    new DiscoveryReader(controller, (reason, log) => {
      if (this.controller !== controller) return;
      this.#reading = false;
      if (log === undefined) {
        controller.log('warn', 'the discovery log cannot be read', { why: reason?.message });
        // A controller that is lost will be live again, and read; one that goes on is asked later.
        controller.state.after('reads the discovery log again', limits.rescanDelay, () => this.#readAgain());
        return;
      }
      const { found, unusable } = destinations(log);
      this.log = found;
      this.genctr = log.genctr;
      const what = `${found.length} destinations, ${unusable} that cannot be used, GENCTR ${log.genctr}`;
      journal.record('discovery', controller.name, controller.id, what);
      this.#changed();
    }).start();
  }

  /** It is not followed any more. */
  leave(done: () => void): void {
    const { controller } = this;
    this.#retry?.cancel();
    this.controller = undefined;
    if (controller === undefined) done();
    else controller.disconnect('disconnected', done);
  }
}
