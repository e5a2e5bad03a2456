import type { InterfaceAddress, Interfaces } from '../ports.ts';

/** Interfaces that are what a test says; until then nobody can tell, and everything is there. */
export class MemoryInterfaces implements Interfaces {
  readonly #watchers = new Set<() => void>();
  #addresses: readonly InterfaceAddress[] | undefined = undefined;

  /** Who wants to hear of changes. */
  get watchers(): number {
    return this.#watchers.size;
  }

  list(): readonly InterfaceAddress[] | undefined {
    return this.#addresses;
  }

  /** They are these from now on. */
  set(addresses: readonly InterfaceAddress[] | undefined): void {
    this.#addresses = addresses;
    for (const watcher of [...this.#watchers]) watcher();
  }

  watch(changed: () => void): () => void {
    const watcher = (): void => changed();
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }
}
