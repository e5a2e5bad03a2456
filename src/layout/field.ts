/**
 * Field kinds: what one row of a structure table means.
 *
 * A kind is placed at a byte offset by `struct()`; the placed field is the accessor that everybody uses:
 * `ReadWrite.slba.get(view, at)`. `get`/`set` are for hot paths and allocate nothing; `decode`/`encode`/`format`
 * are for cold ones. Everything on the wire is little endian (NVMe Base 2.1, section 1.4.4.1).
 */

/** A field placed in a structure. `T` is what `decode` gives. */
export interface Field<T> {
  readonly offset: number;
  readonly size: number;
  /** Field name as in the specification, with its acronym. Empty for reserved bytes. */
  readonly label: string;
  readonly reserved: boolean;
  decode(view: DataView, at: number): T;
  encode(view: DataView, at: number, value: T): void;
  /** Text for a person, '' when there is nothing to say (reserved and zero). */
  format(view: DataView, at: number): string;
}

/** A field that is not placed yet. */
export interface Kind<F extends Field<unknown>> {
  readonly size: number;
  place(offset: number): F;
}

export type Decoded<F> = F extends { decode(view: DataView, at: number): infer T } ? T : never;
/** What `encode` takes: like `Decoded`, but bit ranges and the fields of nested structures may be left out. */
export type Input<F> = F extends { encode(view: DataView, at: number, value: infer T): void } ? T : never;

/** Numbers of up to 32 bits. */
export abstract class NumberField implements Field<number> {
  readonly reserved = false;
  readonly offset: number;
  readonly label: string;
  /** Added to the wire value: 1 for the specification's 0's based counts, else 0. */
  readonly base: number;
  abstract readonly size: number;
  constructor(offset: number, label: string, base: number) {
    this.offset = offset;
    this.label = label;
    this.base = base;
  }
  abstract get(view: DataView, at: number): number;
  abstract set(view: DataView, at: number, value: number): void;
  decode(view: DataView, at: number): number {
    return this.get(view, at);
  }
  encode(view: DataView, at: number, value: number): void {
    const max = 2 ** (8 * this.size) - 1 + this.base;
    if (!Number.isInteger(value) || value < this.base || value > max)
      throw new RangeError(`${this.label}: ${String(value)} is not an integer from ${this.base} to ${max}`);
    this.set(view, at, value);
  }
  format(view: DataView, at: number): string {
    const value = this.get(view, at);
    return value > 9 ? `${value} (${value.toString(16)}h)` : String(value);
  }
}

class U8 extends NumberField {
  readonly size = 1;
  get(view: DataView, at: number): number {
    return view.getUint8(at + this.offset) + this.base;
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint8(at + this.offset, value - this.base);
  }
}
class U16 extends NumberField {
  readonly size = 2;
  get(view: DataView, at: number): number {
    return view.getUint16(at + this.offset, true) + this.base;
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint16(at + this.offset, value - this.base, true);
  }
}
class U32 extends NumberField {
  readonly size = 4;
  get(view: DataView, at: number): number {
    return view.getUint32(at + this.offset, true) + this.base;
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint32(at + this.offset, value - this.base, true);
  }
}

const number = (Placed: new (offset: number, label: string, base: number) => NumberField, size: number) =>
  function (label: string, base = 0): Kind<NumberField> {
    return { size, place: (offset) => new Placed(offset, label, base) };
  };
/** One byte, 0 to 255. `base` 1: a 0's based count. */
export const u8 = number(U8, 1);
/** 16 bits. `base` 1: a 0's based count. */
export const u16 = number(U16, 2);
/** 32 bits. `base` 1: a 0's based count. */
export const u32 = number(U32, 4);

/**
 * A 64-bit number on a hot path, read as two halves. `get` is exact up to 2^53 - 1 and `Infinity` beyond, so that a
 * comparison with any real limit fails instead of rounding. `decode` never loses anything: a bigint past 2^53 - 1.
 */
