/**
 * Every limit of the NBD server, with its default. Milliseconds, bytes and counts; all of them may be configured.
 * The most memory that clients can tie up is `connections` × (3 × `bytesInFlight` + `optionReplyBytes` + one chunk of the socket): what is
 * under way, with read buffers that are rounded up to a power of two, and what waits. `spareBytes` are kept besides.
 */
export interface NbdLimits {
  /** Clients of one server at a time; more are turned away. */
  readonly connections: number;
  /** For each step of the handshake: a client that has not chosen an export by then is disconnected. */
  readonly handshakeTimeout: number;
  /** For the client to close its side after our end. */
  readonly closeTimeout: number;
  /** Data of one option. The longest honest one is a name and a few queries of at most 4,096 bytes each. */
  readonly optionBytes: number;
  /** Options of one connection. */
  readonly options: number;
  /**
   * Answers to options that a client has not taken; while there are more, none is read. The answer to one LIST is as long
   * as the names of all exports.
   */
  readonly optionReplyBytes: number;
  /** Data of one request, as told to clients. What most of them assume when they are not told. */
  readonly maxPayload: number;
  /** Requests of one connection that are carried out at a time. */
  readonly requests: number;
  /**
   * Requests that may wait besides, with data of at most `bytesInFlight`. A client that has more is not read from, and
   * then nobody sees it leave; so this is more than what clients usually have under way.
   */
  readonly waitingRequests: number;
  /** Data of those requests; at least `maxPayload`, so that each fits once it is alone. */
  readonly bytesInFlight: number;
  /** A structured read is answered in chunks of at most this. */
  readonly readChunk: number;
  /** Read buffers that are kept for the next read, of one server. */
  readonly spareBytes: number;
  /** Extents in the answer to one BLOCK_STATUS. */
  readonly extents: number;
}

export const DEFAULT_NBD_LIMITS: NbdLimits = {
  connections: 64,
  handshakeTimeout: 30_000,
  closeTimeout: 5_000,
  optionBytes: 65_536,
  options: 1000,
  optionReplyBytes: 65_536,
  maxPayload: 32 * 1024 * 1024,
  requests: 128,
  waitingRequests: 1024,
  bytesInFlight: 32 * 1024 * 1024,
  readChunk: 2 * 1024 * 1024,
  spareBytes: 32 * 1024 * 1024,
  extents: 1024,
};
