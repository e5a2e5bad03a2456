/**
 * Memory that is promised before it is used: in-capsule space when a queue is made, data when an R2T is granted.
 * Whoever finds too little left waits in line, and is asked to try again when something was given back.
 */
export interface Waiter {
  /** Something was given back: take it now, or line up again. */
  budgetFreed(): void;
}

export class Budget {
  /** Bytes. */
  readonly limit: number;
  used = 0;
  readonly #line = new Set<Waiter>();

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Takes `bytes` if they are left. */
  take(bytes: number): boolean {
    if (this.used + bytes > this.limit) return false;
    this.used += bytes;
    return true;
  }

  /** `waiter` is called once, after others in line, when something is given back. Waiting twice is waiting once. */
  wait(waiter: Waiter): void {
    this.#line.add(waiter);
  }

  forget(waiter: Waiter): void {
    this.#line.delete(waiter);
  }

  release(bytes: number): void {
    this.used -= bytes;
    // One round over those in line now; who lines up again during it comes after them.
    for (const waiter of [...this.#line]) {
      if (this.used >= this.limit) return;
      if (this.#line.delete(waiter)) waiter.budgetFreed();
    }
  }

  get waiting(): number {
    return this.#line.size;
  }
}
