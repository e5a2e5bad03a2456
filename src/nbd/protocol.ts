/**
 * What is on the wire of NBD (the protocol document of the NetworkBlockDevice project, doc/proto.md): the fixed
 * newstyle handshake, requests, simple replies, and chunks of structured replies. Network byte order throughout.
 */
import { reserved } from '../layout/field.ts';
import { n16, n32, n53, n64 } from '../layout/network.ts';
import { struct } from '../layout/struct.ts';

export const Magic = {
  /** `NBDMAGIC`. */
  server: 0x4e42444d41474943n,
  /** `IHAVEOPT`. */
  option: 0x49484156454f5054n,
  optionReply: 0x0003e889045565a9n,
  request: 0x25609513,
  simpleReply: 0x67446698,
  chunk: 0x668e33ef,
} as const;

/** Handshake flags of the server, and their answers by the client: the same bits. */
export const HandshakeFlag = { fixedNewstyle: 1, noZeroes: 2 } as const;

export const Option = {
  ExportName: 1,
  Abort: 2,
  List: 3,
  StartTls: 5,
  Info: 6,
  Go: 7,
  StructuredReply: 8,
  ListMetaContext: 9,
  SetMetaContext: 10,
  ExtendedHeaders: 11,
} as const;

/** Types of option replies; errors have the top bit. */
export const OptionReplyType = {
  Ack: 1,
  Server: 2,
  Info: 3,
  MetaContext: 4,
  ErrUnsup: 0x80000001,
  ErrPolicy: 0x80000002,
  ErrInvalid: 0x80000003,
  ErrUnknown: 0x80000006,
  ErrShutdown: 0x80000007,
  ErrTooBig: 0x80000009,
} as const;

export const InfoType = { Export: 0, Name: 1, Description: 2, BlockSize: 3 } as const;

export const TransmissionFlag = {
  hasFlags: 0x0001,
  readOnly: 0x0002,
  sendFlush: 0x0004,
  sendFua: 0x0008,
  rotational: 0x0010,
  sendTrim: 0x0020,
  sendWriteZeroes: 0x0040,
  sendDf: 0x0080,
  canMultiConn: 0x0100,
} as const;

export const CommandType = {
  Read: 0,
  Write: 1,
  Disconnect: 2,
  Flush: 3,
  Trim: 4,
  Cache: 5,
  WriteZeroes: 6,
  BlockStatus: 7,
} as const;

export const CommandFlag = { fua: 0x01, noHole: 0x02, df: 0x04, reqOne: 0x08, fastZero: 0x10 } as const;

export const ChunkType = {
  None: 0,
  OffsetData: 1,
  OffsetHole: 2,
  BlockStatus: 5,
  Error: 0x8001,
  ErrorOffset: 0x8002,
} as const;

/** The last chunk of its reply. */
export const CHUNK_DONE = 1;

/** Flags of an extent in `base:allocation`. */
export const ExtentFlag = { hole: 1, zero: 2 } as const;

export const Errno = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;

/** The longest string that the protocol allows. */
export const MAX_STRING = 4096;

export const Greeting = struct('NbdGreeting', 18, {
  nbdmagic: [0, n64('NBDMAGIC')],
  magic: [8, n64('IHAVEOPT')],
  flags: [16, n16('Handshake flags')],
});
export const ClientFlags = struct('NbdClientFlags', 4, { flags: [0, n32('Client flags')] });

export const OptionHeader = struct('NbdOption', 16, {
  magic: [0, n64('IHAVEOPT')],
  option: [8, n32('Option')],
  length: [12, n32('Length of the data')],
});
export const OptionReply = struct('NbdOptionReply', 20, {
  magic: [0, n64('Magic')],
  option: [8, n32('Option')],
  type: [12, n32('Reply type')],
  length: [16, n32('Length of the data')],
});
/** The answer to EXPORT_NAME; the zeroes are left out when both sides agreed to. */
export const ExportNameReply = struct('NbdExportName', 134, {
  exportSize: [0, n53('Size of the export')],
  flags: [8, n16('Transmission flags')],
  rsvd10: [10, reserved(124)],
});
export const InfoExport = struct('NbdInfoExport', 12, {
  type: [0, n16('Information type')],
  exportSize: [2, n53('Size of the export')],
  flags: [10, n16('Transmission flags')],
});
export const InfoBlockSize = struct('NbdInfoBlockSize', 14, {
  type: [0, n16('Information type')],
  minimum: [2, n32('Minimum block size')],
  preferred: [6, n32('Preferred block size')],
  maximum: [10, n32('Maximum payload')],
});
export const InfoText = struct('NbdInfoText', 2, { type: [0, n16('Information type')] });
export const MetaContext = struct('NbdMetaContext', 4, { id: [0, n32('Metadata context ID')] });

/** The cookie is the client's: two halves, given back as they came. */
export const RequestHeader = struct('NbdRequest', 28, {
  magic: [0, n32('Magic')],
  flags: [4, n16('Command flags')],
  type: [6, n16('Type')],
  cookieHigh: [8, n32('Cookie, high')],
  cookieLow: [12, n32('Cookie, low')],
  offset: [16, n53('Offset')],
  length: [24, n32('Length')],
});
export const SimpleReply = struct('NbdSimpleReply', 16, {
  magic: [0, n32('Magic')],
  error: [4, n32('Error')],
  cookieHigh: [8, n32('Cookie, high')],
  cookieLow: [12, n32('Cookie, low')],
});

const chunk = {
  magic: [0, n32('Magic')],
  flags: [4, n16('Reply flags')],
  type: [6, n16('Chunk type')],
  cookieHigh: [8, n32('Cookie, high')],
  cookieLow: [12, n32('Cookie, low')],
  length: [16, n32('Length of the payload')],
} as const;
export const Chunk = struct('NbdChunk', 20, chunk);
export const DataChunk = struct('NbdDataChunk', 28, { ...chunk, offset: [20, n53('Offset')] });
export const HoleChunk = struct('NbdHoleChunk', 32, {
  ...chunk,
  offset: [20, n53('Offset')],
  holeSize: [28, n32('Hole size')],
});
export const StatusChunk = struct('NbdStatusChunk', 24, { ...chunk, context: [20, n32('Context ID')] });
export const ErrorChunk = struct('NbdErrorChunk', 26, {
  ...chunk,
  error: [20, n32('Error')],
  messageLength: [24, n16('Message length')],
});
export const ExtentDescriptor = struct('NbdExtent', 8, {
  length: [0, n32('Length')],
  flags: [4, n32('Status flags')],
});
/** Where a string's length goes; the string follows. */
export const StringLength = struct('NbdStringLength', 4, { length: [0, n32('Length of the string')] });
