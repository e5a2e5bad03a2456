/** An admin command and what to do with its answer: for commands that come one at a time. */
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
