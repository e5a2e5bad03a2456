/** Bit ranges inside a number: `bits16({ dtype: [4, 7], prinfo: [10, 13], fua: [14], lr: [15] })`. */
import type { Field, Kind } from './field.ts';

/** `[bit]` or `[lowest, highest]`, as the specification's `15` and `13:10`. */
export type BitRange = readonly [bit: number] | readonly [low: number, high: number];

/** A range of bits, placed: an accessor of its own. */
export class BitsAccessor {
  readonly offset: number;
  readonly shift: number;
  readonly mask: number;
  readonly bytes: number;
  constructor(offset: number, bytes: number, low: number, high: number) {
    this.offset = offset;
    this.bytes = bytes;
    this.shift = low;
    this.mask = 2 ** (high - low + 1) - 1;
  }
  get(view: DataView, at: number): number {
    // `>>> 0`: a range of all 32 bits would come out negative.
    return ((readWord(view, at + this.offset, this.bytes) >>> this.shift) & this.mask) >>> 0;
  }
  set(view: DataView, at: number, value: number): void {
    const word = readWord(view, at + this.offset, this.bytes);
    const kept = word & ~(this.mask << this.shift);
    writeWord(view, at + this.offset, this.bytes, kept | ((value & this.mask) << this.shift));
  }
}

function readWord(view: DataView, at: number, bytes: number): number {
  return bytes === 4 ? view.getUint32(at, true) : bytes === 2 ? view.getUint16(at, true) : view.getUint8(at);
}
function writeWord(view: DataView, at: number, bytes: number, word: number): void {
  if (bytes === 4) view.setUint32(at, word, true);
  else if (bytes === 2) view.setUint16(at, word, true);
  else view.setUint8(at, word);
}

/** The decoded form: one number per range, and in `rest` the bits that no range names (left out when they are 0). */
export type BitsValue<R> = { [K in keyof R]: number } & { rest?: number };

export type BitsField<R> = Field<BitsValue<R>> & { readonly [K in keyof R]: BitsAccessor } & {
  /** The whole word. */
  word(view: DataView, at: number): number;
  /** Ranges that are left out become zero. */
  encode(view: DataView, at: number, value: Partial<BitsValue<R>>): void;
};

type Ranges = Record<string, BitRange>;

function bits(size: 1 | 2 | 4) {
  return <const R extends Ranges>(ranges: R, label = ''): Kind<BitsField<R>> => {
    let known = 0;
    for (const [name, [low, high = low]] of Object.entries(ranges)) {
      if (low > high || high >= size * 8)
        throw new Error(`bits: ${name} [${low}, ${high}] does not fit ${size * 8} bits`);
      for (let bit = low; bit <= high; bit++) {
        if (known & (1 << bit)) throw new Error(`bits: ${name} overlaps another range at bit ${bit}`);
        known |= 1 << bit;
      }
    }
    return { size, place: (offset) => place(ranges, size, offset, known, label) };
  };
}

function place<R extends Ranges>(
  ranges: R,
  size: number,
  offset: number,
  known: number,
  label: string,
): BitsField<R> {
  const accessors: Record<string, BitsAccessor> = {};
  for (const [name, [low, high = low]] of Object.entries(ranges))
    accessors[name] = new BitsAccessor(offset, size, low, high);

  const word = (view: DataView, at: number) => readWord(view, at + offset, size);
  const field: Field<Record<string, number>> & { word: typeof word } = {
    offset,
    size,
    label,
    reserved: false,
    word,
    decode(view, at) {
      const value: Record<string, number> = {};
      for (const name in accessors) value[name] = accessors[name]!.get(view, at);
      const rest = (word(view, at) & ~known) >>> 0;
      if (rest !== 0) value['rest'] = rest;
      return value;
    },
    encode(view, at, value) {
      let next = (value['rest'] ?? 0) & ~known;
      for (const name in accessors) {
        const { mask, shift } = accessors[name]!;
        const part = value[name] ?? 0;
        if (!Number.isInteger(part) || part < 0 || part > mask)
          throw new RangeError(`${name}: ${part} is more than ${mask}`);
        next |= part << shift;
      }
      writeWord(view, at + offset, size, next);
    },
    format(view, at) {
      return Object.entries(field.decode(view, at))
        .filter(([, part]) => part !== 0)
        .map(([name, part]) =>
          accessors[name]?.mask === 1 ? name : `${name}=${part > 9 ? `${part.toString(16)}h` : part}`,
        )
        .join(' ');
    },
  };
  for (const name in accessors)
    if (name in field || name === 'rest') throw new Error(`bits: the name ${name} is taken`);
  // A new object: `decode` goes through `accessors`, which must hold nothing else.
  return { ...accessors, ...field } as unknown as BitsField<R>;
}

export const bits8 = bits(1);
export const bits16 = bits(2);
export const bits32 = bits(4);
