/**
 * How the daemon ends. A first SIGINT or SIGTERM: in order, nothing acknowledged is lost. A second one, or hosts that
 * take too long: their connections are reset. A fault of our own: the last events are written down.
 */
import type { NodeEnv } from '../runtime/node/env.ts';
import type { Timer } from '../runtime/ports.ts';
import type { Target } from '../target/target.ts';
import type { TargetControl } from '../api/target-control.ts';
import { endByFault } from './fault.ts';

/** For hosts to close their connections once they have every answer. */
const PATIENCE = 15_000;
/** For storage to finish what it has, once nobody waits for the answer. */
const LAST_WAIT = 5000;
const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

export class Shutdown {
  /** Resolves when it is over; false: something was still under way. */
  readonly finished: Promise<boolean>;
  readonly #env: NodeEnv;
  readonly #target: Target;
  readonly #control: TargetControl;
  #finish: (clean: boolean) => void = () => undefined;
  #begun = false;
  #forced = false;
  #timer: Timer | undefined = undefined;
  #unwatch: () => void = () => undefined;

  constructor(env: NodeEnv, target: Target, control: TargetControl) {
    this.#env = env;
    this.#target = target;
    this.#control = control;
    this.finished = new Promise((resolve) => (this.#finish = resolve));
  }

  /** Signals, and exceptions that nobody caught, from here on. Ends with the process, or with `atOnce`. */
  watch(): void {
    const fault = (error: unknown): never => endByFault('targetd', this.#env, error);
    const signal = (name: string): void => this.stop(name);
    for (const name of SIGNALS) process.on(name, signal);
    process.on('uncaughtException', fault);
    process.on('unhandledRejection', fault);
    this.#unwatch = () => {
      for (const name of SIGNALS) process.off(name, signal);
      process.off('uncaughtException', fault);
      process.off('unhandledRejection', fault);
    };
  }

  /** The first call stops in order, the second one does not wait any more. */
  stop(why: string): void {
    if (this.#begun) {
      this.#force(`a second ${why}`);
      return;
    }
    const connections = this.#target.ports.list.reduce((sum, port) => sum + port.connections.size, 0);
    const more = `, connections to finish: ${connections}; a second ${why} does not wait for them`;
    this.#log('info', `${why}: stops${connections > 0 ? more : ''}`);
    this.#begin(why);
  }

  /** Ends what could not start. */
  async atOnce(): Promise<void> {
    if (!this.#begun) this.#begin('it could not start');
    this.#force('it could not start');
    await this.finished;
    this.#unwatch();
  }

  #begin(why: string): void {
    this.#begun = true;
    this.#wait(PATIENCE, () => this.#force(`${why} was ${PATIENCE / 1000} s ago`));
    // What a change has begun is brought to its end first: it may be about to open a file or a listener.
    void this.#control.stop().then(() => this.#target.stop(() => this.#end(true)));
  }

  #force(why: string): void {
    if (this.#forced) return;
    this.#forced = true;
    if (this.#target.ports.list.some((port) => port.connections.size > 0))
      this.#log('warn', `resets the connections that are left: ${why}`);
    this.#wait(LAST_WAIT, () => {
      this.#log('error', 'storage does not finish what it has; not waiting any longer');
      this.#end(false);
    });
    this.#target.force();
  }

  #end(clean: boolean): void {
    this.#timer?.cancel();
    // The handlers stay: a signal that comes now does not change how the process, which is about to exit, ends.
    this.#finish(clean);
  }

  #wait(ms: number, then: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#env.clock.timer('waits for the end', ms, then);
  }

  #log(level: 'info' | 'warn' | 'error', text: string): void {
    this.#env.trace.event(level, text, {});
  }
}
