/** H2CTermReq and C2HTermReq: what tells a peer why its connection ends (TCP Transport 1.1, section 3.6.2.4, 3.6.2.5). */
import type { ProtocolFault } from './fault.ts';
import { H2CTermReq, PduType } from './pdus.ts';
import type { Receiver } from './receiver.ts';
import type { Sender } from './sender.ts';

/** With the offending header, as far as it came; a sequence error may have none. Both types have one layout. */
export function sendTermReq(
  type: typeof PduType.H2CTermReq | typeof PduType.C2HTermReq,
  { fes, fei }: ProtocolFault,
  receiver: Receiver,
  sender: Sender,
): void {
  const quoted = new Uint8Array(receiver.header.buffer, 0, receiver.headerBytes).slice();
  const at = sender.begin(type, 0, quoted.length);
  H2CTermReq.fes.set(sender.view, at, fes);
  H2CTermReq.fei.set(sender.view, at, fei);
  sender.end([quoted]);
  sender.flush();
}
