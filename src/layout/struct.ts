/**
 * `struct(name, size, rows)`: a wire structure as a table of rows, each an offset (to be compared with the figure in the
 * specification) and a kind. From the one table come the accessors, decode, encode and the text for people, so they
 * cannot drift apart. A gap, an overlap or a wrong total throws when the module is loaded; reserved bytes are rows.
 */
import type { Decoded, Field, Input, Kind } from './field.ts';

type AnyField = Field<never>;
type AnyKind = Kind<Field<any>>; // eslint-disable-line @typescript-eslint/no-explicit-any -- the one place where kinds of all types meet
export type Rows = Record<string, readonly [offset: number, kind: AnyKind]>;
type Placed<K> = K extends Kind<infer F> ? F : never;
type Fields<R extends Rows> = { readonly [N in keyof R]: Placed<R[N][1]> };
export type StructValue<R extends Rows> = { -readonly [N in keyof R]: Decoded<Placed<R[N][1]>> };

/** What `encode` takes: any of the fields. */
export type StructInput<R extends Rows> = { [N in keyof R]?: Input<Placed<R[N][1]>> | undefined };

/** A structure as a field of another. */
export interface StructField<R extends Rows> extends Field<StructValue<R>> {
  encode(view: DataView, at: number, value: StructInput<R>): void;
}

export interface StructBase<R extends Rows> {
  readonly structName: string;
  /** Bytes. */
  readonly size: number;
  /** The placed fields by name, in the order of their offsets. */
  readonly fields: Fields<R>;
  decode(view: DataView, at?: number): StructValue<R>;
  /** Writes the whole structure; fields that are left out become zero. Throws RangeError when a value does not fit. */
  encode(value: StructInput<R>, view: DataView, at?: number): void;
  /** A new buffer holding the structure. */
  bytes(value: StructInput<R>): Uint8Array;
  /** One line for people: `name value, …`; fields that are zero or empty are left out. */
  format(view: DataView, at?: number): string;
  /** The structure as a field of another. */
  kind(label?: string): Kind<StructField<R>>;
}
export type Struct<R extends Rows> = StructBase<R> & Fields<R>;
/** What `S.decode` gives: `type Sqe = Value<typeof Sqe>`. */
export type Value<S> = S extends { decode(view: DataView, at?: number): infer T } ? T : never;

/** What `S.encode` takes: any of the fields, and of nested ones. */
export type Given<S> = S extends { bytes(value: infer T): Uint8Array } ? T : never;

export function struct<const R extends Rows>(structName: string, size: number, rows: R): Struct<R> {
  const fields: Record<string, AnyField> = {};
  let next = 0;
  for (const [name, [offset, kind]] of Object.entries(rows).sort(([, [a]], [, [b]]) => a - b)) {
    if (offset !== next)
      throw new Error(`${structName}.${name}: at ${offset}, but the row before ends at ${next}`);
    fields[name] = kind.place(offset) as AnyField;
    next = offset + kind.size;
  }
  if (next !== size) throw new Error(`${structName}: rows end at ${next}, the structure has ${size} bytes`);

  const base: StructBase<R> = {
    structName,
    size,
    fields: fields as unknown as Fields<R>,
    decode(view, at = 0) {
      const value: Record<string, unknown> = {};
      for (const name in fields) value[name] = fields[name]!.decode(view, at);
      return value as StructValue<R>;
    },
    encode(value, view, at = 0) {
      new Uint8Array(view.buffer, view.byteOffset + at, size).fill(0);
      for (const name in fields) {
        const part = (value as Record<string, unknown>)[name];
        if (part !== undefined) fields[name]!.encode(view, at, part as never);
      }
    },
    bytes(value) {
      const made = new Uint8Array(size);
      base.encode(value, viewOf(made));
      return made;
    },
    format(view, at = 0) {
      return Object.entries(fields)
        .map(([name, field]) => [name, field.format(view, at)] as const)
        .filter(([, shown]) => shown !== '' && shown !== '0' && shown !== '""')
        .map(([name, shown]) => `${name} ${shown}`)
        .join(', ');
    },
    kind: (label = structName) => ({
      size,
      place: (offset): StructField<R> => ({
        offset,
        size,
        label,
        reserved: false,
        decode: (view, at) => base.decode(view, at + offset),
        encode: (view, at, value) => {
          base.encode(value, view, at + offset);
        },
        format: (view, at) => {
          const shown = base.format(view, at + offset);
          return shown === '' ? '' : `{${shown}}`;
        },
      }),
    }),
  };
  for (const name in fields)
    if (name in base) throw new Error(`${structName}.${name}: the name is taken by struct()`);
  return Object.assign(base, fields) as unknown as Struct<R>;
}

/** A DataView over exactly these bytes. Not for hot paths: it allocates. */
export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
