/** The options of the handshake: what a client may ask for before it chooses an export, and what it is told. */
import { concat } from '../layout/bytes.ts';
import { viewOf } from '../layout/struct.ts';
import type { Connection } from './connection.ts';
import {
  ExportNameReply,
  InfoBlockSize,
  InfoExport,
  InfoText,
  InfoType,
  MAX_STRING,
  MetaContext,
  Option,
  OptionReply,
  OptionReplyType,
  StringLength,
  Magic,
} from './protocol.ts';

const ALLOCATION = 'base:allocation';
/** The only context there is, under the ID that clients see. */
export const ALLOCATION_ID = 1;

const { Ack, Server, Info, MetaContext: Context } = OptionReplyType;
const { ErrUnsup, ErrInvalid, ErrUnknown, ErrShutdown, ErrTooBig } = OptionReplyType;

interface Given {
  readonly connection: Connection;
  readonly option: number;
  readonly data: Uint8Array;
}

type Handler = (given: Given) => void;

const HANDLERS: Readonly<Record<number, Handler>> = {
  [Option.ExportName]: exportName,
  [Option.Abort]: (given) => {
    reply(given, Ack);
    given.connection.close('the client gave up');
  },
  [Option.List]: list,
  [Option.Info]: info,
  [Option.Go]: info,
  [Option.StructuredReply]: (given) => {
    if (given.data.length > 0) refuse(given, ErrInvalid, 'STRUCTURED_REPLY has no data');
    else {
      given.connection.structured = true;
      reply(given, Ack);
    }
  },
  [Option.ListMetaContext]: metaContext,
  [Option.SetMetaContext]: metaContext,
};

/** Answers one option. */
export function negotiate(connection: Connection, option: number, data: Uint8Array): void {
  const given: Given = { connection, option, data };
  const handler = HANDLERS[option];
  if (connection.server.stopping && option !== Option.Abort) {
    if (option === Option.ExportName) connection.close('the server stops');
    else refuse(given, ErrShutdown, 'the server stops');
  } else if (handler !== undefined) handler(given);
  else refuse(given, ErrUnsup, `option ${option} is not known here`);
}

function reply({ connection, option }: Given, type: number, ...data: readonly Uint8Array[]): void {
  const length = data.reduce((sum, part) => sum + part.length, 0);
  const { sender } = connection;
  const at = sender.begin(OptionReply.size);
  OptionReply.encode({ magic: Magic.optionReply, option, type, length }, sender.view, at);
  for (const part of data) sender.payload(part);
}

/** `why` is shown to the user by some clients. */
function refuse(given: Given, type: number, why: string): void {
  reply(given, type, encode(why));
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

// ---- choosing an export

/** This one cannot be refused but by closing. */
function exportName({ connection, data }: Given): void {
  const name = data.length > MAX_STRING ? undefined : decode(data);
  const found = name === undefined ? undefined : connection.server.find(name);
  if (found === undefined) {
    connection.close('the client asked for an export that is not there');
    return;
  }
  const { sender } = connection;
  const answer = ExportNameReply.bytes({
    exportSize: found.device.size,
    flags: found.flags(connection.structured),
  });
  sender.payload(connection.noZeroes ? answer.subarray(0, ExportNameReply.rsvd10.offset) : answer);
  connection.choose(found);
}

function list(given: Given): void {
  if (given.data.length > 0) {
    refuse(given, ErrInvalid, 'LIST has no data');
    return;
  }
  for (const { name } of given.connection.server.exports.values()) reply(given, Server, counted(name));
  reply(given, Ack);
}

/** INFO and GO: what the export is like, and for GO, the end of the handshake. */
function info(given: Given): void {
  const { connection, option, data } = given;
  const from = new Reader(data);
  const name = from.string();
  const wanted = Array.from({ length: from.u16() }, () => from.u16());
  if (!from.complete || name === undefined) {
    refuse(given, from.tooLong ? ErrTooBig : ErrInvalid, 'the lengths in it do not agree');
    return;
  }
  const found = connection.server.find(name);
  if (found === undefined) {
    refuse(given, ErrUnknown, `there is no export ${JSON.stringify(name)}`);
    return;
  }
  const flags = found.flags(connection.structured);
  reply(given, Info, InfoExport.bytes({ type: InfoType.Export, exportSize: found.device.size, flags }));
  reply(
    given,
    Info,
    InfoBlockSize.bytes({
      type: InfoType.BlockSize,
      minimum: found.minimumBlock,
      preferred: found.preferredBlock,
      maximum: connection.server.limits.maxPayload,
    }),
  );
  const text = (type: number, value: string): void =>
    reply(given, Info, InfoText.bytes({ type }), encode(value));
  if (wanted.includes(InfoType.Name)) text(InfoType.Name, found.name);
  if (wanted.includes(InfoType.Description) && found.description !== '')
    text(InfoType.Description, found.description);
  reply(given, Ack);
  if (option === Option.Go) connection.choose(found);
}

// ---- metadata contexts

/** A query for `base:allocation`, or, when listing, for everything or all of `base:`. */
function metaContext(given: Given): void {
  const { connection, option, data } = given;
  const setting = option === Option.SetMetaContext;
  if (setting) connection.allocationOf = undefined;
  if (!connection.structured) {
    refuse(given, ErrInvalid, 'metadata contexts need structured replies');
    return;
  }
  const from = new Reader(data);
  const name = from.string();
  const count = from.u32();
  let chosen = !setting && count === 0;
  for (let i = 0; i < count && from.good; i++) {
    const query = from.string();
    chosen ||= query === ALLOCATION || (!setting && query === 'base:');
  }
  if (!from.complete || name === undefined) {
    refuse(given, from.tooLong ? ErrTooBig : ErrInvalid, 'the lengths in it do not agree');
    return;
  }
  const found = connection.server.find(name);
  if (found === undefined) {
    refuse(given, ErrUnknown, `there is no export ${JSON.stringify(name)}`);
    return;
  }
  if (chosen) {
    if (setting) connection.allocationOf = found;
    const id = setting ? ALLOCATION_ID : 0;
    reply(given, Context, MetaContext.bytes({ id }), encode(ALLOCATION));
  }
  reply(given, Ack);
}

// ---- strings

const counted = (text: string): Uint8Array => {
  const bytes = encode(text);
  return concat([StringLength.bytes({ length: bytes.length }), bytes]);
};

/** Undefined: not UTF-8. */
function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** Takes an option's data apart. Past the end everything is 0 or undefined, and `good` false. */
class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  good = true;
  /** A string was longer than the protocol allows. */
  tooLong = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
  }

  /** Everything was there, and nothing more. */
  get complete(): boolean {
    return this.good && this.#at === this.#bytes.length;
  }

  u16(): number {
    return this.#take(2) ? this.#view.getUint16(this.#at - 2) : 0;
  }

  u32(): number {
    return this.#take(4) ? this.#view.getUint32(this.#at - 4) : 0;
  }

  /** 32 bits of length, and so many bytes of UTF-8. */
  string(): string | undefined {
    const length = this.u32();
    if (length > MAX_STRING) this.tooLong = true;
    if (this.tooLong || !this.#take(length)) {
      this.good = false;
      return undefined;
    }
    const text = decode(this.#bytes.subarray(this.#at - length, this.#at));
    if (text === undefined) this.good = false;
    return text;
  }

  #take(count: number): boolean {
    if (!this.good || this.#bytes.length - this.#at < count) this.good = false;
    else this.#at += count;
    return this.good;
  }
}
