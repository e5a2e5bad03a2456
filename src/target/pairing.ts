/**
 * The place where the first command of a fused pair waits for the second, which is the next one on its queue: nothing may
 * come between the two (NVMe Base 2.1, section 3.4.2).
 */
import { ReadWrite, SqeHead } from '../nvme/sqe.ts';
import { Status } from '../nvme/status.ts';
import { Command } from './command.ts';
import { Fuse, FusedPair, fusedHandler, matches } from './fused.ts';
import type { Queue } from './queue.ts';

export class Pairing {
  readonly #queue: Queue;
  /** The last capsule was the first of a pair: it waits, or has failed. */
  #first: Command | 'failed' | undefined = undefined;

  constructor(queue: Queue) {
    this.#queue = queue;
  }

  /** The next command has to do with a pair, whatever it is. */
  get isOpen(): boolean {
    return this.#first !== undefined;
  }

  /** Whether `command` waits for its second. */
  has(command: Command): boolean {
    return this.#first === command;
  }

  /** `command` is over; if it was a first, its second fails. */
  over(command: Command): void {
    if (this.#first === command) this.#first = 'failed';
  }

  clear(): void {
    this.#first = undefined;
  }

  /** A command that is half of a pair, or comes where one is awaited. */
  dispatch(command: Command, fuse: number): void {
    const first = this.#first;
    this.#first = undefined;
    if (fuse !== Fuse.second) {
      if (first instanceof Command) this.#queue.complete(first, Status.AbortedMissingFused);
      if (fuse === Fuse.none) this.#queue.dispatch(command);
      else this.#dispatchFirst(command, fuse);
    } else if (first === undefined) this.#queue.complete(command, Status.AbortedMissingFused);
    else if (first === 'failed') this.#queue.complete(command, Status.AbortedFailedFused);
    else this.#dispatchSecond(first, command);
  }

  #dispatchFirst(command: Command, fuse: number): void {
    const status = this.#checkFused(command, fuse);
    if (status === 0) this.#first = command;
    else {
      this.#first = 'failed';
      this.#queue.complete(command, status);
    }
  }

  #dispatchSecond(first: Command, second: Command): void {
    let status = this.#checkFused(second, Fuse.second);
    let firstStatus: number = Status.AbortedFailedFused;
    if (status === 0 && !matches(first, second)) firstStatus = status = second.invalid(ReadWrite.slba.offset);
    if (status !== 0) {
      this.#queue.complete(first, firstStatus);
      this.#queue.complete(second, status);
      return;
    }
    const pair = new FusedPair(first, second);
    this.#queue.begin(first);
    // The first may have taken the budget for both.
    if (second.pair === pair && second.reserved === 0) this.#queue.begin(second);
  }

  #checkFused(command: Command, fuse: number): number {
    const handler = this.#queue.handlerOf(command);
    const fused = fusedHandler(handler, fuse);
    const status = this.#queue.check(command, fused ?? handler);
    return status === 0 && fused === undefined ? command.invalid(SqeHead.flags.offset) : status;
  }
}
