/** A client broke the protocol in a way that no reply can tell: the connection ends, and nothing but it. */
export class NbdFault extends Error {
  override readonly name = 'NbdFault';
}
