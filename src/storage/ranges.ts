/**
 * The owner of ranges of one volume (ORDER.1). Two operations conflict when they overlap and at least one of them
 * modifies; operations that conflict run in the order of arrival, all others pass each other freely.
 *
 * How: locks of several granularities (Gray, 1975), granted in the order of arrival. The volume is cut into cells, and
 * each of these into smaller ones, down to single blocks. An operation has a place in every cell that it touches; it
 * goes down into a cell of which it touches only a part:
 *
 *     64 KiB  |                               p                               |    p: it touches a *part*
 *      4 KiB  |       |       |       |   p   |   W   |   W   |   p   |       |    W: it covers the *whole*, and has
 *      512 B                          |         W W W | W             |               no place further down
 *     bytes                                   [=========================]
 *
 * Operations that overlap meet in a cell that one of them covers as a whole; those that do not overlap meet only in
 * cells of which both touch a part. So it is decided cell by cell, and bytes are not compared:
 *
 *     whole, modifying       waits for everybody who came earlier and is still in this cell
 *     whole, reading         waits for those who modify, the whole or a part
 *     part, modifying        waits for those who have the whole
 *     part, reading          waits for those who modify the whole
 *
 * A cell has four lines, one for each of these, in the order of arrival. As far as this cell is concerned, somebody is
 * free when nobody at the head of the lines in his way is older. What holds for one holds for all in front of him in
 * his line, so a line is a stretch of free places, then a stretch of waiting ones; when a head leaves, the border
 * between them moves. An operation that waits in none of its places runs.
 *
 * Nobody goes down into a cell in which nobody else touches a part: he does so when the second one comes. So operations
 * that are far from each other never see the small cells.
 *
 * Costs: an operation enters and leaves each of its places once, and each costs the same, however many others are in
 * the cell: at most eight places for 4 KiB or one block, some tens for other short ranges, at worst two hundred.
 * No list is ever searched, and nothing is left behind by those who give up.
 */
import type { Fifo } from '../runtime/fifo.ts';
import type { Operation } from './operation.ts';
import { assert } from '../runtime/assert.ts';

/** Bytes of a cell by level, from the smallest block of NVMe to 64 GiB. Each is a power of two times the one before. */
const SIZES: readonly number[] = [9, 12, 16, 20, 24, 28, 32, 36].map((bits) => 2 ** bits);
const SMALLEST = SIZES[0]!;
const TOP = SIZES.length - 1;
const TOP_SIZE = SIZES[TOP]!;

// The four lines of a cell are numbered by these two bits.
const MODIFIES = 1;
const WHOLE = 2;
/** By line: the lines whose earlier places are in its way. */
const IN_THE_WAY: readonly (readonly number[])[] = [
  /* part, reading    */ [WHOLE + MODIFIES],
  /* part, modifying  */ [WHOLE, WHOLE + MODIFIES],
  /* whole, reading   */ [MODIFIES, WHOLE + MODIFIES],
  /* whole, modifying */ [0, MODIFIES, WHOLE, WHOLE + MODIFIES],
];

/** Places, and cells of a level, that are kept for the next; what a rush needs beyond this is left to the collector. */
const SPARE = 1024;

/** An operation in a line of a cell. */
export class Place {
  op: Operation | undefined = undefined;
  cell: Cell | undefined = undefined;
  line = 0;
  arrival = 0;
  before: Place | undefined = undefined;
  after: Place | undefined = undefined;
}

/** Places in the order of arrival; from `waiting` on they wait. */
class Line {
  first: Place | undefined = undefined;
  last: Place | undefined = undefined;
  waiting: Place | undefined = undefined;
}

class Cell {
  readonly level: number;
  /** Without its own: one of the 64 GiB ones. */
  parent: Cell | undefined = undefined;
  /** It begins at `index` times its size. */
  index = 0;
  readonly lines: readonly Line[] = [new Line(), new Line(), new Line(), new Line()];
  /** In all lines, and in those of parts. */
  places = 0;
  parts = 0;
  /** The only one who touches a part, and has not gone down. */
  alone: Operation | undefined = undefined;
  /** Those in which somebody is. */
  readonly children: (Cell | undefined)[] = [];

  constructor(level: number) {
    this.level = level;
  }
}

const overlap = (a: Operation, b: Operation): boolean => a.from < b.to && b.from < a.to;

export class Ranges {
  /** The cells of the top level in which somebody is, by their index. */
  readonly #top = new Map<number, Cell>();
  readonly #spareCells: Cell[][] = SIZES.map(() => []);
  readonly #sparePlaces: Place[] = [];
  /** Whom a `remove` makes ready, while it is at it. */
  readonly #woken: Operation[] = [];
  #arrivals = 0;
  #count = 0;
  #modifying = 0;
  #waiting = 0;
  /** Places entered, left, and looked at once more: all the work there is, in numbers that grow with it; for tests. */
  steps = 0;

  /** Operations that have a range or wait for one. */
  get count(): number {
    return this.#count;
  }

