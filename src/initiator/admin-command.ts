/** An admin command and what to do with its answer: for commands that come one at a time. */
import { Status } from '../nvme/status.ts';
import type { Clock } from '../runtime/ports.ts';
import type { Queue } from './queue.ts';
import { Request, type RequestOwner } from './request.ts';

export class AdminCommand implements RequestOwner {
  readonly request = new Request(this);
  readonly #done: (request: Request) => void;

  constructor(done: (request: Request) => void) {
    this.#done = done;
  }

  requestDone(request: Request): void {
    this.#done(request);
  }
}

/**
 * `build` makes the command, `done` gets it back, never inside this call; where no queue takes it, with 370h. Without
 * a time-out of its own it is an Asynchronous Event Request, which waits for ever.
 */
export function sendAdmin(
  queue: Queue | undefined,
  clock: Clock,
  build: (request: Request) => void,
  done: (request: Request) => void,
): void {
  const { request } = new AdminCommand(done);
  build(request);
  if (queue?.submit(request) === true) return;
  request.status = Status.HostPathError;
  clock.defer(() => done(request));
}
