/**
 * Commands that are not to be finished: their connection is lost, or somebody aborts, cancels or preempts them. What
 * storage has begun is never taken from it.
 */
import { Status } from '../nvme/status.ts';
import type { Volume } from '../storage/volume.ts';
import type { Command } from './command.ts';
import type { Namespace } from './namespace.ts';
import type { Queue } from './queue.ts';

export class Stopping {
  readonly #queue: Queue;

  constructor(queue: Queue) {
    this.#queue = queue;
  }

  /**
   * The connection is lost (GHOST.1): what has not been handed to storage is dropped here; the rest finishes, keeps its
   * blocks until then, and is not answered.
   */
  drop(): void {
    const queue = this.#queue;
    queue.clearLines();
    for (const command of queue.commands()) {
      if (command.phase === 'free' || command.phase === 'sending') continue;
      if (command.phase !== 'executing' || command.parked) queue.abandon(command);
    }
    for (const command of this.#cancelAll(queue.commands())) {
      const { pair } = command;
      queue.abandon(command);
      // The operation of the first is the second's too, once the write has begun.
      if (pair !== undefined) queue.abandon(pair.second);
    }
  }

  /**
   * Takes from storage what it has not begun of these commands, and gives those that it gave up. All at once: one that
   * goes must not start another that is about to.
   */
  #cancelAll(commands: readonly Command[]): Command[] {
    const withStorage = new Map<Volume, Command[]>();
    for (const command of commands) {
      const { volume, phase, parked } = command;
      if (phase !== 'executing' || parked || volume === undefined) continue;
      const together = withStorage.get(volume);
      if (together === undefined) withStorage.set(volume, [command]);
      else together.push(command);
    }
    const gone: Command[] = [];
    for (const [volume, together] of withStorage) {
      const dropped = new Set(volume.cancelAll(together.map(({ op }) => op)));
      gone.push(...together.filter(({ op }) => dropped.has(op)));
    }
    return gone;
  }

  /**
   * Ends the command with `cid` by Command Abort Requested, if nothing irrevocable is under way; true: it did. One
   * whose data is on its way ends so when that is here.
   */
  abort(cid: number): boolean {
    const command = this.#queue
      .commands()
      .find((each) => each.cid === cid && each.phase !== 'free' && each.phase !== 'sending');
    if (command === undefined) return false;
    const { qid, controller } = this.#queue;
    if (qid === 0 && controller?.asyncEvents.abort(cid, Status.AbortRequested) === true) return true;
    return this.stop(command, Status.AbortRequested);
  }

  /** Aborts the commands that `isMeant` names: how many ended now, and how many do when their data has come. */
  cancel(isMeant: (command: Command) => boolean): { now: number; later: number } {
    let now = 0;
    let later = 0;
    for (const command of [...this.#queue.commands()]) {
      if (command.phase === 'free' || command.phase === 'sending' || !isMeant(command)) continue;
      if (this.stop(command, Status.AbortRequested)) now++;
      else if (command.problem !== 0) later++;
    }
    return { now, later };
  }

  /**
   * Preempt and Abort: commands on the namespace end with its status now, or when data is here that is on its way.
   * `wait` is called for each that storage does not give up, and what it gives when that one is over: nothing waits for
   * a host.
   */
  preempt(namespace: Namespace, wait: () => () => void): void {
    const status = Status.AbortedPreempt;
    // Reservation commands have no volume: they have a line of their own.
    const meant = this.#queue
      .commands()
      .filter(
        ({ phase, namespace: its, volume }) =>
          phase !== 'free' && phase !== 'sending' && its === namespace && volume !== undefined,
      );
    for (const command of meant) command.problem ||= status;
    for (const command of this.#cancelAll(meant))
      if (command.phase === 'executing') this.#queue.complete(command, status);
    for (const command of meant)
      if (command.phase !== 'free' && command.phase !== 'sending' && !this.stop(command, status))
        if (command.phase === 'executing') command.whenOver = wait();
  }

  /** Ends a command with `status` now, or when its data is here; true: now. False too when it is too late. */
  stop(command: Command, status: number): boolean {
    if (command.phase === 'granting') this.#queue.grants.remove(command);
    else if (command.phase === 'receiving') {
      // What is on its way could not be told from the data of the next command in this slot.
      if (!this.#queue.pairing.has(command)) {
        command.problem = status;
        return false;
      }
    } else if (!this.#unpark(command) && !this.#cancel(command)) return false;
    this.#queue.complete(command, status);
    return true;
  }

  /** Nothing of it is under way: it waits for the socket, or for the other command of its pair. */
  #unpark(command: Command): boolean {
    return (
      command.parked &&
      (this.#queue.withdraw(command) || this.#inPair(command) || command.handler?.forget?.(command) === true)
    );
  }

  #inPair({ pair }: Command): boolean {
    if (pair === undefined) return false;
    const { first } = pair;
    return first.phase !== 'executing' || first.parked || this.#cancel(first);
  }

  #cancel(command: Command): boolean {
    const { phase, volume, op } = command;
    return phase === 'executing' && volume?.cancel(op) === true;
  }
}
