/** The first PDUs of a connection: what this host asks for in ICReq, and whether ICResp agrees. */
import { Fes, ProtocolFault, invalidField } from '../pdu/fault.ts';
import { ICReq, ICResp, PduType } from '../pdu/pdus.ts';
import type { Sender } from '../pdu/sender.ts';

export interface Digests {
  readonly headerDigest: boolean;
  readonly dataDigest: boolean;
}

/** What the controller said of the data that it takes, bytes. */
export interface Agreement {
  /** Where the data of a PDU begins is a multiple of it (CPDA). */
  readonly alignment: number;
  readonly maxH2cData: number;
}

/** HPDA 0: data may start at any dword. MAXR2T 1: an R2T is answered at once, a second would win nothing. */
export function sendIcReq(sender: Sender, { headerDigest, dataDigest }: Digests): void {
  const at = sender.begin(PduType.ICReq, 0, 0);
  ICReq.dgst.hdgst.set(sender.view, at, headerDigest ? 1 : 0);
  ICReq.dgst.ddgst.set(sender.view, at, dataDigest ? 1 : 0);
  ICReq.maxr2t.set(sender.view, at, 1);
  sender.end();
  sender.flush();
}

/**
 * TCP Transport 1.1, section 3.6.2.3. What Linux checks, but CPDA: we can align our data. Throws ProtocolFault.
 */
export function readIcResp(header: DataView, { headerDigest, dataDigest }: Digests): Agreement {
  const pfv = ICResp.pfv.get(header, 0);
  if (pfv !== 0) throw new ProtocolFault(Fes.UnsupportedParameter, ICResp.pfv.offset, `PFV ${pfv}`);
  const cpda = ICResp.pda.get(header, 0);
  if (cpda > 31) throw invalidField(ICResp.pda.offset, `CPDA ${cpda} is more than 31`);
  const asked = (headerDigest ? 1 : 0) + (dataDigest ? 2 : 0);
  const dgst = ICResp.dgst.word(header, 0) & 3;
  if (dgst !== asked) throw invalidField(ICResp.dgst.offset, `DGST ${dgst}, but ${asked} was asked for`);
  const maxH2cData = ICResp.maxh2cdata.get(header, 0);
  if (maxH2cData < 4096 || maxH2cData % 4 !== 0)
    throw invalidField(
      ICResp.maxh2cdata.offset,
      `MAXH2CDATA ${maxH2cData} is below 4096 or not a multiple of 4`,
    );
  return { alignment: (cpda + 1) * 4, maxH2cData };
}
