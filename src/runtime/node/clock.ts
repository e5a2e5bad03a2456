import type { Clock, Timer } from '../ports.ts';

class NodeTimer implements Timer {
  readonly name: string;
  readonly due: number;
  readonly #handle: NodeJS.Timeout;

  constructor(name: string, due: number, ms: number, fire: () => void, holds: boolean) {
    this.name = name;
    this.due = due;
    this.#handle = setTimeout(fire, ms);
    if (!holds) this.#handle.unref();
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }
}

export class NodeClock implements Clock {
  #deferred: (() => void)[] = [];
  #scheduled = false;

  now(): number {
    return performance.now();
  }

  wall(): number {
    return Date.now();
  }

  timer(name: string, ms: number, fire: () => void, holds = true): Timer {
    return new NodeTimer(name, this.now() + ms, ms, fire, holds);
  }

  /** One setImmediate serves everything that an event-loop turn defers; what that defers runs a turn later. */
  defer(fn: () => void): void {
    this.#deferred.push(fn);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#run());
  }

  #run(): void {
    const batch = this.#deferred;
    this.#deferred = [];
    this.#scheduled = false;
    let done = 0;
    try {
      for (const fn of batch) {
        done++;
        fn();
      }
    } finally {
      // One that throws does not take the others with it, should somebody catch what it threw.
      for (const fn of batch.slice(done)) this.defer(fn);
    }
  }
}
