/**
 * The second kind of wrong: a peer broke the transport's rules and the connection ends (TCP Transport 1.1,
 * section 3.4). Thrown by the receiver and by the handlers it calls, caught in one place per connection, where it
 * becomes a TermReq.
 */
export const Fes = {
  InvalidHeaderField: 0x01,
  SequenceError: 0x02,
  HeaderDigestError: 0x03,
  OutOfRange: 0x04,
  LimitExceeded: 0x05,
  UnsupportedParameter: 0x06,
} as const;

const NAMES = [
  'reserved',
  'Invalid PDU Header Field',
  'PDU Sequence Error',
  'Header Digest Error',
  'Data Transfer Out of Range',
  'Data Transfer Limit Exceeded',
  'Unsupported Parameter',
] as const;

export const fesName = (fes: number): string => NAMES[fes] ?? `reserved FES ${fes}`;

export class ProtocolFault extends Error {
  override readonly name = 'ProtocolFault';
  /** Fatal Error Status. */
  readonly fes: number;
  /** Fatal Error Information: the offset of the offending field, or the header digest that was received. */
  readonly fei: number;
  /** A fault in a TermReq is not answered with another one; the connection is just closed. */
  readonly silent: boolean;
  constructor(fes: number, fei: number, message: string, silent = false) {
    super(`${fesName(fes)}: ${message}`);
    this.fes = fes;
    this.fei = fei;
    this.silent = silent;
  }
}

/** A field of the header has a value that is not allowed; `offset` is its place in the PDU. */
export const invalidField = (offset: number, message: string): ProtocolFault =>
  new ProtocolFault(Fes.InvalidHeaderField, offset, message);
export const sequenceError = (message: string): ProtocolFault =>
  new ProtocolFault(Fes.SequenceError, 0, message);
