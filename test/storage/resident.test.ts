import * as fc from 'fast-check';
import { Resident } from '../../src/storage/resident.ts';
import t from 'tap';

const PAGE = 4096;

t.test('a page is in memory when it was touched, and not when its neighbour was', (t) => {
  const resident = new Resident(PAGE);
  t.notOk(resident.has(0, 1));
  resident.add(5 * PAGE + 1, 1);
  t.ok(resident.has(5 * PAGE, PAGE));
  t.notOk(resident.has(4 * PAGE, 2 * PAGE));
  t.notOk(resident.has(5 * PAGE, PAGE + 1));
  resident.remove(5 * PAGE, 1);
  t.notOk(resident.has(5 * PAGE, PAGE));
  t.end();
});

t.test('what is known of pages is what was said last of them (property)', (t) => {
  const pages = 200;
  const step = fc.record({
    add: fc.boolean(),
    first: fc.nat(pages - 1),
    count: fc.integer({ min: 1, max: 80 }),
  });
  fc.assert(
    fc.property(fc.array(step), fc.nat(pages - 1), fc.integer({ min: 1, max: 80 }), (steps, at, count) => {
      // Around the border of two stretches.
      const resident = new Resident(PAGE);
      const base = resident.stretch - 100 * PAGE;
      const model = new Array<boolean>(pages + 80).fill(false);
      for (const { add, first, count: many } of steps) {
        if (add) resident.add(base + first * PAGE, many * PAGE);
        else resident.remove(base + first * PAGE, many * PAGE);
        model.fill(add, first, first + many);
      }
      return resident.has(base + at * PAGE, count * PAGE) === model.slice(at, at + count).every(Boolean);
    }),
  );
  t.end();
});

t.test('stretches in which something was touched are asked for in turn, and learned as a whole', (t) => {
  const resident = new Resident(PAGE);
  const { stretch } = resident;
  t.equal(resident.next(), undefined);
  resident.add(0, PAGE);
  resident.add(7 * stretch, PAGE);
  t.equal(resident.memory, (2 * stretch) / PAGE / 8);
  t.strictSame([resident.next(), resident.next(), resident.next()], [0, 7 * stretch, 0]);
  // Bit 0 counts, the others are reserved.
  resident.learn(7 * stretch, Uint8Array.from([2, 3, 1]));
  t.notOk(resident.has(7 * stretch, PAGE));
  t.ok(resident.has(7 * stretch + PAGE, 2 * PAGE));
  resident.learn(3 * stretch, Uint8Array.from([1]));
  t.notOk(resident.has(3 * stretch, PAGE), 'nobody has asked for that one');
  t.end();
});

t.test('a hole over a whole disk is forgotten at once', (t) => {
  const resident = new Resident(PAGE);
  resident.add(0, PAGE);
  resident.add(2 ** 40, PAGE);
  resident.remove(PAGE, 2 ** 45);
  t.ok(resident.has(0, PAGE));
  t.notOk(resident.has(2 ** 40, PAGE));
  resident.clear();
  t.notOk(resident.has(0, PAGE));
  t.equal(resident.next(), undefined);
  t.end();
});
