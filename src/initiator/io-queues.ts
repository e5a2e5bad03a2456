/**
 * The I/O queues of an association, and which of them takes the next command. All take everything, unless write queues
 * were asked for and granted: then nr_io_queues are for reads alone, and the write queues take everything else.
 */
import type { Connection } from './connection.ts';
import type { Queue } from './queue.ts';

/** How many queues take everything but reads, and how many reads alone; `reads` 0: one kind takes everything. */
export interface Division {
  readonly writes: number;
  readonly reads: number;
}

/**
 * What is made of the queues that a controller grants, as Linux does: reads get all that were asked for them first, the
 * write queues what is left; where nothing is left, one kind takes everything.
 */
export function divide(ioQueues: number, writeQueues: number, granted: number): Division {
  if (writeQueues === 0 || granted <= ioQueues) return { writes: Math.min(ioQueues, granted), reads: 0 };
  return { writes: Math.min(writeQueues, granted - ioQueues), reads: ioQueues };
}

/** Queues that take the same commands. */
class Kind {
  readonly connections: Connection[] = [];
  #turn = 0;

  /** The one with the least to do, taking turns among equals. */
  next(): Queue | undefined {
    const { connections } = this;
    const { length } = connections;
    if (length === 0) return undefined;
    const first = this.#turn++ % length;
    let best = connections[first]!.queue;
    for (let i = 1; i < length && best.load > 0; i++) {
      const { queue } = connections[(first + i) % length]!;
      if (queue.load < best.load) best = queue;
    }
    return best;
  }
}

export class IoQueues {
  /** In the order of their QIDs: the write queues come first. */
  readonly connections: Connection[] = [];
  readonly #writes = new Kind();
  #reads = this.#writes;
  #division: Division = { writes: Infinity, reads: 0 };

  /** Before the first is added. */
  set division(division: Division) {
    this.#division = division;
    if (division.reads > 0) this.#reads = new Kind();
  }
  get division(): Division {
    return this.#division;
  }

  add(connection: Connection): void {
    const kind = this.connections.length < this.#division.writes ? this.#writes : this.#reads;
    this.connections.push(connection);
    kind.connections.push(connection);
  }

  /** The queue for the next command; undefined: there is none. */
  next(reads: boolean): Queue | undefined {
    return (reads ? this.#reads : this.#writes).next();
  }
}
