import * as fc from 'fast-check';
import t from 'tap';
import { isSame } from '../../src/layout/bytes.ts';

/** The bytes, cut at these places, each part somewhere inside a buffer of its own. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let from = 0;
  return ends.map((to, i) => {
    const inside = new Uint8Array(to - from + (i % 5) + 3);
    const part = inside.subarray(i % 5, (i % 5) + to - from);
    part.set(bytes.subarray(from, to));
    from = to;
    return part;
  });
}

t.test(
  'two lists hold the same bytes, however they are cut, until one of them is another (property)',
  (t) => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 100 }),
        fc.array(fc.nat(), { maxLength: 6 }),
        fc.array(fc.nat(), { maxLength: 6 }),
        fc.nat(),
        (bytes, one, other, place) => {
          t.ok(isSame(cut(bytes, one), cut(bytes, other)));
          if (bytes.length === 0) return;
          const changed = bytes.slice();
          changed[place % bytes.length]! ^= 1;
          t.notOk(isSame(cut(bytes, one), cut(changed, other)));
        },
      ),
    );
    t.end();
  },
);
