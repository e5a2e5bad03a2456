/** A receiver and a sender with nothing around them. */
import { ProtocolFault, Receiver, Sender, crc32c, type Sent } from '../../src/pdu/index.ts';
import type { Role } from '../../src/pdu/pdus.ts';
import type { Clock, Timer, Transport } from '../../src/runtime/ports.ts';

export interface Received {
  type: number;
  header: Uint8Array;
  data: Uint8Array;
  digestOk: boolean;
}

export interface Options {
  headerDigest?: boolean;
  dataDigest?: boolean;
  /** HPDA or CPDA. */
  pda?: number;
}

export function configure(end: Receiver | Sender, options: Options): void {
  end.headerDigest = options.headerDigest ?? false;
  end.dataDigest = options.dataDigest ?? false;
  end.alignment = ((options.pda ?? 0) + 1) * 4;
}

/** A receiver that keeps what it got. Digests and alignment hold from the first PDU after ICReq or ICResp. */
export function listen(peer: Role, options: Options = {}) {
  const pdus: Received[] = [];
  let announced = 0;
  let parts: Uint8Array[] = [];
  const receiver = new Receiver(
    peer,
    {
      onHeader(_type, _header, dataLength) {
        announced = dataLength;
        parts = [];
      },
      onData(chunk, start, end) {
        parts.push(chunk.subarray(start, end));
      },
      onPdu(type, header, digestOk) {
        const data = Buffer.concat(parts);
        if (data.length !== announced)
          throw new Error(`${announced} bytes announced, ${data.length} delivered`);
        pdus.push({
          type,
          header: new Uint8Array(header.buffer.slice(0, header.getUint8(2))),
          data,
          digestOk,
        });
        if (type <= 1) configure(receiver, options);
      },
    },
    crc32c,
  );
  return { receiver, pdus };
}

/** What a push throws when it is a fault; anything else goes on. */
export function faultOf(push: () => void): ProtocolFault | undefined {
  try {
    push();
    return undefined;
  } catch (error) {
    if (error instanceof ProtocolFault) return error;
    throw error;
  }
}

/** Collects what is written; `takeAll` says that the kernel has it. With `eager` it has it at once. */
export class SlowTransport implements Transport {
  readonly local = { host: 'local', port: 1 };
  readonly remote = { host: 'remote', port: 2 };
  readonly readsPayload = false;
  readonly writes: Buffer[] = [];
  readonly untaken: (() => void)[] = [];
  eager = false;
  write(parts: readonly Uint8Array[], done: () => void): void {
    if (this.eager) done();
    else this.untaken.push(done);
    this.writes.push(Buffer.concat(parts));
  }
  takeAll(): void {
    for (const done of this.untaken.splice(0)) done();
  }
  get all(): Buffer {
    return Buffer.concat(this.writes);
  }
  start(): void {
    /* nothing arrives here */
  }
  pause(): void {
    /* nothing to stop */
  }
  resume(): void {
    /* nothing to go on with */
  }
  end(): void {
    /* not looked at */
  }
  close(): void {
    /* not looked at */
  }
  reset(): void {
    /* not looked at */
  }
}

export class TurnClock implements Clock {
  readonly deferred: (() => void)[] = [];
  now(): number {
    return 0;
  }
  wall(): number {
    return 0;
  }
  timer(): Timer {
    throw new Error('a codec has no timers');
  }
  defer(fn: () => void): void {
    this.deferred.push(fn);
  }
  /** The end of the event-loop turn. */
  turn(): void {
    for (const fn of this.deferred.splice(0)) fn();
  }
}

export function speaker(options: Options = {}) {
  const clock = new TurnClock();
  const transport = new SlowTransport();
  const sender = new Sender(clock, transport, crc32c);
  configure(sender, options);
  return { clock, transport, sender };
}

export class Waiter implements Sent {
  calls = 0;
  sent(): void {
    this.calls++;
  }
}

export const pattern = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 17 + (i >>> 8)) & 0xff);