export class U53Field implements Field<number | bigint> {
  readonly size = 8;
  readonly reserved = false;
  readonly offset: number;
  readonly label: string;
  constructor(offset: number, label: string) {
    this.offset = offset;
    this.label = label;
  }
  get(view: DataView, at: number): number {
    const high = view.getUint32(at + this.offset + 4, true);
    return high < 0x200000 ? high * 0x100000000 + view.getUint32(at + this.offset, true) : Infinity;
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint32(at + this.offset, value % 0x100000000, true);
    view.setUint32(at + this.offset + 4, value / 0x100000000, true);
  }
  decode(view: DataView, at: number): number | bigint {
    const value = this.get(view, at);
    return value === Infinity ? view.getBigUint64(at + this.offset, true) : value;
  }
  encode(view: DataView, at: number, value: number | bigint): void {
    if (typeof value === 'number' && !Number.isSafeInteger(value))
      throw new RangeError(`${this.label}: ${value} is not a safe integer`);
    const wide = BigInt(value);
    if (wide < 0n || wide > 0xffffffffffffffffn)
      throw new RangeError(`${this.label}: ${wide} is not a 64-bit number`);
    view.setBigUint64(at + this.offset, wide, true);
  }
  format(view: DataView, at: number): string {
    return this.decode(view, at).toString();
  }
}
/** 64 bits that are counted with: byte counts, LBAs. */
export const u53 = (label: string): Kind<U53Field> => ({
  size: 8,
  place: (offset) => new U53Field(offset, label),
});

class U64Field implements Field<bigint> {
  readonly size = 8;
  readonly reserved = false;
  readonly offset: number;
  readonly label: string;
  constructor(offset: number, label: string) {
    this.offset = offset;
    this.label = label;
  }
  decode(view: DataView, at: number): bigint {
    return view.getBigUint64(at + this.offset, true);
  }
  encode(view: DataView, at: number, value: bigint): void {
    if (value < 0n || value > 0xffffffffffffffffn)
      throw new RangeError(`${this.label}: ${value} is not a 64-bit number`);
    view.setBigUint64(at + this.offset, value, true);
  }
  format(view: DataView, at: number): string {
    const value = this.decode(view, at);
    return value === 0n ? '0' : `${value.toString(16)}h`;
  }
}
/** 64 bits that are an identifier or a key; cold structures only. */
export const u64 = (label: string): Kind<Field<bigint>> => ({
  size: 8,
  place: (offset) => new U64Field(offset, label),
});

/** A counter of 128 bits (SMART, capacities). `set` is for real counts, exact up to 2^53 - 1; `decode` loses nothing. */
export class U128Field implements Field<bigint> {
  readonly size = 16;
  readonly reserved = false;
  readonly offset: number;
  readonly label: string;
  constructor(offset: number, label: string) {
    this.offset = offset;
    this.label = label;
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint32(at + this.offset, value % 0x100000000, true);
    view.setUint32(at + this.offset + 4, value / 0x100000000, true);
    view.setUint32(at + this.offset + 8, 0, true);
    view.setUint32(at + this.offset + 12, 0, true);
  }
  decode(view: DataView, at: number): bigint {
    const start = at + this.offset;
    return (view.getBigUint64(start + 8, true) << 64n) | view.getBigUint64(start, true);
  }
  encode(view: DataView, at: number, value: number | bigint): void {
    if (typeof value === 'number' && !Number.isSafeInteger(value))
      throw new RangeError(`${this.label}: ${value} is not a safe integer`);
    const wide = BigInt(value);
    if (wide < 0n || wide >> 128n !== 0n)
      throw new RangeError(`${this.label}: ${wide} is not a 128-bit number`);
    view.setBigUint64(at + this.offset, wide & 0xffffffffffffffffn, true);
    view.setBigUint64(at + this.offset + 8, wide >> 64n, true);
  }
  format(view: DataView, at: number): string {
    return this.decode(view, at).toString();
  }
}
/** 128 bits that are a count; cold structures only. */
export const u128 = (label: string): Kind<U128Field> => ({
  size: 16,
  place: (offset) => new U128Field(offset, label),
});

