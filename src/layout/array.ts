/** A field that repeats: `lbaf: [128, array(64, LbaFormat.kind('LBA Format (LBAF)'))]`. */
import type { Decoded, Field, Input, Kind } from './field.ts';

export interface ArrayField<F extends Field<unknown>> extends Omit<Field<Decoded<F>[]>, 'encode'> {
  readonly count: number;
  /** The placed fields, by index: `IdNamespace.lbaf.items[0]`. */
  readonly items: readonly F[];
  /** Fewer values than there is room for: the rest becomes zero. */
  encode(view: DataView, at: number, value: readonly Input<F>[]): void;
}

export function array<F extends Field<unknown>>(
  count: number,
  kind: Kind<F>,
  label = '',
): Kind<ArrayField<F>> {
  return {
    size: count * kind.size,
    place(offset) {
      const items = Array.from({ length: count }, (_, i) => kind.place(offset + i * kind.size));
      return {
        offset,
        size: count * kind.size,
        label: label === '' ? (items[0]?.label ?? '') : label,
        reserved: false,
        count,
        items,
        decode: (view, at) => items.map((item) => item.decode(view, at)) as Decoded<F>[],
        encode(view, at, value) {
          if (value.length > count)
            throw new RangeError(`${this.label}: ${value.length} values, room for ${count}`);
          new Uint8Array(view.buffer, view.byteOffset + at + offset, this.size).fill(0);
          value.forEach((item, i) => items[i]!.encode(view, at, item));
        },
        format(view, at) {
          const shown = items
            .map((item, i) => [i, item.format(view, at)] as const)
            .filter(([, text]) => text !== '' && text !== '0')
            .map(([i, text]) => `${i}: ${text}`);
          return shown.length === 0 ? '' : `[${shown.join(', ')}]`;
        },
      };
    },
  };
}
