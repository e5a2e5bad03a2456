import { networkInterfaces } from 'node:os';
import type { Clock, InterfaceAddress, Interfaces, Timer } from '../ports.ts';

/** Between two looks, ms. The system would tell of changes by netlink only, which Node does not speak. */
const INTERVAL = 1000;

/** The interfaces of this machine, looked at while somebody wants to hear of changes. */
export class NodeInterfaces implements Interfaces {
  readonly #clock: Clock;
  readonly #watchers = new Set<() => void>();
  #timer: Timer | undefined = undefined;
  #last = '';

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  list(): readonly InterfaceAddress[] | undefined {
    try {
      return Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
        (addresses ?? []).map(({ address }) => ({ name, address })),
      );
    } catch {
      // Not in every sandbox.
      return undefined;
    }
  }

  watch(changed: () => void): () => void {
    const watcher = (): void => changed();
    this.#watchers.add(watcher);
    if (this.#timer === undefined) {
      this.#last = JSON.stringify(this.list());
      this.#wait();
    }
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size > 0) return;
      this.#timer?.cancel();
      this.#timer = undefined;
    };
  }

  #wait(): void {
    this.#timer = this.#clock.timer('looks at the network interfaces', INTERVAL, () => {
      const now = JSON.stringify(this.list());
      const changed = now !== this.#last;
      this.#last = now;
      this.#wait();
      if (changed) for (const watcher of [...this.#watchers]) watcher();
    });
  }
}
