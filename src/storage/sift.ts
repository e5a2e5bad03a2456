import type { Fifo } from '../runtime/fifo.ts';

/** Takes out of a queue whatever is not to stay, in one pass. */
export function sift<T>(queue: Fifo<T>, stays: (item: T) => boolean): void {
  for (let left = queue.length; left > 0; left--) {
    const item = queue.shift()!;
    if (stays(item)) queue.push(item);
  }
}
