/** A queue with O(1) `push` and `shift` that allocates nothing once it has grown to its working size. */
export class Fifo<T> {
  #slots: (T | undefined)[] = new Array<T | undefined>(16).fill(undefined);
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(item: T): void {
    if (this.#length === this.#slots.length) this.#grow();
    this.#slots[(this.#head + this.#length) & (this.#slots.length - 1)] = item;
    this.#length++;
  }

  /** The oldest item, which stays. */
  peek(): T | undefined {
    return this.#slots[this.#head];
  }

  /** Takes the oldest item out; undefined when there is none. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#slots.length - 1);
    this.#length--;
    return item;
  }

  /** Takes `item` out wherever it stands, in O(length): for the rare case of somebody giving up. */
  remove(item: T): boolean {
    const kept = [...this];
    const at = kept.indexOf(item);
    if (at < 0) return false;
    kept.splice(at, 1);
    while (this.#length > 0) this.shift();
    for (const other of kept) this.push(other);
    return true;
  }

  clear(): void {
    while (this.#length > 0) this.shift();
  }

  /** Oldest first. */
  *[Symbol.iterator](): Generator<T> {
    for (let i = 0; i < this.#length; i++)
      yield this.#slots[(this.#head + i) & (this.#slots.length - 1)] as T;
  }

  /** The length of the ring is a power of two, so that an index wraps with a mask. */
  #grow(): void {
    const items = [...this];
    this.#slots = new Array<T | undefined>(this.#slots.length * 2).fill(undefined);
    for (const [i, item] of items.entries()) this.#slots[i] = item;
    this.#head = 0;
  }
}