export const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** A run of bytes. */
export class BytesField implements Field<Uint8Array> {
  readonly reserved: boolean = false;
  readonly offset: number;
  readonly size: number;
  readonly label: string;
  constructor(offset: number, size: number, label: string) {
    this.offset = offset;
    this.size = size;
    this.label = label;
  }
  /** The bytes themselves, not a copy. */
  slice(view: DataView, at: number): Uint8Array {
    return new Uint8Array(view.buffer, view.byteOffset + at + this.offset, this.size);
  }
  decode(view: DataView, at: number): Uint8Array {
    return this.slice(view, at).slice();
  }
  /** A shorter value is padded with zeroes. */
  encode(view: DataView, at: number, value: Uint8Array): void {
    if (value.length > this.size)
      throw new RangeError(`${this.label}: ${value.length} bytes, room for ${this.size}`);
    const into = this.slice(view, at);
    into.fill(0);
    into.set(value);
  }
  format(view: DataView, at: number): string {
    const bytes = this.slice(view, at);
    let end = bytes.length;
    while (end > 0 && bytes[end - 1] === 0) end--;
    if (end === 0) return this.reserved ? '' : '0';
    return hex(bytes.subarray(0, Math.min(end, 64))) + (end > 64 ? `… (${this.size} bytes)` : '');
  }
}
class ReservedField extends BytesField {
  override readonly reserved = true;
}
export const bytes = (size: number, label: string): Kind<BytesField> => ({
  size,
  place: (offset) => new BytesField(offset, size, label),
});
/** Reserved bytes: ignored when received, kept by decode → encode, zero when we build the structure. */
export const reserved = (size: number): Kind<BytesField> => ({
  size,
  place: (offset) => new ReservedField(offset, size, 'Reserved'),
});

/** Text in a fixed field. Bytes over 7Fh are kept one to one (Latin-1), so nothing is lost by decode → encode. */
export class TextField implements Field<string> {
  readonly reserved = false;
  readonly offset: number;
  readonly size: number;
  readonly label: string;
  /** The byte that fills the rest: a space (ASCII strings) or 0 (NUL-terminated ones). */
  readonly fill: number;
  constructor(offset: number, size: number, label: string, fill: number) {
    this.offset = offset;
    this.size = size;
    this.label = label;
    this.fill = fill;
  }
  decode(view: DataView, at: number): string {
    let end = this.size;
    const start = at + this.offset;
    while (end > 0 && view.getUint8(start + end - 1) === this.fill) end--;
    let text = '';
    for (let i = 0; i < end; i++) text += String.fromCharCode(view.getUint8(start + i));
    return text;
  }
  encode(view: DataView, at: number, value: string): void {
    if (value.length > this.size)
      throw new RangeError(`${this.label}: ${value.length} characters, room for ${this.size}`);
    for (let i = 0; i < this.size; i++) {
      const code = i < value.length ? value.charCodeAt(i) : this.fill;
      if (code > 0xff) throw new RangeError(`${this.label}: a character that is not ASCII`);
      view.setUint8(at + this.offset + i, code);
    }
  }
  format(view: DataView, at: number): string {
    // Some pad with NULs what the specification pads with spaces.
    return JSON.stringify(this.decode(view, at).replace(/\0+$/, ''));
  }
}
/** An ASCII string, padded with spaces (SN, MN, FR, TRADDR, TRSVCID). */
export const ascii = (size: number, label: string): Kind<TextField> => ({
  size,
  place: (offset) => new TextField(offset, size, label, 0x20),
});
/** A NUL-padded string (NQNs). What follows an embedded NUL is kept. */
export const text = (size: number, label: string): Kind<TextField> => ({
  size,
  place: (offset) => new TextField(offset, size, label, 0),
});

class UuidField implements Field<string> {
  readonly size = 16;
  readonly reserved = false;
  readonly offset: number;
  readonly label: string;
  constructor(offset: number, label: string) {
    this.offset = offset;
    this.label = label;
  }
  decode(view: DataView, at: number): string {
    const digits = hex(new Uint8Array(view.buffer, view.byteOffset + at + this.offset, 16));
    return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  }
  encode(view: DataView, at: number, value: string): void {
    const bytes = uuidBytes(value);
    if (bytes === undefined) throw new RangeError(`${this.label}: ${JSON.stringify(value)} is not a UUID`);
    new Uint8Array(view.buffer, view.byteOffset + at + this.offset, 16).set(bytes);
  }
  format(view: DataView, at: number): string {
    return this.decode(view, at);
  }
}
/** A UUID in the byte order of RFC 9562, as 8-4-4-4-12 lower-case digits. */
export const uuid = (label: string): Kind<Field<string>> => ({
  size: 16,
  place: (offset) => new UuidField(offset, label),
});

/** The 16 bytes of a UUID in text, or undefined when it is not one. */
export function uuidBytes(value: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value)) return undefined;
  const digits = value.replaceAll('-', '');
  return Uint8Array.from({ length: 16 }, (_, i) => parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}