  /** How many of them wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Whether a read of `op`'s bytes could run now; registers nothing. For one that is over before it can be in a way. */
  isClear(op: Operation): boolean {
    if (this.#modifying === 0) return true;
    this.#measure(op);
    const last = Math.floor((op.to - 1) / TOP_SIZE);
    for (let index = Math.floor(op.from / TOP_SIZE); index <= last; index++) {
      const cell = this.#top.get(index);
      if (cell && !this.#isClearIn(cell, op)) return false;
    }
    return true;
  }

  /** `op` arrives. True: it may run at once. False: its stage is `range`, until a `remove` makes it `ready`. */
  add(op: Operation): boolean {
    assert(op.places.length === 0 && op.length > 0, 'an operation arrives once, and covers something');
    this.#measure(op);
    assert(op.from % SMALLEST === 0 && op.to % SMALLEST === 0, 'an operation covers whole blocks');
    op.arrival = ++this.#arrivals;
    op.waitsIn = 0;
    const last = Math.floor((op.to - 1) / TOP_SIZE);
    for (let index = Math.floor(op.from / TOP_SIZE); index <= last; index++) {
      let cell = this.#top.get(index);
      if (!cell) this.#top.set(index, (cell = this.#makeCell(TOP, index)));
      this.#enter(cell, op);
    }
    this.#count++;
    if (op.modifies) this.#modifying++;
    if (op.waitsIn === 0) return true;
    this.#waiting++;
    op.stage = 'range';
    return false;
  }

  /** `op` ends, or gives up waiting: those who waited for it alone are pushed to `freed`, in order of arrival. */
  remove(op: Operation, freed: Fifo<Operation>): void {
    this.#count--;
    if (op.modifies) this.#modifying--;
    if (op.waitsIn > 0) this.#waiting--;
    op.waitsIn = 0;
    // The last one first: a cell goes before its parent does.
    for (let place = op.places.pop(); place; place = op.places.pop()) this.#leave(place);

    const woken = this.#woken;
    if (woken.length > 1) woken.sort((a, b) => a.arrival - b.arrival);
    for (const each of woken) {
      this.#waiting--;
      each.stage = 'ready';
      freed.push(each);
    }
    woken.length = 0;
  }

  /** For tests and the simulator; O(n²). Here bytes are compared: the cells have to come to the same result. */
  invariants(): void {
    const all = new Set<Operation>();
    for (const [index, cell] of this.#top) this.#cellInvariants(cell, TOP, index, undefined, all);
    let waiting = 0;
    let modifying = 0;
    for (const op of all) {
      let waits = false;
      for (const other of all) {
        if (other.arrival < op.arrival && (op.modifies || other.modifies) && overlap(op, other)) waits = true;
      }
      assert(op.waitsIn > 0 === waits, 'an operation waits exactly while an earlier one conflicts');
      if (waits) waiting++;
      if (op.modifies) modifying++;
    }
    assert(this.#count === all.size, 'the count of operations is true');
    assert(this.#waiting === waiting, 'so is that of waiting ones');
    assert(this.#modifying === modifying, 'so is that of modifying ones');
  }

  #cellInvariants(
    cell: Cell,
    level: number,
    index: number,
    parent: Cell | undefined,
    all: Set<Operation>,
  ): void {
    const isThere = cell.level === level && cell.index === index && cell.parent === parent;
    assert(isThere, 'a cell is where it belongs');
    let places = 0;
    let parts = 0;
    for (const [line, { first, last, waiting }] of cell.lines.entries()) {
      let behindBorder = false;
      let before: Place | undefined;
      for (let place = first; place; before = place, place = place.after) {
        behindBorder ||= place === waiting;
        const knows = place.op?.places.includes(place) === true && place.op.arrival === place.arrival;
        assert(knows && place.cell === cell && place.line === line, 'whoever is in a line knows it');
        assert(place.before === before, 'a line is linked both ways');
        assert(before === undefined || before.arrival < place.arrival, 'a line is in order of arrival');
        const free = this.#isFree(cell, line, place.arrival);
        assert(behindBorder !== free, 'the border is between those who are free and those who wait');
        all.add(place.op!);
        places++;
        if (line < WHOLE) parts++;
      }
      assert(last === before, 'a line ends with the last');
      assert(behindBorder || waiting === undefined, 'the border is in the line');
    }
    assert(cell.places === places && places > 0, 'a cell counts its places, and goes with the last');
    assert(cell.parts === parts && (!cell.alone || parts === 1), 'it counts its parts');
    for (const [slot, child] of cell.children.entries()) {
      if (!child) continue;
      assert(parts > 0 && !cell.alone, 'nobody is in the children of a cell of which nobody has a part');
      const childIndex = (index * SIZES[level]!) / SIZES[level - 1]! + slot;
      this.#cellInvariants(child, level - 1, childIndex, cell, all);
    }
  }

  #measure(op: Operation): void {
    op.from = op.offset;
    op.to = op.offset + op.length;
    op.modifies = (op.kind !== 'read' && op.kind !== 'barrier') || op.hold;
  }

  #isClearIn(cell: Cell, op: Operation): boolean {
    const size = SIZES[cell.level]!;
    const begin = cell.index * size;
    const line = op.from <= begin && op.to >= begin + size ? WHOLE : 0;
    if (!this.#isFree(cell, line, Infinity)) return false;
    if (line === WHOLE || !cell.lines[MODIFIES]!.first) return true;
    if (cell.alone) return !overlap(cell.alone, op);
    const childSize = SIZES[cell.level - 1]!;
    const last = Math.min(Math.floor((op.to - 1 - begin) / childSize), size / childSize - 1);
    for (let slot = Math.max(Math.floor((op.from - begin) / childSize), 0); slot <= last; slot++) {
      const child = cell.children[slot];
      if (child && !this.#isClearIn(child, op)) return false;
    }
    return true;
  }

  /** `op`, which touches `cell`, gets its place there, and in what is inside as far as others are there. */
  #enter(cell: Cell, op: Operation): void {
    const size = SIZES[cell.level]!;
    const begin = cell.index * size;
    const isWhole = op.from <= begin && op.to >= begin + size;
    this.#takePlace(cell, op, (isWhole ? WHOLE : 0) + (op.modifies ? MODIFIES : 0));
    if (isWhole) return;
    if (++cell.parts === 1) {
      cell.alone = op;
      return;
    }
    const { alone } = cell;
    cell.alone = undefined;
    if (alone) this.#goDown(cell, alone);
    this.#goDown(cell, op);
  }

  #goDown(cell: Cell, op: Operation): void {
    const level = cell.level - 1;
    const size = SIZES[level]!;
    const begin = cell.index * SIZES[cell.level]!;
    const slots = SIZES[cell.level]! / size;
    const last = Math.min(Math.floor((op.to - 1 - begin) / size), slots - 1);
    for (let slot = Math.max(Math.floor((op.from - begin) / size), 0); slot <= last; slot++) {
      let child = cell.children[slot];
      if (!child) {
        while (cell.children.length < slot) cell.children.push(undefined);
        child = cell.children[slot] = this.#makeCell(level, begin / size + slot);
        child.parent = cell;
      }
      this.#enter(child, op);
    }
  }

  #makeCell(level: number, index: number): Cell {
    const cell = this.#spareCells[level]!.pop() ?? new Cell(level);
    cell.index = index;
    return cell;
  }

  #takePlace(cell: Cell, op: Operation, lineNumber: number): void {
    const place = this.#sparePlaces.pop() ?? new Place();
    const line = cell.lines[lineNumber]!;
    place.op = op;
    place.cell = cell;
    place.line = lineNumber;
    place.arrival = op.arrival;
    place.before = line.last;
    if (line.last) line.last.after = place;
    else line.first = place;
    line.last = place;
    cell.places++;
    op.places.push(place);
    if (this.#isFree(cell, lineNumber, op.arrival)) return;
    line.waiting ??= place;
    op.waitsIn++;
  }

  #leave(place: Place): void {
    this.steps++;
    const { before, after } = place;
    const cell = place.cell!;
    const line = cell.lines[place.line]!;
    if (line.waiting === place) line.waiting = after;
    if (before) before.after = after;
    else line.first = after;
    if (after) after.before = before;
    else line.last = before;

    if (place.line < WHOLE) cell.parts--;
    if (cell.alone === place.op) cell.alone = undefined;
    if (--cell.places === 0) this.#dropCell(cell);
    else if (!before) this.#moveBorders(cell);

    place.op = place.cell = place.before = place.after = undefined;
    if (this.#sparePlaces.length < SPARE) this.#sparePlaces.push(place);
  }

  #dropCell(cell: Cell): void {
    const { parent, level } = cell;
    if (parent) parent.children[cell.index - (parent.index * SIZES[level + 1]!) / SIZES[level]!] = undefined;
    else this.#top.delete(cell.index);
    cell.parent = undefined;
    if (this.#spareCells[level]!.length < SPARE) this.#spareCells[level]!.push(cell);
  }

  /** The head of a line has left: whoever has nobody older in his way any more is free. */
  #moveBorders(cell: Cell): void {
    for (let number = 0; number < IN_THE_WAY.length; number++) {
      const line = cell.lines[number]!;
      for (let place = line.waiting; place; place = line.waiting) {
        if (!this.#isFree(cell, number, place.arrival)) break;
        line.waiting = place.after;
        const op = place.op!;
        if (--op.waitsIn === 0) this.#woken.push(op);
      }
    }
  }

  /** Whether nobody who came before `arrival` is in the way of somebody in this line. */
  #isFree(cell: Cell, lineNumber: number, arrival: number): boolean {
    this.steps++;
    for (const other of IN_THE_WAY[lineNumber]!) {
      const head = cell.lines[other]!.first;
      if (head && head.arrival < arrival) return false;
    }
    return true;
  }
}
