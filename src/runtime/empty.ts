/** Empties a list that is used again at once: setting its length to 0 would give its memory up as well. */
export function empty(list: unknown[]): void {
  while (list.length > 0) list.pop();
}
