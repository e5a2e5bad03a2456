/**
 * The pace of a host: how fast it reads what it is sent, and sends what it was granted. One that does not read is not
 * read from, and nobody makes us wait for ever.
 */
import type { Clock, Transport } from '../runtime/ports.ts';
import type { Receiver } from '../pdu/receiver.ts';
import type { Sender } from '../pdu/sender.ts';
import type { CloseWhy } from './close-why.ts';
import type { Limits } from './limits.ts';
import type { Queue } from './queue.ts';

/** A host that owes us data is read from until this many backlogs, and one command, wait for it to read. */
const HARD_BACKLOG = 8;

/** A connection, as far as its pace goes. */
export interface PaceUser {
  readonly queue: Queue;
  readonly receiver: Receiver;
  readonly sender: Sender;
  readonly transport: Transport;
  close(why: CloseWhy): void;
}

export class Pace {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #limits: Limits;
  readonly #user: PaceUser;
  /** When the host had last taken all that it was sent. */
  #takenAt: number;
  /** Since when the PDU under way is, and how many were complete then. */
  #pduSince: number | undefined = undefined;
  #pdusThen = 0;
  #paused = false;

  constructor(clock: Pick<Clock, 'now'>, limits: Limits, user: PaceUser) {
    this.#clock = clock;
    this.#limits = limits;
    this.#user = user;
    this.#takenAt = clock.now();
  }

  /** The socket has taken everything. */
  drained(): void {
    this.#takenAt = this.#clock.now();
  }

  /** A chunk was received. In a stream of PDUs the one under way is another one each time. */
  received(): void {
    const { completed, midPdu } = this.#user.receiver;
    if (!midPdu) this.#pduSince = undefined;
    else if (this.#pduSince === undefined || completed !== this.#pdusThen) this.#pduSince = this.#clock.now();
    this.#pdusThen = completed;
  }

  /** A host that sends but does not read is not read from, unless it owes data: then waiting would be a deadlock. */
  settle(): void {
    const { sender, queue, transport } = this.#user;
    const { sendBacklog, maxTransfer } = this.#limits;
    const full = sender.pending > sendBacklog;
    const pause = full && queue.grants.granted === 0;
    if (full && !pause && sender.pending > HARD_BACKLOG * sendBacklog + maxTransfer)
      this.#user.close('the host does not read');
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) transport.pause();
    else transport.resume();
  }

  /** The connection ends: a paused transport would not tell that the host closes. */
  end(): void {
    if (this.#paused) this.#user.transport.resume();
  }

  /** Called now and then: why the host is not waited for any longer. */
  overdue(now: number): CloseWhy | undefined {
    const { sender, queue } = this.#user;
    const late = now - this.#limits.stallTimeout;
    if (sender.backlog > 0 && this.#takenAt < late) return 'the host does not read';
    if ((queue.grants.owedSince(queue.commands()) ?? Infinity) < late)
      return 'the host does not send what it was granted';
    if ((this.#pduSince ?? Infinity) < late && !this.#paused) return 'a PDU is not completed';
    if (sender.backlog === 0) this.#takenAt = now;
    return undefined;
  }
}
