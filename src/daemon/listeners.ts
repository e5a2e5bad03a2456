/**
 * The addresses that the daemon listens on. One that a flag names must work now; one that the state names may be late
 * (a network that is not up yet) and is tried again.
 */
import type { Address, Env, Timer } from '../runtime/ports.ts';
import type { Target } from '../target/target.ts';
import { formatAddress } from '../config/address.ts';
import { answer } from '../api/answer.ts';
import { NvmeError } from '../api/error.ts';
import { listenOn } from '../api/target-parts.ts';

const RETRY = 5000;

/** Rejects when the address cannot be bound; nothing stays bound. */
export async function probe({ net }: Pick<Env, 'net'>, address: Address): Promise<void> {
  const listener = await answer<{ close(done: () => void): void }>((done) =>
    net.listen(address, (transport) => transport.reset(), done),
  );
  await new Promise<void>((resolve) => listener.close(resolve));
}

export class Listeners {
  readonly #env: Env;
  readonly #target: Target;
  #missing: Address[] = [];
  #retry: Timer | undefined = undefined;
  #stopped = false;

  constructor(env: Env, target: Target) {
    this.#env = env;
    this.#target = target;
  }

  /** Rejects when one of `must` cannot be bound, or when nothing listens and nothing is worth waiting for. */
  async start(must: readonly Address[], may: readonly Address[]): Promise<void> {
    for (const address of must) await listenOn(this.#target, address);
    const failures = [];
    for (const address of may) {
      const failure = await this.#try(address);
      if (failure === undefined) continue;
      failures.push(failure);
      this.#missing.push(address);
    }
    const [first] = failures;
    const hope = failures.some(({ code }) => code === 'EADDRNOTAVAIL');
    if (first && this.#target.ports.length === 0 && !hope) throw first;
    for (const { message } of failures)
      this.#env.trace.event('error', `${message}; it is tried again every ${RETRY / 1000} s`, {});
    this.#wait();
  }

  stop(): void {
    this.#stopped = true;
    this.#retry?.cancel();
  }

  #wait(): void {
    if (this.#missing.length === 0 || this.#stopped) return;
    this.#retry = this.#env.clock.timer('tries addresses again', RETRY, () => void this.#again());
  }

  async #again(): Promise<void> {
    const still: Address[] = [];
    for (const address of this.#missing) {
      if (this.#stopped) return;
      if ((await this.#try(address)) !== undefined) still.push(address);
      else this.#env.trace.event('info', `listens on ${formatAddress(address)} now`, {});
    }
    this.#missing = still;
    this.#wait();
  }

  async #try(address: Address): Promise<NvmeError | undefined> {
    try {
      await listenOn(this.#target, address);
      return undefined;
    } catch (error) {
      if (error instanceof NvmeError) return error;
      throw error;
    }
  }
}
