/**
 * One event that asks for much at once: what a chunk of a connection causes. Whoever can do several things better
 * together waits for its end, which comes before the event is over.
 */
export interface TurnUser {
  /** The turn is over. */
  turnEnds(): void;
}

export class Turn {
  #open = false;
  /** Turns so far. */
  count = 0;
  readonly #users: TurnUser[] = [];

  get open(): boolean {
    return this.#open;
  }

  begin(): void {
    this.#open = true;
    this.count++;
  }

  /** `user.turnEnds()` follows; once for each time that it was asked for. */
  wait(user: TurnUser): void {
    this.#users.push(user);
  }

  end(): void {
    this.#open = false;
    for (let user = this.#users.pop(); user !== undefined; user = this.#users.pop()) user.turnEnds();
  }
}
