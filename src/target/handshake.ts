/** The first PDUs of a connection: what the host asks for, and what it gets (TCP Transport 1.1, section 3.6.2.2, 3.6.2.3). */
import { Fes, ProtocolFault, invalidField } from '../pdu/fault.ts';
import { ICReq, ICResp, PduType } from '../pdu/pdus.ts';
import type { Receiver } from '../pdu/receiver.ts';
import type { Sender } from '../pdu/sender.ts';

/** HPDA is in dwords, 0’s based: data begins at most 128 bytes into a PDU. */
const MOST_HPDA = 31;

/** Answers an ICReq; what follows has the digests and the alignment that it asks for. Throws a ProtocolFault. */
export function shakeHands(header: DataView, receiver: Receiver, sender: Sender, maxH2cData: number): void {
  const pfv = ICReq.pfv.get(header, 0);
  if (pfv !== 0) throw new ProtocolFault(Fes.UnsupportedParameter, ICReq.pfv.offset, `PFV ${pfv}`);
  const hpda = ICReq.pda.get(header, 0);
  if (hpda > MOST_HPDA) throw invalidField(ICReq.pda.offset, `HPDA ${hpda} is more than ${MOST_HPDA}`);
  const headerDigest = ICReq.dgst.hdgst.get(header, 0) === 1;
  const dataDigest = ICReq.dgst.ddgst.get(header, 0) === 1;
  const at = sender.begin(PduType.ICResp, 0, 0);
  ICResp.dgst.hdgst.set(sender.view, at, headerDigest ? 1 : 0);
  ICResp.dgst.ddgst.set(sender.view, at, dataDigest ? 1 : 0);
  ICResp.maxh2cdata.set(sender.view, at, maxH2cData);
  sender.end();
  sender.headerDigest = receiver.headerDigest = headerDigest;
  sender.dataDigest = receiver.dataDigest = dataDigest;
  sender.alignment = (hpda + 1) * 4;
}
