/** One array out of several; the array itself when there is only one. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const viewOver = ({ buffer, byteOffset, length }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, length);

/** Whether two lists of as many bytes hold the same ones, however they are cut. Looks at four bytes at a time. */
export function isSame(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  let next = 0;
  let other = viewOver(new Uint8Array(0));
  let at = 0;
  for (const part of a) {
    const view = viewOver(part);
    for (let i = 0; i < part.length;) {
      while (at === other.byteLength) {
        other = viewOver(b[next++]!);
        at = 0;
      }
      const run = Math.min(part.length - i, other.byteLength - at);
      const words = i + run - (run % 4);
      for (; i < words; i += 4, at += 4) if (view.getInt32(i) !== other.getInt32(at)) return false;
      for (const end = i + (run % 4); i < end; i++, at++)
        if (view.getUint8(i) !== other.getUint8(at)) return false;
    }
  }
  return true;
}
