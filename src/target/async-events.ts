/**
 * Asynchronous events of one controller (NVMe Base 2.1, section 5.1.2): requests that wait for events, and events that
 * wait for requests. An event stays masked from its report until the host has read the log that goes with it, unless it
 * has none. What waits is bounded: each event waits once.
 */
import { eventDword, type AsyncEvent } from '../nvme/event.ts';
import type { Command } from './command.ts';

export class AsyncEvents {
  readonly #limit: number;
  readonly #requests: Command[] = [];
  readonly #pending: AsyncEvent[] = [];
  readonly #masked = new Set<AsyncEvent>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get requests(): number {
    return this.#requests.length;
  }

  /** Keeps an Asynchronous Event Request until something happens; false: there are too many. */
  request(command: Command): boolean {
    if (this.#requests.length >= this.#limit) return false;
    command.parked = true;
    this.#requests.push(command);
    this.#report();
    return true;
  }

  /** Something happened. Told at once, or when a request comes, and not again before the log was read. */
  raise(event: AsyncEvent): void {
    if (this.#masked.has(event) || this.#pending.includes(event)) return;
    this.#pending.push(event);
    this.#report();
  }

  /** The log was read without RAE. */
  logRead(lid: number): void {
    for (const event of this.#masked) if (event.lid === lid) this.#masked.delete(event);
  }

  #report(): void {
    while (this.#pending.length > 0 && this.#requests.length > 0) {
      const event = this.#pending.shift()!;
      const command = this.#requests.shift()!;
      if (event.lid !== 0) this.#masked.add(event);
      command.dw0 = eventDword(event);
      command.complete(0);
    }
  }

  /** Ends the request with `cid`, if there is one; `status` is what the host gets. */
  abort(cid: number, status: number): boolean {
    const at = this.#requests.findIndex((command) => command.cid === cid);
    if (at < 0) return false;
    this.#requests.splice(at, 1)[0]!.complete(status);
    return true;
  }

  /** The controller is reset or shut down: every request ends with `status`. */
  abortAll(status: number): void {
    for (const command of this.#requests.splice(0)) command.complete(status);
    this.clear();
  }

  /** The queue is gone, and the requests with it. */
  clear(): void {
    this.#requests.length = 0;
    this.#pending.length = 0;
    this.#masked.clear();
  }
}
