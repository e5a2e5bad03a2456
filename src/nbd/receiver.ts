/**
 * Bytes → what a client says. Headers are copied into a scratch of their own, so that they never straddle chunks;
 * options are gathered; the data of a write is never copied: the handler gets slices of the chunks.
 *
 *     client flags (4) → option (16 + data) … → request (28 + data, if the handler says so) …
 */
import { viewOf } from '../layout/struct.ts';
import { NbdFault } from './fault.ts';
import { ClientFlags, Magic, OptionHeader, RequestHeader } from './protocol.ts';

export interface MessageHandler {
  onClientFlags(flags: number): void;
  /** `data` is the handler's to keep. */
  onOption(option: number, data: Uint8Array): void;
  /** The header is only good within this call. Gives the number of bytes of data that follow. */
  onRequest(header: DataView): number;
  /** Data of the request announced last: `chunk[start, end)`. The slice may be kept. */
  onData(chunk: Uint8Array, start: number, end: number): void;
  /** The request is complete. Not called for one without data. */
  onDataEnd(): void;
}

type Phase = 'flags' | 'options' | 'requests';

const HEADER: Readonly<Record<Phase, number>> = {
  flags: ClientFlags.size,
  options: OptionHeader.size,
  requests: RequestHeader.size,
};

export class Receiver {
  readonly #handler: MessageHandler;
  readonly #optionBytes: number;
  /** What comes next. The handler moves on to `requests` when an export is chosen. */
  phase: Phase = 'flags';
  /** Set by a handler that wants nothing more: the rest is dropped. */
  stopped = false;
  /** Set by a handler that wants nothing more for now. */
  held = false;
  readonly #scratch = new Uint8Array(RequestHeader.size);
  readonly #header = viewOf(this.#scratch);
  #have = 0;
  /** An option's data so far; undefined: a header is expected. */
  #option: Uint8Array | undefined = undefined;
  #gathered = 0;
  /** Data of a request that is still to come. */
  #data = 0;

  constructor(handler: MessageHandler, optionBytes: number) {
    this.#handler = handler;
    this.#optionBytes = optionBytes;
  }

  /** Whether something is only partly here. */
  get midMessage(): boolean {
    return this.#have > 0 || this.#option !== undefined || this.#data > 0;
  }

  /**
   * Takes what arrived, split anywhere. Gives how much of it was taken: less than all only when it is `held`, or stopped.
   * Throws NbdFault; nothing may be pushed after that.
   */
  push(chunk: Uint8Array): number {
    const { length } = chunk;
    let at = 0;
    while (at < length && !this.stopped && !this.held) {
      if (this.#data > 0) at = this.#takeData(chunk, at);
      else if (this.#option !== undefined) at = this.#takeOption(chunk, at, this.#option);
      else at = this.#takeHeader(chunk, at);
    }
    return at;
  }

  #takeData(chunk: Uint8Array, at: number): number {
    const end = Math.min(chunk.length, at + this.#data);
    this.#data -= end - at;
    this.#handler.onData(chunk, at, end);
    if (this.#data === 0) this.#handler.onDataEnd();
    return end;
  }

  #takeOption(chunk: Uint8Array, at: number, data: Uint8Array): number {
    const end = Math.min(chunk.length, at + data.length - this.#gathered);
    data.set(chunk.subarray(at, end), this.#gathered);
    this.#gathered += end - at;
    if (this.#gathered === data.length) this.#optionComplete(data);
    return end;
  }

  #optionComplete(data: Uint8Array): void {
    this.#option = undefined;
    this.#handler.onOption(OptionHeader.option.get(this.#header, 0), data);
  }

  #takeHeader(chunk: Uint8Array, at: number): number {
    const want = HEADER[this.phase];
    const end = Math.min(chunk.length, at + want - this.#have);
    for (let i = at; i < end; i++) this.#scratch[this.#have++] = chunk[i]!;
    if (this.#have === want) {
      this.#have = 0;
      this.#headerComplete();
    }
    return end;
  }

  #headerComplete(): void {
    const header = this.#header;
    switch (this.phase) {
      case 'flags':
        this.phase = 'options';
        this.#handler.onClientFlags(ClientFlags.flags.get(header, 0));
        return;
      case 'options': {
        if (OptionHeader.magic.decode(header, 0) !== Magic.option)
          throw new NbdFault('an option does not begin with IHAVEOPT');
        const length = OptionHeader.length.get(header, 0);
        if (length > this.#optionBytes)
          throw new NbdFault(
            `an option with ${length} bytes of data, at most ${this.#optionBytes} are taken`,
          );
        this.#option = new Uint8Array(length);
        this.#gathered = 0;
        if (length === 0) this.#optionComplete(this.#option);
        return;
      }
      case 'requests':
        if (RequestHeader.magic.get(header, 0) !== Magic.request)
          throw new NbdFault('a request does not begin with its magic number');
        this.#data = this.#handler.onRequest(header);
    }
  }
}
