/**
 * The requests of one client: those that wait for their turn, and those that are under way until the socket has their
 * answers. Replies leave in whatever order the disk answers. A request is never timed out; how long a disk may take is
 * the disk's business.
 */
import { assert } from '../runtime/assert.ts';
import { Fifo } from '../runtime/fifo.ts';
import { lengthOf } from './byte-device.ts';
import { check, commandOf, isEmpty } from './commands.ts';
import type { Connection } from './connection.ts';
import { doneChunk, errorChunk, simpleReply } from './replies.ts';
import { Request } from './request.ts';

export class Requests {
  readonly #connection: Connection;
  /** Not under way yet, in the order in which they came. */
  readonly #waiting = new Fifo<Request>();
  /** Under way, and the bytes that they hold. */
  readonly #active = new Set<Request>();
  #held = 0;
  /** Bytes of data that came for requests that wait. */
  #backlog = 0;
  /** The request whose data is coming; undefined, its data is dropped. */
  #receiving: Request | undefined = undefined;
  readonly #spare: Request[] = [];

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Requests that are not over. */
  get inFlight(): number {
    return this.#active.size + this.#waiting.length;
  }
  /** So much waits for its turn that nothing more should be read. */
  get full(): boolean {
    const { waitingRequests, bytesInFlight } = this.#connection.server.limits;
    return this.#waiting.length > waitingRequests || this.#backlog > bytesInFlight;
  }

  /** A request that came. Gives the number of bytes of data that follow. */
  take(type: number, header: DataView): number {
    const request = this.#spare.pop() ?? new Request(this.#connection);
    request.begin(header);
    const command = commandOf(type);
    request.command = command;
    check(request, type);
    if (request.problem === undefined) request.held = command?.holds?.(request) ?? 0;
    this.#waiting.push(request);
    const data = command?.payload === true ? request.length : 0;
    request.missing = data;
    if (data > 0) this.#receiving = request;
    return data;
  }

  /** Data of the request that came last: `chunk[start, end)`. */
  takeData(chunk: Uint8Array, start: number, end: number): void {
    const request = this.#receiving;
    if (request === undefined) return;
    request.missing -= end - start;
    if (request.problem !== undefined) return;
    request.parts.push(chunk.subarray(start, end));
    if (request.phase === 'waiting') this.#backlog += end - start;
  }

  /** All of its data is here. */
  dataEnd(): void {
    const request = this.#receiving;
    this.#receiving = undefined;
    if (request?.phase === 'admitted') this.#run(request);
  }

  /** Begins what may be under way, in the order of coming. */
  admit(): void {
    const { requests, bytesInFlight, maxPayload } = this.#connection.server.limits;
    const most = Math.max(bytesInFlight, maxPayload);
    for (let first = this.#waiting.peek(); first !== undefined; first = this.#waiting.peek()) {
      if (this.#active.size >= requests || this.#held + first.held > most) return;
      this.#waiting.shift();
      this.#leftLine(first);
      this.#active.add(first);
      this.#held += first.held;
      first.phase = 'admitted';
      if (first.missing === 0) this.#run(first);
    }
  }

  #run(request: Request): void {
    request.phase = 'running';
    if (request.problem !== undefined || request.command === undefined || isEmpty(request))
      this.answer(request);
    else request.command.run(request);
  }

  /** What is to be said of the request is known, and said unless it was already. */
  answer(request: Request): void {
    assert(request.phase === 'running', 'a request is answered once');
    request.phase = 'sending';
    const { sender, structured } = this.#connection;
    const { problem } = request;
    // Only a read must have chunks, but only a chunk has a message.
    if (!request.answered) {
      if (problem === undefined && structured && request.command?.name === 'READ') doneChunk(sender, request);
      else if (problem === undefined || !structured) simpleReply(sender, request, problem?.errno ?? 0);
      else errorChunk(sender, request, problem.errno, problem.message);
    }
    if (problem !== undefined && this.#connection.server.env.trace.debug)
      this.#connection.log('debug', 'nbd request failed', {
        command: request.command?.name,
        offset: request.offset,
        length: request.length,
        why: problem.message,
      });
    sender.notify(request);
  }

  /** The socket has the whole answer, or never will. */
  sent(request: Request): void {
    this.#over(request);
    this.#connection.settle();
  }

  /** Nothing more comes. The data that is missing will not; what came before it and waits for its turn is answered. */
  cut(): void {
    const cut = this.#receiving;
    this.#receiving = undefined;
    if (cut?.phase === 'admitted') this.#over(cut);
    else if (cut !== undefined && this.#waiting.remove(cut)) {
      this.#leftLine(cut);
      this.#recycle(cut);
    }
  }

  /** Nobody hears the answers any more: what waits is dropped, what the disk has is given up. */
  giveUp(): void {
    this.#receiving = undefined;
    for (let request = this.#waiting.shift(); request; request = this.#waiting.shift()) {
      this.#leftLine(request);
      this.#recycle(request);
    }
    for (const request of [...this.#active]) {
      // One whose data has not come will not run.
      if (request.phase === 'admitted') this.#over(request);
      else request.cancel();
    }
  }

  #over(request: Request): void {
    assert(this.#active.delete(request), 'a request is over once');
    this.#held -= request.held;
    this.#recycle(request);
  }

  #recycle(request: Request): void {
    request.phase = 'idle';
    request.parts.length = request.cancels.length = 0;
    if (this.#spare.length < this.#connection.server.limits.requests) this.#spare.push(request);
  }

  #leftLine({ parts }: Request): void {
    this.#backlog -= lengthOf(parts);
  }

  /** For tests, after an event. */
  invariants(): void {
    let held = 0;
    for (const request of this.#active) {
      held += request.held;
      assert(
        request.phase !== 'idle' && request.phase !== 'waiting',
        `a request under way is ${request.phase}`,
      );
    }
    assert(held === this.#held, `${this.#held} bytes are counted, ${held} are held`);
    const { requests, bytesInFlight, maxPayload } = this.#connection.server.limits;
    assert(this.#active.size <= requests, 'too many requests are under way');
    assert(this.#held <= Math.max(bytesInFlight, maxPayload), 'too much data is under way');
    let backlog = 0;
    for (const request of this.#waiting) {
      assert(request.phase === 'waiting', `a request that waits is ${request.phase}`);
      backlog += lengthOf(request.parts);
    }
    assert(backlog === this.#backlog, `${this.#backlog} bytes are counted, ${backlog} wait`);
  }
}
