/** Field kinds for numbers in network byte order (big endian), which NBD has on the wire and NVMe nowhere. */
import type { Field, Kind } from './field.ts';
import { NumberField } from './field.ts';

class N16 extends NumberField {
  readonly size = 2;
  get(view: DataView, at: number): number {
    return view.getUint16(at + this.offset) + this.base;
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint16(at + this.offset, value - this.base);
  }
}
class N32 extends NumberField {
  readonly size = 4;
  get(view: DataView, at: number): number {
    return view.getUint32(at + this.offset) + this.base;
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint32(at + this.offset, value - this.base);
  }
}
/** 16 bits. */
export const n16 = (label: string): Kind<NumberField> => ({
  size: 2,
  place: (offset) => new N16(offset, label, 0),
});
/** 32 bits. */
export const n32 = (label: string): Kind<NumberField> => ({
  size: 4,
  place: (offset) => new N32(offset, label, 0),
});

/** 64 bits that are counted with, as `u53`: past 2^53 - 1 `get` gives `Infinity` and `decode` a bigint. */
export class N53Field implements Field<number | bigint> {
  readonly size = 8;
  readonly reserved = false;
  readonly offset: number;
  readonly label: string;
  constructor(offset: number, label: string) {
    this.offset = offset;
    this.label = label;
  }
  get(view: DataView, at: number): number {
    const high = view.getUint32(at + this.offset);
    return high < 0x200000 ? high * 0x100000000 + view.getUint32(at + this.offset + 4) : Infinity;
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint32(at + this.offset, value / 0x100000000);
    view.setUint32(at + this.offset + 4, value % 0x100000000);
  }
  decode(view: DataView, at: number): number | bigint {
    const value = this.get(view, at);
    return value === Infinity ? view.getBigUint64(at + this.offset) : value;
  }
  encode(view: DataView, at: number, value: number | bigint): void {
    if (typeof value === 'number' && !Number.isSafeInteger(value))
      throw new RangeError(`${this.label}: ${value} is not a safe integer`);
    const wide = BigInt(value);
    if (wide < 0n || wide > 0xffffffffffffffffn)
      throw new RangeError(`${this.label}: ${wide} is not a 64-bit number`);
    view.setBigUint64(at + this.offset, wide);
  }
  format(view: DataView, at: number): string {
    return this.decode(view, at).toString();
  }
}
export const n53 = (label: string): Kind<N53Field> => ({
  size: 8,
  place: (offset) => new N53Field(offset, label),
});

class N64Field implements Field<bigint> {
  readonly size = 8;
  readonly reserved = false;
  readonly offset: number;
  readonly label: string;
  constructor(offset: number, label: string) {
    this.offset = offset;
    this.label = label;
  }
  decode(view: DataView, at: number): bigint {
    return view.getBigUint64(at + this.offset);
  }
  encode(view: DataView, at: number, value: bigint): void {
    if (value < 0n || value > 0xffffffffffffffffn)
      throw new RangeError(`${this.label}: ${value} is not a 64-bit number`);
    view.setBigUint64(at + this.offset, value);
  }
  format(view: DataView, at: number): string {
    const value = this.decode(view, at);
    return value === 0n ? '0' : `${value.toString(16)}h`;
  }
}
/** 64 bits that are a magic number; cold structures only. */
export const n64 = (label: string): Kind<Field<bigint>> => ({
  size: 8,
  place: (offset) => new N64Field(offset, label),
});
