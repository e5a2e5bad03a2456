/** Dice that fall the same way for the same seed (mulberry32). */
export class Dice {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }
  /** 0 to `count` - 1. */
  below(count: number): number {
    return this.u32() % count;
  }
  oneIn(count: number): boolean {
    return this.below(count) === 0;
  }
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.u32() & 0xff);
  }
  /** A number that tends to be at some edge. */
  edge(): number {
    const near = this.pick([
      0,
      1,
      4,
      8,
      16,
      24,
      72,
      76,
      128,
      152,
      255,
      4096,
      8192,
      16384,
      65535,
      2 ** 31,
      2 ** 32 - 1,
    ]);
    return (near + this.pick([0, 0, 0, 1, -1, 4, -4])) >>> 0;
  }
}

/** A few changes to a copy: bits, bytes, words set to edges, pieces cut out, doubled or put in. */
export function mutate(dice: Dice, given: Uint8Array, most = 4): Uint8Array {
  let bytes = given.slice();
  for (let changes = 1 + dice.below(most); changes > 0 && bytes.length > 0; changes--) {
    const at = dice.oneIn(2) ? dice.below(Math.min(bytes.length, 160)) : dice.below(bytes.length);
    const length = Math.min(bytes.length - at, 1 + dice.below(dice.oneIn(4) ? 300 : 8));
    const view = new DataView(bytes.buffer);
    switch (dice.below(8)) {
      case 0:
      case 1:
        view.setUint8(at, view.getUint8(at) ^ (1 << dice.below(8)));
        break;
      case 2:
        view.setUint8(at, dice.u32() & 0xff);
        break;
      case 3:
        if (at + 2 <= bytes.length) view.setUint16(at, dice.edge() & 0xffff, true);
        break;
      case 4:
        if (at + 4 <= bytes.length) view.setUint32(at, dice.edge(), true);
        break;
      case 5:
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + length)]);
        break;
      case 6:
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...dice.bytes(length), ...bytes.subarray(at)]);
        break;
      case 7:
        bytes = Uint8Array.from([...bytes.subarray(0, at + length), ...bytes.subarray(at)]);
        break;
    }
  }
  return bytes;
}

/** `given` in pieces. */
export function* pieces(dice: Dice, given: Uint8Array): Generator<Uint8Array> {
  const usual = dice.pick([1, 3, 8, 50, 1000, 100000]);
  for (let at = 0; at < given.length;) {
    const end = at + 1 + dice.below(usual);
    yield given.subarray(at, end);
    at = end;
  }
}
