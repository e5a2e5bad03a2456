/**
 * Data that a controller sent (a log page, a list) contradicts itself or the specification. Thrown by the decoders of
 * this folder, which look at every length and index before they believe it; whoever asked for the data catches it.
 */
export class DecodeError extends Error {
  override readonly name = 'DecodeError';
}
