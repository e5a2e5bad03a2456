/** Adds `length` bytes from `offset` of the gathered `parts` to `into`, as slices of them. */
export function cut(parts: readonly Uint8Array[], offset: number, length: number, into: Uint8Array[]): void {
  let skip = offset;
  let left = length;
  for (const part of parts) {
    if (left === 0) return;
    if (skip >= part.length) {
      skip -= part.length;
      continue;
    }
    const take = Math.min(left, part.length - skip);
    into.push(take === part.length ? part : part.subarray(skip, skip + take));
    left -= take;
    skip = 0;
  }
}
